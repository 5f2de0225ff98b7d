"""Erasure of `stop_gradient`, which means nothing once gradients are expanded."""

from __future__ import annotations

from kgraph.compiler.nested import also_in_bodies
from kgraph.ir.graph import Graph, Value, rebuild


@also_in_bodies
def erase_stop_gradient(graph: Graph) -> Graph:
    """Replace stop_gradient(x) by x; must run after autodiff.

    Before: a = stop_gradient(x); b = tanh(a)
    After:  b = tanh(x)
    """
    stops = [node for node in graph.nodes if node.op.name == "stop_gradient"]
    if not stops:
        return graph
    replaced: dict[Value, Value] = {node.output: node.inputs[0] for node in stops}
    return rebuild(graph, [node for node in graph.nodes if node.op.name != "stop_gradient"], replaced)
