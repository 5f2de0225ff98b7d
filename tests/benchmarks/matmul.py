"""GFLOP/s of the generated matrix products on one thread, beside NumPy and, if it can be imported, PyTorch.

Run it alone on the machine: python tests/benchmarks/matmul.py [--runs N]. All sides are timed in turn, in one process,
by the CPU time of the one thread; the multiply-add peak in turn with them, for clocks change while a table is made.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
import ctypes
import functools
import importlib
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import llvmlite.binding as llvm
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from matmul_jit import EXTRA, Products, aligned, emit, store

from kgraph.compiler.codegen.emitter import Function, Module
from kgraph.compiler.codegen.matmul import MatmulSpec, emit_matmul, scratch_bytes
from kgraph.compiler.codegen.target import Target, current
from kgraph.compiler.codegen.tiles import Tiling, tiling
from kgraph.runtime.memory import aligned_empty

SHAPES = [
    (256, 256, 256), (512, 512, 512), (1024, 1024, 1024), (2048, 2048, 2048), (128, 784, 512), (784, 128, 512),
    (128, 512, 784), (32, 784, 512), (128, 512, 10), (64, 64, 64), (32, 32, 32), (4, 784, 512), (1, 784, 512),
    (512, 512, 1),
]  # fmt: skip
SPECS = [MatmulSpec("float", False, False), MatmulSpec("float", False, True), MatmulSpec("float", True, False)]
TITLES = {SPECS[0]: "A B", SPECS[1]: "A B^T", SPECS[2]: "A^T B"}
SECONDS = 0.01  # of every timed run
ROUNDS = 1 << 18  # of the loop that measures the peak


def torch_or_none() -> ModuleType | None:
    """PyTorch on one thread, if it is installed."""
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        return None
    torch.set_num_threads(1)
    return torch


def seconds(functions: list[Callable[[], object]], runs: int) -> list[float]:
    """Median seconds per call of each function; the functions are timed in turn in every run."""
    repeats, times = [], [[] for _ in functions]
    for function in functions:
        function()
        start = time.thread_time()
        function()
        repeats.append(max(1, int(SECONDS / max(time.thread_time() - start, 1e-7))))
    for _ in range(runs):
        for function, count, taken in zip(functions, repeats, times, strict=True):
            start = time.thread_time()
            for _ in range(count):
                function()
            taken.append((time.thread_time() - start) / count)
    return [statistics.median(taken) for taken in times]


def peak(target: Target, t: Tiling) -> tuple[Callable[[], None], float]:
    """A loop of independent multiply-adds, 12 vectors per round, and its floating-point operations."""
    module = Module(target.triple)
    params = [("i64", "rounds"), ("ptr", "out")]
    f = Function(module, "peak", params, attributes=target.function_attributes(), linkage="")
    factor = f.splat_value(t.vector, f.load(t.element, "%out", t.bytes))
    with f.loop("0", "%rounds", carried=[(t.vector, "zeroinitializer")] * 12) as loop:
        loop.next = [f.multiply_add(t.vector, factor, factor, c, fused=target.has_fma) for c in loop.carried]
    for i, value in enumerate(loop.results):
        f.store(t.vector, value, f.gep(t.element, "%out", str(i * t.lanes)), t.bytes)
    f.finish()
    jit = llvm.create_lljit_compiler(target.machine(), use_jit_link=True)
    builder = llvm.JITLibraryBuilder().add_ir(module.text()).add_current_process().export_symbol("peak")
    library = builder.link(jit, "peak")
    out = aligned(12 * t.vector_bytes)
    out[:] = 0
    function = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)(library["peak"])

    def run(_keep: object = (library, jit)) -> None:
        function(ROUNDS, out.ctypes.data)

    return run, 2 * 12 * t.lanes * ROUNDS


def compile_milliseconds(target: Target, runs: int) -> tuple[float, float]:
    """CPU milliseconds to write and compile a module with the three kinds of product, and per further product."""

    def once(further: int) -> float:
        start = time.process_time()
        module = emit(target, SPECS, store(accumulate=False))
        for i in range(further):
            emit_matmul(module, target, f"further.{i}", SPECS[i % 3], EXTRA, store(accumulate=True))
        target.machine().emit_object(llvm.parse_assembly(module.text()))
        return 1e3 * (time.process_time() - start)

    few, many = (statistics.median(once(further) for _ in range(runs)) for further in (0, 6))
    return few, (many - few) / 6


def contenders(
    products: Products, spec: MatmulSpec, shape: tuple[int, int, int], torch: ModuleType | None
) -> list[Callable[[], object]]:
    """The same product by the generated code, NumPy and PyTorch, of arrays that start at cache lines as weights do."""
    m, k, n = shape
    rng = np.random.default_rng(0)
    stored = ((k, m) if spec.transpose_a else (m, k), (n, k) if spec.transpose_b else (k, n), (m, n))
    a, b, c = (aligned_empty(shape, np.float32) for shape in stored)
    for operand in (a, b):
        operand[...] = rng.standard_normal(operand.shape)
    scratch = aligned(scratch_bytes(products.target, spec, m, n, k))
    pointers = [x.ctypes.data for x in (a, b, scratch)]
    sizes = [m, n, k, a.shape[1], b.shape[1], c.ctypes.data, n]
    left, right = a.T if spec.transpose_a else a, b.T if spec.transpose_b else b

    def generated(_keep: object = (a, b, c, scratch)) -> None:
        products.functions[spec](*pointers, *sizes)

    calls: list[Callable[[], object]] = [generated]
    calls.append(functools.partial(np.matmul, left, right, out=c.copy()))
    if torch is not None:
        calls.append(functools.partial(torch.matmul, *map(torch.from_numpy, (left, right)), out=torch.empty(m, n)))
    return calls


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="timed runs per figure; the median counts")
    runs = max(5, parser.parse_args().runs)
    target, torch = current(), torch_or_none()
    t = tiling(target, "float")
    print(f"{target.isa}: tiles of {t.heights} x {t.width}, k block {t.depth}; NumPy {np.__version__}")
    first, further = compile_milliseconds(target, runs)
    print(f"compile: {first:.0f} ms for three kinds of product, {further:.1f} ms for each further product (CPU time)")
    at_peak, flops = peak(target, t)
    best = 1e-9 * flops / seconds([at_peak], runs)[0]
    print(f"measured multiply-add peak: {best:.1f} GFLOP/s" + (f"; PyTorch {torch.__version__}" if torch else ""))
    print(f"{'kind':6} {'m x k x n':>18} {'GFLOP/s':>8} {'of peak':>8} {'/ NumPy':>8} {'/ torch':>8}")
    products = Products(target, SPECS, store(accumulate=False))
    for spec in SPECS:
        for m, k, n in SHAPES:
            limit, own, *others = seconds([at_peak, *contenders(products, spec, (m, k, n), torch)], runs)
            rate, best = 2e-9 * m * n * k / own, 1e-9 * flops / limit
            ratios = "".join(f" {other / own:8.2f}" for other in others)
            print(f"{TITLES[spec]:6} {f'{m} x {k} x {n}':>18} {rate:8.1f} {rate / best:8.0%}{ratios}", flush=True)


if __name__ == "__main__":
    main()
