"""Loop nests that several lowerings share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from kgraph.ir.dims import Dim, Shape, symbol
from kgraph.ir.loops import For, LoopKind, Stmt
from kgraph.ir.opdef import LoopContext

Index: TypeAlias = "tuple[Dim, ...]"
Each: TypeAlias = "Callable[[Callable[[Index], tuple[Stmt, ...]]], tuple[Stmt, ...]]"


def every_element(context: LoopContext, shape: Shape, body: Callable[[Index], tuple[Stmt, ...]]) -> tuple[Stmt, ...]:
    """Loops over all indices of `shape`: the first axis parallel, the last one a vector loop."""
    axes = [a for a, size in enumerate(shape) if size != 1]
    return _nest(context, shape, _kinds(axes, "parallel", "vector"), lambda at: body(_fill(shape, at)))


def every_batch(context: LoopContext, shape: Shape, body: Callable[[Index], tuple[Stmt, ...]]) -> tuple[Stmt, ...]:
    """Loops over all indices of `shape` around a body with loops of its own: the first parallel, none a vector loop."""
    axes = [a for a, size in enumerate(shape) if size != 1]
    return _nest(context, shape, _kinds(axes, "parallel", "serial"), lambda at: body(_fill(shape, at)))


def over_rows(
    context: LoopContext, shape: Shape, reduced: Sequence[int], body: Callable[[Index, Each], tuple[Stmt, ...]]
) -> tuple[Stmt, ...]:
    """Loops over the axes that stay, and inside them `body(index, each)`.

    `index` has 0 at the reduced axes. `each(statements)` loops over the reduced axes and runs `statements(index)` with
    the full index. The vector loop runs over the last axis, be it reduced (then it accumulates) or not (then each
    lane accumulates for itself).
    """
    live = [a for a, size in enumerate(shape) if size != 1]
    kept = [a for a in live if a not in reduced]
    inner = [a for a in live if a in reduced]
    rows_are_vectors = bool(live) and live[-1] in reduced
    outer_kinds = _kinds(kept, "parallel", "serial" if rows_are_vectors else "vector")
    inner_kinds = _kinds(inner, "serial", "vector" if rows_are_vectors else "serial")

    def outer(at: Mapping[int, Dim]) -> tuple[Stmt, ...]:
        def each(statements: Callable[[Index], tuple[Stmt, ...]]) -> tuple[Stmt, ...]:
            return _nest(context, shape, inner_kinds, lambda more: statements(_fill(shape, {**at, **more})))

        return body(_fill(shape, at), each)

    return _nest(context, shape, outer_kinds, outer)


def _kinds(axes: Sequence[int], first: LoopKind, last: LoopKind) -> dict[int, LoopKind]:
    """Loop kinds of `axes`, outermost first; a single loop that may be a vector loop is one."""
    kinds: dict[int, LoopKind] = dict.fromkeys(axes, "serial")
    if axes:
        kinds[axes[0]] = first
        if last == "vector" or len(axes) > 1:
            kinds[axes[-1]] = last
    return kinds


def _nest(
    context: LoopContext,
    shape: Shape,
    kinds: Mapping[int, LoopKind],
    body: Callable[[Mapping[int, Dim]], tuple[Stmt, ...]],
) -> tuple[Stmt, ...]:
    """Loops over the axes of `kinds`, outermost first; nothing if the body is empty."""
    variables = {axis: context.fresh("i") for axis in kinds}
    statements = body({axis: symbol(name) for axis, name in variables.items()})
    if not statements:
        return ()
    for axis in reversed(list(kinds)):
        statements = (For(variables[axis], shape[axis], kinds[axis], statements),)
    return statements


def _fill(shape: Shape, at: Mapping[int, Dim]) -> Index:
    return tuple(at.get(axis, 0) for axis in range(len(shape)))
