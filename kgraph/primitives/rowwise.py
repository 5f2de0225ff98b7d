"""Softmax and its crossentropies over the last axis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from kgraph.errors import ShapeError
from kgraph.ir.dtypes import DType, f32, f64, i32
from kgraph.ir.loops import Accumulate, Init, Let, Stmt, Store
from kgraph.ir.opdef import Array, Attrs, LoopContext, Loops, Sample, Types, current_emitter, primitive
from kgraph.ir.scalar import Expr, Load, Local, call, const
from kgraph.ir.types import TensorType
from kgraph.primitives.elementwise import choose
from kgraph.primitives.losses import EPSILON, clip_array, clipped, clipped_expr
from kgraph.primitives.nests import Each, Index, over_rows
from kgraph.primitives.reductions import spread
from kgraph.primitives.sampling import bad, numbers, of
from kgraph.primitives.signatures import FLOATS, expect, expect_fraction, expect_kind, expect_same

ROWS: tuple[tuple[int, ...], ...] = (
    (3, 4), (5,), (1,), (1, 1), (0, 3), (2, 3, 10), (4, 37), (7, 1), (2, 0, 5), (6, 16), (9, 17), (2, 2, 40),
)  # fmt: skip

_SHORT_ROW = 16  # elements: one vector of float32


def _expect_rows(op: str, types: Types) -> None:
    for position, type in enumerate(types):
        expect_kind(op, type, FLOATS, position)
    expect_same(op, types)
    if types[0].rank < 1 or types[0].shape[-1] == 0:
        raise ShapeError(op, expected="a last axis of at least one element", received=str(types[0]))


def _last(x: Any) -> int:
    return current_emitter().type_of(x).rank - 1


def row_sum(x: Any) -> Any:
    """Sum over the last axis, repeated to the shape of `x`."""
    axes = (_last(x),)
    return spread(current_emitter().emit("sum", x, axes=axes, keepdims=False), x, axes, False)


def row_spread(value: Any, x: Any) -> Any:
    """One value for each row of `x`, repeated along the last axis."""
    return spread(value, x, (_last(x),), False)


def log_softmax(z: Any) -> Any:
    """Symbolic logarithm of the softmax over the last axis, without overflow."""
    emit, axes = current_emitter().emit, (_last(z),)
    shifted = z - spread(emit("stop_gradient", emit("max", z, axes=axes, keepdims=False)), z, axes, False)
    total = emit("sum", emit("exp", shifted), axes=axes, keepdims=False)
    return shifted - spread(emit("log", total), z, axes, False)


def _row_maximum(context: LoopContext, name: str, dtype: DType, each: Each) -> tuple[Stmt, ...]:
    steps = each(lambda at: (Accumulate(name, "max", context.read(0, at)),))
    return Init(name, const(-np.inf, dtype)), *steps


class _Raised:
    """exp(x - peak) along a row: the loop that adds them up keeps them for the loop that scales them.

    A short row computes them again: that takes no longer than to wait for what the same vector has just stored. So rows
    of one element, which are lanes of a vector, need no memory that would have to differ from lane to lane.
    """

    def __init__(self, context: LoopContext, peak: str) -> None:
        source = context.in_types[0]
        width = source.shape[-1]
        self.context, self.peak = context, Local(peak, source.dtype)
        short = isinstance(width, int) and width <= _SHORT_ROW
        self.kept = None if short else context.private(source.dtype, (width,))

    def shifted(self, at: Index) -> Expr:
        """x - peak."""
        return call("sub", self.context.read(0, at), self.peak)

    def add_to(self, total: str, at: Index) -> tuple[Stmt, ...]:
        """Compute an element, keep it, and add it."""
        name = self.context.fresh("raised")
        value = Local(name, self.peak.dtype)
        stores = () if self.kept is None else (Store(self.kept, at[-1:], value),)
        return Let(name, call("exp", self.shifted(at))), *stores, Accumulate(total, "add", value)

    def scaled(self, scale: str, at: Index) -> Expr:
        """An element, as it was kept, times a local."""
        value = call("exp", self.shifted(at)) if self.kept is None else Load(self.kept, at[-1:])
        return call("mul", value, Local(scale, self.peak.dtype))


def _infer_softmax(types: Types, attrs: Attrs) -> TensorType:
    expect("softmax", types, attrs, 1)
    _expect_rows("softmax", types)
    return types[0]


def _softmax_loops(context: LoopContext) -> tuple[Stmt, ...]:
    source = context.in_types[0]
    dtype = source.dtype
    peak, total, scale = context.fresh("peak"), context.fresh("total"), context.fresh("scale")
    raised = _Raised(context, peak)

    def row(index: Index, each: Each) -> tuple[Stmt, ...]:
        return (
            *_row_maximum(context, peak, dtype, each),
            Init(total, const(0, dtype)),
            *each(lambda at: raised.add_to(total, at)),
            Let(scale, call("div", const(1, dtype), Local(total, dtype))),
            *each(lambda at: context.write(0, at, raised.scaled(scale, at))),
        )

    return over_rows(context, source.shape, (source.rank - 1,), row)


def _softmax_samples(rng: np.random.Generator) -> Iterator[Sample]:
    for n, shape in enumerate(ROWS):
        yield Sample((numbers(rng, shape, (f32, f64)[n % 2]),))
    for dtype in (f32, f64):
        rows = [[1e4, 0.0, -1e4], [-np.inf, 0.0, 1.0], [np.nan, 0.0, 1.0], [np.inf, 0.0, 1.0], [-np.inf] * 3]
        yield Sample((np.array(rows, dtype.to_numpy()),))


@primitive(
    infer=_infer_softmax,
    grad=lambda dy, y, x: (y * (dy - row_sum(dy * y)),),
    lower=Loops(_softmax_loops, reads_once=False),
    samples=_softmax_samples,
    errors=(
        bad("1 operands", of((2,)), of((2,))),
        bad("a float", of((2,), i32)),
        bad("at least one element", of((2, 0))),
        bad("at least one element", of(())),
        bad("attributes", of((2, 3)), axis=-1),
    ),
    source="exp(x - max(x)) / sum(exp(x - max(x)))",
)
def softmax(x: Array) -> Any:
    """Softmax over the last axis, without overflow; each row sums to 1."""
    raised = np.exp(x - np.max(x, axis=-1, keepdims=True, initial=-np.inf))
    return raised / np.sum(raised, axis=-1, keepdims=True)


def _infer_logits(types: Types, attrs: Attrs) -> tuple[TensorType, TensorType]:
    expect("softmax_crossentropy", types, attrs, 2)
    _expect_rows("softmax_crossentropy", types)
    return types[0].with_shape(types[0].shape[:-1]), types[0]


def _logits_grad(dy: tuple[Any, Any], y: tuple[Any, Any], z: Any, t: Any) -> tuple[Any, Any]:
    (dloss, dprobs), (_, probs) = dy, y
    dz = dt = None
    if dloss is not None:
        wide = row_spread(dloss, z)
        dz = (probs * row_sum(t) - t) * wide
        dt = -(log_softmax(z) * wide)
    if dprobs is not None:
        more = probs * (dprobs - row_sum(dprobs * probs))
        dz = more if dz is None else dz + more
    return dz, dt


def _logits_loops(context: LoopContext) -> tuple[Stmt, ...]:
    source = context.in_types[0]
    dtype = source.dtype
    peak, total, weight, inner = (context.fresh(n) for n in ("peak", "total", "weight", "inner"))
    scale = context.fresh("scale")
    zero, raised = const(0, dtype), _Raised(context, peak)

    def gather(at: Index) -> tuple[Stmt, ...]:
        t = context.read(1, at)
        # A class that is masked out by a logit of -inf and has target 0 adds nothing, not 0 * inf.
        term = call("select", call("eq", t, zero), zero, call("mul", t, raised.shifted(at)))
        return (
            *raised.add_to(total, at),
            Accumulate(weight, "add", t),
            Accumulate(inner, "add", term),
        )

    def row(index: Index, each: Each) -> tuple[Stmt, ...]:
        weighted = call("mul", Local(weight, dtype), call("log", Local(total, dtype)))
        probability = each(lambda at: context.write(1, at, raised.scaled(scale, at)))
        return (
            *_row_maximum(context, peak, dtype, each),
            *(Init(name, zero) for name in (total, weight, inner)),
            *each(gather),
            Let(scale, call("div", const(1, dtype), Local(total, dtype))),
            *context.write(0, index[:-1], call("sub", weighted, Local(inner, dtype))),
            *probability,
        )

    return over_rows(context, source.shape, (source.rank - 1,), row)


def _pair_samples(low: float, high: float, attrs: Attrs) -> Any:
    def samples(rng: np.random.Generator) -> Iterator[Sample]:
        for n, shape in enumerate(ROWS):
            dtype = (f32, f64)[n % 2]
            yield Sample((numbers(rng, shape, dtype, low, high), numbers(rng, shape, dtype, 0, 1)), attrs)

    return samples


def _logits_samples(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _pair_samples(-4, 4, {})(rng)
    z = np.array([[1e4, 0, -1e4], [-1e4, 0, 1e4], [-np.inf, 0, 1], [88, 88, 88], [np.nan, 0, 1]])
    t = np.array([[1, 0, 0], [1, 0, 0], [0, 0, 1], [0.2, 0.3, 0.5], [1, 0, 0]])
    yield from (Sample((z.astype(d.to_numpy()), t.astype(d.to_numpy()))) for d in (f32, f64))


@primitive(
    infer=_infer_logits,
    grad=_logits_grad,
    lower=Loops(_logits_loops, reads_once=False),
    samples=_logits_samples,
    errors=(
        bad("2 operands", of((2, 3))),
        bad("one shape", of((2, 3)), of((2, 4))),
        bad("one element type", of((2, 3)), of((2, 3), f64)),
        bad("at least one element", of(()), of(())),
        bad("a float", of((2, 3)), of((2, 3), i32)),
    ),
    source="sum(t) logsumexp(z) - sum(t z), both sums shifted by max(z); slope for z: softmax(z) sum(t) - t",
)
def softmax_crossentropy(logits: Array, targets: Array) -> Any:
    """Crossentropy between rows of targets and softmax(logits), one loss for each row, and softmax(logits).

    Huge logits do not overflow; targets need not sum to 1.
    """
    shifted = logits - np.max(logits, axis=-1, keepdims=True, initial=-np.inf)
    raised = np.exp(shifted)
    total = np.sum(raised, axis=-1)
    terms = np.multiply(targets, shifted, out=np.zeros_like(logits), where=targets != 0)
    return np.sum(targets, axis=-1) * np.log(total) - np.sum(terms, axis=-1), raised / total[..., np.newaxis]


def _infer_probabilities(types: Types, attrs: Attrs) -> TensorType:
    expect("categorical_crossentropy", types, attrs, 2, ("epsilon",))
    _expect_rows("categorical_crossentropy", types)
    expect_fraction("categorical_crossentropy", "epsilon", attrs["epsilon"])
    return types[0].with_shape(types[0].shape[:-1])


def _probabilities_grad(dy: Any, y: Any, p: Any, t: Any, epsilon: float) -> tuple[Any, Any]:
    wide, total = row_spread(dy, p), row_sum(p)
    ratio = p / total
    q, inside = clipped(ratio, epsilon)
    dq = choose(inside, -(t / q), 0.0) * wide
    return (dq - row_sum(dq * ratio)) / total, -(current_emitter().emit("log", q) * wide)


def _probabilities_loops(context: LoopContext, epsilon: float) -> tuple[Stmt, ...]:
    source = context.in_types[0]
    dtype = source.dtype
    total, inner = context.fresh("total"), context.fresh("inner")

    def term(at: Index) -> tuple[Stmt, ...]:
        q = clipped_expr(call("div", context.read(0, at), Local(total, dtype)), epsilon)
        return (Accumulate(inner, "add", call("mul", context.read(1, at), call("log", q))),)

    def row(index: Index, each: Each) -> tuple[Stmt, ...]:
        return (
            Init(total, const(0, dtype)),
            *each(lambda at: (Accumulate(total, "add", context.read(0, at)),)),
            Init(inner, const(0, dtype)),
            *each(term),
            *context.write(0, index[:-1], call("neg", Local(inner, dtype))),
        )

    return over_rows(context, source.shape, (source.rank - 1,), row)


def _probability_samples(rng: np.random.Generator) -> Iterator[Sample]:
    yield from _pair_samples(0.1, 1, EPSILON)(rng)
    p = np.array([[1, 0, 0], [0, 1, 0], [0.2, 0.3, 0.5], [np.nan, 1, 0]], np.float32)
    yield Sample((p, np.array([[1, 0, 0]] * 4, np.float32)), EPSILON)


@primitive(
    infer=_infer_probabilities,
    grad=_probabilities_grad,
    lower=Loops(_probabilities_loops, reads_once=False),
    samples=_probability_samples,
    errors=(
        bad("attributes", of((2, 3)), of((2, 3))),
        bad("one shape", of((2, 3)), of((2, 4)), **EPSILON),
        bad("(0, 0.5)", of((2, 3)), of((2, 3)), epsilon=1.0),
        bad("at least one element", of((2, 0)), of((2, 0)), **EPSILON),
    ),
    source="-sum(t log q), q = p / sum(p) limited to [epsilon, 1 - epsilon], as in Keras",
)
def categorical_crossentropy(probs: Array, targets: Array, epsilon: float) -> Any:
    """Crossentropy between rows of targets and of probabilities, one loss for each row."""
    q = clip_array(probs / np.sum(probs, axis=-1, keepdims=True), epsilon)
    return -np.sum(targets * np.log(q), axis=-1)


OPS = (softmax, softmax_crossentropy, categorical_crossentropy)
