"""Fusion, lowering and memory planning together: kernels on planned memory give what the graph means."""

import numpy as np
import pytest
from plan_runner import run_planned
from random_graphs import random_graph

from kgraph.compiler.analysis.structure import structure
from kgraph.compiler.lower import lower
from kgraph.compiler.pipeline import run
from kgraph.compiler.pipelines import EXPAND, OPTIMIZE
from kgraph.ir.dtypes import f32, f64
from kgraph.ir.graph import Graph, GraphBuilder, Value
from kgraph.ir.types import TensorType
from kgraph.primitives import REGISTRY
from kgraph.runtime.interpreter import interpret


def close(got, want):
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(got, want)
    else:
        scale = np.abs(want[np.isfinite(want)]).max(initial=1.0)
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("seed", range(40))
def test_kernels_on_planned_memory_compute_the_graph(seed):
    graph, inputs = random_graph(seed, size=12)
    graph = run(run(graph, EXPAND, name="expand"), OPTIMIZE, name="optimize")
    for got, want in zip(run_planned(graph, inputs), interpret(graph, inputs), strict=True):
        close(got, want)


def test_results_that_nobody_reads_are_not_stored():
    builder = GraphBuilder("last", REGISTRY)
    shapes = ((3, 5, 8), (2, 8), (3, 2), (3, 2))
    _, last, *_ = builder.emit(
        "lstm_sequence", *(builder.input(TensorType(f32, shape)) for shape in shapes), reverse=False
    )
    (call,) = lower(builder.build([last]), lambda kind, dtype, sizes: 64)
    assert call.outputs == (last,)
    assert [b.shape for b in call.kernel.buffers if b.role == "out"] == [(3, 2)]


def sums_of_two(first: dict[str, object], second: dict[str, object], *, shapes=((4, 5), (4, 5)), dtypes=(f32, f32)):
    """The kernels of two sums, each of an input of its own."""
    builder = GraphBuilder("two", REGISTRY)
    inputs = [builder.input(TensorType(dtype, shape)) for dtype, shape in zip(dtypes, shapes, strict=True)]
    settings = ({"axes": (1,), "keepdims": False, **own} for own in (first, second))
    sums = [builder.emit("sum", value, **own) for value, own in zip(inputs, settings, strict=True)]
    return lower(builder.build(sums), lambda kind, dtype, sizes: 64)


def test_nodes_that_compute_the_same_are_lowered_once():
    one, other = sums_of_two({}, {})
    assert one.kernel.body is other.kernel.body
    assert one.kernel.buffers is other.kernel.buffers
    assert one.kernel.name != other.kernel.name
    assert set(one.inputs + one.outputs).isdisjoint(other.inputs + other.outputs)


@pytest.mark.parametrize(
    "difference",
    [
        {"second": {"axes": (0,)}},
        {"second": {"keepdims": True}},
        {"shapes": ((4, 5), (4, 6))},
        {"dtypes": (f32, f64)},
    ],
)
def test_nodes_that_differ_are_lowered_apart(difference):
    one, other = sums_of_two(**{"first": {}, "second": {}, **difference})
    assert one.kernel.body is not other.kernel.body


def test_operands_count_by_their_order_and_numbers_by_their_bits():
    builder = GraphBuilder("orders", REGISTRY)
    a, b = (builder.input(TensorType(f32, (4,))) for _ in range(2))

    def graph(*operands: Value, zero: float = 0.0, outputs: int = 1) -> Graph:
        inner = GraphBuilder("body", REGISTRY)
        x, y = (inner.input(value.type) for value in (a, b))
        difference = inner.emit("sub", *({a: x, b: y}[value] for value in operands))
        made = inner.emit("mul", difference, inner.emit("broadcast", inner.constant(zero, f32), shape=(4,), axes=()))
        return inner.build([made, difference][:outputs])

    keys = [
        structure(g) for g in (graph(a, b), graph(b, a), graph(a, a), graph(a, b, zero=-0.0), graph(a, b, outputs=2))
    ]
    assert len(set(keys)) == len(keys)
    assert structure(graph(a, b)) == keys[0]
