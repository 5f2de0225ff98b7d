"""Reductions over the same rows become one kernel, which gives each of them the bits that it has alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from native_kernels import runnable_targets

from kgraph.compiler.native import compile_native
from kgraph.compiler.passes.dce import dce
from kgraph.compiler.passes.fuse import fuse
from kgraph.config import override
from kgraph.ir.dims import evaluate, symbol
from kgraph.ir.dtypes import f32, f64, i32
from kgraph.ir.graph import Graph, GraphBuilder
from kgraph.ir.opdef import emitting
from kgraph.ir.types import TensorType
from kgraph.primitives import REGISTRY
from kgraph.runtime.executable import Executable
from kgraph.runtime.interpreter import interpret

# Shapes, reduced axes, and the size of the batch: rows and columns, in blocks or not, nothing, one long row.
ROWS = [
    ((symbol("batch"), 1000), (1,), 7),
    ((5, 37), (1,), 1),
    ((symbol("batch"), 4), (1,), 300),
    ((symbol("batch"), 37), (0,), 700),
    ((1030, 64), (0,), 1),
    ((3, 70, 20), (1,), 1),
    ((symbol("batch"), 6, 7, 3), (0, 1, 2), 9),
    ((4, 9, 300), (1, 2), 1),
    ((2, 40, 70), (1, 2), 1),
    ((symbol("batch"),), (0,), 5000),
    ((symbol("batch"), 20), (0,), 0),
    ((4, symbol("batch")), (1,), 0),
    ((3, 1), (1,), 1),
]
CHEAP = ("x", "w", "x * x", "abs x", "x - w", "x > w", "x * x + w", "w - x * x", "x * x - w")
COSTLY = ("exp x", "exp x * x", "log", "exp of x * x")


def elements(builder: GraphBuilder, name: str, x, w):
    """Something of the shape of `x` and `w`."""
    match name:
        case "x" | "w":
            return x if name == "x" else w
        case "x * x":
            return x * x
        case "abs x":
            return builder.emit("abs", x)
        case "x - w":
            return x - w
        case "x * x + w":
            return x * x + w
        case "w - x * x":
            return w - x * x
        case "x * x - w":
            return x * x - w
        case "exp of x * x":
            return builder.emit("exp", x * x)
        case "x > w":
            return builder.emit("cast", builder.emit("gt", x, w), dtype=builder.type_of(x).dtype)
        case "exp x":
            return builder.emit("exp", x)
        case "exp x * x":
            return builder.emit("exp", x) * x
        case _:
            return builder.emit("log", builder.emit("abs", x))


def reduced(builder: GraphBuilder, op: str, value, axes):
    """Results of a reduction."""
    if op in ("argmax", "argmin"):
        return [builder.emit(op, value, axis=axes[0])]
    if op == "moments":
        return list(builder.emit(op, value, axes=axes))
    if op == "paired_sums":
        return list(builder.emit(op, value, value * value, axes=axes))
    return [builder.emit(op, value, axes=axes, keepdims=op == "prod")]


def random_siblings(seed: int) -> tuple[Graph, list[np.ndarray]]:
    """A graph of reductions of two inputs over the same axes, and arrays."""
    rng = np.random.default_rng(seed)
    shape, axes, batch = ROWS[seed % len(ROWS)]
    dtype = (f32, f32, f64, i32)[rng.integers(4)]
    builder = GraphBuilder("siblings", REGISTRY)
    with emitting(builder):
        x, w = (builder.input(TensorType(dtype, shape)) for _ in range(2))
        ops = ["sum", "sum", "max", "min"]
        if shape[-1] == 37:  # longer products are infinite or not, depending on their order
            ops.append("prod")
        if dtype is not i32:
            ops += ["moments", "paired_sums"]
        if len(axes) == 1 and batch:
            ops += ["argmax", "argmin"]
        made = []
        for _ in range(rng.integers(2, 6)):
            name = str(rng.choice(CHEAP if dtype is i32 or rng.random() < 0.5 else CHEAP + COSTLY))
            made += reduced(builder, str(rng.choice(ops)), elements(builder, name, x, w), axes)
    sizes = tuple(evaluate(dim, {"batch": batch}) for dim in shape)
    arrays = [rng.integers(-3, 4, sizes).astype(dtype.to_numpy()) for _ in range(2)]
    if dtype is not i32:
        arrays = [a + rng.random(sizes).astype(a.dtype) * (a != 0) for a in arrays]  # zeros stay: of both signs
        arrays[0] = np.copysign(arrays[0], np.where(arrays[0] == 0, rng.choice([-1, 1], sizes), arrays[0]))
    return builder.build(made), [a.astype(dtype.to_numpy()) for a in arrays]


def run(graph: Graph, arrays: list[np.ndarray]) -> list[np.ndarray]:
    return Executable(compile_native(graph, 0, check=True).artifact, []).run(arrays)


def each_alone(graph: Graph) -> Iterator[Graph]:
    """A graph for each reduction, with all its results."""
    for node in graph.nodes:
        if not set(graph.outputs).isdisjoint(node.outputs):
            yield dce(Graph(graph.name, graph.inputs, graph.nodes, node.outputs))


@pytest.mark.parametrize("seed", range(4 * len(ROWS)))
def test_each_has_the_bits_that_it_has_alone(seed):
    graph, arrays = random_siblings(seed)
    targets = runnable_targets()
    with override(target_cpu=targets[seed // len(ROWS) % len(targets)]):
        together = run(graph, arrays)
        apart = [result for single in each_alone(graph) for result in run(single, arrays)]
        wanted_results = interpret(graph, arrays)
        for number, (mine, single, wanted) in enumerate(zip(together, apart, wanted_results, strict=True)):
            assert mine.tobytes() == single.tobytes(), f"result {number}"
            scale = np.abs(wanted[np.isfinite(wanted)]).max(initial=1)
            np.testing.assert_allclose(mine, wanted, rtol=1e-4, atol=1e-4 * scale)


def test_a_third_of_these_graphs_is_one_kernel():
    sizes = [len(fuse(random_siblings(seed)[0]).nodes) for seed in range(40)]
    assert sizes.count(1) > 40 // 3


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_bits_do_not_depend_on_threads(threads):
    builder = GraphBuilder("threads", REGISTRY)
    with emitting(builder):
        x = builder.input(TensorType(f32, (symbol("batch"), 1000)))
        e = builder.emit("exp", x)
        results = [r for axes in ((0, 1), (1,), (0,)) for v in (e, e * x) for r in reduced(builder, "sum", v, axes)]
    graph = builder.build([*results, e])
    arrays = [np.random.default_rng(0).random((600, 1000), np.float32)]
    with override(num_threads=1):
        wanted = run(graph, arrays)
    with override(num_threads=threads):
        got = run(graph, arrays)
    assert [a.tobytes() for a in got] == [a.tobytes() for a in wanted]
