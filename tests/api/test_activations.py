"""Activations: values by independent formulas, the three ways of calling them, names."""

from __future__ import annotations

import math

import numpy as np
import pytest

import kgraph
from kgraph import activations
from kgraph.errors import ArgumentError, ShapeError

X = np.array([[-1e4, -60, -3.5, -1.5, -1, -0.6, -0.25, 0], [0.25, 0.6, 1, 1.5, 2.5, 6.5, 60, 1e4]])


def _erf(x: np.ndarray) -> np.ndarray:
    return np.vectorize(math.erf)(x)


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, x)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.exp(-_softplus(-x))


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _below(x: np.ndarray, alpha: float) -> np.ndarray:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _sparsemax(x: np.ndarray) -> np.ndarray:
    """By bisection of the cut that makes each row's sum 1."""
    low, high = x.max(-1, keepdims=True) - 1, x.max(-1, keepdims=True)
    for _ in range(200):
        cut = (low + high) / 2
        too_much = np.maximum(x - cut, 0).sum(-1, keepdims=True) > 1
        low, high = np.where(too_much, cut, low), np.where(too_much, high, cut)
    return np.maximum(x - high, 0)


FORMULAS = {
    "celu": lambda x: _below(x, 1.0),
    "elu": lambda x: _below(x, 1.0),
    "exponential": lambda x: np.exp(np.minimum(x, 60)),
    "gelu": lambda x: x * 0.5 * (1 + _erf(x / math.sqrt(2))),
    "glu": lambda x: x[..., :4] * _sigmoid(x[..., 4:]),
    "hard_shrink": lambda x: x * (np.abs(x) > 0.5),
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "hard_silu": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "linear": lambda x: x,
    "log_sigmoid": lambda x: -_softplus(-x),
    "log_softmax": lambda x: x - np.logaddexp.reduce(x, axis=-1, keepdims=True),
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "selu": lambda x: 1.0507009873554805 * _below(x, 1.6732632423543772),
    "sigmoid": _sigmoid,
    "silu": lambda x: x * _sigmoid(x),
    "soft_shrink": lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0),
    "softmax": _softmax,
    "softplus": _softplus,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "sparse_plus": lambda x: np.where(x <= -1, 0, np.where(x < 1, (x + 1) ** 2 / 4, x)),
    "sparse_sigmoid": lambda x: np.clip((x + 1) / 2, 0, 1),
    "sparsemax": _sparsemax,
    "squareplus": lambda x: (x + np.sqrt(x * x + 4)) / 2,
    "tanh": np.tanh,
    "tanh_shrink": lambda x: x - np.tanh(x),
}  # fmt: skip


def test_every_activation_has_a_formula_here():
    assert set(FORMULAS) | {"threshold"} == {f.__name__ for f in activations.FUNCTIONS}


@pytest.mark.parametrize("name", FORMULAS)
def test_values_are_those_of_the_formula(name: str):
    x = np.minimum(X, 60) if name == "exponential" else X
    np.testing.assert_allclose(activations.get(name)(x), FORMULAS[name](x), rtol=1e-12, atol=1e-12)


def test_relu_options_are_those_of_keras():
    x = np.array([-2.0, -0.5, 0.1, 0.3, 0.7, 5.0])
    y = activations.relu(x, negative_slope=0.1, max_value=0.8, threshold=0.2)
    np.testing.assert_allclose(y, [0.1 * -2.2, 0.1 * -0.7, 0.1 * -0.1, 0.3, 0.7, 0.8], rtol=1e-12)
    np.testing.assert_allclose(activations.relu(x, negative_slope=0.5), np.where(x > 0, x, 0.5 * x), rtol=1e-12)
    np.testing.assert_allclose(activations.relu(x, max_value=0.5), np.clip(x, 0, 0.5), rtol=1e-12)


def test_threshold_and_glu_along_an_axis():
    np.testing.assert_array_equal(activations.threshold(X, 1.0, -2.0), np.where(X > 1, X, -2))
    np.testing.assert_allclose(activations.glu(X, axis=0), X[:1] * _sigmoid(X[1:]), rtol=1e-12)
    with pytest.raises(ShapeError, match="glu: expected an even size along axis -1, received 3"):
        activations.glu(np.ones((2, 3)))


@pytest.mark.parametrize("shape, axis", [((4, 6), -1), ((5, 3, 4), 1)])
def test_sparsemax_is_the_nearest_point_of_the_simplex(shape: tuple[int, ...], axis: int, rng):
    x = np.round(rng.normal(size=shape), 1)  # with equal elements
    y = activations.sparsemax(x, axis=axis)
    np.testing.assert_allclose(y, np.moveaxis(_sparsemax(np.moveaxis(x, axis, -1)), -1, axis), rtol=0, atol=1e-12)
    assert (y == 0).any()


def test_tanh_form_of_gelu():
    x = np.linspace(-3, 3, 7)
    wanted = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    np.testing.assert_allclose(activations.gelu(x, approximate=True), wanted, rtol=1e-12)


def test_softmax_along_other_axes(rng):
    x = X.astype("float32")
    np.testing.assert_allclose(activations.softmax(x, axis=0), _softmax(x.T).T, rtol=1e-6)
    x = rng.normal(size=(2, 3, 4))
    together = _softmax(x.transpose(1, 0, 2).reshape(3, 8)).reshape(3, 2, 4).transpose(1, 0, 2)
    np.testing.assert_allclose(activations.softmax(x, axis=[0, -1]), together, rtol=1e-12)


def test_integers_become_floats_where_the_result_is_not_whole():
    assert activations.sigmoid(np.array([0, 1])).dtype == np.float32
    assert activations.relu(np.array([-1, 1], "int32")).dtype == np.int32


def test_on_symbolic_tensors_they_make_models():
    x = kgraph.Input((3,))
    model = kgraph.Model(x, activations.elu(activations.tanh(x), alpha=0.5))
    data = np.array([[-1, 0, 2]], "float32")
    with kgraph.execution("interpreter"):
        np.testing.assert_allclose(model(data), _below(np.tanh(data), 0.5), rtol=1e-6)


def test_names_are_serialized_and_read_back():
    for name in FORMULAS:
        assert activations.serialize(activations.get(name)) == name
        assert activations.deserialize(name) is activations.get(name)
    assert activations.get("swish") is activations.silu
    assert activations.get(None) is activations.linear
    with pytest.raises(ArgumentError, match="a named function"):
        activations.serialize(lambda x: x)
