"""Matrix product code: results against NumPy in float64, memory outside the operands, and the assembly of the loops."""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import itertools
import mmap
import re
import sys

import llvmlite.binding as llvm
import numpy as np
import pytest
from matmul_jit import DTYPES, EXTRA, Products, emit, store

from kgraph.compiler.codegen.emitter import Function, Module, splat
from kgraph.compiler.codegen.matmul import MatmulSpec, emit_matmul, scratch_bytes
from kgraph.compiler.codegen.target import host, named
from kgraph.compiler.codegen.tiles import tiling

Array = np.ndarray
# The code for machines that are not here runs too: LLVM splits or shrinks its vectors to what AVX2 has.
_AVX2 = named("x86-64-v3")
TARGETS = {
    "host": host(),
    "x86-64": named("x86-64"),
    "x86-64-v3": _AVX2,
    "like x86-64-v4": dataclasses.replace(_AVX2, isa="avx512", vector_bits=512),
    "like aarch64": dataclasses.replace(_AVX2, isa="neon", vector_bits=128, masked=False),
}
RUNNABLE = list(TARGETS) if host().isa in ("avx2", "avx512") else ["host"]
ALL_TARGETS = ["x86-64", "x86-64-v3", "x86-64-v4", "aarch64"]
SPECS = [MatmulSpec(e, ta, tb) for e in DTYPES for ta in (False, True) for tb in (False, True)]


@functools.cache
def products(name: str) -> Products:
    """All kinds of product for one target; they add to C, so that a sum handed over twice shows."""
    return Products(TARGETS[name], SPECS, store(accumulate=True))


def stored(rng: np.random.Generator, shape: tuple[int, int], dtype: np.dtype, pad: int) -> Array:
    """A random matrix whose rows are followed by `pad` NaNs."""
    whole = np.full((shape[0], shape[1] + pad), np.nan, dtype)
    whole[:, : shape[1]] = rng.standard_normal(shape)
    return whole[:, : shape[1]]


def bound(k: int, dtype: np.dtype, magnitudes: Array) -> Array:
    """Error of a sum of k rounded terms in any order: gamma_k |A||B| (Higham, Accuracy and Stability, section 3.1)."""
    u = np.finfo(dtype).eps / 2
    return k * u / (1 - k * u) * magnitudes


def check(target: str, spec: MatmulSpec, m: int, n: int, k: int, pad: int, rng: np.random.Generator) -> None:
    """Compare one product, and what surrounds C, with NumPy."""
    dtype = DTYPES[spec.element]
    a = stored(rng, (k, m) if spec.transpose_a else (m, k), dtype, pad)
    b = stored(rng, (n, k) if spec.transpose_b else (k, n), dtype, pad)
    whole = np.full((m + 2, n + 3), 7.5, dtype)
    before = whole[1 : m + 1, 1 : n + 1] = rng.standard_normal((m, n))
    products(target)(spec, a, b, whole[1 : m + 1, 1 : n + 1], k)
    left = (a.T if spec.transpose_a else a).astype(np.float64)
    right = (b.T if spec.transpose_b else b).astype(np.float64)
    before = before.astype(dtype).astype(np.float64)
    error = np.abs(whole[1 : m + 1, 1 : n + 1] - (before + left @ right))
    limit = bound(k + 1, dtype, np.abs(before) + np.abs(left) @ np.abs(right))
    if dtype == np.float64:
        limit = 2 * limit  # the reference has the same error
    assert (error <= limit).all(), (target, spec, m, n, k, pad, np.argwhere(~(error <= limit))[:4])
    whole[1 : m + 1, 1 : n + 1] = 7.5
    assert (whole == 7.5).all(), (target, spec, m, n, k, pad)


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("target", RUNNABLE)
def test_small_products(target: str, spec: MatmulSpec, rng: np.random.Generator) -> None:
    """All mixtures of sizes around the tile heights, tile widths and vector lengths, with and without row padding."""
    sizes = itertools.product([0, 1, 2, 3, 4, 5, 6, 7, 11, 13, 17], [0, 1, 2, 7, 8, 15, 16, 17, 33], [0, 1, 3, 8, 17])
    for count, (m, n, k) in enumerate(sizes):
        check(target, spec, m, n, k, 5 * (count % 2), rng)


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("target", RUNNABLE)
def test_blocked_products(target: str, spec: MatmulSpec, rng: np.random.Generator) -> None:
    """Sizes that need several blocks of A, B and C, and several passes over k."""
    t = tiling(TARGETS[target], spec.element)
    wide = t.b_block // t.depth + t.width + 3
    edge, sums = 5 * t.width + 3, (1 << 20) // t.bytes
    sizes = [
        (t.rows, t.width, t.depth), (t.rows + 1, t.width + 1, t.depth + 1), (2, 3, 2 * t.depth + 5),
        (1, t.strip + 9, 40), (t.strip + 9, 1, 40), (90, 70, 3 * t.depth - 1), (150, 33, 200), (7, wide, t.depth + 20),
        (t.partial // wide + 5, wide // 8, t.depth + 3),
        # Tiles that all read B in place, one more than that, and panels packed by the way for a second block of rows.
        (2 * t.rows, 2 * t.width + 3, t.depth + 9), (2 * t.rows + 1, 3 * t.width + 5, 200),
        (t.a_block // 600 + t.rows, 2 * t.width + 3, 600),
        # Rows of A multiples of 4 KiB apart are copied: blocks of them, a last tile that is moved back, few rows.
        (t.a_block // t.depth + t.rows + 1, 5 * t.width + 3, t.depth), (5, 5 * t.width, t.depth),
        (3 * t.rows + 5, 5 * t.width, 2 * t.depth),
        # A that is packed: blocks of rows, passes, and rows that the last tile shares with the one before.
        (t.a_block // t.packed_depth + t.rows + 1, 2 * t.width, t.packed_depth),
        (t.rows + 1, t.width + 1, t.packed_depth + 1), (90, 70, 3 * t.packed_depth - 1),
        # Sums that are too many for the cache: a tile of rows meets all panels before the next; few rows, too.
        (sums // edge + 5, edge, 150), (2 * t.rows, sums // (2 * t.rows) + 1, 1),
    ]  # fmt: skip
    for m, n, k in sizes:
        check(target, spec, m, n, k, 0, rng)


@pytest.mark.skipif(sys.platform != "linux", reason="protects pages by mprotect")
@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("target", RUNNABLE)
def test_nothing_is_read_past_the_operands(target: str, spec: MatmulSpec, rng: np.random.Generator) -> None:
    """A and B end where a page without access starts: one byte read too far kills the process."""
    dtype = DTYPES[spec.element]
    for m, n, k in itertools.product([1, 3, 4, 5, 7, 13], [1, 5, 16, 19], [1, 7, 9]):
        with Protected(m * k * dtype.itemsize) as a_memory, Protected(k * n * dtype.itemsize) as b_memory:
            a = a_memory.array(dtype).reshape((k, m) if spec.transpose_a else (m, k))
            b = b_memory.array(dtype).reshape((n, k) if spec.transpose_b else (k, n))
            a[:], b[:] = rng.integers(-8, 8, a.shape), rng.integers(-8, 8, b.shape)
            c = np.zeros((m, n), dtype)
            products(target)(spec, a, b, c, k)
            want = (a.T if spec.transpose_a else a) @ (b.T if spec.transpose_b else b)
            np.testing.assert_array_equal(c, want)  # small integers: exact in any order
            del a, b


class Protected:
    """Memory of `size` bytes that is followed by a page without access."""

    def __init__(self, size: int) -> None:
        pages = -(-size // mmap.PAGESIZE)
        self.start, self.size = pages * mmap.PAGESIZE - size, size
        self.memory = mmap.mmap(-1, (pages + 1) * mmap.PAGESIZE)
        self.guard = np.frombuffer(self.memory, np.uint8).ctypes.data + pages * mmap.PAGESIZE

    def protect(self, access: int) -> None:
        """Set what may be done with the guard page."""
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.mprotect(ctypes.c_void_p(self.guard), ctypes.c_size_t(mmap.PAGESIZE), access) == 0

    def array(self, dtype: np.dtype) -> Array:
        """The memory as numbers."""
        return np.frombuffer(self.memory, dtype, self.size // dtype.itemsize, self.start)

    def __enter__(self) -> Protected:
        self.protect(0)
        return self

    def __exit__(self, *_: object) -> None:
        self.protect(mmap.PROT_READ | mmap.PROT_WRITE)


@pytest.mark.parametrize("target", RUNNABLE)
def test_epilogue_with_bias_and_activation(target: str, rng: np.random.Generator) -> None:
    """Row and column reach the epilogue, extra parameters of several types too: C = max(row + bias + s A B, 0)."""
    machine, spec = TARGETS[target], MatmulSpec("float", False, False)
    module = Module(machine.triple)
    extra = [*EXTRA, ("ptr noalias", "bias"), ("float", "scale")]

    def epilogue(f: Function, ty: str, sums: list[str], row: str, column: str, mask: str | None) -> None:
        at = f.gep("float", "%bias", column)
        bias = f.load(ty, at, 4) if mask is None else f.masked_load(ty, at, 4, mask)
        bias = f.binary("fadd", ty, bias, f.splat_value(ty, f.cast("sitofp", "i64", row, "float")))
        value = f.binary("fadd", ty, f.binary("fmul", ty, sums[0], f.splat_value(ty, "%scale")), bias)
        store(accumulate=False)(f, ty, [f.intrinsic("maxnum", ty, value, splat(ty, "0.0"))], row, column, mask)

    emit_matmul(module, machine, "inner", spec, extra, epilogue)
    signature = "ptr %a, ptr %b, ptr %s, i64 %m, i64 %n, i64 %k, i64 %lda, i64 %ldb, ptr %c, i64 %ldc, ptr %bias"
    body = f"  call void @inner({signature}, float %scale)\n  ret void"
    text = f"define void @outer({signature}, float %scale) {{\n{body}\n}}"
    module.functions.append(text)
    jit = llvm.create_lljit_compiler(machine.machine(), use_jit_link=True)
    builder = llvm.JITLibraryBuilder().add_ir(module.text()).add_current_process().export_symbol("outer")
    library = builder.link(jit, "epilogue")
    types = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * 5 + [ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p]
    function = ctypes.CFUNCTYPE(None, *types, ctypes.c_float)(library["outer"])
    for m, n, k in [(9, 21, 6), (1, 21, 6), (9, 1, 6)]:
        a, b = (rng.integers(-4, 5, shape).astype(np.float32) for shape in ((m, k), (k, n)))
        bias, c = rng.integers(-4, 5, n).astype(np.float32), np.full((m, n), np.nan, np.float32)
        scratch = np.empty(scratch_bytes(machine, spec, m, n, k) // 4 + 16, np.float32)
        scratch = scratch[-scratch.ctypes.data % 64 // 4 :]
        pointers = [x.ctypes.data for x in (a, b, scratch)]
        function(*pointers, m, n, k, k, n, c.ctypes.data, n, bias.ctypes.data, 0.5)
        want = np.maximum(np.arange(m)[:, None] + bias + 0.5 * (a @ b), 0)
        np.testing.assert_array_equal(c, want.astype(np.float32))


# --- the code itself; its registers are looked at in test_stack_traffic.py ------------------------------------------
@pytest.mark.parametrize("target", ALL_TARGETS)
def test_products_share_kernels(target: str) -> None:
    """A second product of a kind adds only its own two functions; the whole module compiles without library calls."""
    machine = named(target)
    module = emit(machine, SPECS, store(accumulate=False))
    before = len(module.functions)
    emit_matmul(module, machine, "another", SPECS[0], EXTRA, store(accumulate=False))
    assert [re.search(r"@([\w.]+)\(", text)[1] for text in module.functions[before:]] == ["another", "another.finish"]
    parsed = llvm.parse_assembly(module.text())
    parsed.verify()
    calls = re.findall(r"^\s+(?:callq?|bl)\s+([A-Za-z_][\w.]+)", machine.machine().emit_assembly(parsed), re.MULTILINE)
    assert calls
    assert not [name for name in calls if not name.startswith(("matmul.", "inner."))]


@pytest.mark.parametrize("target", ALL_TARGETS)
def test_epilogues_are_written_only_for_vectors_that_there_are(target: str) -> None:
    """Whole vectors, and the masked (or single) elements after them, for a number of columns known or not."""
    machine = named(target)
    lanes = tiling(machine, "float").lanes
    rest = (True, True) if machine.masked else (False, False)  # (vector, masked)
    expected = {None: [(True, False), rest], 3 * lanes: [(True, False)], lanes + 1: [(True, False), rest], 1: [rest]}
    for columns, wanted in expected.items():
        written: list[tuple[bool, bool]] = []

        def epilogue(
            f: Function, ty: str, sums: list[str], row: str, column: str, mask: str | None,
            written: list[tuple[bool, bool]] = written,
        ) -> None:  # fmt: skip
            written.append((ty.startswith("<"), mask is not None))

        emit_matmul(Module(machine.triple), machine, "inner", SPECS[0], EXTRA, epilogue, columns)
        assert written == wanted, columns
