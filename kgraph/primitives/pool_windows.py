"""What all poolings share: checks of their windows, loops over them, references, and samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from kgraph.errors import ShapeError
from kgraph.ir.dims import Dim, Shape, symbol
from kgraph.ir.dtypes import f32, f64
from kgraph.ir.loops import Accumulate, For, Init, Stmt
from kgraph.ir.opdef import Array, Attrs, LoopContext, Sample, Types
from kgraph.ir.scalar import Expr, Local, const
from kgraph.ir.types import TensorType
from kgraph.primitives.nests import Index
from kgraph.primitives.sampling import bad, numbers, of
from kgraph.primitives.signatures import FLOATS, NUMBERS, expect, expect_dims, expect_kind
from kgraph.primitives.sliding import (
    Axis,
    Position,
    Region,
    Taps,
    axes_of,
    each_tap,
    input_regions,
    output_shape,
    over_regions,
    over_taps,
    tap_slices,
)

NAMES = ("window", "strides", "low", "high")


def pool_axes(op: str, shape: Shape, attrs: Attrs, known: bool = False) -> tuple[Axis, ...]:
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


def infer_pool(op: str) -> Callable[[Types, Attrs], TensorType]:
    """The rule for the type of a pooling's result."""

    def infer(types: Types, attrs: Attrs) -> TensorType:
        expect(op, types, attrs, 1, NAMES)
        expect_kind(op, types[0], NUMBERS if op.startswith("max") else FLOATS)
        shape = types[0].shape
        return types[0].with_shape(output_shape(shape, pool_axes(op, shape, attrs), shape[-1]))

    return infer


Elements = Callable[[LoopContext, Index, Taps, Dim], tuple[Stmt, ...]]


def over_windows(
    regions: Sequence[Sequence[Region]], batch: Dim, channels: Dim, context: LoopContext, elements: Elements
) -> tuple[Stmt, ...]:
    """Loops over the regions, with a vector loop over the channels inside."""
    return over_regions(context, batch, regions, over_channels(context, channels, elements))


def over_channels(context: LoopContext, channels: Dim, elements: Elements) -> Position:
    """A vector loop over the channels of one position."""

    def position(index: Index, taps: Taps) -> tuple[Stmt, ...]:
        c = context.fresh("c")
        return (For(c, channels, "vector", elements(context, index, taps, symbol(c))),)

    return position


def spread(context: LoopContext, shape: Shape, attrs: Attrs, term: Callable[[Index, Index], Expr]) -> tuple[Stmt, ...]:
    """Each input position sums `term(tap, output)` over the outputs that see it."""
    dtype = context.in_types[0].dtype

    def elements(context: LoopContext, index: Index, taps: Taps, c: Dim) -> tuple[Stmt, ...]:
        acc = context.fresh("acc")
        steps = over_taps(context, taps, lambda tap, at: (Accumulate(acc, "add", term(tap, (*at, c))),))
        return Init(acc, const(0.0, dtype)), *steps, *context.write(0, (*index, c), Local(acc, dtype))

    regions = [input_regions(a) for a in pool_axes("unpool", shape, attrs, known=True)]
    return over_windows(regions, shape[0], shape[-1], context, elements)


def padded_with(x: Array, axes: Sequence[Axis], value: Any) -> Array:
    """The input with `value` around it."""
    amounts = ((0, 0), *((axis.low, axis.high) for axis in axes), (0, 0))
    return np.pad(x, amounts, constant_values=value)


def windows_of(x: Array, attrs: Attrs, value: Any) -> Iterator[Array]:
    """What each tap sees, with `value` outside."""
    axes = pool_axes("reference", x.shape, attrs)
    padded = padded_with(x, axes, value)
    for tap in each_tap(attrs["window"]):
        yield padded[:, *tap_slices(axes, tap)]


CASES: tuple[tuple[tuple[int, ...], Attrs], ...] = tuple(
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


def pool_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """Calls of a pooling."""
    for number, (shape, attrs) in enumerate(CASES):
        yield Sample((numbers(rng, shape, (f32, f64)[number % 2]),), attrs)


def max_samples(rng: np.random.Generator) -> Iterator[Sample]:
    """The same, and integers with equal maxima."""
    yield from pool_samples(rng)
    yield Sample((rng.integers(0, 2, (2, 4, 4, 9)).astype(np.int32),), CASES[2][1])


def without_padding(padded: Array, axes: Sequence[Axis]) -> Array:
    """What `padded_with` was given."""
    sizes = [axis.size for axis in axes]
    inside = [slice(a.low, a.low + n) for a, n in zip(axes, sizes, strict=True) if isinstance(n, int)]
    return np.ascontiguousarray(padded[:, *inside])


PLAIN = {"window": (2,), "strides": (2,), "low": (0,), "high": (0,)}
ERRORS = (
    bad("1 operands", **PLAIN),
    bad("rank 3 to 5", of((2, 5)), **PLAIN),
    bad("1 entries", of((2, 5, 3)), **{**PLAIN, "window": (2, 2)}),
    bad("integers >= 1", of((2, 5, 3)), **{**PLAIN, "strides": (0,)}),
    bad("at least as long as the window", of((2, 5, 3)), **{**PLAIN, "window": (6,)}),
    bad("smaller than the window", of((2, 5, 3)), **{**PLAIN, "low": (2,)}),
    bad("padding from 0 on", of((2, 5, 3)), **{**PLAIN, "high": (-1,)}),
)
