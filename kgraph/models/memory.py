"""The report of `Model.memory_report`: what every program of a model needs, exactly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kgraph.buffers import BufferMemory
from kgraph.engine import CompiledProgram
from kgraph.errors import ArgumentError
from kgraph.ir.dims import evaluate
from kgraph.ir.types import TensorType
from kgraph.record import record
from kgraph.variable import Variable


@record
class ProgramMemory:
    """Bytes that one program needs.

    Attributes:
        name: "predict", "evaluate" or "train".
        arena: working memory, allocated once for each batch size: intermediate results, and private memory of every
            thread.
        inputs, outputs: arguments and results of one run.
        constants: tables.
        states: variables that the program reads or updates, shared by all programs.
        packed: copies of weights in the order in which convolutions read them, for programs that do not update them;
            allocated once, for all batch sizes and all such programs of the model.
        code: object code.
        largest: the largest pieces of the working memory, largest first; of private memory only the largest, as one
            kernel runs after another. Pieces that are not needed at the same time share bytes.
    """

    name: str
    arena: int
    inputs: int
    outputs: int
    constants: int
    states: int
    packed: int
    code: int
    largest: tuple[BufferMemory, ...]


@record
class MemoryReport:
    """Bytes that a model needs; `print` it for a table.

    Attributes:
        batch_size: rows of one batch.
        parameters: weights of the layers.
        optimizer: slots and counters of the optimizer.
        other: running values of losses and metrics, random state.
        programs: predict; for a compiled model also evaluate and train.
    """

    batch_size: int
    parameters: int
    optimizer: int
    other: int
    programs: tuple[ProgramMemory, ...]

    def __getitem__(self, name: str) -> ProgramMemory:
        """The program of this name."""
        for program in self.programs:
            if program.name == name:
                return program
        known = ", ".join(program.name for program in self.programs)
        raise ArgumentError("memory report", expected=f"one of {known}", received=repr(name))

    def __str__(self) -> str:
        lines = [f"Memory in bytes, batches of {self.batch_size}"]
        for name, value in (("parameters", self.parameters), ("optimizer", self.optimizer), ("other", self.other)):
            lines.append(f"  {name:<12}{value:>14,}")
        heads = ("arena", "inputs", "outputs", "constants", "packed", "code")
        lines.append(f"  {'program':<12}" + "".join(f"{head:>14}" for head in heads))
        for p in self.programs:
            lines.append(f"  {p.name:<12}" + "".join(f"{getattr(p, head):>14,}" for head in heads))
        for p in self.programs:
            lines.append(f"  largest buffers of {p.name}")
            lines += [
                f"    {b.nbytes:>14,}  {b.layer or '-'}  {b.kernel}  {b.kind} {b.dtype} {b.shape}" for b in p.largest
            ] or ["    none"]
        return "\n".join(lines)


def memory_report(
    programs: Mapping[str, CompiledProgram], batch_size: int, sizes: Mapping[str, int],
    weights: Sequence[Variable], optimizer: Sequence[Variable],
) -> MemoryReport:  # fmt: skip
    """Report what `programs` need; compiles those that are not yet compiled, and allocates nothing.

    Args:
        programs: by name.
        batch_size: rows of one batch.
        sizes: values of all symbolic sizes, that of the batch among them.
        weights: the model's.
        optimizer: its variables.
    """
    states = dict.fromkeys(v for program in programs.values() for v in program.program.variables)
    other = [v for v in states if v not in {*weights, *optimizer}]
    reports = tuple(_program_memory(name, program, sizes) for name, program in programs.items())
    return MemoryReport(batch_size, _total(weights), _total(optimizer), _total(other), reports)


def _program_memory(name: str, program: CompiledProgram, sizes: Mapping[str, int]) -> ProgramMemory:
    artifact = program.artifact
    missing = [size for size in artifact.size_names if size not in sizes]
    if missing:
        raise ArgumentError("memory_report", expected=f"values of the sizes {', '.join(missing)}", received="none",
                            fix=f"Use memory_report(batch_size, {missing[0]}=...)")  # fmt: skip
    known = {size: sizes[size] for size in artifact.size_names}
    arguments = artifact.inputs[: len(artifact.inputs) - artifact.states]
    return ProgramMemory(
        name,
        program.executable.arena_bytes(tuple(known.values())),
        _bytes_of(arguments, known),
        _bytes_of(artifact.outputs, known),
        sum(constant.nbytes for constant in artifact.constants),
        _total(program.program.variables),
        program.executable.packed_bytes,
        artifact.code_bytes,
        tuple(program.largest_buffers(known)),
    )


def _bytes_of(types: Iterable[TensorType], sizes: Mapping[str, int]) -> int:
    return sum(evaluate(type_.nbytes, sizes) for type_ in types)


def _total(variables: Iterable[Variable]) -> int:
    return sum(variable.array.nbytes for variable in variables)
