"""Order of elements: stable sorting, and places in sorted arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from kgraph.errors import ShapeError
from kgraph.ir import scalar
from kgraph.ir.dims import Dim, symbol
from kgraph.ir.dtypes import DType, bool_, f32, f64, i32, i64, u8
from kgraph.ir.loops import Accumulate, For, Init, Let, Stmt, Store
from kgraph.ir.opdef import Array, Attrs, LoopContext, Loops, NoGrad, Sample, Types, primitive
from kgraph.ir.scalar import Buffer, Expr, IndexValue, Load, Local, call, const
from kgraph.ir.types import TensorType
from kgraph.primitives.nests import Index, every_batch, every_element
from kgraph.primitives.sampling import NUMERIC, bad, numbers, of, with_attrs
from kgraph.primitives.signatures import NUMBERS, expect, expect_axis, expect_flag, expect_kind

_MOST = 2**31  # elements of an axis: places are int32


def _less(a: Expr, b: Expr) -> Expr:
    """Whether a stands before b in rising order: NaN comes last, as in NumPy."""
    found = call("lt", a, b)
    if not a.dtype.is_float:
        return found
    return call("or", found, call("and", call("ne", b, b), call("eq", a, a)))


def _infer_argsort(types: Types, attrs: Attrs) -> TensorType:
    expect("argsort", types, attrs, 1, ("axis", "descending"))
    expect_kind("argsort", types[0], NUMBERS)
    expect_axis("argsort", attrs["axis"], types[0].rank)
    expect_flag("argsort", "descending", attrs["descending"])
    return types[0].with_dtype(i32)


def _argsort_loops(context: LoopContext, axis: int, descending: bool) -> tuple[Stmt, ...]:
    """Merge sort of the places from runs of 1 element upwards: a round makes runs four times as long, in two passes
    between two arrays. Rounds for runs longer than the line do nothing."""
    shape = context.in_types[0].shape
    size = shape[axis]
    first, second = (context.private(i32, (size,)) for _ in (0, 1))
    width, round_ = context.fresh("width"), context.fresh("round")
    rounds = next(n for n in range(17) if 4**n >= (size if isinstance(size, int) else _MOST))

    def line(at: Index) -> tuple[Stmt, ...]:
        def key(place: Dim) -> Expr:
            return context.read(0, (*at[:axis], place, *at[axis + 1 :]))

        def before(a: Expr, b: Expr) -> Expr:
            return _less(b, a) if descending else _less(a, b)

        passes = [
            _merges(context, size, (source, to), (key, before), call("mul", Local(width, i64), const(runs, i64)), width)
            for source, to, runs in ((first, second, 1), (second, first, 2))
        ]
        loop = For(round_, rounds, "serial", (*passes[0], *passes[1], Accumulate(width, "mul", const(4, i64))))
        return (
            *every_element(context, (size,), lambda index: (Store(first, index, IndexValue(index[0], i32)),)),
            Init(width, const(1, i64)),
            loop,
            *every_element(
                context, (size,),
                lambda index: context.write(0, (*at[:axis], *index, *at[axis + 1 :]), Load(first, index)),
            ),
        )  # fmt: skip

    return every_batch(context, tuple(1 if a == axis else d for a, d in enumerate(shape)), line)


def _merges(
    context: LoopContext, size: Dim, arrays: tuple[Buffer, Buffer], order: tuple[Any, Any], length: Expr, round_: str
) -> tuple[Stmt, ...]:
    """Merge every two neighbouring runs of `length` places of one array into one run of the other; nothing once the
    runs of the round, whose length is the local `round_`, are as long as the array."""
    (source, to), (key, before) = arrays, order
    names = ("run", "pairs", "pair", "low", "middle", "high", "merged", "k", "left", "right", "takes")
    run, pairs, pair, low, middle, high, merged, k, left, right, takes = map(context.fresh, names)
    a, b, own, other = map(context.fresh, ("a", "b", "own", "other"))
    end = IndexValue(size, i64)

    def local(name: str) -> Local:
        return Local(name, i64)

    def at_most(value: Expr) -> Expr:
        return call("min", value, end)

    both = call("mul", local(run), const(2, i64))
    needed = call("floordiv", call("add", end, call("sub", both, const(1, i64))), both)
    own_key, other_key = key(symbol(own)), key(symbol(other))
    behind = call("or", call("ge", local(left), local(middle)), before(other_key, own_key))
    takes_right = call("and", call("lt", local(right), local(high)), behind)
    one = scalar.cast(Local(takes, bool_), i64)
    element = (
        Let(a, call("min", local(left), call("sub", end, const(1, i64)))),
        Let(b, call("min", local(right), call("sub", end, const(1, i64)))),
        Let(own, Load(source, (symbol(a),))),
        Let(other, Load(source, (symbol(b),))),
        Let(takes, takes_right),
        Store(to, (symbol(low) + symbol(k),), call("select", Local(takes, bool_), Local(other, i32), Local(own, i32))),
        Accumulate(right, "add", one),
        Accumulate(left, "add", call("sub", const(1, i64), one)),
    )
    body = (
        Let(low, call("mul", IndexValue(symbol(pair), i64), both)),
        Let(middle, at_most(call("add", local(low), local(run)))),
        Let(high, at_most(call("add", local(low), both))),
        Let(merged, call("sub", local(high), local(low))),
        Init(left, local(low)),
        Init(right, local(middle)),
        For(k, symbol(merged), "serial", element),
    )
    return (
        Let(run, length),
        Let(pairs, call("select", call("lt", local(round_), end), needed, const(0, i64))),
        For(pair, symbol(pairs), "serial", body),
    )


def _argsort_samples(rng: np.random.Generator) -> Iterator[Sample]:
    calls = [
        ((5,), 0), ((3, 4), 1), ((3, 4), 0), ((2, 3, 5), 1), ((1,), 0), ((4, 1), 1), ((0, 3), 1), ((3, 0), 1),
        ((2, 67), 1), ((200,), 0),
    ]  # fmt: skip
    for n, (shape, axis) in enumerate(calls):
        yield from with_attrs((shape, {"axis": axis, "descending": n % 2 == 1}), dtypes=NUMERIC[n % 3 :])(rng)
    for descending in (False, True):
        for dtype in (f32, f64):
            values = rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0], (2, 9))
            yield Sample((values.astype(dtype.to_numpy()),), {"axis": 1, "descending": descending})


@primitive(
    infer=_infer_argsort,
    grad=NoGrad("the result is an integer"),
    lower=Loops(_argsort_loops, reads_once=False),
    samples=_argsort_samples,
    errors=(
        bad("1 operands", axis=0, descending=False),
        bad("an axis in 0..1", of((2, 3)), axis=2, descending=False),
        bad("received bool", of((2, 3), bool_), axis=0, descending=False),
        bad("True or False", of((2, 3)), axis=0, descending=0),
    ),
    source="bottom-up merge sort: Knuth, The Art of Computer Programming 3, section 5.2.4",
)
def argsort(x: Array, axis: int, descending: bool) -> Any:
    """Places (int32) of the elements along `axis` in rising order, or falling order; equal ones keep their order.

    NaN is greater than every number.
    """
    if not descending:
        return np.argsort(x, axis, kind="stable").astype(np.int32)
    back = np.argsort(np.flip(x, axis), axis, kind="stable")
    return (x.shape[axis] - 1 - np.flip(back, axis)).astype(np.int32)


def _infer_searchsorted(types: Types, attrs: Attrs) -> TensorType:
    expect("searchsorted", types, attrs, 2, ("right",))
    expect_kind("searchsorted", types[0], NUMBERS)
    if types[0].rank != 1 or types[1].dtype is not types[0].dtype:
        expected, received = "a sorted array of one axis and values of its type", f"{types[0]} and {types[1]}"
        raise ShapeError("searchsorted", expected=expected, received=received)
    expect_flag("searchsorted", "right", attrs["right"])
    return types[1].with_dtype(i32)


def _searchsorted_loops(context: LoopContext, right: bool) -> tuple[Stmt, ...]:
    (size,) = context.in_types[0].shape
    dtype = context.in_types[0].dtype
    bits = (size if isinstance(size, int) else _MOST - 1).bit_length()
    found, step, rounds, n, end, probe, value = map(
        context.fresh, ("found", "step", "rounds", "n", "end", "probe", "value")
    )
    length = IndexValue(size, i64)

    def search(at: Index) -> tuple[Stmt, ...]:
        sought, element = Local(value, dtype), context.read(0, (symbol(probe),))
        smaller = call("not", _less(sought, element)) if right else _less(element, sought)
        inside = call("and", call("le", Local(end, i64), length), smaller)
        last = call("sub", call("min", Local(end, i64), length), const(1, i64))
        half = call("floordiv", Local(step, i64), const(2, i64))
        return (
            Let(value, context.read(1, at)),
            Init(found, const(0, i64)),
            Init(step, const(2 ** max(bits - 1, 0), i64)),
            # An empty array has no element to look at.
            Let(rounds, call("select", call("gt", length, const(0, i64)), const(bits, i64), const(0, i64))),
            For(n, symbol(rounds), "serial", (
                Let(end, call("add", Local(found, i64), Local(step, i64))),
                Let(probe, last),
                Accumulate(found, "add", call("select", inside, Local(step, i64), const(0, i64))),
                Accumulate(step, "add", call("sub", half, Local(step, i64))),
            )),
            *context.write(0, at, scalar.cast(Local(found, i64), i32)),
        )  # fmt: skip

    return every_batch(context, context.in_types[1].shape, search)


def _searchsorted_samples(rng: np.random.Generator) -> Iterator[Sample]:
    cases: tuple[tuple[int, tuple[int, ...], DType], ...] = (
        (5, (7,), f32), (1, (2, 3), f64), (0, (4,), f32), (8, (0,), f32), (9, (), f64), (33, (40,), i32), (4, (5,), u8),
        (6, (3, 1), i64),
    )  # fmt: skip
    for n, (size, shape, dtype) in enumerate(cases):
        inside, values = np.sort(numbers(rng, (size,), dtype)), numbers(rng, shape, dtype)
        if size and values.size > 1:
            values.flat[0] = inside[size // 2]
        yield Sample((inside, values), {"right": n % 2 == 1})
    for right in (False, True):
        specials = np.array([-np.inf, -1, 0, 0, 2, np.inf, np.nan], np.float32)
        yield Sample((specials, np.append(specials, [np.float32(1), np.float32(-0.0)])), {"right": right})


@primitive(
    infer=_infer_searchsorted,
    grad=NoGrad("the result is an integer"),
    lower=Loops(_searchsorted_loops, reads_once=False),
    samples=_searchsorted_samples,
    errors=(
        bad("2 operands", of((2,)), right=False),
        bad("one axis", of((2, 3)), of((2,)), right=False),
        bad("values of its type", of((2,)), of((2,), f64), right=False),
        bad("received bool", of((2,), bool_), of((2,), bool_), right=False),
        bad("True or False", of((2,)), of((2,)), right="left"),
    ),
    source="numpy.searchsorted",
)
def searchsorted(x: Array, values: Array, right: bool) -> Any:
    """Number (int32) of elements of the sorted array `x` that are smaller than each value.

    With `right` equal ones count as well. NaN is greater than every number.
    """
    return np.searchsorted(x, values, "right" if right else "left").astype(np.int32)


OPS = (argsort, searchsorted)
