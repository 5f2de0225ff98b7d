"""Memory plans under an independent checker: random graphs with states, training steps, faults that it must find."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from plan_checker import check_plan
from plan_runner import run_planned
from random_graphs import random_graph

import kgraph
from kgraph.compiler.analysis.partition import work
from kgraph.compiler.lower import lower
from kgraph.compiler.native import LOOP_PASSES
from kgraph.compiler.passes.fuse import fuse
from kgraph.compiler.passes.memory_plan import copy_outputs, memory_plan, same_index
from kgraph.compiler.pipeline import run
from kgraph.compiler.pipelines import EXPAND, OPTIMIZE
from kgraph.ir.artifact import MemoryPlan, Place, Slot
from kgraph.ir.dims import symbol
from kgraph.ir.dtypes import f32
from kgraph.ir.graph import Graph, GraphBuilder
from kgraph.ir.loop_parser import parse_kernel
from kgraph.ir.opdef import current_emitter, emitting
from kgraph.ir.types import TensorType
from kgraph.primitives import REGISTRY
from kgraph.primitives.contractions import matmul as product
from kgraph.primitives.elementwise import exp, sigmoid
from kgraph.primitives.reductions import sum_
from kgraph.primitives.shaping import transpose
from kgraph.runtime.interpreter import interpret

SIZES = (0, 1, 3, 17)


def planned(graph, states=0, loops=True):
    """(fused graph, kernels, plan) of an optimised graph; with loop passes or without."""
    fused = copy_outputs(fuse(graph), states)
    calls = []
    for call in lower(fused, lambda kind, dtype, sizes: 64):
        kernel = call.kernel
        for loop_pass in LOOP_PASSES if loops else ():
            kernel = loop_pass(kernel)
        calls.append(replace(call, kernel=kernel))
    return fused, calls, memory_plan(fused, calls, states)


def faults_at(made, states=0, **sizes):
    """What the checker finds."""
    return check_plan(*made, states, sizes)


def with_states(graph, rng):
    """The graph with its last inputs as states, whose new values are values of the graph of the same type."""
    news = []
    for value in reversed(graph.inputs):
        fitting = [v for node in graph.nodes for v in node.outputs if v.type == value.type and v not in news]
        news.insert(0, fitting[rng.integers(len(fitting))] if fitting and rng.random() < 0.9 else value)
        if len(news) == 3:
            break
    return Graph(graph.name, graph.inputs, graph.nodes, (*graph.outputs, *news)), len(news)


@pytest.mark.parametrize("block", range(12))
def test_plans_of_random_graphs_with_states(block, rng):
    in_place = 0
    for seed in range(25 * block, 25 * block + 25):
        graph, _ = random_graph(seed, differentiable=seed % 5 == 0)
        graph = run(run(graph, EXPAND, name="expand"), OPTIMIZE, name="optimize")
        graph, states = with_states(graph, rng)
        made = planned(graph, states, loops=seed % 2 == 0)
        for batch in SIZES:
            assert faults_at(made, states, **dict.fromkeys(graph.size_names(), batch)) == [], f"seed {seed}, {batch}"
        in_place += sum(not set(call.reads).isdisjoint(call.writes) for call in made[2].calls)
    assert in_place  # states are updated in place somewhere


def models():
    """Compiled models and batches for them."""
    dense, inputs = kgraph.layers.Dense, kgraph.Input
    x = inputs((6,))
    hidden = dense(5, activation="tanh")(x)
    both = kgraph.layers.add([hidden, dense(5)(kgraph.layers.Dropout(0.5)(hidden))])
    branched = kgraph.Model(x, dense(3, activation="softmax")(both))
    plain = kgraph.Sequential([inputs((6,)), dense(8, activation="relu"), dense(3, activation="softmax")])
    for model, optimizer in ((plain, "adam"), (branched, "sgd"), (branched, kgraph.optimizers.SGD(0.1, momentum=0.9))):
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        yield model


def test_plans_of_training_steps():
    for model in models():
        for kind in ("train", "evaluate"):
            program = model._usual_program(kind)
            states = len(program.program.variables)
            made = planned(program.optimized, states)
            for batch in SIZES:
                assert faults_at(made, states, batch=batch) == []


# --- faults -----------------------------------------------------------------------------------------------------------


def build(function, *types, states=0):
    """The optimised-looking graph of a function of values, planned without fusion."""
    builder = GraphBuilder("planted", REGISTRY)
    with emitting(builder):
        outputs = function(*(builder.input(t) for t in types))
    graph = builder.build(list(outputs))
    graph = copy_outputs(graph, states)
    calls = lower(graph, lambda kind, dtype, sizes: 64)
    return graph, calls, memory_plan(graph, calls, states)


N = symbol("n")
ROWS = TensorType(f32, (N, 8))


def matmul(a, b):
    """The matrix product."""
    return product(a, b, transpose_a=False, transpose_b=False)


def chain():
    """Two intermediate results that are alive at once, and a result."""

    def function(x):
        a = exp(x)
        b = transpose(a, perm=(1, 0))
        c = matmul(a, b)
        return [sum_(c, axes=(0, 1), keepdims=False)]

    return build(function, ROWS)


def moved(plan, number, index):
    """The plan with a place in another slot, which is large enough."""
    places = list(plan.places)
    places[number] = replace(places[number], index=index)
    every = tuple(dict.fromkeys(n for slot in plan.slots for n in slot.nbytes))
    return replace(plan, places=tuple(places), slots=tuple(Slot(every) for _ in plan.slots))


def test_the_work_of_a_call_is_that_of_its_kernel():
    graph, _ = random_graph(3, differentiable=False)
    _, calls, plan = planned(run(run(graph, EXPAND, name="expand"), OPTIMIZE, name="optimize"))
    expected = [work(call.kernel) for call in calls]
    assert len(set(expected)) > 1
    assert [call.work for call in plan.calls] == expected


def test_a_plan_without_fault_is_right():
    made = chain()
    assert len(made[2].slots) >= 3
    for n in SIZES:
        assert faults_at(made, n=n) == []


def test_two_values_in_one_slot_while_both_are_needed():
    graph, calls, plan = chain()
    a, b = (plan.calls[k].writes[0] for k in (0, 1))
    plan = moved(plan, b, plan.places[a].index)
    assert any("while it reads it" in fault for fault in faults_at((graph, calls, plan), n=3))


def test_memory_that_is_used_again_before_the_last_read():
    def function(x):
        a = exp(x)
        b = exp(a)
        return [matmul(b, transpose(a, perm=(1, 0)))]

    graph, calls, plan = build(function, ROWS)
    assert faults_at((graph, calls, plan), n=3) == []
    a, b = (plan.calls[k].writes[0] for k in (0, 1))
    assert plan.places[a].index != plan.places[b].index
    plan = moved(plan, b, plan.places[a].index)
    assert any("holds something else" in fault for fault in faults_at((graph, calls, plan), n=3))


def test_a_slot_that_is_too_small():
    graph, calls, plan = chain()
    slots = tuple(Slot((n,)) for n in (4,) * len(plan.slots))
    faults = faults_at((graph, calls, replace(plan, slots=slots)), n=3)
    assert any("its slot 4" in fault for fault in faults)


class _Shifted(MemoryPlan):
    def layout(self, sizes):
        offsets, end = super().layout(sizes)
        return [at + 8 for at in offsets], end + 8


class _Close(MemoryPlan):
    def layout(self, sizes):
        offsets, end = super().layout(sizes)
        return [at // 128 * 64 for at in offsets], end


class _Short(MemoryPlan):
    def layout(self, sizes):
        offsets, end = super().layout(sizes)
        return offsets, end - 64


@pytest.mark.parametrize(
    ("kind", "message"), [(_Shifted, "not aligned"), (_Close, "meet"), (_Short, "the arena to")], ids=str
)
def test_a_wrong_layout(kind, message):
    graph, calls, plan = chain()
    plan = kind(plan.places, plan.slots, plan.calls)
    assert any(message in fault for fault in faults_at((graph, calls, plan), n=20))


def test_kernels_in_another_order():
    graph, calls, plan = chain()
    first, second, *rest = plan.calls
    faults = faults_at((graph, calls, replace(plan, calls=(second, first, *rest))), n=3)
    assert any("holds something else" in fault for fault in faults)


def test_a_state_that_is_overwritten_before_its_last_read():
    def function(x, state):
        new = exp(x)
        return [exp(state), new]

    graph, calls, plan = build(function, ROWS, ROWS, states=1)
    assert faults_at((graph, calls, plan), 1, n=3) == []
    state = next(n for n, place in enumerate(plan.places) if place.kind == "input" and place.index == 1)
    new = next(n for n, call in enumerate(plan.calls) if call.kernel == calls[0].kernel.name)
    broken = rebound(plan, new, plan.calls[new].writes[0], state)
    assert any("holds something else" in fault for fault in faults_at((graph, calls, broken), 1, n=3))


def test_states_that_change_places():
    """Each new value is an old one; a result is an old one, too."""
    builder = GraphBuilder("swap", REGISTRY)
    with emitting(builder):
        a, b, c = (builder.input(ROWS) for _ in range(3))
        graph = builder.build([c, b, a, exp(c)])
    made = planned(graph, 3)
    for n in SIZES:
        assert faults_at(made, 3, n=n) == []
    rng = np.random.default_rng(0)
    arrays = [rng.random((2, 8), "float32") for _ in range(3)]
    for got, want in zip(run_planned(graph, arrays, 3), interpret(graph, arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)


def rebound(plan, call, old, new):
    """The plan with one argument of a call at another place."""

    def change(numbers):
        return tuple(new if n == old else n for n in numbers)

    changed = replace(
        plan.calls[call], **{f: change(getattr(plan.calls[call], f)) for f in ("args", "reads", "writes", "private")}
    )
    return replace(plan, calls=tuple(changed if n == call else c for n, c in enumerate(plan.calls)))


def test_a_result_that_stays_in_the_arena():
    graph, calls, plan = chain()
    last = len(plan.calls) - 1
    (out,) = plan.calls[last].writes[:1]
    places = (*plan.places, Place("extra", plan.places[out].type, "slot", 0))
    broken = rebound(replace(plan, places=places), last, out, len(plan.places))
    assert any("does not hold its value at the end" in fault for fault in faults_at((graph, calls, broken), n=3))


def test_an_argument_that_is_written():
    graph, calls, plan = chain()
    (out,) = plan.calls[0].writes[:1]
    broken = rebound(plan, 0, out, plan.calls[0].reads[0])
    assert any("which is the caller's" in fault for fault in faults_at((graph, calls, broken), n=3))


def test_private_memory_that_meets_an_operand():
    graph, calls, plan = chain()
    number = next(n for n, call in enumerate(plan.calls) if call.private)
    private, operand = plan.calls[number].private[0], plan.calls[number].reads[0]
    broken = moved(plan, private, plan.places[operand].index)
    assert any("while it reads it" in fault for fault in faults_at((graph, calls, broken), n=3))


def test_two_results_of_a_kernel_in_one_place():
    builder = GraphBuilder("twice", REGISTRY)
    with emitting(builder):
        x = builder.input(ROWS)
        graph = builder.build([exp(x), sigmoid(exp(x))])
    graph, calls, plan = planned(run(graph, OPTIMIZE, name="optimize"))
    assert faults_at((graph, calls, plan), n=3) == []
    number = next(n for n, call in enumerate(plan.calls) if len(call.writes) > 1)
    one, other = plan.calls[number].writes[:2]
    assert any("at once" in fault for fault in faults_at((graph, calls, rebound(plan, number, other, one)), n=3))


@pytest.mark.parametrize("right", [True, False])
def test_only_the_same_elements_may_be_read_and_written_in_place(right):
    """A square matrix may be replaced element by element, but not transposed where it stands."""

    def function(x):
        a = exp(x)
        return [matmul(exp(a) if right else transpose(a, perm=(1, 0)), x)]

    graph, calls, plan = build(function, TensorType(f32, (8, 8)))
    a, b = (plan.calls[k].writes[0] for k in (0, 1))
    assert (plan.places[a].index == plan.places[b].index) == right
    found = faults_at((graph, calls, moved(plan, b, plan.places[a].index)))
    assert any("while it reads it" in fault for fault in found) != right


@pytest.mark.parametrize("index, right", [("i", True), ("r", False)])
def test_a_place_that_is_data_is_not_updated_where_it_stands(index, right):
    head = "kernel @k(%x: f32[8] in, %ids: i32[8] in, %y: f32[8] out) {\n for i in 0..8 {\n let r: i32 = %ids[i]\n"
    kernel = parse_kernel(f"{head} store %y[{index}] = %x[{index}] * 2:f32\n }}\n}}")
    x, _, y = kernel.buffers
    assert same_index(kernel, x, y) == right


@pytest.mark.parametrize("reads, right", [(("i", "8+i"), True), (("i", "i"), True), (("i", "1+i"), False)])
def test_all_places_that_a_round_reads_are_written_by_it(reads, right):
    body = "let a: f32 = %x[{}]\n let b: f32 = %x[{}]\n store %y[i] = a + b\n store %y[8+i] = a * b\n"
    head = "kernel @k(%x: f32[16] in, %y: f32[16] out) {\n parallel for i in 0..8 {\n "
    kernel = parse_kernel(f"{head}{body.format(*reads)} }}\n}}")
    assert same_index(kernel, *kernel.buffers) == right


def test_gates_of_a_sequence_take_the_place_of_what_they_are_made_of():
    def function(x, kernel, hidden, cell):
        emit = current_emitter().emit
        *_, gates = emit("lstm_sequence", exp(sum_(x, axes=(0,), keepdims=False)), kernel, hidden, cell, reverse=False)
        return [exp(sum_(gates, axes=(1,), keepdims=False))]

    graph, calls, plan = build(function, *(TensorType(f32, s) for s in ((2, 3, 5, 8), (2, 8), (3, 2), (3, 2))))
    call = next(call for call in plan.calls if "lstm" in call.kernel)
    assert plan.places[call.writes[0]].index == plan.places[call.reads[0]].index
    assert faults_at((graph, calls, plan)) == []


def test_a_value_that_all_parts_of_a_kernel_read_is_not_overwritten_by_one():
    kernel = parse_kernel(
        "kernel @k(%x: i32[8] in, %y: i32[8] out) {\n let r: i32 = %x[0]\n vector for i in 0..8 {\n store %y[i] = r\n"
        " }\n}"
    )
    assert not same_index(kernel, *kernel.buffers)
