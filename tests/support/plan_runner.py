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
    plan = memory_plan(fused, calls, states)
    arguments = len(graph.inputs) - states
    names = fused.size_names()
    values = bind_sizes([v.type for v in graph.inputs], inputs, names)
    sizes = dict(zip(names, values, strict=True))
    offsets, total = plan.layout(sizes)
    arena = np.full(total, 0xFF, np.uint8)
    states_now = [np.array(x) for x in inputs[arguments:]]
    results = [
        np.zeros([evaluate(d, sizes) for d in v.type.shape], v.type.dtype.to_numpy())
        for v in fused.outputs[: len(fused.outputs) - states]
    ]
    tables = [node.attrs["value"] for node in constants(fused, calls)]

    moving = {}  # what pieces and carries stand for in this step

    def memory(number):
        place = plan.places[number]
        length = evaluate(place.type.nbytes, sizes) // place.type.dtype.itemsize
        match place.kind:
            case "slot":
                piece = arena[offsets[place.index] :][: length * place.type.dtype.itemsize]
                return piece.view(place.type.dtype.to_numpy())
            case "piece":
                return memory(place.index)[moving[number] * length :][:length]
            case "carry":
                return memory(moving[number])
            case "input" if place.index >= arguments:
                return states_now[place.index - arguments].reshape(-1)
            case "input":
                return np.ascontiguousarray(inputs[place.index]).reshape(-1)
            case "constant":
                return np.ascontiguousarray(tables[place.index]).reshape(-1)
            case _:
                return results[place.index].reshape(-1)

    def run_call(call, planned):
        kernel = call.kernel
        for loop_pass in loop_passes:
            kernel = loop_pass(kernel)
        for n in planned.args[len(call.inputs) + len(call.outputs) :]:
            memory(n)[...] = 0xFF  # private memory holds anything
        run_kernel(kernel, [memory(n) for n in planned.args], sizes)

    def run_calls(lowered, planned_calls):
        for call, planned in zip(lowered, planned_calls, strict=True):
            if not isinstance(planned, Loop):
                run_call(call, planned)
                continue
            length = evaluate(planned.length, sizes)
            moving.update({c.old: c.turn(length)[0] for c in planned.carries})
            run_calls(call.start, planned.start)
            for done in range(length):
                for carry in planned.carries:
                    moving[carry.old], moving[carry.new] = carry.turn(length - done)
                moving.update(dict.fromkeys(planned.pieces, length - 1 - done if planned.reverse else done))
                run_calls(call.calls, planned.calls)

    run_calls(calls, plan.calls)
    return results + states_now
