"""Pooling layers: maximum and mean over windows, and over all of the spatial axes."""

from __future__ import annotations

from typing import Any

from kgraph.ir.opdef import current_emitter
from kgraph.layers.spatial import SpatialLayer, one_of, per_axis
from kgraph.primitives import composites, pooling


class Pooling(SpatialLayer):
    """The maximum or the mean of each window of each channel.

    Args:
        pool_size: taps of the window; an int or one per spatial axis.
        strides: steps between windows; None means `pool_size`.
        padding: "valid" or "same" (output size = input size / strides, rounded up). Padding never counts, neither
            for the maximum nor for the mean.
        data_format: "channels_last" or "channels_first"; None means channels_last.

    Input shape: ``(batch, *spatial, channels)``. Output shape: the same with smaller spatial sizes.
    """

    def __init__(
        self, pool_size: Any = 2, strides: Any = None, padding: str = "valid", data_format: str | None = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(data_format=data_format, **kwargs)
        self.pool_size = per_axis(self.label, "pool_size", pool_size, self.rank)
        self.strides = self.pool_size if strides is None else per_axis(self.label, "strides", strides, self.rank)
        self.padding = one_of(self.label, "padding", padding, ("valid", "same"))

    def compute(self, inputs: Any) -> Any:
        """The pooled tensor."""
        shape = current_emitter().type_of(inputs).shape
        low, high = self.amounts(shape, self.padding, self.pool_size, self.strides, (1,) * self.rank)
        return self.pool(inputs, {"window": self.pool_size, "strides": self.strides, "low": low, "high": high})

    def pool(self, inputs: Any, attrs: dict[str, Any]) -> Any:
        """The op; subclasses define it."""
        raise NotImplementedError(f"{type(self).__name__}.pool is not defined")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"pool_size": self.pool_size, "strides": self.strides, "padding": self.padding}
        return {**super().get_config(), **own}


class _MaxPooling(Pooling):
    """The maximum of each window."""

    def pool(self, inputs: Any, attrs: dict[str, Any]) -> Any:
        """The largest elements."""
        return current_emitter().emit("max_pool", inputs, **attrs)


class _AveragePooling(Pooling):
    """The mean of each window."""

    def pool(self, inputs: Any, attrs: dict[str, Any]) -> Any:
        """The means."""
        return pooling.avg_pool(inputs, **attrs)


class MaxPooling1D(_MaxPooling):
    """Largest element of each window of ``(batch, length, channels)``; arguments as in `Pooling`."""

    rank = 1


class MaxPooling2D(_MaxPooling):
    """Largest element of each window of ``(batch, height, width, channels)``; arguments as in `Pooling`."""

    rank = 2


class MaxPooling3D(_MaxPooling):
    """Largest element of each window of ``(batch, depth, height, width, channels)``; arguments as in `Pooling`."""

    rank = 3


class AveragePooling1D(_AveragePooling):
    """Mean of each window of ``(batch, length, channels)``; arguments as in `Pooling`."""

    rank = 1


class AveragePooling2D(_AveragePooling):
    """Mean of each window of ``(batch, height, width, channels)``; arguments as in `Pooling`."""

    rank = 2


class AveragePooling3D(_AveragePooling):
    """Mean of each window of ``(batch, depth, height, width, channels)``; arguments as in `Pooling`."""

    rank = 3


class GlobalPooling(SpatialLayer):
    """The maximum or the mean of each channel over all spatial axes.

    Args:
        data_format: "channels_last" or "channels_first"; None means channels_last.
        keepdims: keep the spatial axes with size 1.

    Output shape: ``(batch, channels)``, or ``(batch, 1, .., channels)`` with `keepdims`.
    """

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.keepdims = bool(keepdims)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "keepdims": self.keepdims}

    @property
    def axes(self) -> tuple[int, ...]:
        """The spatial axes of a channels-last tensor."""
        return tuple(range(1, self.rank + 1))


class _GlobalMaxPooling(GlobalPooling):
    """The maximum of each channel."""

    def compute(self, inputs: Any) -> Any:
        """The largest elements."""
        return composites.max(inputs, self.axes, self.keepdims)


class _GlobalAveragePooling(GlobalPooling):
    """The mean of each channel."""

    def compute(self, inputs: Any) -> Any:
        """The means."""
        return composites.mean(inputs, self.axes, self.keepdims)


class GlobalMaxPooling1D(_GlobalMaxPooling):
    """Largest element of each channel of ``(batch, length, channels)``; arguments as in `GlobalPooling`."""

    rank = 1


class GlobalMaxPooling2D(_GlobalMaxPooling):
    """Largest element of each channel of ``(batch, height, width, channels)``; arguments as in `GlobalPooling`."""

    rank = 2


class GlobalMaxPooling3D(_GlobalMaxPooling):
    """Maximum of each channel of ``(batch, depth, height, width, channels)``; arguments as in `GlobalPooling`."""

    rank = 3


class GlobalAveragePooling1D(_GlobalAveragePooling):
    """Mean of each channel of ``(batch, length, channels)``; arguments as in `GlobalPooling`.

    With a mask, the mean of the steps that it keeps: 0 if it keeps none (Keras gives NaN).
    """

    rank = 1

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """The means."""
        if mask is None:
            return super().call(inputs)
        (steps,) = self.axes if self.data_format == "channels_last" else (2,)
        keep = composites.expand_dims(mask, 3 - steps)
        kept = composites.sum(composites.cast(keep, inputs.dtype), steps, self.keepdims)
        return composites.sum(composites.where(keep, inputs, 0), steps, self.keepdims) / composites.maximum(kept, 1)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """None: there are no steps left."""


class GlobalAveragePooling2D(_GlobalAveragePooling):
    """Mean of each channel of ``(batch, height, width, channels)``; arguments as in `GlobalPooling`."""

    rank = 2


class GlobalAveragePooling3D(_GlobalAveragePooling):
    """Mean of each channel of ``(batch, depth, height, width, channels)``; arguments as in `GlobalPooling`."""

    rank = 3


MaxPool1D = MaxPooling1D
MaxPool2D = MaxPooling2D
MaxPool3D = MaxPooling3D
AvgPool1D = AveragePooling1D
AvgPool2D = AveragePooling2D
AvgPool3D = AveragePooling3D
GlobalMaxPool1D = GlobalMaxPooling1D
GlobalMaxPool2D = GlobalMaxPooling2D
GlobalMaxPool3D = GlobalMaxPooling3D
GlobalAvgPool1D = GlobalAveragePooling1D
GlobalAvgPool2D = GlobalAveragePooling2D
GlobalAvgPool3D = GlobalAveragePooling3D
