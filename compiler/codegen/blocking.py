"""The loops round the micro-kernels of a matrix product; one function per element type serves all products."""

from __future__ import annotations

from kgraph.compiler.codegen.asking import ask_rest, fill_table, lines_of_panel, table_or_idle
from kgraph.compiler.codegen.emitter import Function, Module
from kgraph.compiler.codegen.packing import pack_a, pack_b
from kgraph.compiler.codegen.parts import ALL, SOME, share
from kgraph.compiler.codegen.product_writer import PLANNED_PARAMS, ProductWriter
from kgraph.compiler.codegen.target import Target
from kgraph.compiler.codegen.thin import axpy_kernel, dot_kernel
from kgraph.compiler.codegen.tiles import Tiling, micro_kernel, tiling, undefined
from kgraph.ir.artifact import Team
from kgraph.ir.dims import Dim

# Fields of a plan, all of 64 bits; the micro-kernels follow, tallest first.
_TRANSPOSE_A, _TRANSPOSE_B, PACK_A, PACK_B, COLUMN_KERNEL, _ROW_KERNEL, PACKED, _COPYING, _ASKING, _KERNELS = range(10)

# Rows of an A stored [m, k] that are multiples of 4 KiB apart fall into the same few places of the first-level cache:
# blocks of them are copied, with so many elements in between, unless there are few panels of columns or short passes.
_PAGE, _APART = 4096, 16
_LEAST_COPIED_PANELS, _LEAST_COPIED_DEPTH = 4, 256

# Rows of whole tiles up to which all tiles of a B stored [k, n] read it in place: to copy it would take longer.
_TILES_IN_PLACE = 2

# Fewer rows are left to the matrix-vector kernels: they read B along its rows, which comes sooner from far memory.
LEAST_ROWS = 4

# Results of matrix-vector kernels are shared in groups of so many: whole cache lines, and whole rounds of the kernels.
_THIN_GRAIN = 64

# Bytes of sums that stay in the second-level cache: many passes over k cost little then, and finished sums may be
# stored in any order.
_CACHED_SUMS = 1 << 20

# A product is cut along its columns only if every part has at least this many panels.
PANELS = 2


def packed_at(t: Tiling) -> int:
    """Where packed B starts in the scratch memory, in elements; finished sums are before it, at 0.

    Behind B follow a packed or copied block of A and, last, the partial sums; where, depends on the product's size.
    """
    return round_up(max(t.rows * t.width, t.strip), 64)


def scratch_elements(t: Tiling, m: int | None, n: int | None, k: int | None) -> int:
    """Elements of scratch memory that products of this size need; sizes that are None may be anything."""
    step = t.depth if k is None else min(k, t.depth)
    b, a, partial = t.b_block, t.a_block, t.partial
    if n is not None:
        b = min(b, round_up(n, t.width) * step)
    if m is not None:
        a = min(a, round_up(m, t.rows) * step)
    if m is not None and n is not None:
        partial = min(partial, (round_up(m, t.rows) + t.rows) * (round_up(n, t.width) + t.width))
    # A tile more than the block, for the last rows; and what lies between the copied rows.
    a += t.rows * step + (t.a_block // _LEAST_COPIED_DEPTH + t.rows) * _APART
    ends = packed_at(t) + round_up(b, 64) + round_up(a, 64)
    return ends + (partial if k is None or k > t.depth else 0)


def round_up(value: int, unit: int) -> int:
    """`value` rounded up to a multiple of `unit`."""
    return -(-value // unit) * unit


def plan(
    module: Module, target: Target, element: str, transpose_a: bool, transpose_b: bool, packed: bool, asking: bool
) -> str:
    """Name of the constant that says which kernels serve operands stored like this; written on first use.

    `packed`: B stands in panels. `asking`: the epilogue says what it will read (`asking.py`).
    """
    t = tiling(target, element)
    stored = ("t" if transpose_a else "n") + ("t" if transpose_b else "n") + "p" * packed + "a" * asking
    name = f"matmul.plan.{element}.{stored}"
    if any(text.startswith(f"@{name} ") for text in module.globals):
        return name
    fields = [f"i64 {int(transpose_a)}", f"i64 {int(transpose_b)}"]
    fields.append(f"ptr @{pack_a(module, target, t)}" if transpose_a else "ptr null")
    fields.append(f"ptr @{pack_b(module, target, t, transpose_b)}")
    fields.append(f"ptr @{(axpy_kernel if transpose_a else dot_kernel)(module, target, t)}")
    fields.append(f"ptr @{(dot_kernel if transpose_b else axpy_kernel)(module, target, t)}")
    fields.append(f"i64 {int(packed)}")
    in_place = not (transpose_b or packed)
    copying = in_place and micro_kernel(module, target, t, t.rows, not transpose_a, copying=True)
    fields.append(f"ptr @{copying}" if copying else "ptr null")
    fields.append(f"i64 {int(asking)}")
    for height in t.heights:
        kernel = micro_kernel(module, target, t, height, not transpose_a, asking=asking and height == t.rows)
        fields.append(f"ptr @{kernel}")
    return module.constant(name, fields)


def fits_ahead(t: Tiling, n: Dim, k: Dim) -> bool:
    """Whether a whole B of k rows and n columns can be packed ahead of several products with it."""
    if not (isinstance(n, int) and isinstance(k, int)):
        return False
    return n != 1 and k <= t.depth and k * round_up(n, t.width) <= t.b_block


def pack_ahead(
    f: Function, target: Target, t: Tiling, transpose_b: bool, b: str, to: str, sizes: tuple[str, str, str]
) -> None:
    """Write a call that packs a whole B for products of at least `LEAST_ROWS` rows; `sizes` are n, k, ldb."""
    n, k, ldb = sizes
    packer = pack_b(f.module, target, t, transpose_b)
    panel = f.mul(k, str(t.width))
    f.line(f"call void @{packer}(ptr {b}, ptr {to}, i64 {k}, i64 {n}, i64 {ldb}, i64 {panel})")


def product(module: Module, target: Target, element: str) -> str:
    """Name of the function that computes products; written into the module on first use.

    void product(ptr a, ptr b, ptr scratch, i64 m, i64 n, i64 k, i64 lda, i64 ldb, ptr plan, ptr finish, ptr context,
                 i64 part, i64 part_end, i64 parts)
    calls void finish(ptr sums, i64 stride, i64 row, i64 rows, i64 column, i64 columns, ptr context) until all of
    its part of C[m, n] was handed over: sums[i * stride + j] is C[row + i, column + j], i < rows, j < columns.
    Each of `parts` has some of the rows or of the columns; here are those from `part` on up to `part_end`. The values
    do not depend on the parts.
    A B that was packed is one of panels, each `k` rows deep; but not for products of one column or of less than
    `LEAST_ROWS` rows.
    """
    name = f"matmul.product.{element}"
    if undefined(module, name):
        t = tiling(target, element)
        f = Function(module, name, PLANNED_PARAMS, attributes=target.outer_attributes())
        some = f.binary("and", "i1", f.binary("icmp sgt", "i64", "%m", "0"), f.binary("icmp sgt", "i64", "%n", "0"))
        few = f.binary("icmp slt", "i64", "%m", str(LEAST_ROWS))
        thin = f.binary("or", "i1", f.binary("icmp eq", "i64", "%n", "1"), few)
        arguments = ", ".join(f"{ty.split()[0]} %{param}" for ty, param in PLANNED_PARAMS)
        for wanted, writer in ((thin, _Thin), (f.binary("xor", "i1", thin, "true"), Blocked)):
            with f.when(f.binary("and", "i1", some, wanted)):
                f.line(f"call void @{writer(module, target, t).write()}({arguments})")
        f.finish()
    return name


class _Loops(ProductWriter):
    """A product of operands with strides."""

    kernels = _KERNELS

    def __init__(self, module: Module, target: Target, t: Tiling) -> None:
        super().__init__(module, target, t)
        self.transpose_a = self._is("ne", self._field("i64", _TRANSPOSE_A), "0")
        self.transpose_b = self._is("ne", self._field("i64", _TRANSPOSE_B), "0")
        self.a_strides = self._strides(self.transpose_a, "%lda")
        self.b_strides = self._strides(self.transpose_b, "%ldb")

    def _strides(self, transposed: str, ld: str) -> tuple[str, str]:
        """Elements between logical rows and between logical columns."""
        return self._pick(transposed, "1", ld), self._pick(transposed, ld, "1")

    def _element(self, base: str, strides: tuple[str, str], row: str, column: str) -> str:
        """Address of a logical element of an operand."""
        f = self.f
        return self._at(base, f.add(f.mul(row, strides[0]), f.mul(column, strides[1])))


class _Thin(_Loops):
    """Products with one column or very few rows, by the matrix-vector kernels."""

    kind = "thin"

    def write(self) -> str:
        """Write the function and return its name."""
        f, strip = self.f, str(self.t.strip)
        one_column = self._is("eq", "%n", "1")
        with f.when(one_column):
            kernel = self._field("ptr", COLUMN_KERNEL)
            first, end = share(f, "%m", _THIN_GRAIN)
            with f.loop(first, end, strip) as i:
                count = self._min(strip, self._sub(end, i.index))
                a = self._element("%a", self.a_strides, i.index, "0")
                self._kernel(kernel, a, "%b", "%lda", self.b_strides[0], count)
                self._finish("%scratch", "1", i.index, count, "0", "1")
        with f.when(f.binary("xor", "i1", one_column, "true")):
            kernel = self._field("ptr", _ROW_KERNEL)
            first, end = share(f, "%n", _THIN_GRAIN)
            with f.loop(first, end, strip) as j, f.loop("0", "%m") as i:
                count = self._min(strip, self._sub(end, j.index))
                a = self._element("%a", self.a_strides, i.index, "0")
                b = self._element("%b", self.b_strides, "0", j.index)
                self._kernel(kernel, b, a, "%ldb", self.a_strides[1], count)
                self._finish("%scratch", strip, i.index, "1", j.index, count)
        f.finish()
        return self.name

    def _kernel(self, kernel: str, matrix: str, x: str, ld: str, xs: str, count: str) -> None:
        types = ["ptr", "ptr", "ptr", "i64", "i64", "i64", "i64"]
        self._call(kernel, types, [matrix, x, "%scratch", "%k", ld, xs, count])


class Blocked(_Loops):
    """Products by tiles: loops over column blocks, row blocks, passes over k, A blocks, panels and tiles."""

    kind = "blocked"

    def write(self) -> str:
        """Write the function and return its name."""
        f = self.f
        self._sizes()
        self._bounds()
        self.asks = self._is("ne", self._field("i64", _ASKING), "0")
        with f.when(self.asks):
            fill_table(f, self.step)
        with f.loop(self.first_column, self.end_column, self.nc) as jc:
            self.jc, self.columns = jc.index, self._min(self.nc, self._sub(self.end_column, jc.index))
            with f.loop(self.first_row, self.end_row, self.mb) as ib:
                self.ib, self.block_end = ib.index, self._min(self.end_row, f.add(ib.index, self.mb))
                with f.loop("0", self._max("%k", "1"), self.step) as pc:
                    self._pass(pc.index)
        f.finish()
        return self.name

    def _bounds(self) -> None:
        """Rows and columns of these parts: whole tiles, but for the last part, which has the rest as well.

        Parts of the columns share no packed B, parts of the rows no packed or collected A.
        """
        f, t = self.f, self.t
        enough = self._is("sge", f.mul("%n", str(Team.PARTS)), f.mul("%parts", str(PANELS * t.width)))
        by_columns = self._both(enough, self._columns_are_cheaper())
        columns = tuple(self._pick(by_columns, *pair) for pair in zip(SOME, ALL, strict=True))
        rows = tuple(self._pick(by_columns, *pair) for pair in zip(ALL, SOME, strict=True))
        self.first_column, self.end_column = share(f, "%n", t.width, columns)
        self.first_row, self.end_row = share(f, "%m", t.rows, rows)

    def _columns_are_cheaper(self) -> str:
        plain = self.f.binary("xor", "i1", self.packed_a, "true")
        return self.f.binary("or", "i1", plain, self._is("sge", "%n", "%m"))

    def _down(self, value: str, unit: int) -> str:
        """`value` >= 0 rounded down to a multiple of `unit`, but at least `unit`."""
        return self._max(self._sub(value, self.f.binary("urem", "i64", value, str(unit))), str(unit))

    def _sizes(self) -> None:
        """Sizes of a pass over k (`step`), of column blocks (`nc`), row blocks (`mb`) and A blocks (`mc`)."""
        f, t = self.f, self.t
        sums, cached_sums = f.mul("%m", "%n"), str(_CACHED_SUMS // t.bytes)
        few_sums = self._is("sle", sums, cached_sums)
        shallow = self._both(self.transpose_a, self._both(few_sums, self._is("sgt", "%k", str(t.depth))))
        self._passes(self._pick(shallow, str(t.packed_depth), str(t.depth)), str(t.b_block), t.partial)
        self.ahead = self._is("ne", self._field("i64", PACKED), "0")
        # The first tile of a panel of a B stored [k, n] reads it in place and leaves a packed copy for the others; few
        # tiles all read it in place.
        self.direct_b = self._is("ne", self._field("i64", _COPYING), "0")
        self.few = self._is("sle", "%m", str(_TILES_IN_PLACE * t.rows))
        # An A stored [k, m] that one panel of columns reads once is not worth packing.
        tall = self._both(self._is("sge", "%m", str(t.rows)), self._is("sgt", "%n", str(t.width)))
        self.packed_a = self._both(self.transpose_a, tall)
        collide = self._is("eq", f.binary("and", "i64", "%lda", str(_PAGE // t.bytes - 1)), "0")
        worth = self._both(self._is("sgt", "%n", str(_LEAST_COPIED_PANELS * t.width)),
                           self._is("sge", self.step, str(_LEAST_COPIED_DEPTH)))  # fmt: skip
        plain = f.binary("xor", "i1", self.transpose_a, "true")
        self.copied_a = self._both(plain, self._both(collide, worth))
        moved = f.binary("or", "i1", self.packed_a, self.copied_a)
        self.mc = self._down(f.binary("udiv", "i64", str(t.a_block), self.step), t.rows)
        # Where all of B stays in the second-level cache and C does not, each tile of rows meets all panels at once.
        narrow = self._both(self.single, self._is("sle", f.mul("%n", "%k"), str(t.a_block)))
        large = self._both(self._is("sge", sums, cached_sums), f.binary("xor", "i1", self.few, "true"))
        self.by_rows = self._both(narrow, large)
        self._layout(moved)

    def _passes(self, depth: str, b_block: str, partial: int) -> None:
        """Sizes of passes of up to `depth`, and of blocks of columns and of rows, which have `partial` sums."""
        f, t = self.f, self.t
        self.single = self._is("sle", "%k", depth)
        passes = self._max(f.binary("udiv", "i64", f.add("%k", f.add(depth, "-1")), depth), "1")
        balanced = self._down(f.add(f.binary("udiv", "i64", "%k", passes), "8"), 8)
        self.step = self._max(self._pick(self.single, "%k", self._min(balanced, depth)), "1")
        self.nc = self._min(self._down(f.binary("udiv", "i64", b_block, self.step), t.width), "%n")
        rows = f.binary("udiv", "i64", str(partial), f.add(self.nc, str(t.width)))
        self.mb = self._pick(self.single, "%m", self._down(self._max(f.add(rows, str(-t.rows)), "0"), t.rows))

    def _layout(self, moved: str) -> None:
        """Places in the scratch memory; the block of A has some only if it is `moved` there."""
        f, t = self.f, self.t
        b = f.mul(self._rounded(self.nc, t.width), self.step)
        rows = f.add(self._min(self.mc, self._rounded("%m", t.rows)), str(t.rows))
        a = f.mul(rows, f.add(self.step, self._pick(self.copied_a, str(_APART), "0")))
        self.packed_b = self._at("%scratch", str(packed_at(t)))
        self.packed_rows = self._at(self.packed_b, self._rounded(b, 64))
        self.partial = self._at(self.packed_rows, self._pick(moved, self._rounded(a, 64), "0"))

    def _rounded(self, value: str, unit: int) -> str:
        """`value` rounded up to a multiple of `unit`."""
        return self.f.mul(self.f.binary("udiv", "i64", self.f.add(value, str(unit - 1)), str(unit)), str(unit))

    def _pass(self, pc: str) -> None:
        """One pass over k for a block of rows and columns of C."""
        f = self.f
        self.pc, self.kc = pc, self._min(self.step, self._sub("%k", pc))
        self.again = self._is("sgt", pc, "0")
        self.final = self._is("sge", f.add(pc, self.step), "%k")
        # Panels that one block of A reads are packed one after another into the same memory, which stays in the cache.
        one_block = self._is("sge", self.mc, self._sub(self.block_end, self.ib))
        whole = f.binary("or", "i1", self.ahead, self.by_rows)
        self.by_panel = self._both(one_block, f.binary("xor", "i1", whole, "true"))
        with f.when(f.binary("xor", "i1", f.binary("or", "i1", self.by_panel, self.ahead), "true")):
            self._pack_block()
        with f.loop(self.ib, self.block_end, self.mc) as ic:
            self.ic, self.rows_end = ic.index, self._min(f.add(ic.index, self.mc), self.block_end)
            self._bring_a()
            strip = self._pick(self.by_rows, str(self.t.rows), self.mc)
            with f.loop(self.ic, self.rows_end, strip) as first:
                self.first, self.strip_end = first.index, self._min(f.add(first.index, strip), self.rows_end)
                with f.loop("0", self.columns, str(self.t.width)) as jr:
                    self._panel(jr.index)

    def _pack_block(self) -> None:
        """Pack the block of B; only the columns after the last whole panel if tiles pack the others."""
        edge = self._sub(self.columns, self.f.binary("urem", "i64", self.columns, str(self.t.width)))
        first = self._pick(self.direct_b, edge, "0")
        to = self._at(self.packed_b, self.f.mul(first, self.kc))
        self._pack_b(self.f.add(self.jc, first), self._sub(self.columns, first), to)

    def _pack_b(self, column: str, columns: str, to: str) -> None:
        """Pack columns of the rows of this pass."""
        source = self._element("%b", self.b_strides, self.pc, column)
        values = [source, to, self.kc, columns, "%ldb", self.f.mul(self.kc, str(self.t.width))]
        self._call(self._field("ptr", PACK_B), ["ptr", "ptr", *["i64"] * 4], values)

    def _bring_a(self) -> None:
        """Pack or copy the block of A if its kernels do not read it in place."""
        f = self.f
        with f.when(self.packed_a):
            self._pack_a()
        # The last tile is moved back so that it ends at m.
        self.first_copied = self._max(self._min(self.ic, f.add("%m", str(-self.t.rows))), "0")
        self.copied_ld = f.add(self.kc, str(_APART))
        with f.when(self.copied_a):
            self._copy_a()

    def _copy_a(self) -> None:
        """Copy the block of an A stored [m, k], its rows further apart."""
        f, t = self.f, self.t
        whole = f.binary("and", "i64", self.kc, str(-t.lanes))
        with f.loop(self.first_copied, self.rows_end) as row:
            source = self._element("%a", self.a_strides, row.index, self.pc)
            to = self._at(self.packed_rows, f.mul(self._sub(row.index, self.first_copied), self.copied_ld))
            for ty, start, stop, step in ((t.vector, "0", whole, t.lanes), (t.element, whole, self.kc, 1)):
                with f.loop(start, stop, str(step)) as p:
                    f.store(ty, f.load(ty, self._at(source, p.index), t.bytes), self._at(to, p.index), t.bytes)

    def _pack_a(self) -> None:
        """Pack the block of an A stored [k, m] into panels; the last panel is moved back so that it ends at m."""
        f, rows = self.f, str(self.t.rows)
        packer, types = self._field("ptr", PACK_A), ["ptr", "ptr", *["i64"] * 4]
        panel = f.mul(self.kc, rows)
        count = self._sub(self.rows_end, self.ic)
        panels = f.binary("udiv", "i64", count, rows)
        source = self._element("%a", self.a_strides, self.ic, self.pc)
        self._call(packer, types, [source, self.packed_rows, self.kc, "%lda", panels, panel])
        whole = f.mul(panels, rows)
        with f.when(self._is("slt", whole, count)):
            source = self._element("%a", self.a_strides, self._sub("%m", rows), self.pc)
            to = self._at(self.packed_rows, f.mul(whole, self.kc))
            self._call(packer, types, [source, to, self.kc, "%lda", "1", panel])

    def _panel(self, jr: str) -> None:
        """All tiles of one panel of columns in the current rows: a block of A, or one tile of it."""
        f, t = self.f, self.t
        self.column = f.add(self.jc, jr)
        self.tile_columns = self._min(str(t.width), self._sub(self.columns, jr))
        whole = self._is("eq", self.tile_columns, str(t.width))
        in_passing = self._both(self.direct_b, whole)
        self.unpacked = self._both(in_passing, self._is("eq", self.first, self.ib))
        self.b_in_place = self._element("%b", self.b_strides, self.pc, self.column)
        b = self._at(self.packed_b, self._pick(self.by_panel, "0", f.mul(jr, self.kc)))
        in_panels = self._at("%b", f.add(f.mul(self.column, "%k"), f.mul(self.pc, str(t.width))))
        self.b = self._pick(self.ahead, in_panels, b, "ptr")
        with f.when(self._both(self.by_panel, f.binary("xor", "i1", in_passing, "true"))):
            self._pack_b(self.column, self.tile_columns, self.b)
        self._following_panel(jr)
        strip = f.mul(jr, f.add(self._sub(self.block_end, self.ib), str(t.rows)))
        step = f.fresh("step")
        with f.loop(self.first, self.strip_end, step) as ir:
            inside = f.add(strip, f.mul(self._sub(ir.index, self.ib), str(t.width)))
            self.tile = self._pick(self.single, "%scratch", self._at(self.partial, inside), "ptr")
            following = self._tile(ir.index)
            f.line(f"{step} = sub i64 {following}, {ir.index}")

    def _following_panel(self, jr: str) -> None:
        """Where the next panel of B lies, as it is stored or packed, and the bytes between rows, or pieces as long."""
        f, t = self.f, self.t
        following, width = f.add(jr, str(t.width)), str(t.width)
        stored = self._element("%b", self.b_strides, self.pc, f.add(self.jc, following))
        packed = self._at(self.b, f.mul(self._pick(self.ahead, "%k", self.kc), width))
        as_stored = f.binary("or", "i1", self.unpacked, self.by_panel)
        panel = self._pick(as_stored, stored, packed, "ptr")
        self.next_panel = self._pick(self._is("slt", following, self.columns), panel, "null", "ptr")
        self.next_row = f.mul(self._pick(self.unpacked, "%ldb", width), str(t.bytes))

    def _tile(self, row: str) -> str:
        """Compute the tile at `row` and hand it over if this is the last pass; returns the next tile's row.

        The tile is the lowest that holds the rest of the rows; it is moved back if it does not fit into A, and then
        hands over only the rows that no earlier tile has handed over.
        """
        f, t = self.f, self.t
        rest = self._sub(self.end_row, row)
        height, kernel = self._tallest(rest, most="%m")
        start = self._min(row, self._sub("%m", height))
        offset = f.add(f.mul(self._sub(row, self.ic), self.kc), self._sub(str(t.rows), height))
        in_place = self._element("%a", self.a_strides, start, self.pc)
        copied = self._at(self.packed_rows, f.mul(self._sub(start, self.first_copied), self.copied_ld))
        a = self._pick(self.copied_a, copied, in_place, "ptr")
        a = self._pick(self.packed_a, self._at(self.packed_rows, offset), a, "ptr")
        a_stride = self._pick(self.packed_a, str(t.rows), self._pick(self.copied_a, self.copied_ld, "%lda"))
        first = self._both(self.unpacked, f.binary("or", "i1", self.few, self._is("eq", row, self.first)))
        b, b_stride = self._pick(first, self.b_in_place, self.b, "ptr"), self._pick(first, "%ldb", str(t.width))
        types = ["ptr", "ptr", "ptr", "i64", "i64", "i64", "i1"]
        values = [a, b, self.tile, self.kc, a_stride, b_stride, self.again]
        others = self._both(self._is("sgt", rest, str(t.rows)), f.binary("xor", "i1", self.few, "true"))
        copying = self._both(first, others)
        plain = f.binary("xor", "i1", copying, "true")
        asking = self._both(self._both(plain, self.asks), self._is("eq", height, str(t.rows)))
        with f.when(copying):
            self._call(self._field("ptr", _COPYING), [*types, "ptr"], [*values, self.b])
        with f.when(asking):
            with f.when(self.final):
                ask_rest(f, t, self.kc)
            self._call(kernel, [*types, "ptr", "i64"], [*values, *table_or_idle(f, self.final)])
        with f.when(self._both(plain, f.binary("xor", "i1", asking, "true"))):
            number = f.binary("udiv", "i64", self._sub(row, self.ic), str(t.rows))
            soon = lines_of_panel(f, t, self.next_panel, self.next_row, number, self.b)
            self._call(kernel, [*types, "ptr", "i64"], [*values, *soon])
        following = f.add(start, height)
        with f.when(self.final):
            sums = self._at(self.tile, f.mul(self._sub(row, start), str(t.width)))
            self._finish(sums, str(t.width), row, self._sub(following, row), self.column, self.tile_columns)
        return following
