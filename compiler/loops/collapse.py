"""Join perfectly nested loops over contiguous memory into one: fewer, longer loops for the vector unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kgraph.compiler.analysis.kernels import expressions, statements
from kgraph.compiler.analysis.loop_facts import accesses, accumulated, data_dependent, flat_index, stride
from kgraph.compiler.loops.rewriting import Rewriter
from kgraph.ir.dims import Dim, product, substitute, symbols_of
from kgraph.ir.loops import Contract, For, Kernel, LoopKind, Stmt, Store
from kgraph.ir.scalar import Buffer, IndexValue


def collapse(kernel: Kernel) -> Kernel:
    """Join every loop with the one loop that is its whole body, where each place depends on both as on one index.

    Buffers become one-dimensional. A kernel with nothing to join, or with a matrix product, comes back as it is.
    """
    if any(isinstance(s, Contract) for s in statements(kernel.body)):
        return kernel
    body = _without_single_rounds(kernel.body)
    if not any(isinstance(s, For) and _joins(s, _only_loop(s)) for s in statements(body)):
        return kernel
    lines = {b.name: replace(b, shape=(product(b.shape),)) for b in kernel.buffers}

    def flat(buffer: Buffer, index: tuple[Dim, ...]) -> tuple[Buffer, tuple[Dim, ...]]:
        return lines[buffer.name], (flat_index(buffer, index),)

    body = _collapsed(Rewriter(lambda dim: dim, flat).body(body))
    return replace(kernel, buffers=tuple(lines.values()), body=body)


def _without_single_rounds(body: Sequence[Stmt]) -> tuple[Stmt, ...]:
    """A body whose loops of one round are replaced by what they run."""
    out: list[Stmt] = []
    for stmt in body:
        if not isinstance(stmt, For):
            out.append(stmt)
        elif stmt.extent == 1:
            out += _without_single_rounds(_first_round(stmt.var).body(stmt.body))
        else:
            out.append(replace(stmt, body=_without_single_rounds(stmt.body)))
    return tuple(out)


def _first_round(var: str) -> Rewriter:
    """Puts 0 in the place of a loop variable."""

    def first(dim: Dim) -> Dim:
        return substitute(dim, {var: 0})

    return Rewriter(first, lambda buffer, index: (buffer, tuple(first(d) for d in index)))


def _only_loop(loop: For) -> For | None:
    only = loop.body[0] if len(loop.body) == 1 else None
    return only if isinstance(only, For) else None


def _collapsed(body: Sequence[Stmt]) -> tuple[Stmt, ...]:
    return tuple(_joined(replace(s, body=_collapsed(s.body))) if isinstance(s, For) else s for s in body)


def _joined(loop: For) -> For:
    """The loop joined with the loop inside, which is as long as it can be already."""
    inner = _only_loop(loop)
    if inner is None or not _joins(loop, inner):
        return loop
    body = _first_round(loop.var).body(inner.body)
    return For(inner.var, loop.extent * inner.extent, _kind(loop, inner), body)


def _kind(outer: For, inner: For) -> LoopKind:
    """The kind of two joined loops: parallel only where rounds of the inner loop are independent too."""
    if inner.kind in ("vector", outer.kind):
        return inner.kind
    stores = [flat for buffer, flat in accesses(inner.body) if buffer.role != "in"]
    unknown = data_dependent(inner.body, inner.var)
    apart = all(stride(flat, inner.var) not in (0, None) and unknown.isdisjoint(symbols_of(flat)) for flat in stores)
    independent = apart and not accumulated(inner.body)
    return "parallel" if independent else "serial"


def _joins(outer: For, inner: For | None) -> bool:
    """Whether a step of the outer loop is, everywhere, as far as all steps of the inner one together."""
    if inner is None or outer.kind in ("vector", "unroll") or inner.kind == "unroll":
        return False
    extents = [s.extent for s in statements((inner,)) if isinstance(s, For)]
    if any(outer.var in symbols_of(extent) for extent in extents):
        return False
    places = accesses(inner.body)
    indices = [flat for _, flat in places] + [e.index for e in expressions(inner.body) if isinstance(e, IndexValue)]
    indices += [extent for extent in extents[1:] if inner.var in symbols_of(extent)]
    return all(_follows(flat, outer, inner) for flat in indices) and _keeps_order(inner.body)


def _follows(flat: Dim, outer: For, inner: For) -> bool:
    far, near = stride(flat, outer.var), stride(flat, inner.var)
    return far is not None and near is not None and far == near * inner.extent and not _mixed(far, near, outer, inner)


def _mixed(far: Dim, near: Dim, outer: For, inner: For) -> bool:
    """Whether a step depends on the other loop's index."""
    return outer.var in symbols_of(near) or inner.var in symbols_of(far)


def _keeps_order(body: Sequence[Stmt]) -> bool:
    """Whether no round reads what another one writes: a written buffer is used at one place of each round only."""
    places: dict[str, set[Dim]] = {}
    for buffer, flat in accesses(body):
        places.setdefault(buffer.name, set()).add(flat)
    written = {s.buffer.name for s in statements(body) if isinstance(s, Store)}
    return all(len(places[name]) == 1 for name in written)
