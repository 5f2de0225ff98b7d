"""Constant folding."""

import numpy as np
from pass_checks import becomes, graph_of, stays

from kgraph.compiler.passes.dce import dce
from kgraph.compiler.passes.fold import LARGEST_BYTES, fold
from kgraph.ir.graph import Graph, GraphBuilder
from kgraph.primitives import REGISTRY


def folded(graph: Graph) -> Graph:
    return dce(fold(graph))


def test_what_depends_on_constants_only_is_computed():
    becomes(
        folded,
        "%x: f32[]",
        """
        %a = constant() {value=f32[](3.0)} : f32[]
        %b = mul(%a, %a) : f32[]
        %c = neg(%b) : f32[]
        %d = add(%x, %c) : f32[]
        return %d
        """,
        """
        %c = constant() {value=f32[](-9.0)} : f32[]
        %d = add(%x, %c) : f32[]
        return %d
        """,
    )


def test_the_broadcast_of_a_number_stays():
    stays(
        fold,
        "",
        """
        %a = constant() {value=f32[](3.0)} : f32[]
        %b = broadcast(%a) {axes=[], shape=[4]} : f32[4]
        return %b
        """,
    )


def test_arrays_fold_if_they_do_not_grow():
    becomes(
        folded,
        "",
        """
        %a = constant() {value=f32[2, 2](1.0, 2.0, 3.0, 4.0)} : f32[2, 2]
        %b = transpose(%a) {perm=[1, 0]} : f32[2, 2]
        %c = sum(%b) {axes=[1], keepdims=false} : f32[2]
        return %b, %c
        """,
        """
        %b = constant() {value=f32[2, 2](1.0, 3.0, 2.0, 4.0)} : f32[2, 2]
        %c = constant() {value=f32[2](4.0, 6.0)} : f32[2]
        return %b, %c
        """,
    )


def test_large_results_stay():
    builder = GraphBuilder("g", REGISTRY)
    for size in (LARGEST_BYTES // 4, LARGEST_BYTES // 4 + 1):
        value = builder.emit("neg", builder.constant(np.arange(size, dtype="float32")))
    graph = folded(builder.build([node.output for node in builder.nodes if node.op.name == "neg"]))
    assert [node.op.name for node in graph.nodes].count("neg") == 1
    assert value in graph.outputs


def test_infinity_and_nan_are_numbers_like_others():
    graph = fold(
        graph_of(
            "",
            """
            %a = constant() {value=f32[2](0.0, -1.0)} : f32[2]
            %b = log(%a) : f32[2]
            return %b
            """,
        )
    )
    value = graph.nodes[-1].attrs["value"]
    assert value[0] == -np.inf
    assert np.isnan(value[1])
