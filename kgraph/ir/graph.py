"""The dataflow graph: frozen, typed, in an order that runs; and the builder that makes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from types import MappingProxyType
from typing import Any

import numpy as np

from kgraph.errors import GraphError, KgraphError
from kgraph.ir.dims import symbols_of
from kgraph.ir.dtypes import DType, dtype_of
from kgraph.ir.location import UNKNOWN, Location, current_location
from kgraph.ir.opdef import Attr, Attrs, OpDef, current_emitter
from kgraph.ir.operators import Operators
from kgraph.ir.types import TensorType, keras_shape
from kgraph.record import record


@record(eq=False)
class Value(Operators):
    """One tensor of a graph: a graph input or a result of a node. Identity is equality; the name is a hint."""

    type: TensorType
    name: str = ""

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.type.dtype

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Sizes as Keras shows them: None where known only at run time."""
        return keras_shape(self.type.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.type.rank

    @property
    def _keras_mask(self) -> Any:
        """The mask that goes with the tensor in the program being traced, under Keras' name; None if it has none."""
        mask_of = getattr(current_emitter(), "mask_of", None)
        return None if mask_of is None else mask_of(self)

    def __repr__(self) -> str:
        return f"%{self.name or '?'}: {self.type}"


@record(eq=False)
class Node:
    """One application of an op."""

    op: OpDef
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    attrs: Attrs = field(default_factory=dict)
    loc: Location = UNKNOWN

    def __post_init__(self) -> None:
        if not isinstance(self.attrs, MappingProxyType):
            object.__setattr__(self, "attrs", MappingProxyType(dict(self.attrs)))

    @property
    def output(self) -> Value:
        """The only result."""
        (value,) = self.outputs
        return value


@record(eq=False)
class Graph:
    """Equations in an order in which they can run.

    Attributes:
        name: a hint for dumps.
        inputs: what the caller gives.
        nodes: every node's inputs are graph inputs or results of earlier nodes.
        outputs: what the caller gets; may repeat values and name inputs.
    """

    name: str
    inputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Value, ...]

    def size_names(self) -> tuple[str, ...]:
        """Names of the symbolic sizes of the inputs, in order of first appearance."""
        seen: dict[str, None] = {}
        for value in self.inputs:
            for dim in value.type.shape:
                seen.update(dict.fromkeys(sorted(symbols_of(dim))))
        return tuple(seen)

    def producers(self) -> dict[Value, Node]:
        """The node that makes each value; graph inputs are not in it."""
        return {value: node for node in self.nodes for value in node.outputs}


class GraphBuilder:
    """The only maker of nodes: infers and checks types, and records where a node comes from."""

    def __init__(self, name: str, registry: Mapping[str, OpDef]) -> None:
        """Start an empty graph whose ops are looked up in `registry`."""
        self.name = name
        self.registry = registry
        self.inputs: list[Value] = []
        self.nodes: list[Node] = []
        self._made_by: dict[Value, Node] = {}
        self._known: set[Value] = set()

    def input(self, type: TensorType, name: str = "") -> Value:
        """A new graph input."""
        value = Value(type, name)
        self.inputs.append(value)
        self._known.add(value)
        return value

    def emit(self, op: str | OpDef, *args: Any, **attrs: Attr) -> Any:
        """Add a node; gives its one result, or the tuple of its results. Checks operands and infers types."""
        opdef = self._lookup(op) if isinstance(op, str) else self._own(op)
        values = tuple(self.lift(value, f"{opdef.name}, operand {n}") for n, value in enumerate(args))
        types = opdef.result_types([v.type for v in values], attrs)
        node = Node(opdef, values, tuple(Value(t) for t in types), attrs, current_location())
        self.append(node)
        return node.outputs[0] if len(node.outputs) == 1 else node.outputs

    def lift(self, value: Any, what: str = "operand") -> Value:
        """The value of this graph that `value` stands for; an error names the operand `what`."""
        if not isinstance(value, Value):
            raise GraphError(what, expected="a symbolic tensor", received=f"{value!r:.60}")
        if value not in self._known:
            raise GraphError(what, expected="a tensor of this graph", received=f"{value!r} of another graph")
        return value

    def append(self, node: Node) -> None:
        """Add a finished node, as passes do that keep most of a graph."""
        self.nodes.append(node)
        for value in node.outputs:
            self._made_by[value] = node
            self._known.add(value)

    def constant(self, value: Any, dtype: DType | None = None) -> Value:
        """A constant tensor; Python floats become floats of the type given, or of NumPy's choice."""
        array = np.asarray(value, dtype=None if dtype is None else dtype.to_numpy())
        array = np.ascontiguousarray(array).reshape(array.shape)
        dtype_of(array.dtype)
        array.setflags(write=False)
        result = self.emit("constant", value=array)
        assert isinstance(result, Value)
        return result

    def type_of(self, value: Any) -> TensorType:
        """Type of a value."""
        return self.lift(value).type

    def producer(self, value: Value) -> Node | None:
        """The node that made `value`; None for graph inputs."""
        return self._made_by.get(value)

    def build(self, outputs: Sequence[Value]) -> Graph:
        """The graph so far, with these outputs."""
        for value in outputs:
            if value not in self._known:
                raise GraphError("graph output", expected="a tensor of this graph", received=repr(value))
        return Graph(self.name, tuple(self.inputs), tuple(self.nodes), tuple(outputs))

    def _own(self, op: OpDef) -> OpDef:
        """`op`, of the registry or not, but not one that has the name of another op there: passes go by names."""
        if self.registry.get(op.name, op) is not op:
            raise GraphError(f"op '{op.name}'", expected="a name of its own", received="that of another op")
        return op

    def _lookup(self, name: str) -> OpDef:
        if name not in self.registry:
            raise KgraphError(f"unknown op {name!r}")
        return self.registry[name]


def rebuild(graph: Graph, nodes: Iterable[Node], replaced: Mapping[Value, Value]) -> Graph:
    """`graph` with these nodes, where every use of a key of `replaced` becomes its value (followed to the end)."""

    def final(value: Value) -> Value:
        while value in replaced:
            value = replaced[value]
        return value

    kept = []
    for node in nodes:
        inputs = tuple(final(v) for v in node.inputs)
        same = all(a is b for a, b in zip(inputs, node.inputs, strict=True))
        kept.append(node if same else Node(node.op, inputs, node.outputs, node.attrs, node.loc))
    return Graph(graph.name, graph.inputs, tuple(kept), tuple(final(v) for v in graph.outputs))
