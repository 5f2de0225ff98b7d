"""Loop nests that several lowerings share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeAlias

from kgraph.ir.dims import Dim, Shape, symbol
from kgraph.ir.dtypes import DType
from kgraph.ir.loops import Accumulate, Combine, For, Init, LoopKind, Stmt
from kgraph.ir.opdef import Attr, LoopContext, Rows
from kgraph.ir.scalar import Const, Local, const

Index: TypeAlias = "tuple[Dim, ...]"
# How a local is accumulated, and what it starts from.
Start: TypeAlias = "tuple[Combine, Const]"
# Numbers that one accumulator adds up before it is added to the whole: the error of a float sum grows with both
# counts instead of their product. A vector loop has its lanes' accumulators besides.
_BLOCK, _VECTOR_BLOCK = 256, 1024


class Each(Protocol):
    """Loops over the reduced axes of one row."""

    def __call__(
        self,
        statements: Callable[[Index], tuple[Stmt, ...]],
        sums: Mapping[str, DType] | None = None,
        exact: Mapping[str, Start] | None = None,
    ) -> tuple[Stmt, ...]:
        """Run `statements(index)` for every index; `sums` are the float locals that they add to, for partial sums.

        `exact` are locals that come out the same in however many parts they are found: in those of sums beside them.
        """


Row: TypeAlias = "Callable[[Index, Each], tuple[Stmt, ...]]"


def rows(row: Callable[..., Row], axes: Callable[..., tuple[int, ...]], *, reads_once: bool = True) -> Rows:
    """Lowering of an op whose results are found row by row; `row(context, **attrs)` gives what `over_rows` takes."""

    def build(context: LoopContext, **attrs: Attr) -> tuple[Stmt, ...]:
        source = context.in_types[0]
        return over_rows(context, source.shape, axes(source, **attrs), row(context, **attrs))

    return Rows(build, reads_once, axes=axes, row=row)


def every_element(context: LoopContext, shape: Shape, body: Callable[[Index], tuple[Stmt, ...]]) -> tuple[Stmt, ...]:
    """Loops over all indices of `shape`: the first axis parallel, the last one a vector loop."""
    axes = [a for a, size in enumerate(shape) if size != 1]
    return _nest(context, shape, _kinds(axes, "parallel", "vector"), lambda at: body(_fill(shape, at)))


def every_batch(context: LoopContext, shape: Shape, body: Callable[[Index], tuple[Stmt, ...]]) -> tuple[Stmt, ...]:
    """Loops over all indices of `shape` around a body with loops of its own: the first parallel, none a vector loop."""
    axes = [a for a, size in enumerate(shape) if size != 1]
    return _nest(context, shape, _kinds(axes, "parallel", "serial"), lambda at: body(_fill(shape, at)))


def over_rows(context: LoopContext, shape: Shape, reduced: Sequence[int], *bodies: Row) -> tuple[Stmt, ...]:
    """Loops over the axes that stay, and inside them `body(index, each)` of every body.

    `index` has 0 at the reduced axes. `each(statements)` loops over the reduced axes and runs `statements(index)` with
    the full index. The vector loop runs over the last axis, be it reduced (then it accumulates) or not (then each
    lane accumulates for itself). Long sums are made of partial sums.
    """
    live = [a for a, size in enumerate(shape) if size != 1]
    kept = [a for a in live if a not in reduced]
    inner = [a for a in live if a in reduced]
    rows_are_vectors = bool(live) and live[-1] in reduced
    outer_kinds = _kinds(kept, "parallel", "serial" if rows_are_vectors else "vector")
    inner_kinds = _kinds(inner, "serial", "vector" if rows_are_vectors else "serial")

    cut = _cut([shape[a] for a in inner], rows_are_vectors)

    def outer(at: Mapping[int, Dim]) -> tuple[Stmt, ...]:
        def each(
            statements: Callable[[Index], tuple[Stmt, ...]],
            sums: Mapping[str, DType] | None = None,
            exact: Mapping[str, Start] | None = None,
        ) -> tuple[Stmt, ...]:
            def body(more: Mapping[int, Dim]) -> tuple[Stmt, ...]:
                return statements(_fill(shape, {**at, **more}))

            parts: dict[str, Start] = {name: ("add", const(0, dtype)) for name, dtype in (sums or {}).items()}
            # Of 0.0 and -0.0 the last one is the extreme: so no lane may get other elements than it has alone.
            if exact and len(bodies) > 1 and not rows_are_vectors:
                parts.update(exact)
            if cut is None or not parts:
                return _nest(context, shape, inner_kinds, body)
            return _in_blocks(context, shape, inner_kinds, cut, parts, body)

        return tuple(stmt for body in bodies for stmt in body(_fill(shape, at), each))

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


def _cut(sizes: Sequence[Dim], vectors: bool) -> tuple[int, int] | None:
    """Which of the reduced loops is cut into blocks of how many rounds; None if all of them are one short sum.

    >>> _cut([64, 32, 32], False), _cut([symbol("batch")], False), _cut([8, 8], False)
    ((0, 1), (0, 256), None)
    """
    rounds = 1
    for place in reversed(range(len(sizes))):
        size = sizes[place]
        if not vectors and not (isinstance(size, int) and rounds * size <= 4 * _BLOCK):
            return place, max(1, _BLOCK // rounds)
        if vectors and rounds >= _VECTOR_BLOCK:
            return place, 1
        if not isinstance(size, int):
            return None
        rounds *= size
    return None


def _in_blocks(
    context: LoopContext,
    shape: Shape,
    kinds: Mapping[int, LoopKind],
    cut: tuple[int, int],
    wholes: Mapping[str, Start],
    body: Callable[[Mapping[int, Dim]], tuple[Stmt, ...]],
) -> tuple[Stmt, ...]:
    """The loops of `kinds` with one of them cut into blocks, each with accumulators of its own; the rest follows."""
    axes, (place, rounds) = list(kinds), cut
    axis, whole = axes[place], shape[axes[place]]
    before, behind = ({a: kinds[a] for a in part} for part in (axes[:place], axes[place + 1 :]))

    def block(at: Mapping[int, Dim], first: Dim, size: Dim) -> tuple[Stmt, ...]:
        parts = {name: context.fresh("part") for name in wholes}
        row = context.fresh("i")
        here = {**at, axis: first + symbol(row) if size != 1 else first}
        inner = _nest(context, shape, behind, lambda more: _renamed(body({**here, **more}), parts))
        return (
            *(Init(part, wholes[name][1]) for name, part in parts.items()),
            *((For(row, size, kinds[axis], inner),) if size != 1 else inner),
            *(Accumulate(name, how, Local(parts[name], start.dtype)) for name, (how, start) in wholes.items()),
        )

    def blocks(at: Mapping[int, Dim]) -> tuple[Stmt, ...]:
        number = context.fresh("block")
        full, first = whole // rounds, symbol(number) * rounds
        rest = whole - full * rounds
        main = For(number, full, "serial", block(at, first, rounds))
        return (main, *(block(at, full * rounds, rest) if rest != 0 else ()))

    return _nest(context, shape, before, blocks)


def _renamed(body: Sequence[Stmt], names: Mapping[str, str]) -> tuple[Stmt, ...]:
    """Statements that accumulate into locals of other names."""
    return tuple(
        replace(stmt, name=names.get(stmt.name, stmt.name)) if isinstance(stmt, Accumulate) else stmt for stmt in body
    )


def _fill(shape: Shape, at: Mapping[int, Dim]) -> Index:
    return tuple(at.get(axis, 0) for axis in range(len(shape)))
