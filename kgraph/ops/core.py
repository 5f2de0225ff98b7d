"""Conversion, inspection and parts of tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kgraph.eager import as_array, operation
from kgraph.errors import ArgumentError, DTypeError
from kgraph.ir.dtypes import bool_, dtype_of
from kgraph.ir.graph import Value
from kgraph.ir.operators import Operators
from kgraph.ir.operators import cast as convert
from kgraph.keras_tensor import KerasTensor
from kgraph.ops.promotion import emit, type_of
from kgraph.primitives import composites
from kgraph.variable import Variable

Array = npt.NDArray[Any]


@operation("x")
def cast(x: Any, dtype: Any) -> Any:
    """`x` with another element type; floats are cut towards 0, bool is ``x != 0``.

    >>> cast([1.7, -1.7], "int32")
    array([ 1, -1], dtype=int32)
    """
    return convert(x, dtype_of(dtype))


@operation("x")
def saturate_cast(x: Any, dtype: Any) -> Any:
    """`cast` with values outside the range of `dtype` moved to its nearest end."""
    target, source = dtype_of(dtype), type_of(x).dtype
    if target.is_integer and source is not bool_:
        ends, own = np.iinfo(target.numpy), None if source.is_float else np.iinfo(source.numpy)
        low = int(ends.min) if own is None else max(int(ends.min), int(own.min))
        high = int(ends.max) if own is None else min(int(ends.max), int(own.max))
        x = composites.clip(x, low, high)
    return convert(x, target)


@operation("x")
def convert_to_tensor(x: Any, dtype: Any = None, sparse: bool | None = None, ragged: bool | None = None) -> Any:
    """An array, list, number or variable as a tensor: an array, or a constant inside a program.

    `sparse` and `ragged` must not be True: there are only dense tensors.
    """
    if sparse or ragged:
        raise ArgumentError("sparse and ragged", expected="None or False: there are only dense tensors",
                            received=f"{sparse} and {ragged}")  # fmt: skip
    return x if dtype is None else convert(x, dtype_of(dtype))


@operation("x")
def array(x: Any, dtype: Any = None) -> Any:
    """`convert_to_tensor` under NumPy's name."""
    return x if dtype is None else convert(x, dtype_of(dtype))


@operation("x")
def copy(x: Any) -> Any:
    """A tensor of the same elements."""
    return emit("copy", x)


def convert_to_numpy(x: Any) -> Array:
    """A NumPy array of a tensor that has values; an error inside a program."""
    if isinstance(x, Operators) and not isinstance(x, Variable):
        raise DTypeError("convert_to_numpy: x", expected="a tensor that has values", received=repr(x))
    return x.value if isinstance(x, Variable) else as_array(x, "convert_to_numpy: x")


def is_tensor(x: Any) -> bool:
    """Whether `x` is a tensor: an array, or a symbolic one. Lists and variables are not."""
    return isinstance(x, (np.ndarray, KerasTensor, Value))


def shape(x: Any) -> tuple[Any, ...]:
    """The sizes: ints, and None (of symbolic tensors) or sizes to compute with (inside a program) where not known.

    >>> shape([[1, 2], [3, 4], [5, 6]])
    (3, 2)
    """
    if isinstance(x, Value):
        return x.type.shape
    return x.shape if isinstance(x, (KerasTensor, Variable)) else as_array(x, "shape: x").shape


def ndim(x: Any) -> int:
    """Number of axes."""
    return len(shape(x))


def dtype(x: Any) -> str:
    """Name of the element type.

    >>> dtype([1.0])
    'float32'
    """
    if isinstance(x, (KerasTensor, Value)):
        return x.type.dtype.numpy
    return str(x.dtype) if isinstance(x, Variable) else as_array(x, "dtype: x").dtype.name


@operation("x")
def size(x: Any) -> Any:
    """Number of elements (int32)."""
    return composites.size(type_of(x).size)
