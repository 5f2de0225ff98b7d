"""Pooling over windows of channels-last tensors.

The regions at the borders are known, so nothing is padded: each has a loop nest of its own over the taps that lie
inside. What the gradient of max-pooling needs is in `pool_places`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dims import Dim, Shape
from kgraph.ir.dtypes import DType, dtype_of, i32
from kgraph.ir.loops import Accumulate, Combine, Init, Stmt
from kgraph.ir.opdef import Array, Attrs, LoopContext, Loops, Sample, Types, current_emitter, primitive
from kgraph.ir.operators import broadcast_to
from kgraph.ir.scalar import Local, const
from kgraph.ir.types import TensorType
from kgraph.primitives.nests import Index
from kgraph.primitives.pool_windows import (
    ERRORS,
    NAMES,
    PLAIN,
    infer_pool,
    max_samples,
    over_windows,
    padded_with,
    pool_axes,
    pool_samples,
    spread,
    windows_of,
    without_padding,
)
from kgraph.primitives.reductions import lowest
from kgraph.primitives.sampling import bad, numbers, of
from kgraph.primitives.signatures import FLOATS, expect, expect_dims, expect_kind
from kgraph.primitives.sliding import (
    Axis,
    Taps,
    each_tap,
    output_regions,
    output_shape,
    over_taps,
    tap_slices,
)


def _reduced(combine: Combine, start: Callable[[DType], float]) -> Callable[..., tuple[Stmt, ...]]:
    def build(context: LoopContext, **attrs: Any) -> tuple[Stmt, ...]:
        source = context.in_types[0]
        axes = pool_axes(combine, source.shape, attrs)

        def elements(context: LoopContext, index: Index, taps: Taps, c: Dim) -> tuple[Stmt, ...]:
            acc = context.fresh("acc")
            steps = over_taps(context, taps, lambda _, at: (Accumulate(acc, combine, context.read(0, (*at, c))),))
            done = context.write(0, (*index, c), Local(acc, source.dtype))
            return Init(acc, const(start(source.dtype), source.dtype)), *steps, *done

        return over_windows([output_regions(a) for a in axes], source.shape[0], source.shape[-1], context, elements)

    return build


def _max_grad(dy: Any, y: Any, x: Any, **attrs: Any) -> tuple[Any]:
    emitter = current_emitter()
    index = emitter.emit("max_pool_index", x, **attrs)
    return (emitter.emit("max_unpool", dy, index, shape=emitter.type_of(x).shape, **attrs),)


def _sum_grad(dy: Any, y: Any, x: Any, **attrs: Any) -> tuple[Any]:
    emitter = current_emitter()
    return (emitter.emit("sum_unpool", dy, shape=emitter.type_of(x).shape, **attrs),)


def _infer_sum_unpool(types: Types, attrs: Attrs) -> TensorType:
    expect("sum_unpool", types, attrs, 1, (*NAMES, "shape"))
    expect_kind("sum_unpool", types[0], FLOATS)
    shape = expect_dims("sum_unpool", "shape", attrs["shape"], types[0].rank)
    wanted = output_shape(shape, pool_axes("sum_unpool", shape, attrs, known=True), shape[-1])
    if types[0].shape != wanted:
        raise ShapeError("sum_unpool", expected=f"an operand of shape {wanted}", received=str(types[0]))
    return types[0].with_shape(shape)


def _sum_unpool_loops(context: LoopContext, shape: Shape, **attrs: Any) -> tuple[Stmt, ...]:
    return spread(context, shape, attrs, lambda tap, at: context.read(0, at))


@primitive(
    infer=infer_pool("max_pool"),
    grad=_max_grad,
    lower=Loops(_reduced("max", lowest), reads_once=False),
    samples=max_samples,
    errors=ERRORS,
    source="y[b, o, c] = max over taps k inside the input of x[b, o * stride + k - low, c]",
)
def max_pool(x: Array, **attrs: Any) -> Any:
    """Largest element of each window of x[batch, *spatial, channels]; NaN if there is one. Padding never counts.

    Attributes: window, strides, low, high, each a tuple with an entry per spatial axis (1 to 3).
    Equal largest elements: the first one, row by row, gets the gradient.
    """
    return np.maximum.reduce(list(windows_of(x, attrs, lowest(dtype_of(x.dtype)))))


def _sum_samples(rng: np.random.Generator) -> Iterator[Sample]:
    for sample in pool_samples(rng):
        (x,) = sample.args
        dy = numbers(rng, sum_pool.reference(x, **sample.attrs).shape, dtype_of(x.dtype))
        yield Sample((dy,), {**sample.attrs, "shape": x.shape})


@primitive(
    infer=infer_pool("sum_pool"),
    grad=_sum_grad,
    lower=Loops(_reduced("add", lambda dtype: 0.0), reads_once=False),
    samples=pool_samples,
    errors=(*ERRORS, bad("a float", of((2, 5, 3), i32), **PLAIN)),
    source="y[b, o, c] = sum over taps k inside the input of x[b, o * stride + k - low, c]",
)
def sum_pool(x: Array, **attrs: Any) -> Any:
    """Sum of each window; the attributes are those of max_pool."""
    total = None
    for value in windows_of(x, attrs, x.dtype.type(0)):
        total = value.copy() if total is None else total + value
    return total


@primitive(
    infer=_infer_sum_unpool,
    grad=lambda d, y, dy, shape, **attrs: (current_emitter().emit("sum_pool", d, **attrs),),
    lower=Loops(_sum_unpool_loops, reads_once=False),
    samples=_sum_samples,
    errors=(
        bad("1 operands", **PLAIN, shape=(2, 5, 3)),
        bad("an operand of shape (2, 2, 3)", of((2, 3, 3)), **PLAIN, shape=(2, 5, 3)),
        bad("3 entries", of((2, 2, 3)), **PLAIN, shape=(2, 5)),
    ),
    source="adjoint of sum_pool",
)
def sum_unpool(dy: Array, shape: tuple[int, ...], **attrs: Any) -> Any:
    """Every input position of shape `shape` gets the sum of dy over the windows that see it."""
    axes = pool_axes("reference", shape, attrs)
    padded = padded_with(np.zeros(shape, dy.dtype), axes, 0)
    for tap in each_tap(attrs["window"]):
        padded[:, *tap_slices(axes, tap)] += dy
    return without_padding(padded, axes)


def avg_pool(x: Any, **attrs: Any) -> Any:
    """Mean of each window of a tensor over the elements inside it, as Keras and TensorFlow count: padding does not.

    The attributes are those of max_pool.
    """
    emitter = current_emitter()
    type = emitter.type_of(x)
    axes = pool_axes("avg_pool", type.shape, attrs)
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


OPS = (max_pool, sum_pool, sum_unpool)
