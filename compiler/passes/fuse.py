"""Fusion: groups of nodes that become one kernel.

A group holds at most one *anchor* (an op with a loop nest of its own: reduction, softmax, matrix product) and
pointwise nodes round it:

    producers of the anchor's operands   computed where the anchor reads       (reductions with their producers)
    consumers of the anchor's results    computed where the anchor writes      (matmul + bias + activation)
    without an anchor                    one pass over memory                  (elementwise chains)

Nodes that cost nothing (broadcasts, scalars, index patterns) are copied into every group that reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kgraph.compiler.analysis.uses import users
from kgraph.compiler.nested import also_in_bodies
from kgraph.ir.graph import Graph, Node, Value
from kgraph.ir.opdef import Alias, Loops, Nested, Pointwise, Scalar
from kgraph.primitives.structural import fusion

# Copying these into a reader costs no arithmetic (their elements are index patterns or single loads), or less than
# writing and reading them: random bits come out of a few registers.
_FREE = frozenset({"broadcast", "size", "iota", "one_hot", "random_bits"})
# A comparison with a free operand is one instruction, and its bools would be narrow stores and loads.
_COMPARISONS = frozenset({"eq", "ne", "lt", "le", "gt", "ge"})
MAX_NODES = 48  # of one group: bounds the live values of a loop body, and the time LLVM takes


@also_in_bodies
def fuse(graph: Graph) -> Graph:
    """Replace groups of nodes by `fusion` nodes whose `body` is the group's graph.

    Before: a = matmul(x, w); b = broadcast(bias); c = add(a, b); y = relu(c)
    After:  y = fusion(x, w, bias) {body: matmul, broadcast, add, relu}
    """
    groups = _Grouping(graph).run()
    free = free_nodes(graph)
    producer, uses = graph.producers(), users(graph)
    nodes = tuple(_node_of(graph, g, free, producer, uses) for g in _in_order(graph, groups))
    return graph if nodes == graph.nodes else Graph(graph.name, graph.inputs, nodes, graph.outputs)


def free_nodes(graph: Graph) -> set[Node]:
    """The nodes that are copied into every group that reads them."""
    free: set[Node] = set()
    made: set[Value] = set()
    for node in graph.nodes:
        name = node.op.name
        scalar = name == "constant" and node.attrs["value"].size == 1
        if scalar or name in _FREE or (name in _COMPARISONS and not made.isdisjoint(node.inputs)):
            free.add(node)
            made.update(node.outputs)
    return free


def is_pointwise(node: Node) -> bool:
    """Whether each result element is an expression of operand elements; constants are data, not expressions."""
    return isinstance(node.op.lower, Scalar | Pointwise) and node.op.name != "constant"


def _is_column(anchor: Node) -> bool:
    """Whether an anchor is a product that writes single columns: what follows where it writes would run on one lane of
    a vector, where a pass of its own over the same elements runs on all."""
    lower = anchor.op.lower
    return isinstance(lower, Loops) and bool(lower.in_memory) and anchor.outputs[0].type.shape[-1:] == (1,)


@dataclass(eq=False)
class _Group:
    """Nodes that become one kernel, by their positions in the graph.

    Attributes:
        needs: groups, or what joined them, that make what the nodes read.
        joined: the group that has taken in this one.
    """

    nodes: list[int]
    anchor: Node | None = None
    members: set[Node] = field(default_factory=set)
    needs: set[_Group] = field(default_factory=set)
    joined: _Group | None = None

    def operands(self) -> set[_Group]:
        """The groups that must run before this one."""
        if any(group.joined for group in self.needs):
            self.needs = {group.now() for group in self.needs} - {self}
        return self.needs

    def now(self) -> _Group:
        """The group that has these nodes by now."""
        return self if self.joined is None else self.joined.now()


class _Grouping:
    """One pass over the nodes in order; each joins the groups of its operands where that is legal."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.position = {node: n for n, node in enumerate(graph.nodes)}
        self.producer = graph.producers()
        self.readers = users(graph)
        self.outputs = set(graph.outputs)
        self.free = free_nodes(graph)
        self.group_of: dict[Node, _Group] = {}

    def run(self) -> list[_Group]:
        """The groups; free nodes are in none unless somebody needs them in memory."""
        for node in self.graph.nodes:
            if node in self.free and not self._needed_in_memory(node):
                continue
            self._place(node)
        unique = {id(g): g for g in self.group_of.values()}
        return list(unique.values())

    def _needed_in_memory(self, node: Node) -> bool:
        for value in node.outputs:
            if value in self.outputs:
                return True
            for reader in self.readers.get(value, ()):
                lower = reader.op.lower
                if isinstance(lower, Alias | Nested):
                    return True
                if isinstance(lower, Loops) and any(reader.inputs[n] is value for n in lower.in_memory):
                    return True
        return False

    def _place(self, node: Node) -> None:
        needs = self._groups_of_operands(node)
        group = _Group([self.position[node]], None if is_pointwise(node) else node, {node}, needs)
        self.group_of[node] = group
        if is_pointwise(node) and node not in self.free:
            for producer in self._direct_producers(node):
                other = self.group_of.get(producer)
                if other is not None and other is not group and self._may_follow(producer, other, node, group):
                    group = self._merge(other, group)
        elif isinstance(node.op.lower, Loops):
            for number, value in enumerate(node.inputs):
                group = self._absorb_producer(node, number, value, group)

    def _direct_producers(self, node: Node) -> Iterable[Node]:
        """Producers whose elements this node reads at its own index only."""
        if isinstance(node.op.lower, Scalar):
            for value in node.inputs:
                if value in self.producer:
                    yield self.producer[value]

    def _may_follow(self, producer: Node, other: _Group, node: Node, group: _Group) -> bool:
        """Whether pointwise `node` may be computed where `other` computes `producer`'s elements."""
        if len(other.nodes) + len(group.nodes) > MAX_NODES or (other.anchor and group.anchor):
            return False
        if other.anchor is not None and (not isinstance(other.anchor.op.lower, Loops) or _is_column(other.anchor)):
            return False
        if producer in self.free:
            return False
        anchor = other.anchor or group.anchor
        if anchor is not None and not self._one_result(anchor, {*other.members, *group.members}, node):
            return False
        if node.output.type.shape != producer.outputs[0].type.shape and producer is not other.anchor:
            return False
        if other.anchor is not None and producer is not other.anchor and not self._after_anchor(producer, other):
            return False
        if group.anchor is not None and other.anchor is None and not self._same_space(group, producer):
            return False
        anchored, plain = (other, group) if other.anchor is not None else (group, other)
        if anchored.anchor is not None and (self._feeds(plain, anchored) or self._reads_elsewhere(plain, anchored)):
            return False
        return not self._path_between(other, group)

    def _reads_elsewhere(self, plain: _Group, anchored: _Group) -> bool:
        """Whether nodes of `plain` read values of a group with an anchor at other indices than their own: where the
        anchor writes one element, the others are not there yet."""
        pending = [v for node in plain.members if isinstance(node.op.lower, Pointwise) for v in node.inputs]
        seen = set[Value]()
        while pending:
            value = pending.pop()
            node = self.producer.get(value)
            if node is None or value in seen:
                continue
            if node in anchored.members:
                return True
            seen.add(value)
            if node in self.free or node in plain.members:
                pending += node.inputs
        return False

    def _feeds(self, plain: _Group, anchored: _Group) -> bool:
        """Whether an anchor reads nodes of another group: they must be finished before it starts."""
        assert anchored.anchor is not None
        pending, seen = list(anchored.anchor.inputs), set[Node]()
        while pending:
            node = self.producer.get(pending.pop())
            if node is None or node in seen:
                continue
            if node in plain.members:
                return True
            seen.add(node)
            if node in anchored.members or node in self.free:
                pending += node.inputs
        return False

    def _same_space(self, group: _Group, producer: Node) -> bool:
        """A group without anchor may join an epilogue only if it runs over the epilogue's index space."""
        assert group.anchor is not None
        return any(producer.outputs[0].type.shape == v.type.shape for v in group.anchor.outputs)

    def _after_anchor(self, node: Node, group: _Group) -> bool:
        """Whether `node` of an anchored group depends on the anchor: is computed where the anchor writes."""
        pending, seen = [node], set[Node]()
        while pending:
            at = pending.pop()
            if at is group.anchor:
                return True
            for value in at.inputs:
                before = self.producer.get(value)
                if before is not None and before in group.members and before not in seen:
                    seen.add(before)
                    pending.append(before)
        return False

    def _one_result(self, anchor: Node, members: set[Node], node: Node) -> bool:
        """Whether `node` depends on one result of the anchor only, and has that result's shape."""
        used: set[Value] = set()
        pending, seen = [node], {node}
        while pending:
            for value in pending.pop().inputs:
                before = self.producer.get(value)
                if before is anchor:
                    used.add(value)
                elif before is not None and (before in members or before in self.free) and before not in seen:
                    seen.add(before)
                    pending.append(before)
        return len(used) <= 1 and all(v.type.shape == node.output.type.shape for v in used)

    def _absorb_producer(self, anchor: Node, number: int, value: Value, group: _Group) -> _Group:
        lower = anchor.op.lower
        assert isinstance(lower, Loops)
        producer = self.producer.get(value)
        if producer is None or number in lower.in_memory or producer in self.free or not lower.reads_once:
            return group
        other = self.group_of.get(producer)
        if other is None or other is group or other.anchor is not None:
            return group
        if len(other.nodes) + len(group.nodes) > MAX_NODES:
            return group
        # Every value of the producing group must be read here alone, or it would be computed twice.
        for member in other.members:
            for made in member.outputs:
                outside = [r for r in self.readers.get(made, ()) if r is not anchor and r not in other.members]
                if made in self.outputs or outside:
                    return group
        return group if self._path_between(other, group) else self._merge(other, group)

    def _merge(self, a: _Group, b: _Group) -> _Group:
        a.nodes += b.nodes
        a.members |= b.members
        a.needs = (a.needs | b.needs) - {a, b}
        b.joined = a
        a.anchor = a.anchor or b.anchor
        for node in b.members:
            self.group_of[node] = a
        return a

    def _path_between(self, first: _Group, last: _Group) -> bool:
        """Whether a path leads from `first` through another group to `last`: joining them would make a circle."""
        seen = {first, last}
        pending = [group for group in last.operands() if group is not first]
        while pending:
            group = pending.pop()
            if group in seen:
                continue
            seen.add(group)
            before = group.operands()
            if first in before:
                return True
            pending += before
        return False

    def _groups_of_operands(self, node: Node) -> set[_Group]:
        found, pending = set[_Group](), list(node.inputs)
        while pending:
            before = self.producer.get(pending.pop())
            if before is None:
                continue
            if before in self.group_of:
                found.add(self.group_of[before])
            else:
                pending += before.inputs
        return found


def _in_order(graph: Graph, groups: list[_Group]) -> list[_Group]:
    """Groups in an order that runs; among those that could run, the one whose last node comes first.

    A group that ends in an optimizer update therefore runs after all readers of the old weight.
    """
    producer = graph.producers()
    group_of = {graph.nodes[n]: g for g in groups for n in g.nodes}
    waiting: list[_Group] = sorted(groups, key=lambda g: max(g.nodes))
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
    ordered: list[_Group] = []
    while waiting:
        ready = next(g for g in waiting if needs[id(g)] <= done)
        waiting.remove(ready)
        done.add(id(ready))
        ordered.append(ready)
    return ordered


def _node_of(
    graph: Graph, group: _Group, free: set[Node], producer: Mapping[Value, Node], uses: Mapping[Value, Sequence[Node]]
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
