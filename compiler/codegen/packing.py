"""Packers: they copy blocks of the operands of a matrix product into the order in which the micro-kernels read."""

from __future__ import annotations

from kgraph.compiler.codegen.emitter import Function, Module, vector_of
from kgraph.compiler.codegen.target import Target
from kgraph.compiler.codegen.tiles import Tiling, undefined

# Rows copied per round by `pack_a`, so that every stream of stores fills whole cache lines.
_ROWS_PER_ROUND = 8
_B_ROWS = 4


def pack_a(module: Module, target: Target, t: Tiling) -> str:
    """Name of the packer of A stored [k, m]; written into the module on first use.

    void pack(ptr src, ptr dst, i64 k, i64 ld, i64 panels, i64 panel):
    dst[q * panel + p * rows + i] = src[p * ld + q * rows + i] for q < panels, p < k, i < rows (the tallest tile).
    """
    name = f"matmul.pack_a.{t.name}"
    if not undefined(module, name):
        return name
    sizes = [("i64", size) for size in ("k", "ld", "panels", "panel")]
    params = [("ptr noalias", "src"), ("ptr noalias", "dst"), *sizes]
    f = Function(module, name, params, attributes=target.function_attributes())
    piece = vector_of(t.element, t.rows)
    whole = f.binary("and", "i64", "%k", str(-_ROWS_PER_ROUND))
    for start, stop, step in (("0", whole, _ROWS_PER_ROUND), (whole, "%k", 1)):
        with f.loop(start, stop, str(step)) as p:
            source = f.gep(t.element, "%src", f.mul(p.index, "%ld"))
            out = f.gep(t.element, "%dst", f.mul(p.index, str(t.rows)))
            with f.loop("0", "%panels", carried=[("ptr", source), ("ptr", out)]) as q:
                row = q.carried[0]
                for r in range(step):
                    value = f.load(piece, row, t.bytes)
                    f.store(piece, value, f.gep(t.element, q.carried[1], str(r * t.rows)), t.bytes)
                    row = f.gep(t.element, row, "%ld")
                q.next = [f.gep(t.element, q.carried[0], str(t.rows)), f.gep(t.element, q.carried[1], "%panel")]
    f.finish()
    return name


def pack_b(module: Module, target: Target, t: Tiling, transposed: bool) -> str:
    """Name of the packer of B stored [k, n], or [n, k] if `transposed`; written into the module on first use.

    void pack(ptr src, ptr dst, i64 k, i64 n, i64 ld, i64 panel):
    dst[q * panel + p * width + j] = B[p, q * width + j] for all panels q with a column below n, p < k, j < width.
    Columns from n on get arbitrary finite copies or zeros; the kernels compute with them and nobody reads the sums.
    """
    name = f"matmul.pack_b.{t.name}.{'t' if transposed else 'n'}"
    if undefined(module, name):
        sizes = [("i64", size) for size in ("k", "n", "ld", "panel")]
        params = [("ptr noalias", "src"), ("ptr noalias", "dst"), *sizes]
        f = Function(module, name, params, attributes=target.function_attributes())
        if transposed:
            _pack_transposed(f, t)
        else:
            _pack_rows(f, t)
            _pack_last_columns(f, target, t)
        f.finish()
    return name


def _pack_rows(f: Function, t: Tiling) -> None:
    """Copy the whole panels of a B stored [k, n], reading along the rows."""
    columns = f.binary("sub", "i64", "%n", f.binary("srem", "i64", "%n", str(t.width)))
    whole = f.binary("and", "i64", "%k", str(-_B_ROWS))
    for start, stop, step in (("0", whole, _B_ROWS), (whole, "%k", 1)):
        with f.loop(start, stop, str(step)) as p:
            source = f.gep(t.element, "%src", f.mul(p.index, "%ld"))
            out = f.gep(t.element, "%dst", f.mul(p.index, str(t.width)))
            with f.loop("0", columns, str(t.width), carried=[("ptr", out)]) as j:
                row = f.gep(t.element, source, j.index)
                for r in range(step):
                    for v in range(t.vectors):
                        value = f.load(t.vector, f.gep(t.element, row, str(v * t.lanes)), t.bytes)
                        to = f.gep(t.element, j.carried[0], str(r * t.width + v * t.lanes))
                        f.store(t.vector, value, to, t.vector_bytes)
                    row = f.gep(t.element, row, "%ld")
                j.next = [f.gep(t.element, j.carried[0], "%panel")]


def _pack_last_columns(f: Function, target: Target, t: Tiling) -> None:
    """Copy the columns after the whole panels of a B stored [k, n], if there are any."""
    count = f.binary("srem", "i64", "%n", str(t.width))
    first = f.binary("sub", "i64", "%n", count)
    out = f.gep(t.element, "%dst", f.mul(f.binary("sdiv", "i64", first, str(t.width)), "%panel"))
    with (
        f.when(f.binary("icmp sgt", "i64", count, "0")),
        f.loop("0", "%k") as p,
    ):
        source = f.gep(t.element, f.gep(t.element, "%src", first), f.mul(p.index, "%ld"))
        to = f.gep(t.element, out, f.mul(p.index, str(t.width)))
        if target.masked:
            for v in range(t.vectors):
                mask = lanes_below(f, t, f.add(count, str(-v * t.lanes)))
                value = f.masked_load(t.vector, f.gep(t.element, source, str(v * t.lanes)), t.bytes, mask)
                f.store(t.vector, value, f.gep(t.element, to, str(v * t.lanes)), t.vector_bytes)
        else:
            last = f.add(count, "-1")
            with f.loop("0", str(t.width)) as j:
                column = f.intrinsic("smin", "i64", j.index, last)
                value = f.load(t.element, f.gep(t.element, source, column), t.bytes)
                f.store(t.element, value, f.gep(t.element, to, j.index), t.bytes)


def lanes_below(f: Function, t: Tiling, count: str) -> str:
    """A mask of the lanes whose number is below the i64 `count`, which may be negative or more than the lanes."""
    lane = f"i{8 * t.bytes}"
    narrow = f.cast("trunc", "i64", count, lane) if lane != "i64" else count
    numbers = ", ".join(f"{lane} {i}" for i in range(t.lanes))
    ty = vector_of(lane, t.lanes)
    return f.binary("icmp slt", ty, f"<{numbers}>", f.splat_value(ty, narrow))


def _pack_transposed(f: Function, t: Tiling) -> None:
    """Copy a B stored [n, k], `lanes` rows and as many columns at a time as a 128-bit block has elements.

    Blocks of rows that are as far apart make a vector, so that nothing is left but to transpose square 128-bit blocks.
    Rows from n on repeat the last row. The last columns are moved back so that they end at k.
    """
    group = 16 // t.bytes
    last, back = f.add("%n", "-1"), f.add("%k", str(-group))
    squares = f.binary("icmp sge", "i64", "%k", str(group))
    square_end, short = f.select("i1", squares, "i64", "%k", "0"), f.select("i1", squares, "i64", "0", "%k")
    whole = f.add("%n", str(t.width - 1))
    whole = f.binary("sub", "i64", whole, f.binary("srem", "i64", whole, str(t.width)))
    with f.loop("0", whole, str(t.lanes)) as j:
        at = [f.intrinsic("smin", "i64", f.add(j.index, str(i)), last) for i in range(t.lanes)]
        rows = [f.gep(t.element, "%src", f.mul(i, "%ld")) for i in at]
        inside = f.binary("srem", "i64", j.index, str(t.width))
        panel = f.mul(f.binary("sdiv", "i64", j.index, str(t.width)), "%panel")
        out = f.gep(t.element, "%dst", f.add(panel, inside))
        with f.loop("0", square_end, str(group)) as p:
            start = f.intrinsic("smin", "i64", p.index, back)
            to = f.gep(t.element, out, f.mul(start, str(t.width)))
            loaded = [_joined(f, t, rows[i::group], start) for i in range(group)]
            for i, value in enumerate(_transpose_blocks(f, t, loaded)):
                f.store(t.vector, value, f.gep(t.element, to, str(i * t.width)), t.vector_bytes)
        with f.loop("0", short) as p:
            to = f.gep(t.element, out, f.mul(p.index, str(t.width)))
            for i, row in enumerate(rows):
                value = f.load(t.element, f.gep(t.element, row, p.index), t.bytes)
                f.store(t.element, value, f.gep(t.element, to, str(i)), t.bytes)


def _joined(f: Function, t: Tiling, rows: list[str], start: str) -> str:
    """A vector of 128-bit blocks, one of each row."""
    lanes = 16 // t.bytes
    parts = [f.load(vector_of(t.element, lanes), f.gep(t.element, row, start), t.bytes) for row in rows]
    while len(parts) > 1:
        order = ", ".join(f"i32 {i}" for i in range(2 * lanes))
        ty = vector_of(t.element, lanes)
        parts = [
            f.assign(f"shufflevector {ty} {a}, {ty} {b}, <{2 * lanes} x i32> <{order}>")
            for a, b in zip(parts[::2], parts[1::2], strict=True)
        ]
        lanes *= 2
    return parts[0]


def _transpose_blocks(f: Function, t: Tiling, rows: list[str]) -> list[str]:
    """Transpose the square 128-bit blocks of two or four rows."""
    if len(rows) == 2:
        return list(_interleave(f, t, rows[0], rows[1]))
    even, odd = _interleave(f, t, rows[0], rows[2]), _interleave(f, t, rows[1], rows[3])
    return [*_interleave(f, t, even[0], odd[0]), *_interleave(f, t, even[1], odd[1])]


def _interleave(f: Function, t: Tiling, a: str, b: str) -> tuple[str, str]:
    """Lanes of a and b in turn, from the lower and from the upper half of every 128-bit block."""
    group = 16 // t.bytes
    halves = []
    for half in range(2):
        order = [
            block + half * group // 2 + i // 2 + (i % 2) * t.lanes
            for block in range(0, t.lanes, group)
            for i in range(group)
        ]
        halves.append(_shuffle(f, t, a, b, order))
    return halves[0], halves[1]


def _shuffle(f: Function, t: Tiling, a: str, b: str, order: list[int]) -> str:
    lanes = ", ".join(f"i32 {i}" for i in order)
    return f.assign(f"shufflevector {t.vector} {a}, {t.vector} {b}, <{t.lanes} x i32> <{lanes}>")
