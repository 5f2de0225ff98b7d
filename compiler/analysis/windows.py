"""Facts about products over windows: which axes need bounds checks, what is contiguous, which are plain matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kgraph.compiler.analysis.loop_facts import flat_index, stride
from kgraph.ir.dims import Dim, product, substitute, symbols_of
from kgraph.ir.loops import Contract, Ranges, Window
from kgraph.record import record


@record
class Line:
    """A window with its variables in two groups, of which the second one's last variable moves by one element.

    Attributes:
        flat: position of the element in the buffer.
        lines, cells: the groups; their variables' extents.
        run: extent of the end of `cells` that is one contiguous piece.
        pieces: variables of `cells` before that end.
        checks: (coordinate, size) of the axes that may lie outside, with 0 for the variables of the run.
        clip: (coordinate at the run's start, size, elements per step) of the axis along which a run may lie partly
            outside; None if none may.
    """

    flat: Dim
    lines: Ranges
    cells: Ranges
    run: Dim
    pieces: Ranges
    checks: tuple[tuple[Dim, Dim], ...]
    clip: tuple[Dim, Dim, Dim] | None


@record
class Plain:
    """A product over windows that is one of plain matrices.

    Attributes:
        transpose_a, transpose_b: the operand is stored transposed.
        lda, ldb: elements between stored rows.
        start_a, start_b: position of the first element.
    """

    transpose_a: bool
    transpose_b: bool
    lda: Dim
    ldb: Dim
    start_a: Dim
    start_b: Dim


def flat_window(window: Window) -> Dim:
    """Position of a window's element in its buffer."""
    return flat_index(window.buffer, window.index)


def steps(flat: Dim, ranges: Ranges) -> list[Dim]:
    """How far an element moves with each variable; windows are affine in their variables."""
    found = []
    for var, _ in ranges:
        step = stride(flat, var)
        if step is None:
            raise AssertionError(f"a window that is not affine in {var}: {flat}")
        found.append(step)
    return found


def at_zero(dim: Dim, ranges: Ranges) -> Dim:
    """A polynomial where the variables of `ranges` are 0."""
    return substitute(dim, {var: 0 for var, _ in ranges})


def as_plain(stmt: Contract) -> Plain | None:
    """The product as one of plain matrices, if it is one."""
    assert isinstance(stmt.a, Window)
    assert isinstance(stmt.b, Window)
    if _unsafe_axes(stmt.a, (*stmt.rows, *stmt.over)):
        return None
    a, b = flat_window(stmt.a), flat_window(stmt.b)
    rows, over = _one_step(stmt.rows, [a]), _one_step(stmt.over, [a, b])
    column = steps(b, ((stmt.col, stmt.n),))[0]
    if rows is None or over is None:
        return None
    (row_a,), (over_a, over_b) = rows, over
    if 1 not in (row_a, over_a) or 1 not in (over_b, column):
        return None
    transpose_a, transpose_b = over_a != 1, column != 1
    return Plain(
        transpose_a,
        transpose_b,
        over_a if transpose_a else row_a,
        column if transpose_b else over_b,
        at_zero(a, (*stmt.rows, *stmt.over)),
        at_zero(b, (*stmt.over, (stmt.col, stmt.n))),
    )


def is_stored_by_rows(stmt: Contract) -> bool:
    """Whether the second operand is a window that is all of a buffer, a matrix of `k` rows one after another."""
    if not isinstance(stmt.b, Window):
        return False
    flat, column = flat_window(stmt.b), ((stmt.col, stmt.n),)
    rows = _one_step(stmt.over, [flat])
    whole = product(stmt.b.buffer.shape) == stmt.k * stmt.n and at_zero(flat, (*stmt.over, *column)) == 0
    return whole and rows == [stmt.n] and steps(flat, column) == [1]


def _one_step(ranges: Ranges, flats: Sequence[Dim]) -> list[Dim] | None:
    """The steps, one for each of `flats`, of several variables that act as one; None if they do not."""
    live = tuple(r for r in ranges if r[1] != 1) or ranges[-1:]
    found = [steps(flat, live) for flat in flats]
    for n, (_, extent) in enumerate(live[1:]):
        if any(s[n] != s[n + 1] * extent for s in found):
            return None
    return [s[-1] for s in found]


def gathered(stmt: Contract) -> Line:
    """How the elements of the first operand are collected; its contiguous axis may be among rows or reduced ones."""
    assert isinstance(stmt.a, Window)
    flat = flat_window(stmt.a)
    by_rows = steps(flat, stmt.over)[-1] == 1
    lines, cells = (stmt.rows, stmt.over) if by_rows else (stmt.over, stmt.rows)
    if steps(flat, cells)[-1] != 1:
        raise AssertionError(f"a window without a contiguous axis: {flat}")
    unsafe = _unsafe_axes(stmt.a, (*stmt.rows, *stmt.over))
    length = _run_length(stmt.a, flat, cells, unsafe)
    inner, pieces = cells[-length:], cells[:-length]
    clip, checks = None, []
    for axis in unsafe:
        coordinate, size = stmt.a.index[axis], stmt.a.buffer.shape[axis]
        if any(var in _names(coordinate) for var, _ in inner):
            clip = (at_zero(coordinate, inner), size, product(tuple(e for _, e in inner[1:])))
        else:
            checks.append((coordinate, size))
    return Line(flat, lines, cells, product(tuple(e for _, e in inner)), pieces, tuple(checks), clip)


def transposed(stmt: Contract) -> bool:
    """Whether the first operand's contiguous axis is among the rows."""
    return gathered(stmt).lines == stmt.over


def _run_length(window: Window, flat: Dim, cells: Ranges, unsafe: Sequence[int]) -> int:
    """How many of the last variables act as one with step 1, at most the first of them on an axis with checks."""
    moves = steps(flat, cells)
    length, extent = 1, cells[-1][1]
    while length < len(cells):
        var, more = cells[-length - 1]
        if moves[-length - 1] != extent:
            break
        inner = {name for name, _ in cells[-length:]}
        if any(inner & _names(window.index[axis]) for axis in unsafe):
            break
        if any(var in _names(window.index[axis]) and stride(window.index[axis], var) != 1 for axis in unsafe):
            break
        length, extent = length + 1, extent * more
    return length


def _unsafe_axes(window: Window, ranges: Ranges) -> list[int]:
    """The axes along which an index may lie outside the buffer, as far as can be seen."""
    extents = dict(ranges)
    shape = window.buffer.shape
    return [a for a, (dim, size) in enumerate(zip(window.index, shape, strict=True)) if not _inside(dim, size, extents)]


def _inside(dim: Dim, size: Dim, extents: Mapping[str, Dim]) -> bool:
    """Whether 0 <= dim < size for all values of the variables; False where that is not obvious."""
    if isinstance(dim, int):
        return dim >= 0 and not_negative(size - 1 - dim)
    smallest: dict[str, Dim] = {}
    largest: dict[str, Dim] = {}
    for var in symbols_of(dim):
        if var not in extents:
            continue
        step = stride(dim, var)
        if not isinstance(step, int):
            return False
        smallest[var], largest[var] = (0, extents[var] - 1) if step > 0 else (extents[var] - 1, 0)
    return not_negative(substitute(dim, smallest)) and not_negative(size - 1 - substitute(dim, largest))


def not_negative(dim: Dim) -> bool:
    """Whether a polynomial of sizes is at least 0 for all sizes; False where that is not obvious."""
    return dim >= 0 if isinstance(dim, int) else all(factor >= 0 for _, factor in dim.terms)


def _names(dim: Dim) -> set[str]:
    return symbols_of(dim)
