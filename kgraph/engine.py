"""From a traced program to something that runs: compiles lazily, runs natively or in the interpreter, shows stages."""

from __future__ import annotations

import functools
import itertools
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

from kgraph.buffers import BufferMemory, largest_buffers
from kgraph.config import count_compilation, settings
from kgraph.errors import ArgumentError, OutOfMemoryError
from kgraph.ir.artifact import Artifact
from kgraph.ir.graph import Graph
from kgraph.ir.printer import to_text
from kgraph.primitives import REGISTRY
from kgraph.record import record
from kgraph.runtime.cache import open_cache
from kgraph.runtime.executable import Executable
from kgraph.runtime.interpreter import Watch, interpret
from kgraph.runtime.sizes import bind_sizes
from kgraph.runtime.stored_program import StoredProgram
from kgraph.size_rules import SizeRules
from kgraph.trace import Program

if TYPE_CHECKING:
    import numpy.typing as npt

    from kgraph.compiler.driver import NativeCode

Array: TypeAlias = "npt.NDArray[Any]"


@functools.cache
def _compiler() -> ModuleType:
    """The compiler: a third of all modules, loaded when the first program needs it."""
    import kgraph.compiler.driver as driver

    return driver


STAGES = ("traced", "optimized", "fused", "loops", "plan", "llvm", "asm")


@record
class CompileReport:
    """Figures of one compilation.

    Attributes:
        nodes: ops of the optimised graph.
        kernels: native kernels after fusion.
        seconds: wall time of the compilation, passes and code generation; of reading it if it was on disk.
        code_bytes: size of the object code.
    """

    nodes: int
    kernels: int
    seconds: float
    code_bytes: int


class CompiledProgram:
    """A program that can run in both ways; native code is made at the first native run, once for all batch sizes.

    Args:
        program: what was traced.

    Attributes:
        argument_types: types of the arguments, in order.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self._observer = _dump_observer(program.graph.name)
        self._expanded: Graph | None = None
        self._optimized: Graph | None = None
        self._native: NativeCode | None = None
        self._artifact: Artifact | None = None
        self._executable: Executable | None = None
        self._seconds = 0.0
        self._rules = SizeRules(program.graph)
        self.argument_types = [v.type for v in program.graph.inputs[: len(program.arguments)]]

    @property
    def expanded(self) -> Graph:
        """The traced graph with gradients written out and losses in stable form: what the interpreter runs."""
        if self._expanded is None:
            self._expanded = self._run_passes(self.program.graph, "expand")
        return self._expanded

    @property
    def optimized(self) -> Graph:
        """The expanded graph after simplification: what is compiled."""
        if self._optimized is None:
            self._optimized = self._run_passes(self.expanded, "optimize")
        return self._optimized

    @property
    def native(self) -> NativeCode:
        """The native code and its intermediate forms; compiled when asked for first."""
        if self._native is None:
            states = len(self.program.variables)
            self._native = _compiler().compile_native(
                self.optimized, states, check=settings().verify, observer=self._observer,
                cache=open_cache(settings().cache),
            )
            self._seconds += self._native.seconds
            self._made(self._native.artifact)
            self._write_dumps()
        return self._native

    @property
    def artifact(self) -> Artifact:
        """What native code runs from: compiled, or as a former process left it in the cache on disk."""
        if self._artifact is None:
            started = time.perf_counter()
            stored = self._store.get()
            if stored is None:
                return self.native.artifact
            self._seconds += time.perf_counter() - started
            self._made(stored)
        assert self._artifact is not None
        return self._artifact

    def _made(self, artifact: Artifact) -> None:
        if self._artifact is None:
            self._artifact = artifact
            count_compilation()

    @functools.cached_property
    def _store(self) -> StoredProgram:
        """Where the artifact may be on disk; nowhere if somebody wants to see it being compiled."""
        watched = self._observer is not None or settings().verify
        # A program is found by its text, which has the names of ops: those of the user may come to mean something else.
        cache = None if watched or not _from_the_table(self.program.graph) else open_cache(settings().cache)
        return StoredProgram(cache, self.program.graph, len(self.program.variables), settings().target_cpu)

    @property
    def executable(self) -> Executable:
        """The native code, loaded and bound to the variables."""
        if self._executable is None:
            artifact, states = self.artifact, [v.state for v in self.program.variables]
            self._executable = Executable(
                artifact, states, check_sizes=self._rules.check, largest_of=self._largest_of, checked=self._store.found
            )
            self._store.put(artifact)
        return self._executable

    def run(self, arguments: Sequence[Array], execution: str | None = None) -> list[Array]:
        """Run once; variables are updated in place.

        Args:
            arguments: C-contiguous arrays of the declared element types.
            execution: "native" or "interpreter"; None means the setting in force.

        Returns:
            The results, in the program's order.
        """
        self.check(arguments)
        if (execution or settings().execution) == "interpreter":
            return self._interpret(arguments)
        return self.executable.run(arguments)

    def check(self, arguments: Sequence[Array]) -> None:
        """Raise an error if the arguments' numbers are not what the program demands; they may have more rows than a run
        will take."""
        for demand in self.program.demands:
            array = arguments[demand.argument]
            demand.test(interpret(demand.view, [array])[0] if demand.view.nodes else array)

    def _interpret(self, arguments: Sequence[Array]) -> list[Array]:
        variables = self.program.variables
        states = [variable.array for variable in variables]
        self.check_sizes(arguments)
        try:
            outputs = interpret(self.expanded, [*arguments, *states])
        except MemoryError as error:
            graph = self.program.graph
            fix = "Use a smaller batch_size" if graph.size_names() else ""
            raise OutOfMemoryError(f"{graph.name}: {error}", fix=fix) from None
        results = len(self.program.results)
        for variable, old, value in zip(variables, states, outputs[results:], strict=True):
            if value is not old:
                variable.set_value(value)
        return outputs[:results]

    def watch(self, arguments: Sequence[Array], watch: Watch) -> None:
        """Run the interpreter without changing anything; `watch` sees each op's results."""
        interpret(self.expanded, [*arguments, *(v.array for v in self.program.variables)], watch=watch)

    def check_sizes(self, arguments: Sequence[Array]) -> None:
        """ShapeError unless the program can run with arguments of these shapes; native runs do that themselves."""
        names = self.program.graph.size_names()
        self._rules.check(dict(zip(names, bind_sizes(self.argument_types, arguments, names), strict=True)))

    def report(self) -> CompileReport:
        """Figures of the compilation; compiles if that has not happened."""
        artifact, seconds = self.artifact, self._seconds
        return CompileReport(len(self.optimized.nodes), artifact.kernels, seconds, artifact.code_bytes)

    def arena_bytes(self, **sizes: int) -> int:
        """Bytes of working memory for given sizes, such as ``arena_bytes(batch=32)``."""
        return self.artifact.plan.layout(sizes)[1]

    def largest_buffers(self, sizes: Mapping[str, int]) -> list[BufferMemory]:
        """The largest pieces of the working memory for these sizes; compiles a program that was read from disk."""
        return largest_buffers(self.artifact.plan, self.native.nodes, sizes)

    def _largest_of(self, sizes: Mapping[str, int]) -> str:
        """What an error says of the largest piece."""
        largest = next(iter(self.largest_buffers(sizes)), None)
        if largest is None:
            return ""
        owner = f"layer '{largest.layer}'" if largest.layer else largest.kernel
        return f", {largest.nbytes:,} of them for {owner}"

    def dump(self, stage: str) -> str:
        """The program at a stage of `STAGES`, as text."""
        match stage:
            case "traced":
                return to_text(self.program.graph)
            case "optimized":
                return to_text(self.optimized)
            case "fused":
                return to_text(self.native.fused)
            case "loops":
                return self.native.loops_text()
            case "plan":
                return str(_compiler().plan_text(self.artifact.plan))
            case "llvm":
                return self.native.llvm
            case "asm":
                return self.native.assembly()
        raise ArgumentError("dump(stage)", expected="one of " + ", ".join(STAGES), received=repr(stage))

    def _run_passes(self, graph: Graph, name: str) -> Graph:
        compiler = _compiler()
        started = time.perf_counter()
        passes = {"expand": compiler.EXPAND, "optimize": compiler.OPTIMIZE}[name]
        result: Graph = compiler.run(graph, passes, name=name, observer=self._observer)
        self._seconds += time.perf_counter() - started
        return result

    def _write_dumps(self) -> None:
        if self._observer is not None:
            for stage in STAGES:
                self._observer.write(f"stage_{stage}", self.dump(stage))


def _from_the_table(graph: Graph) -> bool:
    """Whether all ops, also of graphs inside attributes, are those of the package."""
    return all(
        REGISTRY.get(node.op.name) is node.op
        and all(_from_the_table(value) for value in node.attrs.values() if isinstance(value, Graph))
        for node in graph.nodes
    )


class _DumpFolder:
    """Receives the graph after every pass, and writes each to its own numbered file."""

    _programs = itertools.count()

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder / f"{next(self._programs):03}_{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            received = f"{str(folder)!r} ({error.strerror})"
            raise ArgumentError("KGRAPH_DUMP", expected="a folder that can be written", received=received) from error
        self._count = itertools.count()

    def __call__(self, pipeline: str, pass_name: str, graph: Graph) -> None:
        self.write(f"{next(self._count):02}_{pipeline}_{pass_name}", to_text(graph))

    def write(self, name: str, text: str) -> None:
        (self.folder / f"{name}.txt").write_text(text)


def _dump_observer(name: str) -> _DumpFolder | None:
    folder = settings().dump
    return _DumpFolder(Path(folder), name) if folder else None
