"""What layers over spatial axes share: arguments with an entry per axis, data formats, amounts of padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kgraph.config import image_data_format
from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dims import Dim, Shape
from kgraph.ir.opdef import current_emitter
from kgraph.keras_tensor import shape_text
from kgraph.layers.arguments import whole_number
from kgraph.layers.base import Layer
from kgraph.primitives import composites, window_padding

FORMATS = ("channels_last", "channels_first")


def per_axis(label: str, argument: str, value: Any, rank: int, least: int = 1) -> tuple[int, ...]:
    """`value` as a tuple of `rank` ints: one int counts for every axis.

    >>> per_axis("layer 'c'", "strides", 2, 2)
    (2, 2)
    """
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * rank
    if len(values) != rank:
        raise ArgumentError(f"{label}: {argument}", expected=f"an int or {rank} ints", received=repr(value))
    return tuple(whole_number(label, argument, v, least) for v in values)


def pairs_per_axis(label: str, argument: str, value: Any, rank: int) -> tuple[tuple[int, int], ...]:
    """`value` as (before, behind) for each axis: from one int, an int per axis, or a pair per axis."""
    if rank == 1 and isinstance(value, (tuple, list)) and len(value) == 2 and not isinstance(value[0], (tuple, list)):
        value = (value,)
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * rank
    if len(values) != rank:
        received = repr(value)
        raise ArgumentError(f"{label}: {argument}", expected=f"an int, {rank} ints or {rank} pairs", received=received)
    found = []
    for entry in values:
        before, behind = per_axis(label, argument, entry, 2, least=0)
        found.append((before, behind))
    return tuple(found)


def one_of(label: str, argument: str, value: Any, choices: Sequence[str]) -> str:
    """`value` in lower case, which must be one of `choices`."""
    text = value.lower() if isinstance(value, str) else value
    if text not in choices:
        raise ArgumentError(f"{label}: {argument}", expected=" or ".join(map(repr, choices)), received=repr(value))
    return str(text)


class SpatialLayer(Layer):
    """A layer over `rank` spatial axes between batch and channels.

    Subclasses set `rank` and compute on channels-last tensors in `compute`.
    """

    rank = 0

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = one_of(self.label, "data_format", data_format or image_data_format(), FORMATS)

    def check_inputs(self, inputs: Any) -> None:
        """The input has batch, channels and the spatial axes."""
        shape, text = inputs.type.shape, shape_text(inputs.type)
        if len(shape) != self.rank + 2:
            axes = ["batch", *(["length"] if self.rank == 1 else ["depth", "height", "width"][-self.rank :])]
            axes.insert(len(axes) if self.data_format == "channels_last" else 1, "channels")
            fix = "Add an axis for the channels" if len(shape) == self.rank + 1 else ""
            raise ShapeError(self.label, expected=f"({', '.join(axes)})", received=text, fix=fix)

    def channels_of(self, shape: Sequence[Any]) -> Any:
        """The number of channels of an input shape."""
        return shape[-1] if self.data_format == "channels_last" else shape[1]

    def call(self, inputs: Any) -> Any:
        """`compute` in the layer's data format."""
        if self.data_format == "channels_last":
            return self.compute(inputs)
        last = composites.transpose(inputs, (0, *range(2, self.rank + 2), 1))
        y = self.compute(last)
        if current_emitter().type_of(y).rank != self.rank + 2:
            return y
        return composites.transpose(y, (0, self.rank + 1, *range(1, self.rank + 1)))

    def compute(self, inputs: Any) -> Any:
        """The layer on a channels-last tensor; subclasses define it."""
        raise NotImplementedError(f"{type(self).__name__}.compute is not defined")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "data_format": self.data_format}

    def amounts(
        self, shape: Shape, padding: str, window: Sequence[int], strides: Sequence[int], dilation: Sequence[int]
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Padding before and behind the spatial axes of a channels-last shape."""
        if padding == "valid":
            self._check_fit(shape[1:-1], [d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True)])
        return window_padding.amounts(self.label, shape[1:-1], padding, window, strides, dilation)

    def _check_fit(self, sizes: Sequence[Dim], reach: Sequence[int]) -> None:
        """The window, with its dilation, must not be larger than the input."""
        if any(isinstance(size, int) and size < extent for size, extent in zip(sizes, reach, strict=True)):
            window, given = ("x".join(map(str, parts)) for parts in (reach, sizes))
            what = f"{self.label}: a window of {window} does not fit into {given} with padding='valid'"
            raise ShapeError(what, fix="Use padding='same' or a smaller window")
