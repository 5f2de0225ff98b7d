"""Rescaling of data by fixed numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from kgraph.errors import ArgumentError
from kgraph.layers.base import Layer
from kgraph.primitives import composites
from kgraph.trace import current_trace


class Rescaling(Layer):
    """``inputs * scale + offset``; integers, such as pixels, are cast.

    Args:
        scale, offset: numbers, or arrays that broadcast to the input.

    Output shape: that of the input.

    >>> Rescaling(1 / 255)([[0, 255]]).tolist()
    [[0.0, 1.0]]
    """

    supports_masking = True

    def __init__(self, scale: Any, offset: Any = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, value in (("scale", scale), ("offset", offset)):
            if np.asarray(value).dtype.kind not in "fiu":
                raise ArgumentError(f"{self.label}: {name}", expected="numbers", received=repr(value))
        self.scale, self.offset = scale, offset

    def call(self, inputs: Any) -> Any:
        """The inputs, rescaled."""
        scale, offset = (current_trace().constant(np.asarray(v, self.dtype)) for v in (self.scale, self.offset))
        return composites.cast(inputs, self.dtype) * scale + offset

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        plain = (v.tolist() if isinstance(v, np.ndarray) else v for v in (self.scale, self.offset))
        return {**super().get_config(), **dict(zip(("scale", "offset"), plain))}
