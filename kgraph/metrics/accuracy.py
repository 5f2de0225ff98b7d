"""Accuracies: how often the right class is predicted, or is among the first few."""

from __future__ import annotations

from typing import Any

from kgraph.config import floatx
from kgraph.eager import anywhere
from kgraph.ir.dtypes import dtype_of, i32
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import cast
from kgraph.losses.base import align, type_of
from kgraph.metrics.reductions import MeanMetricWrapper
from kgraph.primitives.composites import argmax, equal, expand_dims, one_hot, part, reshape
from kgraph.primitives.composites import sum as total


def _counted(holds: Any) -> Any:
    return cast(holds, dtype_of(floatx()))


def _labels(y_true: Any, y_pred: Any) -> Any:
    """Class numbers of the shape of `y_pred` without the classes."""
    return cast(reshape(y_true, type_of(y_pred).shape[:-1]), i32)


@anywhere
def accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where `y_true` equals `y_pred`, else 0."""
    return _counted(equal(*align("accuracy", y_true, y_pred)))


class Accuracy(MeanMetricWrapper):
    """How often `y_true` equals `y_pred`."""

    _direction = "up"

    def __init__(self, name: str | None = "accuracy", dtype: Any = None) -> None:
        super().__init__(accuracy, name, dtype)


@anywhere
def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Any:
    """1 where `y_pred > threshold` agrees with the label 0 or 1, else 0."""
    y_true, y_pred = align("binary_accuracy", y_true, y_pred)
    return _counted(equal(y_true, cast(y_pred > threshold, type_of(y_true).dtype)))


class BinaryAccuracy(MeanMetricWrapper):
    """How often `y_pred > threshold` agrees with the label.

    >>> m = BinaryAccuracy()
    >>> m.update_state([1, 1, 0, 0], [0.98, 1.0, 0.0, 0.6])
    >>> float(m.result())
    0.75
    """

    _direction = "up"

    def __init__(self, name: str | None = "binary_accuracy", dtype: Any = None, threshold: float = 0.5) -> None:
        super().__init__(binary_accuracy, name, dtype, threshold=threshold)


@anywhere
def categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where the largest of the probabilities is that of the one-hot label, else 0."""
    return _counted(equal(argmax(y_true, -1), argmax(y_pred, -1)))


class CategoricalAccuracy(MeanMetricWrapper):
    """How often the likeliest class is that of the one-hot label."""

    _direction = "up"

    def __init__(self, name: str | None = "categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(categorical_accuracy, name, dtype)


@anywhere
def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where the largest of the probabilities is that of the label, else 0.

    >>> sparse_categorical_accuracy([1, 0], [[0.1, 0.9], [0.2, 0.8]])
    array([1., 0.], dtype=float32)
    """
    return _counted(equal(_labels(y_true, y_pred), argmax(y_pred, -1)))


class SparseCategoricalAccuracy(MeanMetricWrapper):
    """How often the likeliest class is the label."""

    _direction = "up"

    def __init__(self, name: str | None = "sparse_categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(sparse_categorical_accuracy, name, dtype)


def _among_first(labels: Any, y_pred: Any, k: int) -> Any:
    """1 where fewer than `k` scores are larger than that of the label, which must be a number; else 0."""
    kind = type_of(y_pred)
    score = total(one_hot(labels, kind.shape[-1], kind.dtype) * y_pred, -1)
    larger = total(cast(y_pred > expand_dims(score, -1), i32), -1)
    return _counted(current_emitter().emit("logical_and", larger < k, equal(score, score)))


@anywhere
def top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5) -> Any:
    """1 where the class of the one-hot label is among the `k` likeliest, else 0."""
    return _among_first(argmax(y_true, -1), y_pred, k)


class TopKCategoricalAccuracy(MeanMetricWrapper):
    """How often the class of the one-hot label is among the `k` likeliest."""

    _direction = "up"

    def __init__(self, k: int = 5, name: str | None = "top_k_categorical_accuracy", dtype: Any = None) -> None:
        super().__init__(top_k_categorical_accuracy, name, dtype, k=k)


@anywhere
def sparse_top_k_categorical_accuracy(y_true: Any, y_pred: Any, k: int = 5, from_sorted_ids: bool = False) -> Any:
    """1 where the label is among the `k` likeliest classes, else 0.

    Args:
        y_true: class numbers.
        y_pred: scores of the classes; with `from_sorted_ids` the classes themselves, the likeliest first.
        k: how many count.
        from_sorted_ids: see `y_pred`.
    """
    labels = _labels(y_true, y_pred)
    if not from_sorted_ids:
        return _among_first(labels, y_pred, k)
    first = cast(part(y_pred, type_of(y_pred).rank - 1, 0, k), i32)
    return _counted(total(cast(equal(first, expand_dims(labels, -1)), i32), -1) > 0)


class SparseTopKCategoricalAccuracy(MeanMetricWrapper):
    """How often the label is among the `k` likeliest classes; arguments as in `sparse_top_k_categorical_accuracy`."""

    _direction = "up"

    def __init__(
        self, k: int = 5, name: str | None = "sparse_top_k_categorical_accuracy", dtype: Any = None,
        from_sorted_ids: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(sparse_top_k_categorical_accuracy, name, dtype, k=k, from_sorted_ids=from_sorted_ids)
