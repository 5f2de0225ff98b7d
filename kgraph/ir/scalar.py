"""Expressions inside a kernel: what is computed for one element.

An expression is a tree of loads, constants, index values, locals and calls of scalar functions. The scalar functions
stand in one table, `FUNCTIONS`, with their NumPy meaning and the rule for their result type; code generation has one
rule for each name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, assert_never

import numpy as np
import numpy.typing as npt

from kgraph.ir.dims import Dim, Shape, symbols_of
from kgraph.ir.dtypes import DType, bool_, u32
from kgraph.ir.philox import philox2x32
from kgraph.record import record

Array: TypeAlias = "npt.NDArray[Any]"


@record
class Buffer:
    """A contiguous row-major array that a kernel reads or writes.

    Attributes:
        name: unique inside its kernel.
        dtype: element type.
        shape: sizes, maybe symbolic; a kernel may see an array under another shape of the same size.
        role: "in" is only read, "out" only written (or read back by the same kernel), "scratch" is private:
            each thread has its own, and uses it for one iteration of a parallel loop after the other.
    """

    name: str
    dtype: DType
    shape: Shape
    role: Literal["in", "out", "scratch"]


@record(eq=False)
class Load:
    """The element of `buffer` at `index`; each index is a polynomial over loop variables, sizes and integer Lets."""

    buffer: Buffer
    index: tuple[Dim, ...]

    @property
    def dtype(self) -> DType:
        """Element type of the value."""
        return self.buffer.dtype


@record(eq=False)
class Const:
    """A literal."""

    value: float | int | bool
    dtype: DType


@record(eq=False)
class IndexValue:
    """An index or size as a value of an integer or float type (wraps round for u32)."""

    index: Dim
    dtype: DType


@record(eq=False)
class Local:
    """The present value of a local of the kernel."""

    name: str
    dtype: DType


@record(eq=False)
class Call:
    """A scalar function applied to expressions; `dtype` is the result's element type."""

    function: str
    args: tuple[Expr, ...]
    dtype: DType


Expr: TypeAlias = "Load | Const | IndexValue | Local | Call"


@record
class ScalarFunction:
    """One entry of the table of scalar functions.

    Attributes:
        arity: number of operands.
        numpy: its meaning on arrays.
        result: "same" as the operands, "bool", or "second" (the type of the second operand, for select).
        cost: 0 free, 1 one instruction, 4 a division or root, 16 a transcendental; 16 is never computed twice.
    """

    arity: int
    numpy: Callable[..., Any]
    result: Literal["same", "bool", "second"] = "same"
    cost: int = 1


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), through tanh so that nothing overflows."""
    half = x.dtype.type(0.5)
    out: Array = half * np.tanh(half * x) + half
    return out


def erf(x: Array) -> Array:
    """Error function of an array; NumPy has none, so the C library's is called for each element."""
    return np.vectorize(math.erf, otypes=[x.dtype])(x) if x.size else x


def _philox(low: Array, high: Array, key: Array) -> Array:
    return philox2x32(low, high, key)[0]


FUNCTIONS: dict[str, ScalarFunction] = {
    "add": ScalarFunction(2, np.add),
    "sub": ScalarFunction(2, np.subtract),
    "mul": ScalarFunction(2, np.multiply),
    "div": ScalarFunction(2, np.divide, cost=4),
    "fma": ScalarFunction(3, lambda a, b, c: a * b + c, cost=2),  # in one rounding where the target has it; floats
    "floordiv": ScalarFunction(2, np.floor_divide, cost=4),
    "mod": ScalarFunction(2, np.mod, cost=4),
    "bitand": ScalarFunction(2, np.bitwise_and),
    "bitor": ScalarFunction(2, np.bitwise_or),
    "bitxor": ScalarFunction(2, np.bitwise_xor),
    "shl": ScalarFunction(2, np.left_shift),
    "shr": ScalarFunction(2, np.right_shift),
    "min": ScalarFunction(2, np.minimum),
    "max": ScalarFunction(2, np.maximum),
    "neg": ScalarFunction(1, np.negative),
    "abs": ScalarFunction(1, np.abs),
    "sign": ScalarFunction(1, np.sign),
    "floor": ScalarFunction(1, np.floor),
    "ceil": ScalarFunction(1, np.ceil),
    "round": ScalarFunction(1, np.round),
    "sqrt": ScalarFunction(1, np.sqrt, cost=4),
    "rsqrt": ScalarFunction(1, lambda x: x.dtype.type(1) / np.sqrt(x), cost=4),
    "exp": ScalarFunction(1, np.exp, cost=16),
    "expm1": ScalarFunction(1, np.expm1, cost=16),
    "log": ScalarFunction(1, np.log, cost=16),
    "log1p": ScalarFunction(1, np.log1p, cost=16),
    "tanh": ScalarFunction(1, np.tanh, cost=16),
    "sigmoid": ScalarFunction(1, sigmoid, cost=16),
    "erf": ScalarFunction(1, erf, cost=16),
    "sin": ScalarFunction(1, np.sin, cost=16),
    "cos": ScalarFunction(1, np.cos, cost=16),
    "atan": ScalarFunction(1, np.arctan, cost=16),
    "pow": ScalarFunction(2, np.power, cost=16),
    "eq": ScalarFunction(2, np.equal, "bool"),
    "ne": ScalarFunction(2, np.not_equal, "bool"),
    "lt": ScalarFunction(2, np.less, "bool"),
    "le": ScalarFunction(2, np.less_equal, "bool"),
    "gt": ScalarFunction(2, np.greater, "bool"),
    "ge": ScalarFunction(2, np.greater_equal, "bool"),
    "and": ScalarFunction(2, np.logical_and, "bool"),
    "or": ScalarFunction(2, np.logical_or, "bool"),
    "not": ScalarFunction(1, np.logical_not, "bool"),
    "isfinite": ScalarFunction(1, np.isfinite, "bool"),
    "select": ScalarFunction(3, np.where, "second"),
    "philox": ScalarFunction(3, _philox, cost=16),
}


def names_in(expr: Expr) -> set[str]:
    """Names of the locals, loop variables and sizes that an expression reads."""
    match expr:
        case Local():
            return {expr.name}
        case IndexValue():
            return symbols_of(expr.index)
        case Load():
            return set().union(*map(symbols_of, expr.index))
        case Call():
            return set().union(*map(names_in, expr.args))
        case Const():
            return set()
        case _:
            assert_never(expr)


def call(function: str, *args: Expr) -> Call:
    """Apply a scalar function of `FUNCTIONS`; operands must have one type (all but a select's condition)."""
    entry = FUNCTIONS[function]
    if len(args) != entry.arity:
        raise AssertionError(f"{function} takes {entry.arity} operands, got {len(args)}")
    alike = args[1:] if entry.result == "second" else args
    if len({a.dtype for a in alike}) != 1:
        raise AssertionError(f"{function}: operand types {[str(a.dtype) for a in args]} differ")
    dtype = {"same": alike[0].dtype, "bool": bool_, "second": alike[0].dtype}[entry.result]
    return Call(function, args, dtype)


def cast(value: Expr, dtype: DType) -> Expr:
    """Convert to another element type, as NumPy's astype does; float to integer truncates."""
    return value if value.dtype is dtype else Call("cast", (value,), dtype)


def const(value: float | int | bool, dtype: DType) -> Const:
    """A literal of type `dtype`."""
    return Const(value, dtype)


def philox(index: Dim, high: Expr, key: Expr) -> Expr:
    """32 random bits for the element with flat index `index`; `high` and `key` are u32."""
    return call("philox", IndexValue(index, u32), high, key)
