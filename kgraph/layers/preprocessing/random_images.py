"""Random changes of images in training: brightness, contrast, flips, crops."""

from __future__ import annotations

from typing import Any

from kgraph.errors import ArgumentError
from kgraph.ir.dtypes import i32
from kgraph.ir.opdef import current_emitter
from kgraph.keras_tensor import active_trace, symbolic_tensors
from kgraph.layers.arguments import number, whole_number
from kgraph.layers.preprocessing.image_sizes import CenterCrop, ImageLayer, centre
from kgraph.layers.regularization import Random
from kgraph.layers.spatial import one_of
from kgraph.primitives import composites


class RandomImageLayer(Random, ImageLayer):
    """Base of the layers that change each image of a batch at random, in training or when called on arrays.

    Args:
        seed: int that fixes the numbers; None follows the model's random state.
        data_format: "channels_last" or "channels_first"; None means channels_last.

    Outside training it only casts its input. Subclasses define `compute` for a batch with the channels last.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the layer; called on arrays it acts unless `training=False` says otherwise, as in Keras."""
        if active_trace() is None and not symbolic_tensors([args, kwargs]):
            kwargs.setdefault("training", True)
        return super().__call__(*args, **kwargs)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """The inputs, in training changed."""
        x = composites.cast(inputs, self.dtype)
        return super().call(x) if training else x

    def uniform(self, images: Any, low: float = 0.0, high: float = 1.0) -> Any:
        """A random number for each image of a batch, from [low, high): shape [batch, 1, 1, 1]."""
        kind = images.type
        return composites.uniform(self.key(), (kind.shape[0], 1, 1, 1), kind.dtype) * (high - low) + low


def limits(label: str, argument: str, value: Any, low: float = -1.0, high: float = 1.0) -> tuple[float, float]:
    """The limits that a factor gives: a pair, or one number for (-number, number); cut off at `low`.

    >>> limits("layer 'r'", "factor", 0.2)
    (-0.2, 0.2)
    """
    if isinstance(value, (list, tuple)):
        if len(value) != 2:
            raise ArgumentError(f"{label}: {argument}", expected="a number or two", received=repr(value))
        first, second = sorted(number(label, argument, v, low, high) for v in value)
        return first, second
    size = abs(number(label, argument, value, low, high))
    return max(-size, low), size


class RandomBrightness(RandomImageLayer):
    """Adds a random number to each image.

    Args:
        factor: limits of the number as part of the range of values: one number f for (-f, f), or two, in [-1, 1].
        value_range: smallest and largest value; the result is cut to them.
        seed, data_format: see `RandomImageLayer`.
    """

    def __init__(self, factor: Any, value_range: Any = (0, 255), seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed, **kwargs)
        self.factor = limits(self.label, "factor", factor)
        self.value_range = two_values(self.label, value_range)

    def compute(self, inputs: Any) -> Any:
        """The images, brighter or darker."""
        low, high = self.value_range
        change = self.uniform(inputs, *self.factor) * (high - low)
        return composites.clip(inputs + change, low, high)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "factor": self.factor, "value_range": self.value_range}


class RandomContrast(RandomImageLayer):
    """Multiplies the distance of each image from its mean, channel by channel, by a random number.

    Args:
        factor: one number f for [1 - f, 1 + f], or two (f, g) for [1 - f, 1 + g], in [0, 1].
        value_range: smallest and largest value; the result is cut to them.
        seed, data_format: see `RandomImageLayer`.
    """

    def __init__(self, factor: Any, value_range: Any = (0, 255), seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed, **kwargs)
        given = factor if isinstance(factor, (list, tuple)) else (factor, factor)
        if len(given) != 2:
            raise ArgumentError(f"{self.label}: factor", expected="a number or two", received=repr(factor))
        self.factor = tuple(number(self.label, "factor", f, 0, 1) for f in given)
        self.value_range = two_values(self.label, value_range)

    def compute(self, inputs: Any) -> Any:
        """The images with more or less contrast."""
        mean = composites.mean(inputs, (1, 2), keepdims=True)
        change = self.uniform(inputs, 1 - self.factor[0], 1 + self.factor[1])
        return composites.clip((inputs - mean) * change + mean, *self.value_range)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "factor": self.factor, "value_range": self.value_range}


class RandomFlip(RandomImageLayer):
    """Mirrors each image with probability 1/2, along each direction by itself.

    Args:
        mode: "horizontal", "vertical" or "horizontal_and_vertical".
        seed, data_format: see `RandomImageLayer`.
    """

    def __init__(self, mode: str = "horizontal_and_vertical", seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed, **kwargs)
        self.mode = one_of(self.label, "mode", mode, ("horizontal", "vertical", "horizontal_and_vertical"))

    def compute(self, inputs: Any) -> Any:
        """The images, some of them mirrored."""
        for axis, name in ((2, "horizontal"), (1, "vertical")):
            if name in self.mode:
                mirrored = current_emitter().emit("reverse", inputs, axes=(axis,))
                inputs = composites.where(self.uniform(inputs) < 0.5, mirrored, inputs)
        return inputs

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "mode": self.mode}


class RandomCrop(RandomImageLayer):
    """A random part of the images, the same for all of a batch; outside training their middle.

    Args:
        height, width: of the result; images that are not larger are resized and cut in the middle.
        seed, data_format: see `RandomImageLayer`.
    """

    def __init__(self, height: int, width: int, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed, **kwargs)
        self.height = whole_number(self.label, "height", height)
        self.width = whole_number(self.label, "width", width)
        self._middle = CenterCrop(height, width, self.data_format, dtype=self.dtype)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """A random part of the images in training, else their middle."""
        return super().call(inputs, training) if training else self._middle(inputs)

    def compute(self, inputs: Any) -> Any:
        """A random part of the images."""
        size = self.known_size(inputs)
        if size[0] <= self.height or size[1] <= self.width:
            return centre(inputs, size, self.height, self.width)
        for axis, (old, new) in enumerate(zip(size, (self.height, self.width)), start=1):
            draw = composites.uniform(self.key(), (), inputs.type.dtype)
            start = composites.cast(draw * float(old - new + 1), i32)
            places = current_emitter().emit("iota", shape=(new,), axis=0, dtype=i32) + start
            inputs = composites.gather(inputs, places, axis)
        return inputs

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "height": self.height, "width": self.width}


def two_values(label: str, value_range: Any) -> tuple[float, float]:
    """The argument `value_range` as (smallest, largest)."""
    if not isinstance(value_range, (list, tuple)) or len(value_range) != 2:
        raise ArgumentError(f"{label}: value_range", expected="two numbers", received=repr(value_range))
    low, high = sorted(number(label, "value_range", v) for v in value_range)
    return low, high
