"""The second half of the compiler: from an optimised graph to an artifact with object code."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from kgraph.compiler.codegen.batch_loop import emit_batches, takes_batches
from kgraph.compiler.codegen.emit import object_key, to_assembly, to_object
from kgraph.compiler.codegen.emitter import Module
from kgraph.compiler.codegen.matmul import MatmulSpec, scratch_bytes, window_scratch_bytes
from kgraph.compiler.codegen.program import emit_program, step_of
from kgraph.compiler.codegen.target import Target, current
from kgraph.compiler.loops.collapse import collapse
from kgraph.compiler.loops.fuse_loops import fuse_loops
from kgraph.compiler.loops.vectorize import vectorize
from kgraph.compiler.lower import Lowered, LoweredCall, LoweredLoop, constants, lower, lowered_kernels
from kgraph.compiler.packed_states import packed_states
from kgraph.compiler.passes.fuse import fuse
from kgraph.compiler.passes.memory_plan import copy_outputs, memory_plan
from kgraph.compiler.passes.split_reductions import split_reductions
from kgraph.compiler.pipeline import Observer, run
from kgraph.errors import GraphError
from kgraph.ir.artifact import Artifact, KernelCall, Loop, MemoryPlan, ObjectFile
from kgraph.ir.dims import Dim
from kgraph.ir.dtypes import DType
from kgraph.ir.graph import Graph, Node
from kgraph.ir.loop_printer import kernel_to_text
from kgraph.ir.loops import Kernel
from kgraph.ir.verify import verify_kernel
from kgraph.record import record

LOOP_PASSES: tuple[Callable[[Kernel], Kernel], ...] = (
    collapse,    # neighbouring loops over contiguous memory become one
    fuse_loops,  # behind it: loops of as many rounds as each has alone
    vectorize,   # the innermost loop runs several elements at once
)  # fmt: skip


@record(eq=False)
class NativeCode:
    """An artifact and everything on the way to it that a user may look at.

    Attributes:
        artifact: what the runtime loads.
        fused: the graph whose nodes are kernels.
        nodes: the node of `fused`, or of a graph inside it, that each kernel computes.
        kernels: the loop kernels, in the order of `artifact.kernel_calls`.
        llvm: text of the module.
        target: what it was generated for.
        seconds: wall time from the optimised graph to the object code.
    """

    artifact: Artifact
    fused: Graph
    nodes: tuple[Node, ...]
    kernels: tuple[Kernel, ...]
    llvm: str
    target: Target
    seconds: float

    def loops_text(self) -> str:
        """All kernels, as text."""
        return "\n".join(kernel_to_text(k) for k in self.kernels)

    def assembly(self) -> str:
        """Assembly of the whole module; made on demand."""
        return to_assembly(self.llvm, self.target)


class Cache(Protocol):
    """Keeps object code by key."""

    def get(self, key: str) -> bytes | None:
        """The object code stored under `key`, if there is any."""

    def put(self, key: str, code: bytes) -> None:
        """Store object code."""


def compile_native(
    graph: Graph, states: int, *, check: bool, observer: Observer | None = None, cache: Cache | None = None
) -> NativeCode:
    """Compile an optimised graph without `gradient` nodes, whose last `states` inputs and outputs are states.

    Args:
        graph: what to compile.
        states: how many inputs are updated in place.
        check: verify the graph after every pass, every kernel, and the LLVM module.
        observer: sees the graph after every pass.
        cache: where object code comes from and goes to; None to generate it always. It saves code generation, which is
            most of the time; everything before it is done again, because the text that LLVM would get is the key.
    """
    _check_lowerings(graph)
    started = time.perf_counter()
    target = current()
    # The same program has the same text whenever it is compiled: each is loaded as a library of its own.
    name = f"program_{graph.name}"
    fused = run(graph, (split_reductions, fuse, _with_states(copy_outputs, states)), name="fused", observer=observer)
    calls = _optimised(lower(fused, _scratch_rule(target)), {}, check)
    calls, copies = packed_states(fused, calls, states, target)
    plan = memory_plan(fused, calls, states, copies)
    made = tuple(lowered_kernels(calls))
    kernels = tuple(call.kernel for call in made)
    module = Module(target.triple)
    emit_program(module, target, kernels, plan, fused.size_names(), name)
    results = len(fused.outputs) - states
    arguments = [v.type for v in fused.inputs[: len(fused.inputs) - states]]
    batches = ""
    if takes_batches(arguments, [v.type for v in fused.outputs[:results]]):
        batches = emit_batches(module, target, plan, arguments, results, name)
    text = module.text()
    artifact = Artifact(
        name=graph.name,
        inputs=tuple(v.type for v in fused.inputs),
        outputs=tuple(v.type for v in fused.outputs[:results]),
        states=states,
        size_names=fused.size_names(),
        constants=tuple(node.attrs["value"] for node in constants(fused, calls)),
        plan=plan,
        entry=name,
        step=step_of(name),
        batches=batches,
        objects=(_object_file(text, target, cache, check),),
        target=f"{target.triple} {target.features}",
        kernels=len(kernels),
    )
    nodes = tuple(call.node for call in made)
    return NativeCode(artifact, fused, nodes, kernels, text, target, time.perf_counter() - started)


def _check_lowerings(graph: Graph) -> None:
    """GraphError for an op that only the interpreter can run."""
    for node in graph.nodes:
        if node.op.lower is None:
            place = f" in layer {node.loc.layer}" if node.loc.layer else ""
            fix = "Give `primitive` a `lower`, or use kgraph.execution('interpreter')"
            expected = "a lowering, to become native code"
            raise GraphError(f"op '{node.op.name}'{place}", expected=expected, received="none", fix=fix)
        for value in node.attrs.values():
            if isinstance(value, Graph):
                _check_lowerings(value)


def _object_file(text: str, target: Target, cache: Cache | None, check: bool) -> ObjectFile:
    key = object_key(text, target)
    code = None if cache is None else cache.get(key)
    if code is None:
        code = to_object(text, target, check=check)
        if cache is not None:
            cache.put(key, code)
    return ObjectFile(key, code)


def _with_states(rule: Callable[[Graph, int], Graph], states: int) -> Callable[[Graph], Graph]:
    def bound(graph: Graph) -> Graph:
        return rule(graph, states)

    bound.__name__ = rule.__name__
    return bound


def _optimised(calls: Lowered, known: dict[int | str, Kernel], check: bool) -> tuple[LoweredCall | LoweredLoop, ...]:
    """The calls with loop passes applied to all kernels.

    `known` are results by the identity of the kernel's buffers, which those share that were lowered together, and by
    its text without its name: kernels that differ in nothing else come to share buffers and body, too.
    """
    made: list[LoweredCall | LoweredLoop] = []
    for call in calls:
        if isinstance(call, LoweredLoop):
            copies = (call.start, call.end)
            start, end = (tuple(_optimised_kernel(c, known, check) for c in some) for some in copies)
            made.append(replace(call, start=start, calls=_optimised(call.calls, known, check), end=end))
        else:
            made.append(_optimised_kernel(call, known, check))
    return tuple(made)


def _optimised_kernel(call: LoweredCall, known: dict[int | str, Kernel], check: bool) -> LoweredCall:
    """The call with loop passes applied; they keep the number and order of the kernel's buffers."""
    same = id(call.kernel.buffers)
    if same not in known:
        text = kernel_to_text(replace(call.kernel, name="k"))
        if text not in known:
            known[text] = _after_loop_passes(call.kernel, check)
        known[same] = known[text]
    return replace(call, kernel=replace(known[same], name=call.kernel.name))


def _after_loop_passes(kernel: Kernel, check: bool) -> Kernel:
    for loop_pass in LOOP_PASSES:
        if check:
            verify_kernel(kernel)
        kernel = loop_pass(kernel)
    if check:
        verify_kernel(kernel)
    return kernel


def _scratch_rule(target: Target) -> Callable[[str, DType, Sequence[Dim]], Dim]:
    """Bytes of private memory of a matrix product: packed operands, and partial sums of long products."""

    def rule(kind: str, dtype: DType, sizes: Sequence[Dim]) -> Dim:
        m, n, k = sizes
        plain, transposed = (scratch_bytes(target, MatmulSpec(dtype.llvm, a, False), m, n, k) for a in (False, True))
        if kind == "windows":
            # Those that are products of plain matrices: gradients of weights reduce over symbolic sizes.
            apart = transposed if isinstance(m, int) else plain
            return max(window_scratch_bytes(target, dtype.llvm), apart)
        return {"matmul": plain, "transposed matmul": transposed}[kind]

    return rule


def plan_text(plan: MemoryPlan) -> str:
    """The memory plan as text: places, slots and calls."""
    lines = ["places"]
    lines += [f"  {n:4} {p.name:24} {p.type!s:28} {p.kind} {p.index}" for n, p in enumerate(plan.places)]
    lines += ["slots"]
    lines += [f"  {n:4} max({', '.join(map(str, slot.nbytes))}) bytes" for n, slot in enumerate(plan.slots)]
    lines += ["calls", *_call_lines(plan, plan.calls, "  ")]
    return "\n".join(lines) + "\n"


def _call_lines(plan: MemoryPlan, calls: Sequence[KernelCall | Loop], indent: str) -> list[str]:
    lines = []
    for call in calls:
        if isinstance(call, Loop):
            lines += _call_lines(plan, call.start, indent)
            condition = f", while {plan.places[call.carries[0].old].name}" * call.conditional
            lines.append(f"{indent}for each of {call.length} steps{', last first' * call.reverse}{condition}:")
            lines += _call_lines(plan, call.calls, indent + "  ")
        else:
            lines.append(f"{indent}{call.kernel}({', '.join(plan.places[n].name for n in call.args)})")
    return lines
