"""Pooling over windows of channels-last tensors.

The regions at the borders are known, so nothing is padded: each has a loop nest of its own over the taps that lie
inside. Where gradients are needed the places of the maxima are found as well; they are small integers, and the gradient
is linear in dy: `max_unpool` puts dy at the places, `max_pick` reads there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from kgraph.errors import ArgumentError, DTypeError, ShapeError
from kgraph.ir.dims import Dim, Shape, symbol
from kgraph.ir.dtypes import DType, dtype_of, f32, f64, i32, u8
from kgraph.ir.loops import Accumulate, Combine, For, Init, Stmt
from kgraph.ir.opdef import Array, Attrs, LoopContext, Loops, NoGrad, Sample, Types, current_emitter, primitive
from kgraph.ir.operators import broadcast_to
from kgraph.ir.scalar import Expr, IndexValue, Local, call, cast, const
from kgraph.ir.types import TensorType
from kgraph.primitives.nests import Index
from kgraph.primitives.reductions import lowest
from kgraph.primitives.sampling import bad, numbers, of
from kgraph.primitives.signatures import FLOATS, NUMBERS, expect, expect_dims, expect_kind
from kgraph.primitives.sliding import (
    Axis,
    Position,
    Region,
    Taps,
    axes_of,
    each_tap,
    in_regions,
    input_regions,
    output_regions,
    output_shape,
    over_regions,
    over_taps,
    tap_slices,
)

NAMES = ("window", "strides", "low", "high")


def _axes(op: str, shape: Shape, attrs: Attrs, known: bool = False) -> tuple[Axis, ...]:
    """The axes of a call, checked; their sizes must be known if `known`, or if there is padding."""
    if not 3 <= len(shape) <= 5:
        raise ShapeError(op, expected="rank 3 to 5", received=str(shape))
    window = expect_dims(op, "window", attrs["window"], len(shape) - 2)
    if not all(isinstance(d, int) for d in window):
        raise ShapeError(f"{op}, attribute window", expected="integers", received=str(window))
    axes = axes_of(op, shape, [d for d in window if isinstance(d, int)], attrs)
    for number, axis in enumerate(axes):
        if not axis.is_static or (known and not axis.is_invertible):
            expected = "a known size" if not axis.is_static else "a known size, or strides not less than the window"
            raise ShapeError(f"{op}, spatial axis {number}", expected=expected, received=str(axis.size),
                             fix="Give the input shape without None there")  # fmt: skip
        most = axis.high if not isinstance(axis.size, int) else axis.window + axis.stride - 1
        if axis.low >= axis.window or not 0 <= axis.high <= most:
            raise ShapeError(f"{op}, spatial axis {number}", expected="padding from 0 on, smaller than the window",
                             received=f"low {axis.low}, high {axis.high}, window {axis.window}")  # fmt: skip
    return axes


def _infer_pool(op: str) -> Callable[[Types, Attrs], TensorType]:
    def infer(types: Types, attrs: Attrs) -> TensorType:
        expect(op, types, attrs, 1, NAMES)
        expect_kind(op, types[0], NUMBERS if op.startswith("max") else FLOATS)
        shape = types[0].shape
        return types[0].with_shape(output_shape(shape, _axes(op, shape, attrs), shape[-1]))

    return infer


def index_type(window: Sequence[int]) -> DType:
    """Element type of the number of a tap."""
    return u8 if math.prod(window) <= 256 else i32


Elements = Callable[[LoopContext, Index, Taps, Dim], tuple[Stmt, ...]]


def _loops(
    regions: Sequence[Sequence[Region]], batch: Dim, channels: Dim, context: LoopContext, elements: Elements
) -> tuple[Stmt, ...]:
    """Loops over the regions, with a vector loop over the channels inside."""
    return over_regions(context, batch, regions, _over_channels(context, channels, elements))


def _over_channels(context: LoopContext, channels: Dim, elements: Elements) -> Position:
    def position(index: Index, taps: Taps) -> tuple[Stmt, ...]:
        c = context.fresh("c")
        return (For(c, channels, "vector", elements(context, index, taps, symbol(c))),)

    return position


def _reduced(combine: Combine, start: Callable[[DType], float]) -> Callable[..., tuple[Stmt, ...]]:
    def build(context: LoopContext, **attrs: Any) -> tuple[Stmt, ...]:
        source = context.in_types[0]
        axes = _axes(combine, source.shape, attrs)

        def elements(context: LoopContext, index: Index, taps: Taps, c: Dim) -> tuple[Stmt, ...]:
            acc = context.fresh("acc")
            steps = over_taps(context, taps, lambda _, at: (Accumulate(acc, combine, context.read(0, (*at, c))),))
            done = context.write(0, (*index, c), Local(acc, source.dtype))
            return Init(acc, const(start(source.dtype), source.dtype)), *steps, *done

        return _loops([output_regions(a) for a in axes], source.shape[0], source.shape[-1], context, elements)

    return build


def _max_grad(dy: Any, y: Any, x: Any, **attrs: Any) -> tuple[Any]:
    emitter = current_emitter()
    index = emitter.emit("max_pool_index", x, **attrs)
    return (emitter.emit("max_unpool", dy, index, shape=emitter.type_of(x).shape, **attrs),)


# --- places of maxima -----------------------------------------------------------------------------------------------
def _infer_index(types: Types, attrs: Attrs) -> TensorType:
    return _infer_pool("max_pool_index")(types, attrs).with_dtype(index_type(attrs["window"]))


def _infer_places(types: Types, attrs: Attrs) -> tuple[TensorType, TensorType]:
    value = _infer_pool("max_pool_places")(types, attrs)
    return value, value.with_dtype(index_type(attrs["window"]))


def _index_loops(context: LoopContext, **attrs: Any) -> tuple[Stmt, ...]:
    source = context.in_types[0]
    regions = [output_regions(a) for a in _axes("max_pool_index", source.shape, attrs)]
    elements = _found_places(source.dtype, attrs["window"])
    return _loops(regions, source.shape[0], source.shape[-1], context, elements)


def places_of_image(context: LoopContext, image: Dim, **attrs: Any) -> tuple[Stmt, ...]:
    """The statements of max_pool_places for one image; the context reads the map as operand 0."""
    source = context.in_types[0]
    regions, elements = [output_regions(a) for a in _axes("max_pool_places", source.shape, attrs)], _found_places(
        source.dtype, attrs["window"]
    )
    return in_regions(context, image, regions, _over_channels(context, source.shape[-1], elements))


def _found_places(dtype: DType, window: Sequence[int]) -> Elements:
    """The place of one maximum, as the last result; before it the maximum if there are two results."""

    def elements(context: LoopContext, index: Index, taps: Taps, c: Dim) -> tuple[Stmt, ...]:
        best, place, last = context.fresh("best"), context.fresh("place"), len(context.out_types) - 1
        behind = const(math.prod(window), i32)

        def candidate(tap: Index, at: Index) -> tuple[Stmt, ...]:
            x = context.read(0, (*at, c))
            found: Expr = call("eq", x, Local(best, dtype))
            if dtype.is_float:  # the maximum is NaN if any element is, and only NaN differs from itself
                found = call("or", found, call("ne", x, x))
            return (Accumulate(place, "min", call("select", found, _number(tap, window, i32), behind)),)

        return (
            Init(best, const(lowest(dtype), dtype)),
            *over_taps(context, taps, lambda _, at: (Accumulate(best, "max", context.read(0, (*at, c))),)),
            Init(place, behind),
            *over_taps(context, taps, candidate),
            *(context.write(0, (*index, c), Local(best, dtype)) if last else ()),
            *context.write(last, (*index, c), cast(Local(place, i32), index_type(window))),
        )

    return elements


def _number(tap: Index, window: Sequence[int], dtype: DType) -> Expr:
    """The number of a tap as a value."""
    number: Dim = 0
    for k, size in zip(tap, window, strict=True):
        number = number * size + k
    return const(number, dtype) if isinstance(number, int) else IndexValue(number, dtype)


def _check_places(op: str, y: TensorType, index: TensorType, x: Shape, attrs: Attrs) -> None:
    axes = _axes(op, x, attrs, known=op.endswith("unpool"))
    wanted = y.with_shape(output_shape(x, axes, x[-1]))
    if y != wanted or index.shape != y.shape:
        raise ShapeError(op, expected=f"results and places of shape {wanted.shape}", received=f"{y} and {index}")
    if index.dtype is not index_type(attrs["window"]):
        raise DTypeError(op, expected=f"places of type {index_type(attrs['window']).numpy}", received=str(index.dtype))


def _infer_unpool(types: Types, attrs: Attrs) -> TensorType:
    expect("max_unpool", types, attrs, 2, (*NAMES, "shape"))
    expect_kind("max_unpool", types[0], FLOATS)
    shape = expect_dims("max_unpool", "shape", attrs["shape"], types[0].rank)
    _check_places("max_unpool", types[0], types[1], shape, attrs)
    return types[0].with_shape(shape)


def _unpool_grad(d: Any, y: Any, dy: Any, index: Any, shape: Shape, **attrs: Any) -> tuple[Any, None]:
    return current_emitter().emit("max_pick", d, index, **attrs), None


def _unpool_loops(context: LoopContext, shape: Shape, **attrs: Any) -> tuple[Stmt, ...]:
    return _spread(context, shape, attrs, lambda tap, at: call(
        "select",
        call("eq", context.read(1, at), _number(tap, attrs["window"], context.in_types[1].dtype)),
        context.read(0, at),
        const(0.0, context.in_types[0].dtype),
    ))  # fmt: skip


def _spread(
    context: LoopContext, shape: Shape, attrs: Attrs, term: Callable[[Index, Index], Expr]
) -> tuple[Stmt, ...]:
    """Each input position sums `term(tap, output)` over the outputs that see it."""
    dtype = context.in_types[0].dtype

    def elements(context: LoopContext, index: Index, taps: Taps, c: Dim) -> tuple[Stmt, ...]:
        acc = context.fresh("acc")
        steps = over_taps(context, taps, lambda tap, at: (Accumulate(acc, "add", term(tap, (*at, c))),))
        return Init(acc, const(0.0, dtype)), *steps, *context.write(0, (*index, c), Local(acc, dtype))

    regions = [input_regions(a) for a in _axes("unpool", shape, attrs, known=True)]
    return _loops(regions, shape[0], shape[-1], context, elements)


def _infer_pick(types: Types, attrs: Attrs) -> TensorType:
    expect("max_pick", types, attrs, 2, NAMES)
    expect_kind("max_pick", types[0], FLOATS)
    shape = types[0].shape
    result = types[0].with_shape(output_shape(shape, _axes("max_pick", shape, attrs), shape[-1]))
    _check_places("max_pick", result, types[1], shape, attrs)
    return result


def _pick_grad(d: Any, y: Any, x: Any, index: Any, **attrs: Any) -> tuple[Any, None]:
    emitter = current_emitter()
    return emitter.emit("max_unpool", d, index, shape=emitter.type_of(x).shape, **attrs), None


def _pick_loops(context: LoopContext, **attrs: Any) -> tuple[Stmt, ...]:
    source, places = context.in_types
    dtype = source.dtype

    def elements(context: LoopContext, index: Index, taps: Taps, c: Dim) -> tuple[Stmt, ...]:
        # Adding -0 changes no number, not even a zero.
        acc, place, none = context.fresh("acc"), context.read(1, (*index, c)), const(-0.0, dtype)

        def chosen(tap: Index, at: Index) -> tuple[Stmt, ...]:
            here = call("eq", place, _number(tap, attrs["window"], places.dtype))
            return (Accumulate(acc, "add", call("select", here, context.read(0, (*at, c)), none)),)

        return Init(acc, none), *over_taps(context, taps, chosen), *context.write(0, (*index, c), Local(acc, dtype))

    regions = [output_regions(a) for a in _axes("max_pick", source.shape, attrs)]
    return _loops(regions, source.shape[0], source.shape[-1], context, elements)


# --- sums -----------------------------------------------------------------------------------------------------------
def _sum_grad(dy: Any, y: Any, x: Any, **attrs: Any) -> tuple[Any]:
    emitter = current_emitter()
    return (emitter.emit("sum_unpool", dy, shape=emitter.type_of(x).shape, **attrs),)


def _infer_sum_unpool(types: Types, attrs: Attrs) -> TensorType:
    expect("sum_unpool", types, attrs, 1, (*NAMES, "shape"))
    expect_kind("sum_unpool", types[0], FLOATS)
    shape = expect_dims("sum_unpool", "shape", attrs["shape"], types[0].rank)
    wanted = output_shape(shape, _axes("sum_unpool", shape, attrs, known=True), shape[-1])
    if types[0].shape != wanted:
        raise ShapeError("sum_unpool", expected=f"an operand of shape {wanted}", received=str(types[0]))
    return types[0].with_shape(shape)


def _sum_unpool_loops(context: LoopContext, shape: Shape, **attrs: Any) -> tuple[Stmt, ...]:
    return _spread(context, shape, attrs, lambda tap, at: context.read(0, at))


# --- references and samples -----------------------------------------------------------------------------------------
def _padded(x: Array, axes: Sequence[Axis], value: Any) -> Array:
    amounts = ((0, 0), *((axis.low, axis.high) for axis in axes), (0, 0))
    return np.pad(x, amounts, constant_values=value)


def _windows(x: Array, attrs: Attrs, value: Any) -> Iterator[Array]:
    """What each tap sees, with `value` outside."""
    axes = _axes("reference", x.shape, attrs)
    padded = _padded(x, axes, value)
    for tap in each_tap(attrs["window"]):
        yield padded[:, *tap_slices(axes, tap)]


_CASES: tuple[tuple[tuple[int, ...], Attrs], ...] = tuple(
    (shape, {"window": window, "strides": strides, "low": low, "high": high})
    for shape, window, strides, low, high in (
        ((2, 7, 3), (3,), (2,), (0,), (0,)),
        ((1, 5, 9), (2,), (1,), (0,), (1,)),
        ((2, 6, 5, 3), (2, 2), (2, 2), (0, 0), (0, 0)),
        ((2, 5, 5, 17), (3, 3), (1, 1), (1, 1), (1, 1)),
        ((1, 7, 6, 2), (3, 2), (2, 3), (1, 0), (1, 1)),
        ((1, 4, 3, 5, 2), (2, 2, 3), (1, 2, 2), (0, 0, 1), (1, 1, 1)),
        ((0, 4, 4, 2), (2, 2), (2, 2), (0, 0), (0, 0)),
        ((1, 1, 1), (1,), (1,), (0,), (0,)),
        ((1, 7, 2), (2,), (4,), (0,), (0,)),
        ((2, 3, 18, 1), (3, 17), (1, 1), (1, 8), (1, 8)),
        ((2, 13, 15, 9), (6, 7), (6, 8), (0, 0), (0, 0)),
        ((1, 9, 12, 3), (6, 7), (1, 2), (0, 0), (0, 0)),
    )
)


def _pool_samples(rng: np.random.Generator) -> Iterator[Sample]:
    for number, (shape, attrs) in enumerate(_CASES):
        yield Sample((numbers(rng, shape, (f32, f64)[number % 2]),), attrs)


def _max_samples(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _pool_samples(rng)
    yield Sample((rng.integers(0, 2, (2, 4, 4, 9)).astype(np.int32),), _CASES[2][1])


def _index_samples(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _max_samples(rng)
    yield Sample((np.array([[[np.nan], [1.0], [np.nan], [-np.inf], [-np.inf], [0.0], [-0.0]]]),), _CASES[0][1])


def _result_samples(places: bool) -> Callable[[np.random.Generator], Iterator[Sample]]:
    """Calls with an operand of the results' shape and, if wanted, places; the attribute `shape` is the input's."""

    def samples(rng: np.random.Generator) -> Iterator[Sample]:
        for sample in _pool_samples(rng):
            (x,) = sample.args
            index = max_pool_index.reference(x, **sample.attrs)
            dy = numbers(rng, index.shape, dtype_of(x.dtype))
            yield Sample((dy, index) if places else (dy,), {**sample.attrs, "shape": x.shape})

    return samples


def _pick_samples(rng: np.random.Generator) -> Iterator[Sample]:
    for sample in _pool_samples(rng):
        (x,) = sample.args
        yield Sample((x, max_pool_index.reference(x, **sample.attrs)), sample.attrs)


PLAIN = {"window": (2,), "strides": (2,), "low": (0,), "high": (0,)}
_ERRORS = (
    bad("1 operands", **PLAIN),
    bad("rank 3 to 5", of((2, 5)), **PLAIN),
    bad("1 entries", of((2, 5, 3)), **{**PLAIN, "window": (2, 2)}),
    bad("integers >= 1", of((2, 5, 3)), **{**PLAIN, "strides": (0,)}),
    bad("at least as long as the window", of((2, 5, 3)), **{**PLAIN, "window": (6,)}),
    bad("smaller than the window", of((2, 5, 3)), **{**PLAIN, "low": (2,)}),
    bad("padding from 0 on", of((2, 5, 3)), **{**PLAIN, "high": (-1,)}),
)


@primitive(
    infer=_infer_pool("max_pool"),
    grad=_max_grad,
    lower=Loops(_reduced("max", lowest), reads_once=False),
    samples=_max_samples,
    errors=_ERRORS,
    source="y[b, o, c] = max over taps k inside the input of x[b, o * stride + k - low, c]",
)
def max_pool(x: Array, **attrs: Any) -> Any:
    """Largest element of each window of x[batch, *spatial, channels]; NaN if there is one. Padding never counts.

    Attributes: window, strides, low, high, each a tuple with an entry per spatial axis (1 to 3).
    Equal largest elements: the first one, row by row, gets the gradient.
    """
    return np.maximum.reduce(list(_windows(x, attrs, lowest(dtype_of(x.dtype)))))


@primitive(
    infer=_infer_index,
    grad=NoGrad("the result is an integer"),
    lower=Loops(_index_loops, reads_once=False),
    samples=_index_samples,
    errors=_ERRORS,
)
def max_pool_index(x: Array, **attrs: Any) -> Any:
    """Number (row by row in the whole window) of the tap that holds the first largest element, or the first NaN.

    The attributes are those of max_pool. The result is uint8, int32 for windows of more than 256 taps.
    """
    inside = _windows(np.ones(x.shape, bool), attrs, False)
    best = max_pool.reference(x, **attrs)
    out = np.full(best.shape, math.prod(attrs["window"]), np.int32)
    for number, (value, real) in enumerate(zip(_windows(x, attrs, x.dtype.type(0)), inside, strict=True)):
        found = real & ((value == best) | (value != value))
        out = np.where(found, np.minimum(out, number), out)
    return out.astype(index_type(attrs["window"]).to_numpy())


@primitive(
    infer=_infer_places,
    grad=NoGrad("a pass makes it after differentiation"),
    lower=Loops(_index_loops, reads_once=False),
    samples=_index_samples,
    errors=_ERRORS,
)
def max_pool_places(x: Array, **attrs: Any) -> Any:
    """The results of max_pool and of max_pool_index."""
    return max_pool.reference(x, **attrs), max_pool_index.reference(x, **attrs)


@primitive(
    infer=_infer_unpool,
    grad=_unpool_grad,
    lower=Loops(_unpool_loops, reads_once=False),
    samples=_result_samples(places=True),
    errors=(
        bad("2 operands", of((2, 2, 3)), **PLAIN, shape=(2, 5, 3)),
        bad("shape (2, 2, 3)", of((2, 3, 3)), of((2, 3, 3), u8), **PLAIN, shape=(2, 5, 3)),
        bad("places of type uint8", of((2, 2, 3)), of((2, 2, 3), i32), **PLAIN, shape=(2, 5, 3)),
        bad("a known size", of((2, 2, 3)), of((2, 2, 3), u8), **{**PLAIN, "strides": (1,)}, shape=(2, symbol("n"), 3)),
    ),
    source="adjoint of max_pick in its first operand",
)
def max_unpool(dy: Array, index: Array, shape: tuple[int, ...], **attrs: Any) -> Any:
    """Zeros of shape `shape` to which dy is added where `max_pool_index` found the maxima: the gradient of max_pool."""
    axes = _axes("reference", shape, attrs)
    padded = _padded(np.zeros(shape, dy.dtype), axes, 0)
    for number, tap in enumerate(each_tap(attrs["window"])):
        padded[:, *tap_slices(axes, tap)] += np.where(index == number, dy, dy.dtype.type(0))
    return _inside(padded, axes)


@primitive(
    infer=_infer_pick,
    grad=_pick_grad,
    lower=Loops(_pick_loops, reads_once=False),
    samples=_pick_samples,
    errors=(
        bad("2 operands", of((2, 5, 3)), **PLAIN),
        bad("places of shape (2, 2, 3)", of((2, 5, 3)), of((2, 3, 3), u8), **PLAIN),
        bad("places of type uint8", of((2, 5, 3)), of((2, 2, 3), i32), **PLAIN),
    ),
)
def max_pick(x: Array, index: Array, **attrs: Any) -> Any:
    """The elements of x at the taps `index` of each window, as `max_pool_index` numbers them."""
    out = np.zeros(index.shape, x.dtype)
    for number, value in enumerate(_windows(x, attrs, x.dtype.type(0))):
        out = np.where(index == number, value, out)
    return out


@primitive(
    infer=_infer_pool("sum_pool"),
    grad=_sum_grad,
    lower=Loops(_reduced("add", lambda dtype: 0.0), reads_once=False),
    samples=_pool_samples,
    errors=(*_ERRORS, bad("a float", of((2, 5, 3), i32), **PLAIN)),
    source="y[b, o, c] = sum over taps k inside the input of x[b, o * stride + k - low, c]",
)
def sum_pool(x: Array, **attrs: Any) -> Any:
    """Sum of each window; the attributes are those of max_pool."""
    total = None
    for value in _windows(x, attrs, x.dtype.type(0)):
        total = value.copy() if total is None else total + value
    return total


@primitive(
    infer=_infer_sum_unpool,
    grad=lambda d, y, dy, shape, **attrs: (current_emitter().emit("sum_pool", d, **attrs),),
    lower=Loops(_sum_unpool_loops, reads_once=False),
    samples=_result_samples(places=False),
    errors=(
        bad("1 operands", **PLAIN, shape=(2, 5, 3)),
        bad("an operand of shape (2, 2, 3)", of((2, 3, 3)), **PLAIN, shape=(2, 5, 3)),
        bad("3 entries", of((2, 2, 3)), **PLAIN, shape=(2, 5)),
    ),
    source="adjoint of sum_pool",
)
def sum_unpool(dy: Array, shape: tuple[int, ...], **attrs: Any) -> Any:
    """Every input position of shape `shape` gets the sum of dy over the windows that see it."""
    axes = _axes("reference", shape, attrs)
    padded = _padded(np.zeros(shape, dy.dtype), axes, 0)
    for tap in each_tap(attrs["window"]):
        padded[:, *tap_slices(axes, tap)] += dy
    return _inside(padded, axes)


def _inside(padded: Array, axes: Sequence[Axis]) -> Array:
    sizes = [axis.size for axis in axes]
    inside = [slice(a.low, a.low + n) for a, n in zip(axes, sizes, strict=True) if isinstance(n, int)]
    return np.ascontiguousarray(padded[:, *inside])


def avg_pool(x: Any, **attrs: Any) -> Any:
    """Mean of each window of a tensor over the elements inside it, as Keras and TensorFlow count: padding does not.

    The attributes are those of max_pool.
    """
    emitter = current_emitter()
    type = emitter.type_of(x)
    axes = _axes("avg_pool", type.shape, attrs)
    total = emitter.emit("sum_pool", x, **attrs)
    counts = _tap_counts(axes)
    if counts is None:
        return total * (1.0 / math.prod(axis.window for axis in axes))
    shape = emitter.type_of(total).shape
    return total * broadcast_to(emitter.constant(1.0 / counts[None, ..., None], type.dtype), shape)


def _tap_counts(axes: Sequence[Axis]) -> Array | None:
    """Number of taps inside the input at each output position; None if that is the whole window everywhere."""
    if all(axis.low == 0 and axis.high == 0 for axis in axes):
        return None
    counts = np.ones((), np.float64)
    for axis in axes:
        outputs = axis.outputs
        if not isinstance(outputs, int):
            raise ArgumentError("avg_pool", expected="known sizes where there is padding", received=str(axis.size))
        counts = np.multiply.outer(counts, [len(axis.taps_at(o)) for o in range(outputs)])
    return counts


OPS = (max_pool, max_pool_index, max_pool_places, max_unpool, max_pick, sum_pool, sum_unpool)
