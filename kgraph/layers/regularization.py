"""Layers that act in training only."""

from __future__ import annotations

from typing import Any

import numpy as np

from kgraph.errors import ShapeError
from kgraph.ir.opdef import current_emitter
from kgraph.layers.arguments import probability, whole_number
from kgraph.layers.base import Layer
from kgraph.ops import composites
from kgraph.trace import current_trace
from kgraph.variable import Variable


class Dropout(Layer):
    """In training sets a random part of the elements to 0 and divides the others by ``1 - rate``.

    Args:
        rate: part of the elements set to 0, in [0, 1].
        noise_shape: shape of the random mask, broadcast to the input; None (also as an entry) means the input's.
        seed: int that fixes the masks of this layer; None follows the model's random state.

    Outside training gives its input. Source: Srivastava et al. (2014).
    """

    not_weights = Layer.not_weights | {"_seed_state"}

    def __init__(self, rate: float, noise_shape: Any = None, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = probability(self.label, "rate", rate)
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)
        self.seed = seed
        self._seed_state: Variable | None = None
        if seed is not None:
            state = np.array([whole_number(self.label, "seed", seed, 0) % 2**32, 0], "uint32")
            self._seed_state = Variable(state, "seed_state", False, f"{self.name}/seed_state")

    def call(self, inputs: Any, training: bool = False) -> Any:
        """The inputs, with dropout in training."""
        if not training or self.rate == 0:
            return inputs
        if self.rate == 1:
            return composites.zeros_like(inputs)
        keep = 1 - self.rate
        mask = composites.dropout_mask(self._key(), self._mask_shape(inputs), keep)
        return composites.where(mask, inputs / keep, 0.0)

    def _mask_shape(self, inputs: Any) -> tuple[Any, ...]:
        shape = current_emitter().type_of(inputs).shape
        if self.noise_shape is None:
            return shape
        if len(self.noise_shape) != len(shape):
            received = str(self.noise_shape)
            raise ShapeError(f"{self.label}: noise_shape", expected=f"{len(shape)} sizes", received=received)
        return tuple(own if given is None else given for given, own in zip(self.noise_shape, shape))

    def _key(self) -> Any:
        trace = current_trace()
        if self._seed_state is None:
            return trace.random_key()
        state = trace.read(self._seed_state)
        trace.assign(self._seed_state, state + trace.constant(np.array([0, 1], "uint32")))
        return trace.emit("fold_in", state, data=0)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"rate": self.rate, "noise_shape": self.noise_shape, "seed": self.seed}
        return {**super().get_config(), **own}
