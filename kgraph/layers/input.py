"""Input: where the data of a functional model come in."""

from __future__ import annotations

from typing import Any

from kgraph.config import floatx
from kgraph.errors import ArgumentError
from kgraph.keras_tensor import FunctionalNode, KerasTensor, type_with_batch
from kgraph.layers.base import Layer


class InputLayer(Layer):
    """The place of one input in a model; `Input` makes one and gives its tensor.

    Args:
        shape: sizes without the batch; None where known only at run time.
        batch_size: size of the first axis; None leaves it free.
        dtype: element type of the data; None means `floatx`.
        batch_shape: shape with the batch, instead of the two above.
        name: of the layer and its tensor.
    """

    def __init__(
        self,
        shape: Any = None,
        batch_size: int | None = None,
        dtype: Any = None,
        batch_shape: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if "input_shape" in kwargs:
            shape = kwargs.pop("input_shape")
        if "batch_input_shape" in kwargs:
            batch_shape = kwargs.pop("batch_input_shape")
        super().__init__(name=name, dtype=dtype or floatx(), **kwargs)
        if (shape is None) == (batch_shape is None):
            raise ArgumentError(self.label, expected="shape or batch_shape, one of them", fix="Write Input(shape=(4,))")
        full = tuple(batch_shape) if shape is None else (batch_size, *_sizes(shape, self.label))
        self.batch_shape = tuple(_sizes(full, self.label))
        self.tensor = KerasTensor(type_with_batch(self.batch_shape, self.dtype, self.name), self.name)
        FunctionalNode(self, (), {}, self.tensor)
        self.built = True

    def call(self) -> None:
        """An input computes nothing."""

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"batch_shape": self.batch_shape, "dtype": self.dtype, "name": self.name}


def Input(
    shape: Any = None,
    batch_size: int | None = None,
    dtype: Any = None,
    batch_shape: Any = None,
    name: str | None = None,
) -> KerasTensor:
    """A symbolic tensor to call layers on.

    Args:
        shape: sizes without the batch, such as ``(10,)``; None where known only at run time.
        batch_size: fixed batch size; None leaves it free.
        dtype: element type of the data; None means `floatx`.
        batch_shape: shape with the batch, instead of the first two.
        name: of the input; data may be given as a dict with it as key.

    >>> Input((10,)).shape
    (None, 10)
    """
    return InputLayer(shape, batch_size, dtype, batch_shape, name).tensor


def _sizes(shape: Any, label: str) -> tuple[int | None, ...]:
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    for size in sizes:
        if size is not None and (isinstance(size, bool) or not hasattr(size, "__index__") or size < 0):
            raise ArgumentError(f"{label}: shape", expected="sizes >= 0 or None", received=repr(shape))
    return tuple(None if size is None else int(size) for size in sizes)
