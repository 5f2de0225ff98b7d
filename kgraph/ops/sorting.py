"""Order statistics: sorting, ranks, quantiles, counts in bins, and running sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kgraph.eager import operation
from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dtypes import bool_, dtype_of, i32, u8
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import Operators
from kgraph.ir.operators import cast as convert
from kgraph.ops.promotion import common_dtype, counted, emit, floating, numbers_together, together, type_of
from kgraph.ops.shaping import move_axes
from kgraph.primitives import composites

Axes = int | Sequence[int] | None
METHODS = ("linear", "lower", "higher", "midpoint", "nearest")


def _ordered(x: Any, axis: int | None) -> tuple[Any, int]:
    """A tensor of numbers and the axis to sort along; raveled for None."""
    x = convert(x, u8) if type_of(x).dtype is bool_ else x
    if axis is None:
        return composites.reshape(x, (type_of(x).size,)), 0
    return x, composites.axis_of(axis, type_of(x).rank)


@operation("x")
def sort(x: Any, axis: int | None = -1) -> Any:
    """The elements along an axis in rising order, NaN last; raveled for None."""
    values, place = _ordered(x, axis)
    return convert(composites.sort(values, place), type_of(x).dtype)


@operation("x")
def argsort(x: Any, axis: int | None = -1) -> Any:
    """Places (int32) of the elements along an axis in rising order; equal ones keep their order."""
    return composites.argsort(*_ordered(x, axis))


@operation("x")
def argpartition(x: Any, kth: int, axis: int | None = -1) -> Any:
    """Places in an order where the element at `kth` has smaller ones before and larger ones behind: all are sorted."""
    return composites.argsort(*_ordered(x, axis))


@operation("x")
def top_k(x: Any, k: int, sorted: bool = True) -> Any:
    """The `k` largest elements along the last axis, falling, and their places; of equal ones the first.

    >>> top_k([3, 9, 5], 2)
    (array([9, 5], dtype=int32), array([1, 2], dtype=int32))
    """
    size = type_of(x).shape[-1] if type_of(x).rank else 0
    if not isinstance(k, int) or (isinstance(size, int) and not 0 <= k <= size):
        raise ArgumentError("k", expected=f"a number in 0..{size}", received=repr(k))
    return composites.top_k(x, k)


@operation("targets", "predictions")
def in_top_k(targets: Any, predictions: Any, k: int) -> Any:
    """Whether less than `k` of a row's predictions are larger than that of its target class."""
    if type_of(predictions).rank != 2 or type_of(targets).rank != 1:
        raise ShapeError("targets and predictions", expected="(batch,) and (batch, classes)",
                         received=f"{type_of(targets).shape} and {type_of(predictions).shape}")  # fmt: skip
    own = composites.take_along_axis(predictions, composites.expand_dims(targets, 1), 1)
    larger = composites.sum(predictions > own, 1)
    return emit("logical_and", larger < k, emit("isfinite", composites.squeeze(own, 1)))


@operation("sorted_sequence", "values")
def searchsorted(sorted_sequence: Any, values: Any, side: str = "left") -> Any:
    """Where each value belongs in a sorted vector: before equal elements ("left") or behind them ("right")."""
    if side not in ("left", "right"):
        raise ArgumentError("side", expected="'left' or 'right'", received=repr(side))
    if type_of(sorted_sequence).rank != 1:
        raise ShapeError("sorted_sequence", expected="a vector", received=str(type_of(sorted_sequence).shape))
    meet = common_dtype(sorted_sequence, values)
    return composites.searchsorted(convert(sorted_sequence, meet), convert(values, meet), right=side == "right")


@operation("x", "bins")
def digitize(x: Any, bins: Any) -> Any:
    """Number of the bin of each element: how many of the rising borders `bins` are not above it (int32)."""
    meet = common_dtype(x, bins)
    return composites.searchsorted(convert(bins, meet), convert(x, meet), right=True)


def _quantile(x: Any, q: Any, axis: Axes, method: str, keepdims: bool) -> Any:
    """Quantiles of a tensor of floats for levels known now, as a new first axis of the shape of `q`."""
    if isinstance(q, Operators) or method not in METHODS:
        expected = "numbers known now, and a method of " + ", ".join(METHODS)
        raise ArgumentError("q and method", expected=expected, received=f"{q!r} and {method!r}")
    levels = np.asarray(q, np.float64)
    if levels.size and not (levels.min() >= 0 and levels.max() <= 1):
        raise ArgumentError("q", expected="levels in [0, 1], or percentages in [0, 100]", received=repr(q))
    rank = type_of(x).rank
    axes = composites.axes_of(None if axis is None else axis if isinstance(axis, int) else tuple(axis), rank)
    kept = [type_of(x).shape[a] for a in range(rank) if a not in axes]
    moved = move_axes(x, axes, tuple(range(-len(axes), 0))) if axes else composites.expand_dims(x, -1)
    ranked = composites.sort(composites.reshape(moved, (*kept, -1)), -1)
    size = type_of(ranked).shape[-1]
    if not isinstance(size, int) or size == 0:
        raise ShapeError("x", expected="axes of known size, with at least one element", received=str(size))
    places = levels.reshape(-1) * (size - 1)
    low, high = np.floor(places).astype("int32"), np.ceil(places).astype("int32")
    part = places - low
    weights = {"linear": part, "lower": 0 * part, "higher": (part > 0) * 1.0, "midpoint": (part > 0) * 0.5,
               "nearest": np.round(places) - low}[method]  # fmt: skip
    emitter = current_emitter()
    below, above = (composites.gather(ranked, emitter.constant(ids), len(kept)) for ids in (low, high))
    weight = emitter.constant(weights, type_of(x).dtype)
    found = move_axes(below + (above - below) * weight, -1, 0)
    # NaN is sorted to the end, and a quantile of anything with NaN is NaN.
    last = composites.part(ranked, -1, size - 1, size)
    unknown = move_axes(emit("ne", last, last), -1, 0)
    found = composites.where(unknown, float("nan"), found)
    shape = [1 if a in axes else d for a, d in enumerate(type_of(x).shape)] if keepdims else kept
    return composites.reshape(found, (*levels.shape, *shape))


@operation("x")
def quantile(x: Any, q: Any, axis: Axes = None, method: str = "linear", keepdims: bool = False) -> Any:
    """The value that a part `q` of the elements does not exceed; several levels make a new first axis.

    Args:
        x: tensor; integers are cast to `floatx`.
        q: level or levels in [0, 1], known now.
        axis: axes to reduce; None for all.
        method: between two elements "linear", "lower", "higher", "midpoint" or "nearest".
        keepdims: keep the axes with size 1.
    """
    return _quantile(floating(x), q, axis, method, keepdims)


@operation("x")
def percentile(x: Any, q: Any, axis: Axes = None, method: str = "linear", keepdims: bool = False) -> Any:
    """`quantile` for levels in percent."""
    levels = q if isinstance(q, Operators) else np.asarray(q, np.float64) / 100
    return _quantile(floating(x), levels, axis, method, keepdims)


@operation("x")
def median(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """The middle element in order; the mean of the two in the middle of an even number."""
    return _quantile(floating(x), 0.5, axis, "linear", keepdims)


@operation("x", "weights")
def _bincount(x: Any, weights: Any, length: int) -> Any:
    if not type_of(x).dtype.is_integer or type_of(x).rank not in (1, 2):
        raise ShapeError("x", expected="integers of one or two axes", received=str(type_of(x)))
    return composites.bincount(x, length, None if weights is None else counted(weights))


def bincount(x: Any, weights: Any = None, minlength: int = 0, sparse: bool = False) -> Any:
    """How often each of 0, 1, ... occurs, in a vector or in each row; with `weights` their sums.

    The result has the largest element plus 1 entries, at least `minlength`; inside a program, where elements are not
    known, `minlength`.
    """
    if sparse:
        raise ArgumentError("bincount: sparse", expected="False: there are no sparse tensors", received=repr(sparse))
    if isinstance(x, Operators):
        if minlength < 1:
            raise ArgumentError("bincount: minlength", expected="the number of bins, inside a program",
                                received=repr(minlength))  # fmt: skip
        return _bincount(x, weights, minlength)
    known = np.asarray(x)
    return _bincount(x, weights, max(minlength, int(known.max()) + 1 if known.size else 0))


@operation("x")
def histogram(x: Any, bins: int = 10, range: tuple[float, float] | None = None) -> Any:
    """How many elements (int32) lie in each of `bins` equal intervals, and the borders of these.

    Args:
        x: tensor.
        bins: number of intervals; the last one includes its end.
        range: (start, end); None for the smallest and the largest element.
    """
    if isinstance(bins, bool) or not isinstance(bins, int) or bins < 1:
        raise ArgumentError("bins", expected="a number of intervals", received=repr(bins))
    values = composites.reshape(floating(x), (type_of(x).size,))
    kind, emitter = type_of(values).dtype, current_emitter()
    if range is None:
        start, end = composites.min(values), composites.max(values)
        flat = composites.equal(start, end)
        start, end = composites.where(flat, start - 0.5, start), composites.where(flat, end + 0.5, end)
    else:
        start, end = (emitter.constant(float(v), kind) for v in range)
    weights = np.linspace(0, 1, bins + 1)
    edges = start * emitter.constant(1 - weights, kind) + end * emitter.constant(weights, kind)
    place = composites.searchsorted(edges, values, right=True) - 1
    place = composites.where(emit("eq", *together(values, end)), bins - 1, place)
    return composites.scatter_add(composites.full(type_of(place).shape, 1, i32), place, bins, 0), edges


def _running(run: Callable[..., Any], x: Any, axis: int | None, dtype: Any) -> Any:
    x = counted(x) if dtype is None else convert(x, dtype_of(dtype))
    return run(composites.reshape(x, (type_of(x).size,)), 0) if axis is None else run(x, axis)


@operation("x")
def cumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """Running sums along an axis; of the raveled tensor for None."""
    return _running(composites.cumsum, x, axis, dtype)


@operation("x")
def cumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Any:
    """Running products along an axis; of the raveled tensor for None."""
    return _running(composites.cumprod, x, axis, dtype)


@operation("a")
def diff(a: Any, n: int = 1, axis: int = -1) -> Any:
    """Differences of neighbours along an axis, `n` times."""
    for _ in range(n):
        size = type_of(a).shape[composites.axis_of(axis, type_of(a).rank)]
        first, second = composites.part(a, axis, 0, size - 1), composites.part(a, axis, 1, size)
        a = emit("ne", first, second) if type_of(a).dtype is bool_ else second - first
    return a


@operation("x1", "x2")
def isin(x1: Any, x2: Any, assume_unique: bool = False, invert: bool = False) -> Any:
    """Whether each element of `x1` is among those of `x2`; `invert` turns it round."""
    many = composites.reshape(x2, (type_of(x2).size,))
    same = emit("eq", *together(composites.expand_dims(x1, -1), many))
    found = convert(composites.max(convert(same, u8), -1), bool_)
    return emit("logical_not", found) if invert else found


@operation("y", "x")
def trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    """Integral by the trapezoidal rule along an axis, for places `x`, or places `dx` apart."""
    y = move_axes(floating(y), axis, -1)
    size = type_of(y).shape[-1]
    if x is not None:
        x = floating(x)
        x = x if type_of(x).rank == 1 else move_axes(x, axis, -1)
        dx = composites.part(x, -1, 1, size) - composites.part(x, -1, 0, size - 1)
    pairs = composites.part(y, -1, 0, size - 1) + composites.part(y, -1, 1, size)
    scaled = emit("mul", *numbers_together(pairs, dx))
    return composites.sum(scaled, -1) * 0.5
