"""Run hand-built kernels through LLVM and through the loop interpreter."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from kgraph.compiler.codegen.emit import to_object
from kgraph.compiler.codegen.emitter import Module
from kgraph.compiler.codegen.program import emit_program
from kgraph.compiler.codegen.target import Target, named
from kgraph.ir.artifact import KernelCall, MemoryPlan, Place
from kgraph.ir.dims import evaluate
from kgraph.ir.loops import Kernel
from kgraph.ir.types import TensorType
from kgraph.runtime.loader import LoadedCode, load
from kgraph.runtime.loop_interpreter import run_kernel

Array = npt.NDArray[np.generic]

# What this machine can run, of the targets that differ in width or in what they have instructions for.
_RUNS = {"avx512": ["host", "x86-64-v3", "x86-64"], "avx2": ["host", "x86-64"], "sse2": ["host"], "neon": ["host"]}


@functools.cache
def runnable_targets() -> list[str]:
    """Names of the targets whose code runs here."""
    return _RUNS[named("host").isa]


def program_text(kernels: Sequence[Kernel], target: Target, entry: str = "entry") -> str:
    """LLVM text of a program that calls each kernel on its own buffers, one after another."""
    places: list[Place] = []
    calls = []
    for kernel in kernels:
        start = len(places)
        places += [
            Place(f"{kernel.name}.{b.name}", TensorType(b.dtype, b.shape), "input", start + n)
            for n, b in enumerate(kernel.buffers)
        ]
        calls.append(KernelCall(kernel.name, tuple(range(start, len(places))), (), ()))
    names = size_names(kernels)
    module = Module(target.triple)
    emit_program(module, target, kernels, MemoryPlan(tuple(places), (), tuple(calls)), names, entry)
    return module.text()


def size_names(kernels: Sequence[Kernel]) -> list[str]:
    """All symbolic sizes, sorted."""
    return sorted({name for kernel in kernels for name in kernel.sizes})


def compile_kernels(kernels: Sequence[Kernel], target: str) -> LoadedCode:
    """Machine code of a program with an entry called "entry"."""
    chosen = named(target)
    return load([to_object(program_text(kernels, chosen), chosen)], ["entry"])


def run_native(code: LoadedCode, arrays: Sequence[Array], sizes: Mapping[str, int]) -> None:
    """Run compiled kernels on the arrays of all their buffers, in order."""
    table = (ctypes.c_void_p * len(arrays))(*[a.ctypes.data for a in arrays])
    numbers = np.array([sizes[name] for name in sorted(sizes)] or [0], np.int64)
    code.function("entry")(ctypes.cast(table, ctypes.c_void_p), numbers.ctypes.data)


def shapes_of(kernel: Kernel, sizes: Mapping[str, int]) -> list[tuple[int, ...]]:
    """Shapes of the kernel's buffers."""
    return [tuple(evaluate(d, sizes) for d in b.shape) for b in kernel.buffers]


def aligned(array: Array) -> Array:
    """A copy that starts at a cache line, as every buffer of a program does."""
    raw = np.zeros(array.nbytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    out = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    out[...] = array
    return out


def both(
    kernel: Kernel, code: LoadedCode, arrays: Sequence[Array], sizes: Mapping[str, int]
) -> tuple[list[Array], list[Array]]:
    """The arrays after native code and after the interpreter, each run on copies."""
    native, expected = [aligned(a) for a in arrays], [a.copy() for a in arrays]
    run_native(code, native, {name: sizes[name] for name in kernel.sizes})
    run_kernel(kernel, expected, sizes)
    return native, expected
