"""Facts about kernels that loop passes and code generation ask for: places, strides, what changes, what it costs."""

from __future__ import annotations

from collections.abc import Sequence

from kgraph.compiler.analysis.kernels import expressions, statements, subexpressions
from kgraph.ir.dims import Dim, DimExpr, FloorDiv, product, symbols_of
from kgraph.ir.dtypes import DType
from kgraph.ir.loops import Accumulate, Combine, Contract, For, Init, Let, Stmt, Store
from kgraph.ir.scalar import FUNCTIONS, Buffer, Call, Const, Expr, IndexValue, Load, Local, names_in


def flat_index(buffer: Buffer, index: tuple[Dim, ...]) -> Dim:
    """Position of an element in the row-major array."""
    flat: Dim = 0
    step: Dim = 1
    for at, extent in zip(reversed(index), reversed(buffer.shape), strict=True):
        flat = flat + at * step
        step = step * extent
    return flat


def accesses(body: Sequence[Stmt]) -> list[tuple[Buffer, Dim]]:
    """Buffer and flat index of every load and store inside a body."""
    found = [(e.buffer, flat_index(e.buffer, e.index)) for e in expressions(body) if isinstance(e, Load)]
    found += [(s.buffer, flat_index(s.buffer, s.index)) for s in statements(body) if isinstance(s, Store)]
    return found


def accumulated(body: Sequence[Stmt]) -> dict[str, tuple[Combine, DType]]:
    """Locals that a body accumulates into without starting them, in order of appearance."""
    found: dict[str, tuple[Combine, DType]] = {}
    started: set[str] = set()
    for stmt in statements(body):
        if isinstance(stmt, Init):
            started.add(stmt.name)
        elif isinstance(stmt, Accumulate) and stmt.name not in started:
            found.setdefault(stmt.name, (stmt.combine, stmt.value.dtype))
    return found


def data_dependent(body: Sequence[Stmt], var: str) -> frozenset[str]:
    """Locals of a loop's body that stand in its indices or extents, and differ between rounds of the loop's variable.

    The position of `%x[r]` in `let r: i32 = %ids[i]` says nothing about how it moves with i.
    """
    found = list(statements(body))
    lets = {s.name for s in found if isinstance(s, Let) and s.value.dtype.is_integer}
    if not lets:
        return frozenset()
    named = {name for s in found if isinstance(s, For) for name in symbols_of(s.extent)}
    named |= {name for _, flat in accesses(body) for name in symbols_of(flat)}
    named |= {name for e in expressions(body) if isinstance(e, IndexValue) for name in symbols_of(e.index)}
    return frozenset(lets & named & _varying(found, {var, *accumulated(body)}))


def _varying(found: Sequence[Stmt], varying: set[str]) -> set[str]:
    """`varying` and all locals and loop variables of statements whose values follow from those."""
    written = {s.buffer for s in found if isinstance(s, Store)}
    size = -1
    while len(varying) != size:
        size = len(varying)
        for stmt in found:
            if isinstance(stmt, For):
                if not varying.isdisjoint(symbols_of(stmt.extent)):
                    varying.add(stmt.var)
            elif isinstance(stmt, Let | Init | Accumulate):
                reads = {e.buffer for e in subexpressions([stmt.value]) if isinstance(e, Load)}
                if not (varying.isdisjoint(names_in(stmt.value)) and written.isdisjoint(reads)):
                    varying.add(stmt.name)
    return varying


def changed(body: Sequence[Stmt]) -> frozenset[str]:
    """What a body changes: "%" and the name of a local, "@" and the name of a buffer."""
    names: set[str] = set()
    for stmt in statements(body):
        if isinstance(stmt, Store):
            names.add("@" + stmt.buffer.name)
        elif isinstance(stmt, Let | Init | Accumulate):
            names.add("%" + stmt.name)
        elif isinstance(stmt, Contract):
            names |= {"%" + stmt.acc, "@" + stmt.scratch.name}
    return frozenset(names)


def cost(body: Sequence[Stmt]) -> int:
    """Rough number of instructions of one run of a body, loops taken once."""
    calls = (e.function for e in expressions(body) if isinstance(e, Call))
    return sum(FUNCTIONS[name].cost if name in FUNCTIONS else 1 for name in calls)


def stride(flat: Dim, var: str) -> Dim | None:
    """How far `flat` moves when `var` grows by one; None if that is not the same everywhere.

    >>> from kgraph.ir.dims import symbol
    >>> stride(symbol("i") * 7 + symbol("j"), "i")
    7
    """
    if isinstance(flat, int) or var not in symbols_of(flat):
        return 0
    step: Dim = 0
    for monomial, factor in flat.terms:
        touching = [a for a in monomial if a == var or (isinstance(a, FloorDiv) and var in symbols_of(a.numerator))]
        if touching:
            if touching != [var]:
                return None
            rest = tuple(a for a in monomial if a != var)
            step = step + (DimExpr(((rest, factor),)) if rest else factor)
    return step


class Uses:
    """What expressions depend on, remembered by object: loop variables and sizes, "%local", "@buffer"."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Expr, frozenset[str]]] = {}

    def of(self, expr: Expr) -> frozenset[str]:
        """Names that the value of an expression depends on."""
        found = self._known.get(id(expr))
        if found is None:
            found = self._known[id(expr)] = (expr, self._find(expr))
        return found[1]

    def _find(self, expr: Expr) -> frozenset[str]:
        if isinstance(expr, Const):
            return frozenset()
        if isinstance(expr, Local):
            return frozenset(("%" + expr.name,))
        if isinstance(expr, IndexValue):
            return frozenset(symbols_of(expr.index))
        if isinstance(expr, Load):
            indices = [symbols_of(d) for d in expr.index]
            return frozenset({"@" + expr.buffer.name}.union(*indices, symbols_of(product(expr.buffer.shape))))
        return frozenset().union(*(self.of(a) for a in expr.args))
