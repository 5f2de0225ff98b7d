"""New tensors: constants, ramps, identity and triangular matrices, windows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from kgraph.eager import operation
from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dims import Dim, DimExpr, Shape
from kgraph.ir.dtypes import DType, i32
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import broadcast_to
from kgraph.ir.operators import cast as convert
from kgraph.ops.promotion import (
    chosen,
    common_dtype,
    counted,
    emit,
    float_type,
    floats_together,
    tensor,
    type_of,
)
from kgraph.primitives import composites


def shape_of(shape: Any) -> Shape:
    """An argument `shape`: a size or several; each an int >= 0 or a size of a tensor."""
    sizes = tuple(shape) if isinstance(shape, (tuple, list, np.ndarray)) else (shape,)
    found: list[Dim] = []
    for size in sizes:
        if isinstance(size, DimExpr):
            found.append(size)
        elif isinstance(size, (int, np.integer)) and not isinstance(size, bool) and size >= 0:
            found.append(int(size))
        else:
            raise ShapeError("shape", expected="sizes >= 0", received=repr(shape))
    return tuple(found)


def _full(shape: Any, value: Any, dtype: DType) -> Any:
    return broadcast_to(convert(tensor(value), dtype), shape_of(shape))


@operation()
def zeros(shape: Any, dtype: Any = None) -> Any:
    """Zeros; `dtype` None is `floatx`."""
    return _full(shape, 0, chosen(dtype, float_type()))


@operation()
def ones(shape: Any, dtype: Any = None) -> Any:
    """Ones; `dtype` None is `floatx`."""
    return _full(shape, 1, chosen(dtype, float_type()))


@operation()
def empty(shape: Any, dtype: Any = None) -> Any:
    """A tensor of any content: zeros."""
    return _full(shape, 0, chosen(dtype, float_type()))


@operation("fill_value", numbers=True)
def full(shape: Any, fill_value: Any, dtype: Any = None) -> Any:
    """`fill_value` everywhere; it may be a tensor that broadcasts. `dtype` None is `floatx`."""
    return _full(shape, fill_value, chosen(dtype, float_type()))


@operation("x")
def zeros_like(x: Any, dtype: Any = None) -> Any:
    """Zeros of the shape of `x`, and of its element type unless `dtype` is given."""
    return _full(type_of(x).shape, 0, chosen(dtype, type_of(x).dtype))


@operation("x")
def ones_like(x: Any, dtype: Any = None) -> Any:
    """Ones of the shape of `x`, and of its element type unless `dtype` is given."""
    return _full(type_of(x).shape, 1, chosen(dtype, type_of(x).dtype))


@operation("x")
def empty_like(x: Any, dtype: Any = None) -> Any:
    """A tensor of any content of the shape of `x`: zeros."""
    return _full(type_of(x).shape, 0, chosen(dtype, type_of(x).dtype))


@operation("x", "fill_value", numbers=True)
def full_like(x: Any, fill_value: Any, dtype: Any = None) -> Any:
    """`fill_value` in the shape of `x`, and in its element type unless `dtype` is given."""
    x = tensor(x)
    return _full(type_of(x).shape, fill_value, chosen(dtype, type_of(x).dtype))


@operation()
def arange(start: Any, stop: Any = None, step: Any = None, dtype: Any = None) -> Any:
    """start, start + step, ... before stop; with one argument 0, 1, ... before it.

    The arguments are numbers; `stop` alone may be a size of a tensor. Without `dtype`, ints give int32.

    >>> arange(2, 8, 3)
    array([2, 5], dtype=int32)
    """
    first, end = (0, start) if stop is None else (start, stop)
    by = 1 if step is None else step
    if isinstance(end, DimExpr):
        if first != 0 or by != 1:
            raise ArgumentError("start and step", expected="0 and 1 with a size not known before run time",
                                received=f"{first} and {by}")  # fmt: skip
        return emit("iota", shape=(end,), axis=0, dtype=chosen(dtype, i32))
    kind = common_dtype(*(v.item() if isinstance(v, np.generic) else v for v in (first, end, by)))
    array = np.arange(first, end, by)
    return current_emitter().constant(array.astype(chosen(dtype, kind).numpy))


@operation("start", "stop", numbers=True)
def linspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None,
    axis: int = 0,
) -> Any:  # fmt: skip
    """`num` numbers at equal distances.

    Args:
        start, stop: first and last number; tensors of one shape give that many sequences.
        num: how many, >= 0.
        endpoint: whether `stop` is the last number; else it would come next.
        retstep: give (numbers, distance) instead.
        dtype: of the result; None for `floatx`.
        axis: where the new axis stands in the result.
    """
    found, step = _ramp(start, stop, num, endpoint, dtype, axis)
    return (found, step) if retstep else found


def _ramp(start: Any, stop: Any, num: int, endpoint: bool, dtype: Any, axis: int) -> tuple[Any, Any]:
    if num < 0:
        raise ArgumentError("num", expected="a count >= 0", received=str(num))
    start, stop = floats_together(start, stop)
    kind = type_of(start)
    steps = num - 1 if endpoint else num
    step = (stop - start) * (1.0 / steps if steps > 0 else math.nan)
    # Weights of both ends: both are met exactly, and the error in between is one rounding.
    weights = np.arange(num) / max(steps, 1)
    place = composites.axis_of(axis, kind.rank + 1)
    along = [num if a == place else 1 for a in range(kind.rank + 1)]
    late, early = (current_emitter().constant(w.reshape(along), kind.dtype) for w in (weights, 1 - weights))
    first, last = composites.expand_dims(start, place), composites.expand_dims(stop, place)
    return convert(first * early + last * late, chosen(dtype, kind.dtype)), step


@operation("start", "stop", numbers=True)
def logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: float = 10, dtype: Any = None, axis: int = 0
) -> Any:
    """``base`` to the powers of `linspace`."""
    exponents, _ = _ramp(start, stop, num, endpoint, None, axis)
    found = emit("exp", exponents * math.log(base))
    return convert(found, chosen(dtype, type_of(found).dtype))


@operation("start", "stop", numbers=True)
def geomspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0
) -> Any:
    """`num` positive numbers, each the same multiple of the one before."""
    first, last = (emit("log", v) for v in floats_together(start, stop))
    exponents, _ = _ramp(first, last, num, endpoint, None, axis)
    found = emit("exp", exponents)
    return convert(found, chosen(dtype, type_of(found).dtype))


def band(rows: Dim, columns: Dim, relation: str, k: int) -> Any:
    """Bool matrix: whether ``column - row`` is "eq", "le" or "ge" to `k`."""
    row = emit("iota", shape=(rows, columns), axis=0, dtype=i32)
    column = emit("iota", shape=(rows, columns), axis=1, dtype=i32)
    return emit(relation, column, row + k if k else row)


@operation()
def eye(N: Any, M: Any = None, k: int = 0, dtype: Any = None) -> Any:
    """Matrix of N rows and M columns (N if None) with ones on the k-th diagonal."""
    rows, columns = shape_of((N, N if M is None else M))
    return convert(band(rows, columns, "eq", k), chosen(dtype, float_type()))


@operation()
def identity(n: Any, dtype: Any = None) -> Any:
    """The identity matrix of n rows."""
    (size,) = shape_of(n)
    return convert(band(size, size, "eq", 0), chosen(dtype, float_type()))


@operation()
def tri(N: Any, M: Any = None, k: int = 0, dtype: Any = None) -> Any:
    """Ones at and below the k-th diagonal, zeros above."""
    rows, columns = shape_of((N, N if M is None else M))
    return convert(band(rows, columns, "le", k), chosen(dtype, float_type()))


def _triangle(x: Any, relation: str, k: int) -> Any:
    kind = type_of(x)
    if kind.rank < 2:
        raise ShapeError("x", expected="a matrix", received=str(kind.shape))
    rows, columns = kind.shape[-2:]
    kept = broadcast_to(band(rows, columns, relation, k), kind.shape)
    return emit("select", kept, x, _full(kind.shape, 0, kind.dtype))


@operation("x")
def tril(x: Any, k: int = 0) -> Any:
    """`x` with zeros above the k-th diagonal of its last two axes."""
    return _triangle(x, "le", k)


@operation("x")
def triu(x: Any, k: int = 0) -> Any:
    """`x` with zeros below the k-th diagonal of its last two axes."""
    return _triangle(x, "ge", k)


@operation("*x")
def meshgrid(*x: Any, indexing: str = "xy") -> Any:
    """One grid for each vector, constant along the axes of the others; "xy" swaps the first two axes."""
    if indexing not in ("xy", "ij"):
        raise ArgumentError("indexing", expected="'xy' or 'ij'", received=repr(indexing))
    count = len(x)
    places = list(range(count))
    if indexing == "xy" and count > 1:
        places[:2] = [1, 0]
    vectors = [composites.reshape(v, (-1,)) for v in x]
    sizes = {place: type_of(v).shape[0] for place, v in zip(places, vectors, strict=True)}
    shape = tuple(sizes[a] for a in range(count))
    return [emit("broadcast", v, shape=shape, axes=(place,)) for place, v in zip(places, vectors, strict=True)]


@operation("x")
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """Matrix whose columns are powers of `x`, from N - 1 down to 0, or up from 0."""
    x = counted(x)
    count = N if N is not None else type_of(x).shape[0]
    if not isinstance(count, int):
        raise ArgumentError("N", expected="a number of columns for a vector of unknown size", received="None")
    columns = [composites.ones_like(x)]
    while len(columns) < count:
        columns.append(columns[-1] * x)
    columns = columns[:count] if increasing else columns[:count][::-1]
    return composites.concatenate([composites.expand_dims(c, -1) for c in columns], -1)


def _window(make: Callable[[int], Any]) -> Callable[[Any], Any]:
    def function(x: int) -> Any:
        (size,) = shape_of(x)
        if not isinstance(size, int):
            raise ShapeError("x", expected="a number", received=str(size))
        return current_emitter().constant(make(size), float_type())

    function.__name__ = make.__name__
    function.__doc__ = f"The {make.__name__} window of `x` numbers, as in NumPy."
    return operation()(function)


bartlett, blackman = _window(np.bartlett), _window(np.blackman)
hamming, hanning = _window(np.hamming), _window(np.hanning)


@operation()
def kaiser(x: int, beta: float) -> Any:
    """The Kaiser window of `x` numbers, as in NumPy."""
    return current_emitter().constant(np.kaiser(x, beta), float_type())
