"""The same elements under another shape or in another order: Flatten, Reshape, Permute, RepeatVector."""

from __future__ import annotations

import math
from typing import Any

from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dims import Dim, product
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import broadcast_to
from kgraph.keras_tensor import shape_text
from kgraph.layers.arguments import whole_number
from kgraph.layers.base import Layer
from kgraph.layers.spatial import FORMATS, one_of
from kgraph.primitives import composites


class Flatten(Layer):
    """All axes but the first as one.

    Args:
        data_format: "channels_last", or "channels_first" to move axis 1 behind the others first; None means the former.

    Input shape: ``(batch, ...)``. Output shape: ``(batch, product of the others)``.
    """

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = one_of(self.label, "data_format", data_format or "channels_last", FORMATS)

    def call(self, inputs: Any) -> Any:
        """The inputs with rank 2."""
        rank = inputs.type.rank
        if self.data_format == "channels_first" and rank > 1:
            inputs = composites.transpose(inputs, (0, *range(2, rank), 1))
        shape = inputs.type.shape
        return composites.reshape(inputs, (*shape[:1], product(shape[1:])) if shape else (1,))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "data_format": self.data_format}


class Reshape(Layer):
    """Another shape for each sample.

    Args:
        target_shape: sizes without the batch; one may be -1: what is left.

    Input shape: ``(batch, ...)``. Output shape: ``(batch, *target_shape)``.
    Raises: ShapeError if the number of elements differs.

    >>> Reshape((2, -1))([[1.0, 2.0, 3.0, 4.0]]).shape
    (1, 2, 2)
    """

    def __init__(self, target_shape: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        sizes = (target_shape,) if isinstance(target_shape, int) else tuple(target_shape)
        self.target_shape = tuple(whole_number(self.label, "target_shape", size, -1) for size in sizes)
        if self.target_shape.count(-1) > 1:
            received = str(self.target_shape)
            raise ArgumentError(f"{self.label}: target_shape", expected="at most one -1", received=received)

    def check_inputs(self, inputs: Any) -> None:
        """The number of elements of a sample must not change."""
        count = product(inputs.type.shape[1:])
        known = math.prod(size for size in self.target_shape if size != -1)
        text = str(self.target_shape)
        if not isinstance(count, int):
            if -1 not in self.target_shape:
                raise ShapeError(f"{self.label}: {shape_text(inputs.type)} has no known size to become {text}")
        elif -1 in self.target_shape and (known == 0 or count % known):
            raise ShapeError(f"{self.label}: {count} values cannot become {text}: not a multiple of {known}")
        elif -1 not in self.target_shape and count != known:
            raise ShapeError(f"{self.label}: {count} values cannot become {text} = {known}")

    def call(self, inputs: Any) -> Any:
        """The inputs with the other shape."""
        shape = current_emitter().type_of(inputs).shape
        left: Dim = product(shape[1:])
        known = math.prod(size for size in self.target_shape if size != -1)
        sizes = [left // known if size == -1 else size for size in self.target_shape]
        return composites.reshape(inputs, (*shape[:1], *sizes))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "target_shape": self.target_shape}


class Permute(Layer):
    """The axes of each sample in another order.

    Args:
        dims: for each axis of the result, the axis of the input, counted from 1.

    Input shape: ``(batch, ...)``. Output shape: the sizes in that order.

    >>> Permute((2, 1))([[[1.0, 2.0, 3.0]]]).shape
    (1, 3, 1)
    """

    def __init__(self, dims: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dims = (dims,) if isinstance(dims, int) else tuple(dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            expected = f"an order of 1..{len(self.dims)}"
            raise ArgumentError(f"{self.label}: dims", expected=expected, received=str(self.dims))

    def check_inputs(self, inputs: Any) -> None:
        """The rank must fit."""
        if inputs.type.rank != len(self.dims) + 1:
            expected = f"rank {len(self.dims) + 1} for dims {self.dims}"
            raise ShapeError(self.label, expected=expected, received=shape_text(inputs.type))

    def call(self, inputs: Any) -> Any:
        """The inputs, transposed."""
        return composites.transpose(inputs, (0, *self.dims))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "dims": self.dims}


class RepeatVector(Layer):
    """Each sample several times along a new axis.

    Args:
        n: how often.

    Input shape: ``(batch, features)``. Output shape: ``(batch, n, features)``.
    """

    def __init__(self, n: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n = whole_number(self.label, "n", n)

    def check_inputs(self, inputs: Any) -> None:
        """The rank must be 2."""
        if inputs.type.rank != 2:
            raise ShapeError(self.label, expected="(batch, features)", received=shape_text(inputs.type))

    def call(self, inputs: Any) -> Any:
        """The inputs, repeated."""
        batch, features = current_emitter().type_of(inputs).shape
        return broadcast_to(composites.expand_dims(inputs, 1), (batch, self.n, features))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "n": self.n}
