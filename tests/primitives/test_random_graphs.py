"""The generator of random graphs, and the gradients of whole graphs."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from random_graphs import ALL_OPS, random_graph

from kgraph.compiler.passes.autodiff import autodiff
from kgraph.ir.printer import to_text
from kgraph.ir.verify import verify
from kgraph.runtime.interpreter import interpret

SEEDS = range(200)


def test_graphs_are_well_formed_and_give_finite_numbers():
    seen: Counter[str] = Counter()
    sizes: set[int] = set()
    for seed in SEEDS:
        graph, arrays = random_graph(seed)
        verify(graph)
        seen.update(node.op.name for node in graph.nodes)
        sizes.update(n for a in arrays for n in a.shape)
        for value, array in zip(graph.outputs, interpret(graph, arrays), strict=True):
            assert array.dtype == value.dtype.to_numpy()
            assert np.isfinite(array).all(), f"seed {seed}"
    assert min(seen[name] for name in ALL_OPS) >= 3, seen.most_common()[-5:]
    assert {0, 1} <= sizes


def test_one_seed_gives_one_graph():
    (one, a), (two, b) = random_graph(11), random_graph(11)
    assert to_text(one) == to_text(two)
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


def test_ops_can_be_chosen():
    graph, _ = random_graph(3, ops=("tanh", "add"), size=12)
    assert {n.op.name for n in graph.nodes} <= {"tanh", "add", "constant", "broadcast"}
    assert len(graph.nodes) >= 12


@pytest.mark.parametrize("seed", range(1, 60, 2))  # odd seeds are in float64
def test_gradient_of_a_graph_is_its_slope(seed):
    graph, arrays = random_graph(seed, differentiable=True)
    expanded = autodiff(graph)
    verify(expanded)
    loss, *gradients = interpret(expanded, arrays)
    floats = [n for n, a in enumerate(arrays) if a.dtype.kind == "f"]
    rng = np.random.default_rng(seed)
    direction = {n: rng.normal(size=arrays[n].shape) for n in floats}

    def moved(step):
        return interpret(expanded, [a + step * direction[n] if n in direction else a for n, a in enumerate(arrays)])[0]

    h = 1e-5
    slope = (8 * (moved(h) - moved(-h)) - (moved(2 * h) - moved(-2 * h))) / (12 * h)
    dot = sum(float(np.sum(g * direction[n])) for g, n in zip(gradients, floats, strict=True))
    assert dot == pytest.approx(float(slope), rel=1e-6, abs=1e-8 * (1 + abs(float(loss))))
