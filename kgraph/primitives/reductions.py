"""Reductions over axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kgraph.errors import ShapeError
from kgraph.ir.dtypes import DType, bool_, dtype_of, i32
from kgraph.ir.loops import Accumulate, Combine, Init, Stmt
from kgraph.ir.opdef import (
    Array,
    Attrs,
    GradRule,
    InferRule,
    LoopContext,
    NoGrad,
    OpDef,
    Rows,
    Trait,
    Types,
    current_emitter,
    primitive,
)
from kgraph.ir.operators import binary
from kgraph.ir.scalar import Expr, IndexValue, Local, call, const
from kgraph.ir.types import TensorType
from kgraph.primitives.elementwise import choose
from kgraph.primitives.nests import Each, Index, Row, Start, rows
from kgraph.primitives.sampling import NUMERIC, bad, of, with_attrs
from kgraph.primitives.signatures import (
    NUMBERS,
    expect,
    expect_axes,
    expect_axis,
    expect_flag,
    expect_kind,
    reduced_shape,
)

SAMPLES: tuple[tuple[tuple[int, ...], Attrs], ...] = tuple(
    (shape, {"axes": axes, "keepdims": keepdims})
    for shape, axes, keepdims in (
        ((5,), (0,), False), ((3, 4), (1,), False), ((3, 4), (0,), True), ((3, 37), (1,), True),
        ((2, 3, 4), (0, 2), False), ((2, 3, 4), (1,), False), ((), (), False), ((1,), (0,), True),
        ((0, 3), (1,), False), ((3, 0), (0,), True), ((4, 1), (1,), False), ((1, 6), (0, 1), False),
        ((6, 1), (0,), False), ((2, 3), (), False),
    )
)  # fmt: skip


def lowest(dtype: DType) -> float | int:
    """The smallest value of an element type: the start of a maximum."""
    return -np.inf if dtype.is_float else int(np.iinfo(dtype.numpy).min)


def highest(dtype: DType) -> float | int:
    """The largest value of an element type: the start of a minimum."""
    return np.inf if dtype.is_float else int(np.iinfo(dtype.numpy).max)


def spread(value: Any, x: Any, axes: Sequence[int], keepdims: bool) -> Any:
    """A reduced tensor repeated to the shape of `x`, whose `axes` were reduced."""
    emitter = current_emitter()
    shape = emitter.type_of(x).shape
    places = tuple(a for a in range(len(shape)) if keepdims or a not in axes)
    return value if not axes else emitter.emit("broadcast", value, shape=shape, axes=places)


def _infer(op: str) -> InferRule:
    def infer(types: Types, attrs: Attrs) -> TensorType:
        expect(op, types, attrs, 1, ("axes", "keepdims"))
        expect_kind(op, types[0], NUMBERS)
        axes = expect_axes(op, attrs["axes"], types[0].rank)
        return types[0].with_shape(reduced_shape(types[0].shape, axes, expect_flag(op, "keepdims", attrs["keepdims"])))

    return infer


def _loops(combine: Combine, start: Callable[[DType], float | int]) -> Rows:
    def statements(context: LoopContext, axes: tuple[int, ...], keepdims: bool) -> Row:
        dtype = context.in_types[0].dtype
        name, first = context.fresh(combine), const(start(dtype), dtype)
        sums = {name: dtype} if combine == "add" and dtype.is_float else None
        exact: dict[str, Start] = {} if combine in ("add", "mul") and dtype.is_float else {name: (combine, first)}

        def row(index: Index, each: Each) -> tuple[Stmt, ...]:
            steps = each(lambda at: (Accumulate(name, combine, context.read(0, at)),), sums, exact)
            at = index if keepdims else [i for a, i in enumerate(index) if a not in axes]
            return Init(name, first), *steps, *context.write(0, at, Local(name, dtype))

        return row

    return rows(statements, lambda type, axes, keepdims: axes)


def reduction(
    combine: Combine, start: Callable[[DType], float | int], grad: GradRule
) -> Callable[[Callable[..., Any]], OpDef]:
    """Make a reduction that combines elements from `start` on; an empty reduction gives `start`."""

    def make(reference: Callable[..., Any]) -> OpDef:
        name = reference.__name__.rstrip("_")
        return primitive(
            name=name,
            infer=_infer(name),
            grad=grad,
            lower=_loops(combine, start),
            samples=with_attrs(*SAMPLES, dtypes=NUMERIC, low=-2, high=2),
            errors=(
                bad("1 operands", axes=(0,), keepdims=False),
                bad("a rising tuple of axes in 0..1", of((2, 3)), axes=(2,), keepdims=False),
                bad("a rising tuple", of((2, 3)), axes=(1, 0), keepdims=False),
                bad("received bool", of((2, 3), bool_), axes=(0,), keepdims=False),
                bad("True or False", of((2, 3)), axes=(0,), keepdims=1),
            ),
            traits=Trait.REDUCTION,
        )(reference)

    return make


def _sum_grad(dy: Any, y: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> tuple[Any]:
    return (spread(dy, x, axes, keepdims),)


def _extreme_grad(dy: Any, y: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> tuple[Any]:
    emitter = current_emitter()
    chosen = emitter.emit("eq", x, spread(y, x, axes, keepdims))
    marks = emitter.emit("cast", chosen, dtype=emitter.type_of(x).dtype)
    count = emitter.emit("sum", marks, axes=axes, keepdims=keepdims)
    return (choose(chosen, spread(dy / count, x, axes, keepdims), 0.0),)


def _prod_grad(dy: Any, y: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> tuple[Any]:
    # y / x fails at zeros: one zero takes the product of the others, two or more leave nothing.
    emitter = current_emitter()
    zero = binary("eq", x, 0.0)
    others = choose(zero, 1.0, x)
    product = spread(emitter.emit("prod", others, axes=axes, keepdims=keepdims), x, axes, keepdims)
    marks = emitter.emit("cast", zero, dtype=emitter.type_of(x).dtype)
    zeros = spread(emitter.emit("sum", marks, axes=axes, keepdims=keepdims), x, axes, keepdims)
    at_zero = choose(binary("eq", zeros, 1.0), product, 0.0)
    elsewhere = choose(binary("eq", zeros, 0.0), product / others, 0.0)
    return (spread(dy, x, axes, keepdims) * choose(zero, at_zero, elsewhere),)


@reduction("add", lambda dtype: 0, _sum_grad)
def sum_(x: Array, axes: tuple[int, ...], keepdims: bool) -> Any:
    """Sum over axes, in the operand's element type; integers wrap round, nothing sums to 0."""
    return np.sum(x, axis=axes, keepdims=keepdims, dtype=x.dtype)


@reduction("mul", lambda dtype: 1, _prod_grad)
def prod(x: Array, axes: tuple[int, ...], keepdims: bool) -> Any:
    """Product over axes, in the operand's element type; integers wrap round, nothing multiplies to 1."""
    return np.prod(x, axis=axes, keepdims=keepdims, dtype=x.dtype)


@reduction("max", lowest, _extreme_grad)
def max_(x: Array, axes: tuple[int, ...], keepdims: bool) -> Any:
    """Largest element over axes; NaN if there is one, the type's lowest value (-inf) if there is no element.

    Equal largest elements share the gradient equally.
    """
    return np.max(x, axis=axes, keepdims=keepdims, initial=lowest(dtype_of(x.dtype)))


@reduction("min", highest, _extreme_grad)
def min_(x: Array, axes: tuple[int, ...], keepdims: bool) -> Any:
    """Smallest element over axes; NaN if there is one, the type's highest value (inf) if there is no element.

    Equal smallest elements share the gradient equally.
    """
    return np.min(x, axis=axes, keepdims=keepdims, initial=highest(dtype_of(x.dtype)))


def _infer_place(op: str) -> InferRule:
    def infer(types: Types, attrs: Attrs) -> TensorType:
        expect(op, types, attrs, 1, ("axis",))
        expect_kind(op, types[0], NUMBERS)
        axis = expect_axis(op, attrs["axis"], types[0].rank)
        if types[0].shape[axis] == 0:
            raise ShapeError(op, expected=f"at least one element along axis {axis}", received=str(types[0]))
        return TensorType(i32, reduced_shape(types[0].shape, (axis,), False))

    return infer


def _place_loops(combine: Combine, start: Callable[[DType], float | int]) -> Rows:
    def statements(context: LoopContext, axis: int) -> Row:
        source = context.in_types[0]
        dtype = source.dtype
        best, place = context.fresh("best"), context.fresh("place")
        first, behind = const(start(dtype), dtype), IndexValue(source.shape[axis], i32)

        def candidate(at: Index) -> tuple[Stmt, ...]:
            x = context.read(0, at)
            found: Expr = call("eq", x, Local(best, dtype))
            if dtype.is_float:  # the extreme is NaN if any element is, and only NaN differs from itself
                found = call("or", found, call("ne", x, x))
            return (Accumulate(place, "min", call("select", found, IndexValue(at[axis], i32), behind)),)

        def row(index: Index, each: Each) -> tuple[Stmt, ...]:
            return (
                Init(best, first),
                *each(lambda at: (Accumulate(best, combine, context.read(0, at)),), exact={best: (combine, first)}),
                Init(place, behind),
                *each(candidate),
                *context.write(0, index[:axis] + index[axis + 1 :], Local(place, i32)),
            )

        return row

    return rows(statements, lambda type, axis: (axis,), reads_once=False)


def _place(combine: Combine, start: Callable[[DType], float | int]) -> Callable[[Callable[..., Any]], OpDef]:
    """Make an op that finds the place of the extreme that `combine` gives."""

    def make(reference: Callable[..., Any]) -> OpDef:
        name = reference.__name__
        axes = {(5,): 0, (3, 4): 1, (4, 3): 0, (2, 3, 4): 1, (1,): 0, (4, 1): 1, (0, 3): 1, (6, 37): 1}
        return primitive(
            infer=_infer_place(name),
            grad=NoGrad("the result is an integer"),
            lower=_place_loops(combine, start),
            samples=with_attrs(*((shape, {"axis": axis}) for shape, axis in axes.items()), dtypes=NUMERIC),
            errors=(
                bad("1 operands", axis=0),
                bad("an axis in 0..1", of((2, 3)), axis=2),
                bad("received bool", of((2, 3), bool_), axis=0),
                bad("at least one element", of((2, 0)), axis=1),
            ),
            traits=Trait.REDUCTION,
        )(reference)

    return make


@_place("max", lowest)
def argmax(x: Array, axis: int) -> Any:
    """Index (int32) of the first largest element along `axis`; of the first NaN if there is one."""
    return np.argmax(x, axis=axis).astype(np.int32)


@_place("min", highest)
def argmin(x: Array, axis: int) -> Any:
    """Index (int32) of the first smallest element along `axis`; of the first NaN if there is one."""
    return np.argmin(x, axis=axis).astype(np.int32)


OPS = (sum_, prod, max_, min_, argmax, argmin)
