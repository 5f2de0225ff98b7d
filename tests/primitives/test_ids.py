"""Ops that take places from data: nothing outside is touched, also where an axis of unknown size is empty."""

from __future__ import annotations

import numpy as np
import pytest

from kgraph.compiler.lower import lower
from kgraph.ir.dims import symbol
from kgraph.ir.dtypes import f32, i32
from kgraph.ir.graph import GraphBuilder
from kgraph.ir.opdef import emitting
from kgraph.ir.types import TensorType
from kgraph.ir.verify import verify_kernel
from kgraph.primitives import REGISTRY, composites
from kgraph.runtime.interpreter import interpret
from kgraph.runtime.loop_interpreter import run_kernel

N = symbol("n")
TABLE, LINES = TensorType(f32, (N, 3)), TensorType(f32, (3, N))
IDS, LINE_IDS = TensorType(i32, (4,)), TensorType(i32, (3, 4))

CALLS = {
    "gather": (lambda x, ids: composites.gather(x, ids), TABLE, IDS),
    "gather_last": (lambda x, ids: composites.gather(x, ids, 1), LINES, IDS),
    "take_along_axis": (lambda x, ids: composites.take_along_axis(x, ids), LINES, LINE_IDS),
    "searchsorted": (lambda x, v: composites.searchsorted(x, v), TensorType(f32, (N,)), TensorType(f32, (4,))),
    "argsort": (lambda x, ids: composites.argsort(x), LINES, IDS),
    "cumsum": (lambda x, ids: composites.cumsum(x, exclusive=True), TABLE, IDS),
}


@pytest.mark.parametrize("size", [0, 1, 5])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_kernels_stay_inside_for_every_size(call, size, rng):
    """The loop interpreter refuses an index outside its buffer."""
    function, *types = call
    builder = GraphBuilder("g", REGISTRY)
    with emitting(builder):
        graph = builder.build([function(*map(builder.input, types))])
    arrays = [rng.integers(-2, 7, t.concrete({"n": size})).astype(t.dtype.to_numpy()) for t in types]
    if "searchsorted" in graph.nodes[0].op.name:
        arrays[0].sort()
    (want,) = interpret(graph, arrays, {"n": size})
    (lowered,) = lower(graph, lambda kind, dtype, sizes: 0)
    verify_kernel(lowered.kernel)
    operands = dict(zip(graph.inputs, arrays, strict=True))
    buffers = {b.name: operands[v] for v, b in zip(lowered.inputs, lowered.kernel.buffers, strict=False)}
    result = lowered.kernel.buffers[len(lowered.inputs)]
    buffers[result.name] = got = np.zeros_like(want)
    run_kernel(lowered.kernel, buffers, {"n": size})
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_wrong_starts_and_orders_lead_nowhere_else():
    types = [TensorType(f32, (4, 2)), TensorType(i32, (4,)), TensorType(i32, (4,)), TensorType(i32, (4,))]
    builder = GraphBuilder("g", REGISTRY)
    graph = builder.build([builder.emit("scatter_add", *map(builder.input, types), axis=0)])
    (lowered,) = lower(graph, lambda kind, dtype, sizes: 0)
    arrays = [np.ones((4, 2), np.float32), np.array([-5, 9, 2, 99], np.int32), np.array([9, -9, 2, 1], np.int32)]
    run_kernel(lowered.kernel, [*arrays, np.zeros((3, 2), np.float32)])


def test_names_of_a_kernel_are_no_sizes():
    """A size may have the name that a loop variable or a local would get."""
    builder = GraphBuilder("g", REGISTRY)
    names = ["id1", "row2", "known3", "i4", "found5", "n6", "v7"]
    xs = [builder.input(TensorType(f32, (symbol(name), 2))) for name in names]
    ids = builder.input(TensorType(i32, ()))
    graph = builder.build([builder.emit("gather", x, ids, axis=0) for x in xs])
    for lowered in lower(graph, lambda kind, dtype, sizes: 0):
        verify_kernel(lowered.kernel)
