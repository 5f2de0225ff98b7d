"""A graph as networkx sees it: for drawing, export, and graph algorithms that are not worth writing again.

A view, not the store: operand order, several results and types fit badly on edges. Nothing on the way to native code
uses it, so that compiling does not pay for importing networkx.
"""

from __future__ import annotations

from typing import Any

import networkx as nx

from kgraph.ir.graph import Graph, Node, Value


def to_networkx(graph: Graph) -> nx.MultiDiGraph[Any]:
    """A directed graph whose vertices are the graph's inputs (`Value`) and nodes (`Node`).

    Vertices carry `label` (the name of the input or op) and `layer`; an edge for every operand carries `operand` (its
    position), `result` (which result of its maker it is) and `type`.

    >>> from kgraph.ir.dtypes import f32
    >>> from kgraph.ir.graph import GraphBuilder
    >>> from kgraph.ir.types import TensorType
    >>> from kgraph.primitives import REGISTRY
    >>> builder = GraphBuilder("square", REGISTRY)
    >>> x = builder.input(TensorType(f32, (3,)), "x")
    >>> view = to_networkx(builder.build([builder.emit("mul", x, x)]))
    >>> [data["label"] for _, data in view.nodes(data=True)], view.number_of_edges()
    (['x', 'mul'], 2)
    """
    view: nx.MultiDiGraph[Any] = nx.MultiDiGraph(name=graph.name)
    maker: dict[Value, Node | Value] = {value: value for value in graph.inputs}
    for value in graph.inputs:
        view.add_node(value, label=value.name, layer="")
    for node in graph.nodes:
        view.add_node(node, label=node.op.name, layer=node.loc.layer)
        for position, value in enumerate(node.inputs):
            source = maker[value]
            result = source.outputs.index(value) if isinstance(source, Node) else 0
            view.add_edge(source, node, operand=position, result=result, type=str(value.type))
        maker.update(dict.fromkeys(node.outputs, node))
    return view


def immediate_dominators(graph: Graph) -> dict[Node, Node | None]:
    """For each node the last node that everything from the inputs to it passes through; None if there is no such node.

    A node whose operands all stem from one node can be computed from that node alone: where to cut a graph for
    checkpointing, or to see which part of a model an output hangs on.
    """
    view = to_networkx(graph)
    start = "start"
    view.add_edges_from((start, vertex) for vertex in list(view) if view.in_degree(vertex) == 0)
    found = nx.immediate_dominators(view, start)
    return {node: above if isinstance(above := found.get(node), Node) else None for node in graph.nodes}
