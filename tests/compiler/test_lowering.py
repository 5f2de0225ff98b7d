"""Fusion, lowering and memory planning together: kernels on planned memory give what the graph means."""

import numpy as np
import pytest
from plan_runner import run_planned
from random_graphs import random_graph

from kgraph.compiler.lower import lower
from kgraph.compiler.pipeline import run
from kgraph.compiler.pipelines import EXPAND, OPTIMIZE
from kgraph.ir.dtypes import f32
from kgraph.ir.graph import GraphBuilder
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
