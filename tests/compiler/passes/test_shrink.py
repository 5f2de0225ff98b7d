"""Convolutions compute only what the pooling behind them reads."""

from __future__ import annotations

import numpy as np
import pytest

from kgraph.compiler.passes.autodiff import autodiff
from kgraph.compiler.passes.dce import dce
from kgraph.compiler.passes.shrink import shrink
from kgraph.ir.dims import symbol
from kgraph.ir.dtypes import f32
from kgraph.ir.graph import GraphBuilder
from kgraph.ir.opdef import emitting
from kgraph.ir.types import TensorType
from kgraph.ir.verify import verify
from kgraph.primitives import REGISTRY
from kgraph.runtime.interpreter import interpret

SAME = {"strides": (1, 1), "low": (1, 1), "high": (1, 1), "dilation": (1, 1), "groups": 1}
POOL = {"window": (2, 2), "strides": (2, 2), "low": (0, 0), "high": (0, 0)}


def cnn(size=(7, 7), pool=POOL, conv=SAME, pool_op="max_pool", also=""):
    """pool(relu(conv(x, w) + bias)); `also` names a value that is an output as well."""
    builder = GraphBuilder("cnn", REGISTRY)
    x, w, bias = (builder.input(TensorType(f32, s)) for s in ((symbol("n"), *size, 3), (3, 3, 3, 4), (4,)))
    with emitting(builder):
        a = builder.emit("conv", x, w, **conv)
        b = a + builder.emit("broadcast", bias, shape=a.type.shape, axes=(3,))
        c = builder.emit("relu", b)
        y = builder.emit(pool_op, c, **pool)
        loss = builder.emit("sum", y * y, axes=(0, 1, 2, 3), keepdims=False)
        gradients = builder.emit("gradient", loss, x, w, bias)
    return builder.build([y, *gradients, *([{"a": a, "b": b, "c": c}[also]] if also else [])])


def sizes_of(graph, name):
    """The spatial sizes of the first result of an op."""
    return next(node.output.type.shape[1:3] for node in graph.nodes if node.op.name == name)


def arrays(size=(7, 7)):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(s).astype(np.float32) for s in ((2, *size, 3), (3, 3, 3, 4), (4,))]


@pytest.mark.parametrize("pool_op", ["max_pool", "sum_pool"])
@pytest.mark.parametrize("size, pool, conv, wanted", [
    ((7, 7), POOL, SAME, (6, 6)),
    ((7, 6), POOL, SAME, (6, 6)),
    ((8, 7), {**POOL, "window": (3, 2), "strides": (3, 2), "low": (0, 1)}, SAME, (6, 7)),
    ((8, 10), {**POOL, "strides": (2, 3)}, SAME, (8, 8)),
    ((13, 13), POOL, {**SAME, "low": (0, 0), "high": (0, 0)}, (10, 10)),
    ((13, 14), POOL, {**SAME, "strides": (2, 3), "low": (2, 0), "high": (0, 0)}, (6, 4)),
    ((7, 7), POOL, {**SAME, "low": (2, 2), "high": (0, 0)}, (6, 6)),
])  # fmt: skip
def test_what_no_window_reads_is_not_computed(pool_op, size, pool, conv, wanted):
    before = cnn(size, pool, conv, pool_op=pool_op)
    after = dce(shrink(before))
    verify(after)
    assert sizes_of(after, "conv") == sizes_of(after, "relu") == wanted
    assert shrink(after) is after
    for mine, other in zip(*(interpret(autodiff(g), arrays(size)) for g in (after, before)), strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-5 * np.abs(other).max())


def test_gradients_are_smaller_too():
    graph = dce(autodiff(shrink(cnn())))
    given = next(node for node in graph.nodes if node.op.name == "conv_weight_grad").inputs[1]
    assert given.type.shape[1:3] == (6, 6)


@pytest.mark.parametrize("changes", [
    {"also": "a"}, {"also": "b"}, {"also": "c"}, {"size": (6, 6)}, {"pool": {**POOL, "high": (1, 1)}},
])  # fmt: skip
def test_nothing_changes_where_somebody_needs_the_rest(changes):
    graph = cnn(**changes)
    assert shrink(graph) is graph
