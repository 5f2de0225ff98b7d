"""Products with one column or very few rows: matrix-vector kernels that read the matrix once, in place."""

from __future__ import annotations

from kgraph.compiler.codegen.emitter import Function, Module
from kgraph.compiler.codegen.packing import lanes_below
from kgraph.compiler.codegen.target import Target
from kgraph.compiler.codegen.tiles import Tiling, undefined

# Rows of the matrix that are read side by side.
_DOT_ROWS = 4
_AXPY_ROWS = 4

_PARAMS = [
    ("ptr", "matrix"), ("ptr", "x"), ("ptr", "out"), ("i64", "k"), ("i64", "ld"), ("i64", "xs"), ("i64", "count"),
]  # fmt: skip


def dot_kernel(module: Module, target: Target, t: Tiling) -> str:
    """Name of the kernel for a matrix whose rows are summed up; written into the module on first use.

    void kernel(ptr matrix, ptr x, ptr out, i64 k, i64 ld, i64 xs, i64 count) computes
    out[i] = sum over p < k of matrix[i * ld + p] * x[p * xs], i < count. It is fast for xs = 1.
    """
    name = f"matmul.dot.{t.element}"
    if not undefined(module, name):
        return name
    f = Function(module, name, _PARAMS, attributes=target.function_attributes())
    last = f.add("%count", "-1")
    contiguous = f.binary("icmp eq", "i64", "%xs", "1")
    whole = f.select("i1", contiguous, "i64", f.binary("and", "i64", "%k", str(-2 * t.lanes)), "0")
    with f.loop("0", "%count", str(_DOT_ROWS)) as block:
        at = [f.intrinsic("smin", "i64", f.add(block.index, str(i)), last) for i in range(_DOT_ROWS)]
        rows = [f.gep(t.element, "%matrix", f.mul(i, "%ld")) for i in at]
        sums = _dot_vectors(f, target, t, rows, whole)
        with f.loop(whole, "%k", "1", carried=[(t.element, s) for s in sums]) as tail:
            x = f.load(t.element, f.gep(t.element, "%x", f.mul(tail.index, "%xs")), t.bytes)
            items = [f.load(t.element, f.gep(t.element, row, tail.index), t.bytes) for row in rows]
            tail.next = [
                f.multiply_add(t.element, item, x, s, fused=target.has_fma)
                for item, s in zip(items, tail.carried, strict=True)
            ]
        for i, total in zip(at, tail.results, strict=True):
            f.store(t.element, total, f.gep(t.element, "%out", i), t.bytes)
    f.finish()
    return name


def _dot_vectors(f: Function, target: Target, t: Tiling, rows: list[str], whole: str) -> list[str]:
    """Sums of the products at p < `whole` for each row, two vectors per round."""
    start = [(t.vector, "zeroinitializer")] * (2 * len(rows))
    with f.loop("0", whole, str(2 * t.lanes), carried=start) as loop:
        following = []
        for half in range(2):
            index = f.add(loop.index, str(half * t.lanes))
            x = f.load(t.vector, f.gep(t.element, "%x", index), t.bytes)
            for i, row in enumerate(rows):
                item = f.load(t.vector, f.gep(t.element, row, index), t.bytes)
                old = loop.carried[half * len(rows) + i]
                following.append(f.multiply_add(t.vector, item, x, old, fused=target.has_fma))
        loop.next = following
    pairs = zip(loop.results[: len(rows)], loop.results[len(rows) :], strict=True)
    return [_sum_lanes(f, t, f.binary("fadd", t.vector, a, b)) for a, b in pairs]


def _sum_lanes(f: Function, t: Tiling, value: str) -> str:
    """Sum of all lanes, halving the vector each time."""
    distance = t.lanes // 2
    while distance:
        order = ", ".join(f"i32 {(lane + distance) % t.lanes}" for lane in range(t.lanes))
        other = f.assign(f"shufflevector {t.vector} {value}, {t.vector} poison, <{t.lanes} x i32> <{order}>")
        value = f.binary("fadd", t.vector, value, other)
        distance //= 2
    return f.assign(f"extractelement {t.vector} {value}, i64 0")


def axpy_kernel(module: Module, target: Target, t: Tiling) -> str:
    """Name of the kernel for a matrix whose columns are summed up; written into the module on first use.

    void kernel(ptr matrix, ptr x, ptr out, i64 k, i64 ld, i64 xs, i64 count) computes
    out[j] = sum over p < k of matrix[p * ld + j] * x[p * xs], j < count <= strip. `out` (vector aligned) stays in the
    first-level cache while the rows of the matrix stream by.
    """
    name = f"matmul.axpy.{t.element}"
    if not undefined(module, name):
        return name
    f = Function(module, name, _PARAMS, attributes=target.function_attributes())
    whole = f.binary("and", "i64", "%count", str(-t.lanes))
    with f.loop("0", "%count", str(t.lanes)) as j:
        f.store(t.vector, "zeroinitializer", f.gep(t.element, "%out", j.index), t.vector_bytes)
    rounds = f.binary("and", "i64", "%k", str(-_AXPY_ROWS))
    for start, stop, step in (("0", rounds, _AXPY_ROWS), (rounds, "%k", 1)):
        with f.loop(start, stop, str(step)) as p:
            rows = [f.gep(t.element, "%matrix", f.mul(f.add(p.index, str(r)), "%ld")) for r in range(step)]
            factors = [
                f.load(t.element, f.gep(t.element, "%x", f.mul(f.add(p.index, str(r)), "%xs")), t.bytes)
                for r in range(step)
            ]
            vectors = [f.splat_value(t.vector, x) for x in factors]
            with f.loop("0", whole, str(t.lanes)) as j:
                _axpy(f, target, t, t.vector, rows, vectors, j.index)
            _axpy_edge(f, target, t, rows, factors, whole)
    f.finish()
    return name


def _axpy(f: Function, target: Target, t: Tiling, ty: str, rows: list[str], factors: list[str], at: str) -> None:
    """Add the rows' elements at `at`, times their factors, to `out`."""
    out = f.gep(t.element, "%out", at)
    total = f.load(ty, out, t.bytes)
    for row, factor in zip(rows, factors, strict=True):
        item = f.load(ty, f.gep(t.element, row, at), t.bytes)
        total = f.multiply_add(ty, item, factor, total, fused=target.has_fma)
    f.store(ty, total, out, t.bytes)


def _axpy_edge(f: Function, target: Target, t: Tiling, rows: list[str], factors: list[str], whole: str) -> None:
    """The same for the elements after the last whole vector; one at a time without masked instructions."""
    if not target.masked:
        with f.loop(whole, "%count") as j:
            _axpy(f, target, t, t.element, rows, factors, j.index)
        return
    with f.when(f.binary("icmp slt", "i64", whole, "%count")):
        mask = lanes_below(f, t, f.binary("sub", "i64", "%count", whole))
        out = f.gep(t.element, "%out", whole)
        total = f.load(t.vector, out, t.vector_bytes)
        for row, factor in zip(rows, factors, strict=True):
            item = f.masked_load(t.vector, f.gep(t.element, row, whole), t.bytes, mask)
            total = f.multiply_add(t.vector, item, f.splat_value(t.vector, factor), total, fused=target.has_fma)
        f.store(t.vector, total, out, t.vector_bytes)
