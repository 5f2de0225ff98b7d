"""Loops in graphs: gradients, what is saved for them, memory, and native code against the interpreter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from plan_checker import check_plan
from plan_runner import run_planned

from kgraph.compiler.lower import lower
from kgraph.compiler.native import LOOP_PASSES, compile_native
from kgraph.compiler.passes.autodiff import autodiff
from kgraph.compiler.passes.dce import dce
from kgraph.compiler.passes.fuse import fuse
from kgraph.compiler.passes.memory_plan import copy_outputs, memory_plan
from kgraph.compiler.pipeline import run
from kgraph.compiler.pipelines import EXPAND, OPTIMIZE
from kgraph.config import override
from kgraph.errors import VerifyError
from kgraph.ir.artifact import Loop, Step, kernel_calls
from kgraph.ir.dims import symbol
from kgraph.ir.dtypes import bool_, f32, f64
from kgraph.ir.graph import Graph, GraphBuilder
from kgraph.ir.opdef import emitting
from kgraph.ir.parser import parse
from kgraph.ir.printer import to_text
from kgraph.ir.types import TensorType
from kgraph.ir.verify import verify
from kgraph.primitives import REGISTRY
from kgraph.runtime import sharing
from kgraph.runtime.executable import Executable
from kgraph.runtime.interpreter import interpret

BATCH, TIME = symbol("batch"), symbol("time")


def cell_body(dtype, units=5):
    """h' = tanh(x + h @ w + b), c' = c * sigmoid(h'); each step gives c' - h and h'."""
    builder = GraphBuilder("cell", REGISTRY)
    state = TensorType(dtype, (BATCH, units))
    with emitting(builder):
        h, c, x = (builder.input(state, name) for name in ("h", "c", "x"))
        w, b = builder.input(TensorType(dtype, (units, units)), "w"), builder.input(TensorType(dtype, (units,)), "b")
        spread = builder.emit("broadcast", b, shape=(BATCH, units), axes=(1,))
        new = builder.emit("tanh", x + h @ w + spread)
        kept = c * builder.emit("sigmoid", new)
        return builder.build([new, kept, kept - h, new])


def recurrent(dtype=f32, units=5, reverse=False, second=False):
    """A loss of a scan, its gradients for all operands, and the results; `second` adds gradients of those."""
    builder = GraphBuilder("recurrent", REGISTRY)
    with emitting(builder):
        state = TensorType(dtype, (BATCH, units))
        types = (state, state, TensorType(dtype, (TIME, BATCH, units)), TensorType(dtype, (units, units)))
        h, c, x, w, b = (builder.input(t) for t in (*types, TensorType(dtype, (units,))))
        out = builder.emit("scan", h, c, x, w, b, body=cell_body(dtype, units), carries=2, sequences=1, length=TIME,
                           reverse=reverse, conditional=False)  # fmt: skip
        loss = total(builder, [out[0], out[1], out[2], out[2] * out[3]])
        found = builder.emit("gradient", loss, h, c, x, w, b)
        if second:
            found = builder.emit("gradient", total(builder, [g * g for g in found]), h, c, x, w, b)
        return builder.build([loss, *out, *found])


def total(builder, values):
    """The sum of all elements of some tensors."""
    sums = [builder.emit("sum", v, axes=tuple(range(v.ndim)), keepdims=False) for v in values]
    return sum(sums[1:], sums[0])


def arrays(rng, graph, batch, time):
    """Random arguments."""
    sizes = {"batch": batch, "time": time}
    return [rng.normal(0, 0.7, v.type.concrete(sizes)).astype(v.dtype.to_numpy()) for v in graph.inputs]


def optimized(graph):
    """The graph that is compiled."""
    return run(run(graph, EXPAND, name="expand"), OPTIMIZE, name="optimize")


@pytest.fixture(scope="module")
def program():
    """The optimised graph of a recurrent step with gradients, and its native code for any batch and time."""
    graph = optimized(recurrent())
    return graph, Executable(compile_native(graph, 0, check=True).artifact, [])


SHAPES = [(3, 4), (1, 1), (4, 7), (2, 0), (0, 3), (5, 2)]


@pytest.mark.parametrize("batch, time", SHAPES)
@pytest.mark.parametrize("threads", [1, 3])
def test_one_compilation_serves_every_batch_and_time(program, rng, monkeypatch, batch, time, threads):
    monkeypatch.setattr(sharing, "LEAST_WORK", 1)
    graph, executable = program
    inputs = arrays(rng, graph, batch, time)
    with override(num_threads=threads):
        found = executable.run(inputs)
    for got, wanted in zip(found, interpret(graph, inputs), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_are_slopes(rng, reverse, order):
    graph = autodiff(recurrent(f64, 3, reverse, second=order == 2))
    verify(graph)
    inputs = arrays(rng, graph, 2, 4)
    gradients = interpret(graph, inputs)[-5:]

    def value(at):
        outputs = interpret(first, at)
        return float(outputs[0]) if order == 1 else float(sum((g * g).sum() for g in outputs[-5:]))

    first = autodiff(recurrent(f64, 3, reverse))
    for n, gradient in enumerate(gradients):
        direction = rng.normal(size=gradient.shape)
        moved = [[a + step * direction if k == n else a for k, a in enumerate(inputs)] for step in (1e-5, -1e-5)]
        slope = (value(moved[0]) - value(moved[1])) / 2e-5
        assert (gradient * direction).sum() == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("loops", [(), LOOP_PASSES])
@pytest.mark.parametrize("time", [0, 1, 2, 5])
def test_planned_memory_holds_what_kernels_read(rng, time, loops):
    graph = optimized(recurrent())
    inputs = arrays(rng, graph, 2, time)
    for got, wanted in zip(run_planned(graph, inputs, loop_passes=loops), interpret(graph, inputs), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-5)
    fused = copy_outputs(fuse(graph), 0)
    calls = lower(fused, lambda kind, dtype, sizes: 64)
    assert check_plan(fused, calls, memory_plan(fused, calls, 0), 0, {"batch": 2, "time": time}) == []


def test_a_carry_that_is_overwritten_too_early_is_found():
    graph = optimized(recurrent())
    fused = copy_outputs(fuse(graph), 0)
    calls = lower(fused, lambda kind, dtype, sizes: 64)
    plan = memory_plan(fused, calls, 0)
    number = next(n for n, call in enumerate(plan.calls) if isinstance(call, Loop))
    loop = plan.calls[number]
    assert any(carry.other != carry.last for carry in loop.carries)
    one = replace(loop, carries=tuple(replace(carry, other=carry.last) for carry in loop.carries))
    broken = replace(plan, calls=(*plan.calls[:number], one, *plan.calls[number + 1 :]))
    assert check_plan(fused, calls, broken, 0, {"batch": 2, "time": 3})


def test_the_sum_for_a_weight_is_updated_where_it_stands():
    artifact = compile_native(optimized(recurrent()), 0, check=False).artifact
    *_, backwards = (call for call in artifact.plan.calls if isinstance(call, Loop))
    in_place = [artifact.plan.places[c.old].type.shape for c in backwards.carries if c.other == c.last]
    assert (5, 5) in in_place


def nodes_of(graph, op):
    """The nodes of an op, also in bodies."""
    for node in graph.nodes:
        yield from [node] * (node.op.name == op)
        for attr in node.attrs.values():
            if isinstance(attr, Graph):
                yield from nodes_of(attr, op)


def test_only_what_the_gradient_needs_is_saved():
    forwards, backwards = nodes_of(optimized(recurrent()), "scan")
    # Results: two carries, two for each step. Saved: h, c and the sigmoid; tanh(...) is a result of each step already.
    assert len(forwards.outputs) == 4 + 3
    assert not forwards.attrs["reverse"]
    assert backwards.attrs["reverse"]
    assert [len(list(nodes_of(backwards.attrs["body"], op))) for op in ("tanh", "sigmoid")] == [0, 0]
    assert forwards.inputs[3] in backwards.inputs  # the weight comes again as it is
    assert forwards.inputs[4] not in backwards.inputs  # the bias is not needed


def test_results_and_carries_that_nobody_needs_go():
    graph = recurrent()
    out = graph.nodes[0].outputs
    wanted = Graph("one", graph.inputs, graph.nodes, (out[3],))
    (scan,) = nodes_of(dce(wanted), "scan")
    assert scan.outputs == (out[0], out[3])  # h is needed for the next step, c for nothing
    assert scan.inputs == tuple(graph.inputs[n] for n in (0, 2, 3, 4))
    assert not list(nodes_of(scan.attrs["body"], "sigmoid"))
    assert dce(dce(wanted)) is not None
    verify(dce(wanted))


def test_text_reads_back():
    graph = optimized(recurrent(second=True))
    constants = {}
    text = to_text(graph, constants=constants)
    again = parse(text, REGISTRY, constants)
    verify(again)
    assert to_text(again) == text


def test_a_body_that_does_not_fit_is_found():
    graph = recurrent()
    node = graph.nodes[0]
    body = node.attrs["body"]
    object.__setattr__(node, "attrs", {**node.attrs, "body": Graph("b", body.inputs, body.nodes, body.outputs[:1])})
    with pytest.raises(VerifyError, match="2 carries and 1 sequences"):
        verify(graph)


def test_passes_reach_into_bodies():
    graph = autodiff(recurrent())
    body = next(nodes_of(optimized(graph), "scan")).attrs["body"]
    assert len(body.nodes) == len({(n.op, n.inputs) for n in body.nodes})
    fused = next(nodes_of(fuse(optimized(graph)), "scan")).attrs["body"]
    assert [n.op.name for n in fused.nodes].count("fusion") >= 1


# --- who waits for whom -----------------------------------------------------------------------------------------------


def flags_of_loop(work):
    """Flags of the kernels of a forward scan, by the name of their node."""
    graph = recurrent()
    out = graph.nodes[0].outputs
    graph = dce(Graph("forward", graph.inputs, graph.nodes, out))
    artifact = compile_native(optimized(graph), 0, check=True).artifact
    sizes = {"batch": work, "time": 4}
    calls = list(kernel_calls(artifact.plan.calls))
    return calls, sharing.flags_of(artifact.plan, sizes, 2)


def test_threads_wait_in_every_step(monkeypatch):
    """The product of a step reads all rows that the step before wrote."""
    monkeypatch.setattr(sharing, "LEAST_WORK", 1)
    calls, flags = flags_of_loop(64)
    product = next(n for n, call in enumerate(calls) if "matmul" in call.kernel)
    inside = range(product, len(calls))
    assert any(flags[n] & Step.AFTER_BARRIER for n in inside)
    assert all(flags[n] & Step.SHARED for n in inside)


def test_nothing_waits_where_nothing_is_shared():
    _, flags = flags_of_loop(1)
    assert set(flags) == {0}


# --- conditional loops ------------------------------------------------------------------------------------------------


def halving(dtype=f32):
    """x' = x / 2 + c and count' = count + 1 as long as the largest element is above 1; both, and their sum."""
    builder = GraphBuilder("halving", REGISTRY)
    row = TensorType(dtype, (BATCH, 5))
    with emitting(builder):
        x, c = builder.input(row), builder.input(row)
        inner = GraphBuilder("body", REGISTRY)
        _, x_in, count, c_in = (inner.input(t) for t in (TensorType(bool_), row, TensorType(dtype), row))
        with emitting(inner):
            new = x_in * 0.5 + c_in
            more = inner.emit("max", new, axes=(0, 1), keepdims=False) > 1.0
            body = inner.build([more, new, count + 1.0])
        start = builder.emit("max", x, axes=(0, 1), keepdims=False) > 1.0
        out = builder.emit("scan", start, x, builder.constant(0.0, dtype), c, body=body, carries=3, sequences=0,
                           length=1 << 62, reverse=False, conditional=True)  # fmt: skip
        return builder.build([out[1], out[2], out[1] + x])


@pytest.mark.parametrize("threads", [1, 3])
def test_a_conditional_loop_runs_as_often_as_its_data_say(rng, monkeypatch, threads):
    monkeypatch.setattr(sharing, "LEAST_WORK", 1)
    graph = optimized(halving())
    executable = Executable(compile_native(graph, 0, check=True).artifact, [])
    for batch, start in ((1, 0.5), (3, 900.0), (2, 5.0), (4, 1e30)):
        x = rng.uniform(0.5, 1, (batch, 5)).astype("float32") * np.float32(start)
        c = rng.uniform(0, 0.1, (batch, 5)).astype("float32")
        with override(num_threads=threads):
            found = executable.run([x, c])
        steps, wanted = 0, x.copy()
        while wanted.max() > 1:
            steps, wanted = steps + 1, wanted * np.float32(0.5) + c
        assert found[1] == steps
        np.testing.assert_allclose(found[0], wanted, rtol=1e-5)
        np.testing.assert_allclose(found[2], wanted + x, rtol=1e-5)
        for got, planned in zip(found, run_planned(graph, [x, c]), strict=True):
            np.testing.assert_allclose(got, planned, rtol=1e-5)


def test_the_plan_of_a_conditional_loop_holds():
    fused = copy_outputs(fuse(optimized(halving())), 0)
    calls = lower(fused, lambda kind, dtype, sizes: 64)
    plan = memory_plan(fused, calls, 0)
    assert check_plan(fused, calls, plan, 0, {"batch": 3}) == []
    number = next(n for n, call in enumerate(plan.calls) if isinstance(call, Loop))
    loop = plan.calls[number]
    without_copies = replace(loop, calls=loop.calls[:-1])
    broken = replace(plan, calls=(*plan.calls[:number], without_copies, *plan.calls[number + 1 :]))
    assert check_plan(fused, calls, broken, 0, {"batch": 3})
