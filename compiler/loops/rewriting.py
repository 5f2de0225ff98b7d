"""Rebuild loop bodies with other indices; expressions that are one object stay one object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from kgraph.ir.dims import Dim
from kgraph.ir.loops import Accumulate, Contract, For, Init, Let, Stmt, Store
from kgraph.ir.scalar import Buffer, Call, Expr, IndexValue, Load

Place = tuple[Buffer, tuple[Dim, ...]]


class Rewriter:
    """Maps index polynomials, and the places of loads and stores."""

    def __init__(self, dim: Callable[[Dim], Dim], place: Callable[[Buffer, tuple[Dim, ...]], Place]) -> None:
        self._dim = dim
        self._place = place
        self._done: dict[int, tuple[Expr, Expr]] = {}

    def body(self, body: Sequence[Stmt]) -> tuple[Stmt, ...]:
        """A body with every statement rewritten; it may not hold matrix products."""
        return tuple(self._statement(stmt) for stmt in body)

    def _statement(self, stmt: Stmt) -> Stmt:
        match stmt:
            case For():
                return replace(stmt, extent=self._dim(stmt.extent), body=self.body(stmt.body))
            case Store():
                buffer, index = self._place(stmt.buffer, stmt.index)
                return Store(buffer, index, self.expr(stmt.value))
            case Let() | Init() | Accumulate():
                return replace(stmt, value=self.expr(stmt.value))
            case Contract():
                raise AssertionError("a matrix product needs its operands' shapes")

    def expr(self, expr: Expr) -> Expr:
        """The rewritten expression."""
        found = self._done.get(id(expr))
        if found is None:
            found = self._done[id(expr)] = (expr, self._expr(expr))
        return found[1]

    def _expr(self, expr: Expr) -> Expr:
        match expr:
            case Load():
                return Load(*self._place(expr.buffer, expr.index))
            case IndexValue():
                return IndexValue(self._dim(expr.index), expr.dtype)
            case Call():
                return Call(expr.function, tuple(self.expr(a) for a in expr.args), expr.dtype)
            case _:
                return expr
