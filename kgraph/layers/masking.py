"""Masking: steps of one value are left out."""

from __future__ import annotations

from typing import Any

from kgraph.ir.dtypes import i32
from kgraph.layers.base import Layer
from kgraph.primitives import composites


class Masking(Layer):
    """Steps whose features all have one value do not count in the layers behind: gives a mask, and 0 for these steps.

    Args:
        mask_value: that value.

    Input shape: ``(batch, ..., steps, features)``. Output shape: the same.

    >>> Masking(9.0)([[[1.0, 2.0], [9.0, 9.0]]]).tolist()
    [[[1.0, 2.0], [0.0, 0.0]]]
    """

    def __init__(self, mask_value: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mask_value = mask_value

    def call(self, inputs: Any) -> Any:
        """The inputs, with 0 where they are masked."""
        return composites.where(composites.expand_dims(self._counts(inputs), -1), inputs, 0)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Whether a step has a feature of another value."""
        return self._counts(inputs)

    def _counts(self, inputs: Any) -> Any:
        return composites.sum(composites.cast(composites.not_equal(inputs, self.mask_value), i32), -1) > 0

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "mask_value": self.mask_value}
