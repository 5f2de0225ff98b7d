"""Choose the loop of each nest whose neighbouring iterations run at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from kgraph.compiler.analysis.kernels import expressions, statements
from kgraph.compiler.analysis.loop_facts import accesses, accumulated, data_dependent, stride
from kgraph.ir.dims import Dim, symbols_of
from kgraph.ir.loops import Contract, For, Init, Kernel, Stmt, Store
from kgraph.ir.scalar import Local

# A vector of neighbours is one load or store; a repeated element is one too; others are moved one by one.
_NEIGHBOUR, _SAME, _APART = 3, 1, -2


def vectorize(kernel: Kernel) -> Kernel:
    """Make one loop of each nest a vector loop, where none is one yet and the iterations do not depend on each other.

    The loop with the most accesses to neighbouring elements is taken; of equals the innermost. A kernel where no loop
    is left to choose comes back as it is.
    """
    body = tuple(_nest(stmt) for stmt in kernel.body)
    return kernel if body == kernel.body else replace(kernel, body=body)


def _nest(stmt: Stmt) -> Stmt:
    """A loop with the best loop of each of its nests marked."""
    if not isinstance(stmt, For) or stmt.kind == "vector":
        return stmt
    inside = [s for s in statements(stmt.body) if isinstance(s, For | Contract)]
    if any(isinstance(s, Contract) or s.kind == "vector" for s in inside):
        return _inside(stmt)
    choices = [(_score(loop), depth, loop) for depth, loop in _loops(stmt, 0) if _legal(loop)]
    if not choices:
        return _inside(stmt)
    best = max(choices, key=lambda choice: choice[:2])[2]
    return _marked(stmt, best)


def _inside(loop: For) -> For:
    body = tuple(_nest(stmt) for stmt in loop.body)
    return loop if body == loop.body else replace(loop, body=body)


def _marked(stmt: Stmt, chosen: For) -> Stmt:
    """`stmt` with the loop `chosen` a vector loop, and the nests beside it looked at for themselves."""
    if stmt is chosen:
        return replace(chosen, kind="vector", body=tuple(_serial(s) for s in chosen.body))
    if not isinstance(stmt, For):
        return stmt
    if not any(s is chosen for s in statements(stmt.body)):
        return _nest(stmt)
    return replace(stmt, body=tuple(_marked(s, chosen) for s in stmt.body))


def _serial(stmt: Stmt) -> Stmt:
    if not isinstance(stmt, For):
        return stmt
    return replace(stmt, kind="serial", body=tuple(_serial(s) for s in stmt.body))


def _loops(loop: For, depth: int) -> Iterator[tuple[int, For]]:
    yield depth, loop
    for stmt in loop.body:
        if isinstance(stmt, For):
            yield from _loops(stmt, depth + 1)


def _score(loop: For) -> int:
    steps = [stride(flat, loop.var) for _, flat in accesses(loop.body)]
    return sum(_NEIGHBOUR if step == 1 else _SAME if step == 0 else _APART for step in steps)


def _legal(loop: For) -> bool:
    """Whether the iterations of a loop may run at once."""
    if loop.kind == "unroll" or loop.extent in (0, 1):
        return False
    inner = [s for s in statements(loop.body) if isinstance(s, For)]
    if any(loop.var in symbols_of(s.extent) for s in inner) or (inner and loop.kind != "parallel"):
        return False
    if data_dependent(loop.body, loop.var):
        return False
    sums = accumulated(loop.body)
    if any(isinstance(e, Local) and e.name in sums for e in expressions(loop.body)):
        return False
    if any(s.name in sums for s in statements(loop.body) if isinstance(s, Init)):
        return False
    return _writes_apart(loop)


def _writes_apart(loop: For) -> bool:
    """Whether each iteration writes places of its own, and reads none that another one writes."""
    stores = [s.buffer for s in statements(loop.body) if isinstance(s, Store)]
    if loop.kind == "parallel":  # but private memory is for one iteration after the other
        stores = [buffer for buffer in stores if buffer.role == "scratch"]
    written = {buffer.name for buffer in stores}
    places: dict[str, set[Dim]] = {}
    for buffer, flat in accesses(loop.body) if written else ():
        places.setdefault(buffer.name, set()).add(flat)
    return all(len(places[name]) == 1 and all(_moves(flat, loop.var) for flat in places[name]) for name in written)


def _moves(flat: Dim, var: str) -> bool:
    step = stride(flat, var)
    return step is not None and step != 0
