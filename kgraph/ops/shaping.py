"""Shapes, axes, joining and cutting. Sizes may be symbolic; a size -1 means what is left."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from kgraph.eager import operation
from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dims import Dim, Shape, exact_quotient
from kgraph.ir.dtypes import bool_, u8
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import broadcast_to as spread
from kgraph.ir.operators import cast as convert
from kgraph.ops.creation import shape_of
from kgraph.ops.promotion import common_dtype, emit, tensor, type_of
from kgraph.primitives import composites

Axes = int | Sequence[int] | None


@operation("x")
def reshape(x: Any, newshape: Any) -> Any:
    """The same elements under another shape; one size may be -1: what is left.

    >>> reshape([1, 2, 3, 4], (2, -1))
    array([[1, 2],
           [3, 4]], dtype=int32)
    """
    sizes = newshape if isinstance(newshape, (tuple, list)) else (newshape,)
    return composites.reshape(x, [int(d) if isinstance(d, np.integer) else d for d in sizes])


@operation("x")
def ravel(x: Any) -> Any:
    """All elements in one axis."""
    return composites.reshape(x, (type_of(x).size,))


@operation("x")
def expand_dims(x: Any, axis: int | Sequence[int]) -> Any:
    """New axes of size 1; `axis` counts in the result."""
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    rank = type_of(x).rank + len(axes)
    for place in composites.axes_of(axes, rank):
        x = composites.expand_dims(x, place)
    return x


@operation("x")
def squeeze(x: Any, axis: Axes = None) -> Any:
    """`x` without these axes of size 1; without all of them for None."""
    return composites.squeeze(x, axis)


@operation("x")
def transpose(x: Any, axes: Sequence[int] | None = None) -> Any:
    """Axes in another order; reversed for None."""
    return composites.transpose(x, axes)


@operation("x")
def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Two axes swapped."""
    return composites.swapaxes(x, axis1, axis2)


@operation("x")
def moveaxis(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Any:
    """Axes `source` moved to the places `destination`; the others keep their order."""
    return move_axes(x, source, destination)


def move_axes(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Any:
    """`moveaxis` of a tensor of a program."""
    rank = type_of(x).rank
    olds = [composites.axis_of(a, rank, "source") for a in ((source,) if isinstance(source, int) else source)]
    places = (destination,) if isinstance(destination, int) else destination
    news = [composites.axis_of(a, rank, "destination") for a in places]
    if len(olds) != len(news):
        raise ArgumentError("destination", expected=f"{len(olds)} axes", received=repr(destination))
    order = [a for a in range(rank) if a not in olds]
    for new, old in sorted(zip(news, olds, strict=True)):
        order.insert(new, old)
    return composites.transpose(x, order)


@operation("x")
def broadcast_to(x: Any, shape: Any) -> Any:
    """`x` repeated to `shape`, by NumPy's rules."""
    wanted = shape_of(shape)
    if type_of(x).rank > len(wanted):
        raise ShapeError("shape", expected=f"at least {type_of(x).rank} axes", received=str(wanted))
    return spread(x, wanted)


def _alike(xs: Sequence[Any], what: str) -> list[Any]:
    """Tensors of one element type, of a sequence that must not be empty."""
    if not xs:
        raise ArgumentError(what, expected="at least one tensor", received="none")
    kind = common_dtype(*xs)
    return [convert(tensor(x), kind) for x in xs]


@operation("*xs", numbers=True)
def concatenate(xs: Any, axis: int = 0) -> Any:
    """Tensors joined along an axis."""
    return composites.concatenate(_alike(xs, "xs"), axis)


@operation("x1", "x2", numbers=True)
def append(x1: Any, x2: Any, axis: int | None = None) -> Any:
    """Two tensors joined along an axis; both raveled for None."""
    pair = _alike([x1, x2], "x1")
    if axis is None:
        return composites.concatenate([composites.reshape(x, (type_of(x).size,)) for x in pair], 0)
    return composites.concatenate(pair, axis)


@operation("*x", numbers=True)
def stack(x: Any, axis: int = 0) -> Any:
    """Tensors of one shape joined along a new axis."""
    return composites.concatenate([composites.expand_dims(v, axis) for v in _alike(x, "x")], axis)


def _at_least(x: Any, rank: int) -> Any:
    while type_of(x).rank < rank:
        x = composites.expand_dims(x, 0)
    return x


@operation("*xs", numbers=True)
def hstack(xs: Any) -> Any:
    """Tensors joined along the second axis; vectors along the first."""
    parts = [_at_least(x, 1) for x in _alike(xs, "xs")]
    return composites.concatenate(parts, 0 if type_of(parts[0]).rank == 1 else 1)


@operation("*xs", numbers=True)
def vstack(xs: Any) -> Any:
    """Tensors joined along the first axis; vectors count as rows."""
    return composites.concatenate([_at_least(x, 2) for x in _alike(xs, "xs")], 0)


@operation("*xs", numbers=True)
def dstack(xs: Any) -> Any:
    """Tensors joined along the third axis; vectors (n,) count as (1, n, 1), matrices as (.., .., 1)."""
    parts = [_at_least(x, 2) for x in _alike(xs, "xs")]
    parts = [composites.expand_dims(x, 2) if type_of(x).rank == 2 else x for x in parts]
    return composites.concatenate(parts, 2)


def _pieces(x: Any, sections: Any, axis: int, uneven: bool) -> list[Any]:
    place = composites.axis_of(axis, type_of(x).rank)
    size = type_of(x).shape[place]
    if isinstance(sections, (int, np.integer)):
        borders = _even_borders(size, int(sections), uneven)
    else:
        inside = [_border(int(b), size) for b in sections]
        borders = [0, *inside, size]
    return [composites.part(x, place, a, _not_before(a, b)) for a, b in itertools.pairwise(borders)]


def _border(index: int, size: Dim) -> Dim:
    found: Dim = size + index if index < 0 else index
    return min(found, size) if isinstance(found, int) and isinstance(size, int) else found


def _not_before(start: Dim, stop: Dim) -> Dim:
    gap = stop - start
    return start if isinstance(gap, int) and gap < 0 else stop


def _even_borders(size: Dim, count: int, uneven: bool) -> list[Dim]:
    if count < 1:
        raise ArgumentError("indices_or_sections", expected="at least one section", received=str(count))
    if uneven and isinstance(size, int):
        return [n * (size // count) + min(n, size % count) for n in range(count + 1)]
    part = exact_quotient(size, count)
    if part is None:
        raise ShapeError("indices_or_sections", expected=f"a divisor of the axis' size, {size}", received=str(count))
    return [part * n for n in range(count + 1)]


@operation("x")
def split(x: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    """A list of pieces along an axis: so many equal ones, or cut at these indices."""
    return _pieces(x, indices_or_sections, axis, uneven=False)


@operation("x")
def array_split(x: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    """A list of pieces along an axis; the first ones are longer if the size is no multiple of their number."""
    return _pieces(x, indices_or_sections, axis, uneven=True)


@operation("x")
def hsplit(x: Any, indices_or_sections: Any) -> Any:
    """`split` along the second axis; of vectors along the first."""
    return _pieces(x, indices_or_sections, 0 if type_of(x).rank == 1 else 1, uneven=False)


@operation("x")
def vsplit(x: Any, indices_or_sections: Any) -> Any:
    """`split` along the first axis."""
    return _pieces(x, indices_or_sections, 0, uneven=False)


@operation("x")
def dsplit(x: Any, indices_or_sections: Any) -> Any:
    """`split` along the third axis."""
    return _pieces(x, indices_or_sections, 2, uneven=False)


@operation("x")
def unstack(x: Any, num: int | None = None, axis: int = 0) -> Any:
    """A list of the slices along an axis, without that axis; its size must be known, or given as `num`."""
    place = composites.axis_of(axis, type_of(x).rank)
    size = type_of(x).shape[place]
    count = size if num is None else num
    if not isinstance(count, int) or (isinstance(size, int) and size != count):
        raise ArgumentError("num", expected=f"the size of axis {axis}, {size}", received=repr(num))
    return [composites.squeeze(composites.part(x, place, n, n + 1), place) for n in range(count)]


@operation("x")
def tile(x: Any, repeats: int | Sequence[int]) -> Any:
    """`x` so many times behind itself along each axis; missing entries of `repeats` in front are 1."""
    counts = (repeats,) if isinstance(repeats, int) else tuple(repeats)
    rank = max(len(counts), type_of(x).rank)
    counts = (*(1,) * (rank - len(counts)), *counts)
    x = _at_least(x, rank)
    shape = type_of(x).shape
    wide = tuple(d for pair in zip(counts, shape, strict=True) for d in pair)
    repeated = emit("broadcast", x, shape=wide, axes=tuple(range(1, 2 * rank, 2)))
    return composites.reshape(repeated, [c * d for c, d in zip(counts, shape, strict=True)])


@operation("x")
def repeat(x: Any, repeats: int | Sequence[int], axis: int | None = None) -> Any:
    """Each element so many times, one behind the other, along an axis; of the raveled tensor for None.

    `repeats` is an int, or an int for each element along the axis, known now.
    """
    if axis is None:
        x, axis = composites.reshape(x, (type_of(x).size,)), 0
    place = composites.axis_of(axis, type_of(x).rank)
    shape = type_of(x).shape
    counts = np.asarray(repeats)
    if counts.size == 1:
        times = int(counts.reshape(-1)[0])
        wide = spread(composites.expand_dims(x, place + 1), (*shape[: place + 1], times, *shape[place + 1 :]))
        return composites.reshape(wide, (*shape[:place], shape[place] * times, *shape[place + 1 :]))
    if counts.shape != (shape[place],):
        raise ShapeError("repeats", expected=f"an int, or {shape[place]} of them", received=repr(repeats))
    ids = np.repeat(np.arange(counts.size, dtype="int32"), counts)
    return composites.gather(x, current_emitter().constant(ids), place)


@operation("x")
def flip(x: Any, axis: Axes = None) -> Any:
    """The opposite order along these axes; along all of them for None."""
    return reverse(x, axis)


def reverse(x: Any, axis: Axes) -> Any:
    """`flip` of a tensor of a program."""
    axes = composites.axes_of(axis, type_of(x).rank)
    return emit("reverse", x, axes=axes) if axes else x


@operation("x")
def flipud(x: Any) -> Any:
    """The rows in the opposite order."""
    return reverse(x, 0)


@operation("x")
def fliplr(x: Any) -> Any:
    """The columns in the opposite order."""
    return reverse(x, 1)


@operation("x")
def roll(x: Any, shift: int | Sequence[int], axis: Axes = None) -> Any:
    """Elements moved `shift` places on; those that leave at the end come in at the start.

    Args:
        x: tensor.
        shift: places, or one number per axis.
        axis: axes; None rolls the raveled tensor.
    """
    if axis is None:
        shape, flat = type_of(x).shape, composites.reshape(x, (type_of(x).size,))
        total = shift if isinstance(shift, int) else sum(shift)
        return composites.reshape(_rolled(flat, total, 0), shape)
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    shifts = (shift,) * len(axes) if isinstance(shift, int) else tuple(shift)
    for by, place in zip(shifts, axes, strict=True):
        x = _rolled(x, by, composites.axis_of(place, type_of(x).rank))
    return x


def _rolled(x: Any, shift: int, axis: int) -> Any:
    size = type_of(x).shape[axis]
    if isinstance(size, int):
        shift = shift % size if size else 0
    if shift == 0:
        return x
    border: Dim = size - shift if shift > 0 else -shift
    return composites.concatenate([composites.part(x, axis, border, size), composites.part(x, axis, 0, border)], axis)


@operation("array")
def rot90(array: Any, k: int = 1, axes: Sequence[int] = (0, 1)) -> Any:
    """Turned `k` times by 90 degrees, from the first of `axes` to the second."""
    rank = type_of(array).rank
    first, second = (composites.axis_of(a, rank, "axes") for a in axes)
    if first == second:
        raise ArgumentError("axes", expected="two different axes", received=repr(tuple(axes)))
    order = list(range(rank))
    order[first], order[second] = second, first
    match k % 4:
        case 0:
            return array
        case 1:
            return composites.transpose(reverse(array, second), order)
        case 2:
            return reverse(array, (first, second))
        case _:
            return reverse(composites.transpose(array, order), second)


@operation("x")
def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: float | None = None) -> Any:
    """Elements added before and behind each axis.

    Args:
        x: tensor.
        pad_width: an int, a pair for all axes, or a pair per axis.
        mode: "constant"; "reflect", mirrored without the border; "symmetric", mirrored with it.
        constant_values: what "constant" adds; None is 0.
    """
    kind = type_of(x)
    widths = np.broadcast_to(np.asarray(pad_width, int), (kind.rank, 2))
    if mode not in ("constant", "reflect", "symmetric"):
        raise ArgumentError("mode", expected="'constant', 'reflect' or 'symmetric'", received=repr(mode))
    if mode == "constant":
        low, high = (tuple(int(w) for w in widths[:, side]) for side in (0, 1))
        return padded(x, low, high, 0 if constant_values is None else constant_values)
    if constant_values is not None:
        raise ArgumentError("constant_values", expected=f"None with mode {mode!r}", received=repr(constant_values))
    for axis, (before, behind) in enumerate(widths):
        x = _mirrored(x, axis, int(before), int(behind), int(mode == "reflect"))
    return x


def padded(x: Any, low: Shape, high: Shape, value: float = 0) -> Any:
    """`x` with `low` and `high` elements of `value` around each axis."""
    kind = type_of(x).dtype
    inner = convert(x, u8) if kind is bool_ else x
    number = float(value) if kind.is_float else int(value)
    return convert(emit("pad", inner, low=tuple(low), high=tuple(high), value=number), kind)


def _mirrored(x: Any, axis: int, before: int, behind: int, skip: int) -> Any:
    size = type_of(x).shape[axis]
    if isinstance(size, int) and max(before, behind) > size - skip:
        raise ShapeError("pad_width", expected=f"at most {size - skip} on axis {axis}", received=f"{before}, {behind}")
    parts = [x]
    if before:
        parts.insert(0, reverse(composites.part(x, axis, skip, skip + before), axis))
    if behind:
        end = size - skip
        parts.append(reverse(composites.part(x, axis, end - behind, end), axis))
    return composites.concatenate(parts, axis) if len(parts) > 1 else x


@operation("x")
def extract_sequences(x: Any, sequence_length: int, sequence_stride: int) -> Any:
    """Windows of `sequence_length` elements of the last axis, `sequence_stride` apart, along a new last axis."""
    return windows(x, sequence_length, sequence_stride)


def windows(x: Any, length: int, stride: int) -> Any:
    """`extract_sequences` of a tensor of a program."""
    axis = type_of(x).rank - 1
    size = type_of(x).shape[axis]
    if not isinstance(size, int) or not 1 <= length <= size or stride < 1:
        raise ArgumentError("sequence_length and sequence_stride", expected=f"1 to {size}, and >= 1",
                            received=f"{length} and {stride}")  # fmt: skip
    count = (size - length) // stride + 1
    if count < length:
        rows = [composites.part(x, axis, n * stride, n * stride + length) for n in range(count)]
        return composites.concatenate([composites.expand_dims(row, axis) for row in rows], axis)
    every = [composites.part(x, axis, k, k + (count - 1) * stride + 1) for k in range(length)]
    columns = [_every(column, axis, stride) for column in every]
    return composites.concatenate([composites.expand_dims(column, axis + 1) for column in columns], axis + 1)


def _every(x: Any, axis: int, stride: int) -> Any:
    """Each `stride`-th element along an axis."""
    shape = type_of(x).shape
    strides = tuple(stride if a == axis else 1 for a in range(len(shape)))
    return emit("slice", x, starts=(0,) * len(shape), limits=shape, strides=strides)


def _block_axes(x: Any, data_format: str) -> tuple[Any, bool]:
    if data_format not in ("channels_last", "channels_first"):
        expected = "'channels_last' or 'channels_first'"
        raise ArgumentError("data_format", expected=expected, received=repr(data_format))
    if type_of(x).rank != 4:
        raise ShapeError("x", expected="4 axes", received=str(type_of(x).shape))
    first = data_format == "channels_first"
    return composites.transpose(x, (0, 2, 3, 1)) if first else x, first


@operation("x")
def depth_to_space(x: Any, block_size: int, data_format: str = "channels_last") -> Any:
    """Channels spread over blocks of ``block_size x block_size`` places."""
    x, first = _block_axes(x, data_format)
    n, h, w, c = type_of(x).shape
    inner = exact_quotient(c, block_size * block_size)
    if inner is None:
        raise ShapeError("x", expected=f"channels that {block_size}^2 divides", received=str(c))
    x = composites.transpose(composites.reshape(x, (n, h, w, block_size, block_size, inner)), (0, 1, 3, 2, 4, 5))
    x = composites.reshape(x, (n, h * block_size, w * block_size, inner))
    return composites.transpose(x, (0, 3, 1, 2)) if first else x


@operation("x")
def space_to_depth(x: Any, block_size: int, data_format: str = "channels_last") -> Any:
    """Blocks of ``block_size x block_size`` places moved into the channels."""
    x, first = _block_axes(x, data_format)
    n, h, w, c = type_of(x).shape
    rows, columns = exact_quotient(h, block_size), exact_quotient(w, block_size)
    if rows is None or columns is None:
        raise ShapeError("x", expected=f"height and width that {block_size} divides", received=f"{h} and {w}")
    x = composites.transpose(composites.reshape(x, (n, rows, block_size, columns, block_size, c)), (0, 1, 3, 2, 4, 5))
    x = composites.reshape(x, (n, rows, columns, c * block_size * block_size))
    return composites.transpose(x, (0, 3, 1, 2)) if first else x
