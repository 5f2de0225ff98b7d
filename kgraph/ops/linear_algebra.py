"""Products of tensors, diagonals and norms."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from kgraph.eager import operation
from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dims import Dim
from kgraph.ir.dtypes import f64
from kgraph.ir.operators import broadcast_to
from kgraph.ir.operators import cast as convert
from kgraph.ops.creation import band
from kgraph.ops.promotion import (
    binary,
    common_dtype,
    counted,
    emit,
    floating,
    numbers_together,
    summable,
    tensor,
    type_of,
)
from kgraph.ops.shaping import move_axes, padded
from kgraph.primitives import composites
from kgraph.primitives import einsum as sums


def _product(function: Callable[..., Any], *xs: Any) -> Any:
    """A sum of products in the type where the operands meet; of integers in float64, exact up to 2^53.

    Of bools: whether any product holds.
    """
    meet = common_dtype(*xs)
    if meet.is_float:
        return function(*(convert(tensor(x), meet) for x in xs))
    return convert(function(*(convert(tensor(x), f64) for x in xs)), meet)


@operation("x1", "x2")
def matmul(x1: Any, x2: Any) -> Any:
    """Matrix product; leading axes broadcast, a vector counts as a row on the left and as a column on the right.

    >>> matmul([[1.0, 2.0]], [[3.0], [4.0]])
    array([[11.]], dtype=float32)
    """
    for name, x in (("x1", x1), ("x2", x2)):
        if type_of(x).rank == 0:
            raise ShapeError(name, expected="at least one axis", received="()")
    return _product(composites.matmul, x1, x2)


def _times(a: Any, b: Any) -> Any:
    return binary("mul", a, b, "logical_and")


def _dot(a: Any, b: Any) -> Any:
    ranks = type_of(a).rank, type_of(b).rank
    if 0 in ranks:
        return _times(a, b)
    if ranks[1] <= 2:
        return composites.matmul(a, b)
    return _tensordot(a, b, [ranks[0] - 1], [ranks[1] - 2])


@operation("x1", "x2")
def dot(x1: Any, x2: Any) -> Any:
    """Sum over the last axis of `x1` and the last but one of `x2` (the only one of a vector); scalars multiply."""
    return _product(_dot, x1, x2)


@operation("x1", "x2")
def inner(x1: Any, x2: Any) -> Any:
    """Sum over the last axes of both; scalars multiply."""
    if 0 in (type_of(x1).rank, type_of(x2).rank):
        return _times(x1, x2)
    last = [type_of(x).rank - 1 for x in (x1, x2)]
    return _product(lambda a, b: _tensordot(a, b, last[:1], last[1:]), x1, x2)


@operation("x1", "x2")
def vdot(x1: Any, x2: Any) -> Any:
    """Sum of the products of all elements of both."""
    flat = [composites.reshape(x, (type_of(x).size,)) for x in (x1, x2)]
    return _product(composites.matmul, *flat)


@operation("x1", "x2")
def outer(x1: Any, x2: Any) -> Any:
    """Products of each element of `x1` with each of `x2`: a matrix."""
    a, b = (composites.reshape(x, (type_of(x).size,)) for x in (x1, x2))
    return _times(composites.expand_dims(a, 1), b)


def _tensordot(a: Any, b: Any, left: Sequence[int], right: Sequence[int]) -> Any:
    letters = iter("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    first = [next(letters) for _ in range(type_of(a).rank)]
    second = [next(letters) for _ in range(type_of(b).rank)]
    for i, j in zip(left, right, strict=True):
        second[j] = first[i]
    kept = [n for n in first if n not in second] + [n for n in second if n not in first]
    return sums.einsum(f"{''.join(first)},{''.join(second)}->{''.join(kept)}", a, b)


@operation("x1", "x2")
def tensordot(x1: Any, x2: Any, axes: Any = 2) -> Any:
    """Sum of products over pairs of axes.

    Args:
        x1, x2: tensors.
        axes: how many last axes of `x1` and first ones of `x2`; or the axes of each.
    """
    ranks = type_of(x1).rank, type_of(x2).rank
    if isinstance(axes, int):
        if not 0 <= axes <= min(ranks):
            raise ArgumentError("axes", expected=f"0 to {min(ranks)} axes", received=str(axes))
        left, right = list(range(ranks[0] - axes, ranks[0])), list(range(axes))
    else:
        pair = [[a] if isinstance(a, int) else list(a) for a in axes]
        left, right = ([composites.axis_of(a, r, "axes") for a in p] for p, r in zip(pair, ranks, strict=True))
        if len(left) != len(right):
            raise ArgumentError("axes", expected="equally many axes of both", received=repr(axes))
    return _product(lambda a, b: _tensordot(a, b, left, right), x1, x2)


@operation("*operands")
def einsum(subscripts: str, *operands: Any, **kwargs: Any) -> Any:
    """Sums of products by Einstein's convention, such as ``einsum("bij,bjk->bik", a, b)``.

    A letter may stand only once in an operand. Keyword arguments of Keras choose an order of summation; pairs are
    always summed from left to right.
    """
    return _product(lambda *xs: sums.einsum(subscripts, *xs), *operands)


@operation("x1", "x2")
def kron(x1: Any, x2: Any) -> Any:
    """Kronecker product: `x1` with each element replaced by its product with `x2`."""
    a, b = (counted(x) for x in (x1, x2))
    rank = max(type_of(a).rank, type_of(b).rank)
    while type_of(a).rank < rank:
        a = composites.expand_dims(a, 0)
    while type_of(b).rank < rank:
        b = composites.expand_dims(b, 0)
    shape = [m * n for m, n in zip(type_of(a).shape, type_of(b).shape, strict=True)]
    wide = composites.reshape(a, [d for size in type_of(a).shape for d in (size, 1)])
    deep = composites.reshape(b, [d for size in type_of(b).shape for d in (1, size)])
    return composites.reshape(_times(wide, deep), shape)


@operation("x1", "x2")
def cross(x1: Any, x2: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    """Vector product of vectors of 3 (or 2, with a third number 0) along an axis.

    Args:
        x1, x2: tensors.
        axisa, axisb, axisc: the vectors' axis in `x1`, in `x2`, and in the result.
        axis: all three, if given.

    Two vectors of 2 give the third number of their product alone.
    """
    axisa, axisb, axisc = (axisa, axisb, axisc) if axis is None else (axis,) * 3
    a, b = move_axes(counted(x1), axisa, -1), move_axes(counted(x2), axisb, -1)
    parts = [[composites.squeeze(composites.part(x, -1, n, n + 1), -1) for n in range(_length(x))] for x in (a, b)]
    (a0, a1, *a2), (b0, b1, *b2) = parts

    def minus(p: Any, q: Any, r: Any, s: Any) -> Any:
        return emit("sub", *numbers_together(_times(p, q), _times(r, s)))

    third = minus(a0, b1, a1, b0)
    if not a2 and not b2:
        return third
    last_a, last_b = (a2 or [0])[0], (b2 or [0])[0]
    first, second = minus(a1, last_b, last_a, b1), minus(last_a, b0, a0, last_b)
    joined = composites.concatenate([composites.expand_dims(v, -1) for v in (first, second, third)], -1)
    return move_axes(joined, -1, axisc)


def _length(x: Any) -> int:
    size = type_of(x).shape[-1]
    if size not in (2, 3) or not isinstance(size, int):
        raise ShapeError("x1 and x2", expected="vectors of 2 or 3 numbers", received=str(size))
    return size


def _diagonal(x: Any, offset: int, axis1: int, axis2: int) -> Any:
    x = move_axes(x, (axis1, axis2), (-2, -1))
    *lead, rows, columns = type_of(x).shape
    if not isinstance(rows, int) or not isinstance(columns, int):
        raise ShapeError("x", expected="axes of known size", received=f"{rows} and {columns}")
    count = max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)
    start = offset if offset >= 0 else -offset * columns
    stop = start + (count - 1) * (columns + 1) + 1 if count else start
    flat = composites.reshape(x, (*lead, rows * columns))
    zeros = (0,) * len(lead)
    return emit("slice", flat, starts=(*zeros, start if count else 0), limits=(*lead, stop if count else 0),
                strides=(*(1,) * len(lead), columns + 1))  # fmt: skip


@operation("x")
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The diagonal of the matrices along two axes, as a new last axis; `offset` columns to the right."""
    return _diagonal(x, offset, axis1, axis2)


@operation("x")
def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """Sum of the diagonal along two axes; bools count as int32, uint8 as uint32."""
    return composites.sum(_diagonal(summable(x), offset, axis1, axis2), -1)


def _matrix_of_diagonal(x: Any, k: int) -> Any:
    size: Dim = type_of(x).shape[0]
    total = size + abs(k)
    row = padded(x, (max(k, 0),), (max(-k, 0),))
    shown = broadcast_to(composites.expand_dims(row, 0), (total, total))
    zero = composites.full((total, total), 0, type_of(x).dtype)
    return emit("select", band(total, total, "eq", k), shown, zero)


@operation("x")
def diag(x: Any, k: int = 0) -> Any:
    """The k-th diagonal of a matrix; of a vector, the matrix with that diagonal."""
    match type_of(x).rank:
        case 1:
            return _matrix_of_diagonal(x, k)
        case 2:
            return _diagonal(x, k, 0, 1)
    raise ShapeError("x", expected="a vector or a matrix", received=str(type_of(x).shape))


@operation("x")
def diagflat(x: Any, k: int = 0) -> Any:
    """The matrix whose k-th diagonal are all elements of `x`."""
    return _matrix_of_diagonal(composites.reshape(x, (type_of(x).size,)), k)


Order = int | float | str | None


@operation("x")
def norm(x: Any, ord: Order = None, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
    """Norm of vectors (one axis) or matrices (two axes).

    Args:
        x: tensor; integers are cast to `floatx`.
        ord: None, the root of the sum of squares; of vectors also p (root of the sum of |x|^p), 0, inf, -inf; of
            matrices "fro", 1, -1, inf, -inf.
        axis: one axis for vectors, two for matrices; None for all of `x`.
        keepdims: keep the axes with size 1.
    """
    x = floating(x)
    rank = type_of(x).rank
    if axis is None and ord is not None and rank not in (1, 2):
        raise ArgumentError("ord", expected=f"None for all {rank} axes", received=repr(ord), fix="Give axis")
    axes = (axis,) if isinstance(axis, int) else tuple(range(rank)) if axis is None else tuple(axis)
    if ord is None or (ord == "fro" and len(axes) == 2) or (ord == 2 and len(axes) == 1):
        return euclidean(x, axes, keepdims)
    found = vector_norm(x, axes, ord) if len(axes) == 1 else _matrix_norm(x, axes, ord)
    places = composites.axes_of(axes, rank)
    return found if keepdims else composites.squeeze(found, places)


def euclidean(x: Any, axes: Sequence[int], keepdims: bool) -> Any:
    """Root of the sum of squares; its gradient at 0 is 0."""
    total = composites.sum(composites.square(x), axes, keepdims)
    zero = composites.equal(total, 0.0)
    return composites.where(zero, 0.0, emit("sqrt", composites.where(zero, 1.0, total)))


def vector_norm(x: Any, axes: Sequence[int], ord: Order) -> Any:
    """A norm of order `ord` along one axis, which stays with size 1."""
    size = abs(x)
    if ord == math.inf:
        return composites.max(size, axes, keepdims=True)
    if ord == -math.inf:
        return composites.min(size, axes, keepdims=True)
    if ord == 0:
        return composites.sum(composites.cast(composites.not_equal(x, 0.0), type_of(x).dtype), axes, keepdims=True)
    if isinstance(ord, str) or ord is None:
        raise ArgumentError("ord", expected="a number for vectors", received=repr(ord))
    if ord == 1:
        return composites.sum(size, axes, keepdims=True)
    return composites.sum(size ** float(ord), axes, keepdims=True) ** (1.0 / ord)


def _matrix_norm(x: Any, axes: Sequence[int], ord: Order) -> Any:
    if len(axes) != 2 or ord not in (1, -1, math.inf, -math.inf):
        expected = "None, 'fro', 1, -1, inf or -inf for two axes, a number for one"
        raise ArgumentError("ord", expected=expected, received=f"{ord!r} with axes {tuple(axes)}")
    summed, compared = axes if ord in (1, -1) else axes[::-1]
    totals = composites.sum(abs(x), summed, keepdims=True)
    reduce = composites.max if ord in (1, math.inf) else composites.min
    return reduce(totals, compared, keepdims=True)


@operation("x")
def corrcoef(x: Any) -> Any:
    """Correlation coefficients between the rows of a matrix."""
    x = floating(x)
    if type_of(x).rank == 1:
        x = composites.expand_dims(x, 0)
    away = x - composites.mean(x, 1, keepdims=True)
    unit = away / euclidean(away, (1,), True)
    return composites.clip(composites.squeeze(composites.matmul(unit, composites.transpose(unit))), -1.0, 1.0)


@operation("x", "y")
def cdist(x: Any, y: Any) -> Any:
    """Distance of each row of `x` from each row of `y`; leading axes broadcast."""
    a, b = composites.expand_dims(floating(x), -2), composites.expand_dims(floating(y), -3)
    a, b = numbers_together(a, b)
    return euclidean(a - b, (-1,), False)
