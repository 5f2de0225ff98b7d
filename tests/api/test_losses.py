"""Losses give Keras' values, on arrays and in programs, and refuse shapes that would broadcast."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from golden_cases import losses_and_metrics

from kgraph import losses
from kgraph.engine import CompiledProgram
from kgraph.errors import ArgumentError, DTypeError, KgraphError, ShapeError
from kgraph.ir.dtypes import dtype_of, f32
from kgraph.ir.opdef import emitting
from kgraph.ir.types import TensorType
from kgraph.keras_tensor import BATCH
from kgraph.layers import Layer
from kgraph.models import Input, Model
from kgraph.trace import Trace, gradients

GOLDEN = losses_and_metrics()
NAMES = [cls.__name__ for cls in losses.CLASSES]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "none"])
@pytest.mark.parametrize("weights", ["plain", "w"])
def test_a_loss_has_the_value_that_keras_gives(name: str, reduction: str, weights: str):
    loss = getattr(losses, name)(reduction=reduction)
    y_true, y_pred = GOLDEN[f"loss/{name}/y_true"], GOLDEN[f"loss/{name}/y_pred"]
    value = loss(y_true, y_pred, GOLDEN["sample_weight"] if weights == "w" else None)
    expected = GOLDEN[f"loss/{name}/{reduction}/{weights}"]
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("execution", ["native", "interpreter"])
@pytest.mark.parametrize("name", NAMES)
def test_a_loss_in_a_program_has_the_same_value(name: str, execution: str):
    y_true, y_pred = GOLDEN[f"loss/{name}/y_true"], GOLDEN[f"loss/{name}/y_pred"]
    trace = Trace("loss")
    with emitting(trace):
        arguments = [trace.argument(TensorType(dtype_of(a.dtype), (BATCH, *a.shape[1:])), "") for a in (y_true, y_pred)]
        value = getattr(losses, name)()(*arguments)
        program = CompiledProgram(trace.program([("loss", value)]))
    (result,) = program.run([y_true, y_pred], execution)
    np.testing.assert_allclose(result, GOLDEN[f"loss/{name}/sum_over_batch_size/plain"], rtol=1e-5, atol=0)


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_categorical_crossentropy_of_logits_is_that_of_their_softmax(rng: np.random.Generator):
    logits, labels = rng.normal(size=(5, 4)), np.eye(4)[[0, 3, 1, 1, 2]]
    expected = -np.log(softmax(logits)[labels == 1])
    received = losses.categorical_crossentropy(labels, logits, from_logits=True)
    np.testing.assert_allclose(np.sort(received), np.sort(expected), rtol=1e-5)
    sparse = losses.sparse_categorical_crossentropy(labels.argmax(-1), logits, from_logits=True)
    np.testing.assert_allclose(sparse, received, rtol=1e-6)


def test_binary_crossentropy_of_logits_is_that_of_their_sigmoid(rng: np.random.Generator):
    logits, labels = rng.normal(size=(5, 3)), rng.integers(0, 2, (5, 3))
    p = 1 / (1 + np.exp(-logits))
    expected = -(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean(-1)
    np.testing.assert_allclose(losses.binary_crossentropy(labels, logits, from_logits=True), expected, rtol=1e-5)


def test_probabilities_are_clipped_as_in_keras():
    worst = losses.binary_crossentropy([[1.0]], [[0.0]])
    np.testing.assert_allclose(worst, [-np.log(np.float32(1e-7))], rtol=1e-5)
    worst = losses.categorical_crossentropy([[0.0, 1.0]], [[1.0, 0.0]])
    np.testing.assert_allclose(worst, [-np.log(np.float32(1e-7))], rtol=1e-5)


def test_label_smoothing_moves_labels():
    p = np.array([[0.2, 0.5, 0.3]])
    smooth = np.array([[0.9 + 0.1 / 3, 0.1 / 3, 0.1 / 3]])
    received = losses.categorical_crossentropy([[1.0, 0.0, 0.0]], p, label_smoothing=0.1)
    np.testing.assert_allclose(received, -(smooth * np.log(p)).sum(-1), rtol=1e-5)
    received = losses.binary_crossentropy([[1.0]], [[0.3]], label_smoothing=0.2)
    np.testing.assert_allclose(received, [-(0.9 * np.log(0.3) + 0.1 * np.log(0.7))], rtol=1e-5)


def test_loss_of_a_softmax_is_stable_where_probabilities_vanish():
    trace = Trace("stable")
    with emitting(trace):
        z, t = trace.argument(TensorType(f32, (1, 2)), "z"), trace.argument(TensorType(f32, (1, 2)), "t")
        loss = losses.CategoricalCrossentropy()(t, trace.emit("softmax", z))
        program = CompiledProgram(trace.program([("loss", loss), ("dz", gradients(loss, [z])[0])]))
    arrays = [np.array([[200.0, 0.0]], "float32"), np.array([[0.0, 1.0]], "float32")]
    for execution in ("native", "interpreter"):
        value, slope = program.run(arrays, execution)
        np.testing.assert_allclose(value, 200, rtol=1e-6)
        np.testing.assert_allclose(slope, [[1, -1]], rtol=1e-6)


@pytest.mark.parametrize(
    ("true", "pred"), [((6,), (6, 1)), ((6, 1), (6,)), ((6, 3), (6, 3, 1)), ((6, 3, 1), (6, 3)), ((6, 3), (6, 3))]
)
def test_only_a_last_axis_of_size_one_is_aligned(true: tuple[int, ...], pred: tuple[int, ...]):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=true), rng.normal(size=pred)
    expected = ((a.reshape(-1) - b.reshape(-1)) ** 2).mean()
    np.testing.assert_allclose(losses.MeanSquaredError()(a, b), expected, rtol=1e-5)


@pytest.mark.parametrize(("true", "pred"), [((6, 2), (6, 1)), ((6,), (6, 3)), ((1,), (6, 1)), ((6, 1), (6, 3))])
def test_other_shapes_are_refused_instead_of_broadcast(true: tuple[int, ...], pred: tuple[int, ...]):
    with pytest.raises(ShapeError, match=r"mean_squared_error: y_true: expected the shape of y_pred"):
        losses.MeanSquaredError()(np.zeros(true), np.zeros(pred))


def test_labels_in_the_form_of_the_other_crossentropy_get_a_hint():
    with pytest.raises(ShapeError, match="Use categorical_crossentropy for one-hot labels, or argmax"):
        losses.sparse_categorical_crossentropy(np.zeros((4, 3)), np.ones((4, 3)))
    with pytest.raises(ShapeError, match="Use sparse_categorical_crossentropy"):
        losses.categorical_crossentropy(np.zeros(4, "int32"), np.ones((4, 3)))
    with pytest.raises(ShapeError, match="Use sparse_categorical_crossentropy"):
        losses.categorical_crossentropy(np.zeros((4, 1), "int32"), np.ones((4, 3)))


@pytest.mark.parametrize(
    ("identifier", "name"),
    [
        ("mse", "mse"),
        ("mean_squared_error", "mean_squared_error"),
        ("MeanSquaredError", "mean_squared_error"),
        (losses.MeanAbsoluteError, "mean_absolute_error"),
        (losses.MeanAbsoluteError(name="mine"), "mine"),
        (losses.binary_crossentropy, "binary_crossentropy"),
    ],
)
def test_a_loss_is_found_in_every_form(identifier: object, name: str):
    found = losses.as_loss(identifier)
    assert found is not None
    assert found.name == name


def test_unknown_losses_get_a_suggestion():
    words = r"compile\(loss='crossentropy'\): unknown. Did you mean 'categorical_crossentropy'\?"
    with pytest.raises(ArgumentError, match=words):
        losses.get("crossentropy")
    with pytest.raises(ArgumentError, match="Did you mean 'mean_squared_error'"):
        losses.get("mean_squared_eror")
    with pytest.raises(DTypeError, match="expected a name"):
        losses.get(3)
    with pytest.raises(ArgumentError, match="reduction"):
        losses.MeanSquaredError(reduction="average")


def test_a_config_makes_an_equal_loss():
    loss = losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1, reduction="sum", name="cc")
    assert losses.CategoricalCrossentropy.from_config(loss.get_config()).get_config() == loss.get_config()


def test_a_loss_of_ones_own_needs_only_call():
    class Cubic(losses.Loss):
        """Third powers."""

        def call(self, y_true: object, y_pred: object) -> object:
            difference = abs(y_true - y_pred)  # type: ignore[operator]
            return difference * difference * difference

    np.testing.assert_allclose(Cubic()([0.0, 1.0], [2.0, 1.0]), 4.0)
    assert Cubic().name == "cubic"


def test_one_weight_per_sample_is_needed():
    with pytest.raises(KgraphError, match="sample_weight: expected one weight per sample"):
        losses.MeanSquaredError()(np.zeros((4, 2)), np.ones((4, 2)), np.ones(3))


def test_a_loss_is_a_function_of_symbolic_tensors_too():
    target, guess = Input((3,)), Input((3,))
    model = Model([target, guess], losses.mean_squared_error(target, y_pred=guess))
    t, p = np.eye(3, dtype="float32"), np.ones((3, 3), "float32")
    np.testing.assert_allclose(model.predict([t, p], verbose=0), np.square(t - p).mean(1), rtol=1e-6)


def test_in_a_program_arrays_become_constants_of_a_loss():
    class Distance(Layer):
        def call(self, inputs: Any) -> Any:
            return losses.mean_absolute_error(np.full((2, 3), 3.0), inputs)

    np.testing.assert_array_equal(Distance()(np.ones((2, 3), "float32")), np.full(2, 2, "float32"))
