"""Products over windows that read their first operand from padded lines of pixels.

Few columns mean little arithmetic for each element that is collected: here a pixel is collected once for all taps, not
once for each of them, and the micro-kernels add up one segment for each line.
"""

from __future__ import annotations

from kgraph.compiler.analysis.padded_lines import PaddedLines, padded_lines
from kgraph.compiler.codegen.emitter import Module
from kgraph.compiler.codegen.gathered_products import gathered_layout
from kgraph.compiler.codegen.parts import share
from kgraph.compiler.codegen.product_writer import ProductWriter
from kgraph.compiler.codegen.target import Target
from kgraph.compiler.codegen.tiles import Tiling, micro_kernel, undefined
from kgraph.ir.loops import Contract

# Fields of a plan, all of 64 bits; the micro-kernels follow, tallest first.
_GATHER, _PACK, _LINE, _PIXELS, _PIXEL, _HEIGHT, _COLLECTED, _DOWN, _TAPS, _TAP, _RUN, _BLOCK, _KERNELS = range(13)
# Shorter taps are collected one by one: a segment costs a few cycles.
_SHORTEST_RUN = 24
# Panels of columns up to which collecting the operand for each tap costs too much.
_MOST_PANELS = 2
# Elements of a block of collected lines. For the outer products it holds the pixels of the second operand as well and
# is read again for each tap: much smaller ones mean few pixels for each sum that is kept in registers.
_BLOCK_OF_OUTER, _BLOCK_OF_INNER = 12 << 10, 24 << 10


def lines_of(t: Tiling, stmt: Contract) -> PaddedLines | None:
    """How a product over windows reads padded lines; None if it is not that regular, or not worth it."""
    lines = padded_lines(stmt)
    if lines is None or not isinstance(stmt.n, int) or lines.run < _SHORTEST_RUN:
        return None
    panels = -(-stmt.n // t.width)
    sums = panels * lines.taps * (lines.run + t.rows) * t.width if lines.is_transposed else 0
    packed = panels * t.width * (lines.pixels if lines.is_transposed else lines.taps * lines.run)
    fits = max(packed, sums) <= t.window_block and t.rows * lines.pixel <= t.a_block // 8
    least = (lines.down + (lines.taps - 1) * lines.tap + 1) * _distance(t, lines)
    return lines if panels <= _MOST_PANELS and fits and least <= t.a_block // 2 else None


def _distance(t: Tiling, lines: PaddedLines) -> int:
    """Elements from one collected line to the next."""
    return -(-(lines.width + t.lanes) // 16) * 16


def _block(t: Tiling, lines: PaddedLines, panels: int) -> int:
    """Output lines whose collected lines make a block."""
    taken = lines.down * _distance(t, lines)
    room = _BLOCK_OF_INNER
    if lines.is_transposed:
        taken, room = taken + lines.pixels * panels * t.width, _BLOCK_OF_OUTER
    return max(1, min(lines.height, (room - (lines.taps - 1) * lines.tap * _distance(t, lines)) // taken))


def line_plan(
    module: Module, target: Target, t: Tiling, stmt: Contract, lines: PaddedLines, gather: str, pack: str | None
) -> str:
    """Name of the constant that describes the lines and functions of a product; written on first use.

    There is no function that packs the second operand where that stands in panels.
    """
    assert isinstance(stmt.n, int)
    numbers = {
        _LINE: _distance(t, lines), _PIXELS: lines.pixels, _PIXEL: lines.pixel, _HEIGHT: lines.height,
        _COLLECTED: lines.collected, _DOWN: lines.down, _TAPS: lines.taps, _TAP: lines.tap, _RUN: lines.run,
        _BLOCK: _block(t, lines, -(-stmt.n // t.width)),
    }  # fmt: skip
    name = f"matmul.lines.{gather}.{pack}.{'.'.join(map(str, numbers.values()))}"
    if any(text.startswith(f"@{name} ") for text in module.globals):
        return name
    fields = [f"ptr @{gather}", f"ptr @{pack}" if pack else "ptr null"]
    fields += [f"i64 {numbers[n]}" for n in range(_LINE, _KERNELS)]
    kernels = (micro_kernel(module, target, t, height, not lines.is_transposed, True) for height in t.heights)
    return module.constant(name, [*fields, *(f"ptr @{kernel}" for kernel in kernels)])


def line_product(module: Module, target: Target, t: Tiling, is_transposed: bool) -> str:
    """Name of the function that computes such products; its parameters are those of `blocking.product`."""
    writer = _OuterProduct if is_transposed else _InnerProduct
    name = f"matmul.{writer.kind}.{t.name}"
    if undefined(module, name):
        writer(module, target, t).write()
    return name


class _LineProduct(ProductWriter):
    """What both kinds share: the plan's numbers, the blocks of lines, the tiles."""

    kernels = _KERNELS

    def write(self) -> None:
        """Write the function."""
        f, layout = self.f, gathered_layout(self.t)
        names = (_LINE, _PIXELS, _PIXEL, _HEIGHT, _COLLECTED, _DOWN, _TAPS, _TAP, _RUN, _BLOCK)
        (self.ld, self.pixels, self.pixel, self.height, self.collected, self.down, self.taps, self.tap, self.run,
         self.block) = (self._field("i64", n) for n in names)  # fmt: skip
        self.packed, self.slab = self._at("%scratch", str(layout.b)), self._at("%scratch", str(layout.a))
        self.partial = self._at("%scratch", str(layout.partial))
        self._blocks()
        f.finish()

    def _blocks(self) -> None:
        raise NotImplementedError

    def _collect(self, first: str, end: str) -> str:
        """Collect what the output lines from `first` on need: a block, at most to the end of their group or to `end`.

        The result is the number of output lines, at least 0.
        """
        f = self.f
        inside = f.binary("urem", "i64", first, self.height)
        rest = self._min(self._sub(self.height, inside), self._sub(end, first))
        count = self._min(self.block, rest)
        group = f.binary("udiv", "i64", first, self.height)
        start = f.add(f.mul(group, self.collected), f.mul(inside, self.down))
        across = f.mul(f.add(self.taps, "-1"), self.tap)
        lines = f.add(f.add(f.mul(f.add(count, "-1"), self.down), across), "1")
        lines = self._pick(self._is("sgt", count, "0"), lines, "0")
        width = f.add(f.mul(f.add(self.pixels, "-1"), self.pixel), self.run)
        values = ["%a", self.slab, self.ld, start, lines, "0", width, "%context"]
        self._call(self._field("ptr", _GATHER), ["ptr", "ptr", *["i64"] * 5, "ptr"], values)
        return count

    def _pack(self, first: str, count: str) -> None:
        values = ["%b", self.packed, first, count, "0", "%n", "%context"]
        self._call(self._field("ptr", _PACK), ["ptr", "ptr", *["i64"] * 4, "ptr"], values)

    def _kernel(self, kernel: str, a: str, b: str, tile: str, *values: str) -> None:
        """Call a micro-kernel; `values` are k, sa, sb, accumulate, segments, next_a, next_b."""
        types = ["ptr", "ptr", "ptr", "i64", "i64", "i64", "i1", "i64", "i64", "i64"]
        self._call(kernel, types, [a, b, tile, *values])

    def _line(self, number: str) -> str:
        return self._at(self.slab, self.f.mul(number, self.ld))


class _InnerProduct(_LineProduct):
    """Rows are pixels, the reduced index runs over taps: convolutions and gradients of their input."""

    kind = "lines_inner"

    def _blocks(self) -> None:
        f, width = self.f, str(self.t.width)
        all_lines = f.binary("udiv", "i64", "%m", self.pixels)
        start, end = share(f, all_lines, 1)
        in_panels = f.binary("icmp eq", "ptr", self._field("ptr", _PACK), "null")
        with f.when(f.binary("xor", "i1", in_panels, "true")):
            self._pack("0", "%k")
        self.packed = self._pick(in_panels, "%b", self.packed, "ptr")
        step = f.fresh("step")
        with f.loop(start, end, step) as block:
            count = self._collect(block.index, end)
            with f.loop("0", "%n", width) as jr, f.loop("0", count) as line:
                b = self._at(self.packed, f.mul(jr.index, "%k"))
                a = self._line(f.mul(line.index, self.down))
                row = f.mul(f.add(block.index, line.index), self.pixels)
                self._tiles(a, b, row, jr.index)
            f.line(f"{step} = add i64 {count}, 0")

    def _tiles(self, a: str, b: str, row: str, column: str) -> None:
        f, width = self.f, str(self.t.width)
        columns, step = self._min(width, self._sub("%n", column)), f.fresh("step")
        with f.loop("0", self.pixels, step) as x:
            rest = self._sub(self.pixels, x.index)
            height, kernel = self._tallest(rest, in_pairs=True)
            place = self._at(a, f.mul(x.index, self.pixel))
            segments = [self.taps, f.mul(self.tap, self.ld), f.mul(self.run, width)]
            self._kernel(kernel, place, b, "%scratch", self.run, self.pixel, width, "false", *segments)
            self._finish("%scratch", width, f.add(row, x.index), self._min(height, rest), column, columns)
            f.line(f"{step} = add i64 {height}, 0")


class _OuterProduct(_LineProduct):
    """Rows are taps, the reduced index runs over pixels: gradients of weights."""

    kind = "lines_outer"

    def _blocks(self) -> None:
        f, t = self.f, self.t
        self.tiles = f.binary("udiv", "i64", f.add(self.run, str(t.rows - 1)), str(t.rows))
        start, end = share(f, f.mul(self.taps, self.tiles), 1)
        all_lines, step = f.binary("udiv", "i64", "%k", self.pixels), f.fresh("step")
        with f.loop("0", self._max(all_lines, "1"), step) as block:
            count = self._collect(block.index, all_lines)
            self.count, self.again = count, self._is("sgt", block.index, "0")
            self.final = self._is("sge", f.add(block.index, count), all_lines)
            self._pack(f.mul(block.index, self.pixels), f.mul(count, self.pixels))
            with f.loop("0", "%n", str(t.width)) as jr, f.loop(start, end) as tile:
                self._tile(tile.index, jr.index)
            f.line(f"{step} = call i64 @llvm.smax.i64(i64 {count}, i64 1)")
            f.module.declare("llvm.smax.i64", "i64 @llvm.smax.i64(i64, i64)")

    def _tile(self, number: str, column: str) -> None:
        f, t, width = self.f, self.t, str(self.t.width)
        tap, first = f.binary("udiv", "i64", number, self.tiles), f.binary("urem", "i64", number, self.tiles)
        first = f.mul(first, str(t.rows))
        rest = self._sub(self.run, first)
        height, kernel = self._tallest(rest)
        a = self._at(self._line(f.mul(tap, self.tap)), first)
        b = self._at(self.packed, f.mul(column, f.mul(self.count, self.pixels)))
        panel = f.mul(f.binary("udiv", "i64", column, width), f.mul(self.taps, self.tiles))
        sums = self._at(self.partial, f.mul(f.add(panel, number), str(t.rows * t.width)))
        segments = [self.count, f.mul(self.down, self.ld), f.mul(self.pixels, width)]
        self._kernel(kernel, a, b, sums, self.pixels, self.pixel, width, self.again, *segments)
        with f.when(self.final):
            row = f.add(f.mul(tap, self.run), first)
            columns = self._min(width, self._sub("%n", column))
            self._finish(sums, width, row, self._min(height, rest), column, columns)
