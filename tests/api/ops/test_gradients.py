"""Gradients that the user states or stops, inside models."""

from __future__ import annotations

import numpy as np
import pytest

import kgraph
import kgraph.ops as ops
from kgraph.errors import ArgumentError, GraphError, ShapeError
from kgraph.ir.dims import symbol
from kgraph.ir.dtypes import f32
from kgraph.ir.opdef import emitting
from kgraph.ir.parser import parse
from kgraph.ir.printer import to_text
from kgraph.ir.types import TensorType
from kgraph.primitives import REGISTRY
from kgraph.trace import Trace

X = np.array([[100.0, 1.0, -2.0]], "float32")


def slope(function, *, execution="interpreter"):
    """Value and gradient of ``sum(function(x))`` at `X`, by a functional model."""
    x = kgraph.Input((3,))
    model = kgraph.Model(x, function(x))
    with kgraph.execution(execution):
        (value,), (gradient,), _ = kgraph.vjp(model, X, np.ones(model.predict(X, verbose=0).shape, "float32"))
    return value, gradient


@ops.custom_gradient
def log1pexp(x):
    """log(1 + exp(x)) with the stable slope of Keras' documentation."""
    e = ops.exp(x)

    def gradient(*args, upstream=None):
        if upstream is None:
            (upstream,) = args
        return ops.multiply(upstream, 1.0 - 1.0 / ops.add(1, e))

    return ops.log(1 + e), gradient


@pytest.mark.parametrize("execution", ["interpreter", "native"])
def test_a_stated_gradient_takes_the_place_of_the_computed_one(execution):
    _, gradient = slope(log1pexp, execution=execution)
    wanted = 1 / (1 + np.exp(-X.astype(float)))  # where the computed one is NaN at 100
    np.testing.assert_allclose(gradient, wanted, rtol=1e-6)


def test_several_arguments_and_results_with_weights_of_the_layer():
    @ops.custom_gradient
    def both(x, w, axis):
        return (x * w, x + w), lambda first, second: (first * 2.0, ops.sum(second * x, axis=axis), None)

    class Scaled(kgraph.Layer):
        def build(self, shape):
            self.w = self.add_weight((shape[-1],), "ones", name="w")

        def call(self, inputs):
            first, second = both(inputs, self.w, 0)
            return first * 3.0 + second

    x = kgraph.Input((3,))
    model = kgraph.Model(x, Scaled()(x))
    (y,), (dx,), (dw,) = kgraph.vjp(model, X, np.ones_like(X))
    np.testing.assert_allclose(y, X * 4 + 1)
    np.testing.assert_allclose(dx, np.full_like(X, 6.0))
    np.testing.assert_allclose(dw, X[0])


def test_on_arrays_only_the_result_is_computed():
    np.testing.assert_allclose(log1pexp([0.0, 1.0]), np.log1p(np.exp([0.0, 1.0])), rtol=1e-6)


def test_a_stopped_gradient_is_zero():
    value, gradient = slope(lambda x: ops.stop_gradient(x) * x)
    np.testing.assert_allclose(value, X * X)
    np.testing.assert_allclose(gradient, X)


@pytest.mark.parametrize(
    "function, error, words",
    [
        (lambda x: (x, lambda dy: (dy, dy)), ArgumentError, "expected gradients of 1 arguments, received 2"),
        (lambda x: (x, lambda dy: ops.sum(dy)), ShapeError, r"gradient: expected f32\[batch, 3\], received f32\[\]"),
        (lambda x: (x > 0, lambda dy: dy), GraphError, "expected results that are floats"),
    ],
)
def test_a_gradient_that_does_not_fit_is_refused(function, error, words):
    with pytest.raises(error, match=words):
        slope(ops.custom_gradient(function))


def test_the_text_of_a_stated_gradient_reads_back():
    trace = Trace("t")
    with emitting(trace):
        y = log1pexp(trace.argument(TensorType(f32, (symbol("n"),)), "x"))
        graph = trace.program([("y", y)]).graph
    text = to_text(graph)
    assert "custom_gradient" in text
    assert to_text(parse(text, REGISTRY)) == text
