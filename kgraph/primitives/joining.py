"""Joining, cutting and padding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from kgraph.errors import ArgumentError, DTypeError, ShapeError
from kgraph.ir.dims import Dim, Shape, symbol
from kgraph.ir.dtypes import f32, f64, i32
from kgraph.ir.loops import For, Stmt
from kgraph.ir.opdef import Array, Attrs, LoopContext, Loops, Pointwise, Sample, Types, current_emitter, primitive
from kgraph.ir.scalar import Expr, const
from kgraph.ir.types import TensorType
from kgraph.primitives.nests import Index, every_element
from kgraph.primitives.sampling import NUMERIC, bad, numbers, of, with_attrs
from kgraph.primitives.signatures import NUMBERS, expect, expect_axis, expect_dims, expect_kind


def _shape_of(value: Any) -> Shape:
    return current_emitter().type_of(value).shape


def _infer_concat(types: Types, attrs: Attrs) -> TensorType:
    expect("concat", types, attrs, max(1, len(types)), ("axis",))
    first = types[0]
    axis = expect_axis("concat", attrs["axis"], first.rank)
    total: Dim = 0
    for type in types:
        if type.dtype is not first.dtype:
            raise DTypeError("concat", expected="operands of one element type", received=f"{first} and {type}")
        if type.rank != first.rank or _other(type.shape, axis) != _other(first.shape, axis):
            raise ShapeError("concat", expected=f"equal sizes but for axis {axis}", received=f"{first} and {type}")
        total = total + type.shape[axis]
    return first.with_shape([total if a == axis else d for a, d in enumerate(first.shape)])


def _other(shape: Shape, axis: int) -> Shape:
    return shape[:axis] + shape[axis + 1 :]


def _concat_grad(dy: Any, y: Any, *xs: Any, axis: int) -> list[Any]:
    out, start = [], 0
    shape = _shape_of(y)
    for x in xs:
        stop: Any = start + _shape_of(x)[axis]
        starts = tuple(start if a == axis else 0 for a in range(len(shape)))
        limits = tuple(stop if a == axis else d for a, d in enumerate(shape))
        out.append(current_emitter().emit("slice", dy, starts=starts, limits=limits, strides=(1,) * len(shape)))
        start = stop
    return out


def _concat_loops(context: LoopContext, axis: int) -> tuple[Stmt, ...]:
    def copy(operand: int, start: Dim) -> tuple[Stmt, ...]:
        def element(index: Index) -> tuple[Stmt, ...]:
            at = [start + i if a == axis else i for a, i in enumerate(index)]
            return context.write(0, at, context.read(operand, index))

        return every_element(context, context.in_types[operand].shape, element)

    out: list[Stmt] = []
    start: Dim = 0
    for operand, type in enumerate(context.in_types):
        out += copy(operand, start)
        start = start + type.shape[axis]
    return tuple(out)


def _concat_samples(rng: np.random.Generator) -> Iterator[Sample]:
    cases: tuple[tuple[list[tuple[int, ...]], int], ...] = (
        ([(2,), (3,)], 0), ([(2, 3), (2, 4)], 1), ([(2, 3), (1, 3), (4, 3)], 0), ([(5,)], 0),
        ([(0, 3), (2, 3)], 0), ([(2, 0), (2, 0)], 1), ([(1,), (1,)], 0), ([(2, 3, 4), (2, 1, 4)], 1),
        ([(3, 0), (3, 17)], 1),
    )  # fmt: skip
    for n, (shapes, axis) in enumerate(cases):
        for dtype in dict.fromkeys((NUMERIC[n % 6], f32, f64)):
            yield Sample(tuple(numbers(rng, s, dtype) for s in shapes), {"axis": axis})


@primitive(
    infer=_infer_concat,
    grad=_concat_grad,
    lower=Loops(_concat_loops),
    samples=_concat_samples,
    errors=(
        bad("1 operands", axis=0),
        bad("equal sizes but for axis 1", of((2, 3)), of((3, 3)), axis=1),
        bad("one element type", of((2, 3)), of((2, 3), i32), axis=1),
        bad("an axis in 0..1", of((2, 3)), of((2, 3)), axis=2),
    ),
)
def concat(*xs: Array, axis: int) -> Any:
    """Join tensors of one element type along an axis."""
    return np.concatenate(xs, axis=axis)


def _infer_slice(types: Types, attrs: Attrs) -> TensorType:
    expect("slice", types, attrs, 1, ("starts", "limits", "strides"))
    shape = types[0].shape
    starts = expect_dims("slice", "starts", attrs["starts"], len(shape))
    limits = expect_dims("slice", "limits", attrs["limits"], len(shape))
    strides = expect_dims("slice", "strides", attrs["strides"], len(shape))
    sizes: list[Dim] = []
    for axis, (start, limit, stride, size) in enumerate(zip(starts, limits, strides, shape, strict=True)):
        if not isinstance(stride, int) or stride < 1:
            raise ShapeError("slice, attribute strides", expected="integers >= 1", received=repr(strides))
        if _surely_above(start, limit) or _surely_above(limit, size):
            raise ShapeError(f"slice, axis {axis}", expected=f"start <= limit <= {size}", received=f"{start}:{limit}")
        sizes.append(_ceil_quotient(limit - start, stride))
    return types[0].with_shape(sizes)


def _surely_above(a: Dim, b: Dim) -> bool:
    gap = a - b
    return isinstance(gap, int) and gap > 0


def _ceil_quotient(n: Dim, divisor: int) -> Dim:
    return n if divisor == 1 else (n + divisor - 1) // divisor


def _slice_grad(dy: Any, y: Any, x: Any, starts: Shape, limits: Shape, strides: tuple[int, ...]) -> tuple[Any]:
    emit = current_emitter().emit
    shape = _shape_of(x)
    for axis, stride in enumerate(strides):
        if stride == 1:
            continue
        # Spread the axis: (n,) -> (n, 1) -> (n, stride) with zeros behind -> (n * stride,) -> cut to the span.
        now = _shape_of(dy)
        n, head, tail = now[axis], now[:axis], now[axis + 1 :]
        dy = emit("reshape", dy, shape=(*head, n, 1, *tail))
        behind = tuple(stride - 1 if a == axis + 1 else 0 for a in range(len(now) + 1))
        dy = emit("pad", dy, low=(0,) * (len(now) + 1), high=behind, value=0.0)
        dy = emit("reshape", dy, shape=(*head, n * stride, *tail))
        stop = (*head, limits[axis] - starts[axis], *tail)
        dy = emit("slice", dy, starts=(0,) * len(now), limits=stop, strides=(1,) * len(now))
    high = tuple(d - limit for d, limit in zip(shape, limits, strict=True))
    return (emit("pad", dy, low=starts, high=high, value=0.0),)


def _slice_element(context: LoopContext, index: Index, starts: Shape, limits: Shape, strides: Shape) -> Expr:
    return context.read(0, [start + stride * i for start, stride, i in zip(starts, strides, index, strict=True)])


def _cut(starts: tuple[int, ...], limits: tuple[int, ...], strides: tuple[int, ...]) -> Attrs:
    return {"starts": starts, "limits": limits, "strides": strides}


@primitive(
    name="slice",
    infer=_infer_slice,
    grad=_slice_grad,
    lower=Pointwise(_slice_element),
    samples=with_attrs(
        ((6,), _cut((1,), (5,), (1,))),
        ((6,), _cut((1,), (6,), (2,))),
        ((7, 9), _cut((2, 0), (7, 9), (1, 4))),
        ((3, 4), _cut((0, 0), (3, 4), (1, 1))),
        ((3, 4), _cut((1, 2), (1, 4), (1, 1))),
        ((1,), _cut((0,), (1,), (1,))),
        ((), _cut((), (), ())),
        ((0, 3), _cut((0, 1), (0, 3), (1, 1))),
        ((5, 6, 2), _cut((4, 1, 0), (5, 5, 2), (1, 3, 2))),
        dtypes=NUMERIC,
    ),
    errors=(
        bad("1 operands", **_cut((0,), (1,), (1,))),
        bad("limit <= 3", of((3,)), **_cut((0,), (4,), (1,))),
        bad("start <= limit", of((3,)), **_cut((2,), (1,), (1,))),
        bad("integers >= 1", of((3,)), **_cut((0,), (3,), (0,))),
        bad("2 entries", of((3, 4)), **_cut((0,), (3,), (1,))),
    ),
)
def slice_(x: Array, starts: tuple[int, ...], limits: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """Elements start, start + stride, ... below limit on each axis; starts and limits may be symbolic."""
    return x[tuple(slice(*cut) for cut in zip(starts, limits, strides, strict=True))]


def _infer_pad(types: Types, attrs: Attrs) -> TensorType:
    expect("pad", types, attrs, 1, ("low", "high", "value"))
    expect_kind("pad", types[0], NUMBERS)
    low = expect_dims("pad", "low", attrs["low"], types[0].rank)
    high = expect_dims("pad", "high", attrs["high"], types[0].rank)
    if not isinstance(attrs["value"], (int, float)) or (
        types[0].dtype.is_integer and not float(attrs["value"]).is_integer()
    ):
        raise ArgumentError("pad, attribute value", expected=f"a number of type {types[0].dtype.numpy}",
                            received=repr(attrs["value"]))  # fmt: skip
    return types[0].with_shape([a + d + b for a, d, b in zip(low, types[0].shape, high, strict=True)])


def _pad_grad(dy: Any, y: Any, x: Any, low: Shape, high: Shape, value: float) -> tuple[Any]:
    limits = tuple(a + d for a, d in zip(low, _shape_of(x), strict=True))
    return (current_emitter().emit("slice", dy, starts=low, limits=limits, strides=(1,) * len(low)),)


def _pad_loops(context: LoopContext, low: Shape, high: Shape, value: float) -> tuple[Stmt, ...]:
    source, result = context.in_types[0], context.out_types[0]
    number = int(value) if source.dtype.is_integer else float(value)

    def border(before: Index, axis: int, start: Dim, size: Dim) -> tuple[Stmt, ...]:
        shape = (size, *result.shape[axis + 1 :])

        def element(index: Index) -> tuple[Stmt, ...]:
            at = (*before, start + index[0], *index[1:])
            return context.write(0, at, const(number, source.dtype))

        return () if size == 0 else every_element(context, shape, element)

    def inside(before: Index, axis: int) -> tuple[Stmt, ...]:
        if axis == source.rank or all(d == 0 for d in (*low[axis:], *high[axis:])):
            return every_element(context, source.shape[axis:], lambda index: copy(before, axis, index))
        n = source.shape[axis]
        if axis == source.rank - 1:
            middle = every_element(context, (n,), lambda index: copy(before, axis, index))
        else:
            var = context.fresh("i")
            body = inside((*before, low[axis] + symbol(var)), axis + 1)
            middle = (For(var, n, "serial", body),)
        return (*border(before, axis, 0, low[axis]), *middle, *border(before, axis, low[axis] + n, high[axis]))

    def copy(before: Index, axis: int, index: Index) -> tuple[Stmt, ...]:
        origin = [a - b for a, b in zip(before, low, strict=False)]
        at = [a + b for a, b in zip(index, low[axis:], strict=True)]
        return context.write(0, [*before, *at], context.read(0, [*origin, *index]))

    return inside((), 0)


@primitive(
    infer=_infer_pad,
    grad=_pad_grad,
    lower=Loops(_pad_loops),
    samples=with_attrs(
        ((3,), {"low": (1,), "high": (2,), "value": 0.0}),
        ((2, 3), {"low": (0, 1), "high": (2, 0), "value": 1.0}),
        ((2, 3, 4), {"low": (1, 0, 2), "high": (0, 0, 1), "value": 0.0}),
        ((), {"low": (), "high": (), "value": 0.0}),
        ((0, 2), {"low": (1, 1), "high": (1, 1), "value": 2.0}),
        ((1,), {"low": (0,), "high": (0,), "value": 0.0}),
        ((2, 9), {"low": (1, 0), "high": (1, 0), "value": 0.0}),
        ((5, 1), {"low": (0, 3), "high": (0, 17), "value": 3.0}),
        dtypes=NUMERIC,
    ),
    errors=(
        bad("1 operands", low=(0,), high=(0,), value=0.0),
        bad("2 entries", of((2, 3)), low=(0,), high=(0, 0), value=0.0),
        bad("sizes >= 0", of((2,)), low=(-1,), high=(0,), value=0.0),
        bad("a number of type int32", of((2,), i32), low=(1,), high=(0,), value=0.5),
    ),
)
def pad(x: Array, low: tuple[int, ...], high: tuple[int, ...], value: float) -> Any:
    """Put `low[i]` and `high[i]` elements of `value` before and behind axis i; amounts may be symbolic."""
    amounts = tuple(zip(low, high, strict=True))
    return np.pad(x, amounts, constant_values=value) if x.ndim else x


OPS = (concat, slice_, pad)
