"""Layers that act in training only."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kgraph.config import image_data_format
from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.opdef import current_emitter
from kgraph.keras_tensor import shape_text
from kgraph.layers.arguments import probability, whole_number
from kgraph.layers.base import Layer
from kgraph.primitives import composites
from kgraph.regularizers import L1L2
from kgraph.trace import current_trace
from kgraph.variable import Variable


class Random(Layer):
    """Base of the layers that draw random numbers in training.

    Args:
        seed: int that fixes the numbers of this layer; None follows the model's random state.
    """

    not_weights = Layer.not_weights | {"_seed_state"}

    def __init__(self, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed
        self._seed_state: Variable | None = None
        if seed is not None:
            state = np.array([whole_number(self.label, "seed", seed, 0) % 2**32, 0], "uint32")
            self._seed_state = Variable(state, "seed_state", False, f"{self.name}/seed_state")

    def key(self) -> Any:
        """A new key for random ops."""
        trace = current_trace()
        if self._seed_state is None:
            return trace.random_key()
        state = trace.read(self._seed_state)
        trace.assign(self._seed_state, state + trace.constant(np.array([0, 1], "uint32")))
        return trace.emit("fold_in", state, data=0)

    def normal(self, like: Any) -> Any:
        """Random numbers of the standard normal distribution in the shape and type of `like`."""
        type = current_emitter().type_of(like)
        return composites.normal(self.key(), type.shape, type.dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "seed": self.seed}


class Dropout(Random):
    """In training sets a random part of the elements to 0 and divides the others by ``1 - rate``.

    Args:
        rate: part of the elements set to 0, in [0, 1].
        noise_shape: shape of the random mask, broadcast to the input; None (also as an entry) means the input's.
        seed: int that fixes the masks of this layer; None follows the model's random state.

    Outside training gives its input. Source: Srivastava et al. (2014).
    """

    supports_masking = True

    def __init__(self, rate: float, noise_shape: Any = None, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed, **kwargs)
        self.rate = probability(self.label, "rate", rate)
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """The inputs, with dropout in training."""
        if not training or self.rate == 0:
            return inputs
        if self.rate == 1:
            return composites.zeros_like(inputs)
        keep = 1 - self.rate
        mask = composites.dropout_mask(self.key(), self.mask_shape(inputs), keep)
        return composites.where(mask, inputs * (1 / keep), 0.0)

    def mask_shape(self, inputs: Any) -> tuple[Any, ...]:
        """Shape of the random mask."""
        shape = current_emitter().type_of(inputs).shape
        if self.noise_shape is None:
            return shape
        if len(self.noise_shape) != len(shape):
            received = str(self.noise_shape)
            raise ShapeError(f"{self.label}: noise_shape", expected=f"{len(shape)} sizes", received=received)
        return tuple(own if given is None else given for given, own in zip(self.noise_shape, shape))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "rate": self.rate, "noise_shape": self.noise_shape}


class AlphaDropout(Dropout):
    """Dropout that keeps mean and variance of standard normal inputs: drops to the limit of `selu`.

    Args: as for `Dropout`. Source: Klambauer et al. (2017).
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        """The inputs, with dropout in training."""
        if not training or self.rate == 0:
            return inputs
        if self.rate == 1:
            raise ArgumentError(f"{self.label}: rate", expected="a number in [0, 1)", received="1")
        keep, limit = 1 - self.rate, -1.6732632423543772 * 1.0507009873554805
        mask = composites.dropout_mask(self.key(), self.mask_shape(inputs), keep)
        a = (keep * (1 + self.rate * limit**2)) ** -0.5
        return composites.where(mask, inputs, limit) * a - a * limit * self.rate


class SpatialDropout(Dropout):
    """Base of the layers that drop whole channels of a sample."""

    spatial_axes = 0

    def __init__(self, rate: float, data_format: str | None = None, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(rate, None, seed, **kwargs)
        if data_format not in (None, "channels_last", "channels_first"):
            expected, received = "'channels_last' or 'channels_first'", repr(data_format)
            raise ArgumentError(f"{self.label}: data_format", expected=expected, received=received)
        self.data_format = data_format or image_data_format()

    def check_inputs(self, inputs: Any) -> None:
        """The rank must fit."""
        if inputs.type.rank != self.spatial_axes + 2:
            raise ShapeError(self.label, expected=f"rank {self.spatial_axes + 2}", received=shape_text(inputs.type))

    def mask_shape(self, inputs: Any) -> tuple[Any, ...]:
        """One number for each sample and channel."""
        shape, ones = current_emitter().type_of(inputs).shape, (1,) * self.spatial_axes
        return (*shape[:2], *ones) if self.data_format == "channels_first" else (shape[0], *ones, shape[-1])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = {**super().get_config(), "data_format": self.data_format}
        del config["noise_shape"]
        return config


class SpatialDropout1D(SpatialDropout):
    """Drops whole channels of sequences ``(batch, steps, channels)``. Source: Tompson et al. (2014)."""

    spatial_axes = 1

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(rate, None, seed, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        del config["data_format"]
        return config


class SpatialDropout2D(SpatialDropout):
    """Drops whole channels of images ``(batch, rows, columns, channels)``. Source: Tompson et al. (2014)."""

    spatial_axes = 2


class SpatialDropout3D(SpatialDropout):
    """Drops whole channels of volumes ``(batch, ..., channels)`` of rank 5. Source: Tompson et al. (2014)."""

    spatial_axes = 3


class GaussianNoise(Random):
    """In training adds random numbers of a normal distribution.

    Args:
        stddev: standard deviation, in [0, 1].
        seed: int that fixes the numbers; None follows the model's random state.
    """

    supports_masking = True

    def __init__(self, stddev: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed, **kwargs)
        self.stddev = probability(self.label, "stddev", stddev)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """The inputs, with noise in training."""
        return inputs + self.normal(inputs) * self.stddev if training and self.stddev else inputs

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "stddev": self.stddev}


class GaussianDropout(Random):
    """In training multiplies by random numbers of mean 1 and standard deviation ``sqrt(rate / (1 - rate))``.

    Args:
        rate: as for `Dropout`, in [0, 1).
        seed: int that fixes the numbers; None follows the model's random state.

    Source: Srivastava et al. (2014), section 10.
    """

    supports_masking = True

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(seed, **kwargs)
        self.rate = probability(self.label, "rate", rate)
        if self.rate == 1:
            raise ArgumentError(f"{self.label}: rate", expected="a number in [0, 1)", received=repr(rate))

    def call(self, inputs: Any, training: bool = False) -> Any:
        """The inputs, with noise in training."""
        if not training or self.rate == 0:
            return inputs
        return inputs * (self.normal(inputs) * math.sqrt(self.rate / (1 - self.rate)) + 1.0)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "rate": self.rate}


class ActivityRegularization(Layer):
    """Gives its input, and adds a penalty on it to the loss: ``(l1 * sum|x| + l2 * sum(x^2)) / batch size``.

    Args:
        l1, l2: factors >= 0.
    """

    supports_masking = True

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Any) -> None:
        super().__init__(activity_regularizer=L1L2(l1, l2), **kwargs)
        self.l1, self.l2 = l1, l2

    def call(self, inputs: Any) -> Any:
        """The inputs."""
        return inputs

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = {**super().get_config(), "l1": self.l1, "l2": self.l2}
        del config["activity_regularizer"]
        return config
