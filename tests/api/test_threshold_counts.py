"""Counts at many even thresholds, made of buckets, are those of comparing every score with every threshold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from public_names import names_of

import kgraph
from kgraph import metrics
from kgraph.config import override
from kgraph.eager import operation
from kgraph.ir.dtypes import dtype_of
from kgraph.metrics.confusion import KINDS
from kgraph.metrics.counts import are_even, counted, thresholds_below
from kgraph.metrics.curves import even_thresholds

R = np.random.default_rng(3)


def scores_round(thresholds: Any) -> np.ndarray[Any, Any]:
    """Scores at thresholds, just beside them, around the middles between two, random ones, and those outside [0, 1]."""
    middles = (thresholds[1:] + thresholds[:-1]) / 2
    around = [np.nextafter(a, b) for a in (thresholds, middles) for b in (-9, a, 9)]
    outside = [-0.0, -1, 2, np.inf, -np.inf, np.nan, 5e-324, 1e-40]
    return np.concatenate([*around, R.random(500), outside]).astype(thresholds.dtype)


@pytest.mark.parametrize("execution", ["native", "interpreter"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [2, 16, 17, 200, 256, 1001])
@pytest.mark.parametrize("beyond", [0.0, 1e-7])
def test_bucket_of_a_score_is_exact(execution: str, dtype: str, count: int, beyond: float):
    thresholds = even_thresholds(count)
    thresholds[0], thresholds[-1] = -beyond, 1 + beyond
    assert are_even(thresholds, dtype_of(dtype))
    column = np.asarray(thresholds, dtype)
    scores = scores_round(column)
    with kgraph.execution(execution):
        found = operation("x")(lambda x: thresholds_below(x, thresholds))(scores)
    np.testing.assert_array_equal(found, (scores[:, np.newaxis] > column).sum(1))


def test_which_thresholds_are_even():
    inexact = even_thresholds(20)
    inexact[7] = np.nextafter(np.float32(inexact[7]), np.float32(1))
    f32 = dtype_of("float32")
    assert are_even([0.0, 0.5, 1.0], f32)
    assert are_even(even_thresholds(20), f32)
    assert not are_even(inexact, f32)
    assert not are_even([0.5], f32)
    assert not are_even([0.1, 0.5, 1.0], f32)
    assert not are_even([0.0, 0.5, 0.9], f32)
    assert not are_even(even_thresholds(20), dtype_of("int32"))


def data_of(thresholds: Any, columns: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Labels and scores; of several columns if asked for."""
    scores = scores_round(np.asarray(thresholds, "float32"))
    scores = scores[: len(scores) // columns * columns].reshape(-1, columns)
    return R.integers(0, 2, scores.shape).astype("float32"), scores


MADE: list[tuple[str, int]] = [
    ("AUC()", 1), ("AUC(40, multi_label=True)", 3), ("AUC(curve='PR')", 2), ("AUC(dtype='float64')", 1),
    ("AUC(thresholds=[0.1, 0.3, 0.35])", 1), ("AUC(thresholds=np.linspace(0.1, 0.7, 30))", 1),
    ("SensitivityAtSpecificity(0.5)", 1), ("PrecisionAtRecall(0.5, num_thresholds=16)", 1),
    ("Precision(thresholds=[i / 30 for i in range(31)])", 2), ("Recall(thresholds=[0.2, 0.5])", 2),
    ("TruePositives(thresholds=[i / 99 for i in range(100)])", 1),
]  # fmt: skip


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("text", "columns"), MADE)
def test_counts_are_those_of_comparing(text: str, columns: int, weighted: bool):
    metric = eval(text, {**names_of(metrics), "np": np})
    y_true, y_pred = data_of(metric.thresholds, columns)
    # Sums of multiples of 1/4 are exact in any order.
    weights = R.integers(0, 9, y_true.shape).astype("float32") / 4 if weighted else np.ones_like(y_true)
    for rows in (slice(0, 50), slice(50, None)):
        metric.update_state(y_true[rows], y_pred[rows], weights[rows] if weighted else None)
    clipped = np.clip(y_pred, 0, 1) if isinstance(metric, metrics.AUC) else y_pred
    above = clipped > np.asarray(metric.thresholds, metric.dtype)[:, np.newaxis, np.newaxis]
    axes = 1 if text.endswith("multi_label=True)") else (1, 2)
    for kind, variable in metric.counts.items():
        side = above if kind.endswith("positives") else ~above
        right = kind.startswith("true") == kind.endswith("positives")
        np.testing.assert_array_equal(variable.array, (side * (y_true == right) * weights).sum(axes), err_msg=kind)


def test_weights_that_round():
    metric = metrics.AUC()
    y_true, y_pred = data_of(metric.thresholds, 1)
    weights = R.random(y_true.shape).astype("float32")
    metric.update_state(y_true, y_pred, weights)
    above = np.clip(y_pred, 0, 1) > np.asarray(metric.thresholds, "float32")[:, np.newaxis, np.newaxis]
    wanted = (above * y_true * weights.astype("float64")).sum((1, 2))
    np.testing.assert_allclose(metric.counts["true_positives"].array, wanted, rtol=1e-6)


@pytest.mark.parametrize("shape", [(7,), (5, 30), (6, 4, 9)])
def test_counted_ids(shape: tuple[int, ...]):
    ids = R.integers(-1, 22, shape).astype("int32")
    weights = R.random(shape).astype("float32")
    plain, weighted = operation("x", "w")(lambda x, w: (counted(x, 20), counted(x, 20, w)))(ids, weights)
    inside = (ids >= 0) & (ids < 20)
    np.testing.assert_array_equal(plain, np.bincount(ids[inside], minlength=20))
    np.testing.assert_allclose(weighted, np.bincount(ids[inside], weights[inside], minlength=20), rtol=1e-5)


def test_any_number_of_threads_gives_the_same_bits():
    """Many values for each sample, so that threads share them; weights whose sums round."""
    y_true, y_pred = R.integers(0, 2, (9, 70_000)), R.random((9, 70_000)).astype("float32")
    weights = R.random((9, 1)).astype("float32")
    seen = []
    for threads in (1, 2, 3, 4):
        with override(num_threads=threads):
            metric = metrics.AUC()
            metric.update_state(y_true, y_pred, weights)
        seen.append(np.stack([metric.counts[kind].array for kind in KINDS]))
    assert all(np.array_equal(seen[0], other) for other in seen)
    assert seen[0][0, 0] > 0
