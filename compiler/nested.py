"""Graphs inside nodes: passes that reach into them."""

from __future__ import annotations

import functools
from collections.abc import Callable

from kgraph.ir.graph import Graph, Node, Value
from kgraph.ir.location import UNKNOWN, Location
from kgraph.ir.opdef import Nested


def also_in_bodies(apply: Callable[[Graph], Graph]) -> Callable[[Graph], Graph]:
    """A pass that is applied to the graphs inside `scan` and the like first, then to the graph round them.

    Inputs and outputs of the inner graphs must keep their number and types, as they do in a pass on whole programs.
    """

    @functools.wraps(apply)
    def everywhere(graph: Graph) -> Graph:
        return apply(with_bodies(graph, everywhere))

    return everywhere


def with_bodies(graph: Graph, change: Callable[[Graph], Graph]) -> Graph:
    """`graph` with `change` applied to the graphs inside its nodes; `graph` itself if all stay the same."""
    nodes = tuple(_with_body(node, change) for node in graph.nodes)
    same = all(new is old for new, old in zip(nodes, graph.nodes, strict=True))
    return graph if same else Graph(graph.name, graph.inputs, nodes, graph.outputs)


def _with_body(node: Node, change: Callable[[Graph], Graph]) -> Node:
    if not isinstance(node.op.lower, Nested):
        return node
    attrs = {name: change(attr) if isinstance(attr, Graph) else attr for name, attr in node.attrs.items()}
    same = all(attr is node.attrs[name] for name, attr in attrs.items())
    return node if same else Node(node.op, node.inputs, node.outputs, attrs, node.loc)


def clone(graph: Graph, loc: Location = UNKNOWN) -> Graph:
    """The same graph with values and nodes of its own, also inside its nodes; `loc` is for nodes that have no place."""
    new: dict[Value, Value] = {value: Value(value.type, value.name) for value in graph.inputs}
    nodes = []
    for node in graph.nodes:
        new.update((value, Value(value.type, value.name)) for value in node.outputs)
        node = _with_body(node, lambda body: clone(body, loc))
        operands, results = (tuple(new[v] for v in values) for values in (node.inputs, node.outputs))
        nodes.append(Node(node.op, operands, results, node.attrs, loc if node.loc == UNKNOWN else node.loc))
    inputs, outputs = (tuple(new[v] for v in values) for values in (graph.inputs, graph.outputs))
    return Graph(graph.name, inputs, tuple(nodes), outputs)
