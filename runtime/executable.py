"""Binds arrays and sizes to an artifact and runs it: one native call a run, or one for many batches."""

from __future__ import annotations

import threading
from array import array as numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kgraph.ir.artifact import Artifact, MemoryPlan, Step
from kgraph.ir.dims import evaluate
from kgraph.record import record
from kgraph.runtime.loader import check_target, load
from kgraph.runtime.memory import address_of, allocate
from kgraph.runtime.sharing import flags_of
from kgraph.runtime.sizes import bind_sizes
from kgraph.runtime.states import PackedCopy, State, bytes_of_copy, count_change
from kgraph.runtime.threads import run_in_team, thread_count

Array: TypeAlias = "npt.NDArray[Any]"

@record(eq=False)
class Binding:
    """What one set of sizes needs: the pointer table with all fixed entries filled, and who keeps memory alive.

    Attributes:
        table: a pointer for each place; those of arguments and results are filled in for each run.
        table_address, sizes_address: for a native call in one thread.
        step_address: address of the `Step` for a call of several threads; they have private memory of their own.
        threads: how many it is for; 1 if the work is too little to be shared.
        outputs: shapes and element types of the results.
        keeps: memory that the pointers lead to.
    """

    table: numbers[int]
    table_address: int
    sizes_address: int
    step_address: int
    threads: int
    outputs: tuple[tuple[tuple[int, ...], np.dtype[Any]], ...]
    keeps: tuple[Any, ...]


class Executable:
    """A loaded program, with its states bound to arrays that it updates in place.

    Several Python threads may call it; the calls run one after another.

    Args:
        artifact: what the compiler made.
        states: in order; their arrays are C-contiguous, of exactly the declared types, and must not move.
        check_sizes: raises an error for values of the symbolic sizes that the program cannot run with.
        largest_of: says, for values of the sizes, what most of the working memory is for.
        checked: this machine is known to have what the code needs.

    Attributes:
        updated: the states that a run writes.
    """

    MAX_BINDINGS = 16  # sets of sizes whose arenas are kept; the oldest goes first

    def __init__(
        self, artifact: Artifact, states: Sequence[State], *,
        check_sizes: Callable[[Mapping[str, int]], None] | None = None,
        largest_of: Callable[[Mapping[str, int]], str] = lambda _: "", checked: bool = False,
    ) -> None:  # fmt: skip
        self.artifact = artifact
        self._check_sizes, self._largest_of = check_sizes, largest_of
        self.lock = threading.Lock()
        self._states = tuple(states)
        first = len(artifact.inputs) - artifact.states
        self.updated = [self._states[n - first] for n in artifact.plan.updated_inputs() if n >= first]
        self._copies: dict[int, PackedCopy] = {}  # by their places; made for the first run
        if not checked:
            check_target(artifact.target)
        self.code = load([file.code for file in artifact.objects], artifact.symbols)
        self._entry = self.code.function(artifact.entry)
        self._step, self._step_address = self.code.function(artifact.step, 3), self.code.address(artifact.step)
        self._bindings: dict[tuple[int, ...], Binding] = {}
        self._known: dict[tuple[Any, ...], Binding] = {}  # by threads, and shapes, types and layouts of arguments
        arguments = len(artifact.inputs) - artifact.states
        self.argument_types = artifact.inputs[:arguments]
        self._dtypes = [t.dtype.to_numpy() for t in self.argument_types]
        self._argument_entries = self._entries(artifact.plan, "input", 0, arguments)
        self._output_entries = self._entries(artifact.plan, "output", 0, len(artifact.outputs))

    @staticmethod
    def _entries(plan: MemoryPlan, kind: str, start: int, stop: int) -> list[tuple[int, int]]:
        """(entry of the table, number) of the places of a kind that have numbers in start .. stop-1."""
        return [(n, p.index) for n, p in enumerate(plan.places) if p.kind == kind and start <= p.index < stop]

    def run(self, arguments: Sequence[Array]) -> list[Array]:
        """Run once. Arguments are C-contiguous arrays of the declared element types; states change in place."""
        key = (thread_count(), *[(a.shape, a.dtype, a.flags.c_contiguous) for a in arguments])
        with self.lock:
            binding = self._known.get(key) or self._binding_for(key, arguments)
            table = binding.table
            for entry, number in self._argument_entries:
                table[entry] = address_of(arguments[number])
            results = self._new_results(binding)
            for entry, number in self._output_entries:
                table[entry] = address_of(results[number])
            if self._copies:
                self.refresh_copies()
            try:
                if binding.threads == 1:
                    self._entry(binding.table_address, binding.sizes_address)
                else:
                    run_in_team(binding.threads, self.code, self._step_address, self._step, binding.step_address)
            finally:
                if self.updated:
                    count_change(self.updated)
        return results

    def refresh_copies(self) -> None:
        """Before a run: pack the states again that have changed; the caller holds the lock."""
        for copy in self._copies.values():
            copy.refresh()

    def _new_results(self, binding: Binding) -> list[Array]:
        try:
            return [np.empty(shape, dtype) for shape, dtype in binding.outputs]
        except (MemoryError, ValueError):  # `allocate` tells which is too large
            return [allocate(f"{self.artifact.name}: a result", *output) for output in binding.outputs]

    def check(self, arguments: Sequence[Array]) -> None:
        """The program reads memory as it stands: arrays of another type or layout are a fault of the caller."""
        for number, (array, dtype) in enumerate(zip(arguments, self._dtypes, strict=True)):
            if array.dtype != dtype or not array.flags.c_contiguous:
                raise AssertionError(f"argument {number} of {self.artifact.name} is not prepared: {array.dtype}")

    def arena_bytes(self, sizes: Sequence[int]) -> int:
        """Bytes of working memory that are allocated for these sizes: the arena, private memory of each thread in
        force, and what it takes to align them."""
        return self._memory(thread_count(), sizes)[2]

    @property
    def packed_bytes(self) -> int:
        """Bytes of the packed copies of states that the program reads, whatever the sizes."""
        return sum(bytes_of_copy(place.type) for place in self.artifact.plan.places if place.kind == "packed")

    def _binding_for(self, key: tuple[Any, ...], arguments: Sequence[Array]) -> Binding:
        """The binding for arguments of a kind not seen before; ShapeError if they do not fit the program."""
        self.check(arguments)
        binding = self._known[key] = self.bind(bind_sizes(self.argument_types, arguments, self.artifact.size_names))
        return binding

    def bind(self, sizes: tuple[int, ...]) -> Binding:
        """Memory for one set of sizes and the number of threads in force; the caller holds the lock."""
        key = (thread_count(), *sizes)
        found = self._bindings.get(key)
        if found is None:
            if len(self._bindings) >= self.MAX_BINDINGS:
                self._bindings.pop(next(iter(self._bindings)))
                self._known.clear()
            found = self._bindings[key] = self._new_binding(thread_count(), sizes)
        return found

    def _memory(self, threads: int, sizes: Sequence[int]) -> tuple[int, int, int]:
        """Threads that take part, bytes of private memory of each, and bytes of all working memory."""
        plan = self.artifact.plan
        by_name = dict(zip(self.artifact.size_names, sizes, strict=True))
        shared = any(flag & Step.SHARED for flag in flags_of(plan, by_name, threads))
        threads = threads if shared else 1
        private = plan.private_layout(by_name)[1] if threads > 1 else 0
        return threads, private, plan.layout(by_name)[1] + threads * private + plan.ALIGNMENT

    def _copy(self, place: int) -> PackedCopy:
        if place not in self._copies:
            found = self.artifact.plan.places[place]
            what = f"{self.artifact.name}: packed copy of state {found.index}"
            self._copies[place] = self._states[found.index].packed(found.type, what)
        return self._copies[place]

    def _new_binding(self, threads: int, sizes: tuple[int, ...]) -> Binding:
        artifact, plan = self.artifact, self.artifact.plan
        by_name = dict(zip(artifact.size_names, sizes, strict=True))
        if self._check_sizes is not None:
            self._check_sizes(by_name)
        offsets, total = plan.layout(by_name)
        flags = flags_of(plan, by_name, threads)
        threads, private, nbytes = self._memory(threads, sizes)
        batch = ", ".join(f"{name}={size}" for name, size in by_name.items())
        arena = allocate(f"{artifact.name}: working memory for {batch or 'one run'}", (nbytes,), np.uint8,
                         lambda: self._largest_of(by_name))  # fmt: skip
        base = -(-address_of(arena) // plan.ALIGNMENT) * plan.ALIGNMENT
        first_state = len(artifact.inputs) - artifact.states
        table = numbers("Q", bytes(8 * (len(plan.places) + 1)))
        for n, place in enumerate(plan.places):
            if place.kind == "slot":
                table[n] = base + offsets[place.index]
            elif place.kind == "constant":
                table[n] = address_of(artifact.constants[place.index])
            elif place.kind == "input" and place.index >= first_state:
                table[n] = address_of(self._states[place.index - first_state].array)
            elif place.kind == "packed":
                table[n] = address_of(self._copy(n).array)
        within = plan.private_layout(by_name)[0]
        values, flag_array, starts = (
            numbers("q", [*fields, 0]) for fields in (sizes, flags, (within.get(n, 0) for n in range(len(plan.places))))
        )
        step = numbers("Q", bytes(8 * Step.FIELDS))
        for field, value in (
            (Step.TABLE, table.buffer_info()[0]), (Step.SIZES, values.buffer_info()[0]),
            (Step.FLAGS, flag_array.buffer_info()[0]), (Step.PRIVATE, base + total), (Step.PRIVATE_BYTES, private),
            (Step.OFFSETS, starts.buffer_info()[0]),
        ):  # fmt: skip
            step[field] = value
        outputs = tuple(
            (tuple(evaluate(d, by_name) for d in t.shape), t.dtype.to_numpy()) for t in artifact.outputs
        )
        at, sizes_at, step_at = (a.buffer_info()[0] for a in (table, values, step))
        return Binding(table, at, sizes_at, step_at, threads, outputs, (arena, values, flag_array, starts, step))
