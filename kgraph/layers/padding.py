"""Layers that add, cut off or repeat elements of the spatial axes."""

from __future__ import annotations

from typing import Any

from kgraph.errors import ShapeError
from kgraph.ir.opdef import current_emitter
from kgraph.keras_tensor import shape_text
from kgraph.layers.spatial import SpatialLayer, one_of, pairs_per_axis, per_axis
from kgraph.primitives import composites
from kgraph.primitives.resampling import INTERPOLATIONS, resize


class ZeroPadding(SpatialLayer):
    """Zeros before and behind the spatial axes.

    Args:
        padding: an int, an int per axis, or (before, behind) per axis.
        data_format: "channels_last" or "channels_first"; None means channels_last.
    """

    def __init__(self, padding: Any = 1, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.padding = pairs_per_axis(self.label, "padding", padding, self.rank)

    def compute(self, inputs: Any) -> Any:
        """The padded tensor."""
        low, high = ((0, *(pair[end] for pair in self.padding), 0) for end in (0, 1))
        zero = 0.0 if current_emitter().type_of(inputs).dtype.is_float else 0
        return current_emitter().emit("pad", inputs, low=low, high=high, value=zero)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "padding": self.padding if self.rank > 1 else self.padding[0]}


class ZeroPadding1D(ZeroPadding):
    """Zeros around the spatial axes of ``(batch, length, channels)``; arguments as in `ZeroPadding`."""

    rank = 1


class ZeroPadding2D(ZeroPadding):
    """Zeros around the spatial axes of ``(batch, height, width, channels)``; arguments as in `ZeroPadding`."""

    rank = 2


class ZeroPadding3D(ZeroPadding):
    """Zeros around the spatial axes of ``(batch, depth, height, width, channels)``; arguments as in `ZeroPadding`."""

    rank = 3


class Cropping(SpatialLayer):
    """The spatial axes without some elements at their ends.

    Args:
        cropping: an int, an int per axis, or (before, behind) per axis.
        data_format: "channels_last" or "channels_first"; None means channels_last.
    """

    def __init__(self, cropping: Any = None, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(data_format=data_format, **kwargs)
        default = 0 if self.rank == 2 else 1  # as in Keras
        self.cropping = pairs_per_axis(self.label, "cropping", default if cropping is None else cropping, self.rank)

    def compute(self, inputs: Any) -> Any:
        """The smaller tensor."""
        shape = current_emitter().type_of(inputs).shape
        limits = [size - behind for size, (_, behind) in zip(shape[1:-1], self.cropping, strict=True)]
        for limit, size, pair in zip(limits, shape[1:-1], self.cropping, strict=True):
            if isinstance(limit, int) and limit <= pair[0]:
                raise ShapeError(f"{self.label}: cropping {pair}", expected="less than the axis", received=str(size))
        starts = (0, *(before for before, _ in self.cropping), 0)
        ends = (shape[0], *limits, shape[-1])
        return current_emitter().emit("slice", inputs, starts=starts, limits=ends, strides=(1,) * len(shape))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        if self.rank == 1 and self.data_format == "channels_last":
            del config["data_format"]  # Keras has none in one dimension
        return {**config, "cropping": self.cropping if self.rank > 1 else self.cropping[0]}


class Cropping1D(Cropping):
    """The inner part of the spatial axes of ``(batch, length, channels)``; arguments as in `Cropping`."""

    rank = 1


class Cropping2D(Cropping):
    """The inner part of the spatial axes of ``(batch, height, width, channels)``; arguments as in `Cropping`."""

    rank = 2


class Cropping3D(Cropping):
    """The inner part of the spatial axes of ``(batch, depth, height, width, channels)``; arguments as in `Cropping`."""

    rank = 3


class UpSampling(SpatialLayer):
    """Each element of the spatial axes several times in a row.

    Args:
        size: repeats; an int or one per spatial axis.
        data_format: "channels_last" or "channels_first"; None means channels_last.
    """

    def __init__(self, size: Any = 2, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.size = per_axis(self.label, "size", size, self.rank)

    def compute(self, inputs: Any) -> Any:
        """The larger tensor."""
        shape = current_emitter().type_of(inputs).shape
        apart: list[Any] = [shape[0]]
        for length, times in zip(shape[1:-1], self.size, strict=True):
            apart += [length, times]
        axes = (0, *range(1, 2 * self.rank, 2), 2 * self.rank + 1)
        repeated = current_emitter().emit("broadcast", inputs, shape=(*apart, shape[-1]), axes=axes)
        sizes = [length * times for length, times in zip(shape[1:-1], self.size, strict=True)]
        return composites.reshape(repeated, (shape[0], *sizes, shape[-1]))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        if self.rank == 1 and self.data_format == "channels_last":
            del config["data_format"]  # Keras has none in one dimension
        return {**config, "size": self.size if self.rank > 1 else self.size[0]}


class UpSampling1D(UpSampling):
    """Repeated elements of the spatial axes of ``(batch, length, channels)``; arguments as in `UpSampling`."""

    rank = 1


class UpSampling2D(UpSampling):
    """Each element of height and width several times in a row.

    Args:
        size: repeats; an int or one per spatial axis.
        data_format: "channels_last" or "channels_first"; None means channels_last.
        interpolation: "nearest" repeats elements; "bilinear", "bicubic", "lanczos3" and "lanczos5" resample.
    """

    rank = 2

    def __init__(
        self, size: Any = 2, data_format: str | None = None, interpolation: str = "nearest", **kwargs: Any
    ) -> None:
        super().__init__(size=size, data_format=data_format, **kwargs)
        self.interpolation = one_of(self.label, "interpolation", interpolation, INTERPOLATIONS)

    def compute(self, inputs: Any) -> Any:
        """The larger tensor."""
        if self.interpolation == "nearest":
            return super().compute(inputs)
        for axis, times in enumerate(self.size, start=1):
            size = inputs.type.shape[axis]
            if not isinstance(size, int):
                expected, received = "known height and width to resample", shape_text(inputs.type)
                raise ShapeError(self.label, expected=expected, received=received, fix="Give them in Input")
            inputs = resize(inputs, axis, size * times, self.interpolation)
        return inputs

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "interpolation": self.interpolation}


class UpSampling3D(UpSampling):
    """Repeated elements of ``(batch, depth, height, width, channels)``; arguments as in `UpSampling`."""

    rank = 3
