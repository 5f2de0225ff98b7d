"""Images of another size: Resizing and CenterCrop."""

from __future__ import annotations

from typing import Any

import numpy as np

from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.opdef import current_emitter
from kgraph.keras_tensor import shape_text
from kgraph.layers.arguments import number, whole_number
from kgraph.layers.spatial import SpatialLayer, one_of
from kgraph.primitives import composites
from kgraph.primitives.resampling import INTERPOLATIONS, resize


class ImageLayer(SpatialLayer):
    """Base of the layers on images: ``(batch, height, width, channels)``, or one image ``(height, width, channels)``.

    Subclasses define `compute` for a batch with the channels last.
    """

    rank = 2

    def check_inputs(self, inputs: Any) -> None:
        """The rank must be 3 or 4."""
        if inputs.type.rank not in (3, 4):
            expected = "(batch, height, width, channels) or one image"
            raise ShapeError(self.label, expected=expected, received=shape_text(inputs.type))

    def call(self, inputs: Any) -> Any:
        """`compute` on a batch."""
        if inputs.type.rank == 4:
            return super().call(inputs)
        return composites.squeeze(super().call(composites.expand_dims(inputs, 0)), 0)

    def known_size(self, images: Any) -> tuple[int, int]:
        """Height and width, which must be known."""
        _, height, width, _ = images.type.shape
        if not isinstance(height, int) or not isinstance(width, int):
            received = shape_text(images.type)
            raise ShapeError(self.label, expected="known height and width", received=received, fix="Give them in Input")
        return height, width


class Resizing(ImageLayer):
    """Images resampled to a height and a width.

    Args:
        height, width: of the result.
        interpolation: "bilinear", "nearest", "bicubic", "lanczos3" or "lanczos5".
        crop_to_aspect_ratio: cut off the middle part that has the result's ratio first.
        pad_to_aspect_ratio: add borders up to the result's ratio first.
        fill_mode: "constant", of the borders.
        fill_value: of the borders.
        antialias: average over all pixels where the size shrinks.
        data_format: "channels_last" or "channels_first"; None means channels_last.

    Integers, such as pixels, keep their type: results are rounded and cut to its limits.

    >>> Resizing(2, 4)([[[[0.0], [4.0]], [[0.0], [4.0]]]])[0, 0, :, 0].tolist()
    [0.0, 1.0, 3.0, 4.0]
    """

    def __init__(
        self,
        height: int,
        width: int,
        interpolation: str = "bilinear",
        crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        antialias: bool = False,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.height = whole_number(self.label, "height", height)
        self.width = whole_number(self.label, "width", width)
        self.interpolation = one_of(self.label, "interpolation", interpolation, INTERPOLATIONS)
        self.crop_to_aspect_ratio, self.pad_to_aspect_ratio = bool(crop_to_aspect_ratio), bool(pad_to_aspect_ratio)
        if crop_to_aspect_ratio and pad_to_aspect_ratio:
            name = f"{self.label}: crop_to_aspect_ratio and pad_to_aspect_ratio"
            raise ArgumentError(name, expected="one of them", received="both")
        self.fill_mode = one_of(self.label, "fill_mode", fill_mode, ("constant",))
        self.fill_value = number(self.label, "fill_value", fill_value)
        self.antialias = bool(antialias)

    def compute(self, inputs: Any) -> Any:
        """The images in their new size."""
        dtype = inputs.type.dtype
        x = composites.cast(inputs, self.dtype) if dtype.is_integer and self.interpolation != "nearest" else inputs
        if self.crop_to_aspect_ratio:
            x = cropped_to_ratio(x, self.known_size(x), self.height, self.width)
        if self.pad_to_aspect_ratio:
            x = self._padded(x)
        x = resize(x, 1, self.height, self.interpolation, self.antialias)
        x = resize(x, 2, self.width, self.interpolation, self.antialias)
        if x.type.dtype is dtype:
            return x
        limits = np.iinfo(dtype.to_numpy())
        whole = current_emitter().emit("round", x)
        return composites.cast(composites.clip(whole, float(limits.min), float(limits.max)), dtype)

    def _padded(self, x: Any) -> Any:
        """The images with borders; as in Keras equal ones, so that the ratio may be off by one pixel."""
        height, width = self.known_size(x)
        above = (max(height, width * self.height // self.width) - height) // 2
        beside = (max(width, height * self.width // self.height) - width) // 2
        low = (0, above, beside, 0)
        return current_emitter().emit("pad", x, low=low, high=low, value=self.fill_value)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("height", "width", "interpolation", "crop_to_aspect_ratio", "pad_to_aspect_ratio", "fill_mode",
                 "fill_value", "antialias")  # fmt: skip
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


class CenterCrop(ImageLayer):
    """The middle of images; smaller images are resized (bilinear) and cut so that they fill the result.

    Args:
        height, width: of the result.
        data_format: "channels_last" or "channels_first"; None means channels_last.
    """

    def __init__(self, height: int, width: int, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.height = whole_number(self.label, "height", height)
        self.width = whole_number(self.label, "width", width)

    def compute(self, inputs: Any) -> Any:
        """The middle of the images."""
        return centre(composites.cast(inputs, self.dtype), self.known_size(inputs), self.height, self.width)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "height": self.height, "width": self.width}


def centre(x: Any, size: tuple[int, int], height: int, width: int) -> Any:
    """The middle `height` and `width` of images of that size, resized if they are smaller."""
    if size[0] >= height and size[1] >= width:
        return _cut(x, size, height, width)
    x = cropped_to_ratio(x, size, height, width)
    return resize(resize(x, 1, height, "bilinear"), 2, width, "bilinear")


def cropped_to_ratio(x: Any, size: tuple[int, int], height: int, width: int) -> Any:
    """The largest middle part of images with the ratio of `height` and `width`."""
    rows, columns = size
    tall = max(min(rows, columns * height // width), 1)
    wide = max(min(columns, rows * width // height), 1)
    return _cut(x, size, tall, wide)


def _cut(x: Any, size: tuple[int, int], height: int, width: int) -> Any:
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return composites.part(composites.part(x, 1, top, top + height), 2, left, left + width)
