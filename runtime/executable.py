"""Binds arrays and sizes to an artifact and runs it: one native call a run, or one for many batches."""

from __future__ import annotations

import ctypes
import threading
from array import array as numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kgraph.ir.artifact import Artifact, MemoryPlan
from kgraph.ir.dims import evaluate
from kgraph.runtime.loader import check_target, load
from kgraph.runtime.sizes import bind_sizes

Array: TypeAlias = "npt.NDArray[Any]"

# The address of an array's elements is the first field after the head that every Python object has: this is part of
# NumPy's binary interface, and ten times as fast to read as `array.ctypes.data`.
_HEAD = object.__basicsize__
_pointer_at = ctypes.c_void_p.from_address


def address_of(array: Array) -> int:
    """Address of the first element of an `np.ndarray`; 0 may stand for that of an array without elements."""
    return _pointer_at(id(array) + _HEAD).value or 0


@dataclass(frozen=True, eq=False)
class Binding:
    """What one set of sizes needs: the pointer table with all fixed entries filled, and who keeps memory alive.

    Attributes:
        table: a pointer for each place; those of arguments and results are filled in for each run.
        table_address, sizes_address: for the native call.
        output_shapes: shapes of the results.
        keeps: memory that the pointers lead to.
    """

    table: numbers[int]
    table_address: int
    sizes_address: int
    output_shapes: tuple[tuple[int, ...], ...]
    keeps: tuple[Any, ...]


class Executable:
    """A loaded program, with its states bound to arrays that it updates in place.

    Several Python threads may call it; the calls run one after another.

    Args:
        artifact: what the compiler made.
        states: arrays of the states, in order; C-contiguous, of exactly the declared types. They must not move.
    """

    MAX_BINDINGS = 16  # sets of sizes whose arenas are kept; the oldest goes first

    def __init__(self, artifact: Artifact, states: Sequence[Array]) -> None:
        self.artifact = artifact
        self.lock = threading.Lock()
        self._states = tuple(states)
        symbols = [s for s in (artifact.entry, artifact.batches) if s]
        check_target(artifact.target)
        self.code = load(artifact.object_code, symbols)
        self._entry = self.code.function(artifact.entry)
        self._bindings: dict[tuple[int, ...], Binding] = {}
        self._by_shapes: dict[tuple[tuple[int, ...], ...], Binding] = {}
        arguments = len(artifact.inputs) - artifact.states
        self.argument_types = artifact.inputs[:arguments]
        self._dtypes = [t.dtype.to_numpy() for t in self.argument_types]
        self._argument_entries = self._entries(artifact.plan, "input", 0, arguments)
        self._output_entries = self._entries(artifact.plan, "output", 0, len(artifact.outputs))
        self._output_dtypes = [t.dtype.to_numpy() for t in artifact.outputs]

    @staticmethod
    def _entries(plan: MemoryPlan, kind: str, start: int, stop: int) -> list[tuple[int, int]]:
        """(entry of the table, number) of the places of a kind that have numbers in start .. stop-1."""
        return [(n, p.index) for n, p in enumerate(plan.places) if p.kind == kind and start <= p.index < stop]

    def run(self, arguments: Sequence[Array]) -> list[Array]:
        """Run once. Arguments are C-contiguous arrays of the declared element types; states change in place."""
        self.check(arguments)
        with self.lock:
            binding = self._by_shapes.get(tuple([a.shape for a in arguments])) or self._binding_for(arguments)
            table = binding.table
            for entry, number in self._argument_entries:
                table[entry] = address_of(arguments[number])
            results = [np.empty(s, d) for s, d in zip(binding.output_shapes, self._output_dtypes, strict=True)]
            for entry, number in self._output_entries:
                table[entry] = address_of(results[number])
            self._entry(binding.table_address, binding.sizes_address)
        return results

    def check(self, arguments: Sequence[Array]) -> None:
        """The program reads memory as it stands: arrays of another type or layout are a fault of the caller."""
        for number, (array, dtype) in enumerate(zip(arguments, self._dtypes, strict=True)):
            if array.dtype != dtype or not array.flags.c_contiguous:
                raise AssertionError(f"argument {number} of {self.artifact.name} is not prepared: {array.dtype}")

    def arena_bytes(self, sizes: Sequence[int]) -> int:
        """Bytes of working memory that these sizes need."""
        return self.artifact.plan.layout(dict(zip(self.artifact.size_names, sizes, strict=True)))[1]

    def _binding_for(self, arguments: Sequence[Array]) -> Binding:
        """The binding for arguments of shapes not seen before; ShapeError if they do not fit the program."""
        binding = self.bind(bind_sizes(self.argument_types, arguments, self.artifact.size_names))
        self._by_shapes[tuple([a.shape for a in arguments])] = binding
        return binding

    def bind(self, sizes: tuple[int, ...]) -> Binding:
        """Memory for one set of sizes; the caller holds the lock."""
        found = self._bindings.get(sizes)
        if found is not None:
            return found
        artifact, plan = self.artifact, self.artifact.plan
        by_name = dict(zip(artifact.size_names, sizes, strict=True))
        offsets, total = plan.layout(by_name)
        arena = np.empty(total + plan.ALIGNMENT, np.uint8)
        base = -(-address_of(arena) // plan.ALIGNMENT) * plan.ALIGNMENT
        first_state = len(artifact.inputs) - artifact.states
        table = numbers("Q", bytes(8 * (len(plan.places) + 1)))
        for n, place in enumerate(plan.places):
            if place.kind == "slot":
                table[n] = base + offsets[place.index]
            elif place.kind == "constant":
                table[n] = address_of(artifact.constants[place.index])
            elif place.kind == "input" and place.index >= first_state:
                table[n] = address_of(self._states[place.index - first_state])
        values = numbers("q", [*sizes, 0])
        shapes = tuple(tuple(evaluate(d, by_name) for d in t.shape) for t in artifact.outputs)
        if len(self._bindings) >= self.MAX_BINDINGS:
            self._bindings.pop(next(iter(self._bindings)))
            self._by_shapes.clear()
        binding = Binding(table, table.buffer_info()[0], values.buffer_info()[0], shapes, (arena, values))
        self._bindings[sizes] = binding
        return binding
