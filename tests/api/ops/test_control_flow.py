"""Loops and branches of kgraph.ops: on arrays, in functional models, inside programs; values, gradients, errors."""

from __future__ import annotations

import re

import numpy as np
import pytest

import kgraph
from kgraph import layers as L
from kgraph import ops
from kgraph.config import compilation_count
from kgraph.errors import ArgumentError, GraphError, KgraphError, ShapeError

EXECUTIONS = pytest.mark.parametrize("execution", ["interpreter", "native"])


def running(total, x):
    """A step of a scan over a nesting."""
    new = total["sum"] * 0.5 + x[0] * x[1]
    return {"sum": new}, (new, None, -new)


def by_hand(start, a, b, order):
    """What the scan of `running` gives."""
    total, each = start, np.zeros_like(a)
    for step in order:
        total = total * np.float32(0.5) + a[step] * b[step]
        each[step] = total
    return total, each


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_over_nestings_of_arrays(rng, reverse):
    a, b = rng.normal(size=(2, 5, 3)).astype("float32")
    start = np.ones(3, "float32")
    last, (each, nothing, negative) = ops.scan(running, {"sum": start}, (a, b), reverse=reverse)
    total, wanted = by_hand(start, a, b, range(5)[:: -1 if reverse else 1])
    np.testing.assert_allclose(last["sum"], total, rtol=1e-6)
    np.testing.assert_allclose(each, wanted, rtol=1e-6)
    np.testing.assert_allclose(negative, -wanted, rtol=1e-6)
    assert nothing is None


class Mixing(L.Layer):
    """Uses every loop; sizes are known at run time only."""

    def build(self, input_shape):
        self.scale = self.add_weight((input_shape[-1],), "ones", name="scale")

    def call(self, inputs):
        steps = ops.transpose(inputs, (1, 0, 2))
        start = ops.zeros_like(steps[0])
        last, each = ops.scan(lambda c, x: (c * 0.5 + x * self.scale, c), start, steps)
        looped = ops.fori_loop(1, 4, lambda i, v: v * self.scale + ops.cast(i, "float32"), last)
        mapped = ops.map(lambda x: ops.sum(x * self.scale, axis=-1), steps)
        sums = ops.associative_scan(lambda p, q: p + q, inputs, axis=1)
        return looped + ops.sum(each, 0) + ops.expand_dims(ops.sum(mapped, 0), -1) + sums[:, -1]


def mixed(x, scale):
    """The same in NumPy."""
    carry, each = np.zeros_like(x[:, 0]), []
    for step in range(x.shape[1]):
        each.append(carry)
        carry = carry * 0.5 + x[:, step] * scale
    for i in range(1, 4):
        carry = carry * scale + i
    return carry + sum(each) + (x * scale).sum((1, 2))[:, None] + x.sum(1)


@EXECUTIONS
def test_loops_in_a_layer_compute_and_have_gradients(rng, execution):
    x, scale = rng.normal(size=(2, 4, 3)), np.array([0.9, 1.1, 1.3])
    layer = Mixing(dtype="float64")
    model = kgraph.Sequential([kgraph.Input((None, 3), dtype="float64"), layer])
    layer.scale.assign(scale)
    weights = rng.normal(size=(2, 3))
    with kgraph.execution(execution):
        (y,), (dx,), (dscale,) = kgraph.vjp(model, x, weights)
    np.testing.assert_allclose(y, mixed(x, scale), rtol=1e-12)
    for direction, gradient, at in ((rng.normal(size=x.shape), dx, 0), (rng.normal(size=3), dscale, 1)):
        moved = [[x + h * direction, scale] if at == 0 else [x, scale + h * direction] for h in (1e-6, -1e-6)]
        slope = sum(sign * (weights * mixed(*m)).sum() for sign, m in zip((1, -1), moved, strict=True)) / 2e-6
        assert (gradient * direction).sum() == pytest.approx(slope, rel=1e-7)


def test_loops_on_symbolic_tensors_are_part_of_a_functional_model(rng):
    x = kgraph.Input((None, 3))
    steps = ops.transpose(x, (1, 0, 2))
    last, each = ops.scan(lambda c, s: (c + s, ops.max(c)), ops.zeros_like(steps[0]), steps)
    model = kgraph.Model(x, [last, ops.while_loop(lambda v: ops.max(v) < 50, lambda v: v * 2, ops.abs(last) + 1)])
    assert each.shape == (None,)
    count = None
    for batch, time in ((2, 4), (1, 7), (3, 1)):
        data = rng.normal(size=(batch, time, 3)).astype("float32")
        total, doubled = model.predict(data, verbose=0)
        np.testing.assert_allclose(total, data.sum(1), rtol=1e-4, atol=1e-5)
        wanted = np.abs(data.sum(1)) + 1
        np.testing.assert_allclose(doubled, wanted * 2.0 ** np.ceil(np.log2(50 / wanted.max())), rtol=1e-4)
        count = compilation_count() if count is None else count
    assert compilation_count() == count


# --- while loops ------------------------------------------------------------------------------------------------------


class Collatz(L.Layer):
    """Steps of a famous sequence until it reaches 1."""

    def call(self, inputs):
        def step(n, count):
            return ops.where(ops.equal(n % 2, 0), n // 2, 3 * n + 1), count + 1

        start = ops.cast(inputs[0, 0], "int32")
        _, count = ops.while_loop(lambda n, count: n > 1, step, (start, np.int32(0)))
        return ops.full((1, 1), 1) * count


@EXECUTIONS
def test_a_while_loop_ends_when_its_condition_fails(execution):
    model = kgraph.Sequential([kgraph.Input(batch_shape=(1, 1)), Collatz()])
    with kgraph.execution(execution):
        assert [int(model.predict([[n]], verbose=0)[0, 0]) for n in (1, 2, 27, 97)] == [0, 1, 111, 118]


def test_while_loops_on_arrays():
    i, (x, total) = ops.while_loop(
        lambda i, rest: i < 5, lambda i, rest: (i + 1, [rest[0] * 2, rest[1] + rest[0]]), (0, [np.ones(2), np.zeros(2)])
    )
    assert (int(i), x.tolist(), total.tolist()) == (5, [32, 32], [31, 31])
    assert int(ops.while_loop(lambda i: True, lambda i: i + 1, 0, maximum_iterations=7)) == 7
    assert [v.tolist() for v in ops.while_loop(lambda i: i < 3, lambda i: i + 1, [0])] == [3]


def test_a_while_loop_has_no_gradient():
    class Layer(L.Dense):
        def call(self, inputs):
            y = super().call(inputs)
            return ops.while_loop(lambda v: ops.max(v) < 9, lambda v: v * 2, y)

    model = kgraph.Sequential([kgraph.Input((3,)), Layer(2, name="own")])
    model.compile("sgd", "mse")
    with pytest.raises(GraphError, match="number of steps depends on data") as found:
        model.train_on_batch(np.ones((1, 3)), np.ones((1, 2)))
    assert "own" in str(found.value)
    assert "Use fori_loop or scan" in str(found.value)


# --- branches ---------------------------------------------------------------------------------------------------------


def test_branches_on_arrays_call_one_function():
    def never():
        raise AssertionError("called")

    assert ops.cond(np.array(True), lambda: 1, never) == 1
    assert ops.cond(False, never, lambda: 2) == 2
    assert [ops.switch(n, [lambda x: x + 1, lambda x: x * 2], 5) for n in (-3, 0, 1, 9)] == [6, 6, 10, 10]


@EXECUTIONS
def test_branches_inside_a_model(execution):
    x = kgraph.Input((2,))
    largest = ops.max(x)
    y = ops.cond(largest > 1, lambda: {"a": x * 2, "b": -x}, lambda: {"a": x + 1, "b": x})
    z = ops.switch(ops.cast(largest, "int32"), [lambda v: v, lambda v: v * 10, lambda v: v * 100], x)
    model = kgraph.Model(x, [y["a"], y["b"], z])
    with kgraph.execution(execution):
        for data, factor in (([[0.25, 0.5]], 1), ([[1.5, 0.0]], 10), ([[7.0, 0.0]], 100)):
            data = np.array(data, "float32")
            a, b, c = model.predict(data, verbose=0)
            above = data.max() > 1
            np.testing.assert_allclose(a, data * 2 if above else data + 1)
            np.testing.assert_allclose(b, -data if above else data)
            np.testing.assert_allclose(c, data * factor)


def test_vectorized_map_gives_what_map_gives(rng):
    x = rng.normal(size=(4, 3)).astype("float32")
    for function in (ops.map, ops.vectorized_map):
        a, b = function(lambda row: (row * 2, ops.sum(row)), x)
        np.testing.assert_allclose(a, x * 2)
        np.testing.assert_allclose(b, x.sum(1), rtol=1e-5)


def test_partial_results_from_the_end(rng):
    a, b = rng.normal(size=(2, 3, 4))
    found = ops.associative_scan(lambda p, q: (p[0] * q[0], p[1] + q[1]), (a, b), reverse=True, axis=-1)
    np.testing.assert_allclose(found[0], np.cumprod(a[:, ::-1], 1)[:, ::-1])
    np.testing.assert_allclose(found[1], np.cumsum(b[:, ::-1], 1)[:, ::-1])


# --- errors -----------------------------------------------------------------------------------------------------------

WRONG = [
    (lambda: ops.scan(lambda c, x: (c, x), 0.0), "scan: length: expected a number of steps where there are no xs"),
    (lambda: ops.scan(lambda c, x: (c, None), 0, (np.ones(2), np.ones(3))), "scan: expected one number of steps"),
    (lambda: ops.scan(lambda c, x: (c, None), 0, np.ones(2), length=3), "received 2, 3"),
    (lambda: ops.scan(lambda c, x: (c, None), 0, np.float32(1)), "at least one axis"),
    (lambda: ops.scan(lambda c, x: (c + x, None), 0, np.ones(2)), "carried on: expected i32[], received"),
    (lambda: ops.fori_loop(0, 2.5, lambda i, v: v, 0), "fori_loop: upper: expected a number that is known before"),
    (lambda: ops.while_loop(lambda v: v, lambda v: v, 3), "result of the condition: expected bool[], received i32[]"),
    (lambda: ops.while_loop(lambda a, b: a < 3, lambda a, b: (a,), (0, 1)), "carried on: expected 2, received 1"),
    (lambda: ops.switch(0, []), "switch: branches: expected at least one function"),
    (lambda: ops.switch(kgraph.Input((3,)), [lambda: 1]), "index: expected a tensor of rank 0"),
]


@pytest.mark.parametrize("call, words", WRONG, ids=[words[:30] for _, words in WRONG])
def test_wrong_calls_say_what_is_wrong(call, words):
    with pytest.raises(KgraphError, match=re.escape(words)) as found:
        call()
    assert isinstance(found.value, (ArgumentError, ShapeError, GraphError))


BRANCHES = {
    "cond": (lambda x: ops.cond(ops.sum(x) > 0, lambda: ops.sqrt(x), lambda: 2 * x), {-1.0: 2.0, 0.0: 2.0, 4.0: 0.25}),
    "switch": (
        lambda x: ops.switch(ops.cast(ops.sum(x), "int32"), [lambda t: -t, lambda t: ops.log(t - 1), ops.rsqrt], x),
        {-3.0: -1.0, 0.0: -1.0, 1.5: 2.0, 4.0: -0.0625},
    ),
    "division": (lambda x: ops.cond(ops.sum(x) > 0, lambda: 1 / x, lambda: x * 0 + 5), {0.0: 0.0, 2.0: -0.25}),
}


@pytest.mark.parametrize("execution", ["native", "interpreter"])
@pytest.mark.parametrize("name", BRANCHES)
def test_a_branch_that_is_not_taken_has_no_gradient(name, execution):
    """Infinite slopes there would make NaN of a gradient of 0."""
    function, slopes = BRANCHES[name]

    class Chooses(kgraph.layers.Layer):
        def call(self, inputs):
            return function(inputs)

    inputs = kgraph.Input((1,))
    model = kgraph.Model(inputs, Chooses()(inputs))
    for at, slope in slopes.items():
        with kgraph.execution(execution):
            _, (found,), _ = kgraph.vjp(model, np.full((1, 1), at, "float32"), [np.ones((1, 1), "float32")])
        np.testing.assert_allclose(found, [[slope]], rtol=1e-6, err_msg=str(at))
