"""Hinge losses: no loss where a prediction is on the right side by a margin of 1."""

from __future__ import annotations

from typing import Any

from kgraph.eager import anywhere
from kgraph.ir.dtypes import i32
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import cast
from kgraph.losses.base import LossFunctionWrapper, align
from kgraph.primitives.composites import equal, maximum, mean, square, where
from kgraph.primitives.composites import max as largest
from kgraph.primitives.composites import sum as total


def _signs(labels: Any) -> Any:
    """Labels -1 and 1; labels that are all 0 or 1 become those."""
    emit = current_emitter().emit
    other = emit("logical_not", emit("logical_or", equal(labels, 0.0), equal(labels, 1.0)))
    return where(equal(total(cast(other, i32), None), 0), labels * 2.0 - 1.0, labels)


def _margins(where_: str, y_true: Any, y_pred: Any) -> Any:
    y_true, y_pred = align(where_, y_true, y_pred)
    return maximum(1.0 - _signs(y_true) * y_pred, 0.0)


@anywhere
def hinge(y_true: Any, y_pred: Any) -> Any:
    """mean(max(1 - y_true y_pred, 0)) over the last axis, for labels -1 and 1, or 0 and 1."""
    return mean(_margins("hinge", y_true, y_pred), -1)


class Hinge(LossFunctionWrapper):
    """Mean of max(1 - y_true y_pred, 0)."""

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = "hinge", dtype: Any = None
    ) -> None:
        super().__init__(hinge, reduction, name, dtype)


@anywhere
def squared_hinge(y_true: Any, y_pred: Any) -> Any:
    """mean(max(1 - y_true y_pred, 0)^2) over the last axis, for labels -1 and 1, or 0 and 1."""
    return mean(square(_margins("squared_hinge", y_true, y_pred)), -1)


class SquaredHinge(LossFunctionWrapper):
    """Mean of max(1 - y_true y_pred, 0)^2."""

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = "squared_hinge", dtype: Any = None
    ) -> None:
        super().__init__(squared_hinge, reduction, name, dtype)


@anywhere
def categorical_hinge(y_true: Any, y_pred: Any) -> Any:
    """max(1 + largest score of a wrong class - score of the right one, 0), for one-hot labels."""
    y_true, y_pred = align("categorical_hinge", y_true, y_pred)
    right = total(y_true * y_pred, -1)
    wrong = largest((1.0 - y_true) * y_pred, -1)
    return maximum(wrong - right + 1.0, 0.0)


class CategoricalHinge(LossFunctionWrapper):
    """Mean of max(1 + largest score of a wrong class - score of the right one, 0)."""

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = "categorical_hinge", dtype: Any = None
    ) -> None:
        super().__init__(categorical_hinge, reduction, name, dtype)
