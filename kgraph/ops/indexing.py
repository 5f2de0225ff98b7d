"""Elements by their places: parts, lookups, updates, and sums by id.

Places may be negative, counted from the end. A place that is not there gives zeros, and takes no update.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kgraph.eager import as_array, operation
from kgraph.errors import ArgumentError, DTypeError, ShapeError
from kgraph.ir.dims import Dim, Shape, product
from kgraph.ir.dtypes import i32, u8
from kgraph.ir.opdef import current_emitter, is_tracing
from kgraph.ir.operators import Operators, broadcast_to
from kgraph.ir.operators import cast as convert
from kgraph.ir.subscripts import subscript
from kgraph.ops.creation import shape_of
from kgraph.ops.promotion import emit, numbers_together, together, type_of
from kgraph.ops.shaping import padded
from kgraph.primitives import composites
from kgraph.primitives.reductions import highest, lowest
from kgraph.variable import Variable

# In this file `slice` is the function on tensors from its definition on.
_ALL = slice(None)


def _ids(indices: Any, size: Dim, what: str) -> Any:
    """Places counted from the front, as int32 or int64."""
    if not type_of(indices).dtype.is_integer:
        raise DTypeError(what, expected="integers", received=type_of(indices).dtype.numpy)
    if type_of(indices).dtype.kind == "unsigned":
        return indices
    kind = type_of(indices).dtype
    count = size if isinstance(size, int) else convert(composites.size(size), kind)
    return composites.where(indices < 0, indices + count, indices)


@operation("x", "indices")
def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """The slices along an axis at these places; of the raveled tensor for None.

    >>> take([10, 20, 30], [2, 0, -1])
    array([30, 10, 30], dtype=int32)
    """
    return taken(x, indices, axis)


def taken(x: Any, indices: Any, axis: int | None) -> Any:
    """`take` of tensors of a program."""
    if axis is None:
        x, axis = composites.reshape(x, (type_of(x).size,)), 0
    place = composites.axis_of(axis, type_of(x).rank)
    return composites.gather(x, _ids(indices, type_of(x).shape[place], "indices"), place)


@operation("x", "indices")
def take_along_axis(x: Any, indices: Any, axis: int | None = None) -> Any:
    """For every place the element of its own line along the axis; of the raveled tensors for None."""
    if axis is None:
        x, indices, axis = composites.reshape(x, (type_of(x).size,)), composites.reshape(indices, (-1,)), 0
    rank = type_of(x).rank
    if type_of(indices).rank != rank:
        raise ShapeError("indices", expected=f"{rank} axes, as x", received=str(type_of(indices).shape))
    place = composites.axis_of(axis, rank)
    shapes = type_of(x).shape, type_of(indices).shape
    lines = [b if a == 1 else a for a, b in zip(*shapes, strict=True)]
    x = broadcast_to(x, tuple(shapes[0][a] if a == place else d for a, d in enumerate(lines)))
    indices = broadcast_to(indices, tuple(shapes[1][a] if a == place else d for a, d in enumerate(lines)))
    return composites.take_along_axis(x, _ids(indices, shapes[0][place], "indices"), place)


@operation("x")
def get_item(x: Any, key: Any) -> Any:
    """``x[key]``: ints, slices, None, ``...``, and at most one array or tensor of places.

    As in NumPy, the axes of the places come first where something stands between them and an int.

    >>> get_item([[1, 2, 3], [4, 5, 6]], np.s_[:, -1])
    array([3, 6], dtype=int32)
    """
    entries = list(key) if isinstance(key, tuple) else [key]
    arrays = [n for n, entry in enumerate(entries) if isinstance(entry, (Operators, np.ndarray, list))]
    if not arrays:
        return subscript(x, key)
    if len(arrays) > 1:
        raise ArgumentError("key", expected="at most one array of places", received=f"{len(arrays)}")
    (at,) = arrays
    given, entries[at] = entries[at], _ALL
    ids = given if isinstance(given, Operators) else current_emitter().constant(as_array(given, "key"))
    before = [entry for entry in entries[:at] if not hasattr(entry, "__index__")]
    behind = [entry for entry in entries[at + 1 :] if not hasattr(entry, "__index__") and entry is not None]
    found = subscript(x, tuple(entries))
    kept = type_of(found).rank
    news = sum(entry is None for entry in entries[at + 1 :])
    axis = len(before) if Ellipsis not in before else kept - 1 - len(behind) - news
    taken = composites.gather(found, _ids(ids, type_of(found).shape[axis], "key"), axis)
    if not _parted(entries, at):
        return taken
    places = range(axis, axis + type_of(ids).rank)
    return composites.transpose(taken, [*places, *(a for a in range(type_of(taken).rank) if a not in places)])


def _parted(entries: list[Any], at: int) -> bool:
    """Whether some int of a key and the places at `at` have something else between them."""
    numbers = {n for n, entry in enumerate(entries) if hasattr(entry, "__index__")}
    return any(not numbers.issuperset(range(min(n, at) + 1, max(n, at))) for n in numbers)


def _start(start: Any, rank: int) -> list[Any]:
    """One start per axis: ints, or scalars of a tensor of starts."""
    if isinstance(start, Operators):
        flat = composites.reshape(start, (rank,))
        return [composites.squeeze(composites.part(flat, 0, n, n + 1), 0) for n in range(rank)]
    found = list(start) if isinstance(start, (tuple, list)) else [int(n) for n in np.asarray(start).reshape(-1)]
    if len(found) != rank:
        raise ShapeError("start_indices", expected=f"{rank} indices", received=str(len(found)))
    return [n if isinstance(n, Operators) else operator.index(n) for n in found]


def _window(start: Any, size: Dim, length: Dim) -> Any:
    """The places start, ..., start + length - 1 (int32), moved inside where they would reach beyond the axis."""
    last = convert(composites.size(size - length), i32)
    first = composites.minimum(composites.maximum(convert(start, i32), 0), last)
    return emit("iota", shape=(length,), axis=0, dtype=i32) + first


@operation("inputs")
def slice(inputs: Any, start_indices: Any, shape: Any) -> Any:
    """A part of the given shape from a start on; -1 in `shape` is all that is left.

    Args:
        inputs: tensor.
        start_indices: an int for each axis, or a tensor of them: then the part is moved inside where it would reach
            beyond the end.
        shape: sizes of the part.
    """
    sizes = type_of(inputs).shape
    starts = _start(start_indices, len(sizes))
    for axis, (start, length, size) in enumerate(zip(starts, shape, sizes, strict=True)):
        if isinstance(start, int):
            stop = size if length == -1 else start + length
            inputs = composites.part(inputs, axis, start, stop)
        else:
            inputs = composites.gather(inputs, _window(start, size, length), axis)
    return inputs


@operation("inputs", "updates")
def slice_update(inputs: Any, start_indices: Any, updates: Any) -> Any:
    """`inputs` with `updates` in the place of the part of its shape from a start on; starts as in `slice`."""
    kind = type_of(inputs)
    new = convert(updates, kind.dtype)
    lengths = type_of(new).shape
    inside = composites.full(lengths, True, u8)
    for axis, (start, size) in enumerate(zip(_start(start_indices, kind.rank), kind.shape, strict=True)):
        length = type_of(new).shape[axis]
        if isinstance(start, int):
            low = tuple(start if a == axis else 0 for a in range(kind.rank))
            high = tuple(size - start - length if a == axis else 0 for a in range(kind.rank))
            new, inside = padded(new, low, high), padded(inside, low, high)
            continue
        last = convert(composites.size(size - length), i32)
        first = composites.minimum(composites.maximum(convert(start, i32), 0), last)
        places = emit("iota", shape=(size,), axis=0, dtype=i32) - first
        new, inside = composites.gather(new, places, axis), composites.gather(inside, places, axis)
    return composites.where(inside, new, inputs)


def _flat_ids(indices: Any, shape: Shape) -> tuple[Any, int]:
    """Places ``(..., axes)`` as numbers of the raveled first axes, -1 for those that are not there; how many axes."""
    if not type_of(indices).dtype.is_integer or type_of(indices).rank < 1:
        raise DTypeError("indices", expected="integers (..., axes)", received=str(type_of(indices)))
    axes = type_of(indices).shape[-1]
    if not isinstance(axes, int) or axes > len(shape):
        raise ShapeError("indices", expected=f"at most {len(shape)} axes", received=str(axes))
    flat = composites.reshape(indices, (product(type_of(indices).shape[:-1]), axes))
    number: Any = None
    there: Any = None
    for axis in range(axes):
        size = shape[axis]
        place = convert(composites.squeeze(composites.part(flat, 1, axis, axis + 1), 1), i32)
        count = convert(composites.size(size), i32)
        place = composites.where(place < 0, place + count, place)
        good = emit("logical_and", place >= 0, emit("lt", *numbers_together(place, count)))
        number = place if number is None else number * count + place
        there = good if there is None else emit("logical_and", there, good)
    return composites.where(there, number, -1), axes


def _rows(updates: Any, indices: Any, shape: Shape, axes: int) -> Any:
    wanted = (*type_of(indices).shape[:-1], *shape[axes:])
    if type_of(updates).shape != wanted:
        raise ShapeError("updates", expected=str(wanted), received=str(type_of(updates).shape))
    return composites.reshape(updates, (product(wanted[: len(wanted) - len(shape) + axes]), *shape[axes:]))


@operation("indices", "values")
def scatter(indices: Any, values: Any, shape: Any) -> Any:
    """Zeros of a shape, with values added at places.

    Args:
        indices: ``(..., axes)``: a place along the first axes of the result for each value.
        values: ``(..., *shape[axes:])``.
        shape: of the result.
    """
    sizes = shape_of(shape)
    ids, axes = _flat_ids(indices, sizes)
    rows = _rows(values, indices, sizes, axes)
    return composites.reshape(composites.scatter_add(rows, ids, product(sizes[:axes]), 0), sizes)


@operation("inputs", "indices", "updates")
def scatter_update(inputs: Any, indices: Any, updates: Any, reduction: str | None = None) -> Any:
    """`inputs` with `updates` at places.

    Args:
        inputs: tensor.
        indices: ``(..., axes)``: a place along the first axes of the inputs for each update.
        updates: ``(..., *inputs.shape[axes:])``.
        reduction: None to replace, the last one where places repeat; "add", "max" or "min" to combine.
    """
    if reduction not in (None, "add", "max", "min"):
        raise ArgumentError("reduction", expected="None, 'add', 'max' or 'min'", received=repr(reduction))
    kind = type_of(inputs)
    ids, axes = _flat_ids(indices, kind.shape)
    rows = _rows(convert(updates, kind.dtype), indices, kind.shape, axes)
    count = product(kind.shape[:axes])
    old = composites.reshape(inputs, (count, *kind.shape[axes:]))
    if reduction == "add":
        new = old + composites.scatter_add(rows, ids, count, 0)
    elif reduction is not None:
        new = emit(f"{reduction}imum", *together(old, _extreme_by_id(rows, ids, count, reduction)))
    else:
        last, found = _last_of_each(ids, count)
        wanted = composites.reshape(found, (count, *[1] * (kind.rank - axes)))
        new = composites.where(wanted, composites.gather(rows, last, 0), old)
    return composites.reshape(new, kind.shape)


def _ends(ids: Any, count: Dim) -> tuple[Any, Any, Any]:
    """Order that sorts ids; for each id of 0 .. count-1 the places behind its group, and before it."""
    order = composites.argsort(ids, 0)
    ranked = composites.gather(ids, order, 0)
    every = convert(emit("iota", shape=(count,), axis=0, dtype=i32), type_of(ids).dtype)
    return order, composites.searchsorted(ranked, every, right=True), composites.searchsorted(ranked, every)


def _last_of_each(ids: Any, count: Dim) -> tuple[Any, Any]:
    """Number of the last entry with each id of 0 .. count-1, and whether there is one."""
    order, behind, before = _ends(ids, count)
    return composites.gather(order, behind - 1, 0), behind > before


def _extreme_by_id(rows: Any, ids: Any, count: Dim, which: str) -> Any:
    """Largest or smallest rows of each id, column by column; the end of the range where there is none."""
    kind = type_of(rows)
    columns = composites.reshape(rows, (kind.shape[0], product(kind.shape[1:])))
    order = composites.argsort(columns, 0, descending=which == "min")
    owners = broadcast_to(composites.expand_dims(ids, 1), type_of(columns).shape)
    # Sorted by value, then by id, which keeps the order of equal ids: the last of each group is the extreme.
    regroup = composites.argsort(composites.take_along_axis(owners, order, 0), 0)
    sorted_rows = composites.take_along_axis(composites.take_along_axis(columns, order, 0), regroup, 0)
    _, behind, before = _ends(ids, count)
    found = composites.gather(sorted_rows, behind - 1, 0)
    end = lowest(kind.dtype) if which == "max" else highest(kind.dtype)
    some = broadcast_to(composites.expand_dims(behind > before, 1), type_of(found).shape)
    return composites.reshape(composites.where(some, found, end), (count, *kind.shape[1:]))


def _segments(num_segments: int | None, segment_ids: Any) -> int:
    if num_segments is None:
        if isinstance(segment_ids, Operators):
            raise ArgumentError("num_segments", expected="a number, for ids known at run time", received="None")
        ids = np.asarray(segment_ids)
        return int(ids.max()) + 1 if ids.size else 0
    return operator.index(num_segments)


@operation("data", "segment_ids")
def _segment_sum(data: Any, segment_ids: Any, count: int) -> Any:
    return composites.scatter_add(data, segment_ids, count, 0)


def segment_sum(data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False) -> Any:
    """Sums of the rows with equal ids.

    Args:
        data: tensor; its first axis is that of the ids.
        segment_ids: an id for each row; ids outside 0 .. num_segments-1 are left out.
        num_segments: rows of the result; None for the largest id plus 1, which must be known.
        sorted: no effect.
    """
    return _segment_sum(data, segment_ids, _segments(num_segments, segment_ids))


@operation("data", "segment_ids")
def _segment_extreme(data: Any, segment_ids: Any, count: int, which: str) -> Any:
    return _extreme_by_id(data, segment_ids, count, which)


def segment_max(data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False) -> Any:
    """Largest of the rows with equal ids, element by element; -inf for ids without rows. As `segment_sum`."""
    return _segment_extreme(data, segment_ids, _segments(num_segments, segment_ids), "max")


def segment_min(data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False) -> Any:
    """Smallest of the rows with equal ids, element by element; inf for ids without rows. As `segment_sum`."""
    return _segment_extreme(data, segment_ids, _segments(num_segments, segment_ids), "min")


def _place_of(find: Callable[..., Any], x: Any, axis: int | None, keepdims: bool) -> Any:
    kind = type_of(x)
    x = x if kind.dtype.is_float or kind.dtype.is_integer else convert(x, u8)
    if axis is None:
        found = find(composites.reshape(x, (kind.size,)), 0)
        return composites.reshape(found, (1,) * kind.rank) if keepdims else found
    place = composites.axis_of(axis, kind.rank)
    return composites.expand_dims(find(x, place), place) if keepdims else find(x, place)


@operation("x")
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Place (int32) of the first largest element along an axis; in the raveled tensor for None."""
    return _place_of(composites.argmax, x, axis, keepdims)


@operation("x")
def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Place (int32) of the first smallest element along an axis; in the raveled tensor for None."""
    return _place_of(composites.argmin, x, axis, keepdims)


@operation("indices")
def unravel_index(indices: Any, shape: Sequence[int]) -> Any:
    """Places in a raveled tensor as a tuple of places along each axis of `shape`."""
    found = []
    for size in reversed(tuple(shape)):
        indices, whole = emit("floordiv", *numbers_together(indices, size)), indices
        found.append(emit("mod", *numbers_together(whole, size)))
    return tuple(reversed(found))


def _with_values(name: str, x: Any) -> Any:
    if isinstance(x, Variable) and not is_tracing():
        x = x.value
    if isinstance(x, Operators):
        fix = "Use where, or call it on arrays"
        raise ArgumentError(f"{name}: x", expected="values known now: they decide the result's shape",
                            received=repr(x), fix=fix)  # fmt: skip
    return as_array(x, f"{name}: x")


def nonzero(x: Any) -> tuple[Any, ...]:
    """Places of the elements that are not 0, an int32 array for each axis; on arrays only."""
    return tuple(places.astype("int32") for places in np.nonzero(_with_values("nonzero", x)))


def unique(
    x: Any, sorted: bool = True, return_index: bool = False, return_inverse: bool = False,
    return_counts: bool = False, axis: int | None = None, size: int | None = None, fill_value: Any = None,
) -> Any:  # fmt: skip
    """The different elements (or slices along an axis) in rising order; on arrays only.

    Args:
        x: array.
        sorted: no effect: they are always sorted.
        return_index, return_inverse, return_counts: give also the place of the first one of each, the number of its
            value for each element, and how often each occurs, all int32.
        axis: compare slices along it; None for the elements of the raveled array.
        size: cut or filled up to so many values, with `fill_value` (the smallest value if None).
    """
    array = _with_values("unique", x)
    values, index, inverse, counts = np.unique(array, True, True, True, axis=axis)
    inverse = inverse.reshape(array.shape if axis is None else (-1,))
    if size is not None:
        place = 0 if axis is None else axis
        missing = max(size - values.shape[place], 0)
        least = np.take(values, [0], place)
        fill = least if fill_value is None else np.full_like(least, fill_value)
        values = np.concatenate([values, *[fill] * missing], place).take(range(size), place)
        index = np.concatenate([index, np.full(missing, index[:1].sum())])[:size]
        counts = np.concatenate([counts, np.zeros(missing, counts.dtype)])[:size]
    wanted = [(return_index, index), (return_inverse, inverse), (return_counts, counts)]
    extra = [found.astype("int32") for asked, found in wanted if asked]
    return (values, *extra) if extra else values

