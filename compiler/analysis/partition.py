"""Which part of a kernel several threads can share, and how much work it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kgraph.compiler.analysis.kernels import expressions, statements
from kgraph.compiler.analysis.loop_facts import accumulated
from kgraph.ir.dims import Dim, substitute, symbols_of
from kgraph.ir.loops import Contract, For, Kernel, Let, Stmt, Store
from kgraph.ir.scalar import FUNCTIONS, Call, Load

# Work is counted in 1/16 of a core's cycle: a multiplication and addition of a matrix product is 1.
_PER_INSTRUCTION = 2  # for each element of a loop that runs on vectors of eight
_PER_ACCESS = 4


def split_statement(kernel: Kernel) -> For | Contract | None:
    """The statement that parts of the work divide among themselves; None if the kernel runs in one piece.

    It is the only loop or matrix product of the body, after values that every part computes for itself. Only
    iterations that do not depend on each other are divided, never a sum: so the results do not depend on the parts.
    """
    *before, last = kernel.body
    if not all(isinstance(stmt, Let) for stmt in before):
        return None
    if isinstance(last, Contract):
        return last
    if not isinstance(last, For) or last.kind not in ("parallel", "vector") or accumulated(last.body):
        return None
    return None if last.extent in (0, 1) else last


def work(kernel: Kernel) -> Dim:
    """Rough cost of a kernel that can be split, in 1/16 cycles of one core; 0 for others."""
    split = split_statement(kernel)
    return 0 if split is None else _cost((split,), {})


def _cost(body: Sequence[Stmt], largest: Mapping[str, Dim]) -> Dim:
    """Cost of a body; `largest` are the bounds of loop variables outside, on which extents may depend."""
    plain = [s for s in body if not isinstance(s, For | Contract)]
    total: Dim = _element(plain) if plain else 0
    for stmt in body:
        if isinstance(stmt, For):
            extent = _bounded(stmt.extent, largest)
            total = total + extent * _cost(stmt.body, {**largest, stmt.var: extent})
        elif isinstance(stmt, Contract):
            m, n, k = (_bounded(d, largest) for d in (stmt.m, stmt.n, stmt.k))
            total = total + m * n * (k + _cost(stmt.body, largest))
    return total


def _bounded(dim: Dim, largest: Mapping[str, Dim]) -> Dim:
    return substitute(dim, {var: bound for var, bound in largest.items() if var in symbols_of(dim)})


def _element(plain: Sequence[Stmt]) -> int:
    found = list(expressions(plain))
    calls = [e.function for e in found if isinstance(e, Call)]
    price = sum(FUNCTIONS[name].cost if name in FUNCTIONS else 1 for name in calls)
    accesses = sum(isinstance(e, Load) for e in found) + sum(isinstance(s, Store) for s in statements(plain))
    return _PER_INSTRUCTION * price + _PER_ACCESS * accesses
