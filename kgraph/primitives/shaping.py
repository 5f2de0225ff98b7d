"""Ops that move elements without computing: views, broadcasts, joins and cuts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kgraph.errors import ShapeError
from kgraph.ir.dims import Shape, product
from kgraph.ir.loops import Accumulate, Init, Stmt
from kgraph.ir.opdef import (
    Alias,
    Array,
    Attrs,
    LoopContext,
    Pointwise,
    Trait,
    Types,
    current_emitter,
    primitive,
)
from kgraph.ir.scalar import Expr, Local, const
from kgraph.ir.types import TensorType
from kgraph.primitives.nests import Each, Index, Row, rows
from kgraph.primitives.sampling import NUMERIC, bad, of, with_attrs
from kgraph.primitives.signatures import NUMBERS, expect, expect_axes, expect_dims, expect_kind


def _shape_of(value: Any) -> Shape:
    return current_emitter().type_of(value).shape


def _check_broadcast(op: str, small: Shape, large: Shape, axes: object) -> None:
    places = expect_axes(op, axes, len(large))
    if len(places) != len(small):
        raise ShapeError(f"{op}, attribute axes", expected=f"{len(small)} axes", received=repr(axes))
    for size, axis in zip(small, places, strict=True):
        if size not in (1, large[axis]):
            raise ShapeError(op, expected=f"size 1 or {large[axis]} for axis {axis}", received=str(size))


def _infer_broadcast(types: Types, attrs: Attrs) -> TensorType:
    expect("broadcast", types, attrs, 1, ("shape", "axes"))
    shape = expect_dims("broadcast", "shape", attrs["shape"])
    _check_broadcast("broadcast", types[0].shape, shape, attrs["axes"])
    return types[0].with_shape(shape)


def _broadcast_element(context: LoopContext, index: Index, shape: Shape, axes: tuple[int, ...]) -> Expr:
    small = context.in_types[0].shape
    return context.read(0, [0 if size == 1 else index[axis] for size, axis in zip(small, axes, strict=True)])


@primitive(
    infer=_infer_broadcast,
    grad=lambda dy, y, x, shape, axes: (current_emitter().emit("sum_to", dy, shape=_shape_of(x), axes=axes),),
    lower=Pointwise(_broadcast_element),
    samples=with_attrs(
        ((), {"shape": (3,), "axes": ()}),
        ((4,), {"shape": (3, 4), "axes": (1,)}),
        ((3,), {"shape": (3, 4), "axes": (0,)}),
        ((3, 1), {"shape": (3, 5), "axes": (0, 1)}),
        ((1,), {"shape": (1,), "axes": (0,)}),
        ((2, 3), {"shape": (2, 5, 3), "axes": (0, 2)}),
        ((0,), {"shape": (4, 0), "axes": (1,)}),
        ((1, 6), {"shape": (0, 6), "axes": (0, 1)}),
        dtypes=NUMERIC,
    ),
    errors=(
        bad("1 operands", shape=(2,), axes=()),
        bad("2 axes", of((2, 3)), shape=(2, 3), axes=(0,)),
        bad("size 1 or 4", of((3,)), shape=(2, 4), axes=(1,)),
        bad("rising", of((2, 3)), shape=(3, 2), axes=(1, 0)),
        bad("sizes >= 0", of((1,)), shape=(-2,), axes=(0,)),
    ),
)
def broadcast(x: Array, shape: tuple[int, ...], axes: tuple[int, ...]) -> Any:
    """Repeat along new axes and along axes of size 1: operand axis i becomes axis `axes[i]` of `shape`."""
    placed = [1] * len(shape)
    for size, axis in zip(x.shape, axes, strict=True):
        placed[axis] = size
    return np.broadcast_to(x.reshape(placed), shape)


def _infer_sum_to(types: Types, attrs: Attrs) -> TensorType:
    expect("sum_to", types, attrs, 1, ("shape", "axes"))
    expect_kind("sum_to", types[0], NUMBERS)
    shape = expect_dims("sum_to", "shape", attrs["shape"])
    _check_broadcast("sum_to", shape, types[0].shape, attrs["axes"])
    return types[0].with_shape(shape)


def _summed_axes(large: Shape, shape: Shape, axes: Sequence[int]) -> tuple[int, ...]:
    kept = {axis for size, axis in zip(shape, axes, strict=True) if size == large[axis]}
    return tuple(a for a in range(len(large)) if a not in kept)


def _sum_to_row(context: LoopContext, shape: Shape, axes: tuple[int, ...]) -> Row:
    source = context.in_types[0]
    total = context.fresh("sum")

    def row(index: Index, each: Each) -> tuple[Stmt, ...]:
        start = Init(total, const(0, source.dtype))
        sums = {total: source.dtype} if source.dtype.is_float else None
        add = each(lambda at: (Accumulate(total, "add", context.read(0, at)),), sums)
        return start, *add, *context.write(0, [index[a] for a in axes], Local(total, source.dtype))

    return row


@primitive(
    infer=_infer_sum_to,
    grad=lambda dy, y, x, shape, axes: (current_emitter().emit("broadcast", dy, shape=_shape_of(x), axes=axes),),
    lower=rows(_sum_to_row, lambda type, shape, axes: _summed_axes(type.shape, shape, axes)),
    samples=with_attrs(
        ((3,), {"shape": (), "axes": ()}),
        ((3, 4), {"shape": (4,), "axes": (1,)}),
        ((3, 4), {"shape": (3,), "axes": (0,)}),
        ((3, 5), {"shape": (3, 1), "axes": (0, 1)}),
        ((1,), {"shape": (1,), "axes": (0,)}),
        ((2, 5, 3), {"shape": (2, 3), "axes": (0, 2)}),
        ((4, 0), {"shape": (4,), "axes": (0,)}),
        ((0, 6), {"shape": (1, 6), "axes": (0, 1)}),
        ((7, 19), {"shape": (1, 19), "axes": (0, 1)}),
        dtypes=NUMERIC,
    ),
    errors=(
        bad("1 operands", shape=(2,), axes=()),
        bad("1 axes", of((2, 3)), shape=(2,), axes=(0, 1)),
        bad("size 1 or 4", of((2, 4)), shape=(3,), axes=(1,)),
        bad("attributes", of((2, 4)), shape=()),
    ),
    traits=Trait.REDUCTION,
)
def sum_to(x: Array, shape: tuple[int, ...], axes: tuple[int, ...]) -> Any:
    """Adjoint of `broadcast`: sum over the axes not in `axes` and over those where `shape` is 1."""
    return np.sum(x, axis=_summed_axes(x.shape, shape, axes), dtype=x.dtype).reshape(shape)


def _infer_reshape(types: Types, attrs: Attrs) -> TensorType:
    expect("reshape", types, attrs, 1, ("shape",))
    shape = expect_dims("reshape", "shape", attrs["shape"])
    if product(shape) != types[0].size:
        raise ShapeError("reshape", expected=f"a shape of {types[0].size} elements", received=repr(shape))
    return types[0].with_shape(shape)


@primitive(
    infer=_infer_reshape,
    grad=lambda dy, y, x, shape: (current_emitter().emit("reshape", dy, shape=_shape_of(x)),),
    lower=Alias(),
    samples=with_attrs(
        ((6,), {"shape": (2, 3)}),
        ((2, 3), {"shape": (6,)}),
        ((), {"shape": (1, 1)}),
        ((1,), {"shape": ()}),
        ((0, 4), {"shape": (2, 0)}),
        ((2, 3, 4), {"shape": (4, 6)}),
        ((5,), {"shape": (5,)}),
        ((0,), {"shape": (0, 7)}),
        dtypes=NUMERIC,
    ),
    errors=(
        bad("1 operands", shape=(2,)),
        bad("a shape of 6 elements", of((2, 3)), shape=(4,)),
        bad("sizes >= 0", of((2, 3)), shape=(-1,)),
    ),
)
def reshape(x: Array, shape: tuple[int, ...]) -> Any:
    """The same elements in row-major order under another shape; no data move."""
    return x.reshape(shape)


def _infer_transpose(types: Types, attrs: Attrs) -> TensorType:
    expect("transpose", types, attrs, 1, ("perm",))
    perm = attrs["perm"]
    if not isinstance(perm, tuple) or sorted(perm) != list(range(types[0].rank)):
        raise ShapeError("transpose, attribute perm", expected=f"an order of the axes 0..{types[0].rank - 1}",
                         received=repr(perm))  # fmt: skip
    return types[0].with_shape([types[0].shape[a] for a in perm])


def inverse(perm: Sequence[int]) -> tuple[int, ...]:
    """The order of axes that undoes `perm`.

    >>> inverse((2, 0, 1))
    (1, 2, 0)
    """
    return tuple(sorted(range(len(perm)), key=perm.__getitem__))


@primitive(
    infer=_infer_transpose,
    grad=lambda dy, y, x, perm: (current_emitter().emit("transpose", dy, perm=inverse(perm)),),
    lower=Pointwise(lambda context, index, perm: context.read(0, [index[a] for a in inverse(perm)])),
    samples=with_attrs(
        ((2, 3), {"perm": (1, 0)}),
        ((2, 3, 4), {"perm": (2, 0, 1)}),
        ((2, 3, 4), {"perm": (0, 2, 1)}),
        ((), {"perm": ()}),
        ((5,), {"perm": (0,)}),
        ((1, 6), {"perm": (1, 0)}),
        ((0, 3), {"perm": (1, 0)}),
        ((2, 1, 3, 5), {"perm": (3, 1, 0, 2)}),
        dtypes=NUMERIC,
    ),
    errors=(
        bad("1 operands", perm=(0,)),
        bad("axes 0..1", of((2, 3)), perm=(0, 0)),
        bad("axes 0..1", of((2, 3)), perm=(0,)),
    ),
)
def transpose(x: Array, perm: tuple[int, ...]) -> Any:
    """Reorder the axes: axis i of the result is axis `perm[i]` of the operand."""
    return np.transpose(x, perm)


def _infer_reverse(types: Types, attrs: Attrs) -> TensorType:
    expect("reverse", types, attrs, 1, ("axes",))
    expect_axes("reverse", attrs["axes"], types[0].rank)
    return types[0]


def _reversed_element(context: LoopContext, index: Index, axes: tuple[int, ...]) -> Expr:
    shape = context.in_types[0].shape
    return context.read(0, [shape[a] - 1 - i if a in axes else i for a, i in enumerate(index)])


@primitive(
    infer=_infer_reverse,
    grad=lambda dy, y, x, axes: (current_emitter().emit("reverse", dy, axes=axes),),
    lower=Pointwise(_reversed_element),
    samples=with_attrs(
        ((5,), {"axes": (0,)}),
        ((3, 4), {"axes": (0,)}),
        ((3, 37), {"axes": (1,)}),
        ((2, 3, 4), {"axes": (0, 2)}),
        ((), {"axes": ()}),
        ((1,), {"axes": (0,)}),
        ((0, 3), {"axes": (0, 1)}),
        ((2, 3), {"axes": ()}),
        dtypes=NUMERIC,
    ),
    errors=(
        bad("1 operands", axes=(0,)),
        bad("a rising tuple of axes in 0..1", of((2, 3)), axes=(2,)),
        bad("a rising tuple", of((2, 3)), axes=(1, 0)),
    ),
)
def reverse(x: Array, axes: tuple[int, ...]) -> Any:
    """The elements in the opposite order along `axes`."""
    return np.flip(x, axes)


OPS = (broadcast, sum_to, reshape, transpose, reverse)
