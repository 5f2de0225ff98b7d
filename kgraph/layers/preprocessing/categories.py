"""Whole numbers as categories: CategoryEncoding; numbers in bins: Discretization."""

from __future__ import annotations

from typing import Any

import numpy as np

from kgraph.errors import ArgumentError, DTypeError, ShapeError, StateError
from kgraph.ir.dtypes import i32
from kgraph.keras_tensor import shape_text
from kgraph.layers.arguments import number, unsupported, whole_number
from kgraph.layers.base import Layer
from kgraph.layers.preprocessing.adapting import Array, batches_of
from kgraph.layers.spatial import one_of
from kgraph.primitives import composites
from kgraph.trace import current_trace

MODES = ("multi_hot", "one_hot", "count")


def encoded(ids: Any, mode: str, depth: int, dtype: str, weights: Any = None) -> Any:
    """Categories as vectors of `depth` numbers.

    Args:
        ids: whole numbers; those outside 0..depth-1 count nowhere.
        mode: "one_hot" for a vector for each number (a last axis of size 1 goes); "multi_hot" and "count" for one
            vector over axis 1 (axis 0 of rank 1): 1 where a category occurs, or how often.
        depth: number of categories.
        dtype: element type.
        weights: for "count": what each number counts.
    """
    rank = ids.type.rank
    if mode == "one_hot":
        single = rank > 1 and ids.type.shape[-1] == 1
        return composites.one_hot(composites.squeeze(ids, -1) if single else ids, depth, dtype)
    ids = composites.reshape(ids, (1,)) if rank == 0 else ids
    hot = composites.one_hot(ids, depth, dtype)
    axis = min(rank, 2) - 1 if rank else 0
    if mode == "multi_hot":
        return composites.max(hot, axis)
    return composites.sum(hot if weights is None else hot * composites.expand_dims(weights, -1), axis)


class CategoryEncoding(Layer):
    """Whole numbers as vectors of 0 and 1, or of counts.

    Args:
        num_tokens: number of categories; int >= 1.
        output_mode: "multi_hot" (also called "binary"), "one_hot" or "count".
        sparse: only False.

    Call arguments:
        inputs: whole numbers in [0, num_tokens).
        count_weights: for "count": what each of them counts, in the shape of the inputs.

    >>> CategoryEncoding(4, "count")([[0, 1, 1]]).tolist()
    [[1.0, 2.0, 0.0, 0.0]]
    """

    def __init__(
        self, num_tokens: int | None = None, output_mode: str = "multi_hot", sparse: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        unsupported(self.label, sparse=sparse or None)
        self.num_tokens = whole_number(self.label, "num_tokens", num_tokens)
        mode = "multi_hot" if output_mode == "binary" else output_mode
        self.output_mode = one_of(self.label, "output_mode", mode, MODES)

    def check_inputs(self, inputs: Any) -> None:
        """The inputs must be numbers."""
        if inputs.type.dtype.kind == "bool":
            raise DTypeError(self.label, expected="whole numbers", received="bools")

    def call(self, inputs: Any, count_weights: Any = None) -> Any:
        """The vectors."""
        if count_weights is not None and self.output_mode != "count":
            received = f"output_mode={self.output_mode!r}"
            raise ArgumentError(f"{self.label}: count_weights", expected="output_mode='count'", received=received)
        if count_weights is not None and count_weights.type.shape != inputs.type.shape:
            expected, received = shape_text(inputs.type), shape_text(count_weights.type)
            raise ShapeError(f"{self.label}: count_weights", expected=expected, received=received)
        ids = inputs if inputs.type.dtype.is_integer else composites.cast(inputs, i32)
        weights = None if count_weights is None else composites.cast(count_weights, self.dtype)
        return encoded(ids, self.output_mode, self.num_tokens, self.dtype, weights)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "num_tokens": self.num_tokens, "output_mode": self.output_mode}


class Discretization(Layer):
    """The number of the bin that each number falls into.

    Args:
        bin_boundaries: rising numbers; a boundary belongs to the bin above it.
        num_bins: number of bins whose boundaries `adapt` finds, instead.
        epsilon: precision of the quantiles that `adapt` finds, as part of the data.
        output_mode: "int", or "one_hot", "multi_hot", "count" as in `CategoryEncoding`.
        sparse: only False.

    >>> Discretization([0.0, 1.0])([[-3.0, 0.0, 0.5, 9.0]]).tolist()
    [[0, 1, 1, 2]]
    """

    def __init__(
        self, bin_boundaries: Any = None, num_bins: int | None = None, epsilon: float = 0.01, output_mode: str = "int",
        sparse: bool = False, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        unsupported(self.label, sparse=sparse or None)
        if (bin_boundaries is None) == (num_bins is None):
            expected = "one of bin_boundaries and num_bins"
            raise ArgumentError(self.label, expected=expected, received="none" if num_bins is None else "both")
        self.num_bins = None if num_bins is None else whole_number(self.label, "num_bins", num_bins)
        self.epsilon = number(self.label, "epsilon", epsilon, 0, 1)
        self.output_mode = one_of(self.label, "output_mode", output_mode, ("int", *MODES))
        self.bin_boundaries = None if bin_boundaries is None else self._rising(bin_boundaries)

    def _rising(self, boundaries: Any) -> list[float]:
        values = [number(self.label, "bin_boundaries", float(b)) for b in boundaries]
        if sorted(values) != values:
            raise ArgumentError(f"{self.label}: bin_boundaries", expected="rising numbers", received=str(boundaries))
        return values

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Find the boundaries of bins with equally many numbers of the data: an array, or an iterable of batches."""
        if self.num_bins is None:
            received = "Discretization(bin_boundaries=...)"
            raise ArgumentError(f"{self.label}.adapt", expected="a layer with num_bins", received=received)
        summary = np.zeros((2, 0))
        for batch in batches_of(data, f"{self.label}.adapt", steps):
            joined = np.concatenate([summary, _summary(batch.astype("float32"), self.epsilon)], axis=1)
            summary = _compressed(joined[:, np.argsort(joined[0])], self.epsilon)
        if not summary.size:
            raise ArgumentError(f"{self.label}.adapt", expected="data", received="no number")
        self.bin_boundaries = _compressed(summary, 1 / self.num_bins)[0, :-1].tolist()

    def call(self, inputs: Any) -> Any:
        """The numbers of the bins, or their encoding."""
        if self.bin_boundaries is None:
            raise StateError(self.label, expected="bin boundaries", fix="Call adapt(data) first")
        x = composites.expand_dims(composites.cast(inputs, self.dtype), -1)
        boundaries = current_trace().constant(np.asarray(self.bin_boundaries, self.dtype))
        bins = composites.sum(composites.cast(x >= boundaries, i32), -1)
        if self.output_mode == "int":
            return bins
        return encoded(bins, self.output_mode, len(self.bin_boundaries) + 1, self.dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, and the boundaries."""
        own = {name: getattr(self, name) for name in ("bin_boundaries", "num_bins", "epsilon", "output_mode")}
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Discretization:
        """A new layer; boundaries found by `adapt` come back too."""
        boundaries = config.get("bin_boundaries") if config.get("num_bins") is not None else None
        layer = cls(**({**config, "bin_boundaries": None} if boundaries is not None else config))
        layer.bin_boundaries = boundaries if boundaries is not None else layer.bin_boundaries
        return layer


def _summary(values: Array, epsilon: float) -> Array:
    """Some of the numbers, equally far apart in order, above how many each stands for."""
    ordered = np.sort(values, axis=None)
    apart = max(ordered.size * epsilon, 1.0)
    chosen = ordered[int(apart - 1) :: int(apart)]
    return np.stack([chosen, np.full(chosen.shape, apart)])


def _compressed(summary: Array, epsilon: float) -> Array:
    """A summary of at most 1 / epsilon numbers: the quantiles, interpolated, above the weights between them."""
    if summary.shape[1] * epsilon < 1:
        return summary
    wanted = epsilon + np.arange(0.0, 1.0, epsilon)
    below = np.cumsum(summary[1])
    values = np.interp(wanted, below / below[-1], summary[0])
    total = np.interp(wanted, below / below[-1], below)
    return np.stack([values, np.diff(total, prepend=0.0)])
