"""Gradients where the slope is not defined or formulas overflow: what Keras with TensorFlow gives."""

from __future__ import annotations

import numpy as np
import pytest

from kgraph.compiler.passes.autodiff import autodiff
from kgraph.ir.dtypes import dtype_of
from kgraph.ir.graph import GraphBuilder
from kgraph.ir.opdef import emitting
from kgraph.ir.types import TensorType
from kgraph.primitives import REGISTRY, composites
from kgraph.runtime.interpreter import interpret


def gradients(function, *arrays):
    """Gradients of the sum of `function` of the arrays, by autodiff and the interpreter."""
    arrays = [np.asarray(a, np.float64) if not isinstance(a, np.ndarray) else a for a in arrays]
    builder = GraphBuilder("g", REGISTRY)
    with emitting(builder):
        xs = [builder.input(TensorType(dtype_of(a.dtype), a.shape)) for a in arrays]
        found = builder.emit("gradient", composites.sum(function(*xs)), *xs)
    return interpret(autodiff(builder.build(found if isinstance(found, tuple) else [found])), arrays)


UNARY = [
    ("relu", [-1, 0, 2, np.nan], [0, 0, 1, 0]),
    ("abs", [-1, 0, 2], [-1, 0, 1]),
    ("sign", [-1, 0, 2], [0, 0, 0]),
    ("floor", [-1.5, 0, 2], [0, 0, 0]),
    ("ceil", [-1.5, 0, 2], [0, 0, 0]),
    ("round", [-1.5, 0, 2], [0, 0, 0]),
    ("sqrt", [0, 4], [np.inf, 0.25]),
    ("softplus", [-1e4, 0, 1e4], [0, 0.5, 1]),
    ("sigmoid", [-1e4, 0, 1e4], [0, 0.25, 0]),
    ("tanh", [-1e4, 0, 1e4], [0, 1, 0]),
    ("stop_gradient", [1, 2], [0, 0]),
]


@pytest.mark.parametrize("name, x, slope", UNARY, ids=lambda v: v if isinstance(v, str) else "")
def test_slope_at_special_points(name, x, slope):
    np.testing.assert_array_equal(gradients(REGISTRY[name], x)[0], slope)


def test_equal_operands_of_maximum_and_minimum_give_the_gradient_to_the_first():
    for name in ("maximum", "minimum"):
        da, db = gradients(REGISTRY[name], [1, 2], [1, 2])
        np.testing.assert_array_equal(da, [1, 1])
        np.testing.assert_array_equal(db, [0, 0])


def test_equal_extremes_share_the_gradient():
    (dx,) = gradients(lambda x: composites.max(x, -1), [[3, 1, 3], [2, 2, 2]])
    np.testing.assert_allclose(dx, [[1 / 2, 0, 1 / 2], [1 / 3] * 3])
    (dx,) = gradients(lambda x: composites.min(x, -1), [[3, 1, 3], [2, 2, 2]])
    np.testing.assert_allclose(dx, [[0, 1, 0], [1 / 3] * 3])


def test_clip_lets_the_gradient_through_inside_and_at_the_limits():
    (dx,) = gradients(lambda x: composites.clip(x, -1.0, 1.0), [-2, -1, 0, 1, 2])
    np.testing.assert_array_equal(dx, [0, 1, 1, 1, 0])


def test_power_has_finite_slopes_at_zero_base():
    da, db = gradients(REGISTRY["pow"], [0, 0, 0, -2], [0, 1, 2, 2])
    np.testing.assert_array_equal(da, [0, 1, 0, -4])
    np.testing.assert_array_equal(db, [0, 0, 0, 0])


def test_select_keeps_nan_of_the_other_branch_out():
    (dx,) = gradients(lambda x: composites.where(x > 0.0, x, 0.0), [np.nan, -1, 3])
    np.testing.assert_array_equal(dx, [0, 0, 1])


def test_elu_has_a_finite_slope_where_the_exponential_overflows():
    (dx,) = gradients(composites.elu, [1e4, 1.0, -1e4])
    np.testing.assert_array_equal(dx, [1, 1, 0])


@pytest.mark.parametrize("x", [[2.0, 3, 4], [0.0, 3, 4], [0.0, 0, 4], [0.0, 0, 0]])
def test_product_has_right_slopes_with_zeros(x):
    (dx,) = gradients(composites.prod, x)
    np.testing.assert_allclose(dx, [x[1] * x[2], x[0] * x[2], x[0] * x[1]])


def test_softmax_crossentropy_of_huge_logits_has_the_exact_slope():
    z, t = np.array([[1e4, -1e4, 0.0]]), np.array([[0.0, 1.0, 0.0]])
    dz, _ = gradients(lambda a, b: REGISTRY["softmax_crossentropy"](a, b)[0], z, t)
    np.testing.assert_array_equal(dz, [[1, -1, 0]])


def test_softmax_crossentropy_ignores_a_masked_class_without_target():
    z, t = np.array([[-np.inf, 0.0, 0.0]]), np.array([[0.0, 1.0, 0.0]])
    loss, _ = REGISTRY["softmax_crossentropy"].reference(z, t)
    np.testing.assert_allclose(loss, [np.log(2)])
    dz, _ = gradients(lambda a, b: REGISTRY["softmax_crossentropy"](a, b)[0], z, t)
    np.testing.assert_allclose(dz, [[0, -0.5, 0.5]])


def test_gradient_through_the_probabilities_alone_is_that_of_softmax(rng):
    z, t, w = rng.normal(size=(3, 2, 5))
    direct, _ = gradients(lambda a, b: REGISTRY["softmax"](a) * b, z, w)
    dz, _, _ = gradients(lambda a, b, c: REGISTRY["softmax_crossentropy"](a, b)[1] * c, z, t, w)
    np.testing.assert_allclose(dz, direct, rtol=1e-12)


def test_sigmoid_crossentropy_of_huge_logits_has_the_exact_slope():
    dz, _ = gradients(REGISTRY["sigmoid_crossentropy"], [1e4, 1e4, -1e4, -1e4], [0, 1, 0, 1])
    np.testing.assert_array_equal(dz, [1, 0, 0, -1])


def test_probabilities_outside_the_clipping_range_get_no_gradient():
    dp, _ = gradients(lambda p, t: REGISTRY["binary_crossentropy"](p, t, epsilon=1e-7), [0.0, 1.0, 0.5], [1, 0, 1])
    np.testing.assert_allclose(dp, [0, 0, -2])


def test_casting_to_an_integer_stops_the_gradient():
    (dx,) = gradients(lambda x: composites.cast(composites.cast(x, "int32"), "float64"), [1.5, 2.5])
    np.testing.assert_array_equal(dx, [0, 0])


def test_gradient_of_float32_through_float64_is_float32():
    (dx,) = gradients(lambda x: composites.cast(x, "float64") * 2.0, np.ones(2, np.float32))
    assert dx.dtype == np.float32
