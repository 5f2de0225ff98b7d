"""Losses of probabilities: crossentropies of labels, plain, focal and generalized; divergence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kgraph.config import epsilon
from kgraph.eager import anywhere
from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dtypes import i32
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import binary, cast
from kgraph.ir.types import TensorType
from kgraph.keras_tensor import shape_text
from kgraph.losses.base import LossFunctionWrapper, align, takes_labels, takes_shares, type_of
from kgraph.masks import set_mask
from kgraph.primitives.composites import (
    axis_of,
    clip,
    expand_dims,
    mean,
    not_equal,
    one_hot,
    reshape,
    softmax,
    swapaxes,
    where,
    zeros_like,
)
from kgraph.primitives.composites import sum as total


def _log(x: Any) -> Any:
    return current_emitter().emit("log", x)


def _smoothed(y_true: Any, label_smoothing: float, classes: Any) -> Any:
    """Labels mixed with the uniform distribution over `classes`."""
    if not label_smoothing:
        return y_true
    if not isinstance(classes, int):
        raise ShapeError("label_smoothing", expected="a known number of classes", received=str(classes))
    return y_true * (1.0 - label_smoothing) + label_smoothing / classes


# --- two classes ------------------------------------------------------------------------------------------------------
@takes_shares
@anywhere
def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Any:
    """-(t log p + (1 - t) log(1 - p)), averaged over an axis.

    Args:
        y_true: labels t in [0, 1].
        y_pred: probabilities p, clipped to [epsilon, 1 - epsilon]; logits if `from_logits`.
        from_logits: whether a sigmoid is still to come.
        label_smoothing: in [0, 1]; moves labels towards 0.5.
        axis: what is averaged over.
    """
    y_true, y_pred = align("binary_crossentropy", y_true, y_pred)
    return mean(_binary(_smoothed(y_true, label_smoothing, 2), y_pred, from_logits), axis)


def _binary(y_true: Any, y_pred: Any, from_logits: bool) -> Any:
    emit = current_emitter().emit
    if from_logits:
        return emit("sigmoid_crossentropy", y_pred, y_true)
    return emit("binary_crossentropy", y_pred, y_true, epsilon=epsilon())


class BinaryCrossentropy(LossFunctionWrapper):
    """Cross-entropy of labels 0 and 1; arguments as in `binary_crossentropy`."""

    def __init__(
        self, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1,
        reduction: str | None = "sum_over_batch_size", name: str | None = "binary_crossentropy", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            binary_crossentropy, reduction, name, dtype,
            from_logits=from_logits, label_smoothing=label_smoothing, axis=axis,
        )  # fmt: skip


@takes_shares
@anywhere
def binary_focal_crossentropy(
    y_true: Any, y_pred: Any, apply_class_balancing: bool = False, alpha: float = 0.25, gamma: float = 2.0,
    from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1,
) -> Any:  # fmt: skip
    """`binary_crossentropy` times (1 - q)^gamma, where q is the probability of the right class.

    Args:
        y_true, y_pred, from_logits, label_smoothing, axis: as in `binary_crossentropy`.
        apply_class_balancing: also multiply by alpha for class 1 and 1 - alpha for class 0.
        alpha, gamma: numbers.

    Source: Lin et al. (2017).
    """
    y_true, y_pred = align("binary_focal_crossentropy", y_true, y_pred)
    t = _smoothed(y_true, label_smoothing, 2)
    p = current_emitter().emit("sigmoid", y_pred) if from_logits else y_pred
    right = t * p + (1.0 - t) * (1.0 - p)
    focal = binary("pow", 1.0 - right, gamma) * _binary(t, p, from_logits=False)
    if apply_class_balancing:
        focal = (t * alpha + (1.0 - t) * (1.0 - alpha)) * focal
    return mean(focal, axis)


class BinaryFocalCrossentropy(LossFunctionWrapper):
    """Focal cross-entropy of labels 0 and 1; arguments as in `binary_focal_crossentropy`."""

    def __init__(
        self, apply_class_balancing: bool = False, alpha: float = 0.25, gamma: float = 2.0, from_logits: bool = False,
        label_smoothing: float = 0.0, axis: int = -1, reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_focal_crossentropy", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            binary_focal_crossentropy, reduction, name, dtype, apply_class_balancing=apply_class_balancing,
            alpha=alpha, gamma=gamma, from_logits=from_logits, label_smoothing=label_smoothing, axis=axis,
        )  # fmt: skip


# --- several classes --------------------------------------------------------------------------------------------------
def _one_hot_labels(where_: str, y_true: Any, y_pred: Any) -> Any:
    """`y_true` in the element type of `y_pred`, whose shape it must have."""
    true, pred = type_of(y_true), type_of(y_pred)
    if true.shape != pred.shape:
        labels = true.rank == pred.rank - 1 or (true.rank == pred.rank and true.shape[-1] == 1)
        fix = "Use sparse_categorical_crossentropy for integer labels, or to_categorical" if labels else ""
        raise ShapeError(f"{where_}: y_true", expected=f"one-hot rows {shape_text(pred)}",
                         received=shape_text(true), fix=fix)  # fmt: skip
    return cast(y_true, pred.dtype)


def _crossentropy(targets: Any, y_pred: Any, from_logits: bool, axis: int) -> Any:
    """Over the classes along `axis`, which both have."""
    rank = type_of(y_pred).rank
    place, emit = axis_of(axis, rank), current_emitter().emit
    if place != rank - 1:
        targets, y_pred = swapaxes(targets, place, rank - 1), swapaxes(y_pred, place, rank - 1)
    if from_logits:
        losses = emit("softmax_crossentropy", y_pred, targets)[0]
    else:
        losses = emit("categorical_crossentropy", y_pred, targets, epsilon=epsilon())
    # The last axis stands in the place of the classes: back to where it was.
    return losses if place >= rank - 2 else _last_back(losses, place)


def _last_back(losses: Any, place: int) -> Any:
    """The axis at `place` moved to the end: where the swap of the last axis with the classes left it."""
    rank = type_of(losses).rank
    order = [a for a in range(rank) if a != place] + [place]
    return current_emitter().emit("transpose", losses, perm=tuple(order))


@anywhere
def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1
) -> Any:
    """-sum(t log p) over the classes, for one-hot (or soft) labels.

    Args:
        y_true: labels t of the shape of `y_pred`.
        y_pred: probabilities p, divided by their sum and clipped to [epsilon, 1 - epsilon]; logits if `from_logits`.
        from_logits: whether a softmax is still to come.
        label_smoothing: in [0, 1]; mixes labels with the uniform distribution.
        axis: of the classes.
    """
    y_true = _one_hot_labels("categorical_crossentropy", y_true, y_pred)
    y_true = _smoothed(y_true, label_smoothing, type_of(y_true).shape[-1])
    return _crossentropy(y_true, y_pred, from_logits, axis)


class CategoricalCrossentropy(LossFunctionWrapper):
    """Cross-entropy of one-hot labels; arguments as in `categorical_crossentropy`."""

    def __init__(
        self, from_logits: bool = False, label_smoothing: float = 0.0, axis: int = -1,
        reduction: str | None = "sum_over_batch_size", name: str | None = "categorical_crossentropy", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            categorical_crossentropy, reduction, name, dtype,
            from_logits=from_logits, label_smoothing=label_smoothing, axis=axis,
        )  # fmt: skip


@anywhere
def categorical_focal_crossentropy(
    y_true: Any, y_pred: Any, alpha: float | Sequence[float] = 0.25, gamma: float = 2.0, from_logits: bool = False,
    label_smoothing: float = 0.0, axis: int = -1,
) -> Any:  # fmt: skip
    """-sum(alpha (1 - p)^gamma t log p) over the classes, for one-hot labels.

    Args:
        y_true, y_pred, from_logits, label_smoothing, axis: as in `categorical_crossentropy`.
        alpha: a number, or one for each class.
        gamma: number.

    Source: Lin et al. (2017).
    """
    y_true = _one_hot_labels("categorical_focal_crossentropy", y_true, y_pred)
    y_true = _smoothed(y_true, label_smoothing, type_of(y_true).shape[-1])
    p = softmax(y_pred, axis) if from_logits else y_pred
    p = clip(p / total(p, axis, keepdims=True), epsilon(), 1.0 - epsilon())
    weights = binary("pow", 1.0 - p, gamma) * (np.asarray(alpha) if isinstance(alpha, Sequence) else alpha)
    return total(weights * -y_true * _log(p), axis)


class CategoricalFocalCrossentropy(LossFunctionWrapper):
    """Focal cross-entropy of one-hot labels; arguments as in `categorical_focal_crossentropy`."""

    def __init__(
        self, alpha: float | Sequence[float] = 0.25, gamma: float = 2.0, from_logits: bool = False,
        label_smoothing: float = 0.0, axis: int = -1, reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_focal_crossentropy", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            categorical_focal_crossentropy, reduction, name, dtype, alpha=alpha, gamma=gamma,
            from_logits=from_logits, label_smoothing=label_smoothing, axis=axis,
        )  # fmt: skip


def _class_numbers(where_: str, y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """Integer labels of the shape of `y_pred` without the axis of the classes."""
    true, pred = type_of(y_true), type_of(y_pred)
    place = axis_of(axis, pred.rank)
    labels = (*pred.shape[:place], *pred.shape[place + 1 :])
    if true.shape not in (labels, (*pred.shape[:place], 1, *pred.shape[place + 1 :])):
        fix = "Use categorical_crossentropy for one-hot labels, or argmax" if true.shape == pred.shape else ""
        raise ShapeError(f"{where_}: y_true", expected=f"integer labels {shape_text(TensorType(pred.dtype, labels))}",
                         received=shape_text(true), fix=fix)  # fmt: skip
    return reshape(y_true if true.dtype.is_integer else cast(y_true, i32), labels)


@takes_labels
@anywhere
def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False, ignore_class: int | None = None, axis: int = -1
) -> Any:
    """-log p[label], for integer labels.

    Args:
        y_true: labels in [0, classes), of the shape of `y_pred` without the classes, or with 1 there.
        y_pred: probabilities as in `categorical_crossentropy`; logits if `from_logits`.
        from_logits: whether a softmax is still to come.
        ignore_class: a label that stands for none: it has no loss, and does not count in a mean.
        axis: of the classes.
    """
    labels = _class_numbers("sparse_categorical_crossentropy", y_true, y_pred, axis)
    place = axis_of(axis, type_of(y_pred).rank)
    kept = None
    if ignore_class is not None:
        kept = not_equal(labels, ignore_class)
        labels = where(kept, labels, 0)
        y_pred = where(expand_dims(kept, place), y_pred, zeros_like(y_pred) if from_logits else 1.0)
    kind = type_of(y_pred)
    targets = one_hot(labels, kind.shape[place], kind.dtype)
    if place != kind.rank - 1:
        order = [*range(place), kind.rank - 1, *range(place, kind.rank - 1)]
        targets = current_emitter().emit("transpose", targets, perm=tuple(order))
    losses = _crossentropy(targets, y_pred, from_logits, axis)
    if kept is not None:
        losses = where(kept, losses, 0.0)
        set_mask(losses, kept)
    return losses


class SparseCategoricalCrossentropy(LossFunctionWrapper):
    """Cross-entropy of integer labels; arguments as in `sparse_categorical_crossentropy`."""

    def __init__(
        self, from_logits: bool = False, ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size", axis: int = -1,
        name: str | None = "sparse_categorical_crossentropy", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            sparse_categorical_crossentropy, reduction, name, dtype,
            from_logits=from_logits, ignore_class=ignore_class, axis=axis,
        )  # fmt: skip


@takes_labels
@anywhere
def categorical_generalized_cross_entropy(y_true: Any, y_pred: Any, q: float = 0.5) -> Any:
    """(1 - p[label]^q) / q, for integer labels: between the cross-entropy (q near 0) and 1 - p (q = 1).

    Source: Zhang and Sabuncu (2018).
    """
    labels = _class_numbers("categorical_generalized_cross_entropy", y_true, y_pred)
    kind = type_of(y_pred)
    p = total(one_hot(labels, kind.shape[-1], kind.dtype) * y_pred, -1)
    return (1.0 - binary("pow", p, q)) / q


class CategoricalGeneralizedCrossEntropy(LossFunctionWrapper):
    """Generalized cross-entropy of integer labels, for noisy ones.

    Args:
        q: in (0, 1).
        reduction, name, dtype: as in `Loss`.
    """

    def __init__(
        self, q: float = 0.5, reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_generalized_cross_entropy", dtype: Any = None,
    ) -> None:  # fmt: skip
        if not 0 < q < 1:
            where_ = "CategoricalGeneralizedCrossEntropy: q"
            raise ArgumentError(where_, expected="a number in (0, 1)", received=repr(q))
        super().__init__(categorical_generalized_cross_entropy, reduction, name, dtype, q=q)


# --- distributions ----------------------------------------------------------------------------------------------------
@anywhere
def kl_divergence(y_true: Any, y_pred: Any) -> Any:
    """sum(t log(t / p)) over the last axis; both are clipped to [epsilon, 1]. Source: Kullback and Leibler (1951)."""
    y_true, y_pred = align("kl_divergence", y_true, y_pred)
    y_true, y_pred = clip(y_true, epsilon(), 1.0), clip(y_pred, epsilon(), 1.0)
    return total(y_true * _log(y_true / y_pred), -1)


class KLDivergence(LossFunctionWrapper):
    """Sum of t log(t / p) over the last axis."""

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = "kl_divergence", dtype: Any = None
    ) -> None:
        super().__init__(kl_divergence, reduction, name, dtype)


# Short and older names.
bce = BCE = binary_crossentropy
kld = KLD = kullback_leibler_divergence = kl_divergence
