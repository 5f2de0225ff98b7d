"""What ops have in common that take ids: places that are data, and stay inside whatever the data are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kgraph.ir import scalar
from kgraph.ir.dims import Dim, symbol
from kgraph.ir.dtypes import DType, bool_, i32, i64, u32
from kgraph.ir.loops import Accumulate, For, Init, Let, Stmt
from kgraph.ir.opdef import Array, LoopContext
from kgraph.ir.scalar import Const, Expr, IndexValue, Local, call, const
from kgraph.record import record


def wide(dtype: DType) -> DType:
    """An element type that holds every id of a type, and a size beside it: 300 must not wrap round in u8."""
    return i64 if dtype in (i64, u32) else i32


def within(value: Expr, last: Expr) -> Expr:
    """A value brought into 0 .. last."""
    return call("max", call("min", value, last), const(0, value.dtype))


def zero_of(dtype: DType) -> Const:
    """0 or False."""
    return const(False if dtype is bool_ else 0, dtype)


@record(eq=False)
class Place:
    """The place that an id names.

    Attributes:
        named: statements that come first.
        index: the place, brought into range.
        inside: whether the id was in range.
        rounds: number of rounds, 1 or 0, of a loop that looks there; None if there is always something to look at.
    """

    named: tuple[Stmt, ...]
    index: Dim
    inside: Expr
    rounds: Dim | None

    def element(
        self, context: LoopContext, value: Expr, use: Callable[[Expr], tuple[Stmt, ...]]
    ) -> tuple[Stmt, ...]:
        """Statements that use `value`, which was read at `index`, or 0 if the id was outside."""
        dtype = value.dtype
        if self.rounds is None:
            return use(call("select", self.inside, value, zero_of(dtype)))
        found, n = context.fresh("found"), context.fresh("n")
        neutral = const(-0.0, dtype) if dtype.is_float else zero_of(dtype)
        look = For(n, self.rounds, "serial", (Accumulate(found, "or" if dtype is bool_ else "add", value),))
        return Init(found, neutral), look, *use(call("select", self.inside, Local(found, dtype), zero_of(dtype)))


def place_of(context: LoopContext, id: Expr, size: Dim) -> Place:
    """The place of an id among `size` > 0 or symbolic."""
    dtype = wide(id.dtype)
    given, row, known = context.fresh("id"), context.fresh("row"), context.fresh("known")
    value, end = Local(given, dtype), IndexValue(size, dtype)
    inside = call("and", call("ge", value, const(0, dtype)), call("lt", value, end))
    named = Let(given, scalar.cast(id, dtype)), Let(row, within(value, IndexValue(size - 1, dtype)))
    if isinstance(size, int):
        return Place(named, symbol(row), inside, None)
    return Place((*named, Let(known, scalar.cast(inside, i32))), symbol(row), inside, symbol(known))


def place_or_end(context: LoopContext, id: Expr, size: Dim) -> tuple[tuple[Stmt, ...], Dim]:
    """Statements that name an id, and the name: `size` in the place of ids outside 0 .. size-1."""
    dtype = wide(id.dtype)
    given, row = context.fresh("id"), context.fresh("row")
    value, end = Local(given, dtype), IndexValue(size, dtype)
    inside = call("and", call("ge", value, const(0, dtype)), call("lt", value, end))
    return (Let(given, scalar.cast(id, dtype)), Let(row, call("select", inside, value, end))), symbol(row)


def some_ids(rng: np.random.Generator, shape: tuple[int, ...], size: int, dtype: DType = i32) -> Array:
    """Ids for samples, of which some are outside 0 .. size-1."""
    low = 0 if dtype.kind == "unsigned" else -1
    return np.asarray(rng.integers(low, min(size, 254) + 1, shape), dtype.to_numpy())
