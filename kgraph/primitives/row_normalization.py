"""Layer normalisation over the last axis, and its slope."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dtypes import f32, f64, i32
from kgraph.ir.loops import Accumulate, Init, Let, Stmt
from kgraph.ir.opdef import Array, Attrs, LoopContext, Loops, Sample, Types, current_emitter, primitive
from kgraph.ir.scalar import Expr, IndexValue, Local, call, const
from kgraph.ir.types import TensorType
from kgraph.primitives.nests import Each, Index, over_rows
from kgraph.primitives.normalization import Moments, count_of, expect_floats, expect_shape, two_part_moments
from kgraph.primitives.reductions import spread
from kgraph.primitives.rowwise import row_spread
from kgraph.primitives.sampling import bad, numbers, of
from kgraph.primitives.signatures import expect

ROWS: tuple[tuple[int, ...], ...] = (
    (3, 4), (5,), (1,), (1, 1), (0, 3), (2, 3, 10), (4, 37), (7, 1), (2, 0, 5), (6, 16),
)  # fmt: skip
EPSILON: Attrs = {"epsilon": 1e-3}


def _expect_rows(op: str, type: TensorType) -> None:
    if type.rank < 1 or type.shape[-1] == 0:
        raise ShapeError(op, expected="a last axis of at least one element", received=str(type))


def _row_sum(x: Any) -> Any:
    """One sum for each row."""
    emitter = current_emitter()
    return emitter.emit("sum", x, axes=(emitter.type_of(x).rank - 1,), keepdims=False)


def _leading(x: Any) -> tuple[int, ...]:
    """All axes but the last."""
    return tuple(range(current_emitter().type_of(x).rank - 1))


def _standard(x: Any, mean: Any, rest: Any, inverse: Any) -> tuple[Any, Any]:
    """`x` without its mean, and that times `inverse`."""
    apart = (x - row_spread(mean, x)) - row_spread(rest, x)
    return apart, apart * row_spread(inverse, x)


def _infer_layer(types: Types, attrs: Attrs) -> tuple[TensorType, ...]:
    expect("layer_norm", types, attrs, 3, ("epsilon",))
    if not isinstance(attrs["epsilon"], float) or not attrs["epsilon"] >= 0:
        received = repr(attrs["epsilon"])
        raise ArgumentError("layer_norm, attribute epsilon", expected="a float >= 0", received=received)
    expect_floats("layer_norm", types)
    _expect_rows("layer_norm", types[0])
    for operand in (1, 2):
        expect_shape("layer_norm", operand, types[operand], types[0].shape[-1:])
    rows = types[0].with_shape(types[0].shape[:-1])
    return types[0], rows, rows, rows


def _layer_grad(
    dy: tuple[Any, ...], y: tuple[Any, ...], x: Any, gamma: Any, beta: Any, epsilon: float
) -> tuple[Any, Any, Any]:
    (dout, dmean, _, dinverse), (_, mean, rest, inverse) = dy, y
    apart, standard = _standard(x, mean, rest, inverse)
    count = count_of(x, (current_emitter().type_of(x).rank - 1,))
    dx = dgamma = dbeta = None
    if dout is not None:
        dx = current_emitter().emit("layer_norm_slope", dout, x, gamma, mean, rest, inverse)
        dbeta, dgamma = current_emitter().emit("paired_sums", dout, standard, axes=_leading(x))
    if dmean is not None:
        more = row_spread(dmean / count, x)
        dx = more if dx is None else dx + more
    if dinverse is not None:
        more = -(apart * row_spread(dinverse * inverse * inverse * inverse / count, x))
        dx = more if dx is None else dx + more
    return dx, dgamma, dbeta


def _layer_loops(context: LoopContext, epsilon: float) -> tuple[Stmt, ...]:
    source = context.in_types[0]
    dtype = source.dtype
    found = Moments(context, (source.rank - 1,))
    inverse = context.fresh("inverse")

    def element(at: Index) -> Expr:
        apart = call("sub", call("sub", context.read(0, at), found.local(found.mean)), found.local(found.rest))
        standard = call("mul", apart, Local(inverse, dtype))
        return call("add", call("mul", standard, context.read(1, at[-1:])), context.read(2, at[-1:]))

    def row(index: Index, each: Each) -> tuple[Stmt, ...]:
        variance = call("add", found.local(found.variance), const(epsilon, dtype))
        rows = (found.mean, found.rest, inverse)
        return (
            *found.statements(each),
            Let(inverse, call("rsqrt", variance)),
            *(s for n, name in enumerate(rows, 1) for s in context.write(n, index[:-1], Local(name, dtype))),
            *each(lambda at: context.write(0, at, element(at))),
        )

    return over_rows(context, source.shape, (source.rank - 1,), row)


def _layer_samples(rng: np.random.Generator) -> Iterator[Sample]:
    for n, shape in enumerate(ROWS):
        yield Sample(tuple(numbers(rng, s, (f32, f64)[n % 2]) for s in (shape, shape[-1:], shape[-1:])), EPSILON)
    far = np.linspace(9999, 10001, 64).reshape(2, 32)
    yield Sample((far, np.ones(32), np.zeros(32)), EPSILON)


@primitive(
    infer=_infer_layer,
    grad=_layer_grad,
    lower=Loops(_layer_loops, reads_once=False),
    samples=_layer_samples,
    errors=(
        bad("3 operands", of((2, 3)), **EPSILON),
        bad("shape (3,)", of((2, 3)), of((2,)), of((3,)), **EPSILON),
        bad("at least one element", of((2, 0)), of((0,)), of((0,)), **EPSILON),
        bad("a float >= 0", of((2, 3)), of((3,)), of((3,)), epsilon=-1.0),
        bad("a float", of((2, 3), i32), of((3,), i32), of((3,), i32), **EPSILON),
    ),
    source="gamma (x - mean) / sqrt(variance + epsilon) + beta; Ba, Kiros, Hinton (2016)",
)
def layer_norm(x: Array, gamma: Array, beta: Array, epsilon: float) -> Any:
    """Each row with mean 0 and variance 1, times gamma, plus beta; also mean, its rest, 1 / standard deviation."""
    mean, rest, variance = two_part_moments(x, (x.ndim - 1,))
    inverse = np.asarray(1 / np.sqrt(variance + x.dtype.type(epsilon)))
    standard = ((x - mean[..., np.newaxis]) - rest[..., np.newaxis]) * inverse[..., np.newaxis]
    return standard * gamma + beta, mean, rest, inverse


def _infer_slope(types: Types, attrs: Attrs) -> TensorType:
    expect("layer_norm_slope", types, attrs, 6)
    expect_floats("layer_norm_slope", types)
    shape = types[0].shape
    _expect_rows("layer_norm_slope", types[0])
    for operand, wanted in ((1, shape), (2, shape[-1:]), (3, shape[:-1]), (4, shape[:-1]), (5, shape[:-1])):
        expect_shape("layer_norm_slope", operand, types[operand], wanted)
    return types[0]


def _slope_grad(
    du: Any, u: Any, dy: Any, x: Any, gamma: Any, mean: Any, rest: Any, inverse: Any
) -> tuple[Any, Any, Any, Any, Any, Any]:
    # u = inverse P(g), P(g) = g - m(g) - s m(g s), with g = dy gamma, s = (x - mean - rest) inverse, m a row's mean.
    count = count_of(x, (current_emitter().type_of(x).rank - 1,))
    apart, s = _standard(x, mean, rest, inverse)
    wide_gamma = spread(gamma, x, _leading(x), False)
    g, v = dy * wide_gamma, du * row_spread(inverse, x)
    g_along, v_along = (row_spread(_row_sum(t * s) / count, x) for t in (g, v))
    dg = v - row_spread(_row_sum(v) / count, x) - s * v_along
    ds = -(v * g_along + g * v_along)
    projected = g - row_spread(_row_sum(g) / count, x) - s * g_along
    dx = ds * row_spread(inverse, x)
    dmean = -_row_sum(dx)
    dinverse = _row_sum(du * projected) + _row_sum(ds * apart)
    dgamma = current_emitter().emit("sum", dg * dy, axes=_leading(x), keepdims=False)
    return dg * wide_gamma, dx, dgamma, dmean, dmean, dinverse


def _slope_loops(context: LoopContext) -> tuple[Stmt, ...]:
    source = context.in_types[1]
    dtype = source.dtype
    plain, along = context.fresh("plain"), context.fresh("along")
    mean, rest, inverse = (context.fresh(n) for n in ("mean", "rest", "inverse"))
    share, slant = context.fresh("share"), context.fresh("slant")
    count = IndexValue(source.shape[-1], dtype)
    sums = {plain: dtype, along: dtype}

    def both(at: Index) -> tuple[tuple[Stmt, Stmt], Local, Local]:
        scaled, standard = context.fresh("scaled"), context.fresh("standard")
        apart = call("sub", call("sub", context.read(1, at), Local(mean, dtype)), Local(rest, dtype))
        lets = (
            Let(scaled, call("mul", context.read(0, at), context.read(2, at[-1:]))),
            Let(standard, call("mul", apart, Local(inverse, dtype))),
        )
        return lets, Local(scaled, dtype), Local(standard, dtype)

    def gather(at: Index) -> tuple[Stmt, ...]:
        lets, scaled, standard = both(at)
        return *lets, Accumulate(plain, "add", scaled), Accumulate(along, "add", call("mul", scaled, standard))

    def result(at: Index) -> tuple[Stmt, ...]:
        lets, scaled, standard = both(at)
        slanted = call("mul", standard, Local(slant, dtype))
        projected = call("sub", call("sub", scaled, Local(share, dtype)), slanted)
        return *lets, *context.write(0, at, call("mul", projected, Local(inverse, dtype)))

    def row(index: Index, each: Each) -> tuple[Stmt, ...]:
        given = ((mean, 3), (rest, 4), (inverse, 5))
        return (
            *(Let(name, context.read(operand, index[:-1])) for name, operand in given),
            Init(plain, const(0, dtype)),
            Init(along, const(0, dtype)),
            *each(gather, sums),
            Let(share, call("div", Local(plain, dtype), count)),
            Let(slant, call("div", Local(along, dtype), count)),
            *each(result),
        )

    return over_rows(context, source.shape, (source.rank - 1,), row)


def _slope_samples(rng: np.random.Generator) -> Iterator[Sample]:
    for n, shape in enumerate(ROWS):
        shapes = (shape, shape, shape[-1:], shape[:-1], shape[:-1], shape[:-1])
        yield Sample(tuple(numbers(rng, s, (f32, f64)[n % 2]) for s in shapes))


@primitive(
    infer=_infer_slope,
    grad=_slope_grad,
    lower=Loops(_slope_loops, reads_once=False),
    samples=_slope_samples,
    errors=(
        bad("6 operands", of((2, 3))),
        bad("shape (2, 3)", *(of(s) for s in ((2, 3), (2, 4), (3,), (2,), (2,), (2,)))),
        bad("shape (2,)", *(of(s) for s in ((2, 3), (2, 3), (3,), (2,), (3,), (2,)))),
    ),
    source="inverse (g - m(g) - s m(g s)), g = dy gamma, s = (x - mean - rest) inverse, m the mean of a row",
)
def layer_norm_slope(dy: Array, x: Array, gamma: Array, mean: Array, rest: Array, inverse: Array) -> Any:
    """The cotangent of the x of `layer_norm` from that of its first result, and from its other results."""
    wide = inverse[..., np.newaxis]
    standard = ((x - mean[..., np.newaxis]) - rest[..., np.newaxis]) * wide
    g = dy * gamma
    along = np.mean(g * standard, axis=-1, keepdims=True)
    return ((g - np.mean(g, axis=-1, keepdims=True)) - standard * along) * wide


OPS = (layer_norm, layer_norm_slope)
