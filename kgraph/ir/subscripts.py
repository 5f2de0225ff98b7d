"""`x[...]` on symbolic tensors: integers, slices, None and `...`, by NumPy's rules."""

from __future__ import annotations

import operator
from typing import Any

from kgraph.errors import DTypeError, ShapeError
from kgraph.ir.dims import Dim, Shape
from kgraph.ir.opdef import current_emitter
from kgraph.record import record


@record
class _Cut:
    """What is taken of one axis: elements start, start + stride, ... below limit, in reverse order if `backwards`."""

    start: Dim
    limit: Dim
    stride: int = 1
    backwards: bool = False


def subscript(value: Any, key: Any) -> Any:
    """``value[key]`` as slice, reverse and reshape nodes.

    Args:
        value: symbolic tensor.
        key: an integer, a slice, None (a new axis of size 1), ``...``, or a tuple of those.

    An index or limit beyond a size that is known only at run time is found then.
    """
    emitter = current_emitter()
    shape = emitter.type_of(value).shape
    entries = _full_key(key, len(shape))
    places = [entry for entry in entries if entry is not None]
    cuts = [_cut(entry, size, axis) for axis, (entry, size) in enumerate(zip(places, shape, strict=True))]
    if any(cut != _Cut(0, size) for cut, size in zip(cuts, shape, strict=True)):
        starts, limits = tuple(c.start for c in cuts), tuple(c.limit for c in cuts)
        value = emitter.emit("slice", value, starts=starts, limits=limits, strides=tuple(c.stride for c in cuts))
    backwards = tuple(axis for axis, cut in enumerate(cuts) if cut.backwards)
    if backwards:
        value = emitter.emit("reverse", value, axes=backwards)
    sizes = iter(emitter.type_of(value).shape)
    kept = [(entry, 1 if entry is None else next(sizes)) for entry in entries]
    wanted: Shape = tuple(size for entry, size in kept if not _is_index(entry))
    return value if wanted == emitter.type_of(value).shape else emitter.emit("reshape", value, shape=wanted)


def _full_key(key: Any, rank: int) -> list[Any]:
    """One entry for each axis, and None for each new axis."""
    entries = list(key) if isinstance(key, tuple) else [key]
    for entry in entries:
        if not (entry is None or entry is Ellipsis or isinstance(entry, slice) or _is_index(entry)):
            fix = "Use ops.take for an array or tensor of indices"
            raise DTypeError("subscript of a symbolic tensor", expected="integers, slices, None or ...",
                             received=f"{entry!r:.60}", fix=fix)  # fmt: skip
    if sum(entry is Ellipsis for entry in entries) > 1:
        raise ShapeError("subscript of a symbolic tensor", expected="at most one '...'", received=repr(key))
    left = rank - sum(entry is not None and entry is not Ellipsis for entry in entries)
    if left < 0:
        expected = f"at most {rank} indices"
        raise ShapeError("subscript of a symbolic tensor", expected=expected, received=str(rank - left))
    at = next((n for n, entry in enumerate(entries) if entry is Ellipsis), len(entries))
    return [*entries[:at], *[slice(None)] * left, *entries[at + 1 :]]


def _is_index(entry: Any) -> bool:
    return hasattr(entry, "__index__") and not isinstance(entry, bool)


def _cut(entry: Any, size: Dim, axis: int) -> _Cut:
    if isinstance(entry, slice):
        return _known_slice(entry, size) if isinstance(size, int) else _open_slice(entry, size, axis)
    index = operator.index(entry)
    if isinstance(size, int) and not -size <= index < size:
        expected = f"an index in {-size}..{size - 1}"
        raise ShapeError(f"subscript of axis {axis}", expected=expected, received=str(index))
    start = index if index >= 0 else size + index
    return _Cut(start, start + 1)


def _known_slice(entry: slice, size: int) -> _Cut:
    steps = range(*entry.indices(size))
    if not steps:
        return _Cut(0, 0)
    return _Cut(min(steps), max(steps) + 1, abs(steps.step), backwards=steps.step < 0)


def _open_slice(entry: slice, size: Dim, axis: int) -> _Cut:
    """A slice of an axis whose size is known at run time: limits are taken as they are, not cut to the size."""
    step = 1 if entry.step is None else operator.index(entry.step)
    if (entry.start, entry.stop, step) == (None, None, -1):
        return _Cut(0, size, 1, backwards=True)
    if step < 1:
        received = f"{entry.start}:{entry.stop}:{step}"
        raise ShapeError(f"subscript of axis {axis} of size {size}", expected="steps >= 1, or ::-1", received=received)
    start, limit = (
        default if bound is None else operator.index(bound) + (size if operator.index(bound) < 0 else 0)
        for bound, default in ((entry.start, 0), (entry.stop, size))
    )
    return _Cut(start, limit, step)
