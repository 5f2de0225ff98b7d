"""From the fused graph to kernels: every node that computes something becomes one loop kernel."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

from kgraph.compiler.analysis.kernels import buffers_of, size_names
from kgraph.compiler.analysis.structure import structure
from kgraph.compiler.analysis.uses import users
from kgraph.compiler.nested import clone
from kgraph.ir.dims import Dim, Shape, symbol
from kgraph.ir.dtypes import DType, u8
from kgraph.ir.graph import Graph, Node, Value
from kgraph.ir.lexer import RESERVED
from kgraph.ir.location import UNKNOWN, Location
from kgraph.ir.loops import For, Kernel, Let, Stmt, Store
from kgraph.ir.opdef import Alias, Loops, Pointwise, Rows, Scalar
from kgraph.ir.scalar import Buffer, Const, Expr, Load, Local
from kgraph.ir.types import TensorType
from kgraph.primitives.control_flow import roles, scan
from kgraph.primitives.logic import copy
from kgraph.primitives.nests import over_rows
from kgraph.record import record

# Bytes of private memory that a kernel of a kind needs, for an element type and sizes: code generation's rule.
ScratchRule = Callable[[str, DType, Sequence[Dim]], Dim]


@record(eq=False)
class LoweredCall:
    """One kernel and the graph values its buffers hold.

    Attributes:
        node: the node of the fused graph.
        kernel: its buffers are the inputs, then the outputs, then private memory, in this order.
        inputs, outputs: graph values, one per buffer of role "in" and "out".
    """

    node: Node
    kernel: Kernel
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]


@record(eq=False)
class LoweredLoop:
    """A `scan` and the kernels of its body.

    Attributes:
        node: the scan.
        body: its body, with values of its own.
        start: for each carry a kernel that copies the first value; its output is a value of its own.
        calls: kernels and loops of the body.
        end: in a conditional loop, for each carry a kernel that copies the new value over the old one, as its output.
    """

    node: Node
    body: Graph
    start: tuple[LoweredCall, ...]
    calls: tuple[LoweredCall | LoweredLoop, ...]
    end: tuple[LoweredCall, ...]


Lowered: TypeAlias = "Sequence[LoweredCall | LoweredLoop]"


def lower(graph: Graph, scratch: ScratchRule) -> tuple[LoweredCall | LoweredLoop, ...]:
    """Kernels of all nodes, in the graph's order; constants and aliases of memory need none.

    The names of kernels start with "k" and the number of their node. Kernels of nodes that compute the same, two of
    three in a residual network, are lowered once: they differ in their names only, and share buffers and body.
    """
    return _Lowering(scratch).calls(graph, "k")


class _Lowering:
    """Lowers graphs, and the graphs inside them; remembers the kernels."""

    def __init__(self, scratch: ScratchRule) -> None:
        self._scratch = scratch
        self._known: dict[Hashable, tuple[Kernel, tuple[bool, ...]]] = {}

    def calls(self, graph: Graph, label: str) -> tuple[LoweredCall | LoweredLoop, ...]:
        """Kernels of all nodes of a graph; their names start with `label`."""
        calls: list[LoweredCall | LoweredLoop] = []
        wanted = {*graph.outputs, *(v for node in graph.nodes for v in node.inputs)}
        for number, node in enumerate(graph.nodes):
            if node.op.name == "constant" or isinstance(node.op.lower, Alias):
                continue
            name = f"{label}{number}_"
            calls.append(self._loop(node, name) if node.op is scan else self._call(node, name, wanted))
        return tuple(calls)

    def _loop(self, node: Node, label: str) -> LoweredLoop:
        body = clone(node.attrs["body"], node.loc)  # another node may have the same one
        carries = roles(node.inputs, node.attrs).carries
        start = self._copies(carries, node, f"{label}start")
        end = self._copies(body.outputs[: len(carries)], node, f"{label}end") if node.attrs["conditional"] else ()
        return LoweredLoop(node, body, start, self.calls(body, label), end)

    def _copies(self, values: Sequence[Value], loop: Node, label: str) -> tuple[LoweredCall, ...]:
        """Kernels that copy values; each output is a new value."""
        nodes = [copied(value, loop.loc) for value in values]
        return tuple(self._call(node, f"{label}{n}_", node.outputs) for n, node in enumerate(nodes))

    def _call(self, node: Node, label: str, wanted: Collection[Value]) -> LoweredCall:
        """`wanted` are the values that anybody reads; results that nobody reads are not stored."""
        if node.op.name == "fusion":
            graph, inputs, outputs = node.attrs["body"], node.inputs, node.outputs
        else:
            inputs = tuple(dict.fromkeys(node.inputs))
            outputs = tuple(v for v in node.outputs if v in wanted) or node.outputs[:1]
            graph = Graph(node.op.name, inputs, (node,), outputs)
        key = structure(graph)
        if key not in self._known:
            self._known[key] = _KernelBuilder(graph, self._scratch).build()
        kernel, used = self._known[key]
        read = tuple(value for value, is_used in zip(inputs, used, strict=True) if is_used)
        return LoweredCall(node, replace(kernel, name=f"{label}{graph.name}"), read, outputs)


def lowered_kernels(calls: Lowered) -> Iterator[LoweredCall]:
    """The calls of all kernels, also those in loops, in the order of `artifact.kernel_calls`."""
    for call in calls:
        if isinstance(call, LoweredLoop):
            yield from call.start
            yield from lowered_kernels(call.calls)
            yield from call.end
        else:
            yield call


def constants(graph: Graph, calls: Lowered) -> list[Node]:
    """The `constant` nodes of a lowered graph and of the bodies of its loops, in the order of "constant" places."""
    found = [node for node in graph.nodes if node.op.name == "constant"]
    for call in calls:
        if isinstance(call, LoweredLoop):
            found += constants(call.body, call.calls)
    return found


def copied(value: Value, loc: Location = UNKNOWN) -> Node:
    """A `copy` node with a new value."""
    return Node(copy, (value,), (Value(value.type, value.name),), loc=loc)


class _KernelBuilder:
    """Lowers the graph of one kernel. Elements are built on demand, from the stores back to the loads."""

    def __init__(self, graph: Graph, scratch: ScratchRule) -> None:
        self.graph = graph
        self.scratch_rule = scratch
        self.producer = self.graph.producers()
        self.uses = users(self.graph)
        self.anchors = [n for n in self.graph.nodes if isinstance(n.op.lower, Loops)]
        self.over_rows = bool(self.anchors) and all(isinstance(n.op.lower, Rows) for n in self.anchors)
        self.written: set[Value] = set()  # results of anchors
        self.inputs = {v: Buffer(f"x{n}", v.type.dtype, v.type.shape, "in") for n, v in enumerate(self.graph.inputs)}
        self.outputs = {v: Buffer(f"y{n}", v.type.dtype, v.type.shape, "out") for n, v in enumerate(self.graph.outputs)}
        self.private: list[Buffer] = []
        self.names = 0
        self.taken = RESERVED | set(self.graph.size_names())
        self.elements: dict[tuple[Value, tuple[Dim, ...]], Expr] = {}

    def build(self) -> tuple[Kernel, tuple[bool, ...]]:
        """The kernel, and which inputs of the graph it reads; its buffers are those, the outputs and private memory."""
        body = self._anchored() if self.anchors else self._pointwise()
        found = buffers_of(body)
        used = tuple(buffer in found for buffer in self.inputs.values())
        read = (buffer for buffer, is_used in zip(self.inputs.values(), used, strict=True) if is_used)
        buffers = (*read, *self.outputs.values(), *self.private)
        return Kernel(self.graph.name, buffers, size_names(buffers, body), body), used

    # --- without an anchor: one nest over the results' index space ------------------------------------------------
    def _pointwise(self) -> tuple[Stmt, ...]:
        shape = self.graph.outputs[0].type.shape
        index = tuple(symbol(self.fresh("i")) for _ in shape)
        body = self._store_nodes(list(self.graph.nodes), index, [])
        for var, extent in reversed(list(zip(index, shape, strict=True))):
            body = (For(str(var), extent, "parallel", body),)
        return body

    # --- with anchors: their nests read producers and write consumers ---------------------------------------------
    def _anchored(self) -> tuple[Stmt, ...]:
        first = self.anchors[0]
        assert isinstance(first.op.lower, Loops)
        if not isinstance(first.op.lower, Rows):
            return first.op.lower.build(_Context(self, first), **first.attrs)
        source = first.inputs[0].type
        rows = [n.op.lower.row(_Context(self, n), **n.attrs) for n in self.anchors if isinstance(n.op.lower, Rows)]
        beside = self._beside(source.shape)
        if beside:
            rows.append(lambda index, each: each(lambda at: self._store_nodes(beside, at, [])))
        return over_rows(_Context(self, first), source.shape, first.op.lower.axes(source, **first.attrs), *rows)

    def _beside(self, shape: Shape) -> list[Node]:
        """Stored nodes of the shape of what the anchors read, with what they are made of."""
        made = {v for anchor in self.anchors for v in anchor.outputs}
        if any(v.type.shape == shape for v in made):
            return []
        needed = {v for v in self.outputs if v.type.shape == shape}
        found: list[Node] = []
        for node in reversed(self.graph.nodes):
            if not needed.isdisjoint(node.outputs):
                found.insert(0, node)
                needed.update(node.inputs)
        return found

    def write(self, anchor: Node, result: int, index: tuple[Dim, ...], value: Expr) -> tuple[Stmt, ...]:
        """Bind an element of an anchor's result, compute the consumers there, and store what is needed."""
        made = anchor.outputs[result]
        before = dict(self.elements)
        lets: list[Stmt] = []
        self._bind(made, index, value, lets)
        self.written.add(made)
        after = [n for n in self.graph.nodes if n not in self.anchors and self._belongs_to(n, made)]
        stmts = self._store_nodes(after, index, lets, [made])
        if not self.over_rows:  # what is bound here is out of scope where the anchor writes next
            self.elements = before
        return stmts

    def _belongs_to(self, node: Node, made: Value) -> bool:
        """Whether `node` is computed where an anchor writes `made`.

        That are its consumers, after all results that they read, and stored nodes of the same shape that depend on no
        anchor result at all; those go to the first result of their shape.
        """
        depends = self._results_before(node)
        if depends:
            return made in depends and depends <= self.written
        if not any(v in self.outputs for v in node.outputs):
            return False
        results = (v for anchor in self.anchors for v in anchor.outputs)
        shape = node.outputs[0].type.shape
        return made is next((v for v in results if v.type.shape == shape), None)

    def _results_before(self, node: Node) -> set[Value]:
        """The results of anchors that a node depends on."""
        found: set[Value] = set()
        pending, seen = [node], {node}
        while pending:
            for value in pending.pop().inputs:
                before = self.producer.get(value)
                if before in self.anchors:
                    found.add(value)
                elif before is not None and before not in seen:
                    seen.add(before)
                    pending.append(before)
        return found

    # --- elements -------------------------------------------------------------------------------------------------
    def _store_nodes(
        self, nodes: list[Node], index: tuple[Dim, ...], lets: list[Stmt], made: Sequence[Value] = ()
    ) -> tuple[Stmt, ...]:
        """Lets for values needed more than once at this index, then stores of the outputs among `nodes` and `made`.

        All loads come before all stores: an output may be the same memory as an input.
        """
        stored = [v for v in made if v in self.outputs]
        for node in nodes:
            for value in node.outputs:
                if len(value.type.shape) != len(index) or not isinstance(node.op.lower, Scalar | Pointwise):
                    continue
                uses = len(self.uses.get(value, ())) + (value in self.outputs)
                if value in self.outputs:
                    stored.append(value)
                if uses > 1 or value in self.outputs:
                    self._bind(value, index, self.element(value, index), lets)
        return (*lets, *(Store(self.outputs[v], index, self.elements[v, index]) for v in stored))

    def _bind(self, value: Value, index: tuple[Dim, ...], element: Expr, lets: list[Stmt]) -> None:
        """Name an element, so that it is computed once."""
        if not isinstance(element, Local | Const):
            name = self.fresh("v")
            lets.append(Let(name, element))
            element = Local(name, element.dtype)
        self.elements[value, index] = element

    def element(self, value: Value, index: Sequence[Dim]) -> Expr:
        """The expression of one element of a value of this kernel."""
        key = (value, tuple(index))
        if key not in self.elements:
            self.elements[key] = self._element(value, tuple(index))
        return self.elements[key]

    def _element(self, value: Value, index: tuple[Dim, ...]) -> Expr:
        if value in self.inputs:
            return Load(self.inputs[value], index)
        node = self.producer[value]
        if node.op.name == "constant":
            return Const(node.attrs["value"].item(), value.type.dtype)
        lower = node.op.lower
        if isinstance(lower, Scalar):
            return lower.fn(*(self.element(v, index) for v in node.inputs), **node.attrs)
        assert isinstance(lower, Pointwise), f"{node.op.name} is read at {index} before it is written"
        return lower.fn(_Context(self, node), index, **node.attrs)

    def fresh(self, hint: str) -> str:
        """A name not used in this kernel, no size, and no word of IR text (such as i32)."""
        self.names += 1
        name = f"{hint}{self.names}"
        return self.fresh(hint) if name in self.taken else name

    def scratch(self, kind: str, dtype: DType, sizes: Sequence[Dim]) -> Buffer:
        """Private memory of as many bytes as code generation says; products of one kernel run one after another."""
        nbytes = self.scratch_rule(kind, dtype, sizes)
        found = next((b for b in self.private if (b.dtype, b.shape) == (u8, (nbytes,))), None)
        return found or self.memory(u8, (nbytes,))

    def memory(self, dtype: DType, shape: Shape) -> Buffer:
        """Private memory of its own."""
        buffer = Buffer(f"s{len(self.private)}", dtype, shape, "scratch")
        self.private.append(buffer)
        return buffer


class _Context:
    """The `LoopContext` of one node of a kernel."""

    def __init__(self, kernel: _KernelBuilder, node: Node) -> None:
        self._kernel, self._node = kernel, node
        self.in_types: tuple[TensorType, ...] = tuple(v.type for v in node.inputs)
        self.out_types: tuple[TensorType, ...] = tuple(v.type for v in node.outputs)

    def read(self, operand: int, index: Sequence[Dim]) -> Expr:
        return self._kernel.element(self._node.inputs[operand], index)

    def write(self, result: int, index: Sequence[Dim], value: Expr) -> tuple[Stmt, ...]:
        return self._kernel.write(self._node, result, tuple(index), value)

    def matrix(self, operand: int) -> Buffer:
        return self._kernel.inputs[self._node.inputs[operand]]

    def scratch(self, kind: str, dtype: DType, *sizes: Dim) -> Buffer:
        return self._kernel.scratch(kind, dtype, sizes)

    def private(self, dtype: DType, shape: Shape) -> Buffer:
        return self._kernel.memory(dtype, shape)

    def fresh(self, hint: str) -> str:
        return self._kernel.fresh(hint)
