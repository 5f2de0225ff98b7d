"""Max-pooling before bias and relu, and places of maxima found in the forward pass."""

from __future__ import annotations

import numpy as np
import pytest
from pass_checks import becomes, graph_of, stays

from kgraph.compiler.native import compile_native
from kgraph.compiler.passes.autodiff import autodiff
from kgraph.compiler.passes.dce import dce
from kgraph.compiler.passes.pool_first import pool_first
from kgraph.compiler.passes.pool_in_convolution import pool_in_convolution
from kgraph.compiler.passes.pool_places import pool_places
from kgraph.ir.dtypes import f32
from kgraph.ir.graph import GraphBuilder
from kgraph.ir.opdef import emitting
from kgraph.ir.types import TensorType
from kgraph.ir.verify import verify
from kgraph.primitives import REGISTRY
from kgraph.runtime.executable import Executable
from kgraph.runtime.interpreter import interpret

POOL = "{high=[0], low=[0], strides=[2], window=[2]}"
OTHER = "{high=[1], low=[0], strides=[2], window=[2]}"
INPUT = "%x: f32[n, 5, 3]"
HALF = "f32[n, 2, 3]"


def test_relu_runs_behind_the_pooling():
    becomes(
        pool_first, INPUT,
        f"%0 = relu(%x) : f32[n, 5, 3]\n%1 = max_pool(%0) {POOL} : {HALF}\nreturn %1",
        f"%0 = max_pool(%x) {POOL} : {HALF}\n%1 = relu(%0) : {HALF}\nreturn %1",
    )  # fmt: skip


@pytest.mark.parametrize("order", ["%x, %0", "%0, %x"])
def test_a_bias_is_added_behind_the_pooling(order):
    becomes(
        lambda g: dce(pool_first(g)), f"{INPUT}, %b: f32[3]",
        f"%0 = broadcast(%b) {{axes=[2], shape=[n, 5, 3]}} : f32[n, 5, 3]\n%1 = add({order}) : f32[n, 5, 3]\n"
        f"%2 = relu(%1) : f32[n, 5, 3]\n%3 = max_pool(%2) {POOL} : {HALF}\nreturn %3",
        f"%0 = max_pool(%x) {POOL} : {HALF}\n%1 = broadcast(%b) {{axes=[2], shape=[n, 2, 3]}} : {HALF}\n"
        f"%2 = add(%0, %1) : {HALF}\n%3 = relu(%2) : {HALF}\nreturn %3",
    )  # fmt: skip


@pytest.mark.parametrize("body", [
    f"%0 = relu(%x) : f32[n, 5, 3]\n%1 = max_pool(%0) {POOL} : {HALF}\nreturn %1, %0",
    f"%0 = relu(%x) : f32[n, 5, 3]\n%1 = max_pool(%0) {POOL} : {HALF}\n%2 = exp(%0) : f32[n, 5, 3]\nreturn %1, %2",
    f"%0 = exp(%x) : f32[n, 5, 3]\n%1 = max_pool(%0) {POOL} : {HALF}\nreturn %1",
    f"%0 = relu(%x) : f32[n, 5, 3]\n%1 = sum_pool(%0) {POOL} : {HALF}\nreturn %1",
    f"%0 = max_pool(%x) {POOL} : {HALF}\nreturn %0",
    f"%0 = add(%x, %x) : f32[n, 5, 3]\n%1 = max_pool(%0) {POOL} : {HALF}\nreturn %1",
])  # fmt: skip
def test_relu_stays_where_it_is_read_otherwise(body):
    stays(pool_first, INPUT, body)


def differentiated(values):
    """pool(relu(x)) and its gradient, without and with the pass."""
    builder = GraphBuilder("g", REGISTRY)
    x, dy = (builder.input(TensorType(f32, s)) for s in (values.shape, (2, 3, 3, 4)))
    with emitting(builder):
        y = builder.emit("max_pool", builder.emit("relu", x), window=(2, 3), strides=(2, 2), low=(0, 1), high=(0, 1))
        loss = builder.emit("sum", y * dy, axes=(0, 1, 2, 3), keepdims=False)
        slope = builder.emit("gradient", loss, x)
    graph = builder.build([y, slope])
    rng = np.random.default_rng(1)
    given = [values, rng.standard_normal((2, 3, 3, 4)).astype(np.float32)]
    return [interpret(autodiff(g), given) for g in (graph, pool_first(graph))]


def test_value_and_gradient_are_equal_to_the_bit():
    rng = np.random.default_rng(0)
    ties = rng.integers(-2, 3, (2, 6, 5, 4)).astype(np.float32)
    special = rng.standard_normal((2, 6, 5, 4)).astype(np.float32)
    special.reshape(-1)[::7] = np.nan
    special.reshape(-1)[::5] = -0.0
    special.reshape(-1)[::11] = -np.inf
    for values in (ties, special, -np.abs(special)):
        (y, slope), (y_moved, slope_moved) = differentiated(values)
        np.testing.assert_array_equal(y, y_moved)
        np.testing.assert_array_equal(slope, slope_moved)


def test_places_are_found_with_the_maxima():
    becomes(
        pool_places, INPUT,
        f"%0 = max_pool(%x) {POOL} : {HALF}\n%1 = exp(%0) : {HALF}\n"
        f"%2 = max_pool_index(%x) {POOL} : u8[n, 2, 3]\nreturn %1, %2",
        f"%0, %1 = max_pool_places(%x) {POOL} : {HALF}, u8[n, 2, 3]\n%2 = exp(%0) : {HALF}\nreturn %2, %1",
    )  # fmt: skip


@pytest.mark.parametrize("body", [
    f"%0 = max_pool(%x) {POOL} : {HALF}\nreturn %0",
    f"%0 = max_pool_index(%x) {POOL} : u8[n, 2, 3]\nreturn %0",
    f"%0 = max_pool_index(%x) {POOL} : u8[n, 2, 3]\n%1 = max_pool(%x) {POOL} : {HALF}\nreturn %0, %1",
    f"%0 = max_pool(%x) {POOL} : {HALF}\n%1 = max_pool_index(%x) {OTHER} : u8[n, 3, 3]\nreturn %0, %1",
])  # fmt: skip
def test_poolings_without_a_partner_stay(body):
    stays(pool_places, INPUT, body)


def test_the_map_is_read_no_more_in_the_backward_pass():
    """After both passes nothing behind the pooling reads what was pooled."""
    graph = graph_of(INPUT, f"%0 = relu(%x) : f32[n, 5, 3]\n%1 = max_pool(%0) {POOL} : {HALF}\n"
                            "%2 = sum(%1) {axes=[0, 1, 2], keepdims=false} : f32[]\n"
                            "%3 = gradient(%2, %x) : f32[n, 5, 3]\nreturn %3")  # fmt: skip
    after = dce(pool_places(autodiff(pool_first(graph))))
    verify(after)
    assert [node.op.name for node in after.nodes if after.inputs[0] in node.inputs] == ["max_pool_places"]


CONVOLUTION = "{dilation=[1, 1], groups=1, high=[1, 1], low=[1, 1], strides=[1, 1]}"
WINDOW = "{high=[0, 0], low=[0, 0], strides=[2, 2], window=[2, 2]}"
BOTH = (
    "{dilation=[1, 1], groups=1, high=[1, 1], low=[1, 1], pool_high=[0, 0], pool_low=[0, 0], pool_strides=[2, 2], "
    "strides=[1, 1], window=[2, 2]}"
)
POOLED = "f32[n, 12, 12, 4], u8[n, 12, 12, 4]"


def convolution(size=24, outputs=4, more="", results="%1, %2", pooled=POOLED):
    """Inputs and body of pooling(conv(x, w))."""
    map_ = f"f32[n, {size}, {size}, {outputs}]"
    inputs = f"%x: f32[n, {size}, {size}, 3], %w: f32[3, 3, 3, {outputs}]"
    return inputs, (
        f"%0 = conv(%x, %w) {CONVOLUTION} : {map_}\n"
        f"%1, %2 = max_pool_places(%0) {WINDOW} : {pooled}\n{more}return {results}"
    )


def test_a_pooling_moves_into_the_convolution_before_it():
    inputs, before = convolution()
    after = f"%0, %1 = conv_max_pool_places(%x, %w) {BOTH} : {POOLED}\nreturn %0, %1"
    becomes(pool_in_convolution, inputs, before, after)


@pytest.mark.parametrize("options", [
    {"results": "%1, %0"},
    {"more": "%3 = exp(%0) : f32[n, 24, 24, 4]\n", "results": "%1, %3"},
    {"size": 16, "pooled": "f32[n, 8, 8, 4], u8[n, 8, 8, 4]"},
    {"outputs": 256, "pooled": "f32[n, 12, 12, 256], u8[n, 12, 12, 256]"},
])  # fmt: skip
def test_it_stays_where_the_map_is_wanted_or_small_or_large(options):
    stays(pool_in_convolution, *convolution(**options))


def test_a_training_step_computes_the_same():
    """The values of the node are those of the two that it replaces, in native code."""
    inputs, before = convolution()
    graph = graph_of(inputs, before)
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s).astype(np.float32) for s in ((5, 24, 24, 3), (3, 3, 3, 4))]
    found = [Executable(compile_native(g, 0, check=True).artifact, []).run(arrays)
             for g in (graph, pool_in_convolution(graph))]  # fmt: skip
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)
