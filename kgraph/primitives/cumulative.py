"""Running sums, products and linear recurrences along an axis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from kgraph.ir.dims import Dim, Shape, symbol
from kgraph.ir.dtypes import DType, bool_, f32, f64, i32
from kgraph.ir.loops import Accumulate, Combine, For, Init, Let, Stmt
from kgraph.ir.opdef import (
    Array,
    Attrs,
    GradRule,
    InferRule,
    LoopContext,
    Loops,
    OpDef,
    Sample,
    Trait,
    Types,
    current_emitter,
    primitive,
)
from kgraph.ir.scalar import Local, const
from kgraph.ir.types import TensorType
from kgraph.primitives.nests import Index, every_batch, every_element
from kgraph.primitives.sampling import NUMERIC, bad, numbers, of, with_attrs
from kgraph.primitives.signatures import (
    FLOATS,
    NUMBERS,
    Kinds,
    expect,
    expect_axis,
    expect_flag,
    expect_kind,
    expect_same,
)

_SHAPES: tuple[tuple[tuple[int, ...], int], ...] = (
    ((5,), 0), ((3, 4), 1), ((3, 4), 0), ((2, 3, 4), 1), ((1,), 0), ((4, 1), 1), ((0, 3), 1), ((3, 0), 1), ((3, 19), 0),
)  # fmt: skip


def _expect_direction(op: str, types: Types, attrs: Attrs, kinds: Kinds) -> None:
    for position, type in enumerate(types):
        expect_kind(op, type, kinds, position)
    expect_axis(op, attrs["axis"], types[0].rank)
    expect_flag(op, "reverse", attrs["reverse"])


def _along(
    context: LoopContext, axis: int, reverse: bool, start: tuple[Stmt, ...],
    step: Callable[[Index], tuple[Stmt, ...]],
) -> tuple[Stmt, ...]:  # fmt: skip
    """For every line along `axis`: `start`, then `step(index)` for one element after the other.

    Lines beside each other are lanes of a vector loop where the axis is not the last.
    """
    shape = context.out_types[0].shape
    others = tuple(1 if a == axis else size for a, size in enumerate(shape))
    k = context.fresh("k")
    at: Dim = shape[axis] - 1 - symbol(k) if reverse else symbol(k)

    def line(index: Index) -> tuple[Stmt, ...]:
        return *start, For(k, shape[axis], "serial", step((*index[:axis], at, *index[axis + 1 :])))

    last = all(size == 1 for size in shape[axis + 1 :])
    return every_batch(context, others, line) if last else every_element(context, others, line)


def _shifted(x: Any, axis: int, forward: bool) -> Any:
    """Each element moved one place up (`forward`) or down the axis, with 0 at the end that becomes free."""
    emitter = current_emitter()
    shape: Shape = emitter.type_of(x).shape
    none, one = (tuple(n if a == axis else 0 for a in range(len(shape))) for n in (0, 1))
    # Longer first, for an axis of unknown size may be empty.
    low, high = (one, none) if forward else (none, one)
    longer = emitter.emit("pad", x, low=low, high=high, value=0.0)
    starts = none if forward else one
    limits = tuple(size + start for size, start in zip(shape, starts, strict=True))
    return emitter.emit("slice", longer, starts=starts, limits=limits, strides=(1,) * len(shape))


def _infer_cumulative(op: str) -> InferRule:
    def infer(types: Types, attrs: Attrs) -> TensorType:
        expect(op, types, attrs, 1, ("axis", "exclusive", "reverse"))
        _expect_direction(op, types, attrs, NUMBERS)
        expect_flag(op, "exclusive", attrs["exclusive"])
        return types[0]

    return infer


def _cumulative(combine: Combine, start: int, grad: GradRule) -> Callable[[Callable[..., Any]], OpDef]:
    """Make an op that combines all elements up to each one, from `start` on."""

    def build(context: LoopContext, axis: int, exclusive: bool, reverse: bool) -> tuple[Stmt, ...]:
        dtype = context.in_types[0].dtype
        total, x = context.fresh("total"), context.fresh("x")

        def step(at: Index) -> tuple[Stmt, ...]:
            more, made = (Accumulate(total, combine, Local(x, dtype)),), context.write(0, at, Local(total, dtype))
            return Let(x, context.read(0, at)), *((*made, *more) if exclusive else (*more, *made))

        return _along(context, axis, reverse, (Init(total, const(start, dtype)),), step)

    def make(reference: Callable[..., Any]) -> OpDef:
        name = reference.__name__
        calls = [
            (shape, {"axis": axis, "exclusive": n % 2 == 1, "reverse": n % 4 > 1})
            for n, (shape, axis) in enumerate((*_SHAPES, *_SHAPES[:3]))
        ]
        return primitive(
            infer=_infer_cumulative(name),
            grad=grad,
            lower=Loops(build),
            samples=with_attrs(*calls, dtypes=NUMERIC, low=-2, high=2),
            errors=(
                bad("1 operands", axis=0, exclusive=False, reverse=False),
                bad("an axis in 0..1", of((2, 3)), axis=2, exclusive=False, reverse=False),
                bad("received bool", of((2, 3), bool_), axis=0, exclusive=False, reverse=False),
                bad("True or False", of((2, 3)), axis=0, exclusive=1, reverse=False),
            ),
            traits=Trait.REDUCTION,
            source=f"numpy.{name}",
        )(reference)

    return make


def _cumsum_grad(dy: Any, y: Any, x: Any, axis: int, exclusive: bool, reverse: bool) -> tuple[Any]:
    return (current_emitter().emit("cumsum", dy, axis=axis, exclusive=exclusive, reverse=not reverse),)


def _cumprod_grad(dy: Any, y: Any, x: Any, axis: int, exclusive: bool, reverse: bool) -> tuple[Any]:
    # The slope of later products for x[i] is the product before it, times s[i] = dy[i] + x[i+1] s[i+1]: no division,
    # so that zeros do no harm. An exclusive product sees x[i] one place later.
    emit = current_emitter().emit
    before = emit("cumprod", x, axis=axis, exclusive=True, reverse=reverse)
    ahead = _shifted(dy, axis, reverse) if exclusive else dy
    behind = emit("linear_recurrence", _shifted(x, axis, reverse), ahead, axis=axis, reverse=not reverse)
    return (before * behind,)


def _accumulated(function: np.ufunc, x: Array, axis: int, exclusive: bool, reverse: bool) -> Any:
    lines = np.moveaxis(x, axis, -1)
    lines = lines[..., ::-1] if reverse else lines
    made = function.accumulate(lines, -1, dtype=x.dtype) if lines.size else lines
    if exclusive:
        first = np.full((*lines.shape[:-1], min(lines.shape[-1], 1)), function.identity, x.dtype)
        made = np.concatenate([first, made[..., :-1]], -1)
    made = made[..., ::-1] if reverse else made
    return np.moveaxis(made, -1, axis)


@_cumulative("add", 0, _cumsum_grad)
def cumsum(x: Array, axis: int, exclusive: bool, reverse: bool) -> Any:
    """Sum of all elements along `axis` up to each one; from the end with `reverse`, without itself if `exclusive`."""
    return _accumulated(np.add, x, axis, exclusive, reverse)


@_cumulative("mul", 1, _cumprod_grad)
def cumprod(x: Array, axis: int, exclusive: bool, reverse: bool) -> Any:
    """Product of all elements along `axis` up to each one; directions as in `cumsum`."""
    return _accumulated(np.multiply, x, axis, exclusive, reverse)


def _infer_recurrence(types: Types, attrs: Attrs) -> TensorType:
    expect("linear_recurrence", types, attrs, 2, ("axis", "reverse"))
    _expect_direction("linear_recurrence", types, attrs, FLOATS)
    expect_same("linear_recurrence", types)
    return types[0]


def _recurrence_loops(context: LoopContext, axis: int, reverse: bool) -> tuple[Stmt, ...]:
    dtype = context.in_types[0].dtype
    state, a, b = context.fresh("h"), context.fresh("a"), context.fresh("b")

    def step(at: Index) -> tuple[Stmt, ...]:
        return (
            Let(a, context.read(0, at)),
            Let(b, context.read(1, at)),
            Accumulate(state, "mul", Local(a, dtype)),
            Accumulate(state, "add", Local(b, dtype)),
            *context.write(0, at, Local(state, dtype)),
        )

    return _along(context, axis, reverse, (Init(state, const(0, dtype)),), step)


def _recurrence_grad(dy: Any, y: Any, a: Any, b: Any, axis: int, reverse: bool) -> tuple[Any, Any]:
    slopes = current_emitter().emit("linear_recurrence", _shifted(a, axis, reverse), dy, axis=axis, reverse=not reverse)
    return slopes * _shifted(y, axis, not reverse), slopes


def _recurrence_samples(rng: np.random.Generator) -> Iterator[Sample]:
    for n, (shape, axis) in enumerate(_SHAPES):
        dtype: DType = (f32, f64)[n % 2]
        args = numbers(rng, shape, dtype, -1, 1), numbers(rng, shape, dtype)
        yield Sample(args, {"axis": axis, "reverse": n % 3 == 1})


@primitive(
    infer=_infer_recurrence,
    grad=_recurrence_grad,
    lower=Loops(_recurrence_loops),
    samples=_recurrence_samples,
    errors=(
        bad("2 operands", of((2, 3)), axis=0, reverse=False),
        bad("a float", of((2,), i32), of((2,), i32), axis=0, reverse=False),
        bad("one shape", of((2, 3)), of((2, 4)), axis=0, reverse=False),
        bad("an axis in 0..0", of((2,)), of((2,)), axis=1, reverse=False),
    ),
    traits=Trait.REDUCTION,
)
def linear_recurrence(a: Array, b: Array, axis: int, reverse: bool) -> Any:
    """h[k] = a[k] h[k-1] + b[k] along `axis`, from h = 0 on; from the end with `reverse`."""
    decay, added = (np.moveaxis(t, axis, 0) for t in (a, b))
    out, state = np.empty_like(added), np.zeros(added.shape[1:], b.dtype)
    for k in reversed(range(len(added))) if reverse else range(len(added)):
        state = decay[k] * state + added[k]
        out[k] = state
    return np.moveaxis(out, 0, axis)


OPS = (cumsum, cumprod, linear_recurrence)
