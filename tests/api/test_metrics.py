"""Metrics give Keras' values over several updates, on arrays and in programs, and are resolved by shape."""

from __future__ import annotations

import numpy as np
import pytest
from golden_cases import losses_and_metrics

from kgraph import metrics
from kgraph.engine import CompiledProgram
from kgraph.errors import ArgumentError
from kgraph.ir.dtypes import dtype_of, f32
from kgraph.ir.opdef import emitting
from kgraph.ir.types import TensorType
from kgraph.keras_tensor import BATCH
from kgraph.trace import Trace

GOLDEN = losses_and_metrics()
NAMES = [
    "Accuracy",
    "BinaryAccuracy",
    "CategoricalAccuracy",
    "SparseCategoricalAccuracy",
    "MeanSquaredError",
    "RootMeanSquaredError",
    "MeanAbsoluteError",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_has_the_values_that_keras_gives(name: str):
    metric = getattr(metrics, name)()
    y_true, y_pred = GOLDEN[f"metric/{name}/y_true"], GOLDEN[f"metric/{name}/y_pred"]
    metric.update_state(y_true[:3], y_pred[:3])
    metric.update_state(y_true[3:], y_pred[3:])
    np.testing.assert_allclose(metric.result(), GOLDEN[f"metric/{name}/plain"], rtol=1e-5)
    metric.reset_state()
    metric.update_state(y_true, y_pred, sample_weight=GOLDEN["sample_weight"])
    np.testing.assert_allclose(metric.result(), GOLDEN[f"metric/{name}/w"], rtol=1e-5)


@pytest.mark.parametrize("execution", ["native", "interpreter"])
@pytest.mark.parametrize("name", NAMES)
def test_a_program_updates_the_state_for_every_batch_size(name: str, execution: str):
    metric = getattr(metrics, name)()
    y_true, y_pred = GOLDEN[f"metric/{name}/y_true"], GOLDEN[f"metric/{name}/y_pred"]
    trace = Trace("metric")
    with emitting(trace):
        arguments = [trace.argument(TensorType(dtype_of(a.dtype), (BATCH, *a.shape[1:])), "") for a in (y_true, y_pred)]
        metric.update_state(*arguments)
        program = CompiledProgram(trace.program([]))
    for rows in (slice(0, 1), slice(1, 3), slice(3, 6)):
        program.run([np.ascontiguousarray(y_true[rows]), np.ascontiguousarray(y_pred[rows])], execution)
    np.testing.assert_allclose(metric.result(), GOLDEN[f"metric/{name}/plain"], rtol=1e-5)


def test_mean_and_sum_take_weights():
    mean, total = metrics.Mean(), metrics.Sum()
    assert mean.result() == 0
    for metric in (mean, total):
        metric.update_state([1.0, 3.0, 5.0, 7.0], sample_weight=[1, 1, 0, 0])
    assert (mean.result(), total.result()) == (2, 4)
    mean.reset_state()
    assert mean([[1.0, 3.0], [5.0, 7.0]]) == 4


@pytest.mark.parametrize(
    ("labels", "outputs", "expected"),
    [
        (("batch", 1), ("batch", 1), "BinaryAccuracy"),
        (("batch",), ("batch", 1), "BinaryAccuracy"),
        (("batch",), ("batch", 3), "SparseCategoricalAccuracy"),
        (("batch", 1), ("batch", 3), "SparseCategoricalAccuracy"),
        (("batch", 3), ("batch", 3), "CategoricalAccuracy"),
    ],
)
@pytest.mark.parametrize("word", ["accuracy", "acc"])
def test_accuracy_is_resolved_by_shape(
    labels: tuple[object, ...], outputs: tuple[object, ...], expected: str, word: str
):
    def type_of(shape: tuple[object, ...]) -> TensorType:
        return TensorType(f32, (BATCH, *shape[1:]))

    metric = metrics.as_metric(word, type_of(labels), type_of(outputs))
    assert type(metric).__name__ == expected
    assert metric.name == word


def test_metrics_are_found_in_every_form():
    kind = TensorType(f32, (BATCH, 3))
    found = [
        metrics.as_metric(identifier, kind, kind)
        for identifier in ("mse", "MeanSquaredError", metrics.MeanSquaredError, metrics.MeanSquaredError("m"),
                           metrics.categorical_accuracy)
    ]  # fmt: skip
    assert [m.name for m in found] == ["mse", "MeanSquaredError", "mean_squared_error", "m", "categorical_accuracy"]


def test_unknown_metrics_get_a_suggestion():
    words = r"compile\(metrics=\['acuracy'\]\): unknown. Did you mean 'accuracy'\?"
    with pytest.raises(ArgumentError, match=words):
        metrics.check_name("acuracy")


def test_binary_accuracy_has_a_threshold():
    values = metrics.binary_accuracy([1, 0, 1], [0.3, 0.3, 0.1], threshold=0.2)
    assert values.tolist() == [1, 0, 0]
