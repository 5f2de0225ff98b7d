"""Windows that slide over the spatial axes of [batch, *spatial, channels]: sizes, checks, and regions without borders.

Along one axis, tap k of the window at output position o reads position o * stride + k * dilation - low of the input;
positions outside the input are left out.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

from kgraph.errors import ShapeError
from kgraph.ir.dims import Dim, Shape, symbol
from kgraph.ir.loops import For, Stmt
from kgraph.ir.opdef import Attrs, LoopContext
from kgraph.primitives.nests import Index
from kgraph.primitives.signatures import expect_dims
from kgraph.record import record

# Windows of non-overlapping pooling up to which each phase has code of its own, and taps up to which each one has.
_FEW_PHASES = 4
_FEW_TAPS = 32


@record
class Axis:
    """How the window slides along one spatial axis.

    Attributes:
        size: of the input.
        window: number of taps.
        stride, dilation: steps between outputs, and between taps.
        low, high: padding before and behind the input; below 0, `high` leaves out the end of the input.
    """

    size: Dim
    window: int
    stride: int
    dilation: int
    low: int
    high: int

    @property
    def outputs(self) -> Dim:
        """Number of window positions."""
        return (self.size + self.low + self.high - self.dilation * (self.window - 1) - 1) // self.stride + 1

    def taps_at(self, output: int) -> tuple[int, ...]:
        """The taps that lie inside the input at an output position."""
        start = output * self.stride - self.low
        size = self.size
        assert isinstance(size, int)
        return tuple(k for k in range(self.window) if 0 <= start + k * self.dilation < size)

    @property
    def is_static(self) -> bool:
        """Whether the regions of outputs are known: the size is, or nothing lies outside."""
        return isinstance(self.size, int) or (self.low == 0 and self.high == 0)

    @property
    def is_invertible(self) -> bool:
        """Whether the regions of inputs are known: the size is, or windows neither overlap nor lie outside."""
        return isinstance(self.size, int) or self.is_apart

    @property
    def is_apart(self) -> bool:
        """Whether no input position is seen by two windows, and no window lies outside."""
        return self.low == 0 and self.high == 0 and self.window <= self.stride and self.dilation == 1


@record
class Region:
    """Positions start, start + step, ... along one axis whose windows have the same taps.

    Attributes:
        start, step: first position and distance.
        count: number of positions.
        taps: (tap, first position on the other side); the other side moves by `other` per position.
        other: distance of the positions on the other side.
        inner: number of neighbours of each position that belong to the region, too; each is seen through the tap after
            that of the neighbour before it, at the same position on the other side.
    """

    start: Dim
    step: int
    count: Dim
    taps: tuple[tuple[int, int], ...]
    other: int
    inner: int = 1


def axes_of(op: str, shape: Shape, window: Sequence[int], attrs: Attrs) -> tuple[Axis, ...]:
    """The axes of a call with attributes strides, low, high and maybe dilation, checked."""
    count = len(window)
    strides, low = (_numbers(op, name, attrs[name], count) for name in ("strides", "low"))
    high = _padding_behind(op, attrs["high"], count)
    dilation = _numbers(op, "dilation", attrs["dilation"], count) if "dilation" in attrs else (1,) * count
    for name, values in (("strides", strides), ("dilation", dilation), ("window", tuple(window))):
        if any(v < 1 for v in values):
            raise ShapeError(f"{op}, {name}", expected="integers >= 1", received=str(values))
    axes = tuple(map(Axis, shape[1:-1], window, strides, dilation, low, high))
    for number, axis in enumerate(axes):
        outputs = axis.outputs
        if isinstance(outputs, int) and outputs < 1:
            raise ShapeError(f"{op}, spatial axis {number}", expected="an input at least as long as the window",
                             received=f"size {axis.size}, window {axis.window}, dilation {axis.dilation}",
                             fix='Use padding="same" or a smaller window')  # fmt: skip
    return axes


def output_shape(shape: Shape, axes: Sequence[Axis], channels: Dim) -> Shape:
    """The shape of what one element per window position makes."""
    return (shape[0], *(axis.outputs for axis in axes), channels)


def _numbers(op: str, name: str, value: object, count: int) -> tuple[int, ...]:
    dims = expect_dims(op, name, value, count)
    if not all(isinstance(d, int) for d in dims):
        raise ShapeError(f"{op}, attribute {name}", expected="integers", received=str(dims))
    return tuple(d for d in dims if isinstance(d, int))


def _padding_behind(op: str, value: object, count: int) -> tuple[int, ...]:
    if isinstance(value, tuple) and len(value) == count and all(type(n) is int for n in value):
        return value
    raise ShapeError(f"{op}, attribute high", expected=f"a tuple of {count} integers", received=repr(value))


def output_regions(axis: Axis) -> list[Region]:
    """Output positions grouped by the taps that lie inside the input."""
    if not isinstance(axis.size, int):
        taps = tuple((k, k * axis.dilation) for k in range(axis.window))
        return [Region(0, 1, axis.outputs, taps, axis.stride)]
    outputs = axis.outputs
    assert isinstance(outputs, int)
    regions, start = [], 0
    for inside, group in itertools.groupby(range(outputs), axis.taps_at):
        count = len(list(group))
        first = start * axis.stride - axis.low
        places = tuple((k, first + k * axis.dilation) for k in inside)
        regions.append(Region(start, 1, count, places, axis.stride))
        start += count
    return regions


def input_regions(axis: Axis) -> list[Region]:
    """Input positions grouped by stride phase and by the taps through which outputs see them."""
    size, outputs, stride = axis.size, axis.outputs, axis.stride
    if not isinstance(size, int) or (axis.is_apart and axis.window > _FEW_PHASES):
        return _apart(axis)
    assert isinstance(size, int)
    assert isinstance(outputs, int)

    def seen(position: int) -> tuple[tuple[int, int], ...]:
        places = ((k, position + axis.low - k * axis.dilation) for k in range(axis.window))
        return tuple((k, p // stride) for k, p in places if p % stride == 0 and 0 <= p // stride < outputs)

    regions = []
    for phase in range(min(stride, size)):
        positions = range(phase, size, stride)
        for _, group in itertools.groupby(positions, lambda p: tuple(k for k, _ in seen(p))):
            members = list(group)
            regions.append(Region(members[0], stride, len(members), seen(members[0]), 1))
    return regions


def _apart(axis: Axis) -> list[Region]:
    """The same for windows that do not overlap, along an axis of any size: windows, gaps, and what is left over."""
    window, stride, outputs = axis.window, axis.stride, axis.outputs
    end = (outputs - 1) * stride + window
    windows = Region(0, stride, outputs, ((0, 0),), 1, window)
    gaps = Region(window, stride, outputs - 1, (), 1, stride - window)
    rest = Region(end, 1, axis.size - end, (), 1)
    return [region for region in (windows, gaps, rest) if region.count != 0 and region.inner != 0]


Taps = Sequence[tuple[Index, Index]]
Position = Callable[[Index, Taps], tuple[Stmt, ...]]


def over_regions(
    context: LoopContext, batch: Dim, regions: Sequence[Sequence[Region]], body: Position
) -> tuple[Stmt, ...]:
    """Loops over the batch and all combinations of regions, one sequence of regions per axis.

    `body(index, taps)` gives the statements for one position: `index` is (batch, *position), `taps` the taps inside
    with the index (batch, *position) on the other side.
    """
    var = context.fresh("b")
    inside = in_regions(context, symbol(var), regions, body)
    return (For(var, batch, "parallel", inside),) if inside else ()


def in_regions(
    context: LoopContext, batch: Dim, regions: Sequence[Sequence[Region]], body: Position
) -> tuple[Stmt, ...]:
    """The same for one element of the batch."""
    inside: list[Stmt] = []
    for chosen in itertools.product(*regions):
        inside += _region(context, batch, chosen, body)
    return tuple(inside)


def _region(
    context: LoopContext, batch: Dim, chosen: Sequence[Region], body: Position
) -> tuple[Stmt, ...]:
    loops = [(context.fresh("i"), r.count) for r in chosen] + [(context.fresh("j"), r.inner) for r in chosen]
    values: list[Dim] = [0 if extent == 1 else symbol(name) for name, extent in loops]
    places, inner = values[: len(chosen)], values[len(chosen) :]
    position = [r.start + r.step * i + j for r, i, j in zip(chosen, places, inner, strict=True)]
    taps = []
    for combination in itertools.product(*(r.taps for r in chosen)):
        other = [first + r.other * i for (_, first), r, i in zip(combination, chosen, places, strict=True)]
        taps.append((tuple(k + j for (k, _), j in zip(combination, inner, strict=True)), (batch, *other)))
    statements = body((batch, *position), taps)
    for name, extent in reversed(loops):
        if statements and extent != 1:
            statements = (For(name, extent, "serial", statements),)
    return statements


def over_taps(
    context: LoopContext, taps: Taps, body: Callable[[Index, Index], tuple[Stmt, ...]]
) -> tuple[Stmt, ...]:
    """`body(tap, index)` for all taps of a region, row by row: one after the other, or in loops if they are many."""
    if len(taps) <= _FEW_TAPS:
        return tuple(itertools.chain.from_iterable(body(tap, index) for tap, index in taps))
    first_tap, first_index = taps[0]
    tap, index, loops = list(first_tap), list(first_index), []
    for axis in range(len(first_tap)):
        along = [(t, i) for t, i in taps if all(t[a] == first_tap[a] for a in range(len(first_tap)) if a != axis)]
        if len(along) > 1:
            var = context.fresh("k")
            loops.append((var, len(along)))
            tap[axis] = tap[axis] + symbol(var) * (along[1][0][axis] - along[0][0][axis])
            index[axis + 1] = index[axis + 1] + symbol(var) * (along[1][1][axis + 1] - along[0][1][axis + 1])
    statements = body(tuple(tap), tuple(index))
    for var, extent in reversed(loops):
        statements = (For(var, extent, "serial", statements),)
    return statements


def each_tap(window: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """All taps of a window, row-major."""
    return itertools.product(*map(range, window))


def tap_slices(axes: Sequence[Axis], tap: Sequence[int]) -> tuple[slice, ...]:
    """What one tap reads of the spatial axes of a padded input, for all outputs."""
    found = []
    for axis, k in zip(axes, tap, strict=True):
        outputs = axis.outputs
        assert isinstance(outputs, int)
        start = k * axis.dilation
        found.append(slice(start, start + (outputs - 1) * axis.stride + 1, axis.stride))
    return tuple(found)
