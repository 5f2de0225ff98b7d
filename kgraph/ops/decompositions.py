"""Factors, inverses and determinants of matrices in the last two axes.

Each is one loop over the columns (`scan`), whose steps work on the whole matrix under masks. Sizes must be known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kgraph.eager import operation
from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dtypes import i32
from kgraph.ir.graph import GraphBuilder
from kgraph.ir.opdef import emitting
from kgraph.ir.operators import broadcast_to
from kgraph.ir.operators import cast as convert
from kgraph.ops.creation import band
from kgraph.ops.linear_algebra import euclidean
from kgraph.ops.promotion import emit, floating, type_of
from kgraph.primitives import REGISTRY, composites


def loop(body: Callable[..., Any], carries: Sequence[Any], sequences: Sequence[Any], constants: Sequence[Any]) -> Any:
    """The carries after a loop; ``body(*carries, *rows of the sequences, *constants)`` gives the new ones."""
    builder = GraphBuilder("step", REGISTRY)
    with emitting(builder):
        rows = [kind.with_shape(kind.shape[1:]) for kind in map(_type, sequences)]
        types = [*map(_type, carries), *rows, *map(_type, constants)]
        out = body(*(builder.input(t) for t in types))
        graph = builder.build(list(out))
    length = _type(sequences[0]).shape[0]
    found = emit("scan", *carries, *sequences, *constants, body=graph, carries=len(carries), sequences=len(sequences),
                 conditional=False, length=length, reverse=False)  # fmt: skip
    return found if isinstance(found, tuple) else (found,)


def _type(value: Any) -> Any:
    return value.type


def matrices(x: Any, square: bool = True) -> tuple[Any, int, int]:
    """A tensor of float matrices, its rows and columns."""
    x = floating(x)
    shape = type_of(x).shape
    rows, columns = shape[-2:] if len(shape) >= 2 else (None, None)
    known = isinstance(rows, int) and isinstance(columns, int) and min(rows, columns) > 0
    if not known or (square and rows != columns):
        kind = "square matrices" if square else "matrices"
        raise ShapeError("x", expected=f"{kind} of known size in the last two axes", received=str(shape))
    assert isinstance(rows, int)
    assert isinstance(columns, int)
    return x, rows, columns


def numbers(size: int) -> Any:
    """0, 1, ..., size - 1."""
    return emit("iota", shape=(size,), axis=0, dtype=i32)


def mark(place: Any, size: int, like: Any) -> Any:
    """1 at one place of a vector, 0 elsewhere."""
    return composites.one_hot(place, size, type_of(like).dtype)


def outer(a: Any, b: Any) -> Any:
    """Products of all elements of two vectors."""
    return composites.expand_dims(a, -1) * composites.expand_dims(b, -2)


def turned(x: Any) -> Any:
    """The matrices transposed."""
    return composites.swapaxes(x, -1, -2)


@operation("x")
def cholesky(x: Any, upper: bool = False) -> Any:
    """The lower triangular L with ``x = L L^T`` of a symmetric positive definite matrix, or L^T; else NaN."""
    x, size, _ = matrices(x)

    def step(rest: Any, factor: Any, number: Any) -> Any:
        here = mark(number, size, rest)
        column = composites.sum(rest * here, -1)
        root = emit("sqrt", composites.sum(column * here, -1, keepdims=True))
        below = broadcast_to(numbers(size) >= number, type_of(column).shape)
        column = composites.where(below, column / root, 0.0)
        return rest - outer(column, column), factor + outer(column, broadcast_to(here, type_of(column).shape))

    _, factor = loop(step, (x, composites.zeros_like(x)), (numbers(size),), ())
    return turned(factor) if upper else factor


def _eliminated(a: Any, b: Any) -> tuple[Any, Any, Any]:
    """Gauss and Jordan's elimination with the largest pivot of each column: a^-1 b, the pivots, the order's sign."""
    _, size, _ = matrices(a)
    lead = type_of(a).shape[:-2]
    ones = composites.full((*lead, size), 1.0, type_of(a).dtype)
    sign = composites.full(lead, 1.0, type_of(a).dtype)

    def step(left: Any, right: Any, pivots: Any, sign: Any, number: Any) -> Any:
        here = broadcast_to(mark(number, size, left), (*lead, size))
        column = composites.sum(left * composites.expand_dims(here, -2), -1)
        open_rows = broadcast_to(numbers(size) >= number, (*lead, size))
        best = composites.argmax(composites.where(open_rows, abs(column), -1.0), -1)
        there = mark(best, size, left)
        swapped = there - here  # zero if the pivot stands where it should
        pivot = composites.sum(column * there, -1)
        new_column = column - swapped * composites.sum(column * swapped, -1, keepdims=True)
        factors = new_column - here

        def reduced(matrix: Any) -> Any:
            change = composites.sum(matrix * composites.expand_dims(swapped, -1), -2)
            matrix = matrix - outer(swapped, change)
            row = composites.sum(matrix * composites.expand_dims(here, -1), -2)
            return matrix - outer(factors, row / composites.expand_dims(pivot, -1))

        moved = composites.sum(swapped * swapped, -1) > 0.5
        sign = composites.where(moved, -sign, sign)
        pivots = pivots + here * (composites.expand_dims(pivot, -1) - 1.0)
        return reduced(left), reduced(right), pivots, sign

    _, solution, pivots, sign = loop(step, (a, b, ones, sign), (numbers(size),), ())
    return solution, pivots, sign


@operation("a", "b")
def solve(a: Any, b: Any) -> Any:
    """``x`` with ``a x = b`` for matrices, or for a vector `b`."""
    a, _, _ = matrices(a)
    b = convert(floating(b), type_of(a).dtype)
    vector = type_of(b).rank == type_of(a).rank - 1
    right = composites.expand_dims(b, -1) if vector else b
    if type_of(right).shape[:-1] != type_of(a).shape[:-1]:
        raise ShapeError("b", expected=f"{type_of(a).shape[-1]} rows", received=str(type_of(b).shape))
    found, _, _ = _eliminated(a, right)
    return composites.squeeze(found, -1) if vector else found


@operation("x")
def inv(x: Any) -> Any:
    """The inverse of square matrices."""
    x, size, _ = matrices(x)
    unit = convert(band(size, size, "eq", 0), type_of(x).dtype)
    found, _, _ = _eliminated(x, broadcast_to(unit, type_of(x).shape))
    return found


def _pivots(x: Any) -> tuple[Any, Any]:
    x, _, _ = matrices(x)
    _, pivots, sign = _eliminated(x, composites.full((*type_of(x).shape[:-1], 1), 0.0, type_of(x).dtype))
    return pivots, sign


@operation("x")
def det(x: Any) -> Any:
    """The determinant of square matrices."""
    pivots, sign = _pivots(x)
    return composites.prod(pivots, -1) * sign


@operation("x")
def slogdet(x: Any) -> Any:
    """Sign of the determinant of square matrices, and the logarithm of its size."""
    pivots, sign = _pivots(x)
    return sign * composites.prod(emit("sign", pivots), -1), composites.sum(emit("log", abs(pivots)), -1)


@operation("x")
def logdet(x: Any) -> Any:
    """Logarithm of the size of the determinant."""
    pivots, _ = _pivots(x)
    return composites.sum(emit("log", abs(pivots)), -1)


@operation("x")
def qr(x: Any, mode: str = "reduced") -> Any:
    """``x = Q R`` with orthonormal columns of Q and an upper triangular R, by Householder's reflections.

    Args:
        x: matrices (.., m, n).
        mode: "reduced" for min(m, n) columns of Q, "complete" for m.
    """
    if mode not in ("reduced", "complete"):
        raise ArgumentError("mode", expected="'reduced' or 'complete'", received=repr(mode))
    x, rows, columns = matrices(x, square=False)
    lead, kind = type_of(x).shape[:-2], type_of(x).dtype
    unit = broadcast_to(convert(band(rows, rows, "eq", 0), kind), (*lead, rows, rows))

    def step(left: Any, basis: Any, number: Any) -> Any:
        here = broadcast_to(mark(number, rows, left), (*lead, rows))
        column = composites.sum(left * mark(number, columns, left), -1)
        column = composites.where(broadcast_to(numbers(rows) >= number, (*lead, rows)), column, 0.0)
        head = composites.sum(column * here, -1, keepdims=True)
        length = euclidean(column, (-1,), True)
        normal = column + here * composites.where(head < 0, -length, length)
        size = euclidean(normal, (-1,), True)
        normal = normal / composites.where(composites.equal(size, 0.0), 1.0, size)
        along = composites.sum(left * composites.expand_dims(normal, -1), -2)
        turned = composites.sum(basis * composites.expand_dims(normal, -2), -1)
        return left - outer(normal, along) * 2.0, basis - outer(turned, normal) * 2.0

    count = min(rows - 1, columns)
    right, basis = loop(step, (x, unit), (numbers(count),), ()) if count else (x, unit)
    kept = rows if mode == "complete" else min(rows, columns)
    upper = broadcast_to(band(rows, columns, "ge", 0), type_of(right).shape)
    right = composites.where(upper, right, 0.0)
    return composites.part(basis, -1, 0, kept), composites.part(right, -2, 0, kept)
