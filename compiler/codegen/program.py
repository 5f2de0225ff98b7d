"""The entry point of a program: it calls the kernels in the order of the memory plan."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeAlias

from kgraph.compiler.codegen.emitter import Function, Module
from kgraph.compiler.codegen.indices import Indices
from kgraph.compiler.codegen.llvm import emit_kernel
from kgraph.compiler.codegen.scopes import Scope
from kgraph.compiler.codegen.taking import emit_take, parts_of_turn
from kgraph.compiler.codegen.target import Target
from kgraph.compiler.codegen.thread_pool import BARRIER, emit_pool
from kgraph.ir.artifact import KernelCall, Loop, MemoryPlan, Step, Team, kernel_calls
from kgraph.ir.dims import Dim, symbols_of
from kgraph.ir.loops import Kernel

# The function of each kernel by the kernel's name.
Functions: TypeAlias = dict[str, str]

# A call as data: its function, its first place in the list of all, and how many places it has.
_CALL = "{ ptr, i64, i64 }"
_RUN = "program.run"

# The name of a function or a constant in LLVM text.
_GLOBAL = re.compile(r"@([\w.$-]+)")

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
    functions = _emit_once(module, target, kernels, {name: n for n, name in enumerate(size_names)})
    emit_pool(module, target)
    emit_take(module, target)
    _emit_run(module, target)
    _emit_step(module, target, plan, functions, size_names, step_of(entry))
    _emit_entry(module, target, max(len(list(kernel_calls(plan.calls))), len(plan.places), 1), entry)


def step_of(entry: str) -> str:
    """Symbol of the entry point for teams (see `Artifact`) that goes with an entry point."""
    return f"{entry}.step"


def _emit_entry(module: Module, target: Target, zeros: int, entry: str) -> None:
    """Write the entry point for one thread: the step of a team of one, in which nothing is shared.

    `zeros` is the length of the longer one of the arrays of flags and of private memory's offsets.
    """
    params = [("ptr noalias readonly", "table"), ("ptr noalias readonly", "sizes")]
    f = Function(module, entry, params, attributes=target.outer_attributes(), linkage="")
    rest = f"[{Team.turn(1) - 1} x i64]"
    module.globals.append(f"@{entry}.team = internal constant {{ i64, {rest} }} {{ i64 1, {rest} zeroinitializer }}")
    module.globals.append(f"@{entry}.zeros = internal constant [{zeros} x i64] zeroinitializer")
    step = f.assign(f"alloca [{Step.FIELDS} x i64], align 8")
    fields = {Step.TABLE: "%table", Step.SIZES: "%sizes", Step.PRIVATE: "null"}
    for field, value in {**fields, **dict.fromkeys((Step.FLAGS, Step.OFFSETS), f"@{entry}.zeros")}.items():
        f.store("ptr", value, f.gep("i64", step, str(field)), 8)
    f.store("i64", "0", f.gep("i64", step, str(Step.PRIVATE_BYTES)), 8)
    f.line(f"call void @{step_of(entry)}(ptr {step}, ptr @{entry}.team, i64 0)")
    f.finish()


def _emit_run(module: Module, target: Target) -> None:
    """Write `void @program.run(ptr step, ptr team, i64 tid, ptr table, i64 number, ptr calls, i64 count, ptr places,
    ptr buffers)`, which runs `count` of the calls; the first of them has that number.

    `table` has the pointers of this thread, `places` those of each call. Thread 0 runs the kernels that are not shared.
    The pointers of one call at a time are collected in `buffers`.
    """
    params = [("ptr", "step"), ("ptr", "team"), ("i64", "tid"), ("ptr", "table"), ("i64", "number"), ("ptr", "calls")]
    params += [("i64", "count"), ("ptr", "places"), ("ptr", "buffers")]
    f = Function(module, _RUN, params, attributes=target.function_attributes())
    sizes, flags = (f.load("ptr", f.gep("i64", "%step", str(n)), 8) for n in (Step.SIZES, Step.FLAGS))
    threads = f.load("i64", f.gep("i64", "%team", str(Team.THREADS)), 8)
    several = f.binary("icmp ugt", "i64", threads, "1")
    first = f.binary("icmp eq", "i64", "%tid", "0")
    with f.loop("%number", f.add("%number", "%count")) as number:
        flag = f.load("i64", f.gep("i64", flags, number.index), 8)
        waits = f.binary("and", "i64", flag, str(Step.AFTER_BARRIER))
        with f.when(f.binary("icmp ne", "i64", waits, "0")):
            f.line(f"call void @{BARRIER}(ptr %team)")
        shared = f.binary("and", "i1", f.cast("trunc", "i64", flag, "i1"), several)
        with f.when(f.binary("or", "i1", shared, first)):
            call = f.gep(_CALL, "%calls", number.index)
            function = f.load("ptr", call, 8)
            start, length = (f.load("i64", f.gep("i64", call, str(n)), 8) for n in (1, 2))
            own = f.gep("i64", "%places", start)
            with f.loop("0", length) as n:
                pointer = f.gep("ptr", "%table", f.load("i64", f.gep("i64", own, n.index), 8))
                f.store("ptr", f.load("ptr", pointer, 8), f.gep("ptr", "%buffers", n.index), 8)
            least = f.binary("lshr", "i64", flag, str(Step.LEAST))
            with parts_of_turn(f, shared, threads, least) as numbers:
                arguments = ", ".join(f"i64 {number}" for number in numbers)
                f.line(f"call void {function}(ptr %buffers, ptr {sizes}, {arguments})")
    f.finish()


def _emit_step(
    module: Module, target: Target, plan: MemoryPlan, functions: Functions, size_names: Sequence[str], name: str
) -> None:
    """Write `void @name(ptr step, ptr team, i64 tid)`: what each thread does for one run of the program.

    The calls are data: code for each of them would take LLVM longer than many of the kernels. Each of several threads
    has private memory of its own, so each has a table of its own.
    """
    calls, places, private = [], list[int](), dict[int, None]()
    for call in kernel_calls(plan.calls):
        calls.append(f"{_CALL} {{ ptr @{functions[call.kernel]}, i64 {len(places)}, i64 {len(call.args)} }}")
        places += call.args
        private |= dict.fromkeys(call.private)
    _constant(module, f"{name}.calls", _CALL, calls)
    _constant(module, f"{name}.places", "i64", [f"i64 {place}" for place in places])
    _constant(module, f"{name}.private", "i64", [f"i64 {place}" for place in private])
    params = [("ptr noalias readonly", "step"), ("ptr", "team"), ("i64", "tid")]
    f = Function(module, name, params, attributes=target.outer_attributes(), linkage="")
    with _subnormals_as_zero(f, target):
        _StepWriter(f, plan, size_names, len(private)).calls(plan.calls)
    f.finish()


def _constant(module: Module, name: str, ty: str, values: Sequence[str]) -> None:
    content = f"[ {', '.join(values)} ]" if values else "zeroinitializer"
    module.globals.append(f"@{name} = internal constant [{len(values)} x {ty}] {content}")


class _StepWriter:
    """Writes the runs of calls and the loops of a plan into the function of its step."""

    def __init__(self, f: Function, plan: MemoryPlan, size_names: Sequence[str], private: int) -> None:
        self.f, self.plan = f, plan
        most = max((len(call.args) for call in kernel_calls(plan.calls)), default=1)
        self.buffers = f.assign(f"alloca [{max(most, 1)} x ptr], align 8")
        self.table = f.assign(f"alloca [{max(len(plan.places), 1)} x ptr], align 8")
        self._fill_table(private)
        numbers = f.load("ptr", f.gep("i64", "%step", str(Step.SIZES)), 8)
        dims = _dims_of_loops(plan, plan.calls)
        wanted = {name for dim in dims for name in symbols_of(dim)}
        at = {name: str(n) for n, name in enumerate(size_names) if name in wanted}
        sizes = {name: f.load("i64", f.gep("i64", numbers, n), 8) for name, n in at.items()}
        indices, scope = Indices(f, {}), Scope(variables=sizes)
        self.lengths = {dim: indices.dim(scope, dim) for dim in dims}
        self.number = 0  # of the next call

    def _fill_table(self, private: int) -> None:
        """Copy the table of all threads; where there are several, private places are in the memory of this one."""
        f = self.f
        table, own, offsets = (
            f.load("ptr", f.gep("i64", "%step", str(n)), 8) for n in (Step.TABLE, Step.PRIVATE, Step.OFFSETS)
        )
        with f.loop("0", str(len(self.plan.places))) as n:
            f.store("ptr", f.load("ptr", f.gep("ptr", table, n.index), 8), f.gep("ptr", self.table, n.index), 8)
        threads = f.load("i64", f.gep("i64", "%team", str(Team.THREADS)), 8)
        with f.when(f.binary("icmp ugt", "i64", threads, "1")):
            own = f.gep("i8", own, f.mul("%tid", f.load("i64", f.gep("i64", "%step", str(Step.PRIVATE_BYTES)), 8)))
            with f.loop("0", str(private)) as n:
                place = f.load("i64", f.gep("i64", f"@{f.name}.private", n.index), 8)
                memory = f.gep("i8", own, f.load("i64", f.gep("i64", offsets, place), 8))
                f.store("ptr", memory, f.gep("ptr", self.table, place), 8)

    def calls(self, calls: Sequence[KernelCall | Loop]) -> None:
        """Write calls and loops, one after another."""
        for is_loop, group in itertools.groupby(calls, lambda call: isinstance(call, Loop)):
            if is_loop:
                for loop in group:
                    assert isinstance(loop, Loop)
                    self.loop(loop)
            else:
                self._run(len(list(group)))

    def _run(self, count: int) -> None:
        name = self.f.name
        args = f"ptr %step, ptr %team, i64 %tid, ptr {self.table}, i64 {self.number}, ptr @{name}.calls, i64 {count}"
        self.f.line(f"call void @{_RUN}({args}, ptr @{name}.places, ptr {self.buffers})")
        self.number += count

    def _entry(self, place: int) -> str:
        return self.f.gep("ptr", self.table, str(place))

    def _pointer(self, place: int) -> str:
        return self.f.load("ptr", self._entry(place), 8)

    def _move(self, places: Sequence[int], pointers: Sequence[str]) -> None:
        for place, pointer in zip(places, pointers, strict=True):
            self.f.store("ptr", pointer, self._entry(place), 8)

    def loop(self, loop: Loop) -> None:
        """Write a loop over steps, in which pieces move on and the two places of each carry change places."""
        f, length = self.f, self.lengths[loop.length]
        odd = "false" if loop.conditional else f.cast("trunc", "i64", length, "i1")
        turns: list[str] = []  # pointers to the old and the new value in the first step
        for carry in loop.carries:
            last, other = self._pointer(carry.last), self._pointer(carry.other)
            turns += [f.select("i1", odd, "ptr", *pair) for pair in ((other, last), (last, other))]
        places = [place for carry in loop.carries for place in (carry.old, carry.new)]
        self._move(places, turns)
        self.calls(loop.start)
        wholes = [self._pointer(self.plan.places[place].index) for place in loop.pieces]
        condition = functools.partial(self._flag, turns[0]) if loop.conditional else None
        with f.loop("0", length, "1", [("ptr", pointer) for pointer in turns], condition) as steps:
            step = steps.index
            if loop.reverse:
                step = f.binary("sub", "i64", f.binary("sub", "i64", length, step), "1")
            nbytes = [self.lengths[self.plan.places[place].type.nbytes] for place in loop.pieces]
            pieces = [f.gep("i8", whole, f.mul(step, n)) for whole, n in zip(wholes, nbytes, strict=True)]
            self._move([*loop.pieces, *places], [*pieces, *steps.carried])
            self.calls(loop.calls)
            pairs = zip(steps.carried[::2], steps.carried[1::2], strict=True)
            steps.next = [p for old, new in pairs for p in ((old, new) if loop.conditional else (new, old))]

    def _flag(self, pointer: str) -> str:
        """The bool at an address, as an i1: all threads read it after it was written and before it is written again."""
        f = self.f
        f.line(f"call void @{BARRIER}(ptr %team)")
        value = f.cast("trunc", "i8", f.load("i8", pointer, 1), "i1")
        f.line(f"call void @{BARRIER}(ptr %team)")
        return value


def _dims_of_loops(plan: MemoryPlan, calls: Sequence[KernelCall | Loop]) -> list[Dim]:
    """Lengths of loops, and sizes in bytes of the pieces that they move over."""
    found: list[Dim] = []
    for loop in calls:
        if isinstance(loop, Loop):
            found += [loop.length, *(plan.places[place].type.nbytes for place in loop.pieces)]
            found += _dims_of_loops(plan, loop.calls)
    return list(dict.fromkeys(found))


def _emit_once(module: Module, target: Target, kernels: Sequence[Kernel], sizes: Mapping[str, int]) -> Functions:
    """Write the kernels, each function once; for each kernel's name the function to call."""
    written: dict[str, str] = {}  # the name of each function by its text without the name
    first_of: dict[int, Kernel] = {}  # by its body, one object in kernels that differ in their names only
    functions: Functions = {}
    for kernel in kernels:
        first = first_of.setdefault(id(kernel.body), kernel)
        if first is not kernel:
            functions[kernel.name] = functions[first.name]
            continue
        start = len(module.functions)
        emit_kernel(module, target, kernel, sizes)
        same = _keep_new(module, start, kernel.name, written)
        functions[kernel.name] = same.get(kernel.name, kernel.name)
    return functions


def _keep_new(module: Module, start: int, kernel: str, written: dict[str, str]) -> dict[str, str]:
    """Drop functions of a kernel, from position `start` on, that another kernel has with the same text.

    Names of what is dropped are replaced where they are called, and given back with those that take their place.
    Matrix products may also have added functions for all kernels, which stay as they are.
    """
    texts = {text[text.index("@") + 1 : text.index("(")]: text for text in module.functions[start:]}
    own = [name for name in texts if name.partition(".")[0] == kernel]
    same: dict[str, str] = {}
    for name in sorted(own, key=lambda name: -name.count(".")):  # what is called before what calls it
        text = texts[name] = _GLOBAL.sub(lambda found: "@" + same.get(found[1], found[1]), texts[name])
        first = written.setdefault(text.replace(f"@{name}(", "@(", 1), name)
        if first != name:
            same[name] = first
    module.functions[start:] = [text for name, text in texts.items() if name not in same]
    return same


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
