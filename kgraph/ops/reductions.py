"""Sums, means, extremes and other reductions over axes. `axis` is an int, several ints, or None for all axes."""

from __future__ import annotations

from typing import Any

from kgraph.eager import operation
from kgraph.errors import ShapeError
from kgraph.ir.dims import product
from kgraph.ir.dtypes import bool_, dtype_of, u8
from kgraph.ir.operators import cast as convert
from kgraph.ops.promotion import emit, floating, summable, tensor, together, type_of
from kgraph.primitives import composites

Axes = int | tuple[int, ...] | list[int] | None


def _without_nan(x: Any, value: float) -> Any:
    return composites.where(emit("ne", x, x), value, x) if type_of(x).dtype.is_float else x


@operation("x")
def sum(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """Sum; bools count as int32, uint8 as uint32.

    >>> sum([[1, 2], [3, 4]], axis=0)
    array([4, 6], dtype=int32)
    """
    return composites.sum(summable(x), axis, keepdims)


@operation("x")
def prod(x: Any, axis: Axes = None, keepdims: bool = False, dtype: Any = None) -> Any:
    """Product; bools count as int32, uint8 as uint32; `dtype` is that of the result."""
    return composites.prod(summable(x) if dtype is None else convert(x, dtype_of(dtype)), axis, keepdims)


@operation("x")
def mean(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """Mean; integers give `floatx`."""
    return composites.mean(floating(x), axis, keepdims)


@operation("x", "initial", numbers=True)
def max(x: Any, axis: Axes = None, keepdims: bool = False, initial: Any = None) -> Any:
    """Largest element, and not less than `initial`; an error for no elements without `initial`."""
    return _extreme("max", x, axis, keepdims, initial)


@operation("x", "initial", numbers=True)
def min(x: Any, axis: Axes = None, keepdims: bool = False, initial: Any = None) -> Any:
    """Smallest element, and not more than `initial`; an error for no elements without `initial`."""
    return _extreme("min", x, axis, keepdims, initial)


@operation("x")
def amax(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """Largest element."""
    return _extreme("max", x, axis, keepdims, None)


@operation("x")
def amin(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """Smallest element."""
    return _extreme("min", x, axis, keepdims, None)


def _extreme(op: str, x: Any, axis: Axes, keepdims: bool, initial: Any) -> Any:
    x = tensor(x)
    kind = type_of(x)
    if initial is None and product(tuple(kind.shape[a] for a in composites.axes_of(axis, kind.rank))) == 0:
        raise ShapeError("x", expected="at least one element, or initial", received=str(kind))
    found = convert(x, u8) if kind.dtype is bool_ else x
    reduce = composites.max if op == "max" else composites.min
    found = convert(reduce(found, axis, keepdims), kind.dtype)
    return found if initial is None else emit(f"{op}imum", *together(found, initial))


@operation("x")
def ptp(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """Largest minus smallest element."""
    return composites.max(x, axis, keepdims) - composites.min(x, axis, keepdims)


@operation("x")
def all(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """Whether all elements hold; numbers hold where they are not 0."""
    return convert(composites.min(convert(convert(x, bool_), u8), axis, keepdims), bool_)


@operation("x")
def any(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """Whether any element holds; numbers hold where they are not 0."""
    return convert(composites.max(convert(convert(x, bool_), u8), axis, keepdims), bool_)


@operation("x")
def count_nonzero(x: Any, axis: Axes = None) -> Any:
    """Number of elements that are not 0 (int32)."""
    return composites.sum(convert(x, bool_), axis)


@operation("x")
def var(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """Variance: mean of the squared distance from the mean."""
    return variance(floating(x), axis, keepdims)


def variance(x: Any, axis: Axes, keepdims: bool) -> Any:
    """Variance of a tensor of floats."""
    return composites.mean(composites.square(x - composites.mean(x, axis, keepdims=True)), axis, keepdims)


@operation("x")
def std(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """Standard deviation, the root of `var`."""
    return emit("sqrt", variance(floating(x), axis, keepdims))


@operation("x", "weights")
def average(x: Any, axis: Axes = None, weights: Any = None) -> Any:
    """Weighted mean: ``sum(x * weights) / sum(weights)``.

    Args:
        x: tensor.
        axis: axes to reduce.
        weights: of the shape of `x`, or of the size of the one `axis`; None for equal ones.
    """
    if weights is None:
        return composites.mean(floating(x), axis)
    if type_of(weights).shape != type_of(x).shape:
        if not isinstance(axis, int) or type_of(weights).rank != 1:
            raise ShapeError("weights", expected=f"the shape of x, {type_of(x).shape}, or one axis",
                             received=str(type_of(weights).shape))  # fmt: skip
        rank = type_of(x).rank
        place = composites.axis_of(axis, rank)
        weights = composites.reshape(weights, [-1 if a == place else 1 for a in range(rank)])
    x, weights = together(floating(x), floating(weights))
    return composites.sum(x * weights, axis) / composites.sum(weights, axis)


@operation("x")
def logsumexp(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """``log(sum(exp(x)))``, without overflow."""
    return log_sum_exp(floating(x), axis, keepdims)


def log_sum_exp(x: Any, axis: Axes, keepdims: bool) -> Any:
    """``log(sum(exp(x)))`` of a tensor of floats."""
    peak = composites.max(x, axis, keepdims=True)
    # An infinite peak would make infinity minus infinity.
    peak = emit("stop_gradient", composites.where(emit("isfinite", peak), peak, 0.0))
    total = emit("log", composites.sum(emit("exp", x - peak), axis, keepdims))
    return total + composites.reshape(peak, type_of(total).shape)


@operation("x")
def nansum(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """Sum without the NaN."""
    return composites.sum(summable(_without_nan(x, 0.0)), axis, keepdims)


@operation("x")
def nanprod(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """Product without the NaN."""
    return composites.prod(summable(_without_nan(x, 1.0)), axis, keepdims)


@operation("x")
def nanmax(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """Largest element without the NaN; NaN if there is nothing else."""
    return _nan_extreme(composites.max, x, axis, keepdims, float("-inf"))


@operation("x")
def nanmin(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """Smallest element without the NaN; NaN if there is nothing else."""
    return _nan_extreme(composites.min, x, axis, keepdims, float("inf"))


def _nan_extreme(reduce: Any, x: Any, axis: Axes, keepdims: bool, start: float) -> Any:
    found = reduce(_without_nan(x, start), axis, keepdims)
    if not type_of(x).dtype.is_float:
        return found
    only_nan = convert(composites.min(convert(emit("ne", x, x), u8), axis, keepdims), bool_)
    return composites.where(only_nan, float("nan"), found)


@operation("x")
def nanmean(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """Mean without the NaN."""
    return _nan_mean(floating(x), axis, keepdims)


def _nan_mean(x: Any, axis: Axes, keepdims: bool) -> Any:
    count = composites.sum(emit("eq", x, x), axis, keepdims)
    return composites.sum(_without_nan(x, 0.0), axis, keepdims) / convert(count, type_of(x).dtype)


@operation("x")
def nanvar(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """Variance without the NaN."""
    x = floating(x)
    return _nan_mean(composites.square(x - _nan_mean(x, axis, True)), axis, keepdims)


@operation("x")
def nanstd(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """Standard deviation without the NaN."""
    x = floating(x)
    return emit("sqrt", _nan_mean(composites.square(x - _nan_mean(x, axis, True)), axis, keepdims))
