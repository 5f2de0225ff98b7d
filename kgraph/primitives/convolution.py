"""Convolutions over channels-last tensors: forward, gradient of the input, gradient of the weights.

Each is one matrix product over windows (`kgraph.ir.loops.Window`), so the product's kernels do the work; a depthwise
convolution is a plain vector loop over the channels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from kgraph.errors import ShapeError
from kgraph.ir.dims import Dim, Shape, product, symbol
from kgraph.ir.dtypes import f32, f64, i32
from kgraph.ir.loops import Accumulate, Contract, For, Init, Ranges, Stmt, Window
from kgraph.ir.opdef import Array, Attrs, LoopContext, Loops, Sample, Types, current_emitter, primitive
from kgraph.ir.scalar import Expr, Local, call, const
from kgraph.ir.types import TensorType
from kgraph.primitives.nests import Index, every_element
from kgraph.primitives.sampling import bad, numbers, of
from kgraph.primitives.signatures import FLOATS, expect, expect_dims, expect_kind
from kgraph.primitives.sliding import (
    Axis,
    Taps,
    axes_of,
    each_tap,
    input_regions,
    output_regions,
    output_shape,
    over_regions,
    tap_slices,
)
from kgraph.record import record

NAMES = ("strides", "low", "high", "dilation", "groups")


@record
class Geometry:
    """Sizes of one convolution y = conv(x, w).

    Attributes:
        x, w: shapes of input and weights.
        axes: the spatial axes.
        groups: number of groups of channels that do not see each other.
    """

    x: Shape
    w: Shape
    axes: tuple[Axis, ...]
    groups: int

    @property
    def y(self) -> Shape:
        """Shape of the result."""
        return output_shape(self.x, self.axes, self.w[-1])

    @property
    def outputs(self) -> Dim:
        """Result channels of one group."""
        return self.w[-1] // self.groups

    @property
    def is_depthwise(self) -> bool:
        """Whether each input channel is a group and the borders are known."""
        return self.groups > 1 and self.w[-2] == 1 and all(axis.is_static for axis in self.axes)


def geometry(op: str, x: TensorType, w: TensorType, attrs: Attrs) -> Geometry:
    """The sizes of a convolution, checked."""
    for position, type in enumerate((x, w)):
        expect_kind(op, type, FLOATS, position)
    if not 3 <= x.rank <= 5 or w.rank != x.rank or x.dtype is not w.dtype:
        raise ShapeError(op, expected="operands of one element type and one rank, 3 to 5", received=f"{x} and {w}")
    groups = attrs["groups"]
    if not isinstance(groups, int) or isinstance(groups, bool) or groups < 1:
        raise ShapeError(f"{op}, attribute groups", expected="an integer >= 1", received=repr(groups))
    channels, window = x.shape[-1], w.shape[:-2]
    if not all(isinstance(d, int) for d in (*w.shape, channels)):
        raise ShapeError(op, expected="known sizes of channels and weights", received=f"{x} and {w}")
    if w.shape[-2] * groups != channels or w.shape[-1] % groups:  # type: ignore[operator]
        raise ShapeError(op, expected=f"{groups} groups that divide the channels {channels} and {w.shape[-1]}, and "
                         f"weights for {channels} // {groups} channels", received=f"{x} and {w}")  # fmt: skip
    axes = axes_of(op, x.shape, [d for d in window if isinstance(d, int)], attrs)
    return Geometry(x.shape, w.shape, axes, groups)


# --- forward --------------------------------------------------------------------------------------------------------
def _infer_conv(types: Types, attrs: Attrs) -> TensorType:
    expect("conv", types, attrs, 2, NAMES)
    return types[0].with_shape(geometry("conv", types[0], types[1], attrs).y)


def _conv_grad(dy: Any, y: Any, x: Any, w: Any, **attrs: Any) -> tuple[Any, Any]:
    emitter = current_emitter()
    shape, kernel = emitter.type_of(x).shape, emitter.type_of(w).shape[:-2]
    dx = emitter.emit("conv_input_grad", dy, w, shape=shape, **attrs)
    return dx, emitter.emit("conv_weight_grad", x, dy, kernel=kernel, **attrs)


def _conv_loops(context: LoopContext, **attrs: Any) -> tuple[Stmt, ...]:
    g = geometry("conv", context.in_types[0], context.in_types[1], attrs)
    if g.is_depthwise:
        return _depthwise(context, g)
    outputs, taps, (batch, channel) = _names(context, "o", g), _names(context, "k", g), _two(context)

    def group(number: Dim) -> tuple[Stmt, ...]:
        places = [o * a.stride + k * a.dilation - a.low for a, o, k in zip(g.axes, outputs, taps, strict=True)]
        rows = _ranges((batch, *outputs), g.y[:-1])
        over = _ranges((*taps, channel), g.w[:-1])
        left = Window(context.matrix(0), (batch, *places, number * g.w[-2] + channel))
        return _product(context, rows, over, g.outputs, left, lambda col: Window(
            context.matrix(1), (*taps, channel, number * g.outputs + col)
        ), lambda col, value: context.write(0, (batch, *outputs, number * g.outputs + col), value))  # fmt: skip

    return _each_group(context, g.groups, group)


def image_product(
    context: LoopContext, g: Geometry, image: Dim, finish: Callable[[Index, Expr], tuple[Stmt, ...]]
) -> tuple[Stmt, ...]:
    """The product for one image of a convolution with one group; `finish(index, sum)` gets (*position, output)."""
    outputs, taps, (_, channel) = _names(context, "o", g), _names(context, "k", g), _two(context)
    places = [o * a.stride + k * a.dilation - a.low for a, o, k in zip(g.axes, outputs, taps, strict=True)]
    rows, over = _ranges(outputs, g.y[1:-1]), _ranges((*taps, channel), g.w[:-1])
    left = Window(context.matrix(0), (image, *places, channel))
    return _product(context, rows, over, g.outputs, left, lambda col: Window(
        context.matrix(1), (*taps, channel, col)
    ), lambda col, value: finish((*outputs, col), value))  # fmt: skip


def _product(
    context: LoopContext, rows: Ranges, over: Ranges, n: Dim, left: Window, right: Callable[[Dim], Window],
    finish: Callable[[Dim, Expr], tuple[Stmt, ...]],
) -> tuple[Stmt, ...]:  # fmt: skip
    """A product over windows; `finish(column, sum)` gives the statements that hand over a sum."""
    m, k = (product(tuple(extent for _, extent in ranges)) for ranges in (rows, over))
    dtype = left.buffer.dtype
    row, col, acc = context.fresh("row"), context.fresh("col"), context.fresh("acc")
    scratch = context.scratch("windows", dtype, m, n, k)
    body = finish(symbol(col), Local(acc, dtype))
    return (Contract(row, col, m, n, k, left, right(symbol(col)), acc, scratch, body, rows, over),)


def _each_group(context: LoopContext, groups: int, body: Callable[[Dim], tuple[Stmt, ...]]) -> tuple[Stmt, ...]:
    if groups == 1:
        return body(0)
    var = context.fresh("g")
    return (For(var, groups, "parallel", body(symbol(var))),)


def _names(context: LoopContext, hint: str, g: Geometry) -> list[Dim]:
    return [symbol(context.fresh(hint)) for _ in g.axes]


def _two(context: LoopContext) -> tuple[Dim, Dim]:
    return symbol(context.fresh("b")), symbol(context.fresh("c"))


def _ranges(variables: Sequence[Dim], extents: Sequence[Dim]) -> Ranges:
    return tuple((str(var), extent) for var, extent in zip(variables, extents, strict=True))


def _depthwise(context: LoopContext, g: Geometry) -> tuple[Stmt, ...]:
    """y[b, o, c*f + m] = sum over taps of x[b, place, c] * w[tap, 0, c*f + m]; the channels c are the vector."""
    f = g.outputs
    dtype = context.in_types[0].dtype

    def position(index: Index, taps: Taps) -> tuple[Stmt, ...]:
        def channel(c: Dim, m: Dim) -> tuple[Stmt, ...]:
            acc = context.fresh("acc")
            terms = [
                call("mul", context.read(0, (*place, c)), context.read(1, (*tap, 0, c * f + m))) for tap, place in taps
            ]
            return _summed(acc, terms, dtype_zero=const(0.0, dtype), write=lambda total: context.write(
                0, (*index, c * f + m), total
            ))  # fmt: skip

        return _channels(context, g.x[-1], f, channel)

    return over_regions(context, g.x[0], [output_regions(axis) for axis in g.axes], position)


def _channels(
    context: LoopContext, channels: Dim, multiplier: Dim, body: Callable[[Dim, Dim], tuple[Stmt, ...]]
) -> tuple[Stmt, ...]:
    """A vector loop over channels, inside a loop over the results of each channel if there are several."""
    c, m = context.fresh("c"), context.fresh("m")
    inner = (For(c, channels, "vector", body(symbol(c), 0 if multiplier == 1 else symbol(m))),)
    return inner if multiplier == 1 else (For(m, multiplier, "serial", inner),)


def _summed(
    acc: str, terms: Sequence[Expr], dtype_zero: Expr, write: Callable[[Expr], tuple[Stmt, ...]]
) -> tuple[Stmt, ...]:
    steps = [Accumulate(acc, "add", term) for term in terms]
    return Init(acc, dtype_zero), *steps, *write(Local(acc, dtype_zero.dtype))


# --- gradient of the input ------------------------------------------------------------------------------------------
def _infer_input_grad(types: Types, attrs: Attrs) -> TensorType:
    expect("conv_input_grad", types, attrs, 2, (*NAMES, "shape"))
    return types[0].with_shape(_input_geometry(types, attrs).x)


def _input_geometry(types: Types, attrs: Attrs) -> Geometry:
    shape = expect_dims("conv_input_grad", "shape", attrs["shape"], types[0].rank)
    g = geometry("conv_input_grad", types[0].with_shape(shape), types[1], attrs)
    if g.y != types[0].shape:
        raise ShapeError("conv_input_grad", expected=f"a first operand of shape {g.y}", received=str(types[0]))
    return g


def _input_grad_grad(dy: Any, y: Any, d: Any, w: Any, shape: Shape, **attrs: Any) -> tuple[Any, Any]:
    emitter = current_emitter()
    kernel = emitter.type_of(w).shape[:-2]
    return emitter.emit("conv", dy, w, **attrs), emitter.emit("conv_weight_grad", dy, d, kernel=kernel, **attrs)


@record
class _Phase:
    """Input positions stride * r + start of one axis, which taps last - step * t see at outputs r + first + move * t.

    Attributes:
        count: number of positions.
        taps: number of taps; 0 if no window sees the positions.
    """

    start: int
    count: Dim
    taps: int
    last: int
    step: int
    first: int
    move: int


def _phases(axis: Axis) -> list[_Phase]:
    """The positions of one axis by their remainder: for each the taps form an arithmetic progression."""
    found = []
    s, d = axis.stride, axis.dilation
    for start in range(s):
        count = (axis.size - start + s - 1) // s
        taps = [k for k in range(axis.window) if (start + axis.low - k * d) % s == 0]
        step = s // math.gcd(s, d)
        last = taps[-1] if taps else 0
        found.append(_Phase(start, count, len(taps), last, step, (start + axis.low - last * d) // s, step * d // s))
    return found


def _input_grad_loops(context: LoopContext, **attrs: Any) -> tuple[Stmt, ...]:
    g = _input_geometry(context.in_types, attrs)
    if g.is_depthwise and all(isinstance(axis.size, int) for axis in g.axes):
        return _depthwise_input_grad(context, g)

    def group(number: Dim) -> tuple[Stmt, ...]:
        out: list[Stmt] = []
        for phases in itertools.product(*map(_phases, g.axes)):
            if any(phase.count == 0 for phase in phases):
                continue
            make = _phase_product if all(phase.taps for phase in phases) else _phase_zeros
            out += make(context, g, phases, number)
        return tuple(out)

    return _each_group(context, g.groups, group)


def _phase_product(context: LoopContext, g: Geometry, phases: Sequence[_Phase], number: Dim) -> tuple[Stmt, ...]:
    places, taps, (batch, channel) = _names(context, "r", g), _names(context, "t", g), _two(context)
    seen = [r + p.first + p.move * t for p, r, t in zip(phases, places, taps, strict=True)]
    used = [p.last - p.step * t for p, t in zip(phases, taps, strict=True)]
    target = [p.start + a.stride * r for p, a, r in zip(phases, g.axes, places, strict=True)]
    rows = _ranges((batch, *places), (g.x[0], *(p.count for p in phases)))
    over = _ranges((*taps, channel), (*(p.taps for p in phases), g.outputs))
    left = Window(context.matrix(0), (batch, *seen, number * g.outputs + channel))
    return _product(context, rows, over, g.w[-2], left, lambda col: Window(
        context.matrix(1), (*used, col, number * g.outputs + channel)
    ), lambda col, value: context.write(0, (batch, *target, number * g.w[-2] + col), value))  # fmt: skip


def _phase_zeros(context: LoopContext, g: Geometry, phases: Sequence[_Phase], number: Dim) -> tuple[Stmt, ...]:
    dtype = context.out_types[0].dtype

    def element(index: Index) -> tuple[Stmt, ...]:
        target = [p.start + a.stride * r for p, a, r in zip(phases, g.axes, index[1:-1], strict=True)]
        return context.write(0, (index[0], *target, number * g.w[-2] + index[-1]), const(0.0, dtype))

    return every_element(context, (g.x[0], *(p.count for p in phases), g.w[-2]), element)


def _depthwise_input_grad(context: LoopContext, g: Geometry) -> tuple[Stmt, ...]:
    """dx[b, i, c] = sum over m and the taps that see i at outputs o of dy[b, o, c*f + m] * w[tap, 0, c*f + m]."""
    f = g.outputs
    assert isinstance(f, int)
    dtype = context.in_types[0].dtype

    def position(index: Index, taps: Taps) -> tuple[Stmt, ...]:
        def channel(c: Dim, m: Dim) -> tuple[Stmt, ...]:
            acc = context.fresh("acc")
            terms = [
                call("mul", context.read(0, (*place, c * f + n)), context.read(1, (*tap, 0, c * f + n)))
                for tap, place in taps
                for n in range(f)
            ]
            return _summed(acc, terms, const(0.0, dtype), lambda total: context.write(0, (*index, c), total))

        return _channels(context, g.x[-1], 1, channel)

    return over_regions(context, g.x[0], [input_regions(axis) for axis in g.axes], position)


# --- gradient of the weights ----------------------------------------------------------------------------------------
def _infer_weight_grad(types: Types, attrs: Attrs) -> TensorType:
    expect("conv_weight_grad", types, attrs, 2, (*NAMES, "kernel"))
    return types[0].with_shape(weight_geometry(types, attrs).w)


def weight_geometry(types: Types, attrs: Attrs) -> Geometry:
    """The sizes of the convolution whose weights' gradient is wanted, from x, dy and the attribute kernel."""
    x, dy = types
    kernel = expect_dims("conv_weight_grad", "kernel", attrs["kernel"], max(x.rank - 2, 0))
    groups = attrs["groups"]
    channels = x.shape[-1] // groups if isinstance(groups, int) and groups > 0 else x.shape[-1]
    g = geometry("conv_weight_grad", x, x.with_shape((*kernel, channels, dy.shape[-1])), attrs)
    if g.y != dy.shape or x.dtype is not dy.dtype:
        raise ShapeError("conv_weight_grad", expected=f"a second operand of shape {g.y} and type {x.dtype}",
                         received=str(dy))  # fmt: skip
    return g


def _weight_grad_grad(dw: Any, w: Any, x: Any, dy: Any, kernel: Shape, **attrs: Any) -> tuple[Any, Any]:
    emitter = current_emitter()
    shape = emitter.type_of(x).shape
    return emitter.emit("conv_input_grad", dy, dw, shape=shape, **attrs), emitter.emit("conv", x, dw, **attrs)


def _weight_grad_loops(context: LoopContext, **attrs: Any) -> tuple[Stmt, ...]:
    g = weight_geometry(context.in_types, attrs)
    if g.is_depthwise and all(isinstance(axis.size, int) for axis in g.axes):
        return _depthwise_weight_grad(context, g)
    return _each_group(context, g.groups, lambda number: weight_product(context, g, number, (0, g.x[0]), ()))


def weight_product(
    context: LoopContext, g: Geometry, group: Dim, images: tuple[Dim, Dim], place: Index
) -> tuple[Stmt, ...]:
    """The product for the weights of one group, summed over `images` (first, number) of the batch.

    The sum of tap, channel and output is written at index (*place, *tap, channel, output).
    """
    outputs, taps, (batch, channel) = _names(context, "o", g), _names(context, "k", g), _two(context)
    places = [o * a.stride + k * a.dilation - a.low for a, o, k in zip(g.axes, outputs, taps, strict=True)]
    rows = _ranges((*taps, channel), g.w[:-1])
    over = _ranges((batch, *outputs), (images[1], *g.y[1:-1]))
    image = images[0] + batch
    left = Window(context.matrix(0), (image, *places, group * g.w[-2] + channel))
    return _product(context, rows, over, g.outputs, left, lambda col: Window(
        context.matrix(1), (image, *outputs, group * g.outputs + col)
    ), lambda col, value: context.write(0, (*place, *taps, channel, group * g.outputs + col), value))  # fmt: skip


def _depthwise_weight_grad(context: LoopContext, g: Geometry) -> tuple[Stmt, ...]:
    """dw[tap, 0, c*f + m] = sum over b and the outputs o whose tap is inside of x[b, place, c] * dy[b, o, c*f + m]."""
    f, dtype = g.outputs, context.in_types[0].dtype
    out: list[Stmt] = []
    for tap in each_tap([axis.window for axis in g.axes]):
        ranges = [_outputs_of(axis, k) for axis, k in zip(g.axes, tap, strict=True)]

        def channel(c: Dim, m: Dim, tap: Index = tap, ranges: list[tuple[int, int]] = ranges) -> tuple[Stmt, ...]:
            acc, batch = context.fresh("acc"), context.fresh("b")
            names = [context.fresh("o") for _ in ranges]
            outputs = [start + symbol(name) for name, (start, _) in zip(names, ranges, strict=True)]
            places = [
                o * a.stride + k * a.dilation - a.low for a, o, k in zip(g.axes, outputs, tap, strict=True)
            ]
            x = context.read(0, (symbol(batch), *places, c))
            steps: tuple[Stmt, ...] = (
                Accumulate(acc, "add", call("mul", x, context.read(1, (symbol(batch), *outputs, c * f + m)))),
            )
            for name, (_, count) in reversed(list(zip(names, ranges, strict=True))):
                steps = (For(name, count, "serial", steps),)
            steps = (For(batch, g.x[0], "serial", steps),) if all(count for _, count in ranges) else ()
            done = context.write(0, (*tap, 0, c * f + m), Local(acc, dtype))
            return Init(acc, const(0.0, dtype)), *steps, *done

        out += _channels(context, g.x[-1], f, channel)
    return tuple(out)


def _outputs_of(axis: Axis, tap: int) -> tuple[int, int]:
    """First and number of the outputs whose `tap` lies inside the input."""
    outputs = axis.outputs
    assert isinstance(outputs, int)
    inside = [o for o in range(outputs) if tap in axis.taps_at(o)]
    return (inside[0], len(inside)) if inside else (0, 0)


# --- references and samples -----------------------------------------------------------------------------------------
def _padded(x: Array, g: Geometry) -> Array:
    return np.pad(x, ((0, 0), *((axis.low, max(axis.high, 0)) for axis in g.axes), (0, 0)))


def _sizes(x_shape: Sequence[int], w_shape: Sequence[int], attrs: Attrs) -> Geometry:
    return geometry("conv", TensorType(f32, tuple(x_shape)), TensorType(f32, tuple(w_shape)), attrs)


def _grouped(array: Array, groups: int) -> Array:
    """The last axis as (groups, channels of a group)."""
    return array.reshape(*array.shape[:-1], groups, array.shape[-1] // groups)


_CASES: tuple[tuple[tuple[int, ...], tuple[int, ...], Attrs], ...] = tuple(
    (x, w, {"strides": s, "low": low, "high": high, "dilation": d, "groups": groups})
    for x, w, s, low, high, d, groups in (
        ((2, 7, 3), (3, 3, 4), (1,), (0,), (0,), (1,), 1),
        ((1, 5, 1), (2, 1, 1), (2,), (1,), (0,), (2,), 1),
        ((2, 5, 6, 3), (3, 3, 3, 5), (1, 1), (1, 1), (1, 1), (1, 1), 1),
        ((2, 6, 5, 2), (1, 1, 2, 3), (1, 1), (0, 0), (0, 0), (1, 1), 1),
        ((2, 7, 6, 4), (3, 2, 4, 17), (2, 3), (0, 1), (1, 1), (1, 1), 1),
        ((1, 9, 8, 2), (3, 3, 2, 3), (2, 1), (1, 2), (2, 0), (2, 3), 1),
        ((2, 5, 5, 6), (3, 3, 3, 4), (2, 2), (1, 1), (0, 1), (1, 1), 2),
        ((2, 5, 6, 9), (3, 3, 1, 9), (1, 2), (1, 0), (1, 1), (1, 1), 9),
        ((1, 4, 5, 2), (2, 2, 1, 6), (1, 1), (0, 1), (0, 1), (2, 1), 2),
        ((1, 4, 3, 5, 2), (2, 3, 2, 2, 3), (1, 2, 1), (0, 1, 0), (1, 1, 0), (1, 1, 2), 1),
        ((0, 4, 4, 2), (3, 3, 2, 3), (1, 1), (0, 0), (0, 0), (1, 1), 1),
        ((1, 1, 1), (1, 1, 1), (1,), (0,), (0,), (1,), 1),
        ((1, 5, 2), (2, 2, 3), (4,), (0,), (0,), (1,), 1),
        ((2, 8, 7, 3), (3, 2, 3, 17), (1, 2), (0, 1), (-1, -2), (1, 1), 1),
        ((2, 9, 8, 5), (2, 3, 1, 5), (2, 1), (0, 1), (-3, -2), (1, 1), 5),
    )
)


def _samples(
    call_of: Callable[[np.random.Generator, Geometry, Any, Attrs], Sample],
) -> Callable[[np.random.Generator], Iterator[Sample]]:
    def samples(rng: np.random.Generator) -> Iterator[Sample]:
        for number, (x, w, attrs) in enumerate(_CASES):
            yield call_of(rng, _sizes(x, w, attrs), (f32, f64)[number % 2], attrs)

    return samples


def _conv_sample(rng: np.random.Generator, g: Geometry, dtype: Any, attrs: Attrs) -> Sample:
    return Sample((_numbers(rng, g.x, dtype), _numbers(rng, g.w, dtype)), attrs)


def _input_grad_sample(rng: np.random.Generator, g: Geometry, dtype: Any, attrs: Attrs) -> Sample:
    return Sample((_numbers(rng, g.y, dtype), _numbers(rng, g.w, dtype)), {**attrs, "shape": g.x})


def _weight_grad_sample(rng: np.random.Generator, g: Geometry, dtype: Any, attrs: Attrs) -> Sample:
    return Sample((_numbers(rng, g.x, dtype), _numbers(rng, g.y, dtype)), {**attrs, "kernel": g.w[:-2]})


def _numbers(rng: np.random.Generator, shape: Shape, dtype: Any) -> Array:
    return numbers(rng, tuple(d for d in shape if isinstance(d, int)), dtype, -1, 1)


PLAIN = {"strides": (1,), "low": (0,), "high": (0,), "dilation": (1,), "groups": 1}


@primitive(
    infer=_infer_conv,
    grad=_conv_grad,
    lower=Loops(_conv_loops, reads_once=False, in_memory=(0, 1)),
    samples=_samples(_conv_sample),
    errors=(
        bad("2 operands", of((2, 5, 3)), **PLAIN),
        bad("one rank, 3 to 5", of((2, 5)), of((3, 4)), **PLAIN),
        bad("weights for 3 // 1 channels", of((2, 5, 3)), of((2, 4, 5)), **PLAIN),
        bad("2 groups that divide", of((2, 5, 3)), of((2, 1, 4)), **{**PLAIN, "groups": 2}),
        bad("an integer >= 1", of((2, 5, 3)), of((2, 3, 5)), **{**PLAIN, "groups": 0}),
        bad("at least as long as the window", of((2, 2, 3)), of((3, 3, 5)), **PLAIN),
        bad("integers >= 1", of((2, 5, 3)), of((3, 3, 5)), **{**PLAIN, "strides": (0,)}),
        bad("1 entries", of((2, 5, 3)), of((3, 3, 5)), **{**PLAIN, "low": (0, 0)}),
        bad("a tuple of 1 integers", of((2, 5, 3)), of((3, 3, 5)), **{**PLAIN, "high": (0, 0)}),
        bad("a float", of((2, 5, 3), i32), of((3, 3, 5), i32), **PLAIN),
    ),
    source="y[b, o, f] = sum over taps k and channels c of x[b, o * stride + k * dilation - low, c] * w[k, c, f]",
)
def conv(x: Array, w: Array, **attrs: Any) -> Any:
    """Convolution (cross-correlation, as in Keras) of x[batch, *spatial, channels] with w[*window, channels/groups, f].

    Attributes: strides, low, high (zero padding; below 0, `high` leaves out the end of the input), dilation: a tuple
    with an entry per spatial axis (1 to 3); groups.
    Group i of the result's channels sees group i of the input's channels.
    """
    g = _sizes(x.shape, w.shape, attrs)
    padded, weights = _padded(x, g), _grouped(w, g.groups)
    y = np.zeros((*_ints(g.y)[:-1], g.groups, w.shape[-1] // g.groups), x.dtype)
    for tap in each_tap(w.shape[:-2]):
        seen = _grouped(padded[:, *tap_slices(g.axes, tap)], g.groups)
        y += np.einsum("...gc,cgf->...gf", seen, weights[tap])
    return y.reshape(_ints(g.y))


@primitive(
    infer=_infer_input_grad,
    grad=_input_grad_grad,
    lower=Loops(_input_grad_loops, reads_once=False, in_memory=(0, 1)),
    samples=_samples(_input_grad_sample),
    errors=(
        bad("2 operands", of((2, 5, 3)), **PLAIN, shape=(2, 5, 3)),
        bad("3 entries", of((2, 5, 4)), of((1, 3, 4)), **PLAIN, shape=(2, 5)),
        bad("a first operand of shape", of((2, 4, 4)), of((1, 3, 4)), **PLAIN, shape=(2, 5, 3)),
        bad("at least as long as the window", of((2, 1, 4)), of((3, 3, 4)), **PLAIN, shape=(2, 2, 3)),
    ),
    source="adjoint of conv in its first operand",
)
def conv_input_grad(d: Array, w: Array, shape: tuple[int, ...], **attrs: Any) -> Any:
    """Gradient of a convolution with respect to its input of shape `shape`, from the gradient `d` of its result.

    It is also the transposed convolution. The other attributes are those of the convolution.
    """
    g = _sizes(shape, w.shape, attrs)
    weights, given = _grouped(w, g.groups), _grouped(d, g.groups)
    padded = _padded(np.zeros(shape, d.dtype), g)
    for tap in each_tap(w.shape[:-2]):
        part = np.einsum("...gf,cgf->...gc", given, weights[tap])
        padded[:, *tap_slices(g.axes, tap)] += part.reshape(*d.shape[:-1], shape[-1])
    inside = tuple(slice(axis.low, axis.low + size) for axis, size in zip(g.axes, shape[1:-1], strict=True))
    return np.ascontiguousarray(padded[:, *inside])


@primitive(
    infer=_infer_weight_grad,
    grad=_weight_grad_grad,
    lower=Loops(_weight_grad_loops, reads_once=False, in_memory=(0, 1)),
    samples=_samples(_weight_grad_sample),
    errors=(
        bad("2 operands", of((2, 5, 3)), **PLAIN, kernel=(2,)),
        bad("1 entries", of((2, 5, 3)), of((2, 4, 4)), **PLAIN, kernel=(2, 2)),
        bad("a second operand of shape", of((2, 5, 3)), of((2, 5, 4)), **PLAIN, kernel=(2,)),
        bad("at least as long as the window", of((2, 2, 3)), of((2, 1, 4)), **PLAIN, kernel=(3,)),
    ),
    source="adjoint of conv in its second operand",
)
def conv_weight_grad(x: Array, d: Array, kernel: tuple[int, ...], **attrs: Any) -> Any:
    """Gradient of a convolution with respect to its weights of window `kernel`, from the gradient `d` of its result.

    The other attributes are those of the convolution.
    """
    groups = attrs["groups"]
    shape = (*kernel, x.shape[-1] // groups, d.shape[-1])
    g = _sizes(x.shape, shape, attrs)
    padded, given = _padded(x, g), _grouped(d.reshape(math.prod(d.shape[:-1]), d.shape[-1]), groups)
    w = np.zeros((*shape[:-1], groups, shape[-1] // groups), x.dtype)
    for tap in each_tap(kernel):
        seen = _grouped(padded[:, *tap_slices(g.axes, tap)], groups)
        w[tap] = np.einsum("ngc,ngf->cgf", seen.reshape(len(given), *seen.shape[-2:]), given)
    return w.reshape(shape)


def _ints(shape: Shape) -> tuple[int, ...]:
    return tuple(d for d in shape if isinstance(d, int))


OPS = (conv, conv_input_grad, conv_weight_grad)
