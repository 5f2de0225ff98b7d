"""Shape inference."""

from pass_checks import graph_of, stays, unnamed

from kgraph.compiler.passes.shape_inference import shape_inference
from kgraph.ir.dtypes import f32
from kgraph.ir.graph import Graph, Value, rebuild
from kgraph.ir.types import TensorType

BODY = """
    %a = tanh(%x) : f32[{n}, 3]
    %b = sum(%a) {{axes=[1], keepdims=false}} : f32[{n}]
    return %a, %b
    """


def test_types_that_are_right_stay():
    stays(shape_inference, "%x: f32[batch, 3]", BODY.format(n="batch"))


def test_results_follow_a_sharper_operand():
    graph = graph_of("%x: f32[batch, 3]", BODY.format(n="batch"))
    sharp = Value(TensorType(f32, (32, 3)), "x")
    given = rebuild(graph, graph.nodes, {graph.inputs[0]: sharp})
    after = shape_inference(Graph("g", (sharp,), given.nodes, given.outputs))
    assert unnamed(after) == unnamed(graph_of("%x: f32[32, 3]", BODY.format(n="32")))
    assert shape_inference(after) is after
