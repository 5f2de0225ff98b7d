"""Metrics of numbers that are no losses: root mean square, angles, correlations, explained variance."""

from __future__ import annotations

from typing import Any

import numpy as np

from kgraph.config import epsilon
from kgraph.data import warn_user
from kgraph.eager import anywhere
from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dtypes import dtype_of
from kgraph.ir.operators import cast
from kgraph.keras_tensor import shape_text
from kgraph.losses.base import align, type_of, weights_for
from kgraph.losses.regression import mean_squared_error
from kgraph.metrics.base import Metric
from kgraph.metrics.reductions import MeanMetricWrapper
from kgraph.ops.nn import normalize
from kgraph.primitives.composites import mean, ones_like, size, sqrt, square
from kgraph.primitives.composites import sum as total
from kgraph.variable import Variable


class RootMeanSquaredError(MeanMetricWrapper):
    """Square root of the mean of (y_true - y_pred)^2."""

    _direction = "down"

    def __init__(self, name: str | None = "root_mean_squared_error", dtype: Any = None) -> None:
        super().__init__(mean_squared_error, name, dtype)

    def result(self) -> Any:
        """The root of the mean so far."""
        return np.sqrt(super().result())


@anywhere
def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """Cosine of the angle between `y_true` and `y_pred` along an axis; the loss of that name is minus this."""
    y_true, y_pred = align("cosine_similarity", y_true, y_pred)
    return total(normalize(y_true, axis) * normalize(y_pred, axis), axis)


class CosineSimilarity(MeanMetricWrapper):
    """Mean cosine of the angle between `y_true` and `y_pred`."""

    _direction = "up"

    def __init__(self, name: str | None = "cosine_similarity", dtype: Any = None, axis: int = -1) -> None:
        super().__init__(cosine_similarity, name, dtype, axis=axis)


def _centred(x: Any, axis: int) -> tuple[Any, Any]:
    """`x` without its mean, and its variance."""
    away = x - mean(x, axis, keepdims=True)
    return away, mean(square(away), axis, keepdims=True)


@anywhere
def pearson_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """Covariance of `y_true` and `y_pred` along an axis, divided by both standard deviations.

    >>> pearson_correlation([[1.0, 2.0, 3.0]], [[2.0, 4.0, 6.0]]).round(3).tolist()
    [1.0]
    """
    y_true, y_pred = align("pearson_correlation", y_true, y_pred)
    (t, var_t), (p, var_p) = _centred(y_true, axis), _centred(y_pred, axis)
    return mean((t / sqrt(var_t)) * (p / sqrt(var_p)), axis)


class PearsonCorrelation(MeanMetricWrapper):
    """Mean correlation of `y_true` and `y_pred`."""

    _direction = "up"

    def __init__(self, name: str | None = "pearson_correlation", dtype: Any = None, axis: int = -1) -> None:
        super().__init__(pearson_correlation, name, dtype, axis=axis)


@anywhere
def concordance_correlation(y_true: Any, y_pred: Any, axis: int = -1) -> Any:
    """Twice the covariance along an axis, divided by both variances and the squared difference of the means.

    Source: Lin (1989).
    """
    y_true, y_pred = align("concordance_correlation", y_true, y_pred)
    (t, var_t), (p, var_p) = _centred(y_true, axis), _centred(y_pred, axis)
    apart = mean(y_true, axis, keepdims=True) - mean(y_pred, axis, keepdims=True)
    return mean(t * p * 2.0 / (var_t + var_p + square(apart) + epsilon()), axis)


class ConcordanceCorrelation(MeanMetricWrapper):
    """Mean concordance of `y_true` and `y_pred`."""

    def __init__(self, name: str | None = "concordance_correlation", dtype: Any = None, axis: int = -1) -> None:
        super().__init__(concordance_correlation, name, dtype, axis=axis)


class R2Score(Metric):
    """1 - sum((y_true - y_pred)^2) / sum((y_true - mean)^2): the share of the variance that is explained.

    Args:
        class_aggregation: "uniform_average" over the outputs, "variance_weighted_average", or None for all of them.
        num_regressors: number of inputs, for the adjusted score; 0 for the plain one.
        name, dtype: as in `Metric`.
    """

    _direction = "up"

    def __init__(
        self, class_aggregation: str | None = "uniform_average", num_regressors: int = 0, name: str | None = "r2_score",
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(name, dtype)
        if class_aggregation not in (None, "uniform_average", "variance_weighted_average"):
            expected = "None, 'uniform_average' or 'variance_weighted_average'"
            raise ArgumentError("R2Score: class_aggregation", expected=expected, received=repr(class_aggregation))
        if num_regressors < 0:
            raise ArgumentError("R2Score: num_regressors", expected="an int >= 0", received=repr(num_regressors))
        self.class_aggregation, self.num_regressors = class_aggregation, num_regressors
        self.num_samples = self.add_variable(name="num_samples")
        self._sums: dict[str, Variable] = {}

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add to the sums of each output."""
        dtype = dtype_of(self.dtype)
        y_true, y_pred = align("r2_score", cast(y_true, dtype), cast(y_pred, dtype))
        kind = type_of(y_true)
        outputs = kind.shape[1] if kind.rank == 2 else None
        if not isinstance(outputs, int):
            raise ShapeError("r2_score", expected="(batch, outputs)", received=shape_text(kind))
        if not self._sums:
            names = ("squared_sum", "sum", "residual", "count")
            self._sums = {name: self.add_variable((outputs,), name=name) for name in names}
        weights = ones_like(y_true) if sample_weight is None else weights_for(y_true, sample_weight)
        for name, value in (
            ("squared_sum", square(y_true) * weights),
            ("sum", y_true * weights),
            ("residual", square(y_true - y_pred) * weights),
            ("count", weights),
        ):
            self._sums[name].assign_add(total(value, 0))
        self.num_samples.assign_add(size(kind.size, dtype))

    def result(self) -> Any:
        """The score so far; 0 before any value."""
        if not self._sums or not self.num_samples.array:
            return np.zeros_like(self.num_samples.array)[()]
        squares, sums, residual, count = (self._sums[n].array for n in ("squared_sum", "sum", "residual", "count"))
        with np.errstate(all="ignore"):
            spread = squares - sums * (sums / count)
            scores = 1 - residual / spread
            scores = np.where(np.isinf(scores), np.zeros_like(scores), scores)
            if self.class_aggregation == "uniform_average":
                scores = scores.mean()
            elif self.class_aggregation is not None:
                scores = (spread * scores).sum() / spread.sum()
        return self._adjusted(scores)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"class_aggregation": self.class_aggregation, "num_regressors": self.num_regressors}
        return {**super().get_config(), **own}

    def _adjusted(self, score: Any) -> Any:
        if not self.num_regressors:
            return score
        free = float(self.num_samples.array) - self.num_regressors - 1
        if free <= 0:
            warn_user(f"metric '{self.name}': as many regressors as samples; the score is not adjusted")
            return score
        return 1 - (1 - score) * (float(self.num_samples.array) - 1) / free
