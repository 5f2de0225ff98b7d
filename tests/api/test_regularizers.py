"""Penalties have their formula's value and slope, and are part of what training minimises and evaluation reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kgraph import execution, layers, regularizers
from kgraph.engine import CompiledProgram
from kgraph.errors import ArgumentError, DTypeError, GraphError, ShapeError, StateError
from kgraph.ir.dtypes import f64
from kgraph.ir.opdef import emitting
from kgraph.ir.types import TensorType
from kgraph.layers import Dense, Layer
from kgraph.models import Model, Sequential
from kgraph.optimizers import SGD
from kgraph.primitives.composites import sum as total
from kgraph.regularizers import L1, L1L2, L2, OrthogonalRegularizer
from kgraph.trace import Trace, gradients


def overlap(x: np.ndarray, factor: float) -> float:
    """factor times the mean of |cosine| over pairs of rows, pair by pair."""
    unit = x / np.sqrt((x**2).sum(1, keepdims=True))
    pairs = [abs(unit[i] @ unit[j]) for i in range(len(x)) for j in range(i)]
    return factor * float(np.mean(pairs))


FORMULAS: list[tuple[Any, Callable[[np.ndarray], float]]] = [
    (L1(0.3), lambda x: 0.3 * np.abs(x).sum()),
    (L2(0.3), lambda x: 0.3 * (x**2).sum()),
    (L1L2(0.3, 0.2), lambda x: 0.3 * np.abs(x).sum() + 0.2 * (x**2).sum()),
    (L1L2(), lambda x: 0.0),
    (OrthogonalRegularizer(0.3), lambda x: overlap(x, 0.3)),
    (OrthogonalRegularizer(0.3, "columns"), lambda x: overlap(x.T, 0.3)),
]


@pytest.mark.parametrize(("regularizer", "formula"), FORMULAS)
@pytest.mark.parametrize("way", ["native", "interpreter"])
def test_value_and_slope_follow_the_formula(regularizer: Any, formula: Callable, way: str, rng: np.random.Generator):
    x = rng.normal(size=(4, 3))
    trace = Trace("penalty")
    with emitting(trace):
        argument = trace.argument(TensorType(f64, x.shape), "x")
        value = regularizer(argument)
        program = CompiledProgram(trace.program([("value", value), ("slope", gradients(value, [argument])[0])]))
    value, slope = program.run([x], way)
    np.testing.assert_allclose(value, formula(x), rtol=1e-12)
    np.testing.assert_allclose(regularizer(x), formula(x), rtol=1e-12)
    step = 1e-6
    for place in np.ndindex(x.shape):
        nudge = np.zeros_like(x)
        nudge[place] = step
        np.testing.assert_allclose(slope[place], (formula(x + nudge) - formula(x - nudge)) / (2 * step), atol=1e-8)


@pytest.mark.parametrize("way", ["native", "interpreter"])
def test_penalties_are_part_of_loss_and_gradient(way: str, rng: np.random.Generator):
    model = Sequential([Dense(1, use_bias=False, kernel_regularizer=L2(0.5), activity_regularizer=L1(0.25),
                              input_shape=(3,))])  # fmt: skip
    model.compile(SGD(0.1), "mse")
    w = model.get_weights()[0].astype("f8")
    with execution(way):
        for rows in (4, 6):  # the penalty of the outputs is divided by the batch size, whatever it is
            x, y = rng.normal(size=(rows, 3)), rng.normal(size=(rows, 1))
            out = x @ w
            expected = ((out - y) ** 2).mean() + 0.5 * (w**2).sum() + 0.25 * np.abs(out).sum() / rows
            np.testing.assert_allclose(model.evaluate(x, y, verbose=0), expected, rtol=1e-5)
            np.testing.assert_allclose(model.train_on_batch(x, y), expected, rtol=1e-5)
            w -= 0.1 * (x.T @ (2 * (out - y) + 0.25 * np.sign(out)) / rows + w)
            np.testing.assert_allclose(model.get_weights()[0], w, rtol=1e-4, atol=1e-6)
    model.trainable = False  # a weight that is not trained has no penalty, as in Keras
    out = x @ w
    expected = ((out - y) ** 2).mean() + 0.25 * np.abs(out).sum() / 6
    np.testing.assert_allclose(model.evaluate(x, y, verbose=0), expected, rtol=1e-4)


def test_losses_of_a_layer_can_be_read_outside_a_program():
    layer = Dense(2, kernel_initializer="ones", kernel_regularizer="l2", bias_regularizer=lambda b: total(b) + 1.0,
                  activity_regularizer="l1")  # fmt: skip
    layer(np.ones((4, 3), "float32"))
    np.testing.assert_allclose(layer.losses, [0.01 * 24 / 4, 0.01 * 6, 1.0], rtol=1e-6)
    layer(np.ones((2, 3), "float32"))
    np.testing.assert_allclose(layer.losses, [0.01 * 12 / 2, 0.01 * 6, 1.0], rtol=1e-6)


class Pull(Layer):
    """Adds the mean of its inputs to the loss."""

    def call(self, inputs: Any) -> Any:
        self.add_loss(total(inputs) * 0.5)
        return inputs


def test_every_call_of_a_layer_adds_its_loss(rng: np.random.Generator):
    class Twice(Model):
        def __init__(self) -> None:
            super().__init__()
            self.pull = Pull()

        def call(self, inputs: Any) -> Any:
            return self.pull(self.pull(inputs) * 2.0)

    x = rng.normal(size=(4, 2)).astype("float32")
    model = Twice()
    model.compile("sgd", "mse")
    np.testing.assert_allclose(model.evaluate(x, 2 * x, verbose=0), 1.5 * x.sum(), rtol=1e-5)
    assert model.losses == []  # what a program added stays in the program


def test_a_model_can_be_trained_by_the_losses_it_adds_itself(rng: np.random.Generator):
    class Recoder(Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = Dense(2, use_bias=False)

        def call(self, inputs: Any) -> Any:
            outputs = self.dense(inputs)
            difference = outputs - inputs
            self.add_loss(total(difference * difference))
            return outputs

    x = rng.normal(size=(4, 2)).astype("float32")
    model = Recoder()
    model.compile(SGD(0.01))
    history = model.fit(x, epochs=2, verbose=0)
    w = model.get_weights()[0]
    expected = ((x @ w - x) ** 2).sum()
    np.testing.assert_allclose(model.evaluate(x, verbose=0), expected, rtol=1e-5)
    assert expected < history.history["loss"][0]


def test_wrong_uses_are_named():
    with pytest.raises(StateError, match=r"Pull\).add_loss: expected to be called inside call\(\)"):
        Pull().add_loss(1.0)

    class Vector(Layer):
        def call(self, inputs: Any) -> Any:
            self.add_loss(inputs)
            return inputs

    with pytest.raises(GraphError, match=r"add_loss: expected a number of a float type, received f32\[batch, 3\]"):
        Vector()(np.ones((2, 3), "float32"))
    with pytest.raises(ArgumentError, match=r"L2\(l2=...\): expected a number >= 0, received -1"):
        L2(-1)
    with pytest.raises(ArgumentError, match=r"mode=.*Did you mean 'rows'"):
        OrthogonalRegularizer(mode="row")
    with pytest.raises(ShapeError, match="OrthogonalRegularizer: expected a matrix"):
        OrthogonalRegularizer()(np.ones(3))
    with pytest.raises(ArgumentError, match=r"layer 'd' \(Dense\): kernel_regularizer='l3': unknown. Known: l1, l2"):
        Dense(1, kernel_regularizer="l3", name="d")
    with pytest.raises(DTypeError, match="expected a name, regularizer or function, received 3"):
        regularizers.get(3)


@pytest.mark.parametrize("regularizer", [r for r, _ in FORMULAS])
def test_a_configuration_gives_the_same_regularizer(regularizer: Any):
    copy = regularizers.get(regularizers.serialize(regularizer))
    assert type(copy) is type(regularizer)
    assert copy.get_config() == regularizer.get_config()
    assert regularizers.get(type(regularizer)).get_config() == type(regularizer)().get_config()


def test_layers_keep_the_arguments_of_their_weights():
    for layer, shape, weights in [
        (layers.Dense(2, kernel_regularizer="l1", bias_constraint="non_neg"), (None, 3), ["kernel", "bias"]),
        (layers.Conv2D(2, 3, bias_regularizer="l2", kernel_constraint="unit_norm"), (None, 5, 5, 1),
         ["kernel", "bias"]),
        (layers.SeparableConv1D(2, 3, pointwise_regularizer="l1", depthwise_constraint="max_norm"), (None, 5, 2),
         ["depthwise", "pointwise", "bias"]),
        (layers.BatchNormalization(gamma_regularizer="l1", beta_constraint="max_norm"), (None, 3), ["beta", "gamma"]),
        (layers.PReLU(alpha_regularizer="l1", alpha_constraint="non_neg"), (None, 3), ["alpha"]),
    ]:  # fmt: skip
        config = layer.get_config()
        assert type(layer).from_config(config).get_config() == config
        layer.build(shape)
        made = {v.name.removesuffix("_kernel"): v for v in layer.trainable_weights}
        assert set(made) == set(weights)
        for weight, variable in made.items():
            for what in ("regularizer", "constraint"):
                assert getattr(variable, what) is getattr(layer, f"{weight}_{what}")
        assert any(v.regularizer is not None for v in made.values())
        assert any(v.constraint is not None for v in made.values())
