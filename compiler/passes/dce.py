"""Dead-code elimination: nodes that no output needs go."""

from __future__ import annotations

from collections.abc import Collection

from kgraph.compiler.analysis.uses import needed
from kgraph.compiler.nested import with_bodies
from kgraph.ir.graph import Graph, Node, Value
from kgraph.primitives.control_flow import roles, scan


def dce(graph: Graph) -> Graph:
    """Drop every node that no graph output depends on; graph inputs stay, since the caller gives them by position.

    A scan loses the results, carries and operands that nobody needs, and what its body computes for them.

    Before: a = tanh(x); b = exp(x); return a
    After:  a = tanh(x); return a
    """
    live = set(graph.outputs)
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if live.isdisjoint(node.outputs):
            continue
        node = _without_dead_results(node, live) if node.op is scan else node
        kept.append(node)
        live.update(node.inputs)
    nodes = tuple(reversed(kept))
    if nodes != tuple(graph.nodes):
        graph = Graph(graph.name, graph.inputs, nodes, graph.outputs)
    return with_bodies(graph, dce)


def _without_dead_results(node: Node, live: Collection[Value]) -> Node:
    """A scan with the results that are live, and the carries and operands that these need."""
    body, count = node.attrs["body"], node.attrs["carries"]
    carries, sequences, constants = roles(body.inputs, node.attrs)
    wanted = {n for n, value in enumerate(node.outputs) if value in live}
    wanted |= {0} if node.attrs["conditional"] else set()
    while True:
        outputs = [body.outputs[n] for n in sorted(wanted)]
        used = {value for inner in needed(body.nodes, outputs) for value in inner.inputs}.union(outputs)
        more = {n for n, carry in enumerate(carries) if carry in used} - wanted
        if not more:
            break
        wanted |= more
    kept = {*(carries[n] for n in wanted if n < count), *(used.intersection((*sequences, *constants)))}
    if len(wanted) == len(node.outputs) and len(kept) == len(body.inputs):
        return node
    inputs = [(value, inside) for value, inside in zip(node.inputs, body.inputs, strict=True) if inside in kept]
    attrs = {
        **node.attrs,
        "body": Graph(body.name, tuple(inside for _, inside in inputs), body.nodes, tuple(outputs)),
        "carries": sum(n < count for n in wanted),
        "sequences": sum(piece in kept for piece in sequences),
    }
    results = tuple(node.outputs[n] for n in sorted(wanted))
    return Node(node.op, tuple(value for value, _ in inputs), results, attrs, node.loc)
