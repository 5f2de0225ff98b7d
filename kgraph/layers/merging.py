"""Layers that join several tensors: Add and Concatenate."""

from __future__ import annotations

import functools
import operator
from typing import Any

from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.types import broadcast_shapes
from kgraph.layers.arguments import whole_number
from kgraph.layers.base import Layer
from kgraph.layers.history import described
from kgraph.ops import composites


class Merge(Layer):
    """Base of the layers that take a list of tensors."""

    def check_inputs(self, inputs: Any) -> None:
        """There must be a list of at least one tensor."""
        if not isinstance(inputs, (list, tuple)) or not inputs:
            received = "one tensor" if hasattr(inputs, "type") else repr(inputs)
            raise ArgumentError(self.label, expected="a list of tensors", received=received, fix="Write layer([a, b])")


class Add(Merge):
    """The sum of tensors whose shapes broadcast; a lower rank gets axes of size 1 after the batch.

    Input: list of tensors. Output shape: what they broadcast to.
    """

    def check_inputs(self, inputs: Any) -> None:
        """The shapes must broadcast."""
        super().check_inputs(inputs)
        rank = max(t.type.rank for t in inputs)
        try:
            broadcast_shapes(*(_raised(t.type.shape, rank) for t in inputs))
        except ShapeError:
            listed = " and ".join(described(t) for t in inputs)
            raise ShapeError(f"{self.label}: inputs {listed} do not broadcast") from None

    def call(self, inputs: Any) -> Any:
        """The sum."""
        rank = max(x.type.rank for x in inputs)
        return functools.reduce(operator.add, [composites.reshape(x, _raised(x.type.shape, rank)) for x in inputs])


class Concatenate(Merge):
    """Tensors joined along an axis.

    Args:
        axis: counts the batch as 0; negative counts from the end.

    Input: list of tensors, equal in all other axes. Output shape: sizes along `axis` added up.
    """

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis if isinstance(axis, int) else whole_number(self.label, "axis", axis, -(2**31))

    def check_inputs(self, inputs: Any) -> None:
        """Ranks and all axes but one must agree."""
        super().check_inputs(inputs)
        first = inputs[0].type
        if not -first.rank <= self.axis < first.rank:
            expected = f"an axis in {-first.rank}..{first.rank - 1}"
            raise ArgumentError(f"{self.label}: axis", expected=expected, received=str(self.axis))
        axis = self.axis % first.rank
        for other in inputs[1:]:
            agree = other.type.rank == first.rank and all(
                a == b for n, (a, b) in enumerate(zip(first.shape, other.type.shape)) if n != axis
            )
            if not agree:
                listed = f"{described(inputs[0])} and {described(other)}"
                fix = f"All axes but axis {self.axis} must agree"
                raise ShapeError(f"{self.label}: inputs {listed} cannot be joined along axis {self.axis}", fix=fix)

    def call(self, inputs: Any) -> Any:
        """The tensors, joined."""
        return composites.concatenate(inputs, self.axis)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "axis": self.axis}


def add(inputs: Any, **kwargs: Any) -> Any:
    """The sum of a list of tensors: an `Add` layer, made and called."""
    return Add(**kwargs)(inputs)


def concatenate(inputs: Any, axis: int = -1, **kwargs: Any) -> Any:
    """A list of tensors joined along an axis: a `Concatenate` layer, made and called."""
    return Concatenate(axis, **kwargs)(inputs)


def _raised(shape: tuple[Any, ...], rank: int) -> tuple[Any, ...]:
    """The shape with axes of size 1 after the first, up to `rank`."""
    return (*shape[:1], *[1] * (rank - len(shape)), *shape[1:])
