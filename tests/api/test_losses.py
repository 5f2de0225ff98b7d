"""Losses give Keras' values, on arrays and in programs, and refuse shapes that would broadcast."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from golden_cases import losses_and_metrics

import kgraph
from kgraph import losses, ops
from kgraph.engine import CompiledProgram
from kgraph.errors import ArgumentError, DTypeError, KgraphError, ShapeError
from kgraph.ir.dtypes import dtype_of, f32
from kgraph.ir.opdef import emitting
from kgraph.ir.types import TensorType
from kgraph.keras_tensor import BATCH
from kgraph.layers import Layer
from kgraph.losses.lookup import CLASSES as LOSSES
from kgraph.models import Input, Model
from kgraph.trace import Trace, gradients

GOLDEN = losses_and_metrics()
NAMES = sorted({key.split("/")[1] for key in GOLDEN if key.startswith("loss/")})


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


R = np.random.default_rng(7)
NUMBERS = R.normal(size=(6, 4)), R.normal(size=(6, 4))
POSITIVE = R.uniform(0.1, 3, (6, 4)), R.uniform(0.1, 3, (6, 4))
BITS = np.tile([0.0, 1.0, 1.0, 0.0], (6, 1)), R.uniform(0.05, 0.95, (6, 4))
CLASSES = np.array([3, 0, 1, 2, 2, 0], "int32"), R.dirichlet(np.ones(4) * 5, 6)
ONE_HOT = np.eye(4)[CLASSES[0]], CLASSES[1]
EMBEDDINGS = np.array([0, 1, 0, 1, 0, 1], "int32"), NUMBERS[0] / np.linalg.norm(NUMBERS[0], axis=1, keepdims=True)


def circles(t: np.ndarray, p: np.ndarray, gamma: float = 2.0, margin: float = 0.4) -> np.ndarray:
    """Sun et al. (2020), equation 6 with the weights of equation 7, pair by pair."""
    found = []
    for i in range(len(t)):
        d = [max(1 - p[i] @ p[j], 0) for j in range(len(t))]
        near = sum(np.exp(gamma * (d[j] + margin) * (d[j] - margin)) for j in range(len(t)) if t[j] == t[i] and j != i)
        others = [d[j] for j in range(len(t)) if t[j] != t[i]]
        far = sum(np.exp(gamma * max(1 + margin - x, 0) * (1 - margin - x)) for x in others)
        found.append(np.log(1 + near * far))
    return np.array(found)


def overlap(t: np.ndarray, p: np.ndarray, alpha: float, beta: float) -> float:
    both = (t * p).sum()
    return 1 - both / (both + alpha * (t * (1 - p)).sum() + beta * (p * (1 - t)).sum())


def margins(t: np.ndarray, p: np.ndarray) -> np.ndarray:
    return np.maximum(1 - (2 * t - 1) * p, 0)


# Every loss that the golden file lacks, with options that tell its parts from each other.
FORMULAS: list[tuple[losses.Loss, tuple[np.ndarray, np.ndarray], Any]] = [
    (losses.Poisson(), POSITIVE, lambda t, p: (p - t * np.log(p)).mean(-1)),
    (losses.Hinge(), BITS, lambda t, p: margins(t, p).mean(-1)),
    (losses.Hinge(), (2 * BITS[0] - 1, BITS[1]), lambda t, p: np.maximum(1 - t * p, 0).mean(-1)),
    (losses.SquaredHinge(), BITS, lambda t, p: (margins(t, p) ** 2).mean(-1)),
    (losses.CategoricalHinge(), ONE_HOT,
     lambda t, p: np.maximum(1 + np.where(t == 1, 0, p).max(-1) - p[t == 1], 0)),
    (losses.CategoricalGeneralizedCrossEntropy(0.3), CLASSES, lambda t, p: (1 - p[np.arange(6), t] ** 0.3) / 0.3),
    # One label and one step: a crossentropy. Longer sequences: tests/api/ops/test_ctc.py.
    (losses.CTC(), (np.array([[1], [2], [1]]), NUMBERS[1][:3, None, :3]),
     lambda t, p: np.log(np.exp(p[:, 0]).sum(-1)) - p[np.arange(3), 0, t[:, 0]]),
    (losses.Dice(), BITS, lambda t, p: overlap(t, p, 0.5, 0.5)),
    (losses.Dice(axis=1), BITS, lambda t, p: np.array([overlap(a, b, 0.5, 0.5) for a, b in zip(t, p, strict=True)])),
    (losses.Tversky(0.3, 0.8), BITS, lambda t, p: overlap(t, p, 0.3, 0.8)),
    (losses.Circle(gamma=2.0), EMBEDDINGS, circles),
    (losses.Huber(delta=0.5), NUMBERS,
     lambda t, p: np.where(abs(p - t) <= 0.5, (p - t) ** 2 / 2, 0.5 * abs(p - t) - 0.125).mean(-1)),
    (losses.CosineSimilarity(axis=0), NUMBERS,
     lambda t, p: -(t * p).sum(0) / np.sqrt((t**2).sum(0) * (p**2).sum(0))),
    (losses.BinaryFocalCrossentropy(True, 0.3, 3.0, from_logits=True), (BITS[0], NUMBERS[0]),
     lambda t, z: (np.where(t == 1, 0.3, 0.7) * (1 - right(t, z)) ** 3 * -np.log(right(t, z))).mean(-1)),
    (losses.CategoricalFocalCrossentropy([0.1, 0.2, 0.3, 0.4], 3.0, True), (ONE_HOT[0], NUMBERS[0]),
     lambda t, z: -(np.array([0.1, 0.2, 0.3, 0.4]) * (1 - softmax(z)) ** 3 * t * np.log(softmax(z))).sum(-1)),
    (losses.SparseCategoricalCrossentropy(axis=1), (np.stack([CLASSES[0]] * 2, 1), np.stack([CLASSES[1]] * 2, 2)),
     lambda t, p: np.stack([-np.log(CLASSES[1][np.arange(6), CLASSES[0]])] * 2, 1)),
]  # fmt: skip


def right(t: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Probability of the right one of two classes."""
    return 1 / (1 + np.exp(np.where(t == 1, -z, z)))


@pytest.mark.parametrize(("loss", "data", "formula"), FORMULAS, ids=lambda part: getattr(part, "name", ""))
def test_a_loss_follows_its_formula(loss: losses.Loss, data: tuple[np.ndarray, np.ndarray], formula: Any):
    expected = formula(*data)
    assert np.ndim(expected) == 0 or np.ptp(expected) > 0
    np.testing.assert_allclose(loss(*data), np.mean(expected), rtol=1e-5)


def test_every_loss_is_compared_with_something():
    assert set(NAMES) | {type(loss).__name__ for loss, _, _ in FORMULAS} == set(LOSSES)


WITH_SLOPES = [(loss, data) for loss, data, _ in FORMULAS] + [
    (getattr(losses, name)(), {"KLDivergence": (CLASSES[1][::-1], CLASSES[1]), "CategoricalCrossentropy": ONE_HOT,
                               "CategoricalFocalCrossentropy": ONE_HOT, "SparseCategoricalCrossentropy": CLASSES,
                               "BinaryCrossentropy": BITS, "BinaryFocalCrossentropy": BITS}.get(name, POSITIVE))
    for name in NAMES
]  # fmt: skip


@pytest.mark.parametrize(("loss", "data"), WITH_SLOPES, ids=lambda part: getattr(part, "name", ""))
def test_slopes_are_those_of_differences(loss: losses.Loss, data: tuple[np.ndarray, np.ndarray]):
    trace = Trace("slope")
    with emitting(trace):
        arguments = [trace.argument(TensorType(dtype_of(a.dtype), (BATCH, *a.shape[1:])), "") for a in data]
        value = loss(*arguments)
        program = CompiledProgram(trace.program([("loss", value), ("slope", gradients(value, arguments[1:])[0])]))
    y_true, y_pred = (np.ascontiguousarray(a) for a in data)
    value, slope = program.run([y_true, y_pred], "native")
    for received, expected in zip(program.run([y_true, y_pred], "interpreter"), (value, slope), strict=True):
        np.testing.assert_allclose(received, expected, rtol=1e-10, atol=1e-14)
    step = 1e-6
    for place in np.ndindex(y_pred.shape):
        nudge = np.zeros_like(y_pred)
        nudge[place] = step
        up, down = (program.run([y_true, y], "native")[0] for y in (y_pred + nudge, y_pred - nudge))
        np.testing.assert_allclose(slope[place], (up - down) / (2 * step), rtol=1e-5, atol=1e-8)


def test_a_class_can_stand_for_no_label(rng: np.random.Generator):
    p = rng.dirichlet(np.ones(4), (2, 3))
    labels = np.array([[0, 9, 2], [9, 9, 1]])
    known = [-np.log(p[0, 0, 0]), -np.log(p[0, 2, 2]), -np.log(p[1, 2, 1])]
    loss = losses.SparseCategoricalCrossentropy(ignore_class=9)
    np.testing.assert_allclose(loss(labels, p), np.mean(known), rtol=1e-5)
    each = losses.sparse_categorical_crossentropy(labels, p, ignore_class=9)
    np.testing.assert_allclose(each, [[known[0], 0, known[1]], [0, 0, known[2]]], rtol=1e-5)
    logits = losses.SparseCategoricalCrossentropy(True, ignore_class=9, reduction="sum")
    np.testing.assert_allclose(logits(labels, np.log(p)), np.sum(known), rtol=1e-5)


def test_one_value_for_the_whole_batch_is_weighted_as_in_keras():
    whole = losses.Dice()(*BITS)
    np.testing.assert_allclose(losses.Dice()(*BITS, [1, 2, 3, 4, 5, 6]), whole * 3.5, rtol=1e-6)


def test_predictions_are_cast_to_the_type_of_the_loss():
    trace = Trace("cast")
    with emitting(trace):
        y_true, y_pred = (trace.argument(TensorType(f32, (BATCH, 2)), name) for name in "tp")
        assert losses.MeanSquaredError(dtype="float64")(y_true, y_pred).type == TensorType(dtype_of("float64"))


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
        ("kld", "kld"),
        ("kullback_leibler_divergence", "kullback_leibler_divergence"),
        ("MSLE", "MSLE"),
        (losses.serialize(losses.Huber(0.5, name="h")), "h"),
        (losses.serialize(losses.mse), "mean_squared_error"),
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


@pytest.mark.parametrize("loss", [
    *(getattr(losses, name)() for name in LOSSES), losses.Tversky(0.1, 0.2, axis=[1]),
    losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1, reduction="sum", name="cc"),
], ids=lambda loss: loss.name)  # fmt: skip
def test_a_config_makes_an_equal_loss(loss: losses.Loss):
    copy = losses.deserialize(losses.serialize(loss))
    assert type(copy) is type(loss)
    assert copy.get_config() == loss.get_config()


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


@pytest.mark.parametrize("config", [3, None, {}, {"config": {}}, {"class_name": None}])
@pytest.mark.parametrize("family", [losses, kgraph.metrics, kgraph.optimizers, kgraph.initializers])
def test_what_describes_no_object_is_named(family, config):
    with pytest.raises(ArgumentError, match="configuration: expected a class_name, received"):
        family.deserialize(config)


def test_registered_losses_and_metrics_are_found_by_name():
    @kgraph.saving.register_keras_serializable("tests")
    class Powers(losses.Loss):
        def __init__(self, power, **options):
            super().__init__(**options)
            self.power = power

        def call(self, y_true, y_pred):
            return ops.mean(ops.abs(y_true - y_pred) ** self.power, axis=-1)

        def get_config(self):
            return {**super().get_config(), "power": self.power}

    @kgraph.saving.register_keras_serializable("tests")
    def largest(y_true, y_pred):
        return ops.max(ops.abs(y_true - y_pred), axis=-1)

    copy = losses.deserialize(losses.serialize(Powers(3.0)))
    assert isinstance(copy, Powers)
    assert copy.power == 3.0
    model = kgraph.Sequential([kgraph.Input((1,)), kgraph.layers.Dense(1, kernel_initializer="zeros")])
    model.compile("sgd", "tests>largest", metrics=["tests>largest", copy])
    values = model.evaluate(np.ones((2, 1)), np.array([[1.0], [3.0]]), verbose=0)
    assert values == [2.0, 2.0, 14.0]
