"""Loops beside each other over the same memory become one, which reads and computes once what they have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import replace

from kgraph.compiler.analysis.kernels import expressions, statements
from kgraph.compiler.analysis.loop_facts import accumulated, changed, cost
from kgraph.compiler.analysis.structure import attr_key
from kgraph.compiler.analysis.sums import order_of_sums
from kgraph.compiler.loops.rewriting import Rewriter
from kgraph.ir.dims import Dim, substitute, symbol, symbols_of
from kgraph.ir.loops import Contract, For, Kernel, Stmt
from kgraph.ir.scalar import Buffer, Call, Const, Expr, IndexValue, Load, names_in

# Sums of one vector loop: four vectors of each stay in registers.
MOST_SUMS = 4


def fuse_loops(kernel: Kernel) -> Kernel:
    """Join loops of one body that run over the same range, read a buffer in common, accumulate, and do not need each
    other. What sums add up, and in which order, stays as it was.

    Before: init a; for i { a += x[i] }; store y = a; init b; for j { b += x[j] * x[j] }; store z = b
    After:  init a; init b; for i { a += x[i]; b += x[i] * x[i] }; store y = a; store z = b

    A kernel with nothing to join comes back as it is.
    """
    body = _fused(kernel.body)
    return kernel if body == kernel.body else replace(kernel, body=body)


def _fused(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """A body with its loops joined, and those inside them."""
    joined = _with_joined_loops(body) if sum(isinstance(s, For) for s in body) > 1 else body
    return tuple(_inside(stmt) if isinstance(stmt, For) else stmt for stmt in joined)


def _inside(loop: For) -> For:
    body = _fused(loop.body)
    return loop if body == loop.body else replace(loop, body=body)


def _with_joined_loops(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    if any(isinstance(stmt, Contract) for stmt in statements(body)):
        return body
    ordered: list[Stmt] = []
    for stage in _stages(body):
        plain = [stmt for stmt in stage if not isinstance(stmt, For)]
        groups: list[list[For]] = []
        for loop in (stmt for stmt in stage if isinstance(stmt, For)):
            fitting = [group for group in groups if _fits(group, loop)]
            if fitting:
                max(fitting, key=lambda group: sum(cost(other.body) for other in group)).append(loop)
            else:
                groups.append([loop])
        ordered += [*plain, *(_one(group) for group in groups)]
    return tuple(ordered) if len(ordered) < len(body) else body


def _stages(body: Sequence[Stmt]) -> list[list[Stmt]]:
    """The statements in an order that keeps their meaning: each stage ends with loops that do not need each other."""
    stages: list[list[Stmt]] = []
    before: list[tuple[Stmt, int, set[str], frozenset[str]]] = []
    for stmt in body:
        reads, writes = _read(stmt), changed((stmt,))
        stage = 0
        for other, at, read, written in before:
            if not (written.isdisjoint(reads | writes) and read.isdisjoint(writes)):
                stage = max(stage, at + isinstance(other, For))
        before.append((stmt, stage, reads, writes))
        while len(stages) <= stage:
            stages.append([])
        stages[stage].append(stmt)
    return stages


def _read(stmt: Stmt) -> set[str]:
    """What a statement reads: "%" and the name of a local, or "@" and the name of a buffer."""
    found = {"@" + e.buffer.name for e in expressions((stmt,)) if isinstance(e, Load)}
    names = set().union(*(names_in(e) for e in expressions((stmt,))))
    for inner in statements((stmt,)):
        if isinstance(inner, For):
            names |= symbols_of(inner.extent)
        elif not isinstance(inner, Contract):
            names |= set().union(*map(symbols_of, getattr(inner, "index", ())))
    return found | {"%" + name for name in names}


def _fits(group: Sequence[For], loop: For) -> bool:
    """Whether a loop may run in the rounds of others that do not need it."""
    first = group[0]
    if loop.extent != first.extent or loop.kind != first.kind or loop.kind in ("parallel", "unroll"):
        return False
    together = [stmt for other in (*group, loop) for stmt in other.body]
    sums = accumulated(together)
    if not sums or not any(_buffers(loop) & _buffers(other) for other in group):
        return False
    if loop.kind != "vector":
        return True
    orders = {order_of_sums(other) for other in (*group, loop) if accumulated(other.body)}
    return len(sums) <= MOST_SUMS and orders == {order_of_sums(_one([*group, loop]))}


def _buffers(loop: For) -> set[Buffer]:
    return {e.buffer for e in expressions(loop.body) if isinstance(e, Load)}


def _one(group: Sequence[For]) -> For:
    """One loop of several, in which equal expressions are one object."""
    first = group[0]
    if len(group) == 1:
        return first
    known: dict[Hashable, Expr] = {}
    body: list[Stmt] = []
    for loop in group:
        own = _Interning(loop.var, first.var, {}).body(loop.body)
        body += _Contracting(_read_once(own), known).body(own)
    return replace(first, body=tuple(body))


class _Interning(Rewriter):
    """Renames a variable, and makes equal expressions one object: it is computed once."""

    def __init__(self, old: str, new: str, known: dict[Hashable, Expr]) -> None:
        def renamed(dim: Dim) -> Dim:
            return substitute(dim, {old: symbol(new)}) if old != new else dim

        super().__init__(renamed, lambda buffer, index: (buffer, tuple(map(renamed, index))))
        self._known = known

    def _expr(self, expr: Expr) -> Expr:
        return self._interned(super()._expr(expr))

    def _interned(self, expr: Expr) -> Expr:
        return self._known.setdefault(_key(expr), expr)


class _Contracting(_Interning):
    """Writes out which products join a sum in one rounding: LLVM decides by how many read them, and loops that have
    been joined have more readers."""

    def __init__(self, single: set[int], known: dict[Hashable, Expr]) -> None:
        """`single` are the ids of products with one reader."""
        super().__init__("", "", known)
        self._single = single

    def _expr(self, expr: Expr) -> Expr:
        made = super()._expr(expr)
        if not isinstance(expr, Call) or not isinstance(made, Call) or expr.function not in ("add", "sub"):
            return made
        (a, b), minus = made.args, expr.function == "sub"
        if isinstance(a, Call) and id(expr.args[0]) in self._single:
            parts = (*a.args, self._negative(b) if minus else b)
        elif isinstance(b, Call) and id(expr.args[1]) in self._single:
            parts = (self._negative(b.args[0]) if minus else b.args[0], b.args[1], a)
        else:
            return made
        return self._interned(Call("fma", parts, expr.dtype))

    def _negative(self, expr: Expr) -> Expr:
        return self._interned(Call("neg", (expr,), expr.dtype))


def _read_once(body: Sequence[Stmt]) -> set[int]:
    """Ids of the products of floats that one expression reads, once, and no statement."""
    readers: Counter[int] = Counter(id(arg) for e in expressions(body) if isinstance(e, Call) for arg in e.args)
    readers.update(id(s.value) for s in statements(body) if not isinstance(s, For | Contract))
    products = (e for e in expressions(body) if isinstance(e, Call) and e.function == "mul" and e.dtype.is_float)
    return {id(e) for e in products if readers[id(e)] == 1}


def _key(expr: Expr) -> Hashable:
    match expr:
        case Load():
            return (expr.buffer, expr.index)
        case Call():
            return (expr.function, tuple(map(id, expr.args)), expr.dtype)
        case Const():
            return (attr_key(expr.value), expr.dtype)
        case IndexValue():
            return ("index", expr.index, expr.dtype)
        case _:
            return (expr.name, expr.dtype)
