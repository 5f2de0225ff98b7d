"""Losses of numbers: differences, squared, absolute, relative, bounded; angles; counts."""

from __future__ import annotations

import math
from typing import Any

from kgraph.config import epsilon
from kgraph.eager import anywhere
from kgraph.ir.opdef import current_emitter
from kgraph.losses.base import LossFunctionWrapper, align
from kgraph.ops.nn import normalize
from kgraph.primitives.composites import maximum, mean, square, where
from kgraph.primitives.composites import sum as total


def _log(x: Any) -> Any:
    return current_emitter().emit("log", x)


@anywhere
def mean_squared_error(y_true: Any, y_pred: Any) -> Any:
    """mean((y_true - y_pred)^2) over the last axis.

    >>> mean_squared_error([[0.0, 1.0]], [[0.0, 3.0]])
    array([2.], dtype=float32)
    """
    y_true, y_pred = align("mean_squared_error", y_true, y_pred)
    return mean(square(y_true - y_pred), -1)


class MeanSquaredError(LossFunctionWrapper):
    """Mean of (y_true - y_pred)^2."""

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = "mean_squared_error", dtype: Any = None
    ) -> None:
        super().__init__(mean_squared_error, reduction, name, dtype)


@anywhere
def mean_absolute_error(y_true: Any, y_pred: Any) -> Any:
    """mean(|y_true - y_pred|) over the last axis.

    >>> mean_absolute_error([[0.0, 1.0]], [[0.0, 3.0]])
    array([1.], dtype=float32)
    """
    y_true, y_pred = align("mean_absolute_error", y_true, y_pred)
    return mean(abs(y_true - y_pred), -1)


class MeanAbsoluteError(LossFunctionWrapper):
    """Mean of |y_true - y_pred|."""

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = "mean_absolute_error", dtype: Any = None
    ) -> None:
        super().__init__(mean_absolute_error, reduction, name, dtype)


@anywhere
def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Any:
    """100 mean(|y_true - y_pred| / |y_true|) over the last axis; |y_true| counts as at least `epsilon`."""
    y_true, y_pred = align("mean_absolute_percentage_error", y_true, y_pred)
    return mean(abs((y_true - y_pred) / maximum(abs(y_true), epsilon())), -1) * 100.0


class MeanAbsolutePercentageError(LossFunctionWrapper):
    """Mean of 100 |y_true - y_pred| / |y_true|."""

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = "mean_absolute_percentage_error",
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(mean_absolute_percentage_error, reduction, name, dtype)


@anywhere
def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Any:
    """mean((log(y_true + 1) - log(y_pred + 1))^2) over the last axis; numbers below `epsilon` count as `epsilon`."""
    y_true, y_pred = align("mean_squared_logarithmic_error", y_true, y_pred)
    logarithms = [current_emitter().emit("log1p", maximum(x, epsilon())) for x in (y_true, y_pred)]
    return mean(square(logarithms[0] - logarithms[1]), -1)


class MeanSquaredLogarithmicError(LossFunctionWrapper):
    """Mean of (log(y_true + 1) - log(y_pred + 1))^2."""

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = "mean_squared_logarithmic_error",
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(mean_squared_logarithmic_error, reduction, name, dtype)


@anywhere
def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Any:
    """Mean over the last axis of e^2 / 2 where |e| <= delta, else delta |e| - delta^2 / 2, for e = y_pred - y_true.

    Source: Huber (1964).
    """
    y_true, y_pred = align("huber", y_true, y_pred)
    size = abs(y_pred - y_true)
    return mean(where(size <= delta, square(size) * 0.5, size * delta - 0.5 * delta**2), -1)


class Huber(LossFunctionWrapper):
    """Squared error for small errors, absolute error for large ones; arguments as in `huber`."""

    def __init__(
        self, delta: float = 1.0, reduction: str | None = "sum_over_batch_size", name: str | None = "huber_loss",
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(huber, reduction, name, dtype, delta=delta)


@anywhere
def log_cosh(y_true: Any, y_pred: Any) -> Any:
    """Mean over the last axis of log(cosh(y_pred - y_true)), without overflow.

    >>> round(float(log_cosh([[0.0]], [[100.0]])[0]), 2)  # 100 - log(2)
    99.31
    """
    y_true, y_pred = align("log_cosh", y_true, y_pred)
    error = y_pred - y_true
    return mean(error + current_emitter().emit("softplus", error * -2.0) - math.log(2.0), -1)


class LogCosh(LossFunctionWrapper):
    """Mean of log(cosh(y_pred - y_true))."""

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = "log_cosh", dtype: Any = None
    ) -> None:
        super().__init__(log_cosh, reduction, name, dtype)


@anywhere
def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """Minus the cosine of the angle between `y_true` and `y_pred` along an axis: -1 where they point the same way.

    >>> cosine_similarity([[0.0, 2.0]], [[0.0, 5.0]])
    array([-1.], dtype=float32)
    """
    y_true, y_pred = align("cosine_similarity", y_true, y_pred)
    return -total(normalize(y_true, axis) * normalize(y_pred, axis), axis)


class CosineSimilarity(LossFunctionWrapper):
    """Minus the cosine of the angle between `y_true` and `y_pred`; arguments as in `cosine_similarity`."""

    def __init__(
        self, axis: int = -1, reduction: str | None = "sum_over_batch_size", name: str | None = "cosine_similarity",
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(cosine_similarity, reduction, name, dtype, axis=axis)


@anywhere
def poisson(y_true: Any, y_pred: Any) -> Any:
    """mean(y_pred - y_true log(y_pred + epsilon)) over the last axis: counts `y_true` of a Poisson variable."""
    y_true, y_pred = align("poisson", y_true, y_pred)
    return mean(y_pred - y_true * _log(y_pred + epsilon()), -1)


class Poisson(LossFunctionWrapper):
    """Mean of y_pred - y_true log(y_pred)."""

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = "poisson", dtype: Any = None
    ) -> None:
        super().__init__(poisson, reduction, name, dtype)


# Short and older names.
mse = MSE = mean_squared_error
mae = MAE = mean_absolute_error
mape = MAPE = mean_absolute_percentage_error
msle = MSLE = mean_squared_logarithmic_error
logcosh = log_cosh
