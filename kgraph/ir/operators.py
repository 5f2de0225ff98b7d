"""Arithmetic on symbolic tensors: operators find their op by name in the builder in force."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kgraph.config import floatx
from kgraph.errors import SymbolicError
from kgraph.ir.dims import DimExpr, product
from kgraph.ir.dtypes import DType, bool_, dtype_of, i32, promote
from kgraph.ir.opdef import current_emitter
from kgraph.ir.subscripts import subscript
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

    A Python number or a size takes the element type `like`, as in NumPy 2. So does an array of floats if `like` is a
    float type: NumPy makes float64 of everything, and a model should not become slower by a constant.
    """
    emitter = current_emitter()
    if isinstance(value, Operators):
        return value
    if isinstance(value, DimExpr):
        return emitter.emit("size", dim=value, dtype=i32 if like in (None, bool_) else like)
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


def _unary(op: str) -> Callable[[Any], Any]:
    return lambda a: current_emitter().emit(op, a)


def _comparison(op: str) -> Callable[[Any, Any], Any]:
    return functools.partial(binary, op)


def _arithmetic(op: str) -> Callable[[Any, Any], Any]:
    def of_numbers(a: Any, b: Any) -> Any:
        values = match(a, b)
        kind = current_emitter().type_of(values[0]).dtype
        counted = [cast(v, i32) for v in values] if kind is bool_ else values
        return current_emitter().emit(op, *counted)

    return of_numbers


def _true_divide(a: Any, b: Any) -> Any:
    values = match(a, b)
    kind = current_emitter().type_of(values[0]).dtype
    return current_emitter().emit("div", *(v if kind.is_float else cast(v, dtype_of(floatx())) for v in values))


def _logical(op: str) -> Callable[..., Any]:
    def of_bools(*values: Any) -> Any:
        return current_emitter().emit(op, *match(*(cast(lift(v), bool_) for v in values)))

    return of_bools


def matmul(a: Any, b: Any) -> Any:
    """Matrix product with NumPy's rules: leading axes broadcast, a vector counts as a row or column.

    Rank > 2 times rank 2 is one product of matrices: the leading axes become rows.
    """
    emitter = current_emitter()
    a, b = lift(a), lift(b)
    left, right = emitter.type_of(a), emitter.type_of(b)
    dtype = promote(left.dtype, right.dtype)
    a, b = cast(a, dtype), cast(b, dtype)
    if right.rank == 1:
        return subscript(matmul(a, subscript(b, (..., None))), (..., 0))
    if left.rank == 1:
        return subscript(matmul(subscript(a, None), b), (..., 0, slice(None)))
    rows: tuple[Any, ...] = left.shape[:-2]
    if left.rank > 2 and right.rank == 2:
        a = emitter.emit("reshape", a, shape=(product(left.shape[:-1]), left.shape[-1]))
        c = emitter.emit("matmul", a, b, transpose_a=False, transpose_b=False)
        return emitter.emit("reshape", c, shape=(*left.shape[:-1], right.shape[-1]))
    rows = broadcast_shapes(rows, right.shape[:-2])
    a, b = broadcast_to(a, rows + left.shape[-2:]), broadcast_to(b, rows + right.shape[-2:])
    return emitter.emit("matmul", a, b, transpose_a=False, transpose_b=False)


# What Python's operators compute, under the names that Keras and NumPy have for it.
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "add": _arithmetic("add"),
    "subtract": _arithmetic("sub"),
    "multiply": _arithmetic("mul"),
    "true_divide": _true_divide,
    "floor_divide": _arithmetic("floordiv"),
    "mod": _arithmetic("mod"),
    "power": _arithmetic("pow"),
    "matmul": matmul,
    "negative": _unary("neg"),
    "absolute": _unary("abs"),
    "less": _comparison("lt"),
    "less_equal": _comparison("le"),
    "greater": _comparison("gt"),
    "greater_equal": _comparison("ge"),
    "logical_and": _logical("logical_and"),
    "logical_or": _logical("logical_or"),
    "logical_xor": lambda a, b: current_emitter().emit("ne", *match(*(cast(lift(v), bool_) for v in (a, b)))),
    "logical_not": _logical("logical_not"),
    "get_item": subscript,
}
# NumPy's other names of these.
_NUMPY_NAMES = {"divide": "true_divide", "remainder": "mod", "bitwise_and": "logical_and", "bitwise_or": "logical_or"}


class Operators:
    """Python operators of symbolic tensors. Comparisons give bool tensors; `==` stays identity."""

    def operate(self, name: str, *operands: Any) -> Any:
        """The result of the operator that `FUNCTIONS` lists under `name`; `self` is one of the operands."""
        return FUNCTIONS[name](*operands)

    def __add__(self, other: Any) -> Any:
        return self.operate("add", self, other)

    def __radd__(self, other: Any) -> Any:
        return self.operate("add", other, self)

    def __sub__(self, other: Any) -> Any:
        return self.operate("subtract", self, other)

    def __rsub__(self, other: Any) -> Any:
        return self.operate("subtract", other, self)

    def __mul__(self, other: Any) -> Any:
        return self.operate("multiply", self, other)

    def __rmul__(self, other: Any) -> Any:
        return self.operate("multiply", other, self)

    def __truediv__(self, other: Any) -> Any:
        return self.operate("true_divide", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return self.operate("true_divide", other, self)

    def __floordiv__(self, other: Any) -> Any:
        return self.operate("floor_divide", self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return self.operate("floor_divide", other, self)

    def __mod__(self, other: Any) -> Any:
        return self.operate("mod", self, other)

    def __rmod__(self, other: Any) -> Any:
        return self.operate("mod", other, self)

    def __pow__(self, other: Any) -> Any:
        return self.operate("power", self, other)

    def __rpow__(self, other: Any) -> Any:
        return self.operate("power", other, self)

    def __matmul__(self, other: Any) -> Any:
        return self.operate("matmul", self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return self.operate("matmul", other, self)

    def __neg__(self) -> Any:
        return self.operate("negative", self)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return self.operate("absolute", self)

    def __lt__(self, other: Any) -> Any:
        return self.operate("less", self, other)

    def __le__(self, other: Any) -> Any:
        return self.operate("less_equal", self, other)

    def __gt__(self, other: Any) -> Any:
        return self.operate("greater", self, other)

    def __ge__(self, other: Any) -> Any:
        return self.operate("greater_equal", self, other)

    def __and__(self, other: Any) -> Any:
        return self.operate("logical_and", self, other)

    def __rand__(self, other: Any) -> Any:
        return self.operate("logical_and", other, self)

    def __or__(self, other: Any) -> Any:
        return self.operate("logical_or", self, other)

    def __ror__(self, other: Any) -> Any:
        return self.operate("logical_or", other, self)

    def __xor__(self, other: Any) -> Any:
        return self.operate("logical_xor", self, other)

    def __rxor__(self, other: Any) -> Any:
        return self.operate("logical_xor", other, self)

    def __invert__(self) -> Any:
        return self.operate("logical_not", self)

    def __getitem__(self, key: Any) -> Any:
        return self.operate("get_item", self, key)

    # --- what needs values, and a symbolic tensor has none ------------------------------------------------------------

    def __bool__(self) -> bool:
        raise SymbolicError("Python 'if' on a symbolic tensor; use ops.where/ops.cond")

    def __iter__(self) -> Any:
        raise SymbolicError("iteration over a symbolic tensor; use ops.unstack, or x[:, i] for i in range(x.shape[1])")

    def __len__(self) -> int:
        raise SymbolicError("len() of a symbolic tensor; use x.shape[0], or ops.shape(x)[0] for a size not known yet")

    def __int__(self) -> int:
        raise SymbolicError("int() of a symbolic tensor, which has no value yet; use ops.cast")

    def __float__(self) -> float:
        raise SymbolicError("float() of a symbolic tensor, which has no value yet; use ops.cast")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise SymbolicError("a NumPy array of a symbolic tensor, which has no value yet; use kgraph.ops")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """NumPy's arithmetic, with a NumPy number or array on the left, is that of the operator."""
        name = _NUMPY_NAMES.get(ufunc.__name__, ufunc.__name__)
        if name in FUNCTIONS and method == "__call__" and not kwargs:
            return self.operate(name, *inputs)
        raise SymbolicError(f"NumPy function on a symbolic tensor; use kgraph.ops.{ufunc.__name__}")

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        raise SymbolicError(f"NumPy function on a symbolic tensor; use kgraph.ops.{function.__name__}")
