"""Native code against the interpreter on seeded random graphs of all ops, and the text round trip of each."""

import numpy as np
import pytest
from random_graphs import random_graph

from kgraph.compiler.native import compile_native
from kgraph.compiler.pipeline import run
from kgraph.compiler.pipelines import EXPAND, OPTIMIZE
from kgraph.ir.dtypes import f32, f64
from kgraph.ir.graph import GraphBuilder, Value
from kgraph.ir.parser import parse
from kgraph.ir.printer import to_text
from kgraph.primitives import REGISTRY
from kgraph.runtime.executable import Executable
from kgraph.runtime.interpreter import interpret


def in_double(graph):
    """The same graph with float64 in place of float32: what the float32 results are compared with."""
    builder = GraphBuilder(graph.name, REGISTRY)
    now = {}
    for value in graph.inputs:
        now[value] = builder.input(value.type.with_dtype(f64) if value.type.dtype is f32 else value.type, value.name)
    for node in graph.nodes:
        attrs = {k: f64 if v is f32 else v for k, v in node.attrs.items()}
        if node.op.name == "constant" and attrs["value"].dtype == np.float32:
            attrs["value"] = attrs["value"].astype(np.float64)
        made = builder.emit(node.op, *(now[v] for v in node.inputs), **attrs)
        now.update(zip(node.outputs, (made,) if isinstance(made, Value) else made, strict=True))
    return builder.build([now[v] for v in graph.outputs])


def check(seed, differentiable):
    graph, inputs = random_graph(seed, differentiable=differentiable)
    text = to_text(graph, constants=(data := {}))
    assert to_text(parse(text, REGISTRY, constants=data), constants={}) == text
    expanded = run(graph, EXPAND, name="expand")
    optimized = run(expanded, OPTIMIZE, name="optimize")
    got = Executable(compile_native(optimized, 0, check=True).artifact, []).run(inputs)
    want = interpret(expanded, inputs)
    wide = [a.astype(np.float64) if a.dtype == np.float32 else a for a in inputs]
    exact = interpret(in_double(expanded), wide)
    for position, (mine, reference, truth) in enumerate(zip(got, want, exact, strict=True)):
        assert mine.shape == reference.shape
        assert mine.dtype == reference.dtype
        if mine.dtype.kind != "f" or not mine.size:
            np.testing.assert_array_equal(mine, reference)
            continue
        assert np.array_equal(np.isfinite(mine), np.isfinite(truth)), f"output {position}"
        good = np.isfinite(truth)
        if good.any():
            # Allowed is four times the error that NumPy makes in the same precision, and rounding of the scale.
            own = np.abs(reference[good] - truth[good]).max()
            slack = 8 * np.finfo(mine.dtype).eps * max(np.abs(truth[good]).max(), 1.0)
            assert np.abs(mine[good] - truth[good]).max() <= 4 * own + slack, f"output {position}"


@pytest.mark.parametrize("block", range(10))
def test_native_code_computes_what_the_interpreter_computes(block):
    for seed in range(30 * block, 30 * block + 30):
        check(seed, differentiable=False)


@pytest.mark.parametrize("block", range(10))
def test_native_gradients_are_those_of_the_interpreter(block):
    for seed in range(1000 + 10 * block, 1010 + 10 * block):
        check(seed, differentiable=True)
