"""Images moved by random affine maps in training: rotation, shear, translation, zoom."""

from __future__ import annotations

import math
from typing import Any

from kgraph.ir.opdef import current_emitter
from kgraph.layers.arguments import number
from kgraph.layers.preprocessing.random_images import RandomImageLayer, limits
from kgraph.layers.spatial import one_of
from kgraph.primitives import composites
from kgraph.primitives.resampling import affine_transform


class RandomMap(RandomImageLayer):
    """Base of the layers that move each image by an affine map of its own.

    Args:
        fill_mode: what lies outside: "reflect" (the image mirrored), "wrap" (repeated), "nearest" (its border) or
            "constant".
        interpolation: "bilinear" or "nearest".
        seed, data_format: see `RandomImageLayer`.
        fill_value: for "constant".

    Subclasses define `matrix`.
    """

    def __init__(
        self, fill_mode: str = "reflect", interpolation: str = "bilinear", seed: int | None = None,
        fill_value: float = 0.0, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(seed, **kwargs)
        self.fill_mode = one_of(self.label, "fill_mode", fill_mode, ("reflect", "wrap", "constant", "nearest"))
        self.interpolation = one_of(self.label, "interpolation", interpolation, ("bilinear", "nearest"))
        self.fill_value = number(self.label, "fill_value", fill_value)

    def compute(self, inputs: Any) -> Any:
        """The images, moved."""
        kind = inputs.type
        height, width = (composites.size(size, kind.dtype) for size in kind.shape[1:3])
        matrix = self.matrix(inputs, height, width)
        batch = composites.zeros_like(self.uniform(inputs))
        entries = tuple(batch + entry for entry in matrix)
        return affine_transform(inputs, entries, self.interpolation, self.fill_mode, self.fill_value)

    def matrix(self, images: Any, height: Any, width: Any) -> tuple[Any, ...]:
        """(a0, a1, a2, b0, b1, b2), each a number or for each image: see `affine_transform`; subclasses define it."""
        raise NotImplementedError(f"{type(self).__name__}.matrix is not defined")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"fill_mode": self.fill_mode, "interpolation": self.interpolation, "fill_value": self.fill_value}
        return {**super().get_config(), **own}


class RandomRotation(RandomMap):
    """Turns each image about its middle.

    Args:
        factor: limits of the angle as part of a full turn: one number f for (-f, f), or two, in [-1, 1]; positive turns
            against the clock.
        others: see `RandomMap`.
    """

    def __init__(
        self, factor: Any, fill_mode: str = "reflect", interpolation: str = "bilinear", **kwargs: Any
    ) -> None:
        super().__init__(fill_mode, interpolation, **kwargs)
        self.factor = limits(self.label, "factor", factor)

    def matrix(self, images: Any, height: Any, width: Any) -> tuple[Any, ...]:
        """The rotation."""
        low, high = self.factor
        angle = self.uniform(images, low * 2 * math.pi, high * 2 * math.pi)
        cos, sin = (current_emitter().emit(op, angle) for op in ("cos", "sin"))
        x, y = (width - 1.0) / 2.0, (height - 1.0) / 2.0
        return cos, -sin, x - x * cos + y * sin, sin, cos, y - x * sin - y * cos

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "factor": self.factor}


class RandomShear(RandomMap):
    """Slants each image, in a random direction.

    Args:
        x_factor, y_factor: limits of the shift per pixel along rows and columns: one number f for (-f, f), or two, in
            [0, 1].
        others: see `RandomMap`.
    """

    def __init__(
        self, x_factor: Any = 0.0, y_factor: Any = 0.0, interpolation: str = "bilinear", fill_mode: str = "reflect",
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(fill_mode, interpolation, **kwargs)
        self.x_factor = self._limits("x_factor", x_factor)
        self.y_factor = self._limits("y_factor", y_factor)

    def _limits(self, argument: str, value: Any) -> tuple[float, float]:
        low, high = limits(self.label, argument, value, low=0.0)
        return (low, high) if isinstance(value, (list, tuple)) else (-high, high)

    def matrix(self, images: Any, height: Any, width: Any) -> tuple[Any, ...]:
        """The shear."""
        sign = composites.where(self.uniform(images) > 0.5, -1.0, 1.0)
        x, y = (self.uniform(images, *factor) * sign for factor in (self.x_factor, self.y_factor))
        return 1.0, x, 0.0, y, 1.0, 0.0

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        for name, (low, high) in (("x_factor", self.x_factor), ("y_factor", self.y_factor)):
            config[name] = high if low == -high else (low, high)
        return config


class RandomTranslation(RandomMap):
    """Shifts each image.

    Args:
        height_factor, width_factor: limits of the shift as part of the size: one number f for (-f, f), or two, in
            [-1, 1]; positive shifts down and to the right.
        others: see `RandomMap`.
    """

    def __init__(
        self, height_factor: Any, width_factor: Any, fill_mode: str = "reflect",
        interpolation: str = "bilinear", **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(fill_mode, interpolation, **kwargs)
        self.height_factor = limits(self.label, "height_factor", height_factor)
        self.width_factor = limits(self.label, "width_factor", width_factor)

    def matrix(self, images: Any, height: Any, width: Any) -> tuple[Any, ...]:
        """The shift."""
        down = self.uniform(images, *self.height_factor) * height
        right = self.uniform(images, *self.width_factor) * width
        return 1.0, 0.0, -right, 0.0, 1.0, -down

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "height_factor": self.height_factor, "width_factor": self.width_factor}


class RandomZoom(RandomMap):
    """Zooms each image about its middle.

    Args:
        height_factor: limits of the change of size: one number f for (-f, f), or two, in [-1, 1]; negative zooms in.
        width_factor: the same for the width; None keeps the ratio of the sides.
        others: see `RandomMap`.
    """

    def __init__(
        self, height_factor: Any, width_factor: Any = None, fill_mode: str = "reflect",
        interpolation: str = "bilinear", **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(fill_mode, interpolation, **kwargs)
        self.height_factor = limits(self.label, "height_factor", height_factor)
        self.width_factor = None if width_factor is None else limits(self.label, "width_factor", width_factor)

    def matrix(self, images: Any, height: Any, width: Any) -> tuple[Any, ...]:
        """The zoom."""
        tall = 1.0 + self.uniform(images, *self.height_factor)
        wide = tall if self.width_factor is None else 1.0 + self.uniform(images, *self.width_factor)
        x, y = (width - 1.0) / 2.0, (height - 1.0) / 2.0
        return wide, 0.0, x * (1.0 - wide), 0.0, tall, y * (1.0 - tall)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "height_factor": self.height_factor, "width_factor": self.width_factor}
