"""Binds arrays and sizes to an artifact and runs it: one native call a run."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kgraph.ir.artifact import Artifact, MemoryPlan
from kgraph.ir.dims import evaluate
from kgraph.runtime.loader import load
from kgraph.runtime.sizes import bind_sizes

Array: TypeAlias = "npt.NDArray[Any]"


def _address(array: Array) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


@dataclass(frozen=True)
class _Binding:
    """What one set of sizes needs: the pointer table with all fixed entries filled, and who keeps memory alive."""

    table: Array
    sizes: Array
    table_address: int
    sizes_address: int
    arena: Array
    output_shapes: tuple[tuple[int, ...], ...]


class Executable:
    """A loaded program, with its states bound to arrays that it updates in place.

    Args:
        artifact: what the compiler made.
        states: arrays of the states, in order; C-contiguous, of exactly the declared types. They must not move.
    """

    MAX_BINDINGS = 16  # sets of sizes whose arenas are kept; the oldest goes first

    def __init__(self, artifact: Artifact, states: Sequence[Array]) -> None:
        self.artifact = artifact
        self._states = tuple(states)
        self._code = load(artifact.object_code, [artifact.entry])
        self._entry = self._code.function(artifact.entry)
        self._bindings: dict[tuple[int, ...], _Binding] = {}
        arguments = len(artifact.inputs) - artifact.states
        self._argument_types = artifact.inputs[:arguments]
        self._dtypes = [t.dtype.to_numpy() for t in self._argument_types]
        self._argument_entries = self._entries(artifact.plan, "input", 0, arguments)
        self._output_entries = self._entries(artifact.plan, "output", 0, len(artifact.outputs))
        self._output_dtypes = [t.dtype.to_numpy() for t in artifact.outputs]

    @staticmethod
    def _entries(plan: MemoryPlan, kind: str, start: int, stop: int) -> list[tuple[int, int]]:
        """(entry of the table, number) of the places of a kind that have numbers in start .. stop-1."""
        return [(n, p.index) for n, p in enumerate(plan.places) if p.kind == kind and start <= p.index < stop]

    def run(self, arguments: Sequence[Array]) -> list[Array]:
        """Run once. Arguments are C-contiguous arrays of the declared element types; states change in place."""
        sizes = bind_sizes(self._argument_types, arguments, self.artifact.size_names)
        binding = self._bindings.get(sizes) or self._bind(sizes)
        table = binding.table
        for entry, number in self._argument_entries:
            array = arguments[number]
            if array.dtype != self._dtypes[number] or not array.flags.c_contiguous:
                raise AssertionError(f"argument {number} of {self.artifact.name} is not prepared: {array.dtype}")
            table[entry] = _address(array)
        results = [np.empty(s, d) for s, d in zip(binding.output_shapes, self._output_dtypes, strict=True)]
        for entry, number in self._output_entries:
            table[entry] = _address(results[number])
        self._entry(binding.table_address, binding.sizes_address)
        return results

    def arena_bytes(self, sizes: Sequence[int]) -> int:
        """Bytes of working memory that these sizes need."""
        return self.artifact.plan.layout(dict(zip(self.artifact.size_names, sizes, strict=True)))[1]

    def _bind(self, key: tuple[int, ...]) -> _Binding:
        artifact, plan = self.artifact, self.artifact.plan
        by_name = dict(zip(artifact.size_names, key, strict=True))
        offsets, total = plan.layout(by_name)
        arena = np.empty(total + plan.ALIGNMENT, np.uint8)
        base = -(-_address(arena) // plan.ALIGNMENT) * plan.ALIGNMENT
        first_state = len(artifact.inputs) - artifact.states
        table = np.zeros(len(plan.places) + 1, np.uintp)
        for n, place in enumerate(plan.places):
            if place.kind == "slot":
                table[n] = base + offsets[place.index]
            elif place.kind == "constant":
                table[n] = _address(artifact.constants[place.index])
            elif place.kind == "input" and place.index >= first_state:
                table[n] = _address(self._states[place.index - first_state])
        sizes = np.array([*key, 0], np.int64)
        shapes = tuple(tuple(evaluate(d, by_name) for d in t.shape) for t in artifact.outputs)
        if len(self._bindings) >= self.MAX_BINDINGS:
            self._bindings.pop(next(iter(self._bindings)))
        binding = _Binding(table, sizes, _address(table), _address(sizes), arena, shapes)
        self._bindings[key] = binding
        return binding


# The entry point's type; ctypes releases the interpreter lock while it runs.
ENTRY = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
