"""Register tiles and cache blocks of the matrix kernels, and the micro-kernels that fill one tile."""

from __future__ import annotations

from collections.abc import Sequence

from kgraph.compiler.codegen.emitter import Function, Module, vector_of
from kgraph.compiler.codegen.target import Target
from kgraph.ir.dims import Dim
from kgraph.record import record

# Steps of k per round of a micro-kernel: enough to hide the loop, and half the code of four.
UNROLL = 2
# Rows of an A stored [m, k] that share a pointer register.
_GROUP = 3
# Rows of B that a micro-kernel asks for ahead. Where B is read in place, its rows are farther apart than the hardware
# looks ahead for; packed rows come sooner, too.
_ROWS_AHEAD = 12
CACHE_LINE = 64

# Further parameters of a micro-kernel that adds up several products, of one that leaves a packed copy of B, of one that
# asks for what the epilogue will read, and of all others.
SEGMENTS = (("i64", "segments"), ("i64", "next_a"), ("i64", "next_b"))
COPY = (("ptr", "copy"),)
ASKS = (("ptr", "asks"), ("i64", "next_ask"))
SOON = (("ptr", "soon"), ("i64", "next_soon"))

# Tile heights (tallest first) and vectors per tile row. Tall tiles of two vectors keep loads per multiply low and
# still leave registers for the operands; the lower heights serve the last rows.
_SHAPES = {
    "avx512": ((12, 8, 4, 2), 2),
    "avx2": ((6, 4, 2), 2),
    "sse2": ((4, 2), 2),
    "neon": ((8, 4, 2), 3),
}
# Bytes of a block of A; processors with AVX-512 have second-level caches of 1 MiB and more.
_A_BLOCKS = {"avx512": 512 << 10, "avx2": 192 << 10, "sse2": 192 << 10, "neon": 192 << 10}


@record
class Tiling:
    """Sizes that the matrix kernels of one element type use on one target, in elements.

    Attributes:
        element: "float" or "double".
        bytes: size of one element.
        lanes: elements of one vector register.
        heights: rows of the register tiles, tallest first.
        vectors: vectors of one tile row.
        strip: outputs that a matrix-vector kernel computes at once (a multiple of the lanes).
        depth: largest k that one pass covers (a multiple of `UNROLL`).
        packed_depth: the same where A is packed and sums are few, or collected: a panel of B and a tile of A then fit
            the first-level cache.
        a_block: size of the block of A that should stay in the second-level cache.
        window_rows: the same for a block of A that was collected from windows.
        b_block: size of the packed block of B.
        partial: size of the block of unfinished sums kept between passes.
        window_block: both of these sizes for products over windows.
    """

    element: str
    bytes: int
    lanes: int
    heights: tuple[int, ...]
    vectors: int
    strip: int
    depth: int
    packed_depth: int
    a_block: int
    window_rows: int
    b_block: int
    partial: int
    window_block: int

    @property
    def name(self) -> str:
        """Part of the names of functions that are written for these tiles."""
        return f"{self.element}.{self.width}"

    @property
    def rows(self) -> int:
        """Rows of the tallest tile."""
        return self.heights[0]

    @property
    def width(self) -> int:
        """Columns of every tile."""
        return self.vectors * self.lanes

    @property
    def vector(self) -> str:
        """LLVM type of one vector register."""
        return vector_of(self.element, self.lanes)

    @property
    def vector_bytes(self) -> int:
        """Size of one vector register."""
        return self.lanes * self.bytes


def tiling(target: Target, element: str, columns: Dim | None = None) -> Tiling:
    """The sizes for `element` ("float" or "double") on `target`.

    Products of so few `columns` that they fit one vector get tiles of one vector a row.
    """
    size = {"float": 4, "double": 8}[element]
    heights, vectors = _SHAPES[target.isa]
    if isinstance(columns, int) and columns <= target.lanes(8 * size):
        vectors = 1
    return Tiling(
        element=element,
        bytes=size,
        lanes=target.lanes(8 * size),
        heights=heights,
        vectors=vectors,
        strip=2048 // size,
        depth=4096 // size,
        packed_depth=1024 // size,
        a_block=_A_BLOCKS[target.isa] // size,
        window_rows=(192 << 10) // size,
        b_block=(8 << 20) // size,
        partial=(16 << 20) // size,
        window_block=(2 << 20) // size,
    )


def undefined(module: Module, name: str) -> bool:
    """Whether a shared function called `name` still has to be written."""
    start = f"define internal void @{name}("
    return not any(text.startswith(start) for text in module.functions)


def ask_for(f: Function, pointer: str, size: int) -> None:
    """Ask for `size` bytes of memory, so that they lie in the first-level cache when they are read."""
    for line in range(0, size, CACHE_LINE):
        f.prefetch(f.gep("i8", pointer, str(line)))


def micro_kernel(
    module: Module, target: Target, t: Tiling, rows: int, row_major: bool, segmented: bool = False,
    copying: bool = False, asking: bool = False,
) -> str:  # fmt: skip
    """Name of the kernel that computes one tile of `rows` rows; written into the module on first use.

    void kernel(ptr a, ptr b, ptr tile, i64 k, i64 sa, i64 sb, i1 accumulate) computes
    tile[i, j] = (accumulate ? tile[i, j] : 0) + sum over p < k of A[i, p] * b[p * sb + j], i < rows, j < width,
    with A[i, p] = a[i * sa + p] if `row_major`, else a[p * sa + i]. The tile is contiguous and vector aligned.
    If `segmented` it takes i64 segments, i64 next_a, i64 next_b besides, and adds up that many such products, whose
    operands start at a + s * next_a and b + s * next_b (a batch-reduce product). If `copying` it takes a vector aligned
    ptr copy besides, and stores b[p * sb + j] to copy[p * width + j]: what `pack_b` would have written. If `asking` it
    takes ptr asks, i64 next_ask besides: in each round of `UNROLL` steps of k it asks for `width` elements at the
    pointer that stands at `asks`, and that place moves on by `next_ask` bytes. If none of these, it takes ptr soon, i64
    next_soon: in each round it asks for the line at `soon`, from the second-level cache on, which moves on likewise.
    """
    extras = "s" * segmented + "c" * copying + "a" * asking
    name = f"matmul.tile.{t.name}.{rows}{'r' if row_major else 'k'}{extras}"
    if undefined(module, name):
        _MicroKernel(module, target, t, rows, row_major, segmented, copying, asking).write(name)
    return name


class _MicroKernel:
    """Writes one micro-kernel; see `micro_kernel`."""

    def __init__(
        self, module: Module, target: Target, t: Tiling, rows: int, row_major: bool, segmented: bool, copying: bool,
        asking: bool,
    ) -> None:  # fmt: skip
        self.module, self.target, self.t, self.rows, self.row_major = module, target, t, rows, row_major
        self.segmented, self.copying, self.asking = segmented, copying, asking

    def write(self, name: str) -> None:
        """Write the function."""
        t = self.t
        params = [("ptr", "a"), ("ptr", "b"), ("ptr", "tile"), ("i64", "k"), ("i64", "sa"), ("i64", "sb")]
        params += [("i1", "accumulate"), *(SEGMENTS if self.segmented else ()), *(COPY if self.copying else ())]
        plain = not (self.segmented or self.copying or self.asking)
        params += ASKS if self.asking else SOON if plain else ()
        # A further pointer that moves on, and by how much in a round.
        self.onward = "%next_ask" if self.asking else "%next_soon" if plain else str(t.width * t.bytes)
        others = ["%asks"] if self.asking else ["%soon"] if plain else ["%copy"] if self.copying else []
        f = Function(self.module, name, params, attributes=self.target.function_attributes())
        self.a_stride = [f.mul(f.mul("%sa", str(t.bytes)), str(i)) for i in range(UNROLL)]
        self.b_stride = [f.mul(f.mul("%sb", str(t.bytes)), str(i)) for i in range(UNROLL)]
        self.row_distance = [f.mul(self.a_stride[1], str(i)) for i in range(_GROUP)]
        self.group_distance = f.mul(self.a_stride[1], str(_GROUP))
        self.ahead = f.mul(self.b_stride[1], str(_ROWS_AHEAD))
        start = self._first_sums(f)
        self._store(f, self._segments(f, start) if self.segmented else self._segment(f, start, "%a", "%b", others))
        f.finish()

    def _segment(self, f: Function, acc: list[str], a: str, b: str, others: Sequence[str] = ()) -> list[str]:
        """Add the products of one segment to the accumulators; `others` are pointers that move on with k, as A and B.

        A kernel that copies runs for one tile of a panel only, and has no registers left for a second step of k.
        """
        t, count = self.t, len(acc)
        steps = 1 if self.copying else UNROLL
        a_step = str(steps * t.bytes) if self.row_major else f.mul(self.a_stride[1], str(steps))
        b_step = f.mul(self.b_stride[1], str(steps))
        groups: list[str] = []

        def step(u: int, values: list[str]) -> list[str]:
            sums, (a, b, *others) = values[:count], values[count:]
            if u == 0:
                groups[:] = self._row_groups(f, a)
                if self.asking:
                    ask_for(f, f.load("ptr", others[0], 8), t.width * t.bytes)
                elif others and not self.copying:
                    f.prefetch(others[0], level=2)
            self._products(f, sums, groups, f.gep("i8", b, self.b_stride[u]), u, others if self.copying else [])
            if u < steps - 1:
                return [*sums, a, b, *others]
            others = [f.gep("i8", pointer, self.onward) for pointer in others]
            return [*sums, f.gep("i8", a, a_step), f.gep("i8", b, b_step), *others]

        carried = [(t.vector, value) for value in acc] + [("ptr", pointer) for pointer in (a, b, *others)]
        return f.repeat("%k", steps, carried, step)[:count]

    def _segments(self, f: Function, start: list[str]) -> list[str]:
        t, count = self.t, len(start)
        first = [*zip([t.vector] * count, start, strict=True), ("ptr", "%a"), ("ptr", "%b")]
        with f.loop("0", "%segments", carried=first) as loop:
            acc, (a, b) = loop.carried[:count], loop.carried[count:]
            done = self._segment(f, acc, a, b)
            loop.next = [*done, f.gep(t.element, a, "%next_a"), f.gep(t.element, b, "%next_b")]
        return loop.results[:count]

    def _first_sums(self, f: Function) -> list[str]:
        """Accumulators before the loop: the tile's content or zeros."""
        t, count = self.t, self.rows * self.t.vectors
        again, ready = f.label("again"), f.label("ready")
        f.branch_if("%accumulate", again, ready)
        f.start_block(again)
        loaded = [f.load(t.vector, f.gep(t.element, "%tile", str(i * t.lanes)), t.vector_bytes) for i in range(count)]
        f.branch(ready)
        f.start_block(ready)
        return [f.assign(f"phi {t.vector} [ zeroinitializer, %entry ], [ {old}, %{again} ]") for old in loaded]

    def _row_groups(self, f: Function, a: str) -> list[str]:
        """Pointers to the first rows of A's row groups; one pointer per row would take too many registers.

        The freezes, written in every round, hide that the rows are evenly spaced: LLVM's strength reduction would
        otherwise keep a pointer for every row, or derive each address from the one before and, loading them all at the
        start of the round, run out of vector registers.
        """
        groups = [a]
        for _ in range(_GROUP, self.rows if self.row_major else 0, _GROUP):
            groups.append(f.assign(f"freeze ptr {f.gep('i8', groups[-1], self.group_distance)}"))
        return groups

    def _products(self, f: Function, acc: list[str], a: list[str], b: str, u: int, copy: list[str]) -> None:
        """One step of k: every row's element times the row of B, added to `acc` in place."""
        t = self.t
        row = [f.load(t.vector, f.gep(t.element, b, str(v * t.lanes)), t.bytes) for v in range(t.vectors)]
        ask_for(f, f.gep("i8", b, self.ahead), t.width * t.bytes)
        for to in copy:
            for v in range(t.vectors):
                f.store(t.vector, row[v], f.gep(t.element, to, str(v * t.lanes)), t.vector_bytes)
        for i in range(self.rows):
            if self.row_major:
                pointer = f.gep(t.element, f.gep("i8", a[i // _GROUP], self.row_distance[i % _GROUP]), str(u))
            else:
                pointer = f.gep(t.element, f.gep("i8", a[0], self.a_stride[u]), str(i))
            scalar = f.splat_value(t.vector, f.load(t.element, pointer, t.bytes))
            for v in range(t.vectors):
                at = i * t.vectors + v
                acc[at] = f.multiply_add(t.vector, scalar, row[v], acc[at], fused=self.target.has_fma)

    def _store(self, f: Function, values: list[str]) -> None:
        t = self.t
        for i in range(self.rows * t.vectors):
            f.store(t.vector, values[i], f.gep(t.element, "%tile", str(i * t.lanes)), t.vector_bytes)
