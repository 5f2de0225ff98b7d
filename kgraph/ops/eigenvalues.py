"""Eigenvalues and singular values of matrices in the last two axes, by Jacobi's rotations. Sizes must be known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kgraph.eager import operation
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import broadcast_to
from kgraph.ir.operators import cast as convert
from kgraph.ops.creation import band
from kgraph.ops.decompositions import loop, matrices, numbers, qr, turned
from kgraph.ops.gradients import custom_gradient
from kgraph.ops.linear_algebra import euclidean
from kgraph.ops.promotion import emit, type_of
from kgraph.primitives import composites

# Sweeps of rotations: each more than squares what is left off the diagonal once it is small.
_SWEEPS = 12


def _partners(size: int) -> Any:
    """Rounds in which every two of `size` places meet once: the partner of each place, itself where it rests."""
    players = size + size % 2
    rounds = []
    for turn in range(players - 1):
        circle = [0, *np.roll(np.arange(1, players), turn)]
        row = np.arange(players)
        for first, second in zip(circle[: players // 2], circle[: players // 2 - 1 : -1]):
            row[first], row[second] = second, first
        rounds.append(np.where(row[:size] < size, row[:size], np.arange(size)))
    return np.array(rounds, "int32").reshape(players - 1, size)


def _rotation(gram: Any, partner: Any, size: int) -> Any:
    """The matrix that makes the entries of `gram` between partners zero, by Jacobi's rotations (1846)."""
    lead = type_of(gram).shape[:-2]
    pairs = composites.one_hot(partner, size, type_of(gram).dtype)
    unit = convert(band(size, size, "eq", 0), type_of(gram).dtype)
    own = composites.sum(gram * unit, -1)
    other = composites.sum(composites.expand_dims(own, -2) * pairs, -1)
    between = composites.sum(gram * pairs, -1)
    first = broadcast_to(numbers(size) < partner, (*lead, size))
    rests = broadcast_to(composites.equal(numbers(size), partner), (*lead, size))
    done = emit("logical_or", rests, composites.equal(between, 0.0))
    slope = composites.where(first, other - own, own - other) / (composites.where(done, 1.0, between) * 2.0)
    sign = composites.where(slope < 0, -1.0, composites.ones_like(slope))
    tangent = sign / (abs(slope) + emit("sqrt", slope * slope + 1.0))
    tangent = composites.where(done, 0.0, tangent)
    cosine = emit("rsqrt", tangent * tangent + 1.0)
    sine = composites.where(first, tangent * cosine, -(tangent * cosine))
    moved = composites.where(rests, 0.0, sine)
    return composites.expand_dims(cosine, -1) * unit + composites.expand_dims(moved, -1) * pairs


def _jacobi(x: Any, gram: Callable[[Any], Any], turn: Callable[[Any, Any], Any], size: int) -> tuple[Any, Any]:
    """What is left of `x` after all rotations, and their product."""
    lead = type_of(x).shape[:-2]
    unit = broadcast_to(convert(band(size, size, "eq", 0), type_of(x).dtype), (*lead, size, size))
    if size == 1:
        return x, unit
    schedule = current_emitter().constant(np.tile(_partners(size), (_SWEEPS, 1)))

    def step(left: Any, basis: Any, partner: Any) -> Any:
        rotation = _rotation(gram(left), partner, size)
        return turn(left, rotation), basis @ rotation

    left, basis = loop(step, (x, unit), (schedule,), ())
    return left, basis


@custom_gradient
def _eigh(x: Any, size: int) -> Any:
    left, basis = _jacobi(x, lambda a: a, lambda a, r: turned(r) @ a @ r, size)
    unit = convert(band(size, size, "eq", 0), type_of(x).dtype)
    values = composites.sum(left * unit, -1)
    order = composites.argsort(values, -1)
    values = composites.take_along_axis(values, order, -1)
    vectors = _in_order(basis, order)

    def gradient(d_values: Any, d_vectors: Any) -> Any:
        """Giles (2008): V (diag(dw) + F * (V^T dV)) V^T with F_ij = 1 / (w_j - w_i) off the diagonal."""
        gap = composites.expand_dims(values, -2) - composites.expand_dims(values, -1)
        inner = (turned(vectors) @ d_vectors) * _reciprocal(gap) + composites.expand_dims(d_values, -1) * unit
        slope = vectors @ inner @ turned(vectors)
        return (slope + turned(slope)) * 0.5, None

    return (values, vectors), gradient


@operation("x")
def eigh(x: Any) -> Any:
    """Eigenvalues of symmetric matrices in rising order, and their eigenvectors as columns.

    Source: Jacobi's method, pairs of rows that do not meet at once.
    """
    x, size, _ = matrices(x)
    return _eigh((x + turned(x)) * 0.5, size)


def _in_order(vectors: Any, order: Any) -> Any:
    """Columns in another order."""
    places = broadcast_to(composites.expand_dims(order, -2), type_of(vectors).shape)
    return composites.take_along_axis(vectors, places, -1)


def _reciprocal(x: Any) -> Any:
    """``1 / x``, and 0 for 0."""
    zero = composites.equal(x, 0.0)
    return composites.where(zero, 0.0, 1.0 / composites.where(zero, 1.0, x))


@custom_gradient
def _thin_svd(x: Any, size: int) -> Any:
    """U, s, V of matrices with at least as many rows as columns, `size`."""
    left, right = _jacobi(x, lambda a: turned(a) @ a, lambda a, r: a @ r, size)
    lengths = euclidean(left, (-2,), False)
    order = composites.argsort(lengths, -1, descending=True)
    values = composites.take_along_axis(lengths, order, -1)
    u = _in_order(left * composites.expand_dims(_reciprocal(lengths), -2), order)
    v = _in_order(right, order)

    def gradient(du: Any, ds: Any, dv: Any) -> Any:
        """Townsend (2016), "Differentiating the singular value decomposition"."""
        squares = values * values
        weights = _reciprocal(composites.expand_dims(squares, -2) - composites.expand_dims(squares, -1))
        row, column = composites.expand_dims(values, -2), composites.expand_dims(values, -1)
        inverse = composites.expand_dims(_reciprocal(values), -2)
        unit = convert(band(size, size, "eq", 0), type_of(x).dtype)
        turn_u, turn_v = turned(u) @ du, turned(v) @ dv
        inner = (turn_u - turned(turn_u)) * weights * row + (turn_v - turned(turn_v)) * weights * column
        slope = u @ (inner + composites.expand_dims(ds, -1) * unit) @ turned(v)
        slope = slope + (du - u @ turn_u) * inverse @ turned(v)
        return slope + u * inverse @ turned(dv - v @ turn_v), None

    return (u, values, v), gradient


@operation("x")
def svd(x: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """``x = U diag(s) V^T`` with falling singular values s: (U, s, V^T), or s alone without `compute_uv`.

    With `full_matrices` U and V^T are square. Signs of the columns are free.
    Source: one-sided Jacobi rotations (Hestenes, 1958).
    """
    x, rows, columns = matrices(x, square=False)
    wide = rows < columns
    u, values, v = _thin_svd(turned(x) if wide else x, min(rows, columns))
    if not compute_uv:
        return values
    if full_matrices and rows != columns:
        basis, _ = qr(u, "complete")
        size = max(rows, columns)
        u = composites.concatenate([u, composites.part(basis, -1, min(rows, columns), size)], -1)
    return (v, values, turned(u)) if wide else (u, values, turned(v))
