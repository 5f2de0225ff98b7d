"""Which part of a kernel several threads can share, and how much work it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import dropwhile

from kgraph.compiler.analysis.kernels import expressions, statements
from kgraph.compiler.analysis.loop_facts import accumulated
from kgraph.compiler.analysis.rows import row_statements
from kgraph.ir.dims import Dim, substitute, symbols_of
from kgraph.ir.loops import Contract, For, Kernel, Let, Stmt, Store
from kgraph.ir.scalar import FUNCTIONS, Call, Load
from kgraph.record import record

# Work is counted in 1/16 of a core's cycle: a multiplication and addition of a matrix product is 1.
_PER_INSTRUCTION = 2  # for each element of a loop that runs on vectors of eight
_PER_ACCESS = 4


@record(eq=False)
class Division:
    """How parts of the work share a kernel.

    Attributes:
        statements: those that are divided; none if the kernel runs in one piece.
        rows: number of the rows that all of them divide alike; None if each one is divided for itself.
    """

    statements: tuple[Stmt, ...] = ()
    rows: Dim | None = None


UNDIVIDED = Division()


def divide(kernel: Kernel) -> Division:
    """How parts of the work share a kernel. Only iterations that do not depend on each other are divided, never a
    sum: so the results do not depend on the parts.

    Either all loops and matrix products of the body are divided, each for itself, after values that every part
    computes; none of them reads what another one writes. Or no row of what the kernel writes depends on another row,
    whatever serial loops run them: then each part does all the work on some rows.
    """
    divided = tuple(dropwhile(lambda stmt: isinstance(stmt, Let), kernel.body))
    if all(_divisible(stmt) for stmt in divided) and not (len(divided) > 1 and _depend(divided)):
        return Division(divided)
    rows = row_statements(divided)
    if rows is None:
        return UNDIVIDED
    return Division(rows, rows[0].extent if isinstance(rows[0], For) else rows[0].m)


def _divisible(stmt: Stmt) -> bool:
    if isinstance(stmt, Contract):
        return True
    if not isinstance(stmt, For) or stmt.kind not in ("parallel", "vector") or accumulated(stmt.body):
        return False
    return stmt.extent not in (0, 1)


def _depend(body: Sequence[Stmt]) -> bool:
    """Whether a statement reads a buffer that a statement writes, but for the private memory of products."""
    found = list(statements(body))
    written = {stmt.buffer for stmt in found if isinstance(stmt, Store)}
    read = {expr.buffer for expr in expressions(body) if isinstance(expr, Load)}
    read |= {operand.buffer for stmt in found if isinstance(stmt, Contract) for operand in (stmt.a, stmt.b)}
    return not written.isdisjoint(read)


def work(kernel: Kernel) -> Dim:
    """Rough cost of a kernel that can be split, in 1/16 cycles of one core; 0 for others."""
    # How long loops are whose extents are data is not known: they count as one round.
    lets: dict[str, Dim] = {s.name: 1 for s in statements(kernel.body) if isinstance(s, Let)}
    divided = divide(kernel).statements
    return _cost([s for s in kernel.body if not isinstance(s, Let)], lets) if divided else 0


def _cost(body: Sequence[Stmt], largest: Mapping[str, Dim]) -> Dim:
    """Cost of a body; `largest` are the bounds of names from outside, on which extents may depend."""
    plain = [s for s in body if not isinstance(s, For | Contract)]
    total: Dim = _element(plain) if plain else 0
    for stmt in body:
        if isinstance(stmt, For):
            extent = _bounded(stmt.extent, largest)
            total = total + extent * _cost(stmt.body, {**largest, stmt.var: extent})
        elif isinstance(stmt, Contract):
            m, n, k = (_bounded(d, largest) for d in (stmt.m, stmt.n, stmt.k))
            total = total + n * k * _PER_ACCESS + m * n * (k + _cost(stmt.body, largest))
    return total


def _bounded(dim: Dim, largest: Mapping[str, Dim]) -> Dim:
    return substitute(dim, {var: bound for var, bound in largest.items() if var in symbols_of(dim)})


def _element(plain: Sequence[Stmt]) -> int:
    found = list(expressions(plain))
    calls = [e.function for e in found if isinstance(e, Call)]
    price = sum(FUNCTIONS[name].cost if name in FUNCTIONS else 1 for name in calls)
    accesses = sum(isinstance(e, Load) for e in found) + sum(isinstance(s, Store) for s in statements(plain))
    return _PER_INSTRUCTION * price + _PER_ACCESS * accesses
