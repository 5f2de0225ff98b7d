"""Runs lowered kernels on planned memory, element by element: the oracle for lowering and planning."""

from __future__ import annotations

import numpy as np

from kgraph.compiler.lower import constants, lower, lowered_kernels
from kgraph.compiler.passes.fuse import fuse
from kgraph.compiler.passes.memory_plan import copy_outputs, memory_plan
from kgraph.ir.artifact import Loop
from kgraph.ir.dims import evaluate
from kgraph.ir.verify import verify, verify_kernel
from kgraph.runtime.loop_interpreter import run_kernel
from kgraph.runtime.sizes import bind_sizes


def run_planned(graph, inputs, states=0, loop_passes=()):
    """Outputs of `graph` computed by its kernels in one arena; states come back updated in place.

    The arena is filled with 0xFF bytes (NaN in floats), so that memory read before it is written shows.
    """
    fused = copy_outputs(fuse(graph), states)
    verify(fused)
    calls = lower(fused, lambda kind, dtype, sizes: 64)
    for call in lowered_kernels(calls):
        verify_kernel(call.kernel)
    runner = _Runner(fused, calls, memory_plan(fused, calls, states), inputs, states)
    runner.run(calls, runner.plan.calls, loop_passes)
    return runner.results + runner.states


class _Runner:
    """The memory of one run, and what pieces and carries stand for in the step that runs."""

    def __init__(self, graph, calls, plan, inputs, states):
        self.plan, self.inputs = plan, inputs
        names = graph.size_names()
        values = bind_sizes([v.type for v in graph.inputs], inputs, names)
        self.sizes = dict(zip(names, values, strict=True))
        self.offsets, total = plan.layout(self.sizes)
        self.arena = np.full(total, 0xFF, np.uint8)
        self.arguments = len(graph.inputs) - states
        self.states = [np.array(x) for x in inputs[self.arguments :]]
        results = graph.outputs[: len(graph.outputs) - states]
        self.results = [np.zeros(v.type.concrete(self.sizes), v.type.dtype.to_numpy()) for v in results]
        self.constants = [node.attrs["value"] for node in constants(graph, calls)]
        self.moving = {}

    def memory(self, number):
        """The elements of a place."""
        place = self.plan.places[number]
        length = evaluate(place.type.size, self.sizes)
        match place.kind:
            case "slot":
                piece = self.arena[self.offsets[place.index] :][: length * place.type.dtype.itemsize]
                return piece.view(place.type.dtype.to_numpy())
            case "piece":
                return self.memory(place.index)[self.moving[number] * length :][:length]
            case "carry":
                return self.memory(self.moving[number])
            case "input" if place.index >= self.arguments:
                return self.states[place.index - self.arguments].reshape(-1)
            case "input":
                return np.ascontiguousarray(self.inputs[place.index]).reshape(-1)
            case "constant":
                return np.ascontiguousarray(self.constants[place.index]).reshape(-1)
            case _:
                return self.results[place.index].reshape(-1)

    def run(self, calls, planned_calls, loop_passes):
        """Run calls and loops, one after another."""
        for call, planned in zip(calls, planned_calls, strict=True):
            if isinstance(planned, Loop):
                self.loop(call, planned, loop_passes)
                continue
            kernel = call.kernel
            for loop_pass in loop_passes:
                kernel = loop_pass(kernel)
            for n in planned.args[len(call.inputs) + len(call.outputs) :]:
                self.memory(n)[...] = 0xFF  # private memory holds anything
            run_kernel(kernel, [self.memory(n) for n in planned.args], self.sizes)

    def loop(self, loop, planned, loop_passes):
        """Run all steps."""
        length = evaluate(planned.length, self.sizes)
        self.moving.update({carry.old: planned.turn(carry, length)[0] for carry in planned.carries})
        self.run(loop.start, planned.start, loop_passes)
        for done in range(length):
            if planned.conditional and not self.memory(planned.carries[0].old)[0]:
                break
            for carry in planned.carries:
                self.moving[carry.old], self.moving[carry.new] = planned.turn(carry, length - done)
            self.moving.update(dict.fromkeys(planned.pieces, length - 1 - done if planned.reverse else done))
            self.run((*loop.calls, *loop.end), planned.calls, loop_passes)
