"""Who uses a value, and which nodes are needed at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kgraph.ir.graph import Graph, Node, Value


def users(graph: Graph) -> dict[Value, list[Node]]:
    """The nodes that read each value of `graph`, in order, each node once; being a graph output is no use here."""
    found: dict[Value, list[Node]] = {value: [] for value in graph.inputs}
    for node in graph.nodes:
        for value in dict.fromkeys(node.inputs):
            found[value].append(node)
        for value in node.outputs:
            found[value] = []
    return found


def needed(nodes: Sequence[Node], roots: Iterable[Value]) -> tuple[Node, ...]:
    """Those of `nodes` (in an order that runs) that `roots` depend on, in the same order."""
    live = set(roots)
    kept: list[Node] = []
    for node in reversed(nodes):
        if not live.isdisjoint(node.outputs):
            kept.append(node)
            live.update(node.inputs)
    return tuple(reversed(kept))


def dependents(nodes: Iterable[Node], roots: Iterable[Value]) -> set[Value]:
    """`roots` and every value that `nodes` (in an order that runs) make from them."""
    reached = set(roots)
    for node in nodes:
        if not reached.isdisjoint(node.inputs):
            reached.update(node.outputs)
    return reached


def smooth_dependents(nodes: Iterable[Node], roots: Iterable[Value]) -> set[Value]:
    """The floats among `roots`, and the floats that `nodes` (in an order that runs) make from them through floats."""
    reached = {value for value in roots if value.dtype.is_float}
    for node in nodes:
        if not reached.isdisjoint(node.inputs):
            reached.update(value for value in node.outputs if value.dtype.is_float)
    return reached
