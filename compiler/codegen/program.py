"""The entry point of a program: it calls the kernels in the order of the memory plan."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeAlias

from kgraph.compiler.codegen.emitter import Function, Module
from kgraph.compiler.codegen.llvm import emit_kernel
from kgraph.compiler.codegen.target import Target
from kgraph.compiler.codegen.thread_pool import BARRIER, emit_pool
from kgraph.ir.artifact import MemoryPlan, Step, Team
from kgraph.ir.loop_printer import kernel_to_text
from kgraph.ir.loops import Kernel

# The function of a kernel, and the sizes it takes; of all kernels by name.
KernelFunction: TypeAlias = tuple[str, tuple[str, ...]]
Functions: TypeAlias = dict[str, KernelFunction]

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
    as zero while the program runs. Kernels that differ in nothing but names become one function. The entry point for
    teams and the functions of the pool (see `Artifact`) come with it.
    """
    functions = _emit_once(module, target, kernels)
    wanted = {name for kernel in kernels for name in kernel.sizes}
    sizes = {name: n for n, name in enumerate(size_names) if name in wanted}
    emit_pool(module, target)
    _emit_step(module, target, plan, functions, sizes, step_of(entry))
    _emit_entry(module, target, max(len(plan.calls), len(plan.places), 1), entry)


def step_of(entry: str) -> str:
    """Symbol of the entry point for teams (see `Artifact`) that goes with an entry point."""
    return f"{entry}.step"


def _emit_entry(module: Module, target: Target, zeros: int, entry: str) -> None:
    """Write the entry point for one thread: the step of a team of one, in which nothing is shared.

    `zeros` is the length of the longer one of the arrays of flags and of private memory's offsets.
    """
    params = [("ptr noalias readonly", "table"), ("ptr noalias readonly", "sizes")]
    f = Function(module, entry, params, attributes=target.function_attributes(), linkage="")
    rest = f"[{Team.FIELDS - 1} x i64]"
    module.globals.append(f"@{entry}.team = internal constant {{ i64, {rest} }} {{ i64 1, {rest} zeroinitializer }}")
    module.globals.append(f"@{entry}.zeros = internal constant [{zeros} x i64] zeroinitializer")
    step = f.assign(f"alloca [{Step.FIELDS} x i64], align 8")
    fields = {Step.TABLE: "%table", Step.SIZES: "%sizes", Step.PRIVATE: "null"}
    for field, value in {**fields, **dict.fromkeys((Step.FLAGS, Step.OFFSETS), f"@{entry}.zeros")}.items():
        f.store("ptr", value, f.gep("i64", step, str(field)), 8)
    f.store("i64", "0", f.gep("i64", step, str(Step.PRIVATE_BYTES)), 8)
    f.line(f"call void @{step_of(entry)}(ptr {step}, ptr @{entry}.team, i64 0)")
    f.finish()


def _call(
    f: Function, function: KernelFunction, pointers: Sequence[str], sizes: Mapping[str, str], part: str, parts: str
) -> None:
    name, size_order = function
    args = [f"ptr {p}" for p in pointers] + [f"i64 {sizes[size]}" for size in size_order]
    f.line(f"call void @{name}({', '.join([*args, f'i64 {part}', f'i64 {parts}'])})")


def _emit_step(
    module: Module, target: Target, plan: MemoryPlan, functions: Functions, sizes: Mapping[str, int], name: str
) -> None:
    """Write `void @name(ptr step, ptr team, i64 tid)`: what each thread does for one run of the program.

    Thread 0 runs the kernels that are not shared. Each of several threads has private memory of its own.
    """
    params = [("ptr noalias readonly", "step"), ("ptr", "team"), ("i64", "tid")]
    f = Function(module, name, params, attributes=target.function_attributes(), linkage="")
    table, numbers, flags, offsets = (
        f.load("ptr", f.gep("i64", "%step", str(n)), 8) for n in (Step.TABLE, Step.SIZES, Step.FLAGS, Step.OFFSETS)
    )
    each = f.load("i64", f.gep("i64", "%step", str(Step.PRIVATE_BYTES)), 8)
    private = f.load("ptr", f.gep("i64", "%step", str(Step.PRIVATE)), 8)
    private = f.gep("i8", private, f.mul("%tid", each))
    threads = f.load("i64", f.gep("i64", "%team", str(Team.THREADS)), 8)
    first, alone = f.binary("icmp eq", "i64", "%tid", "0"), f.binary("icmp eq", "i64", threads, "1")
    with _subnormals_as_zero(f, target):
        loaded = {size: f.load("i64", f.gep("i64", numbers, str(n)), 8) for size, n in sizes.items()}
        for number, call in enumerate(plan.calls):
            flag = f.load("i64", f.gep("i64", flags, str(number)), 8)
            with f.when(f.binary("icmp uge", "i64", flag, str(Step.AFTER_BARRIER))):
                f.line(f"call void @{BARRIER}(ptr %team)")
            shared = f.cast("trunc", "i64", flag, "i1")
            with f.when(f.binary("or", "i1", shared, first)):
                pointers = [f.load("ptr", f.gep("ptr", table, str(place)), 8) for place in call.args]
                for at, place in enumerate(call.args):
                    if place in call.private:
                        own = f.gep("i8", private, f.load("i64", f.gep("i64", offsets, str(place)), 8))
                        pointers[at] = f.select("i1", alone, "ptr", pointers[at], own)
                part = f.select("i1", shared, "i64", "%tid", "0")
                parts = f.select("i1", shared, "i64", threads, "1")
                _call(f, functions[call.kernel], pointers, loaded, part, parts)
    f.finish()


def _emit_once(module: Module, target: Target, kernels: Sequence[Kernel]) -> Functions:
    """Write the kernels; for each name the function to call and the sizes it takes."""
    written: dict[tuple[str, ...], str] = {}
    first_of: dict[str, Kernel] = {}
    functions: Functions = {}
    for kernel in kernels:
        first = first_of.setdefault(kernel_to_text(replace(kernel, name="k")), kernel)
        if first is not kernel:
            functions[kernel.name] = functions[first.name]
            continue
        start = len(module.functions)
        emit_kernel(module, target, kernel)
        own = re.compile(rf"@{re.escape(kernel.name)}(?=[.(])")
        new = module.functions[start:]
        # The functions of this kernel; matrix products may also have added shared ones, which stay.
        ours = [text for text in new if own.search(text.partition("\n")[0])]
        key = tuple(own.sub("@", text) for text in ours)
        if key in written:
            module.functions[start:] = [text for text in new if text not in ours]
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
