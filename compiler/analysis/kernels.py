"""Walking over kernels: their statements, expressions, buffers and sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kgraph.ir.dims import Dim, symbols_of
from kgraph.ir.loops import Contract, For, Let, Matrix, Stmt, Store
from kgraph.ir.scalar import Buffer, Call, Expr, IndexValue, Load


def statements(body: Sequence[Stmt]) -> Iterator[Stmt]:
    """Every statement, outer before inner."""
    for stmt in body:
        yield stmt
        if isinstance(stmt, For | Contract):
            yield from statements(stmt.body)


def subexpressions(roots: Sequence[Expr]) -> Iterator[Expr]:
    """Every distinct expression inside `roots`, and the roots."""
    pending, seen = list(roots), set[int]()
    while pending:
        expr = pending.pop()
        if id(expr) in seen:
            continue
        seen.add(id(expr))
        yield expr
        if isinstance(expr, Call):
            pending += expr.args


def expressions(body: Sequence[Stmt]) -> Iterator[Expr]:
    """Every distinct expression of every statement."""
    return subexpressions([s.value for s in statements(body) if not isinstance(s, For | Contract)])


def buffers_of(body: Sequence[Stmt]) -> set[Buffer]:
    """Buffers that statements load from, store to or multiply."""
    found = {e.buffer for e in expressions(body) if isinstance(e, Load)}
    for stmt in statements(body):
        if isinstance(stmt, Store):
            found.add(stmt.buffer)
        elif isinstance(stmt, Contract):
            found |= {stmt.a.buffer, stmt.b.buffer, stmt.scratch, *([stmt.packed] if stmt.packed else [])}
    return found


def size_names(buffers: Sequence[Buffer], body: Sequence[Stmt]) -> tuple[str, ...]:
    """Symbolic sizes that a kernel needs: those of its buffers, extents, indices and index values, in order."""
    dims: list[Dim] = [dim for buffer in buffers for dim in buffer.shape]
    variables: set[str] = set()
    for stmt in statements(body):
        match stmt:
            case For():
                variables.add(stmt.var)
                dims.append(stmt.extent)
            case Contract():
                variables |= {stmt.row, stmt.col, *(var for var, _ in (*stmt.rows, *stmt.over))}
                dims += [stmt.m, stmt.n, stmt.k]
                for operand in (stmt.a, stmt.b):
                    dims += operand.batch if isinstance(operand, Matrix) else operand.index
            case Let():
                variables.add(stmt.name)
            case Store():
                dims += stmt.index
            case _:
                pass
    for expr in expressions(body):
        if isinstance(expr, IndexValue):
            dims.append(expr.index)
        elif isinstance(expr, Load):
            dims += expr.index
    names = dict.fromkeys(name for dim in dims for name in sorted(symbols_of(dim)))
    return tuple(n for n in names if n not in variables)
