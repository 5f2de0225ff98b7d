"""Fusion: groups of nodes that become one kernel.

A group holds at most one *anchor* (an op with a loop nest of its own: reduction, softmax, matrix product) and
pointwise nodes round it; only reductions over the same rows may share a group:

    producers of the anchor's operands   computed where the anchor reads       (reductions with their producers)
    consumers of the anchor's results    computed where the anchor writes      (matmul + bias + activation)
    without an anchor                    one pass over memory                  (elementwise chains)
    several reductions of one array      one pass over its rows                (mean of x beside that of x * x)
    elementwise nodes of that array      stored in the same pass               (exp(x) beside its sum)

Nodes that cost nothing (broadcasts, scalars, index patterns) are copied into every group that reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kgraph.compiler.analysis.uses import users
from kgraph.compiler.groups import Group, in_order, node_of
from kgraph.compiler.nested import also_in_bodies
from kgraph.ir.dims import Shape
from kgraph.ir.graph import Graph, Node, Value
from kgraph.ir.opdef import Alias, Loops, Nested, Pointwise, Rows, Scalar

# Copying these into a reader costs no arithmetic (their elements are index patterns or single loads), or less than
# writing and reading them: random bits come out of a few registers.
_FREE = frozenset({"broadcast", "size", "iota", "one_hot", "random_bits"})
# A comparison with a free operand is one instruction, and its bools would be narrow stores and loads.
_COMPARISONS = frozenset({"eq", "ne", "lt", "le", "gt", "ge"})
MAX_NODES = 48  # of one group: bounds the live values of a loop body, and the time LLVM takes
# Elements of a row from which on a pass row by row over an array is as fast as one over all of its memory.
LONG_ROW = 64


@also_in_bodies
def fuse(graph: Graph) -> Graph:
    """Replace groups of nodes by `fusion` nodes whose `body` is the group's graph.

    Before: a = matmul(x, w); b = broadcast(bias); c = add(a, b); y = relu(c)
    After:  y = fusion(x, w, bias) {body: matmul, broadcast, add, relu}
    """
    groups = _Grouping(graph).run()
    free = free_nodes(graph)
    producer, uses = graph.producers(), users(graph)
    nodes = tuple(node_of(graph, g, free, producer, uses) for g in in_order(graph, groups))
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


def _rows_of(anchor: Node) -> tuple[Shape, tuple[int, ...]]:
    """The shape over whose rows a node runs, and the axes along which they lie."""
    lower, source = anchor.op.lower, anchor.inputs[0].type
    assert isinstance(lower, Rows)
    return source.shape, lower.axes(source, **anchor.attrs)


def _are_long_rows(shape: Shape, axes: Sequence[int]) -> bool:
    """Whether rows are long vectors, and there are several that threads may share."""
    live = [axis for axis, size in enumerate(shape) if size != 1]
    if not live or live[-1] not in axes or all(axis in axes for axis in live):
        return False
    size = shape[live[-1]]
    return isinstance(size, int) and size >= LONG_ROW


def _reads_once(reader: Node) -> bool:
    """Whether a node is an anchor that reads each element of its operands once."""
    return isinstance(reader.op.lower, Loops) and reader.op.lower.reads_once


class _Grouping:
    """One pass over the nodes in order; each joins the groups of its operands where that is legal."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.position = {node: n for n, node in enumerate(graph.nodes)}
        self.producer = graph.producers()
        self.readers = users(graph)
        self.outputs = set(graph.outputs)
        self.free = free_nodes(graph)
        self.group_of: dict[Node, Group] = {}
        self.over_rows: dict[tuple[Shape, tuple[int, ...]], list[Group]] = {}

    def run(self) -> list[Group]:
        """The groups; free nodes are in none unless somebody needs them in memory."""
        for node in self.graph.nodes:
            if node in self.free and not self._needed_in_memory(node):
                continue
            self._place(node)
        self._join_elementwise()
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
        group = Group([self.position[node]], [] if is_pointwise(node) else [node], {node}, needs)
        self.group_of[node] = group
        if is_pointwise(node) and node not in self.free:
            for producer in self._direct_producers(node):
                other = self.group_of.get(producer)
                if other is not None and other is not group and self._may_follow(producer, other, node, group):
                    group = self._merge(other, group)
        elif isinstance(node.op.lower, Loops):
            group = self._absorb_producers(node, group)
            if isinstance(node.op.lower, Rows):
                self._join_siblings(node, group)

    def _direct_producers(self, node: Node) -> Iterable[Node]:
        """Producers whose elements this node reads at its own index only."""
        if isinstance(node.op.lower, Scalar):
            for value in node.inputs:
                if value in self.producer:
                    yield self.producer[value]

    def _may_follow(self, producer: Node, other: Group, node: Node, group: Group) -> bool:
        """Whether pointwise `node` may be computed where `other` computes `producer`'s elements."""
        if len(other.nodes) + len(group.nodes) > MAX_NODES or (other.anchors and group.anchors):
            return False
        if any(not isinstance(anchor.op.lower, Loops) or _is_column(anchor) for anchor in other.anchors):
            return False
        if producer in self.free:
            return False
        anchored, plain = (other, group) if other.anchors else (group, other)
        if anchored.anchors and not self._fits_results(anchored, {*other.members, *group.members}, node):
            return False
        if node.output.type.shape != producer.outputs[0].type.shape and producer not in other.anchors:
            return False
        if other.anchors and producer not in other.anchors and not self._after_anchor(producer, other):
            return False
        if group.anchors and not other.anchors and not self._same_space(group, producer):
            return False
        if anchored.anchors and (self._feeds(plain, anchored) or self._reads_elsewhere(plain, anchored)):
            return False
        return not self._path_between(other, group)

    def _reads_elsewhere(self, plain: Group, anchored: Group) -> bool:
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

    def _feeds(self, plain: Group, anchored: Group) -> bool:
        """Whether an anchor reads nodes of another group: they must be finished before it starts."""
        pending, seen = [v for anchor in anchored.anchors for v in anchor.inputs], set[Node]()
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

    def _same_space(self, group: Group, producer: Node) -> bool:
        """A group without anchor may join an epilogue only if it runs over the epilogue's index space."""
        return any(producer.outputs[0].type.shape == v.type.shape for anchor in group.anchors for v in anchor.outputs)

    def _after_anchor(self, node: Node, group: Group) -> bool:
        """Whether `node` of an anchored group depends on an anchor: is computed where the anchor writes."""
        pending, seen = [node], set[Node]()
        while pending:
            at = pending.pop()
            if at in group.anchors:
                return True
            for value in at.inputs:
                before = self.producer.get(value)
                if before is not None and before in group.members and before not in seen:
                    seen.add(before)
                    pending.append(before)
        return False

    def _fits_results(self, group: Group, members: set[Node], node: Node) -> bool:
        """Whether `node` has the shape of all results of the group's anchors that it depends on. Results that are not
        written one after another for each row may only be one."""
        used: set[Value] = set()
        pending, seen = [node], {node}
        while pending:
            for value in pending.pop().inputs:
                before = self.producer.get(value)
                if before in group.anchors:
                    used.add(value)
                elif before is not None and (before in members or before in self.free) and before not in seen:
                    seen.add(before)
                    pending.append(before)
        together = all(isinstance(anchor.op.lower, Rows) for anchor in group.anchors)
        return (together or len(used) <= 1) and all(v.type.shape == node.output.type.shape for v in used)

    def _absorb_producers(self, anchor: Node, group: Group) -> Group:
        for number, value in enumerate(anchor.inputs):
            group = self._absorb_producer(anchor, number, value, group)
        return group

    def _absorb_producer(self, anchor: Node, number: int, value: Value, group: Group) -> Group:
        lower = anchor.op.lower
        assert isinstance(lower, Loops)
        producer = self.producer.get(value)
        if producer is None or number in lower.in_memory or producer in self.free:
            return group
        other = self.group_of.get(producer)
        if other is None or other is group or other.anchors:
            return group
        if len(other.nodes) + len(group.nodes) > MAX_NODES:
            return group
        # Every value of the producing group must be read here alone, and once, or it would be computed twice.
        for member in other.members:
            for made in member.outputs:
                outside = [r for r in self.readers.get(made, ()) if r not in other.members]
                if made in self.outputs or not all(r in group.anchors and _reads_once(r) for r in outside):
                    return group
        return group if self._path_between(other, group) else self._merge(other, group)

    # --- reductions that share their rows -------------------------------------------------------------------------
    def _join_siblings(self, node: Node, group: Group) -> None:
        """Join the group of a new anchor with those over the same rows of the same arrays, if neither needs the other;
        then what several of them read may be computed where they do."""
        rows = _rows_of(node)
        known = self.over_rows.setdefault(rows, [])
        for other in dict.fromkeys(g.now() for g in known):
            if self._are_siblings(other, group, rows[0]):
                group = self._merge(other, group)
                for anchor in group.anchors:
                    group = self._absorb_producers(anchor, group)
        known.append(group)

    def _are_siblings(self, other: Group, group: Group, shape: Shape) -> bool:
        if len(other.nodes) + len(group.nodes) > MAX_NODES:
            return False
        if self._sources(other, shape).isdisjoint(self._sources(group, shape)):
            return False
        return not (self._needs(other, group) or self._needs(group, other))

    def _join_elementwise(self) -> None:
        """Join elementwise groups with reductions along long rows that read their elements, or the same ones."""
        plain = [g for g in dict.fromkeys(self.group_of.values()) if not g.anchors and g.members.isdisjoint(self.free)]
        for (shape, axes), groups in self.over_rows.items():
            if not _are_long_rows(shape, axes):
                continue
            for rows in dict.fromkeys(g.now() for g in groups):
                for other in plain:
                    if not other.joined and self._may_store(other, rows, shape):
                        self._merge(rows, other)

    def _may_store(self, plain: Group, rows: Group, shape: Shape) -> bool:
        """Whether an elementwise group may run where anchors read rows of elements of a shape."""
        if len(plain.nodes) + len(rows.nodes) > MAX_NODES or any(n.output.type.shape != shape for n in plain.members):
            return False
        sources = self._sources(rows, shape)
        if plain not in sources and sources.isdisjoint(self._sources(plain, shape)):
            return False
        # What reads its elements must read them there, and must not have them computed again.
        readers = {r for member in plain.members for r in self.readers.get(member.output, ()) if r in rows.members}
        if any(not _reads_once(r) if r in rows.anchors else self._after_anchor(r, rows) for r in readers):
            return False
        return not (self._needs(plain, rows) or self._path_between(plain, rows))

    def _sources(self, group: Group, shape: Shape) -> set[Value | Group]:
        """What a group reads of arrays of a shape: values, and the groups that make them."""
        found: set[Value | Group] = set()
        pending = [v for node in group.members for v in node.inputs]
        while pending:
            value = pending.pop()
            node = self.producer.get(value)
            if value.type.shape != shape or node in group.members:
                continue
            if node is not None and node in self.free:
                pending += node.inputs
                continue
            found.add(value)
            if node is not None:
                found.add(self.group_of[node])
        return found

    def _needs(self, last: Group, first: Group) -> bool:
        """Whether a group reads what another one makes, or what is made of that."""
        return first in last.operands() or self._path_between(first, last)

    def _merge(self, a: Group, b: Group) -> Group:
        a.nodes += b.nodes
        a.members |= b.members
        a.needs = (a.needs | b.needs) - {a, b}
        b.joined = a
        a.anchors += b.anchors
        for node in b.members:
            self.group_of[node] = a
        return a

    def _path_between(self, first: Group, last: Group) -> bool:
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

    def _groups_of_operands(self, node: Node) -> set[Group]:
        found, pending = set[Group](), list(node.inputs)
        while pending:
            before = self.producer.get(pending.pop())
            if before is None:
                continue
            if before in self.group_of:
                found.add(self.group_of[before])
            else:
                pending += before.inputs
        return found
