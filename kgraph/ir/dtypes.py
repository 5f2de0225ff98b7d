"""Element types: their names in IR text, in NumPy and in LLVM, and how they promote."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from kgraph.errors import DTypeError
from kgraph.record import record


@record
class DType:
    """One element type.

    Attributes:
        name: short name used in IR text, such as "f32".
        numpy: NumPy's name, such as "float32"; also Keras' name.
        kind: "float", "signed", "unsigned" or "bool".
        bits: size of one element in memory; a bool takes 8.
        llvm: LLVM type of one element in memory.
    """

    name: str
    numpy: str
    kind: Literal["float", "signed", "unsigned", "bool"]
    bits: int
    llvm: str

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return self.name

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.bits // 8

    @property
    def is_float(self) -> bool:
        """Whether gradients flow through values of this type."""
        return self.kind == "float"

    @property
    def is_integer(self) -> bool:
        """Whether this is a signed or unsigned integer type."""
        return self.kind in ("signed", "unsigned")

    def to_numpy(self) -> np.dtype[np.generic]:
        """The NumPy dtype."""
        return np.dtype(self.numpy)


f32 = DType("f32", "float32", "float", 32, "float")
f64 = DType("f64", "float64", "float", 64, "double")
i32 = DType("i32", "int32", "signed", 32, "i32")
i64 = DType("i64", "int64", "signed", 64, "i64")
u8 = DType("u8", "uint8", "unsigned", 8, "i8")
u32 = DType("u32", "uint32", "unsigned", 32, "i32")
bool_ = DType("bool", "bool", "bool", 8, "i8")

ALL: tuple[DType, ...] = (f32, f64, i32, i64, u8, u32, bool_)
_OF_NUMPY = {np.dtype(d.numpy): d for d in ALL}
BY_NAME = {d.name: d for d in ALL} | {d.numpy: d for d in ALL}

# Position in the order bool < u8 < i32 < u32 < i64 < f32 < f64: a pair promotes to the later one.
# As in Keras, integers and floats give the float: i64 with f32 is f32.
_ORDER = {d: n for n, d in enumerate((bool_, u8, i32, u32, i64, f32, f64))}


def dtype_of(value: DType | str | type | npt.DTypeLike) -> DType:
    """The element type that a name, a NumPy dtype or a Python type means.

    >>> dtype_of("float32"), dtype_of(np.int64), dtype_of("u8")
    (f32, i64, u8)
    """
    if isinstance(value, DType):
        return value
    if isinstance(value, np.dtype) and value in _OF_NUMPY:  # NumPy takes long to name a type
        return _OF_NUMPY[value]
    if isinstance(value, str) and value in BY_NAME:
        return BY_NAME[value]
    try:
        name = np.dtype(value).newbyteorder("=").name
    except TypeError:
        name = str(value)
    if name not in BY_NAME:
        names = ", ".join(d.numpy for d in ALL)
        raise DTypeError("dtype", expected=f"one of {names}", received=repr(value))
    return BY_NAME[name]


def promote(a: DType, b: DType) -> DType:
    """The type in which `a` and `b` meet: the wider one; a float beats every integer; u32 with i32 gives i64."""
    if {a, b} == {i32, u32}:
        return i64
    return max(a, b, key=_ORDER.__getitem__)
