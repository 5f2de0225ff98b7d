"""Losses of areas, for segmentation: how little labels and predictions overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kgraph.config import epsilon
from kgraph.eager import anywhere
from kgraph.losses.base import LossFunctionWrapper, align
from kgraph.primitives.composites import sum as total

Axes = int | Sequence[int] | None


@anywhere
def dice(y_true: Any, y_pred: Any, axis: Axes = None) -> Any:
    """1 - 2 sum(y_true y_pred) / (sum(y_true) + sum(y_pred)) over axes; over everything, the batch too, if None.

    Source: Milletari et al. (2016).
    """
    y_true, y_pred = align("dice", y_true, y_pred)
    both = total(y_true * y_pred, axis)
    return 1.0 - both * 2.0 / (total(y_true, axis) + total(y_pred, axis) + epsilon())


class Dice(LossFunctionWrapper):
    """1 - the Dice coefficient; arguments as in `dice`."""

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = "dice", axis: Axes = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(dice, reduction, name, dtype, axis=axis)


@anywhere
def tversky(y_true: Any, y_pred: Any, alpha: float = 0.5, beta: float = 0.5, axis: Axes = None) -> Any:
    """1 - both / (both + alpha missed + beta wrong) over axes; over everything, the batch too, if None.

    both = sum(y_true y_pred), missed = sum(y_true (1 - y_pred)), wrong = sum((1 - y_true) y_pred).
    Source: Salehi et al. (2017), with the factors in Keras' places.
    """
    y_true, y_pred = align("tversky", y_true, y_pred)
    both = total(y_true * y_pred, axis)
    missed = total((1.0 - y_pred) * y_true, axis)
    wrong = total(y_pred * (1.0 - y_true), axis)
    return 1.0 - both / (both + missed * alpha + wrong * beta + epsilon())


class Tversky(LossFunctionWrapper):
    """1 - the Tversky index; arguments as in `tversky`."""

    def __init__(
        self, alpha: float = 0.5, beta: float = 0.5, reduction: str | None = "sum_over_batch_size",
        name: str | None = "tversky", axis: Axes = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(tversky, reduction, name, dtype, alpha=alpha, beta=beta, axis=axis)
