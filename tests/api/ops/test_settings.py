"""The three places where functions of `kgraph.ops` are called, what they take there, and the words of their errors."""

from __future__ import annotations

import numpy as np
import pytest

import kgraph
import kgraph.ops as ops
from kgraph.errors import ArgumentError, DTypeError, KgraphError, ShapeError
from kgraph.ir.dtypes import f32
from kgraph.ir.opdef import emitting
from kgraph.ir.types import TensorType
from kgraph.trace import Trace

X = np.array([[1.0, -2.0], [3.0, 0.5]], "float32")


def test_arrays_lists_numbers_and_variables_give_arrays():
    variable = kgraph.Variable(X, "weight")
    for given in (X, X.tolist(), variable):
        np.testing.assert_array_equal(ops.add(given, 1), X + 1)
    assert ops.exp(0.0).dtype == np.float32
    assert ops.add(1, 2).dtype == np.int32
    np.testing.assert_array_equal(ops.stack([variable, variable]), np.stack([X, X]))


def test_symbolic_tensors_give_symbolic_tensors_with_a_history():
    x = kgraph.Input((2,))
    y = ops.concatenate([ops.exp(x), ops.multiply(x, [1.0, 2.0])], axis=-1)
    assert y.shape == (None, 4)
    model = kgraph.Model(x, y)
    np.testing.assert_allclose(model.predict(X, verbose=0), np.hstack([np.exp(X), X * [1, 2]]), rtol=1e-6)


def test_layers_compute_with_them_and_train():
    class Sized(kgraph.Layer):
        def call(self, inputs):
            total = ops.sum(ops.square(inputs), axis=-1, keepdims=True)
            return ops.divide(inputs, ops.sqrt(total + 1.0))

    model = kgraph.Sequential([kgraph.Input((2,)), kgraph.layers.Dense(3), Sized(), kgraph.layers.Dense(1)])
    model.compile("sgd", "mse")
    before = model.evaluate(X, X[:, :1], verbose=0)
    model.fit(X, X[:, :1], epochs=5, verbose=0)
    assert model.evaluate(X, X[:, :1], verbose=0) < before


def test_arrays_and_sizes_become_tensors_of_the_program():
    trace = Trace("t")
    with emitting(trace):
        batch = kgraph.Input((2,)).type.shape[0]
        x = trace.argument(TensorType(f32, (batch, 2)), "x")
        assert ops.add(x, np.ones(2)).type == x.type
        assert ops.divide(1.0, batch).type == TensorType(f32)
        assert ops.arange(batch).type.shape == (batch,)
        assert ops.zeros((batch, 3)).type == TensorType(f32, (batch, 3))
        assert ops.stack([[x, x], [x, x]]).type.shape == (2, 2, batch, 2)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: ops.sum(X, axis=2), ShapeError, "sum: axis: expected an axis in -2..1, received 2"),
        (lambda: ops.transpose(X, (0, 2)), ShapeError, "transpose: axis: expected"),
        (lambda: ops.concatenate([]), ArgumentError, "concatenate: xs: expected at least one tensor"),
        (lambda: ops.concatenate([X, X], axis=5), ShapeError, "concatenate: axis: expected"),
        (lambda: ops.exp(np.array(["a"])), DTypeError, "exp: x: expected numbers, received an array of strings"),
        (lambda: ops.zeros((2, -1)), ShapeError, "zeros: shape: expected sizes >= 0, received (2, -1)"),
        (lambda: ops.zeros(2, dtype="complex64"), DTypeError, "zeros: dtype: expected one of"),
        (lambda: ops.add(X, np.ones(3, "float32")), ShapeError, "add: shapes"),
        (lambda: ops.reshape(X, (3, -1)), ShapeError, "reshape: expected a shape of 4 elements"),
        (lambda: ops.split(X, 3), ShapeError, "split: indices_or_sections"),
        (lambda: ops.max(np.zeros((0, 2))), ShapeError, "max: x: expected at least one element"),
        (lambda: ops.bitwise_and(X, 1), DTypeError, "bitwise_and: element type: expected integers"),
        (lambda: ops.where([True]), ArgumentError, "where: x1 and x2: expected two tensors"),
        (lambda: ops.pad(X, 1, mode="wrap"), ArgumentError, "pad: mode: expected"),
        (lambda: ops.clip(X), TypeError, "clip: missing a required argument: 'x_min'"),
        (lambda: ops.stack(kgraph.Input((2,))), KgraphError, "stack: x: expected a list of tensors"),
    ],
)
def test_a_wrong_call_names_function_and_argument(call, error, words):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


def test_symbolic_calls_have_the_same_errors():
    with pytest.raises(ShapeError, match=r"^sum: axis: expected an axis in -2\.\.1, received 2"):
        ops.sum(kgraph.Input((2,)), axis=2)
