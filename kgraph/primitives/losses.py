"""Crossentropies of two classes, element by element; each with a gradient of its own that does not overflow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from kgraph.ir.dtypes import bool_, f32, f64, i32
from kgraph.ir.opdef import Array, Attrs, Sample, Scalar, Trait, Types, current_emitter, primitive
from kgraph.ir.operators import binary
from kgraph.ir.scalar import Expr, call, const
from kgraph.ir.types import TensorType
from kgraph.primitives.elementwise import choose
from kgraph.primitives.sampling import SHAPES, bad, elementwise_errors, numbers, of
from kgraph.primitives.signatures import FLOATS, alike, expect, expect_fraction, expect_kind, expect_same

EPSILON = {"epsilon": 1e-7}


def _logits_expr(z: Expr, t: Expr) -> Expr:
    tail = call("log1p", call("exp", call("neg", call("abs", z))))
    return call("add", call("sub", call("max", z, const(0, z.dtype)), call("mul", z, t)), tail)


def _logits_samples(rng: np.random.Generator) -> Iterator[Sample]:
    for n, shape in enumerate(SHAPES):
        dtype = (f32, f64)[n % 2]
        yield Sample((numbers(rng, shape, dtype, -8, 8), numbers(rng, shape, dtype, 0, 1)))
    large = np.array([1e4, -1e4, 88.0, -104.0, 0.0, -0.0, np.inf, np.nan])
    for target in (0.0, 1.0):
        yield Sample((large.astype(np.float32), np.full(8, target, np.float32)))


@primitive(
    infer=alike("sigmoid_crossentropy", 2, FLOATS),
    grad=lambda dy, y, z, t: (dy * (current_emitter().emit("sigmoid", z) - t), -(dy * z)),
    lower=Scalar(_logits_expr),
    samples=_logits_samples,
    errors=elementwise_errors(2, FLOATS),
    traits=Trait.ELEMENTWISE,
    source="max(z, 0) - z t + log1p(exp(-|z|)); slope for z: sigmoid(z) - t",
)
def sigmoid_crossentropy(logits: Array, targets: Array) -> Any:
    """Crossentropy between targets in [0, 1] and sigmoid(logits), without overflow."""
    zero = logits.dtype.type(0)
    return np.maximum(logits, zero) - logits * targets + np.log1p(np.exp(-np.abs(logits)))


def _infer_binary(types: Types, attrs: Attrs) -> TensorType:
    expect("binary_crossentropy", types, attrs, 2, ("epsilon",))
    for position, type in enumerate(types):
        expect_kind("binary_crossentropy", type, FLOATS, position)
    expect_same("binary_crossentropy", types)
    expect_fraction("binary_crossentropy", "epsilon", attrs["epsilon"])
    return types[0]


def clipped_expr(p: Expr, epsilon: float) -> Expr:
    """`p` limited to [epsilon, 1 - epsilon]."""
    return call("min", call("max", p, const(epsilon, p.dtype)), const(1.0 - epsilon, p.dtype))


def clipped(p: Any, epsilon: float) -> tuple[Any, Any]:
    """Symbolic `p` limited to [epsilon, 1 - epsilon], and whether it was inside, where the slope is 1."""
    inside = current_emitter().emit("logical_and", p >= epsilon, p <= 1.0 - epsilon)
    return binary("minimum", binary("maximum", p, epsilon), 1.0 - epsilon), inside


def clip_array(p: Array, epsilon: float) -> Array:
    """Array `p` limited to [epsilon, 1 - epsilon] in its own element type."""
    return np.clip(p, p.dtype.type(epsilon), p.dtype.type(1.0 - epsilon))


def _binary_expr(p: Expr, t: Expr, epsilon: float) -> Expr:
    one = const(1, p.dtype)
    q = clipped_expr(p, epsilon)
    hit = call("mul", t, call("log", q))
    miss = call("mul", call("sub", one, t), call("log", call("sub", one, q)))
    return call("neg", call("add", hit, miss))


def _binary_grad(dy: Any, y: Any, p: Any, t: Any, epsilon: float) -> tuple[Any, Any]:
    q, inside = clipped(p, epsilon)
    slope = (1.0 - t) / (1.0 - q) - t / q
    emit = current_emitter().emit
    return choose(inside, dy * slope, 0.0), dy * (emit("log", 1.0 - q) - emit("log", q))


def _binary_samples(rng: np.random.Generator) -> Iterator[Sample]:
    for n, shape in enumerate(SHAPES):
        dtype = (f32, f64)[n % 2]
        yield Sample((numbers(rng, shape, dtype, 0.05, 0.95), numbers(rng, shape, dtype, 0, 1)), EPSILON)
    edge = np.array([0.0, 1.0, 1e-9, -0.5, 1.5, np.nan], np.float32)
    yield Sample((edge, np.array([0, 1, 1, 0, 0, 1], np.float32)), EPSILON)


@primitive(
    infer=_infer_binary,
    grad=_binary_grad,
    lower=Scalar(_binary_expr),
    samples=_binary_samples,
    errors=(
        bad("2 operands", of((2,)), epsilon=1e-7),
        bad("attributes", of((2,)), of((2,))),
        bad("one shape", of((2,)), of((3,)), epsilon=1e-7),
        bad("a float", of((2,), i32), of((2,), i32), epsilon=1e-7),
        bad("(0, 0.5)", of((2,)), of((2,)), epsilon=0.0),
        bad("a float", of((2,), bool_), of((2,), bool_), epsilon=1e-7),
    ),
    traits=Trait.ELEMENTWISE,
    source="-(t log p + (1 - t) log(1 - p)), p limited to [epsilon, 1 - epsilon], as in Keras",
)
def binary_crossentropy(probs: Array, targets: Array, epsilon: float) -> Any:
    """Crossentropy between targets in [0, 1] and probabilities, which are kept away from 0 and 1 by `epsilon`."""
    p, one = clip_array(probs, epsilon), probs.dtype.type(1)
    return -(targets * np.log(p) + (one - targets) * np.log(one - p))


OPS = (sigmoid_crossentropy, binary_crossentropy)
