"""Products over windows: each block of the first operand is collected into contiguous memory."""

from __future__ import annotations

from kgraph.compiler.codegen.blocking import COLUMN_KERNEL, PACK_A, PACK_B, PACKED, PANELS, Blocked, round_up
from kgraph.compiler.codegen.emitter import Module
from kgraph.compiler.codegen.packing import pack_a
from kgraph.compiler.codegen.target import Target
from kgraph.compiler.codegen.tiles import Tiling, micro_kernel, undefined
from kgraph.ir.artifact import Team
from kgraph.record import record

# The plan has the function that collects the first operand in place of a kernel.
_GATHER = COLUMN_KERNEL
# Products over windows whose first operand is packed: rows of a block, of which a few lines at a time are collected
# first.
_GATHERED_ROWS = 1024
_GATHERED_LINES = 8
_LOOSE_PANELS = 2


@record
class GatheredLayout:
    """Where the parts of the scratch memory start, in elements; finished sums are at 0, and some lines of the first
    operand wait at `lines`."""

    b: int
    a: int
    lines: int
    partial: int


def gathered_layout(t: Tiling) -> GatheredLayout:
    """The places of packed B, collected A, collected lines of A and, last, the partial sums."""
    b = round_up(t.rows * t.width, 64)
    a = b + round_up(t.window_block, 64)
    lines = a + round_up(t.window_rows + (t.rows + 1) * (_long_depth(t) + 64), 64)
    return GatheredLayout(b, a, lines, lines + _GATHERED_LINES * _line(t, _GATHERED_ROWS) + 64)


def _long_depth(t: Tiling) -> int:
    """k of a pass over collected rows: 3 x 3 taps of 128 channels need one pass only."""
    return t.depth * 3 // 2


def _line(t: Tiling, cells: int) -> int:
    return round_up(cells + t.rows, 64) + 64


def gathered_plan(module: Module, target: Target, t: Tiling, transposed: bool, gather: str, pack: str | None) -> str:
    """Name of the constant for products over windows with these functions of their own; written on first use.

    There is no function that packs the second operand where that stands in panels.
    """
    name = f"matmul.windows.{gather}.{pack}"
    if any(text.startswith(f"@{name} ") for text in module.globals):
        return name
    fields = [f"i64 {int(transposed)}", "i64 0", f"ptr @{pack_a(module, target, t)}" if transposed else "ptr null"]
    fields += [f"ptr @{pack}" if pack else "ptr null", f"ptr @{gather}", "ptr null"]
    fields += [f"i64 {int(pack is None)}", "ptr null", "i64 0"]
    assert len(fields) == Blocked.kernels, "fields of a plan that `Blocked` reads"
    fields += [f"ptr @{micro_kernel(module, target, t, height, not transposed)}" for height in t.heights]
    return module.constant(name, fields)


def gathered_product(module: Module, target: Target, t: Tiling) -> str:
    """Name of the function that computes products over windows; its parameters are those of `product`.

    lda and ldb have no meaning: the functions of the plan know where the elements are.
    """
    name = f"matmul.gathered.{t.name}"
    if undefined(module, name):
        _Gathered(module, target, t).write()
    return name


class _Gathered(Blocked):
    """Products over windows: each block of the first operand is collected into contiguous memory.

    An operand whose rows are contiguous is collected row by row; the other kind (contiguous along the rows' index) a
    few lines at a time, which are then packed. Rows after the last one are computed from what is there and dropped.
    """

    kind = "gathered"

    def _sizes(self) -> None:
        f, t = self.f, self.t
        depth = self._pick(self.transpose_a, str(t.packed_depth), str(_long_depth(t)))
        self.ahead = self._is("ne", self._field("i64", PACKED), "0")
        # A second operand in panels needs no room; the sums of some tiles of rows do.
        most = str(t.window_block // (4 * t.rows) * _long_depth(t))
        self._passes(depth, self._pick(self.ahead, most, str(t.window_block)), t.window_block)
        self.ld = f.add(self._rounded(self.step, t.lanes), "16")
        wide = self._min(f.add(f.binary("udiv", "i64", str(t.window_rows), self.step), "-64"), str(_GATHERED_ROWS))
        tall = f.binary("udiv", "i64", str(t.window_rows), self.ld)
        self.mc = self._down(self._pick(self.transpose_a, wide, tall), t.rows)
        self.direct_b, self.packed_a, self.by_rows = "false", "true", "false"
        # For few columns it does not pay to pack the collected lines.
        self.loose = self._both(self.transpose_a, self._is("sle", "%n", str(_LOOSE_PANELS * t.width)))
        self.loose_ld = f.add(self._rounded(f.add(self._min(self.mc, "%m"), str(t.rows)), 16), "16")
        layout = gathered_layout(t)
        self.packed_b, self.packed_rows = self._at("%scratch", str(layout.b)), self._at("%scratch", str(layout.a))
        self.lines, self.partial = self._at("%scratch", str(layout.lines)), self._at("%scratch", str(layout.partial))

    def _columns_are_cheaper(self) -> str:
        """What each part does for itself, collect the first operand or pack and read the second one, takes as long as
        there are rows or columns. A few tiles of rows are not cut either."""
        few = self.f.mul("%parts", str(PANELS * self.t.rows))
        return self._is("slt", self.f.mul("%m", str(Team.PARTS)), self._max(self.f.mul("%n", str(Team.PARTS)), few))

    def _pack_b(self, column: str, columns: str, to: str) -> None:
        types = ["ptr", "ptr", *["i64"] * 4, "ptr"]
        values = ["%b", to, self.pc, self.kc, column, columns, "%context"]
        self._call(self._field("ptr", PACK_B), types, values)

    def _bring_a(self) -> None:
        f, t = self.f, self.t
        gather, types = self._field("ptr", _GATHER), ["ptr", "ptr", *["i64"] * 5, "ptr"]
        count = self._sub(self.rows_end, self.ic)
        with f.when(f.binary("xor", "i1", self.transpose_a, "true")):
            values = ["%a", self.packed_rows, self.ld, self.ic, count, self.pc, self.kc, "%context"]
            self._call(gather, types, values)
        with f.when(self.loose):
            values = ["%a", self.packed_rows, self.loose_ld, self.pc, self.kc, self.ic, count, "%context"]
            self._call(gather, types, values)
        tight = self._both(self.transpose_a, f.binary("xor", "i1", self.loose, "true"))
        with f.when(tight), f.loop("0", self.kc, str(_GATHERED_LINES)) as p:
            lines = self._min(str(_GATHERED_LINES), self._sub(self.kc, p.index))
            ld = str(_line(t, _GATHERED_ROWS))
            values = ["%a", self.lines, ld, f.add(self.pc, p.index), lines, self.ic, count, "%context"]
            self._call(gather, types, values)
            to = self._at(self.packed_rows, f.mul(p.index, str(t.rows)))
            panels = f.binary("udiv", "i64", f.add(count, str(t.rows - 1)), str(t.rows))
            values = [self.lines, to, lines, ld, panels, f.mul(self.kc, str(t.rows))]
            self._call(self._field("ptr", PACK_A), ["ptr", "ptr", *["i64"] * 4], values)

    def _tile(self, row: str) -> str:
        """Compute the lowest tile that holds the rest of the rows; hand it over if this is the last pass."""
        f, t = self.f, self.t
        rest = self._sub(self.rows_end, row)
        height, kernel = self._tallest(rest)
        a_row = self._pick(self.loose, "1", self._pick(self.transpose_a, self.kc, self.ld))
        a = self._at(self.packed_rows, f.mul(self._sub(row, self.ic), a_row))
        a_stride = self._pick(self.loose, self.loose_ld, self._pick(self.transpose_a, str(t.rows), self.ld))
        types = ["ptr", "ptr", "ptr", "i64", "i64", "i64", "i1", "ptr", "i64"]
        values = [a, self.b, self.tile, self.kc, a_stride, str(t.width), self.again, self.b, "0"]
        self._call(kernel, types, values)
        with f.when(self.final):
            self._finish(self.tile, str(t.width), row, self._min(height, rest), self.column, self.tile_columns)
        return f.add(row, height)
