"""Dead-code elimination: nodes that no output needs go."""

from __future__ import annotations

from kgraph.compiler.analysis.uses import needed
from kgraph.ir.graph import Graph


def dce(graph: Graph) -> Graph:
    """Drop every node that no graph output depends on; graph inputs stay, since the caller gives them by position.

    Before: a = tanh(x); b = exp(x); return a
    After:  a = tanh(x); return a
    """
    kept = needed(graph.nodes, graph.outputs)
    if len(kept) == len(graph.nodes):
        return graph
    return Graph(graph.name, graph.inputs, kept, graph.outputs)
