"""Symbolic tensors: Python's operators and subscripts, and the words for what only values can do."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kgraph
from kgraph.errors import DTypeError, KgraphError, ShapeError, SymbolicError
from kgraph.layers import Conv1D, Cropping1D, Input, Layer
from kgraph.models import Model
from kgraph.variable import Variable

X = np.random.default_rng(0).normal(size=(3, 4, 5)).astype("float32")
Z = np.random.default_rng(1).uniform(0.5, 2, size=(3, 4, 5)).astype("float32")


class Apply(Layer):
    """A function as a layer: its operands are values of a program."""

    def __init__(self, function: Callable[..., Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function = function

    def call(self, inputs, other=None):
        return self.function(inputs) if other is None else self.function(inputs, other)


@pytest.fixture(autouse=True)
def in_the_interpreter():
    with kgraph.execution("interpreter"):
        yield


SUBSCRIPTS = [
    np.s_[:, None], np.s_[0], np.s_[-1], np.s_[..., 0], np.s_[:, 1], np.s_[:, -2:], np.s_[:, 1:3, ::2], np.s_[1:, :-1],
    np.s_[..., None], np.s_[None, ..., 2], np.s_[:, ::-1], np.s_[..., 4:0:-2], np.s_[..., ::-3], np.s_[:, 3:1],
    np.s_[:, 10:], np.s_[:, -10:2], np.s_[0, 1, 2], np.s_[:, np.int64(2)], np.s_[:], np.s_[...], np.s_[None],
    np.s_[:, 2:2],
]  # fmt: skip


@pytest.mark.parametrize("key", SUBSCRIPTS, ids=str)
def test_subscripts_are_those_of_numpy(key: Any):
    np.testing.assert_array_equal(Apply(lambda x: x[key])(X), X[key])
    i = Input(batch_shape=X.shape)
    y = i[key]
    assert y.shape == X[key].shape
    np.testing.assert_array_equal(Model(i, y)(X), X[key])


@pytest.mark.parametrize("key", [
    np.s_[:, -1], np.s_[:, :-1], np.s_[:, 1:], np.s_[:, -2:], np.s_[:, ::2], np.s_[:, ::-1], np.s_[:, 2],
    np.s_[:, 1:4:2],
], ids=str)  # fmt: skip
def test_subscripts_of_an_axis_whose_size_is_not_known_yet(key: Any):
    i = Input((None, 5))
    y = i[key]
    assert y.shape == (None, 5) if y.ndim == 2 else y.shape[0] is None
    model = Model(i, y)
    for x in (X, np.concatenate([X, X], 1)):
        np.testing.assert_array_equal(model(x), x[key])


def test_subscripts_run_natively_with_gradients():
    i = Input((None, 5))
    model = Model(i, [i[:, ::-1], i[:, 1::2, -1], i[..., 3:0:-2]])
    cotangents = [np.random.default_rng(2).normal(size=y.shape).astype("float32") for y in model(X)]
    with kgraph.execution("native"):
        outputs, (slope,), _ = kgraph.vjp(model, [X], cotangents)
    expected = np.zeros_like(X)
    for key, output, c in zip((np.s_[:, ::-1], np.s_[:, 1::2, -1], np.s_[..., 3:0:-2]), outputs, cotangents):
        np.testing.assert_array_equal(output, X[key])
        expected[key] += c
    np.testing.assert_allclose(slope, expected, rtol=1e-6)


@pytest.mark.parametrize("key, error, words", [
    (np.s_[:, 4], ShapeError, r"subscript of axis 1: expected an index in -4..3, received 4"),
    (np.s_[0, 0, 0, 0], ShapeError, "expected at most 3 indices, received 4"),
    (np.s_[..., ...], ShapeError, "expected at most one '...'"),
    ([0, 1], DTypeError, r"received \[0, 1\]. Use ops.take"),
    ("a", DTypeError, "expected integers, slices, None or ..."),
    (True, DTypeError, "received True"),
], ids=str)  # fmt: skip
def test_wrong_subscripts(key: Any, error: type[Exception], words: str):
    with pytest.raises(error, match=words):
        Input((4, 5))[key]
    with pytest.raises(ShapeError, match=r"axis 1 of size \w+: expected steps >= 1, or ::-1, received None:None:-2"):
        Input((None, 5))[:, ::-2]


@pytest.mark.parametrize("execution", ["interpreter", "native"])
def test_a_subscript_beyond_a_size_is_found_before_the_program_runs(execution: str):
    i = Input((None, 5))
    model = Model(i, Apply(lambda x: x[:, 2:5] + x[:, -3:], name="l")(i), name="m")
    with kgraph.execution(execution):
        assert model.predict(np.ones((2, 5, 5)), verbose=0).shape == (2, 3, 5)
        words = r"^m/l: elements 2:5: expected a longer axis 1, received 4$"
        with pytest.raises(ShapeError, match=words):
            model.predict(np.ones((2, 4, 5)), verbose=0)
        with pytest.raises(ShapeError, match=r"^m/c: elements 2:-2\+\w+: expected a longer axis 1, received 3$"):
            Model(i, Cropping1D(2, name="c")(i), name="m").predict(np.ones((2, 3, 5)), verbose=0)
        with pytest.raises(ShapeError, match=r"^m/v: a result of size -3\+\w+: expected a longer axis 1, received 2$"):
            Model(i, Conv1D(2, 4, name="v")(i), name="m").predict(np.ones((2, 2, 5)), verbose=0)
        with pytest.raises(ShapeError, match=r"^m: elements 3:5: expected a longer axis 0, received 4"):
            Model(i, i[3:5], name="m").predict(np.ones((4, 3, 5)), verbose=0)
        assert model.predict(np.ones((2, 7, 5)), verbose=0).shape == (2, 3, 5)


BINARY = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow,
    operator.matmul, operator.lt, operator.le, operator.gt, operator.ge,
]  # fmt: skip


@pytest.mark.parametrize("function", BINARY, ids=lambda f: f.__name__)
@pytest.mark.parametrize("other", [2.0, 3, np.float32(0.5), Z, np.asarray(Z, "float64")], ids=lambda v: str(type(v)))
def test_operators_are_those_of_numpy(function: Callable[..., Any], other: Any):
    """With numbers and arrays on either side, on values of a program and on symbolic tensors of a functional model."""
    matrices = function is operator.matmul
    if matrices:
        other = np.swapaxes(np.broadcast_to(np.asarray(other, "float32"), Z.shape), 1, 2)
    single = other.astype("float32") if isinstance(other, np.ndarray) else other
    i = Input(batch_shape=Z.shape)
    for expected, of in (
        (function(Z, single), lambda x: function(x, other)),
        (function(single, Z), lambda x: function(other, x)),
    ):
        for y in (Apply(of)(Z), Model(i, of(i))(Z)):
            assert y.dtype == expected.dtype
            # A remainder is a difference of numbers of the size of the operands, and rounded as they are.
            np.testing.assert_allclose(y, expected, rtol=1e-6, atol=2e-7 if function is operator.mod else 0)


def test_operators_between_two_tensors_and_of_one():
    i, j = Input((4, 5)), Input((4, 5))
    outputs = [
        -i + j * 2 - i / j, abs(i) ** j, +i, (i > 0) & (j > 1), (i > 0) | (j > 1), (i > 0) ^ (j > 1), ~(i > j),
        i @ j[0, 0],
    ]  # fmt: skip
    got = Model([i, j], outputs)([X, Z])
    a, b = X > 0, Z > 1
    wanted = [-X + Z * 2 - X / Z, abs(X) ** Z, X, a & b, a | b, a ^ b, ~(X > Z), X @ Z[0, 0]]
    for y, expected in zip(got, wanted):
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_integers_and_bools_become_numbers_that_can_be_computed_with():
    i = Input(batch_shape=(3,), dtype="int32")
    n = np.array([-3, 2, 5], "int32")
    got = Model(i, [i / 2, i // 2, i % 2, i + True, (i > 0) + (i > 2), i * 0.5])(n)
    for y, wanted in zip(got, [n / 2, n // 2, n % 2, n + 1, (n > 0) + 1 * (n > 2), n * 0.5]):
        np.testing.assert_array_equal(y, wanted)
    assert [y.dtype.name for y in got] == ["float32", "int32", "int32", "int32", "int32", "float32"]


def test_shape_and_element_type():
    i = Input((None, 5))
    assert (i.shape, i.dtype, i.ndim) == ((None, None, 5), "float32", 3)
    assert (i > 0).dtype == "bool"
    assert (i[:, 0] * 2).shape == (None, 5)


def test_weights_take_operators_everywhere():
    """In a program, with symbolic tensors of functional models, and on their own."""
    weight = Variable(np.arange(5, dtype="float32"), "w")
    i = Input((4, 5))
    np.testing.assert_array_equal(Model(i, [weight * i, i - weight, weight[1:3] * i[..., :2]])(X)[1], X - weight.value)
    np.testing.assert_array_equal(Apply(lambda x: x * weight[None, ::-1])(X[0]), X[0] * weight.value[::-1])
    np.testing.assert_array_equal(2 * weight + np.ones(5), 2 * np.arange(5) + 1)
    np.testing.assert_array_equal(np.exp(weight), np.exp(weight.value))
    assert np.mean(weight) == 2
    assert (weight[1], len(weight), list(weight)) == (1, 5, [0, 1, 2, 3, 4])


def branch(x: Any) -> Any:
    return x if x > 0 else -x


@pytest.mark.parametrize("function, words", [
    (branch, "Python 'if' on a symbolic tensor; use ops.where/ops.cond"),
    (lambda x: [row for row in x], "iteration over a symbolic tensor; use ops.unstack"),  # noqa: C416
    (len, r"len\(\) of a symbolic tensor; use x.shape\[0\]"),
    (float, r"float\(\) of a symbolic tensor, which has no value yet"),
    (int, r"int\(\) of a symbolic tensor, which has no value yet"),
    (np.exp, "NumPy function on a symbolic tensor; use kgraph.ops.exp"),
    (np.mean, "NumPy function on a symbolic tensor; use kgraph.ops.mean"),
    (lambda x: np.concatenate([x, x]), "NumPy function on a symbolic tensor; use kgraph.ops.concatenate"),
    (lambda x: np.asarray([x]), "a NumPy array of a symbolic tensor"),
])  # fmt: skip
def test_what_only_values_can_do(function: Callable[..., Any], words: str):
    """One line each; inside a layer's call it names the innermost layer."""
    layer = Apply(function, name="l")
    i = Input((4,))
    for call in (lambda: layer(i), lambda: layer(X[0]), lambda: Apply(layer)(X[0])):
        with pytest.raises(SymbolicError, match=rf"^layer 'l' \(Apply\)\.call: {words}") as caught:
            call()
        assert isinstance(caught.value, TypeError)
        assert "\n" not in str(caught.value)
    with pytest.raises(SymbolicError, match=f"^{words}"):
        function(i)
    assert Apply(lambda x: x + 1)(X[0]).shape == (4, 5)


def test_errors_are_of_the_project():
    assert issubclass(SymbolicError, KgraphError)
