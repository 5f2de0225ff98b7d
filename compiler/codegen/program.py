"""The entry point of a program: it calls the kernels in the order of the memory plan."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from kgraph.compiler.codegen.emitter import Function, Module
from kgraph.compiler.codegen.llvm import emit_kernel
from kgraph.compiler.codegen.target import Target
from kgraph.ir.artifact import MemoryPlan
from kgraph.ir.loops import Kernel

# Bits of the x86 register MXCSR: flush subnormal results to zero, and take subnormal operands as zero.
_FLUSH_X86 = 0x8040
# Bit FZ of the AArch64 register FPCR: both.
_FLUSH_ARM = 1 << 24


def emit_program(
    module: Module,
    target: Target,
    kernels: Sequence[Kernel],
    plan: MemoryPlan,
    size_names: Sequence[str],
    entry: str,
) -> None:
    """Write all kernels and `void @entry(ptr table, ptr sizes)`, which runs the plan's calls in order.

    `table` holds one pointer per place of the plan, `sizes` the i64 values of `size_names`. Subnormal numbers count
    as zero while the program runs. Kernels that differ in nothing but names become one function.
    """
    functions = _emit_once(module, target, kernels)
    f = Function(
        module,
        entry,
        [("ptr noalias readonly", "table"), ("ptr noalias readonly", "sizes")],
        attributes=target.function_attributes(),
        linkage="",
    )
    with _subnormals_as_zero(f, target):
        wanted = {name for kernel in kernels for name in kernel.sizes}
        sizes = {
            name: f.load("i64", f.gep("i64", "%sizes", str(n)), 8)
            for n, name in enumerate(size_names)
            if name in wanted
        }
        for call in plan.calls:
            pointers = [f.load("ptr", f.gep("ptr", "%table", str(place)), 8) for place in call.args]
            function, size_order = functions[call.kernel]
            args = [f"ptr {p}" for p in pointers] + [f"i64 {sizes[name]}" for name in size_order]
            args += ["i64 0", "i64 1"]
            f.line(f"call void @{function}({', '.join(args)})")
    f.finish()


def _emit_once(module: Module, target: Target, kernels: Sequence[Kernel]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Write the kernels; for each name the function to call and the sizes it takes."""
    written: dict[tuple[str, ...], str] = {}
    functions: dict[str, tuple[str, tuple[str, ...]]] = {}
    for kernel in kernels:
        start, constants = len(module.functions), len(module.globals)
        emit_kernel(module, target, kernel)
        own = re.compile(rf"@{re.escape(kernel.name)}(?=[.(])")
        new = module.functions[start:]
        # The functions of this kernel; matrix products may also have added shared ones, which stay.
        ours = [text for text in new if own.search(text.partition("\n")[0])]
        tables = [text for text in module.globals[constants:] if own.match(text)]
        key = tuple(own.sub("@", text) for text in (*ours, *tables))
        if key in written:
            module.functions[start:] = [text for text in new if text not in ours]
            module.globals[constants:] = [text for text in module.globals[constants:] if text not in tables]
        functions[kernel.name] = (written.setdefault(key, kernel.name), kernel.sizes)
    return functions


@contextmanager
def _subnormals_as_zero(f: Function, target: Target) -> Iterator[None]:
    """Write a body in which subnormal operands and results are zero; the former mode comes back after it."""
    if not target.is_x86:
        f.module.declare("llvm.aarch64.get.fpcr", "i64 @llvm.aarch64.get.fpcr()")
        f.module.declare("llvm.aarch64.set.fpcr", "void @llvm.aarch64.set.fpcr(i64)")
        before = f.assign("call i64 @llvm.aarch64.get.fpcr()")
        f.line(f"call void @llvm.aarch64.set.fpcr(i64 {f.binary('or', 'i64', before, str(_FLUSH_ARM))})")
        yield
        f.line(f"call void @llvm.aarch64.set.fpcr(i64 {before})")
        return
    f.module.declare("llvm.x86.sse.stmxcsr", "void @llvm.x86.sse.stmxcsr(ptr)")
    f.module.declare("llvm.x86.sse.ldmxcsr", "void @llvm.x86.sse.ldmxcsr(ptr)")
    before, during = f.assign("alloca i32, align 4"), f.assign("alloca i32, align 4")
    f.line(f"call void @llvm.x86.sse.stmxcsr(ptr {before})")
    f.store("i32", f.binary("or", "i32", f.load("i32", before, 4), str(_FLUSH_X86)), during, 4)
    f.line(f"call void @llvm.x86.sse.ldmxcsr(ptr {during})")
    yield
    f.line(f"call void @llvm.x86.sse.ldmxcsr(ptr {before})")
