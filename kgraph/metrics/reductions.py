"""Means and sums of values, and means of functions of labels and predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kgraph.ir.dtypes import dtype_of
from kgraph.ir.operators import cast
from kgraph.losses.base import type_of, weights_for
from kgraph.masks import mask_of, masked_weights
from kgraph.metrics.base import Metric
from kgraph.naming import snake_case
from kgraph.primitives.composites import mean, size
from kgraph.primitives.composites import sum as total
from kgraph.trace import current_trace


class Mean(Metric):
    """(Weighted) mean of all values.

    >>> m = Mean()
    >>> m.update_state([1.0, 3.0, 5.0, 7.0])
    >>> float(m.result())
    4.0
    """

    def __init__(self, name: str | None = "mean", dtype: Any = None) -> None:
        super().__init__(name, dtype)
        self.total = self.add_variable(name="total")
        self.count = self.add_variable(name="count")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Add the sum of the samples' means, and their number or weight."""
        samples = cast(current_trace().lift(values), dtype_of(self.dtype))
        kind = type_of(samples)
        if sample_weight is None:
            number = size(kind.shape[0], kind.dtype) if kind.rank else 1.0
        elif kind.rank == 0:
            number = cast(sample_weight, kind.dtype)
            samples = samples * number
        else:
            weights = weights_for(samples, sample_weight)
            samples = samples * weights
            number = total(_per_sample(weights), None)
        self.total.assign_add(total(_per_sample(samples), None))
        self.count.assign_add(number)

    def result(self) -> Any:
        """The mean; 0 before any value, as in Keras."""
        count = self.count.array
        return self.total.array / count if count else np.zeros_like(count)[()]


def _per_sample(values: Any) -> Any:
    """The mean of each sample, over all axes but the first."""
    rank = type_of(values).rank
    return mean(values, tuple(range(1, rank))) if rank > 1 else values


class Sum(Metric):
    """(Weighted) sum of all values."""

    def __init__(self, name: str | None = "sum", dtype: Any = None) -> None:
        super().__init__(name, dtype)
        self.total = self.add_variable(name="total")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Add the sum of the values."""
        samples = cast(current_trace().lift(values), dtype_of(self.dtype))
        if sample_weight is not None:
            samples = samples * weights_for(samples, sample_weight)
        self.total.assign_add(total(samples, None))

    def result(self) -> Any:
        """The sum."""
        return self.total.array[()]


class MeanMetricWrapper(Mean):
    """Mean of a function `fn(y_true, y_pred, **options)` that gives a value per sample."""

    def __init__(self, fn: Callable[..., Any], name: str | None = None, dtype: Any = None, **options: Any) -> None:
        # A lambda is called "<lambda>" by Python, "lambda" by Keras.
        super().__init__(name or getattr(fn, "__name__", "").strip("<>") or snake_case(type(fn).__name__), dtype)
        self.fn = fn
        self.options = options

    def update_state(  # type: ignore[override]
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Add the function's values."""
        weights = masked_weights(sample_weight, mask_of(y_pred), dtype_of(self.dtype), average=False)
        super().update_state(self.fn(y_true, y_pred, **self.options), weights)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments but the function."""
        return {**super().get_config(), **self.options}
