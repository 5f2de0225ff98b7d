"""Mean and variance, and what normalisation layers do with them.

Means come in two parts, `mean + rest`: a float32 mean of 10000 is off by up to 5e-4, which is much where the standard
deviation is 1. The rest is zero but for rounding, so it has no slope.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kgraph.errors import DTypeError, ShapeError
from kgraph.ir.dims import Shape, product
from kgraph.ir.dtypes import f32, f64, i32
from kgraph.ir.loops import Accumulate, Init, Let, Stmt
from kgraph.ir.opdef import Array, Attrs, LoopContext, Pointwise, Sample, Types, current_emitter, primitive
from kgraph.ir.scalar import Expr, IndexValue, Local, call, const
from kgraph.ir.types import TensorType
from kgraph.primitives.nests import Each, Index, Row, rows
from kgraph.primitives.reductions import spread
from kgraph.primitives.sampling import bad, numbers, of
from kgraph.primitives.signatures import FLOATS, expect, expect_axes, expect_kind, reduced_shape

# Shape of x and the axes over which it has one mean.
CASES: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((6, 4), (0,)), ((3, 37), (1,)), ((2, 3, 4, 5), (0, 1, 2)), ((5,), (0,)), ((), ()), ((1,), (0,)), ((2, 4, 3), (1,)),
    ((0, 3), (0,)), ((3, 0), (0,)), ((4, 1), (0,)), ((1030, 2), (0,)), ((2, 3, 4), (0, 2)), ((3, 4), ()),
)  # fmt: skip


def expect_floats(op: str, types: Types) -> None:
    """Check that all operands have one float type."""
    for position, type in enumerate(types):
        expect_kind(op, type, FLOATS, position)
        if type.dtype is not types[0].dtype:
            raise DTypeError(op, expected="operands of one element type", received=f"{types[0]} and {type}")


def expect_shape(op: str, operand: int, type: TensorType, shape: Shape) -> None:
    """Check the shape of an operand."""
    if type.shape != shape:
        raise ShapeError(f"{op}, operand {operand}", expected=f"shape {shape}", received=str(type))


def count_of(x: Any, axes: Sequence[int]) -> Any:
    """How many elements share a mean, as a number of the type of `x`."""
    emitter = current_emitter()
    type = emitter.type_of(x)
    count = product(tuple(type.shape[a] for a in axes))
    if isinstance(count, int):
        return emitter.constant(count, type.dtype)
    return emitter.emit("size", dim=count, dtype=type.dtype)


def _given_axes(type: TensorType, axes: tuple[int, ...]) -> tuple[int, ...]:
    return axes


def _wide(value: Array, x: Array, axes: tuple[int, ...]) -> Array:
    """A reduced array that broadcasts to `x`."""
    return np.expand_dims(value, axes)


def two_part_moments(x: Array, axes: tuple[int, ...]) -> tuple[Array, Array, Array]:
    """Mean, its rest, and variance of an array over axes, summed up in float64."""
    wide = x.astype(np.float64)
    count = max(math.prod(x.shape[a] for a in axes), 1)
    exact = np.sum(wide, axis=axes) / count
    mean = np.asarray(exact, x.dtype)
    apart = wide - np.expand_dims(mean, axes)
    rest = np.sum(apart, axis=axes) / count
    variance = np.maximum(np.sum(apart * apart, axis=axes) / count - rest * rest, 0)
    return mean, np.asarray(rest, x.dtype), np.asarray(variance, x.dtype)


class Moments:
    """The statements that give one row's mean, rest and variance, as locals."""

    def __init__(self, context: LoopContext, axes: Sequence[int]) -> None:
        self.context = context
        self.dtype = context.in_types[0].dtype
        self.total, self.apart, self.squares = (context.fresh(n) for n in ("total", "apart", "squares"))
        self.mean, self.rest, self.variance = (context.fresh(n) for n in ("mean", "rest", "variance"))
        count = IndexValue(product(tuple(context.in_types[0].shape[a] for a in axes)), self.dtype)
        self.count = call("max", count, const(1, self.dtype))

    def local(self, name: str) -> Local:
        """The value of a local."""
        return Local(name, self.dtype)

    def statements(self, each: Each) -> tuple[Stmt, ...]:
        """Two passes: the sum, then sums of what is left without the mean, and of its squares."""
        zero, sums = const(0, self.dtype), {self.apart: self.dtype, self.squares: self.dtype}
        rest = self.local(self.rest)
        variance = call("sub", call("div", self.local(self.squares), self.count), call("mul", rest, rest))
        return (
            Init(self.total, zero),
            *each(self._first, {self.total: self.dtype}),
            Let(self.mean, call("div", self.local(self.total), self.count)),
            Init(self.apart, zero),
            Init(self.squares, zero),
            *each(self._second, sums),
            Let(self.rest, call("div", self.local(self.apart), self.count)),
            Let(self.variance, call("max", variance, zero)),
        )

    def _first(self, at: Index) -> tuple[Stmt, ...]:
        return (Accumulate(self.total, "add", self.context.read(0, at)),)

    def _second(self, at: Index) -> tuple[Stmt, ...]:
        difference = self.local(self.context.fresh("difference"))
        return (
            Let(difference.name, call("sub", self.context.read(0, at), self.local(self.mean))),
            Accumulate(self.apart, "add", difference),
            Accumulate(self.squares, "add", call("mul", difference, difference)),
        )


# --- statistics over any axes -----------------------------------------------------------------------------------------
def _infer_moments(types: Types, attrs: Attrs) -> tuple[TensorType, TensorType, TensorType]:
    expect("moments", types, attrs, 1, ("axes",))
    expect_floats("moments", types)
    axes = expect_axes("moments", attrs["axes"], types[0].rank)
    found = types[0].with_shape(reduced_shape(types[0].shape, axes, False))
    return found, found, found


def _moments_grad(dy: Any, y: Any, x: Any, axes: tuple[int, ...]) -> tuple[Any]:
    (dmean, _, dvariance), (mean, rest, _), count = dy, y, count_of(x, axes)
    if dvariance is None:
        return (None if dmean is None else spread(dmean / count, x, axes, False),)
    slope = dvariance * 2.0 / count
    shift = -(rest * slope) if dmean is None else dmean / count - rest * slope
    return (current_emitter().emit("scale_shift", x, mean, slope, shift, axes=axes),)


def _moments_row(context: LoopContext, axes: tuple[int, ...], moments: type[Moments] = Moments) -> Row:
    found = moments(context, axes)

    def row(index: Index, each: Each) -> tuple[Stmt, ...]:
        at = [i for a, i in enumerate(index) if a not in axes]
        names = (found.mean, found.rest, found.variance)
        writes = [s for n, name in enumerate(names) for s in context.write(n, at, found.local(name))]
        return *found.statements(each), *writes

    return row


def _moments_samples(rng: np.random.Generator) -> Iterator[Sample]:
    for n, (shape, axes) in enumerate(CASES):
        yield Sample((numbers(rng, shape, (f32, f64)[n % 2]),), {"axes": axes})
    yield Sample((np.array([[np.nan, 1], [2, np.inf], [3, 1]], np.float32),), {"axes": (0,)})


@primitive(
    infer=_infer_moments,
    grad=_moments_grad,
    lower=rows(_moments_row, _given_axes, reads_once=False),
    samples=_moments_samples,
    errors=(
        bad("1 operands", axes=(0,)),
        bad("a float", of((2, 3), i32), axes=(0,)),
        bad("a rising tuple", of((2, 3)), axes=(1, 0)),
    ),
    source="two passes with the correction of Chan, Golub and LeVeque (1983), eq. 1.7",
)
def moments(x: Array, axes: tuple[int, ...]) -> Any:
    """Mean, its rest, and variance over axes, with the accuracy of numbers whose mean is 0; 0 for no elements."""
    return two_part_moments(x, axes)


# --- statistics of the whole from those of its parts ------------------------------------------------------------------
def _infer_pooled(types: Types, attrs: Attrs) -> tuple[TensorType, TensorType, TensorType]:
    expect("pooled_moments", types, attrs, 3, ("axes",))
    expect_floats("pooled_moments", types)
    for operand in (1, 2):
        expect_shape("pooled_moments", operand, types[operand], types[0].shape)
    axes = expect_axes("pooled_moments", attrs["axes"], types[0].rank)
    found = types[0].with_shape(reduced_shape(types[0].shape, axes, False))
    return found, found, found


def _pooled_grad(dy: Any, y: Any, mean: Any, rest: Any, variance: Any, axes: tuple[int, ...]) -> tuple[Any, Any, Any]:
    (dmean, _, dvariance), count = dy, count_of(mean, axes)
    slope = None if dmean is None else spread(dmean / count, mean, axes, False)
    if dvariance is None:
        return slope, slope, None
    inside = spread(dvariance / count, mean, axes, False)
    apart = (mean - spread(y[0], mean, axes, False)) + (rest - spread(y[1], mean, axes, False))
    between = inside * apart * 2.0
    slope = between if slope is None else slope + between
    return slope, slope, inside


class _PooledMoments(Moments):
    """The same for parts of one size, each with a mean, a rest and a variance."""

    def _first(self, at: Index) -> tuple[Stmt, ...]:
        return (Accumulate(self.total, "add", call("add", self.context.read(0, at), self.context.read(1, at))),)

    def _second(self, at: Index) -> tuple[Stmt, ...]:
        difference = self.local(self.context.fresh("difference"))
        mean, rest, variance = (self.context.read(operand, at) for operand in range(3))
        apart = call("add", call("sub", mean, self.local(self.mean)), rest)
        return (
            Let(difference.name, apart),
            Accumulate(self.apart, "add", difference),
            Accumulate(self.squares, "add", call("add", call("mul", difference, difference), variance)),
        )


def _pooled_samples(rng: np.random.Generator) -> Iterator[Sample]:
    for n, (shape, axes) in enumerate(CASES):
        mean, rest, variance = (numbers(rng, shape, (f32, f64)[n % 2]) for _ in range(3))
        yield Sample((mean, np.asarray(rest / 1024), np.abs(variance, out=variance)), {"axes": axes})


@primitive(
    infer=_infer_pooled,
    grad=_pooled_grad,
    lower=rows(functools.partial(_moments_row, moments=_PooledMoments), _given_axes, reads_once=False),
    samples=_pooled_samples,
    errors=(
        bad("3 operands", of((2, 3)), axes=(0,)),
        bad("shape (2, 4)", of((2, 4)), of((2, 3)), of((2, 4)), axes=(0,)),
        bad("a rising tuple", of((2, 3)), of((2, 3)), of((2, 3)), axes=(1, 0)),
    ),
    source="Chan, Golub and LeVeque (1983), eq. 2.1, for many parts of one size",
)
def pooled_moments(mean: Array, rest: Array, variance: Array, axes: tuple[int, ...]) -> Any:
    """Mean, its rest and variance of the whole from the `moments` of its parts, which lie along `axes`."""
    parts = mean.astype(np.float64) + rest
    count = max(math.prod(mean.shape[a] for a in axes), 1)
    exact = np.sum(parts, axis=axes) / count
    first = np.asarray(exact, mean.dtype)
    inside, apart = np.sum(variance, axis=axes, dtype=np.float64), parts - np.expand_dims(exact, axes)
    whole = np.maximum((inside + np.sum(apart * apart, axis=axes)) / count, 0)
    return first, np.asarray(exact - first, mean.dtype), np.asarray(whole, mean.dtype)


# --- sums of two things -----------------------------------------------------------------------------------------------
def _infer_paired(types: Types, attrs: Attrs) -> tuple[TensorType, TensorType]:
    expect("paired_sums", types, attrs, 2, ("axes",))
    expect_floats("paired_sums", types)
    expect_shape("paired_sums", 1, types[1], types[0].shape)
    axes = expect_axes("paired_sums", attrs["axes"], types[0].rank)
    found = types[0].with_shape(reduced_shape(types[0].shape, axes, False))
    return found, found


def _paired_grad(dy: Any, y: Any, d: Any, t: Any, axes: tuple[int, ...]) -> tuple[Any, Any]:
    dplain, dproduct = dy
    dd = None if dplain is None else spread(dplain, d, axes, False)
    if dproduct is None:
        return dd, None
    wide = spread(dproduct, d, axes, False)
    return (wide * t if dd is None else dd + wide * t), wide * d


def _paired_row(context: LoopContext, axes: tuple[int, ...]) -> Row:
    dtype = context.in_types[0].dtype
    plain, products = context.fresh("sum"), context.fresh("products")

    def add(at: Index) -> tuple[Stmt, ...]:
        value = Local(context.fresh("d"), dtype)
        return (
            Let(value.name, context.read(0, at)),
            Accumulate(plain, "add", value),
            Accumulate(products, "add", call("mul", value, context.read(1, at))),
        )

    def row(index: Index, each: Each) -> tuple[Stmt, ...]:
        at = [i for a, i in enumerate(index) if a not in axes]
        return (
            Init(plain, const(0, dtype)),
            Init(products, const(0, dtype)),
            *each(add, {plain: dtype, products: dtype}),
            *context.write(0, at, Local(plain, dtype)),
            *context.write(1, at, Local(products, dtype)),
        )

    return row


def _reduced(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for a, size in enumerate(shape) if a not in axes)


def _paired_samples(rng: np.random.Generator) -> Iterator[Sample]:
    for n, (shape, axes) in enumerate(CASES):
        yield Sample(tuple(numbers(rng, shape, (f32, f64)[n % 2]) for _ in range(2)), {"axes": axes})


@primitive(
    infer=_infer_paired,
    grad=_paired_grad,
    lower=rows(_paired_row, _given_axes),
    samples=_paired_samples,
    errors=(
        bad("2 operands", of((2, 3)), axes=(0,)),
        bad("shape (2, 4)", of((2, 4)), of((2, 3)), axes=(0,)),
        bad("one element type", of((2, 3)), of((2, 3), f64), axes=(0,)),
        bad("a rising tuple", of((2, 3)), of((2, 3)), axes=(2,)),
    ),
    source="sum(d), sum(d t): the slopes of shift and scale of an affine map of t, from one reading",
)
def paired_sums(d: Array, t: Array, axes: tuple[int, ...]) -> Any:
    """Sums over axes of `d` and of `d * t`."""
    return np.sum(d, axis=axes, dtype=d.dtype), np.sum(d * t, axis=axes, dtype=d.dtype)


def _infer_scale(types: Types, attrs: Attrs) -> TensorType:
    expect("scale_shift", types, attrs, 4, ("axes",))
    expect_floats("scale_shift", types)
    axes = expect_axes("scale_shift", attrs["axes"], types[0].rank)
    for operand in (1, 2, 3):
        expect_shape("scale_shift", operand, types[operand], reduced_shape(types[0].shape, axes, False))
    return types[0]


def _scale_grad(dy: Any, y: Any, x: Any, mean: Any, scale: Any, shift: Any, axes: tuple[int, ...]) -> tuple[Any, ...]:
    emitter = current_emitter()
    dshift, dscale = emitter.emit("paired_sums", dy, x - spread(mean, x, axes, False), axes=axes)
    # As one op, that fusion computes where the cotangent of x is added up, and not where dy is made.
    type = emitter.type_of(scale)
    zero = emitter.emit("broadcast", emitter.constant(0, type.dtype), shape=type.shape, axes=())
    dx = emitter.emit("scale_shift", dy, zero, scale, zero, axes=axes)
    return dx, -(dshift * scale), dscale, dshift


def _scale_element(context: LoopContext, index: Index, axes: tuple[int, ...]) -> Expr:
    at = [i for a, i in enumerate(index) if a not in axes]
    mean, scale, shift = (context.read(operand, at) for operand in (1, 2, 3))
    return call("add", call("mul", call("sub", context.read(0, index), mean), scale), shift)


def _scale_samples(rng: np.random.Generator) -> Iterator[Sample]:
    for n, (shape, axes) in enumerate(CASES):
        small = _reduced(shape, axes)
        shapes = (shape, small, small, small)
        yield Sample(tuple(numbers(rng, s, (f32, f64)[n % 2]) for s in shapes), {"axes": axes})


@primitive(
    infer=_infer_scale,
    grad=_scale_grad,
    lower=Pointwise(_scale_element),
    samples=_scale_samples,
    errors=(
        bad("4 operands", of((2, 3)), axes=(0,)),
        bad("shape (3,)", of((2, 3)), of((3,)), of((3,)), of((2,)), axes=(0,)),
        bad("a rising tuple", of((2, 3)), of((3,)), of((3,)), of((3,)), axes=(2,)),
    ),
    source="(x - mean) scale + shift",
)
def scale_shift(x: Array, mean: Array, scale: Array, shift: Array, axes: tuple[int, ...]) -> Any:
    """`(x - mean) * scale + shift`, where the three have the shape of `x` without `axes`."""
    return (x - _wide(mean, x, axes)) * _wide(scale, x, axes) + _wide(shift, x, axes)


OPS = (moments, pooled_moments, paired_sums, scale_shift)
