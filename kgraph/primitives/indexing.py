"""Ops whose operands name places: class numbers and ids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from kgraph.errors import ShapeError
from kgraph.ir import scalar
from kgraph.ir.dims import Dim, Shape, symbol
from kgraph.ir.dtypes import DType, bool_, f32, f64, i32, i64, u8, u32
from kgraph.ir.loops import Accumulate, For, Init, Let, Stmt, Store
from kgraph.ir.opdef import (
    Array,
    Attrs,
    LoopContext,
    Loops,
    NoGrad,
    Pointwise,
    Sample,
    Trait,
    Types,
    current_emitter,
    primitive,
)
from kgraph.ir.scalar import Expr, IndexValue, Load, Local, call, const
from kgraph.ir.types import TensorType
from kgraph.primitives.ids import place_of, place_or_end, some_ids, within, zero_of
from kgraph.primitives.ids import wide as wide_of
from kgraph.primitives.nests import Index, every_batch, every_element
from kgraph.primitives.sampling import bad, numbers, of
from kgraph.primitives.signatures import (
    ANY,
    INTEGERS,
    NUMBERS,
    expect,
    expect_axis,
    expect_dims,
    expect_dtype,
    expect_kind,
)


def _infer_one_hot(types: Types, attrs: Attrs) -> TensorType:
    expect("one_hot", types, attrs, 1, ("depth", "dtype"))
    expect_kind("one_hot", types[0], INTEGERS)
    (depth,) = expect_dims("one_hot", "depth", (attrs["depth"],))
    return TensorType(expect_dtype("one_hot", attrs["dtype"], ANY), (*types[0].shape, depth))


def _one_hot_element(context: LoopContext, index: Index, depth: Dim, dtype: DType) -> Expr:
    wide = wide_of(context.in_types[0].dtype)
    label = scalar.cast(context.read(0, index[:-1]), wide)
    return scalar.cast(call("eq", label, IndexValue(index[-1], wide)), dtype)


def _one_hot_samples(rng: np.random.Generator) -> Iterator[Sample]:
    cases: tuple[tuple[tuple[int, ...], int, DType, DType], ...] = (
        ((5,), 3, i32, f32), ((2, 3), 4, i64, f32), ((), 2, i32, f64), ((0,), 3, i32, f32), ((1,), 1, u8, f32),
        ((4,), 0, i32, f32), ((7,), 300, u8, f64), ((6,), 10, u32, i32), ((3,), 5, i64, bool_), ((9,), 33, i32, f32),
    )  # fmt: skip
    for shape, depth, label, dtype in cases:
        labels = rng.integers(0 if label.kind == "unsigned" else -1, depth + 2, shape)
        yield Sample((np.asarray(np.minimum(labels, 255), label.to_numpy()),), {"depth": depth, "dtype": dtype})


@primitive(
    infer=_infer_one_hot,
    grad=NoGrad("the operand is an integer"),
    lower=Pointwise(_one_hot_element),
    samples=_one_hot_samples,
    errors=(
        bad("1 operands", depth=3, dtype=f32),
        bad("an integer", of((2,), f32), depth=3, dtype=f32),
        bad("sizes >= 0", of((2,), i32), depth=-1, dtype=f32),
        bad("element type", of((2,), i32), depth=3, dtype="float32"),
    ),
)
def one_hot(labels: Array, depth: int, dtype: DType) -> Any:
    """A new last axis with 1 at the label and 0 elsewhere; labels outside 0..depth-1 give zeros."""
    hot = labels.astype(np.int64)[..., np.newaxis] == np.arange(depth)
    return hot.astype(dtype.to_numpy())


# --- rows that ids choose --------------------------------------------------------------------------------------------


def _gathered_shape(x: TensorType, ids: TensorType, axis: int) -> Shape:
    return (*x.shape[:axis], *ids.shape, *x.shape[axis + 1 :])


def _infer_gather(types: Types, attrs: Attrs) -> TensorType:
    expect("gather", types, attrs, 2, ("axis",))
    expect_kind("gather", types[1], INTEGERS, 1)
    axis = expect_axis("gather", attrs["axis"], types[0].rank)
    return types[0].with_shape(_gathered_shape(types[0], types[1], axis))


def _gather_grad(dy: Any, y: Any, x: Any, ids: Any, axis: int) -> tuple[Any, None]:
    return summed_by_id(dy, ids, current_emitter().type_of(x).shape[axis], axis), None


def _gather_loops(context: LoopContext, axis: int) -> tuple[Stmt, ...]:
    x, ids = context.in_types
    outer, inner = x.shape[:axis], x.shape[axis + 1 :]

    def row(at: Index) -> tuple[Stmt, ...]:
        # The index starts with those of `outer`, and ends with those of `ids`.
        place = place_of(context, context.read(1, at[axis:]), x.shape[axis])

        def element(behind: Index) -> tuple[Stmt, ...]:
            value = context.read(0, (*at[:axis], place.index, *behind))
            return place.element(context, value, lambda found: context.write(0, (*at, *behind), found))

        return *place.named, *every_element(context, inner, element)

    if x.shape[axis] == 0:
        return every_element(context, context.out_types[0].shape, lambda at: context.write(0, at, zero_of(x.dtype)))
    return every_batch(context, (*outer, *ids.shape), row)


def _gather_samples(rng: np.random.Generator) -> Iterator[Sample]:
    cases: tuple[tuple[tuple[int, ...], tuple[int, ...], int, DType, DType], ...] = (
        ((5, 3), (4,), 0, f32, i32), ((5, 19), (2, 3), 0, f64, i64), ((6,), (4,), 0, f32, u8),
        ((3, 4), (5,), 1, f32, i32),
        ((2, 5, 3), (4,), 1, f64, u32), ((2, 5, 17), (2, 2), 1, f32, i32), ((4, 2), (), 0, i32, i32),
        ((7,), (), 0, f32, i64), ((3, 2), (0,), 0, f32, i32), ((3, 0), (2,), 0, f32, i32), ((0, 3), (2,), 0, f32, i32),
        ((300, 2), (9,), 0, u8, u8), ((1, 8), (5,), 0, bool_, i32), ((4, 33), (1, 1), 0, u32, i32),
        ((0, 4), (3,), 1, f32, i32),
    )  # fmt: skip
    for shape, places, axis, dtype, id_type in cases:
        yield Sample((numbers(rng, shape, dtype), some_ids(rng, places, shape[axis], id_type)), {"axis": axis})


@primitive(
    infer=_infer_gather,
    grad=_gather_grad,
    lower=Loops(_gather_loops, reads_once=False),
    samples=_gather_samples,
    errors=(
        bad("2 operands", of((3, 2)), axis=0),
        bad("an integer", of((3, 2)), of((2,)), axis=0),
        bad("an axis in 0..1", of((3, 2)), of((2,), i32), axis=2),
        bad("attributes", of((3, 2)), of((2,), i32)),
    ),
    source="numpy.take",
)
def gather(x: Array, ids: Array, axis: int) -> Any:
    """The slices of `x` along `axis` that `ids` name; the axes of `ids` take the place of `axis`.

    As in `one_hot`, ids outside 0 .. size-1 give zeros.
    """
    ids = ids.astype(np.int64)
    inside = (ids >= 0) & (ids < x.shape[axis])
    if x.shape[axis] == 0:
        return np.zeros((*x.shape[:axis], *ids.shape, *x.shape[axis + 1 :]), x.dtype)
    taken = np.take(x, np.where(inside, ids, 0), axis)
    known = inside.reshape((1,) * axis + ids.shape + (1,) * (x.ndim - axis - 1))
    return np.where(known, taken, x.dtype.type(0))


def _infer_group_ids(types: Types, attrs: Attrs) -> tuple[TensorType, TensorType]:
    expect("group_ids", types, attrs, 1, ("size",))
    expect_kind("group_ids", types[0], INTEGERS)
    if types[0].rank != 1:
        raise ShapeError("group_ids", expected="ids of one axis", received=str(types[0]))
    (size,) = expect_dims("group_ids", "size", (attrs["size"],))
    return TensorType(i32, (size + 1,)), TensorType(i32, types[0].shape)


def _group_ids_loops(context: LoopContext, size: Dim) -> tuple[Stmt, ...]:
    (count,) = context.in_types[0].shape
    # next[k+1] counts the ids k, then it is the place of the next id k+1; ids outside are ids `size`.
    following = context.private(i32, (size + 2,))
    total, k, i, j = (context.fresh(hint) for hint in ("total", "k", "i", "i"))

    (counted, row), (placed, own) = (place_or_end(context, context.read(0, (symbol(n),)), size) for n in (i, j))
    more = call("add", Load(following, (row + 1,)), const(1, i32))
    at = context.fresh("at")
    return (
        *every_element(context, (size + 2,), lambda index: (Store(following, index, const(0, i32)),)),
        For(i, count, "serial", (*counted, Store(following, (row + 1,), more))),
        Init(total, const(0, i32)),
        For(k, size + 1, "serial", (
            Accumulate(total, "add", Load(following, (symbol(k),))),
            Store(following, (symbol(k),), Local(total, i32)),
            *context.write(0, (symbol(k),), Local(total, i32)),
        )),
        For(j, count, "serial", (
            *placed,
            Let(at, Load(following, (own,))),
            *context.write(1, (symbol(at),), IndexValue(symbol(j), i32)),
            Store(following, (own,), call("add", Local(at, i32), const(1, i32))),
        )),
    )  # fmt: skip


def _group_ids_samples(rng: np.random.Generator) -> Iterator[Sample]:
    cases = (
        (7, 3, i32), (20, 5, i64), (0, 4, i32), (1, 1, u8), (9, 300, u8), (5, 0, i32), (6, 4, u32), (40, 3, i32),
    )  # fmt: skip
    for count, size, dtype in cases:
        yield Sample((some_ids(rng, (count,), size, dtype),), {"size": size})


@primitive(
    infer=_infer_group_ids,
    grad=NoGrad("the operand is an integer"),
    lower=Loops(_group_ids_loops, reads_once=False),
    samples=_group_ids_samples,
    errors=(
        bad("1 operands", size=3),
        bad("an integer", of((2,)), size=3),
        bad("ids of one axis", of((2, 2), i32), size=3),
        bad("sizes >= 0", of((2,), i32), size=-1),
    ),
    source="counting sort: Knuth, The Art of Computer Programming 3, section 5.2, algorithm D",
)
def group_ids(ids: Array, size: int) -> Any:
    """Where each id from 0 .. size-1 stands in `ids`: (starts, order), both int32.

    The places of id k are ``order[starts[k]:starts[k + 1]]``, in rising order. Those of ids outside come last.
    """
    inside = (ids >= 0) & (ids.astype(np.int64) < size)
    known = np.where(inside, ids.astype(np.int64), size)
    starts = np.searchsorted(np.sort(known), np.arange(size + 1))
    return starts.astype(np.int32), np.argsort(known, kind="stable").astype(np.int32)


def _infer_scatter_add(types: Types, attrs: Attrs) -> TensorType:
    expect("scatter_add", types, attrs, 4, ("axis",))
    updates, ids, starts, order = types
    expect_kind("scatter_add", updates, NUMBERS)
    for position in (1, 2, 3):
        expect_kind("scatter_add", types[position], INTEGERS, position)
    axis = expect_axis("scatter_add", attrs["axis"], updates.rank)
    places = (updates.shape[axis],)
    if (ids.shape, order.shape) != (places, places) or starts.rank != 1:
        received = ", ".join(map(str, types[1:]))
        raise ShapeError("scatter_add", expected=f"{places[0]} ids, their starts and their order", received=received)
    return updates.with_shape((*updates.shape[:axis], starts.shape[0] - 1, *updates.shape[axis + 1 :]))


def _scatter_add_loops(context: LoopContext, axis: int) -> tuple[Stmt, ...]:
    updates = context.in_types[0]
    shape, dtype = context.out_types[0].shape, updates.dtype
    count = IndexValue(updates.shape[axis], i32)

    def row(at: Index) -> tuple[Stmt, ...]:
        first, rounds, total, p, place = (context.fresh(hint) for hint in ("first", "rounds", "sum", "p", "place"))
        # Wrong starts and orders give wrong sums, but lead nowhere else.
        start, end = (within(scalar.cast(context.read(2, (at[axis] + n,)), i32), count) for n in (0, 1))
        many = call("max", call("sub", end, Local(first, i32)), const(0, i32))
        here = scalar.cast(context.read(3, (symbol(first) + symbol(p),)), i32)
        step = Let(place, within(here, IndexValue(updates.shape[axis] - 1, i32)))

        def element(behind: Index) -> tuple[Stmt, ...]:
            value = context.read(0, (*at[:axis], symbol(place), *behind))
            return (
                Init(total, const(0, dtype)),
                For(p, symbol(rounds), "serial", (step, Accumulate(total, "add", value))),
                *context.write(0, (*at, *behind), Local(total, dtype)),
            )

        return Let(first, start), Let(rounds, many), *every_element(context, shape[axis + 1 :], element)

    return every_batch(context, shape[: axis + 1], row)


def _scatter_add_samples(rng: np.random.Generator) -> Iterator[Sample]:
    cases: tuple[tuple[tuple[int, ...], int, int, DType], ...] = (
        ((7, 3), 5, 0, f32), ((9, 19), 4, 0, f64), ((6,), 3, 0, f32), ((3, 8), 2, 1, f64), ((2, 9, 17), 3, 1, f32),
        ((0, 3), 4, 0, f32), ((5, 2), 0, 0, f32), ((5, 0), 3, 0, f32), ((8, 64), 3, 0, f32), ((6, 2), 4, 0, i32),
    )  # fmt: skip
    for shape, size, axis, dtype in cases:
        ids = some_ids(rng, (shape[axis],), size)
        yield Sample((numbers(rng, shape, dtype), ids, *group_ids.reference(ids, size)), {"axis": axis})


@primitive(
    infer=_infer_scatter_add,
    grad=lambda dy, y, updates, ids, starts, order, axis: (
        current_emitter().emit("gather", dy, ids, axis=axis), None, None, None
    ),
    lower=Loops(_scatter_add_loops, reads_once=False),
    samples=_scatter_add_samples,
    errors=(
        bad("4 operands", of((3, 2)), of((3,), i32), axis=0),
        bad("an integer", of((3, 2)), of((3,)), of((5,), i32), of((3,), i32), axis=0),
        bad("3 ids", of((3, 2)), of((2,), i32), of((5,), i32), of((3,), i32), axis=0),
        bad("an axis in 0..1", of((3, 2)), of((3,), i32), of((5,), i32), of((3,), i32), axis=2),
    ),
    traits=Trait.REDUCTION,
)
def scatter_add(updates: Array, ids: Array, starts: Array, order: Array, axis: int) -> Any:
    """Adjoint of `gather` for ids of one axis: slice k of the result is the sum of the updates whose id is k.

    `starts` and `order` are ``group_ids(ids, size)``: every slice is written once, with its updates added in their
    order, and what reads the result can be computed there. Updates with ids outside 0 .. size-1 count for nothing.
    """
    lines = np.moveaxis(updates, axis, 0)
    out = np.zeros((len(starts) - 1, *lines.shape[1:]), updates.dtype)
    for k in range(len(out)):
        for place in order[starts[k] : starts[k + 1]]:
            out[k] += lines[place]
    return np.moveaxis(out, 0, axis)


def summed_by_id(updates: Any, ids: Any, size: Dim, axis: int) -> Any:
    """Symbolic adjoint of `gather`: the sums of updates with equal ids, in `size` slices.

    The axes of `updates` from `axis` on are those of `ids`.
    """
    emitter = current_emitter()
    emit, places, shape = emitter.emit, emitter.type_of(ids), emitter.type_of(updates).shape
    flat = emit("reshape", ids, shape=(places.size,))
    lines = emit("reshape", updates, shape=(*shape[:axis], places.size, *shape[axis + places.rank :]))
    starts, order = emit("group_ids", flat, size=size)
    return emit("scatter_add", lines, flat, starts, order, axis=axis)


OPS = (one_hot, gather, group_ids, scatter_add)
