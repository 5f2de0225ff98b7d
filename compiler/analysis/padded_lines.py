"""Windows of convolutions as parts of whole lines of pixels, collected once with their zeros instead of once a tap."""

from __future__ import annotations

from dataclasses import replace

from kgraph.compiler.analysis.loop_facts import stride
from kgraph.compiler.analysis.windows import Line, gathered, transposed
from kgraph.ir.dims import Dim, exact_quotient, substitute, symbol, symbols_of
from kgraph.ir.loops import Contract, Ranges, Window
from kgraph.record import record


@record
class PaddedLines:
    """The first operand of a product over windows, read from lines along the last spatial axis.

    Element i of the tap k at pixel x of output line y is element `pixel` * x + i of the collected line
    `down` * y + `tap` * k. Output lines form groups (images) of `height`; only the number of groups may be symbolic.

    Attributes:
        line: how collected lines are read; `line.run` = `width` elements each, zeros outside the buffer.
        is_transposed: whether the pixels are the product's reduced index.
        width: elements of a collected line.
        pixels: pixels of an output line.
        pixel: elements from one pixel to the next.
        height: output lines of a group.
        collected: collected lines of a group.
        down: collected lines from one output line to the next.
        taps: taps on different lines.
        tap: collected lines from one of them to the next.
        run: elements of one tap.
    """

    line: Line
    is_transposed: bool
    width: int
    pixels: int
    pixel: int
    height: int
    collected: int
    down: int
    taps: int
    tap: int
    run: int


@record
class _Across:
    """How windows move across lines: the variables of output lines and taps, and both in collected lines."""

    output: str
    tap_variable: str
    down: int
    tap: int
    flat_step: Dim


def padded_lines(stmt: Contract) -> PaddedLines | None:
    """The first operand of a product over windows as padded lines; None if it is not that regular.

    Taps may lie on one line (contiguous) and on evenly spaced ones: windows over one or two axes, without dilation
    along the lines.
    """
    assert isinstance(stmt.a, Window)
    line = gathered(stmt)
    *outputs, (pixel_variable, pixels) = line.lines
    pieces = tuple(piece for piece in line.pieces if piece[1] != 1)
    pixel, run, taps = stride(line.flat, pixel_variable), line.run, pieces[0][1] if pieces else 1
    output, height = outputs[-1] if len(outputs) > 1 else ("", 1)
    if not (isinstance(pixels, int) and isinstance(pixel, int) and isinstance(run, int)):
        return None
    if len(pieces) > 1 or not outputs or not isinstance(height, int) or not isinstance(taps, int):
        return None
    across = _across(stmt.a, line, output, pieces)
    if across is None or min(pixels, run, height) < 1:
        return None
    collected, width = (height - 1) * across.down + (taps - 1) * across.tap + 1, (pixels - 1) * pixel + run
    as_read = _as_read(line, across, collected, width)
    if as_read is None:
        return None
    return PaddedLines(
        as_read, transposed(stmt), width, pixels, pixel, height, collected, across.down, taps, across.tap, run
    )


def _across(window: Window, line: Line, output: str, pieces: Ranges) -> _Across | None:
    """The steps across lines; None if outputs and taps do not move along one and the same axis."""
    if not pieces:
        return _Across(output, "", 1, 1, stride(line.flat, output) or 0)
    tap_variable = pieces[0][0]
    moved = [index for index in window.index if tap_variable in symbols_of(index)]
    if len(moved) != 1:
        return None
    down, tap = (stride(moved[0], name) if name else 1 for name in (output, tap_variable))
    flat_down, flat_tap = (stride(line.flat, name) if name else None for name in (output, tap_variable))
    if not (isinstance(down, int) and isinstance(tap, int) and flat_tap is not None and down > 0 and tap > 0):
        return None
    step = exact_quotient(flat_tap, tap)
    if step is None or (output and flat_down != step * down):
        return None
    return _Across(output, tap_variable, down, tap, step)


def _as_read(line: Line, across: _Across, collected: int, width: int) -> Line | None:
    """The line that holds all taps and pixels of `line`; None if its zeros are not at the ends of lines."""
    *outputs, (pixel, _) = line.lines
    number, cell = across.output or pixel, line.cells[-1][0]
    start: dict[str, Dim] = {pixel: 0, **{variable: 0 for variable, _ in line.cells}}
    moved = {across.output, across.tap_variable} - {""}

    def of_collected(dim: Dim, step: Dim) -> Dim:
        return substitute(dim, {**start, number: 0}) + symbol(number) * step

    checks = []
    for coordinate, size in line.checks:
        if pixel in symbols_of(coordinate):
            return None
        if across.tap_variable and moved & symbols_of(coordinate):
            checks.append((of_collected(coordinate, 1), size))
        else:
            checks.append((substitute(coordinate, start), size))
    clip = line.clip
    if clip is not None:
        coordinate, size, unit = clip
        step = stride(coordinate, pixel)
        if step is None or step * unit != stride(line.flat, pixel) or moved & symbols_of(coordinate):
            return None
        clip = (substitute(coordinate, start), size, unit)
    lines = (*outputs[: -1 if across.output else None], (number, collected))
    flat = of_collected(line.flat, across.flat_step) + symbol(cell)
    return replace(
        line, flat=flat, lines=lines, cells=((cell, width),), run=width, pieces=(), checks=tuple(checks), clip=clip
    )
