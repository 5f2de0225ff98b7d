"""The entry point of a program: it calls the kernels in the order of the memory plan."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeAlias

from kgraph.compiler.codegen.emitter import Function, Module
from kgraph.compiler.codegen.indices import Indices
from kgraph.compiler.codegen.llvm import emit_kernel
from kgraph.compiler.codegen.scopes import Scope
from kgraph.compiler.codegen.target import Target
from kgraph.compiler.codegen.thread_pool import BARRIER, emit_pool
from kgraph.ir.artifact import KernelCall, Loop, MemoryPlan, Step, Team, kernel_calls
from kgraph.ir.dims import Dim, symbols_of
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
    """Write all kernels and `void @entry(ptr table, ptr sizes)`, which runs the plan's calls and loops in order.

    `table` holds one pointer per place of the plan, `sizes` the i64 values of `size_names`. Subnormal numbers count
    as zero while the program runs. Kernels that differ in nothing but names become one function. The entry point for
    teams and the functions of the pool (see `Artifact`) come with it.
    """
    functions = _emit_once(module, target, kernels)
    wanted = {name for kernel in kernels for name in kernel.sizes}
    wanted.update(name for dim in _dims_of_loops(plan, plan.calls) for name in symbols_of(dim))
    sizes = {name: n for n, name in enumerate(size_names) if name in wanted}
    emit_pool(module, target)
    _emit_step(module, target, plan, functions, sizes, step_of(entry))
    _emit_entry(module, target, max(len(list(kernel_calls(plan.calls))), len(plan.places), 1), entry)


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


def _emit_step(
    module: Module, target: Target, plan: MemoryPlan, functions: Functions, sizes: Mapping[str, int], name: str
) -> None:
    """Write `void @name(ptr step, ptr team, i64 tid)`: what each thread does for one run of the program.

    Thread 0 runs the kernels that are not shared. Each of several threads has private memory of its own.
    """
    params = [("ptr noalias readonly", "step"), ("ptr", "team"), ("i64", "tid")]
    f = Function(module, name, params, attributes=target.function_attributes(), linkage="")
    with _subnormals_as_zero(f, target):
        _StepWriter(f, plan, functions, sizes).calls(plan.calls)
    f.finish()


class _StepWriter:
    """Writes the calls and loops of a plan into the function of its step."""

    def __init__(self, f: Function, plan: MemoryPlan, functions: Functions, sizes: Mapping[str, int]) -> None:
        self.f, self.plan, self.functions = f, plan, functions
        self.table, numbers, self.flags, self.offsets = (
            f.load("ptr", f.gep("i64", "%step", str(n)), 8) for n in (Step.TABLE, Step.SIZES, Step.FLAGS, Step.OFFSETS)
        )
        each = f.load("i64", f.gep("i64", "%step", str(Step.PRIVATE_BYTES)), 8)
        private = f.load("ptr", f.gep("i64", "%step", str(Step.PRIVATE)), 8)
        self.private = f.gep("i8", private, f.mul("%tid", each))
        self.threads = f.load("i64", f.gep("i64", "%team", str(Team.THREADS)), 8)
        self.first = f.binary("icmp eq", "i64", "%tid", "0")
        self.alone = f.binary("icmp eq", "i64", self.threads, "1")
        self.sizes = {size: f.load("i64", f.gep("i64", numbers, str(n)), 8) for size, n in sizes.items()}
        self.indices, self.scope = Indices(f, {}), Scope(variables=self.sizes)
        self.lengths = {dim: self.indices.dim(self.scope, dim) for dim in _dims_of_loops(plan, plan.calls)}
        self.moving: dict[int, str] = {}  # pointers of the places that move with the loops round here
        self.number = 0  # of the next call

    def calls(self, calls: Sequence[KernelCall | Loop]) -> None:
        """Write calls and loops, one after another."""
        for call in calls:
            if isinstance(call, Loop):
                self.loop(call)
            else:
                self.kernel(call)

    def pointer(self, place: int) -> str:
        """The memory of a place."""
        return self.moving.get(place) or self.f.load("ptr", self.f.gep("ptr", self.table, str(place)), 8)

    def kernel(self, call: KernelCall) -> None:
        """Write a call: wait for the other threads if it must, and run it if it is shared or this is thread 0."""
        f = self.f
        flag = f.load("i64", f.gep("i64", self.flags, str(self.number)), 8)
        self.number += 1
        with f.when(f.binary("icmp uge", "i64", flag, str(Step.AFTER_BARRIER))):
            f.line(f"call void @{BARRIER}(ptr %team)")
        shared = f.cast("trunc", "i64", flag, "i1")
        with f.when(f.binary("or", "i1", shared, self.first)):
            pointers = [self.pointer(place) for place in call.args]
            for at, place in enumerate(call.args):
                if place in call.private:
                    own = f.gep("i8", self.private, f.load("i64", f.gep("i64", self.offsets, str(place)), 8))
                    pointers[at] = f.select("i1", self.alone, "ptr", pointers[at], own)
            part = f.select("i1", shared, "i64", "%tid", "0")
            parts = f.select("i1", shared, "i64", self.threads, "1")
            name, size_order = self.functions[call.kernel]
            args = [f"ptr {p}" for p in pointers] + [f"i64 {self.sizes[size]}" for size in size_order]
            f.line(f"call void @{name}({', '.join([*args, f'i64 {part}', f'i64 {parts}'])})")

    def loop(self, loop: Loop) -> None:
        """Write a loop over steps, in which pieces move on and the two places of each carry change places."""
        f, length = self.f, self.lengths[loop.length]
        odd = f.cast("trunc", "i64", length, "i1")
        turns: list[str] = []  # pointers to the old and the new value in the first step
        for carry in loop.carries:
            last, other = self.pointer(carry.last), self.pointer(carry.other)
            turns += [f.select("i1", odd, "ptr", *pair) for pair in ((other, last), (last, other))]
        places = [place for carry in loop.carries for place in (carry.old, carry.new)]
        self.moving.update(zip(places, turns, strict=True))
        self.calls(loop.start)
        wholes = {place: self.pointer(self.plan.places[place].index) for place in loop.pieces}
        with f.loop("0", length, carried=[("ptr", pointer) for pointer in turns]) as steps:
            step = steps.index
            if loop.reverse:
                step = f.binary("sub", "i64", f.binary("sub", "i64", length, step), "1")
            for place, whole in wholes.items():
                nbytes = self.lengths[self.plan.places[place].type.nbytes]
                self.moving[place] = f.gep("i8", whole, f.mul(step, nbytes))
            self.moving.update(zip(places, steps.carried, strict=True))
            self.calls(loop.calls)
            pairs = zip(steps.carried[::2], steps.carried[1::2], strict=True)
            steps.next = [pointer for old, new in pairs for pointer in (new, old)]


def _dims_of_loops(plan: MemoryPlan, calls: Sequence[KernelCall | Loop]) -> list[Dim]:
    """Lengths of loops, and sizes in bytes of the pieces that they move over."""
    found: list[Dim] = []
    for loop in calls:
        if isinstance(loop, Loop):
            found += [loop.length, *(plan.places[place].type.nbytes for place in loop.pieces)]
            found += _dims_of_loops(plan, loop.calls)
    return list(dict.fromkeys(found))


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
