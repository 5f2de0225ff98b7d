"""The reference interpreter."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

from kgraph.errors import ArgumentError, DTypeError, InternalError, ShapeError
from kgraph.ir.dims import symbol
from kgraph.ir.dtypes import f32, f64, i32
from kgraph.ir.graph import Graph, GraphBuilder, Node, Value
from kgraph.ir.opdef import NoGrad, emitting, primitive
from kgraph.ir.types import TensorType
from kgraph.primitives import REGISTRY
from kgraph.primitives.structural import fusion
from kgraph.runtime.interpreter import interpret

BATCH = symbol("batch")


def build(function, *types):
    """The graph of a function of symbolic tensors that gives a list of outputs."""
    builder = GraphBuilder("g", REGISTRY)
    with emitting(builder):
        outputs = function(*map(builder.input, types))
    return builder.build(outputs)


def test_operators_give_what_numpy_gives(rng):
    graph = build(lambda x, y: [x * 2.0 + y, x / y], TensorType(f32, (3, 4)), TensorType(f32, (4,)))
    x, y = rng.normal(size=(3, 4)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    first, second = interpret(graph, [x, y])
    np.testing.assert_array_equal(first, x * np.float32(2) + y)
    np.testing.assert_array_equal(second, x / y)


@pytest.mark.parametrize("batch", [0, 1, 5])
def test_symbolic_sizes_come_from_the_inputs(batch):
    def function(x):
        emit = REGISTRY.__getitem__
        return [emit("iota")(shape=(BATCH, 2), axis=0, dtype=i32), emit("size")(dim=BATCH * 2, dtype=f32), x]

    ramp, size, _ = interpret(build(function, TensorType(f32, (BATCH, 3))), [np.zeros((batch, 3), np.float32)])
    np.testing.assert_array_equal(ramp, np.arange(batch, dtype=np.int32)[:, np.newaxis] + np.zeros((1, 2), np.int32))
    assert size == 2 * batch


def test_a_size_that_no_input_shows_can_be_given():
    graph = build(lambda x: [REGISTRY["size"](dim=BATCH, dtype=i32)], TensorType(f32))
    assert interpret(graph, [np.float32(0)], {"batch": 7}) == [7]


def test_a_given_size_must_agree_with_the_inputs():
    graph = build(lambda x: [x], TensorType(f32, (BATCH,)))
    with pytest.raises(ShapeError, match="size batch"):
        interpret(graph, [np.zeros(3, np.float32)], {"batch": 4})


@pytest.mark.parametrize(
    "arrays, error, words",
    [
        ([np.zeros((2, 3), np.float32)], ArgumentError, "2 inputs"),
        ([np.zeros((2, 3), np.float32), np.zeros(3, np.float32)], ShapeError, "argument 1"),
        ([np.zeros((2, 4), np.float32), np.zeros(2, np.float32)], ShapeError, "argument 0"),
        ([np.zeros(3, np.float32), np.zeros(2, np.float32)], ShapeError, "argument 0"),
        ([np.zeros((2, 3)), np.zeros(2, np.float32)], DTypeError, "float32, received float64"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(arrays, error, words):
    graph = build(lambda x, y: [x], TensorType(f32, (BATCH, 3)), TensorType(f32, (BATCH,)))
    with pytest.raises(error, match=words):
        interpret(graph, arrays)


def test_results_are_new_arrays_even_if_the_graph_hands_its_input_through():
    graph = build(lambda x: [x, x, REGISTRY["broadcast"](x, shape=(2, 3), axes=(1,))], TensorType(f32, (3,)))
    x = np.zeros(3, np.float32)
    results = interpret(graph, [x])
    for result in results:
        result[...] += 1
    assert not x.any()
    assert all((result == 1).all() for result in results)


def test_overflow_and_nan_are_results_without_warnings():
    graph = build(lambda x: [x * 1e38, x / 0.0, REGISTRY["log"](-x)], TensorType(f32, (1,)))
    large, infinite, nan = interpret(graph, [np.array([1e10], np.float32)])
    assert np.isposinf(large)
    assert np.isposinf(infinite)
    assert np.isnan(nan)


def test_a_fusion_runs_its_body_with_the_same_sizes(rng):
    def function(x):
        return [x * x + 1.0, REGISTRY["size"](dim=BATCH, dtype=f64)]

    body = build(function, TensorType(f64, (BATCH, 2)))
    x = Value(TensorType(f64, (BATCH, 2)))
    outputs = tuple(Value(v.type) for v in body.outputs)
    graph = Graph("outer", (x,), (Node(fusion, (x,), outputs, {"body": body}),), outputs)
    array = rng.normal(size=(3, 2))
    first, size = interpret(graph, [array])
    np.testing.assert_array_equal(first, array * array + 1)
    assert size == 3


def test_a_gradient_must_be_expanded_first():
    graph = build(lambda x: [REGISTRY["gradient"](x, x)], TensorType(f32))
    with pytest.raises(InternalError, match="Expand gradients first"):
        interpret(graph, [np.float32(1)])


def test_a_reference_that_contradicts_its_shape_rule_is_found():
    @primitive(infer=lambda types, attrs: types[0], grad=NoGrad("a test"), lower=REGISTRY["neg"].lower,
               samples=lambda rng: ())  # fmt: skip
    def shrink(x):
        return x[1:]

    graph = build(lambda x: [shrink(x)], TensorType(f32, (3,)))
    with pytest.raises(InternalError, match="reference of shrink"):
        interpret(graph, [np.zeros(3, np.float32)])


def test_a_reference_that_promotes_is_cast_back():
    @primitive(infer=lambda types, attrs: types[0], grad=NoGrad("a test"), lower=REGISTRY["neg"].lower,
               samples=lambda rng: ())  # fmt: skip
    def widen(x):
        return x.astype(np.float64)

    (out,) = interpret(build(lambda x: [widen(x)], TensorType(f32, (3,))), [np.zeros(3, np.float32)])
    assert out.dtype == np.float32


def test_values_go_when_nobody_needs_them_any_more():
    made: list[weakref.ref] = []
    alive: list[int] = []

    @primitive(infer=lambda types, attrs: types[0], grad=NoGrad("a test"), lower=REGISTRY["neg"].lower,
               samples=lambda rng: ())  # fmt: skip
    def step(x):
        alive.append(sum(array() is not None for array in made))
        out = x.copy()
        made.append(weakref.ref(out))
        return out

    def chain(x):
        for _ in range(40):
            x = step(x)
        return [x]

    interpret(build(chain, TensorType(f32, (2,))), [np.zeros(2, np.float32)])
    assert len(alive) == 40
    assert max(alive) <= 2
