"""Shape inference: result types follow from operand types again."""

from __future__ import annotations

from kgraph.compiler.nested import also_in_bodies
from kgraph.ir.graph import Graph, Node, Value


@also_in_bodies
def shape_inference(graph: Graph) -> Graph:
    """Infer the type of every node's results anew, where a rewrite made operand types sharper.

    Before: y = tanh(x) : f32[batch, 3]   where x became f32[32, 3]
    After:  y = tanh(x) : f32[32, 3]
    """
    sharper: dict[Value, Value] = {}
    nodes = [_infer(node, sharper) for node in graph.nodes]
    if not sharper:
        return graph
    outputs = tuple(sharper.get(value, value) for value in graph.outputs)
    return Graph(graph.name, graph.inputs, tuple(nodes), outputs)


def _infer(node: Node, sharper: dict[Value, Value]) -> Node:
    inputs = tuple(sharper.get(value, value) for value in node.inputs)
    types = node.op.result_types([value.type for value in inputs], node.attrs)
    outputs = []
    for value, type in zip(node.outputs, types, strict=True):
        if type != value.type:
            sharper[value] = Value(type, value.name)
        outputs.append(sharper.get(value, value))
    if inputs == node.inputs and tuple(outputs) == node.outputs:
        return node
    return Node(node.op, inputs, tuple(outputs), node.attrs, node.loc)
