"""Erasure of ops that only gradients see and that mean nothing once those are expanded."""

from __future__ import annotations

from kgraph.compiler.nested import also_in_bodies
from kgraph.ir.graph import Graph, Value, rebuild

# Ops whose results are their first operands.
_ERASED = ("stop_gradient", "custom_gradient")


@also_in_bodies
def erase_stop_gradient(graph: Graph) -> Graph:
    """Replace stop_gradient(x) by x, and custom_gradient(y, ...) by y; must run after autodiff.

    Before: a = stop_gradient(x); b = tanh(a)
    After:  b = tanh(x)
    """
    kept = [node for node in graph.nodes if node.op.name not in _ERASED]
    if len(kept) == len(graph.nodes):
        return graph
    gone = [node for node in graph.nodes if node.op.name in _ERASED]
    replaced: dict[Value, Value] = {y: x for node in gone for y, x in zip(node.outputs, node.inputs)}
    return rebuild(graph, kept, replaced)
