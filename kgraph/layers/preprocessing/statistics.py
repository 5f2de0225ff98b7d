"""Normalization: features with mean 0 and variance 1, by statistics of the data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from kgraph.config import epsilon
from kgraph.errors import ArgumentError, ShapeError
from kgraph.keras_tensor import shape_text
from kgraph.layers.arguments import axis_argument
from kgraph.layers.base import Layer
from kgraph.layers.preprocessing.adapting import batches_of
from kgraph.primitives import composites
from kgraph.trace import current_trace


class Normalization(Layer):
    """``(x - mean) / sqrt(variance)`` with the mean and variance of data, or with given ones.

    Args:
        axis: axis or axes that keep statistics of their own; None for one mean of all.
        mean, variance: given statistics, numbers or arrays with an axis for each of `axis`; both or none.
        invert: compute ``mean + x * sqrt(variance)`` instead.

    Without given statistics call `adapt` first. Output shape: that of the input.
    Weights: mean and variance with the sizes along `axis`, count (unused; files of Keras have it).

    >>> layer = Normalization()
    >>> layer.adapt([[0.0, 5.0], [2.0, 5.0], [4.0, 8.0], [6.0, 8.0]])
    >>> layer([[3.0, 8.0]]).tolist()
    [[0.0, 1.0]]
    """

    supports_masking = True

    def __init__(
        self, axis: Any = -1, mean: Any = None, variance: Any = None, invert: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        axes = [] if axis is None else axis_argument(self.label, axis)
        self.axis = axes if isinstance(axes, list) else [axes]
        self.input_mean, self.input_variance, self.invert = mean, variance, bool(invert)
        if (mean is None) != (variance is None) or np.shape(mean) != np.shape(variance):
            expected, received = "both, of one shape", f"shapes {np.shape(mean)} and {np.shape(variance)}"
            if mean is None or variance is None:
                received = "one of them"
            raise ArgumentError(f"{self.label}: mean and variance", expected=expected, received=received)
        self.adapt_mean: Any = None
        self.adapt_variance: Any = None
        self.count: Any = None

    def check_inputs(self, inputs: Any) -> None:
        """The axes must exist, with known sizes, and those that the statistics have."""
        shape, text = inputs.type.shape, shape_text(inputs.type)
        try:
            sizes = tuple(shape[a] for a in composites.axes_of(self.axis, len(shape)))
        except ShapeError:
            raise ArgumentError(f"{self.label}: axis", expected=f"axes of {text}", received=str(self.axis)) from None
        if not all(isinstance(size, int) for size in sizes):
            fix = "Give them in Input"
            raise ShapeError(self.label, expected=f"known sizes along {self.axis}", received=text, fix=fix)
        if self.built and self.adapt_mean is not None and self.adapt_mean.shape != sizes:
            expected = f"sizes {self.adapt_mean.shape} along {self.axis}"
            raise ShapeError(self.label, expected=expected, received=text)

    def build(self, input_shape: Any) -> None:
        """Make the statistics, unless they were given."""
        if self.input_mean is not None:
            return
        shape = tuple(input_shape[a] for a in composites.axes_of(self.axis, len(input_shape)))
        self.adapt_mean = self.add_weight(shape, "zeros", trainable=False, name="mean")
        self.adapt_variance = self.add_weight(shape, "ones", trainable=False, name="variance")
        self.count = self.add_weight((), "zeros", dtype="int32", trainable=False, name="count")

    def adapt(self, data: Any) -> None:
        """Take mean and variance from data: an array, or an iterable of batches."""
        if self.input_mean is not None:
            raise ArgumentError(f"{self.label}.adapt", expected="no given mean", received="Normalization(mean=...)")
        total, mean, variance = 0, np.zeros(()), np.zeros(())
        for batch in batches_of(data, f"{self.label}.adapt"):
            if not batch.size:
                continue
            kept = composites.axes_of(self.axis, batch.ndim)
            if not self.built:
                self.build(batch.shape)
            if self.adapt_mean.shape != tuple(batch.shape[a] for a in kept):
                expected = f"sizes {self.adapt_mean.shape} along {self.axis}"
                raise ShapeError(f"{self.label}.adapt", expected=expected, received=str(batch.shape))
            others = tuple(a for a in range(batch.ndim) if a not in kept)
            count = math.prod(batch.shape[a] for a in others)
            new, spread = batch.mean(others, dtype="float64"), batch.var(others, dtype="float64")
            part = count / (total + count)
            # Chan, Golub and LeVeque (1979): the variances, and the distance of the means.
            variance = variance * (1 - part) + spread * part + (new - mean) ** 2 * part * (1 - part)
            mean = mean * (1 - part) + new * part
            total += count
        if not total:
            raise ArgumentError(f"{self.label}.adapt", expected="data", received="no element")
        self.adapt_mean.assign(mean)
        self.adapt_variance.assign(variance)

    def call(self, inputs: Any) -> Any:
        """The inputs, normalised."""
        x = composites.cast(inputs, self.dtype)
        mean, variance = self._statistics(x)
        deviation = composites.maximum(composites.sqrt(variance), epsilon())
        return mean + x * deviation if self.invert else (x - mean) / deviation

    def _statistics(self, x: Any) -> Iterator[Any]:
        """Mean and variance with an axis for each of x."""
        kept = composites.axes_of(self.axis, x.type.rank)
        pair = (self.adapt_mean, self.adapt_variance) if self.input_mean is None else self._given()
        for value in map(current_trace().lift, pair):
            behind = kept[len(kept) - value.type.rank :]
            sizes = dict(zip(behind, value.type.shape))
            yield composites.reshape(value, [sizes.get(a, 1) for a in range(x.type.rank)])

    def _given(self) -> list[Any]:
        return [current_trace().constant(np.asarray(v, self.dtype)) for v in (self.input_mean, self.input_variance)]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        mean, variance = (
            v.tolist() if isinstance(v, np.ndarray) else v for v in (self.input_mean, self.input_variance)
        )
        own = {"axis": self.axis or None, "mean": mean, "variance": variance, "invert": self.invert}
        return {**super().get_config(), **own}
