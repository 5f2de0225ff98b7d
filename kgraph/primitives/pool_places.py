"""Places of the maxima of a max-pooling, and what its gradient makes of them.

Where gradients are needed the places of the maxima are found as well; they are small integers, and the gradient is
linear in dy: `max_unpool` puts dy at the places, `max_pick` reads there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kgraph.errors import DTypeError, ShapeError
from kgraph.ir.dims import Dim, Shape, symbol
from kgraph.ir.dtypes import DType, dtype_of, i32, u8
from kgraph.ir.loops import Accumulate, Init, Stmt
from kgraph.ir.opdef import Array, Attrs, LoopContext, Loops, NoGrad, Sample, Types, current_emitter, primitive
from kgraph.ir.scalar import Expr, IndexValue, Local, call, cast, const
from kgraph.ir.types import TensorType
from kgraph.primitives.nests import Index
from kgraph.primitives.pool_windows import (
    CASES,
    ERRORS,
    NAMES,
    PLAIN,
    Elements,
    infer_pool,
    max_samples,
    over_channels,
    over_windows,
    padded_with,
    pool_axes,
    pool_samples,
    spread,
    windows_of,
    without_padding,
)
from kgraph.primitives.pooling import max_pool
from kgraph.primitives.reductions import lowest
from kgraph.primitives.sampling import bad, numbers, of
from kgraph.primitives.signatures import FLOATS, expect, expect_dims, expect_kind
from kgraph.primitives.sliding import (
    Taps,
    each_tap,
    in_regions,
    output_regions,
    output_shape,
    over_taps,
    tap_slices,
)


def index_type(window: Sequence[int]) -> DType:
    """Element type of the number of a tap."""
    return u8 if math.prod(window) <= 256 else i32


def _infer_index(types: Types, attrs: Attrs) -> TensorType:
    return infer_pool("max_pool_index")(types, attrs).with_dtype(index_type(attrs["window"]))


def _infer_places(types: Types, attrs: Attrs) -> tuple[TensorType, TensorType]:
    value = infer_pool("max_pool_places")(types, attrs)
    return value, value.with_dtype(index_type(attrs["window"]))


def _index_loops(context: LoopContext, **attrs: Any) -> tuple[Stmt, ...]:
    source = context.in_types[0]
    regions = [output_regions(a) for a in pool_axes("max_pool_index", source.shape, attrs)]
    elements = _found_places(source.dtype, attrs["window"])
    return over_windows(regions, source.shape[0], source.shape[-1], context, elements)


def places_of_image(context: LoopContext, image: Dim, **attrs: Any) -> tuple[Stmt, ...]:
    """The statements of max_pool_places for one image; the context reads the map as operand 0."""
    source = context.in_types[0]
    regions = [output_regions(a) for a in pool_axes("max_pool_places", source.shape, attrs)]
    elements = _found_places(source.dtype, attrs["window"])
    return in_regions(context, image, regions, over_channels(context, source.shape[-1], elements))


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
    axes = pool_axes(op, x, attrs, known=op.endswith("unpool"))
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
    return spread(context, shape, attrs, lambda tap, at: call(
        "select",
        call("eq", context.read(1, at), _number(tap, attrs["window"], context.in_types[1].dtype)),
        context.read(0, at),
        const(0.0, context.in_types[0].dtype),
    ))  # fmt: skip


def _infer_pick(types: Types, attrs: Attrs) -> TensorType:
    expect("max_pick", types, attrs, 2, NAMES)
    expect_kind("max_pick", types[0], FLOATS)
    shape = types[0].shape
    result = types[0].with_shape(output_shape(shape, pool_axes("max_pick", shape, attrs), shape[-1]))
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

    regions = [output_regions(a) for a in pool_axes("max_pick", source.shape, attrs)]
    return over_windows(regions, source.shape[0], source.shape[-1], context, elements)


def _index_samples(rng: np.random.Generator) -> Iterator[Sample]:
    yield from max_samples(rng)
    yield Sample((np.array([[[np.nan], [1.0], [np.nan], [-np.inf], [-np.inf], [0.0], [-0.0]]]),), CASES[0][1])


def _unpool_samples(rng: np.random.Generator) -> Iterator[Sample]:
    for sample in pool_samples(rng):
        (x,) = sample.args
        index = max_pool_index.reference(x, **sample.attrs)
        yield Sample((numbers(rng, index.shape, dtype_of(x.dtype)), index), {**sample.attrs, "shape": x.shape})


def _pick_samples(rng: np.random.Generator) -> Iterator[Sample]:
    for sample in pool_samples(rng):
        (x,) = sample.args
        yield Sample((x, max_pool_index.reference(x, **sample.attrs)), sample.attrs)


@primitive(
    infer=_infer_index,
    grad=NoGrad("the result is an integer"),
    lower=Loops(_index_loops, reads_once=False),
    samples=_index_samples,
    errors=ERRORS,
)
def max_pool_index(x: Array, **attrs: Any) -> Any:
    """Number (row by row in the whole window) of the tap that holds the first largest element, or the first NaN.

    The attributes are those of max_pool. The result is uint8, int32 for windows of more than 256 taps.
    """
    inside = windows_of(np.ones(x.shape, bool), attrs, False)
    best = max_pool.reference(x, **attrs)
    out = np.full(best.shape, math.prod(attrs["window"]), np.int32)
    for number, (value, real) in enumerate(zip(windows_of(x, attrs, x.dtype.type(0)), inside, strict=True)):
        found = real & ((value == best) | (value != value))
        out = np.where(found, np.minimum(out, number), out)
    return out.astype(index_type(attrs["window"]).to_numpy())


@primitive(
    infer=_infer_places,
    grad=NoGrad("a pass makes it after differentiation"),
    lower=Loops(_index_loops, reads_once=False),
    samples=_index_samples,
    errors=ERRORS,
)
def max_pool_places(x: Array, **attrs: Any) -> Any:
    """The results of max_pool and of max_pool_index."""
    return max_pool.reference(x, **attrs), max_pool_index.reference(x, **attrs)


@primitive(
    infer=_infer_unpool,
    grad=_unpool_grad,
    lower=Loops(_unpool_loops, reads_once=False),
    samples=_unpool_samples,
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
    axes = pool_axes("reference", shape, attrs)
    padded = padded_with(np.zeros(shape, dy.dtype), axes, 0)
    for number, tap in enumerate(each_tap(attrs["window"])):
        padded[:, *tap_slices(axes, tap)] += np.where(index == number, dy, dy.dtype.type(0))
    return without_padding(padded, axes)


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
    for number, value in enumerate(windows_of(x, attrs, x.dtype.type(0))):
        out = np.where(index == number, value, out)
    return out


OPS = (max_pool_index, max_pool_places, max_unpool, max_pick)
