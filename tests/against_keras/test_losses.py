"""Losses against Keras: values for each reduction, with and without weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from public_names import names_of

import kgraph.losses as own

R = np.random.default_rng(5)
NUMBERS = R.normal(size=(6, 4)), R.normal(size=(6, 4))
POSITIVE = R.uniform(0.1, 3, (6, 4)), R.uniform(0.1, 3, (6, 4))
BITS = R.integers(0, 2, (6, 4)), R.uniform(0, 1, (6, 4))
CLASSES = R.integers(0, 4, 6), R.dirichlet(np.ones(4), 6)
ONE_HOT = np.eye(4)[CLASSES[0]], CLASSES[1]
PIXELS = R.integers(0, 3, (6, 5)), R.dirichlet(np.ones(3), (6, 5))
ONE_HOT_PIXELS = np.eye(3)[PIXELS[0]], PIXELS[1]
FIRST = np.moveaxis(ONE_HOT_PIXELS[0], -1, 1), np.moveaxis(PIXELS[1], -1, 1)
_VECTORS = R.normal(size=(6, 4))
EMBEDDINGS = np.array([0, 1, 0, 1, 2, 0]), _VECTORS / np.linalg.norm(_VECTORS, axis=-1, keepdims=True)

CASES: list[tuple[str, Any]] = [
    ("MeanSquaredError()", NUMBERS),
    ("MeanAbsolutePercentageError()", NUMBERS),
    ("MeanSquaredLogarithmicError()", POSITIVE),
    ("MeanSquaredLogarithmicError()", NUMBERS),
    ("Huber(delta=0.5)", NUMBERS),
    ("LogCosh()", NUMBERS),
    ("CosineSimilarity()", NUMBERS),
    ("CosineSimilarity(axis=0)", NUMBERS),
    ("Poisson()", POSITIVE),
    ("Hinge()", NUMBERS),
    ("Hinge()", BITS),
    ("SquaredHinge()", BITS),
    ("CategoricalHinge()", ONE_HOT),
    ("KLDivergence()", (CLASSES[1], CLASSES[1][::-1])),
    ("BinaryCrossentropy(label_smoothing=0.2)", BITS),
    ("BinaryCrossentropy(from_logits=True, axis=0)", (BITS[0], NUMBERS[0])),
    ("BinaryFocalCrossentropy()", BITS),
    ("BinaryFocalCrossentropy(True, 0.3, 1.5, True, 0.1)", (BITS[0], NUMBERS[0])),
    ("CategoricalCrossentropy(label_smoothing=0.2)", ONE_HOT),
    ("CategoricalCrossentropy(from_logits=True)", (ONE_HOT[0], NUMBERS[0])),
    ("CategoricalCrossentropy(axis=1)", FIRST),
    ("CategoricalCrossentropy(axis=-1)", ONE_HOT_PIXELS),
    ("CategoricalFocalCrossentropy(alpha=0.3, gamma=1.5, label_smoothing=0.1)", ONE_HOT),
    ("CategoricalFocalCrossentropy(alpha=[0.1, 0.2, 0.3, 0.4], from_logits=True)", (ONE_HOT[0], NUMBERS[0])),
    ("SparseCategoricalCrossentropy()", CLASSES),
    ("SparseCategoricalCrossentropy(from_logits=True)", (CLASSES[0][:, None], NUMBERS[0])),
    ("SparseCategoricalCrossentropy(ignore_class=2)", CLASSES),
    ("SparseCategoricalCrossentropy(ignore_class=-1)", (np.where(CLASSES[0] == 1, -1, CLASSES[0]), CLASSES[1])),
    ("SparseCategoricalCrossentropy(ignore_class=1)", PIXELS),
    ("SparseCategoricalCrossentropy(ignore_class=1, from_logits=True)", PIXELS),
    ("CategoricalGeneralizedCrossEntropy(q=0.3)", CLASSES),
    ("Dice()", BITS),
    ("Dice(axis=1)", BITS),
    ("Tversky(alpha=0.3, beta=0.6)", BITS),
    ("Tversky(alpha=0.3, beta=0.6, axis=(1,))", BITS),
    ("Circle(gamma=5.0)", EMBEDDINGS),
    ("Circle(gamma=5.0, margin=0.3, remove_diagonal=False)", EMBEDDINGS),
]


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight", None])
@pytest.mark.parametrize(("text", "data"), CASES, ids=[f"{text}-{n}" for n, (text, _) in enumerate(CASES)])
def test_loss(text: str, data: tuple[np.ndarray, np.ndarray], reduction: str | None):
    import keras

    y_true, y_pred = data[0], data[1].astype("float32")
    y_true = y_true.astype("float32" if y_true.dtype.kind == "f" else "int32")
    made = text[:-1] + ("" if text.endswith("()") else ", ") + f"reduction={reduction!r})"
    ours, theirs = eval(made, names_of(own)), eval(made, names_of(keras.losses))
    # Keras wants a weight for each value where there are several for a sample.
    weighted = y_pred.ndim == 2 and "axis=0" not in text
    for weight in [None, 0.25, np.linspace(0.5, 2, 6).astype("float32")][: 2 + weighted]:
        expected = np.asarray(theirs(y_true, y_pred, weight))
        np.testing.assert_allclose(ours(y_true, y_pred, weight), expected, rtol=2e-5, atol=1e-6)


def test_circle_with_other_embeddings_to_compare_with():
    import keras

    vectors = R.normal(size=(9, 4))
    others = np.arange(9) % 3, vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    for arguments in (others, (*others, False), (*others, True, 2.0, 0.1)):
        expected = np.asarray(keras.losses.circle(*EMBEDDINGS, *arguments))
        np.testing.assert_allclose(own.circle(*EMBEDDINGS, *arguments), expected, rtol=2e-5)
