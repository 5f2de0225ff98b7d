"""Products over windows (convolutions): functions that collect their operands for the matrix kernels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext

from kgraph.compiler.analysis.kernels import expressions
from kgraph.compiler.analysis.loop_facts import accesses
from kgraph.compiler.analysis.windows import Line, at_zero, flat_window, steps
from kgraph.compiler.codegen.emitter import Function, Module
from kgraph.compiler.codegen.indices import Indices
from kgraph.compiler.codegen.packing import lanes_below, pack_b
from kgraph.compiler.codegen.scopes import Scope
from kgraph.compiler.codegen.target import Target
from kgraph.compiler.codegen.tiles import Tiling
from kgraph.compiler.loops.rewriting import Rewriter
from kgraph.ir.dims import Dim, product, substitute, symbol, symbols_of
from kgraph.ir.loops import Contract, Ranges, Stmt, Window
from kgraph.ir.scalar import IndexValue
from kgraph.record import record

# Vectors of a line up to which it is copied by code without loops.
_STRAIGHT = 40

GATHER_PARAMS = [
    ("ptr noalias", "src"), ("ptr noalias", "dst"), ("i64", "ld"), ("i64", "line"), ("i64", "lines"),
    ("i64", "cell"), ("i64", "cells"), ("ptr", "context"),
]  # fmt: skip
PACK_PARAMS = [
    ("ptr noalias", "src"), ("ptr noalias", "dst"), ("i64", "first"), ("i64", "count"), ("i64", "column"),
    ("i64", "columns"), ("ptr", "context"),
]  # fmt: skip


def gather_function(
    module: Module, target: Target, t: Tiling, line: Line, slots: Sequence[tuple[str, int]]
) -> str:
    """Name of `void name(ptr src, ptr dst, i64 ld, i64 line, i64 lines, i64 cell, i64 cells, ptr context)`.

    dst[i * ld + j] is the first operand's element at line `line` + i and cell `cell` + j, for i < lines, j < cells
    (see `Line`; 0 outside the buffer). Up to a vector more is written behind each line. `slots` are the sizes and
    outer variables that the operand's index uses, and their places in the context. Equal functions are written once.
    """
    return _written_once(module, "windows.gather", lambda name: _Gather(module, target, t, name, line, slots).write())


def _written_once(module: Module, kind: str, write: Callable[[str], None]) -> str:
    """Write a function; if the module has one of the same kind with the same text, that one's name."""
    start = f"define internal void @{kind}."
    others = [text for text in module.functions if text.startswith(start)]
    write(f"{kind}.{len(others)}")
    _, _, own = module.functions[-1].partition("(")
    for text in others:
        head, _, body = text.partition("(")
        if body == own:
            module.functions.pop()
            return head.partition("@")[2]
    return f"{kind}.{len(others)}"


def pack_function(
    module: Module, target: Target, t: Tiling, stmt: Contract, slots: Sequence[tuple[str, int]]
) -> str:
    """Name of `void name(ptr src, ptr dst, i64 first, i64 count, i64 column, i64 columns, ptr context)`.

    It packs rows first .. first + count - 1 of the second operand, from `column` on, as `packing.pack_b` does.
    """
    return _written_once(module, "windows.pack", lambda name: _write_pack(module, target, t, name, stmt, slots))


def _write_pack(
    module: Module, target: Target, t: Tiling, name: str, stmt: Contract, slots: Sequence[tuple[str, int]]
) -> None:
    assert isinstance(stmt.b, Window)
    flat = flat_window(stmt.b)
    run = _merged(flat, stmt.over)
    along, across = steps(flat, stmt.over)[-1], steps(flat, ((stmt.col, stmt.n),))[0]
    if 1 not in (along, across):
        raise AssertionError(f"a second operand without a contiguous axis: {flat}")
    packer = pack_b(module, target, t, across != 1)
    f = Function(module, name, PACK_PARAMS, attributes=target.function_attributes())
    writer = _Writer(f, _variables(f, slots))
    length = product(tuple(extent for _, extent in stmt.over[-run:]))
    pieces = stmt.over[:-run]
    ld = writer.dim(writer.outer, across if across != 1 else along)
    panel = f.mul("%count", str(t.width))
    with writer.pieces(pieces, length, "%first", "%count") as piece:
        inside = {stmt.over[-1][0]: piece.start} | {var: "0" for var, _ in stmt.over[-run:-1]}
        scope = writer.outer.inside({**piece.digits, **inside, stmt.col: "%column"})
        source = f.gep(t.element, "%src", writer.dim(scope, flat))
        to = f.gep(t.element, "%dst", f.mul(piece.offset, str(t.width)))
        values = [source, to, f.binary("sub", "i64", piece.stop, piece.start), "%columns", ld, panel]
        types = ["ptr", "ptr", *["i64"] * 4]
        f.line(f"call void @{packer}({', '.join(f'{ty} {v}' for ty, v in zip(types, values, strict=True))})")
    f.finish()


def body_of_flat_row(stmt: Contract) -> tuple[Stmt, ...]:
    """The body of a product with the last part of its row in terms of the whole row number.

    Where results lie in the order of the rows, the other parts cancel out of all indices.
    """
    if not stmt.rows:
        return stmt.body
    rest, radix = symbol(stmt.row), stmt.rows[-1][1]
    last: Dim = rest
    for var, extent in reversed(stmt.rows[:-1]):
        last = last - symbol(var) * radix
        radix = radix * extent

    def flat(dim: Dim) -> Dim:
        return substitute(dim, {stmt.rows[-1][0]: last})

    return Rewriter(flat, lambda buffer, index: (buffer, tuple(map(flat, index)))).body(stmt.body)


def row_digits(f: Function, stmt: Contract, body: Sequence[Stmt], row: str, sizes: Mapping[str, str]) -> dict[str, str]:
    """Registers of the parts of a row that the body uses; `sizes` are registers of the symbolic sizes."""
    used = {name for _, flat in accesses(body) for name in symbols_of(flat)}
    used |= {name for e in expressions(body) if isinstance(e, IndexValue) for name in symbols_of(e.index)}
    found: dict[str, str] = {}
    if used.isdisjoint(var for var, _ in stmt.rows):
        return found
    writer = _Writer(f, sizes)
    digits = writer.digits(row, writer.extents(stmt.rows))
    return {var: digit for (var, _), digit in zip(stmt.rows, digits, strict=True)}


def window_names(stmt: Contract) -> set[str]:
    """Sizes and variables, its own and outer ones, that the operands of a product over windows use."""
    dims: list[Dim] = [extent for _, extent in (*stmt.rows, *stmt.over)]
    for operand in (stmt.a, stmt.b):
        if isinstance(operand, Window):
            dims += [*operand.index, *operand.buffer.shape]
    return {name for dim in dims for name in symbols_of(dim)}


def _merged(flat: Dim, ranges: Ranges) -> int:
    """How many of the last variables act as one."""
    moves = steps(flat, ranges)
    length, extent = 1, ranges[-1][1]
    while length < len(ranges) and moves[-length - 1] == moves[-1] * extent:
        extent = extent * ranges[-length - 1][1]
        length += 1
    return length


def _variables(f: Function, slots: Sequence[tuple[str, int]]) -> dict[str, str]:
    """Sizes and outer variables from the context."""
    return {var: f.load("i64", f.gep("i64", "%context", str(slot)), 8) for var, slot in slots}


@record
class _Piece:
    """The part of one contiguous run that is wanted: elements start .. stop - 1 of the run.

    `digits` are the variables before the run; `offset` is the place of the first element among all that are wanted.
    """

    digits: dict[str, str]
    start: str
    stop: str
    offset: str


class _Writer:
    """Index arithmetic of one function over windows."""

    def __init__(self, f: Function, variables: Mapping[str, str]) -> None:
        """`variables` are the registers of sizes and outer variables."""
        self.f = f
        self.indices = Indices(f, {})
        self.outer = Scope(variables=dict(variables))

    def dim(self, scope: Scope, dim: Dim) -> str:
        """A polynomial as a register."""
        return self.indices.dim(scope, dim)

    def extents(self, ranges: Ranges) -> list[str]:
        """Extents as registers or literals, at least 1, so that they can be divided by."""
        found = []
        for _, extent in ranges:
            text = self.dim(self.outer, extent)
            at_least = str(max(int(text), 1)) if text.isdigit() else self.f.intrinsic("smax", "i64", text, "1")
            found.append(at_least)
        return found

    def digits(self, number: str, extents: Sequence[str]) -> list[str]:
        """The digits of a mixed-radix number."""
        found: list[str] = []
        for extent in reversed(extents[1:]):
            if extent == "1":
                found.insert(0, "0")
                continue
            found.insert(0, self.f.binary("urem", "i64", number, extent))
            number = self.f.binary("udiv", "i64", number, extent)
        return [number, *found] if extents else []

    def following(self, digits: Sequence[str], extents: Sequence[str]) -> list[str]:
        """The digits of the next number; the first digit has no limit."""
        f, out, carry = self.f, list(digits), ""
        for n in range(len(digits) - 1, -1, -1):
            if extents[n] == "1" and n:
                continue
            more = f.add(digits[n], "1")
            if n:
                full = f.binary("icmp eq", "i64", more, extents[n])
                more = f.select("i1", full, "i64", "0", more)
            out[n] = f.select("i1", carry, "i64", more, digits[n]) if carry else more
            if n:
                carry = f.binary("and", "i1", carry, full) if carry else full
        return out

    @contextmanager
    def pieces(self, ranges: Ranges, length: Dim, first: str, count: str) -> Iterator[_Piece]:
        """Write a loop over the runs that hold elements first .. first + count - 1, each `length` elements long."""
        f = self.f
        extents = self.extents(ranges)
        (run,) = self.extents((("", length),))
        if not ranges:
            yield _Piece({}, first, f.add(first, count), "0")
            return
        start = f.binary("udiv", "i64", first, run)
        end = f.add(first, count)
        stop = f.binary("udiv", "i64", f.add(end, f.add(run, "-1")), run)
        carried = [("i64", digit) for digit in self.digits(start, extents)]
        with f.loop(start, stop, carried=carried) as loop:
            here = f.mul(loop.index, run)
            low = f.intrinsic("smax", "i64", f.binary("sub", "i64", first, here), "0")
            high = f.intrinsic("smin", "i64", f.binary("sub", "i64", end, here), run)
            offset = f.binary("sub", "i64", f.add(here, low), first)
            yield _Piece({v: d for (v, _), d in zip(ranges, loop.carried, strict=True)}, low, high, offset)
            loop.next = self.following(loop.carried, extents)


class _Gather(_Writer):
    """Writes one gathering function; see `emit_gather`."""

    def __init__(
        self, module: Module, target: Target, t: Tiling, name: str, line: Line, slots: Sequence[tuple[str, int]]
    ) -> None:
        f = Function(module, name, GATHER_PARAMS, attributes=target.function_attributes())
        super().__init__(f, _variables(f, slots))
        self.target, self.t, self.line = target, t, line

    def write(self) -> None:
        """Write the function."""
        f, line = self.f, self.line
        extents = self.extents(line.lines)
        carried = [("i64", digit) for digit in self.digits("%line", extents)]
        with f.loop("0", "%lines", carried=carried) as loop:
            digits = {v: d for (v, _), d in zip(line.lines, loop.carried, strict=True)}
            scope = self.outer.inside(digits)
            out = f.gep(self.t.element, "%dst", f.mul(loop.index, "%ld"))
            self.dim(scope, at_zero(line.flat, line.cells))  # what all pieces share
            whole = self._whole_line(scope, out)
            with f.when(f.binary("xor", "i1", whole, "true")) if whole else nullcontext():
                within = scope.inside()
                with self.pieces(line.pieces, line.run, "%cell", "%cells") as piece:
                    self._piece(within, piece, out)
            loop.next = self.following(loop.carried, extents)
        f.finish()

    def _whole_line(self, scope: Scope, out: str) -> str | None:
        """Write straight code for a short line of which all cells are wanted and inside the buffer.

        The result is the register that tells whether that is so; None if lines are too long for such code.
        """
        f, line, lanes = self.f, self.line, self.t.lanes
        counts = [extent for _, extent in line.pieces if isinstance(extent, int)]
        if not isinstance(line.run, int) or len(counts) < len(line.pieces):
            return None
        if math.prod(counts) * -(-line.run // lanes) > _STRAIGHT:
            return None
        total = str(math.prod(counts) * line.run)
        first = f.binary("icmp eq", "i64", "%cell", "0")
        whole = f.binary("and", "i1", first, f.binary("icmp eq", "i64", "%cells", total))
        for dim in self._margins():
            whole = f.binary("and", "i1", whole, f.binary("icmp sge", "i64", self.dim(scope, dim), "0"))
        run = line.cells[len(line.pieces) :]
        with f.when(whole):
            inner = scope.inside()
            for number, digits in enumerate(itertools.product(*map(range, counts))):
                place = {var: digit for (var, _), digit in zip(line.pieces, digits, strict=True)}
                base = self.dim(inner, substitute(at_zero(line.flat, run), place))
                self._copy_run(self._at("%src", base), self._at(out, str(number * line.run)), line.run)
        return whole

    def _margins(self) -> list[Dim]:
        """Polynomials of a line that are at least 0 where all its cells lie inside the buffer."""
        line = self.line
        found: list[Dim] = []
        spans = [(coordinate, size, 1) for coordinate, size in line.checks]
        if line.clip is not None:
            coordinate, size, unit = line.clip
            assert isinstance(line.run, int)
            assert isinstance(unit, int)
            spans.append((coordinate, size, line.run // unit))
        for coordinate, size, length in spans:
            first, last = dict[str, Dim](), dict[str, Dim]()
            for (var, extent), step in zip(line.pieces, steps(coordinate, line.pieces), strict=True):
                rising = isinstance(step, int) and step >= 0
                first[var], last[var] = (0, extent - 1) if rising else (extent - 1, 0)
            found += [substitute(coordinate, first), size - length - substitute(coordinate, last)]
        return found

    def _copy_run(self, source: str, to: str, count: int) -> None:
        """Copy a number of elements that is known; up to a vector more is written."""
        f, t = self.f, self.t
        rest = count % t.lanes
        for at in range(0, count - rest, t.lanes):
            value = f.load(t.vector, self._at(source, str(at)), t.bytes)
            f.store(t.vector, value, self._at(to, str(at)), t.bytes)
        if rest and self.target.masked:
            mask = "<" + ", ".join(f"i1 {int(lane < rest)}" for lane in range(t.lanes)) + ">"
            value = f.masked_load(t.vector, self._at(source, str(count - rest)), t.bytes, mask)
            f.store(t.vector, value, self._at(to, str(count - rest)), t.bytes)
        elif rest:
            for at in range(count - rest, count):
                value = f.load(t.element, self._at(source, str(at)), t.bytes)
                f.store(t.element, value, self._at(to, str(at)), t.bytes)

    def _piece(self, scope: Scope, piece: _Piece, out: str) -> None:
        """One run: zeros, what is inside the buffer, zeros."""
        f, line = self.f, self.line
        inner = scope.inside(piece.digits) if piece.digits else scope.inside()
        run = line.cells[len(line.pieces) :]
        base = self.dim(inner, at_zero(line.flat, run))
        source, to = self._at("%src", base), self._at(out, f.binary("sub", "i64", piece.offset, piece.start))
        if not line.checks and line.clip is None:
            self._copy(source, to, piece.start, piece.stop)
            return
        low, high = self._inside(inner, piece)
        self._zeros(to, piece.start, low)
        self._copy(source, to, low, high)
        self._zeros(to, high, piece.stop)

    def _inside(self, scope: Scope, piece: _Piece) -> tuple[str, str]:
        """The part of a run that lies inside the buffer."""
        f, line = self.f, self.line
        low, high = piece.start, piece.stop
        if line.clip is not None:
            coordinate, size, unit = line.clip
            low_dim, high_dim = -1 * coordinate * unit, (size - coordinate) * unit
            low = f.intrinsic("smax", "i64", low, self.dim(scope, low_dim))
            low = f.intrinsic("smin", "i64", low, piece.stop)
            high = f.intrinsic("smin", "i64", high, self.dim(scope, high_dim))
            high = f.intrinsic("smax", "i64", high, low)
        for coordinate, size in line.checks:
            at, limit = self.dim(scope, coordinate), self.dim(scope, size)
            high = f.select("i1", f.binary("icmp ult", "i64", at, limit), "i64", high, low)
        return low, high

    def _zeros(self, to: str, start: str, stop: str) -> None:
        f, t = self.f, self.t
        with f.loop(start, stop, str(t.lanes)) as i:
            f.store(t.vector, "zeroinitializer", self._at(to, i.index), t.bytes)

    def _copy(self, source: str, to: str, start: str, stop: str) -> None:
        f, t = self.f, self.t
        count = f.binary("sub", "i64", stop, start)
        whole = f.add(start, f.binary("and", "i64", count, str(-t.lanes)))
        with f.loop(start, whole, str(t.lanes)) as i:
            value = f.load(t.vector, self._at(source, i.index), t.bytes)
            f.store(t.vector, value, self._at(to, i.index), t.bytes)
        if not self.target.masked:
            with f.loop(whole, stop) as i:
                value = f.load(t.element, self._at(source, i.index), t.bytes)
                f.store(t.element, value, self._at(to, i.index), t.bytes)
            return
        with f.when(f.binary("icmp slt", "i64", whole, stop)):
            mask = lanes_below(f, t, f.binary("sub", "i64", stop, whole))
            value = f.masked_load(t.vector, self._at(source, whole), t.bytes, mask)
            f.store(t.vector, value, self._at(to, whole), t.bytes)

    def _at(self, base: str, index: str) -> str:
        """An address whose base may lie outside the memory."""
        return self.f.assign(f"getelementptr {self.t.element}, ptr {base}, i64 {index}", "p")
