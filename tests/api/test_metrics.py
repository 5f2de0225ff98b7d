"""Metrics give Keras' values over several updates, on arrays and in programs, and are resolved by shape."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from golden_cases import losses_and_metrics

from kgraph import metrics, ops
from kgraph.engine import CompiledProgram
from kgraph.errors import ArgumentError, KgraphError
from kgraph.ir.dtypes import dtype_of, f32
from kgraph.ir.opdef import emitting
from kgraph.ir.types import TensorType
from kgraph.keras_tensor import BATCH
from kgraph.layers import Dense
from kgraph.models import Sequential
from kgraph.trace import Trace

GOLDEN = losses_and_metrics()
NAMES = sorted({key.split("/")[1] for key in GOLDEN if key.startswith("metric/")})

COLUMNS = np.eye(3), np.full((3, 3), 0.5)  # labels and scores of three columns


def made(name: str) -> metrics.Metric:
    """The metric of a golden case."""
    metric: metrics.Metric = getattr(metrics, name)(**json.loads(str(GOLDEN[f"metric/{name}/kwargs"])))
    return metric


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_has_the_values_that_keras_gives(name: str):
    metric = made(name)
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
    metric = made(name)
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


R = np.random.default_rng(6)
NUMBERS = R.normal(size=(8, 4)), R.normal(size=(8, 4))
BITS = np.tile([0, 1, 1, 0, 1, 0, 0, 0], (4, 1)).T, R.uniform(0, 1, (8, 4))
CLASSES = np.array([3, 0, 1, 2, 2, 0, 1, 1]), R.dirichlet(np.ones(4), 8)
IDS = np.array([0, 1, 2, 2, 1, 0, 0, 2]), np.array([0, 1, 1, 2, 0, 0, 2, 2])


def counts(t: np.ndarray, p: np.ndarray, threshold: float) -> tuple[int, int, int, int]:
    """True and false positives, true and false negatives."""
    hit, yes = p > threshold, t == 1
    return (hit & yes).sum(), (hit & ~yes).sum(), (~hit & ~yes).sum(), (~hit & yes).sum()


def rate(t: np.ndarray, p: np.ndarray, threshold: float, which: str) -> float:
    tp, fp, tn, fn = counts(t, p, threshold)
    right, wrong = {"recall": (tp, fn), "specificity": (tn, fp), "precision": (tp, fp)}[which]
    return right / (right + wrong) if right + wrong else 0.0


def best(t: np.ndarray, p: np.ndarray, wanted: str, condition: str, least: float) -> float:
    steps = np.linspace(0, 1, 200)
    return max(rate(t, p, s, wanted) for s in steps if rate(t, p, s, condition) >= least)


def rank_area(t: np.ndarray, p: np.ndarray) -> float:
    """The area under ROC is the share of pairs that are in the right order."""
    return float((p[t == 1][:, None] > p[t == 0][None]).mean())


def unions(t: np.ndarray, p: np.ndarray, classes: list[int]) -> float:
    return float(np.mean([((t == c) & (p == c)).sum() / ((t == c) | (p == c)).sum() for c in classes]))


def first_two(p: np.ndarray) -> np.ndarray:
    return (np.argsort(np.argsort(-p, -1), -1) < 2).astype(float)


# Metrics that the golden file lacks, or has without options.
FORMULAS: list[tuple[metrics.Metric, tuple[np.ndarray, np.ndarray], Any]] = [
    (metrics.CosineSimilarity(), NUMBERS,
     lambda t, p: ((t * p).sum(1) / np.linalg.norm(t, axis=1) / np.linalg.norm(p, axis=1)).mean()),
    (metrics.PearsonCorrelation(), NUMBERS,
     lambda t, p: np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(t, p, strict=True)])),
    (metrics.ConcordanceCorrelation(), NUMBERS,
     lambda t, p: np.mean([2 * np.cov(a, b, bias=True)[0, 1] / (a.var() + b.var() + (a.mean() - b.mean()) ** 2)
                           for a, b in zip(t, p, strict=True)])),
    (metrics.R2Score(None), NUMBERS, lambda t, p: 1 - ((t - p) ** 2).sum(0) / ((t - t.mean(0)) ** 2).sum(0)),
    (metrics.R2Score("variance_weighted_average", 2), NUMBERS,
     lambda t, p: 1 - (((t - p) ** 2).sum() / ((t - t.mean(0)) ** 2).sum()) * 31 / 29),
    (metrics.SparseTopKCategoricalAccuracy(2), CLASSES, lambda t, p: first_two(p)[np.arange(8), t].mean()),
    (metrics.SparseTopKCategoricalAccuracy(2, from_sorted_ids=True), (CLASSES[0], np.argsort(-CLASSES[1], -1)),
     lambda t, p: (p[:, :2] == t[:, None]).any(1).mean()),
    (metrics.TrueNegatives([0.2, 0.7]), BITS, lambda t, p: [counts(t, p, s)[2] for s in (0.2, 0.7)]),
    (metrics.FalsePositives(0.3), BITS, lambda t, p: counts(t, p, 0.3)[1]),
    (metrics.Precision(top_k=2, class_id=1), BITS, lambda t, p: rate(t[:, 1], first_two(p)[:, 1], 0.5, "precision")),
    (metrics.Recall(top_k=2), BITS, lambda t, p: rate(t, first_two(p), 0.5, "recall")),
    (metrics.AUC(2000), BITS, rank_area),
    (metrics.AUC(2000, multi_label=True, label_weights=[0.0, 1.0, 0.0, 0.0]), BITS,
     lambda t, p: rank_area(t[:, 1], p[:, 1])),
    (metrics.SensitivityAtSpecificity(0.5), BITS, lambda t, p: best(t, p, "recall", "specificity", 0.5)),
    (metrics.SpecificityAtSensitivity(0.4), BITS, lambda t, p: best(t, p, "specificity", "recall", 0.4)),
    (metrics.PrecisionAtRecall(0.6), BITS, lambda t, p: best(t, p, "precision", "recall", 0.6)),
    (metrics.RecallAtPrecision(0.3), BITS, lambda t, p: best(t, p, "recall", "precision", 0.3)),
    (metrics.FBetaScore("micro", 2.0, 0.5), BITS,
     lambda t, p: 5 * counts(t, p, 0.5)[0] / (5 * counts(t, p, 0.5)[0] + 4 * counts(t, p, 0.5)[3]
                                              + counts(t, p, 0.5)[1])),
    (metrics.IoU(3, [0, 2]), IDS, lambda t, p: unions(t, p, [0, 2])),
    (metrics.MeanIoU(3, ignore_class=1), IDS, lambda t, p: unions(t[t != 1], p[t != 1], [0, 1, 2])),
    (metrics.BinaryIoU([1], threshold=0.3), BITS, lambda t, p: unions(t, p >= 0.3, [1])),
    (metrics.OneHotMeanIoU(3), (np.eye(3)[IDS[0]], np.eye(3)[IDS[1]] * 0.5),
     lambda t, p: unions(t.argmax(1), p.argmax(1), [0, 1, 2])),
]  # fmt: skip


@pytest.mark.parametrize(("metric", "data", "formula"), FORMULAS, ids=lambda part: type(part).__name__)
def test_a_metric_follows_its_formula(metric: metrics.Metric, data: tuple[np.ndarray, np.ndarray], formula: Any):
    y_true, y_pred = (a.astype("float32" if a.dtype.kind == "f" else "int32") for a in data)
    for rows in (slice(0, 3), slice(3, 8)):
        metric.update_state(y_true[rows], y_pred[rows])
    np.testing.assert_allclose(metric.result(), formula(*data), rtol=1e-5, atol=1e-6)
    metric.reset_state()
    metric.update_state(y_true, y_pred)
    np.testing.assert_allclose(metric.result(), formula(*data), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("execution", ["native", "interpreter"])
def test_a_program_counts_at_thresholds_and_in_matrices(execution: str):
    found = [
        metrics.AUC(20, multi_label=True), metrics.Precision(top_k=2, class_id=1), metrics.IoU(2, [0, 1]),
        metrics.F1Score(), metrics.R2Score(),
    ]  # fmt: skip
    y_true, y_pred = (np.ascontiguousarray(a, "float32") for a in BITS)
    trace = Trace("metrics")
    with emitting(trace):
        true, pred = (trace.argument(TensorType(f32, (BATCH, 4)), name) for name in "tp")
        for metric in found:
            metric.update_state(true, (pred > 0.5) if isinstance(metric, metrics.IoU) else pred)
        program = CompiledProgram(trace.program([]))
    for rows in (slice(0, 1), slice(1, 8)):
        program.run([y_true[rows], y_pred[rows]], execution)
    for metric in found:
        after = np.array(metric.result())
        metric.reset_state()
        metric.update_state(y_true, y_pred > 0.5 if isinstance(metric, metrics.IoU) else y_pred)
        np.testing.assert_allclose(after, metric.result(), rtol=1e-6)


class Spread(metrics.Metric):
    """One of the user's own, as Keras' guides write them."""

    def __init__(self, name: str = "spread", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.total = self.add_weight(name="total", initializer="zeros")
        self.count = self.add_weight(name="count", initializer="zeros")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.total.assign_add(ops.sum(ops.max(y_pred, axis=-1) - ops.min(y_pred, axis=-1)))
        self.count.assign(self.count + ops.shape(y_pred)[0])

    def result(self) -> Any:
        return self.total / self.count


@pytest.mark.parametrize("eagerly", [False, True])
def test_a_metric_of_ones_own_is_part_of_the_program(eagerly: bool, rng: np.random.Generator):
    model = Sequential([Dense(3, input_shape=(2,))])
    model.compile("sgd", "mse", metrics=[Spread(), lambda y_true, y_pred: y_pred * 2.0], run_eagerly=eagerly)
    x = rng.normal(size=(5, 2)).astype("float32")
    y = model.predict(x, verbose=0)
    values = model.evaluate(x, np.zeros((5, 3)), batch_size=2, verbose=0, return_dict=True)
    np.testing.assert_allclose(values["spread"], np.ptp(y, axis=1).mean(), rtol=1e-5)
    np.testing.assert_allclose(values["lambda"], 2 * y.mean(), rtol=1e-4, atol=1e-6)
    alone = Spread()
    alone.update_state(y, y)
    np.testing.assert_allclose(alone.result(), np.ptp(y, axis=1).mean(), rtol=1e-5)


@pytest.mark.parametrize("metric", [
    *(m for m, _, _ in FORMULAS), metrics.F1Score("macro", 0.3), metrics.AUC(thresholds=[0.2, 0.6], curve="PR"),
    metrics.BinaryCrossentropy(label_smoothing=0.1), metrics.Sum(name="s"), metrics.OneHotIoU(3, [1]),
], ids=lambda metric: type(metric).__name__)  # fmt: skip
def test_a_config_makes_an_equal_metric(metric: metrics.Metric):
    copy = metrics.deserialize(metrics.serialize(metric))
    assert type(copy) is type(metric)
    assert copy.get_config() == metric.get_config()
    assert np.array_equal(copy.result(), np.zeros_like(copy.result()))  # of nothing


def test_names_in_every_spelling_mean_the_same():
    for name in ("AUC", "auc"):
        assert isinstance(metrics.get(name), metrics.AUC)
    for name in ("f1_score", "F1Score"):
        assert isinstance(metrics.get(name), metrics.F1Score)
    assert isinstance(metrics.get("kullback_leibler_divergence"), metrics.KLDivergence)
    sparse, categorical = TensorType(f32, (BATCH,)), TensorType(f32, (BATCH, 3))
    assert isinstance(metrics.as_metric("ce", sparse, categorical), metrics.SparseCategoricalCrossentropy)
    assert isinstance(metrics.as_metric("crossentropy", categorical, categorical), metrics.CategoricalCrossentropy)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: metrics.Precision(1.5), r"Precision: thresholds: expected numbers in \[0, 1\], received 1.5"),
        (lambda: metrics.Recall("a"), r"Recall: thresholds: expected numbers in \[0, 1\], received 'a'"),
        (lambda: metrics.Recall([0.5, None]), r"Recall: thresholds: expected numbers in \[0, 1\], received \[0.5"),
        (lambda: metrics.AUC(2.5), "AUC: num_thresholds: expected an int > 1, received 2.5"),
        (lambda: metrics.RecallAtPrecision(0.5, "9"), "RecallAtPrecision: num_thresholds: expected an int > 0"),
        (lambda: metrics.AUC(thresholds=[0.5, np.nan]), r"AUC: thresholds: expected numbers in \[0, 1\], received"),
        (lambda: metrics.AUC(thresholds=2), r"AUC: thresholds: expected numbers in \[0, 1\], received 2"),
        (lambda: metrics.AUC(multi_label=True, num_labels=2).update_state(*COLUMNS), "expected 2 labels, received 3"),
        (lambda: metrics.AUC(multi_label=True, label_weights=[1, 2]).update_state(*COLUMNS), "expected 3 weights"),
        (lambda: metrics.AUC(label_weights=[1, 2, 3, 4]).update_state(*COLUMNS), "expected 3 weights, as there are"),
        (lambda: metrics.AUC(1), "AUC: num_thresholds: expected an int > 1"),
        (lambda: metrics.AUC(curve="ROCK"), r"curve=...\)='ROCK': unknown. Did you mean 'ROC'"),
        (lambda: metrics.AUC(num_labels=3), "AUC: num_labels: expected multi_label=True"),
        (lambda: metrics.FBetaScore(average="mean"), "FBetaScore: average: expected None, 'micro'"),
        (lambda: metrics.F1Score(threshold=2.0), r"threshold: expected a number in \(0, 1\]"),
        (lambda: metrics.IoU(3, [3]), r"IoU: target_class_ids: expected classes in \[0, 3\), received \[3\]"),
        (lambda: metrics.R2Score("mean"), "R2Score: class_aggregation: expected None"),
        (lambda: metrics.RecallAtPrecision(2), r"RecallAtPrecision: precision: expected a number in \[0, 1\]"),
        (lambda: metrics.F1Score().update_state([1], [1]), r"f1_score: expected \(batch, classes\), received \(1,\)"),
    ],
)
def test_wrong_arguments_are_named(make: Any, words: str):
    with pytest.raises(KgraphError, match=words):
        make()
