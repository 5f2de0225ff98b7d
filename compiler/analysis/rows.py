"""Kernels none of whose rows depends on another one, such as a loop over time round products and cells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeGuard

from kgraph.compiler.analysis.kernels import expressions, statements
from kgraph.ir.dims import Dim, symbol
from kgraph.ir.loops import Contract, For, Matrix, Stmt, Store
from kgraph.ir.scalar import Buffer, Load

# A buffer and the axes of an index that are the row.
_Access = tuple[Buffer, set[int]]


def row_statements(body: Sequence[Stmt]) -> tuple[For | Contract, ...] | None:
    """The loops and products over rows that a body consists of, also inside serial loops, if each row is a matter of
    its own: whatever the body writes, it reads and writes at the row's own index along one axis. None otherwise.

    Parts that each do some rows, the same ones in all these statements, need not wait for each other.
    """
    found = _over_rows(body)
    if not found or len({_rows(stmt) for stmt in found}) > 1 or _rows(found[0]) in (0, 1):
        return None
    written = {s.buffer for s in statements(body) if isinstance(s, Store)}
    axes: dict[Buffer, set[int]] = {}
    for stmt in found:
        for buffer, own in _accesses(stmt):
            axes[buffer] = axes.get(buffer, own) & own
    return None if any(buffer in written and not own for buffer, own in axes.items()) else found


def _rows(stmt: For | Contract) -> Dim:
    return stmt.extent if isinstance(stmt, For) else stmt.m


def _over_rows(body: Sequence[Stmt]) -> tuple[For | Contract, ...] | None:
    """The parallel loops and products inside serial loops; None if there is anything else."""
    found: list[For | Contract] = []
    for stmt in body:
        if isinstance(stmt, For) and stmt.kind == "serial":
            inner = _over_rows(stmt.body)
            if inner is None:
                return None
            found += inner
        elif _is_plain(stmt):
            found.append(stmt)
        else:
            return None
    return tuple(found)


def _is_plain(stmt: Stmt) -> TypeGuard[For | Contract]:
    if isinstance(stmt, Contract):
        return isinstance(stmt.a, Matrix)
    return isinstance(stmt, For) and stmt.kind == "parallel" and not _products(stmt.body)


def _products(body: Sequence[Stmt]) -> bool:
    return any(isinstance(stmt, Contract) for stmt in statements(body))


def _accesses(stmt: For | Contract) -> Iterator[_Access]:
    """What one statement reads and writes."""
    row = symbol(stmt.var if isinstance(stmt, For) else stmt.row)
    places = [(e.buffer, e.index) for e in expressions(stmt.body) if isinstance(e, Load)]
    places += [(s.buffer, s.index) for s in statements(stmt.body) if isinstance(s, Store)]
    for buffer, index in places:
        yield buffer, {axis for axis, at in enumerate(index) if at == row}
    if isinstance(stmt, Contract):
        assert isinstance(stmt.a, Matrix)
        yield stmt.a.buffer, {len(stmt.a.buffer.shape) - (1 if stmt.a.transposed else 2)}
        yield stmt.b.buffer, set()
