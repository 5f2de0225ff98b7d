"""Elements chosen one by one along an axis, and sums of what was chosen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from kgraph.errors import ShapeError
from kgraph.ir.dims import Dim, Shape, symbol
from kgraph.ir.dtypes import DType, f32, f64, i32, i64, u8
from kgraph.ir.loops import For, Stmt, Store
from kgraph.ir.opdef import Array, Attrs, LoopContext, Loops, Sample, Trait, Types, current_emitter, primitive
from kgraph.ir.scalar import Load, call, const
from kgraph.ir.types import TensorType
from kgraph.primitives.ids import place_of, place_or_end, some_ids, zero_of
from kgraph.primitives.nests import Index, every_batch, every_element
from kgraph.primitives.sampling import bad, numbers, of
from kgraph.primitives.signatures import ANY, INTEGERS, NUMBERS, expect, expect_axis, expect_dims, expect_kind

_CASES: tuple[tuple[tuple[int, ...], int, int, DType, DType], ...] = (
    ((3, 4), 1, 2, f32, i32), ((3, 4), 0, 5, f64, i64), ((5,), 0, 7, f32, u8), ((2, 3, 4), 1, 3, f64, i32),
    ((1,), 0, 1, f32, i32), ((0, 3), 1, 2, f32, i32), ((2, 3), 1, 0, f32, i32), ((2, 19), 1, 19, f32, i32),
    ((3, 2), 0, 4, i32, i32), ((2, 0), 1, 3, f32, i32), ((2, 6), 1, 131, f32, i32),
)  # fmt: skip


def _sized(shape: Shape, axis: int, size: Dim) -> Shape:
    return (*shape[:axis], size, *shape[axis + 1 :])


def _expect_same_but_axis(op: str, types: Types, axis: int) -> None:
    """Check that two operands have one rank, and one shape but for the size of `axis`."""
    a, b = types[0].shape, types[1].shape
    if len(a) != len(b) or _sized(a, axis, 0) != _sized(b, axis, 0):
        received = f"{types[0]} and {types[1]}"
        raise ShapeError(op, expected=f"operands of one shape but for axis {axis}", received=received)


def _infer_take(types: Types, attrs: Attrs) -> TensorType:
    expect("take_along_axis", types, attrs, 2, ("axis",))
    expect_kind("take_along_axis", types[0], ANY)
    expect_kind("take_along_axis", types[1], INTEGERS, 1)
    _expect_same_but_axis("take_along_axis", types, expect_axis("take_along_axis", attrs["axis"], types[0].rank))
    return types[0].with_shape(types[1].shape)


def _take_grad(dy: Any, y: Any, x: Any, ids: Any, axis: int) -> tuple[Any, None]:
    emitter = current_emitter()
    return emitter.emit("add_along_axis", dy, ids, axis=axis, size=emitter.type_of(x).shape[axis]), None


def _take_loops(context: LoopContext, axis: int) -> tuple[Stmt, ...]:
    x, ids = context.in_types

    def element(at: Index) -> tuple[Stmt, ...]:
        place = place_of(context, context.read(1, at), x.shape[axis])
        value = context.read(0, _sized(at, axis, place.index))
        return *place.named, *place.element(context, value, lambda found: context.write(0, at, found))

    if x.shape[axis] == 0:
        return every_element(context, ids.shape, lambda at: context.write(0, at, zero_of(x.dtype)))
    return every_batch(context, ids.shape, element)


def _take_samples(rng: np.random.Generator) -> Iterator[Sample]:
    for shape, axis, count, dtype, id_type in _CASES:
        ids = some_ids(rng, tuple(count if a == axis else n for a, n in enumerate(shape)), shape[axis], id_type)
        yield Sample((numbers(rng, shape, dtype), ids), {"axis": axis})


@primitive(
    infer=_infer_take,
    grad=_take_grad,
    lower=Loops(_take_loops, reads_once=False),
    samples=_take_samples,
    errors=(
        bad("2 operands", of((2, 3)), axis=0),
        bad("an integer", of((2, 3)), of((2, 3)), axis=0),
        bad("one shape but for axis 1", of((2, 3)), of((3, 3), i32), axis=1),
        bad("an axis in 0..1", of((2, 3)), of((2, 3), i32), axis=2),
    ),
    source="numpy.take_along_axis",
)
def take_along_axis(x: Array, ids: Array, axis: int) -> Any:
    """For every id the element of its own line along `axis` that it names; ids outside 0 .. size-1 give 0."""
    inside = (ids >= 0) & (ids.astype(np.int64) < x.shape[axis])
    if x.shape[axis] == 0:
        return np.zeros(ids.shape, x.dtype)
    taken = np.take_along_axis(x, np.where(inside, ids, 0).astype(np.int64), axis)
    return np.where(inside, taken, x.dtype.type(0))


def _infer_add(types: Types, attrs: Attrs) -> TensorType:
    expect("add_along_axis", types, attrs, 2, ("axis", "size"))
    expect_kind("add_along_axis", types[0], NUMBERS)
    expect_kind("add_along_axis", types[1], INTEGERS, 1)
    axis = expect_axis("add_along_axis", attrs["axis"], types[0].rank)
    (size,) = expect_dims("add_along_axis", "size", (attrs["size"],))
    if types[0].shape != types[1].shape:
        received = f"{types[0]} and {types[1]}"
        raise ShapeError("add_along_axis", expected="an id for each update", received=received)
    return types[0].with_shape(_sized(types[0].shape, axis, size))


def _add_loops(context: LoopContext, axis: int, size: Dim) -> tuple[Stmt, ...]:
    updates = context.in_types[0]
    # The sums of one line; what ids outside add goes to the last one.
    sums = context.private(updates.dtype, (size + 1,))
    k = context.fresh("k")

    def line(at: Index) -> tuple[Stmt, ...]:
        here = _sized(at, axis, symbol(k))
        named, place = place_or_end(context, context.read(1, here), size)
        total = call("add", Load(sums, (place,)), context.read(0, here))
        return (
            *every_element(context, (size + 1,), lambda index: (Store(sums, index, const(0, updates.dtype)),)),
            For(k, updates.shape[axis], "serial", (*named, Store(sums, (place,), total))),
            *every_element(
                context, (size,), lambda index: context.write(0, _sized(at, axis, index[0]), Load(sums, index))
            ),
        )

    return every_batch(context, _sized(updates.shape, axis, 1), line)


def _add_samples(rng: np.random.Generator) -> Iterator[Sample]:
    for shape, axis, count, dtype, id_type in _CASES:
        places = tuple(count if a == axis else n for a, n in enumerate(shape))
        ids = some_ids(rng, places, shape[axis], id_type)
        yield Sample((numbers(rng, places, dtype), ids), {"axis": axis, "size": shape[axis]})


@primitive(
    infer=_infer_add,
    grad=lambda dy, y, updates, ids, axis, size: (current_emitter().emit("take_along_axis", dy, ids, axis=axis), None),
    # Its loops take one id after another: what makes the ids runs faster on vectors, in a kernel of its own.
    lower=Loops(_add_loops, in_memory=(1,)),
    samples=_add_samples,
    errors=(
        bad("2 operands", of((2, 3)), axis=0, size=3),
        bad("an integer", of((2, 3)), of((2, 3)), axis=0, size=3),
        bad("an id for each update", of((2, 3)), of((2, 4), i32), axis=1, size=3),
        bad("an axis in 0..1", of((2, 3)), of((2, 3), i32), axis=2, size=3),
        bad("sizes >= 0", of((2, 3)), of((2, 3), i32), axis=1, size=-1),
    ),
    traits=Trait.REDUCTION,
)
def add_along_axis(updates: Array, ids: Array, axis: int, size: int) -> Any:
    """Adjoint of `take_along_axis`: the sum of the updates of each line along `axis` with the same id, for `size` ids.

    Updates with ids outside 0 .. size-1 count for nothing.
    """
    lines, places = (np.moveaxis(a, axis, -1) for a in (updates, ids.astype(np.int64)))
    out = np.zeros((*lines.shape[:-1], size), updates.dtype)
    for at in np.ndindex(lines.shape):
        if 0 <= places[at] < size:
            out[*at[:-1], places[at]] += lines[at]
    return np.moveaxis(out, -1, axis)


OPS = (take_along_axis, add_along_axis)
