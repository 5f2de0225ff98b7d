"""Metrics against Keras: results after two updates, and after a weighted one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from public_names import names_of

import kgraph.metrics as own

R = np.random.default_rng(6)
NUMBERS = R.normal(size=(8, 4)), R.normal(size=(8, 4))
POSITIVE = R.uniform(0.1, 3, (8, 4)), R.uniform(0.1, 3, (8, 4))
BITS = R.integers(0, 2, (8, 4)), R.uniform(0, 1, (8, 4))
ROUND = R.integers(0, 2, (8, 4)), R.integers(0, 5, (8, 4)) / 4
ON_THRESHOLDS = R.integers(0, 2, (8, 4)), np.concatenate([R.integers(0, 17, (7, 4)) / 16, [[0, 1, 0.5, 1]]])
FLAT = R.integers(0, 2, 8), R.uniform(0, 1, 8)
CLASSES = R.integers(0, 4, 8), R.dirichlet(np.ones(4), 8)
ONE_HOT = np.eye(4)[CLASSES[0]], CLASSES[1]
IDS = R.integers(0, 3, 8), R.integers(0, 3, 8)
ID_SCORES = np.eye(3)[IDS[0]], R.dirichlet(np.ones(3), 8)
SORTED_IDS = CLASSES[0], np.argsort(-CLASSES[1], -1)

CASES: list[tuple[str, Any]] = [
    ("MeanAbsolutePercentageError()", NUMBERS),
    ("MeanSquaredLogarithmicError()", POSITIVE),
    ("RootMeanSquaredError()", NUMBERS),
    ("LogCoshError()", NUMBERS),
    ("CosineSimilarity()", NUMBERS),
    ("PearsonCorrelation()", NUMBERS),
    ("ConcordanceCorrelation()", NUMBERS),
    ("R2Score()", NUMBERS),
    ("R2Score(class_aggregation=None)", NUMBERS),
    ("R2Score('variance_weighted_average', num_regressors=2)", NUMBERS),
    ("Hinge()", BITS),
    ("SquaredHinge()", BITS),
    ("CategoricalHinge()", ONE_HOT),
    ("KLDivergence()", POSITIVE),
    ("Poisson()", POSITIVE),
    ("BinaryCrossentropy(label_smoothing=0.1)", BITS),
    ("CategoricalCrossentropy(from_logits=True)", ONE_HOT),
    ("SparseCategoricalCrossentropy()", CLASSES),
    ("TopKCategoricalAccuracy(k=2)", ONE_HOT),
    ("SparseTopKCategoricalAccuracy(k=2)", CLASSES),
    ("SparseTopKCategoricalAccuracy(k=2, from_sorted_ids=True)", SORTED_IDS),
    ("TruePositives()", BITS),
    ("FalsePositives(thresholds=0.3)", BITS),
    ("TrueNegatives(thresholds=[0.2, 0.7])", BITS),
    ("FalseNegatives(thresholds=[0.2, 0.7])", FLAT),
    ("Precision()", BITS),
    ("Precision(thresholds=[0.0, 0.5, 1.0])", ROUND),
    ("Precision(top_k=2)", BITS),
    ("Precision(top_k=2, class_id=1)", BITS),
    ("Recall(class_id=2, thresholds=0.4)", BITS),
    ("Recall(thresholds=0.3, top_k=1)", BITS),
    ("AUC()", BITS),
    ("AUC()", FLAT),
    ("AUC(num_thresholds=5)", ROUND),
    ("AUC(curve='PR')", BITS),
    ("AUC(curve='PR', summation_method='majoring')", BITS),
    ("AUC(curve='ROC', summation_method='minoring', thresholds=[0.1, 0.4, 0.6])", BITS),
    ("AUC(curve='PRGAIN')", BITS),
    ("AUC(multi_label=True, num_thresholds=20)", BITS),
    ("AUC(multi_label=True, label_weights=[0.1, 0.2, 0.3, 0.4], num_labels=4, curve='PR')", BITS),
    ("AUC(label_weights=[0.1, 0.2, 0.3, 0.4])", BITS),
    ("AUC(num_thresholds=17)", ON_THRESHOLDS),
    ("AUC(num_thresholds=17, curve='PR', multi_label=True)", ON_THRESHOLDS),
    ("SpecificityAtSensitivity(0.5, num_thresholds=17)", ON_THRESHOLDS),
    ("Recall(thresholds=[i / 16 for i in range(17)])", ON_THRESHOLDS),
    ("FalseNegatives(thresholds=[i / 16 for i in range(17)])", ON_THRESHOLDS),
    ("AUC(from_logits=True)", (BITS[0], NUMBERS[0])),
    ("SensitivityAtSpecificity(0.5)", BITS),
    ("SpecificityAtSensitivity(0.4, num_thresholds=20)", BITS),
    ("PrecisionAtRecall(0.6)", BITS),
    ("RecallAtPrecision(0.5, class_id=1)", BITS),
    ("F1Score()", ONE_HOT),
    ("F1Score('macro', threshold=0.3)", ONE_HOT),
    ("FBetaScore('micro', beta=2.0)", ONE_HOT),
    ("FBetaScore('weighted', beta=0.5, threshold=0.6)", ONE_HOT),
    ("IoU(3, [0, 2])", IDS),
    ("IoU(3, [0, 1], ignore_class=2)", IDS),
    ("MeanIoU(3)", IDS),
    ("MeanIoU(2)", IDS),
    ("BinaryIoU([1], threshold=0.3)", FLAT),
    ("BinaryIoU()", BITS),
    ("OneHotIoU(3, [1, 2])", ID_SCORES),
    ("OneHotMeanIoU(3)", ID_SCORES),
]
UNWEIGHTED = ("IoU", "label_weights")  # float weights of an integer matrix; both kinds of weights at once


@pytest.mark.parametrize(("text", "data"), CASES, ids=[f"{text}-{n}" for n, (text, _) in enumerate(CASES)])
def test_metric(text: str, data: tuple[np.ndarray, np.ndarray]):
    import keras

    y_true = data[0].astype("float32" if data[0].dtype.kind == "f" else "int32")
    y_pred = data[1].astype("float32" if data[1].dtype.kind == "f" else "int32")
    ours, theirs = eval(text, names_of(own)), eval(text, names_of(keras.metrics))
    for metric in (ours, theirs):
        metric.update_state(y_true[:3], y_pred[:3])
        metric.update_state(y_true[3:], y_pred[3:])
    np.testing.assert_allclose(ours.result(), np.asarray(theirs.result()), rtol=1e-5, atol=1e-6)
    if any(word in text for word in UNWEIGHTED):
        return
    weights = np.linspace(0.5, 2, 8).astype("float32")
    # Keras' F scores do not take one weight for all.
    for given in (weights,) if text.startswith("F") and "Score" in text else (weights, 0.25):
        for metric in (ours, theirs):
            metric.reset_state()
            metric.update_state(y_true, y_pred, given)
        np.testing.assert_allclose(ours.result(), np.asarray(theirs.result()), rtol=1e-5, atol=1e-6)
    assert ours.name == theirs.name or ours.name == own.base.snake_case(type(ours).__name__)
    assert set(theirs.get_config()) - {"fn"} <= set(ours.get_config()) | {"name", "dtype"}
