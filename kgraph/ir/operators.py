"""Arithmetic on symbolic tensors: operators find their op by name in the builder in force."""

from __future__ import annotations

from typing import Any

import numpy as np

from kgraph.ir.dtypes import DType, dtype_of, promote
from kgraph.ir.opdef import current_emitter
from kgraph.ir.types import broadcast_shapes


def broadcast_to(value: Any, shape: tuple[Any, ...]) -> Any:
    """`value` broadcast to `shape` by NumPy's rules: an explicit `broadcast` node, or `value` itself."""
    emitter = current_emitter()
    old = emitter.type_of(value).shape
    if old == shape:
        return value
    axes = tuple(range(len(shape) - len(old), len(shape)))
    return emitter.emit("broadcast", value, shape=shape, axes=axes)


def cast(value: Any, dtype: DType) -> Any:
    """`value` with another element type; `value` itself if it has it."""
    emitter = current_emitter()
    return value if emitter.type_of(value).dtype is dtype else emitter.emit("cast", value, dtype=dtype)


def lift(value: Any, like: DType | None = None) -> Any:
    """A tensor for `value`: itself, or a constant.

    A Python number takes the element type `like`, as in NumPy 2. So does an array of floats if `like` is a float type:
    NumPy makes float64 of everything, and a model should not become slower by a constant.
    """
    emitter = current_emitter()
    if isinstance(value, Operators):
        return value
    if like is not None and isinstance(value, (bool, int, float)):
        if isinstance(value, float) and not like.is_float:
            like = dtype_of("float32")
        return emitter.constant(value, like)
    array = np.asarray(value)
    return emitter.constant(array, like if like is not None and like.is_float and array.dtype.kind == "f" else None)


def match(*values: Any, dtype: DType | None = None) -> list[Any]:
    """Tensors of one element type and one shape: numbers lifted, types promoted, shapes broadcast."""
    emitter = current_emitter()
    known = [v for v in values if isinstance(v, Operators)]
    like = emitter.type_of(known[0]).dtype if known else None
    lifted = [lift(v, like) for v in values]
    types = [emitter.type_of(v) for v in lifted]
    meet = dtype or types[0].dtype
    if dtype is None:
        for t in types[1:]:
            meet = promote(meet, t.dtype)
    shape = broadcast_shapes(*(t.shape for t in types))
    return [broadcast_to(cast(v, meet), shape) for v in lifted]


def binary(op: str, a: Any, b: Any) -> Any:
    """An elementwise op of two tensors or numbers, with promotion and broadcasting."""
    return current_emitter().emit(op, *match(a, b))


class Operators:
    """Python operators of symbolic tensors. Comparisons give bool tensors; `==` stays identity."""

    __array_priority__ = 1000  # NumPy's numbers and arrays on the left leave the operation to this class

    def __add__(self, other: Any) -> Any:
        return binary("add", self, other)

    def __radd__(self, other: Any) -> Any:
        return binary("add", other, self)

    def __sub__(self, other: Any) -> Any:
        return binary("sub", self, other)

    def __rsub__(self, other: Any) -> Any:
        return binary("sub", other, self)

    def __mul__(self, other: Any) -> Any:
        return binary("mul", self, other)

    def __rmul__(self, other: Any) -> Any:
        return binary("mul", other, self)

    def __truediv__(self, other: Any) -> Any:
        return binary("div", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return binary("div", other, self)

    def __pow__(self, other: Any) -> Any:
        return binary("pow", self, other)

    def __neg__(self) -> Any:
        return current_emitter().emit("neg", self)

    def __abs__(self) -> Any:
        return current_emitter().emit("abs", self)

    def __lt__(self, other: Any) -> Any:
        return binary("lt", self, other)

    def __le__(self, other: Any) -> Any:
        return binary("le", self, other)

    def __gt__(self, other: Any) -> Any:
        return binary("gt", self, other)

    def __ge__(self, other: Any) -> Any:
        return binary("ge", self, other)

    def __matmul__(self, other: Any) -> Any:
        return current_emitter().emit("matmul", self, other, transpose_a=False, transpose_b=False)

    def __bool__(self) -> bool:
        raise TypeError("a symbolic tensor has no truth value while a model is built; use ops.where or ops.cond")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("a NumPy function got a symbolic tensor; use the function of the same name in kgraph.ops")
