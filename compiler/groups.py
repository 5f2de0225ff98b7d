"""Groups of nodes that become one kernel: in an order that runs, each as one node of the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kgraph.ir.graph import Graph, Node, Value
from kgraph.ir.opdef import Loops, Pointwise, Scalar
from kgraph.primitives.structural import fusion


@dataclass(eq=False)
class Group:
    """Nodes that become one kernel, by their positions in the graph.

    Attributes:
        needs: groups, or what joined them, that make what the nodes read.
        joined: the group that has taken in this one.
    """

    nodes: list[int]
    anchors: list[Node] = field(default_factory=list)
    members: set[Node] = field(default_factory=set)
    needs: set[Group] = field(default_factory=set)
    joined: Group | None = None

    def operands(self) -> set[Group]:
        """The groups that must run before this one."""
        if any(group.joined for group in self.needs):
            self.needs = {group.now() for group in self.needs} - {self}
        return self.needs

    def now(self) -> Group:
        """The group that has these nodes by now."""
        return self if self.joined is None else self.joined.now()


def in_order(graph: Graph, groups: list[Group]) -> list[Group]:
    """Groups in an order that runs; among those that could run, the one whose last node comes first.

    A group that ends in an optimizer update therefore runs after all readers of the old weight.
    """
    producer = graph.producers()
    group_of = {graph.nodes[n]: g for g in groups for n in g.nodes}
    waiting: list[Group] = sorted(groups, key=lambda g: max(g.nodes))
    needs: dict[int, set[int]] = {}
    for group in groups:
        pending = [v for n in group.nodes for v in graph.nodes[n].inputs]
        found: set[int] = set()
        while pending:
            node = producer.get(pending.pop())
            if node is None:
                continue
            other = group_of.get(node)
            if other is None:
                pending += node.inputs
            elif other is not group:
                found.add(id(other))
        needs[id(group)] = found
    done: set[int] = set()
    ordered: list[Group] = []
    while waiting:
        ready = next(g for g in waiting if needs[id(g)] <= done)
        waiting.remove(ready)
        done.add(id(ready))
        ordered.append(ready)
    return ordered


def node_of(
    graph: Graph, group: Group, free: set[Node], producer: Mapping[Value, Node], uses: Mapping[Value, Sequence[Node]]
) -> Node:
    """The group as one node: itself if it is alone and reads no free node, else a `fusion`."""
    body: list[Node] = []
    made: set[Value] = set()
    placed: set[Node] = set()

    def add(node: Node) -> None:
        for value in node.inputs:
            before = producer.get(value)
            if before is not None and before not in placed and before in free and _inlined(node, value):
                add(before)
        placed.add(node)
        made.update(node.outputs)
        body.append(node)

    for n in sorted(group.nodes):
        if graph.nodes[n] not in placed:
            add(graph.nodes[n])
    if len(body) == 1:
        return body[0]
    own = {graph.nodes[n] for n in group.nodes}
    inputs = dict.fromkeys(v for node in body for v in node.inputs if v not in made)
    wanted = set(graph.outputs)

    def needed(value: Value) -> bool:
        """Whether it is read outside of the group, where free nodes are copied to."""
        readers = (r for r in uses.get(value, ()) if r not in own)
        return value in wanted or any(r not in free or any(map(needed, r.outputs)) for r in readers)

    outputs = [v for node in body if node in own for v in node.outputs if needed(v)]
    inside = Graph(_label([n for n in body if n not in free] or body), tuple(inputs), tuple(body), tuple(outputs))
    last = body[-1]
    return Node(fusion, tuple(inputs), tuple(outputs), {"body": inside}, last.loc)


def _inlined(reader: Node, value: Value) -> bool:
    """Whether `reader` takes an operand element by element, not from memory."""
    lower = reader.op.lower
    if isinstance(lower, Loops):
        return not any(reader.inputs[n] is value for n in lower.in_memory)
    return isinstance(lower, Scalar | Pointwise)


def _label(body: list[Node]) -> str:
    """A short name for the kernel: its ops in order."""
    names = [node.op.name for node in body]
    return "_".join(names[:4] + (["more"] if len(names) > 4 else []))
