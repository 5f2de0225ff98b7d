"""What rewriting passes share: a builder that continues a graph, and laws written as patterns."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

from kgraph.ir.graph import Graph, GraphBuilder, Node, Value
from kgraph.ir.location import UNKNOWN, Location, layer_scope
from kgraph.ir.opdef import Attr, OpDef, Trait
from kgraph.ir.types import TensorType
from kgraph.primitives import REGISTRY
from kgraph.record import record

Number: TypeAlias = "int | float | bool"


class Rewriter(GraphBuilder):
    """A builder for a changed copy of a graph: same inputs; nodes are kept, replaced by values, or added.

    Attributes:
        loc: location of the nodes that are added.
    """

    def __init__(self, graph: Graph) -> None:
        """Start with the inputs of `graph` and no nodes."""
        super().__init__(graph.name, REGISTRY)
        self.graph = graph
        self.loc: Location = UNKNOWN
        self._replaced: dict[Value, Value] = {}
        self._scalars: dict[Value, Number | None] = {}
        self.inputs.extend(graph.inputs)
        self._known.update(graph.inputs)

    def emit(self, op: str | OpDef, *args: Any, **attrs: Attr) -> Any:
        """Add a node at location `loc`."""
        with layer_scope(self.loc.layer, self.loc):
            return super().emit(op, *args, **attrs)

    def resolve(self, node: Node) -> Node:
        """`node` with replaced operands; `node` itself if none is."""
        if self._replaced.keys().isdisjoint(node.inputs):
            return node
        inputs = tuple(self._replaced.get(value, value) for value in node.inputs)
        return Node(node.op, inputs, node.outputs, node.attrs, node.loc)

    def keep(self, node: Node) -> None:
        """Add a node of the old graph, with replaced operands."""
        self.append(self.resolve(node))

    def replace(self, old: Value, new: Value) -> None:
        """Make every later use of `old`, a value of the old graph, a use of `new`."""
        self._replaced[old] = self._replaced.get(new, new)

    def substitute(self, old: Node, new: Node) -> None:
        """Put `new` in the place of the added node `old`: it makes the same values, and perhaps more."""
        self.nodes[self.nodes.index(old)] = new
        for value in new.outputs:
            self._made_by[value] = new
            self._known.add(value)

    def finish(self) -> Graph:
        """The new graph; the old one if nothing was replaced."""
        if not self._replaced:
            return self.graph
        return self.build([self._replaced.get(value, value) for value in self.graph.outputs])

    def scalar(self, value: Value) -> Number | None:
        """The number that every element of `value` is, if that is plain: a constant or the broadcast of one."""
        if value not in self._scalars:
            self._scalars[value] = self._find_scalar(value)
        return self._scalars[value]

    def splat(self, number: Number, type: TensorType) -> Value:
        """A tensor with `number` everywhere; a broadcast of a rank-0 constant, never an array."""
        constant = self.constant(number, type.dtype)
        if type.rank == 0:
            return constant
        value = self.emit("broadcast", constant, shape=type.shape, axes=())
        assert isinstance(value, Value)
        return value

    def _find_scalar(self, value: Value) -> Number | None:
        node = self.producer(value)
        if node is None:
            return None
        if node.op.name == "broadcast":
            return self.scalar(node.inputs[0])
        if node.op.name == "constant" and node.attrs["value"].size == 1:
            number: Number = node.attrs["value"].item()
            return number
        return None


class Pattern:
    """A term over tensors: a variable or an op of terms and numbers; written with Python operators."""

    def __add__(self, other: Term) -> Pattern:
        return Apply("add", (self, other))

    def __sub__(self, other: Term) -> Pattern:
        return Apply("sub", (self, other))

    def __mul__(self, other: Term) -> Pattern:
        return Apply("mul", (self, other))

    def __truediv__(self, other: Term) -> Pattern:
        return Apply("div", (self, other))

    def __pow__(self, other: Term) -> Pattern:
        return Apply("pow", (self, other))

    def __neg__(self) -> Pattern:
        return Apply("neg", (self,))

    def __abs__(self) -> Pattern:
        return Apply("abs", (self,))


@record(eq=False)
class Var(Pattern):
    """Stands for any tensor; the same variable twice stands for the same tensor."""

    name: str


@record(eq=False)
class Apply(Pattern):
    """An op applied to terms. A number among them stands for a tensor with that number everywhere."""

    op: str
    args: tuple[Term, ...]


Term: TypeAlias = "Pattern | Number"
Bound: TypeAlias = "dict[Var, Value]"


def term(op: str) -> Callable[..., Pattern]:
    """A maker of patterns for an op without attributes: ``log = term("log")``, then ``log(x)``."""
    return lambda *args: Apply(op, args)


@record(eq=False)
class Law:
    """A replacement of nodes of one op: `apply(node, rewriter)` gives an equal value, or None where it does not hold.

    A law looks at the node and at what makes its operands, never at who uses it: so one pass from inputs to outputs
    reaches the end.
    """

    name: str
    op: str
    apply: Callable[[Node, Rewriter], Value | None]


def law(*ops: str) -> Callable[[Callable[[Node, Rewriter], Value | None]], tuple[Law, ...]]:
    """Make laws for several ops of one function."""
    return lambda apply: tuple(Law(apply.__name__, op, apply) for op in ops)


def rule(left: Pattern, right: Term, *, when: Callable[[Value, Rewriter], bool] | None = None) -> Law:
    """The law `left` = `right`; with `when`, only if that holds for every variable of `left`."""
    assert isinstance(left, Apply)

    def apply(node: Node, rewriter: Rewriter) -> Value | None:
        bound = _match_node(left, node, rewriter, {})
        if bound is None or (when and not all(when(value, rewriter) for value in bound.values())):
            return None
        return _instance(right, bound, node.output.type, rewriter)

    return Law(show(left), left.op, apply)


def show(pattern: Term) -> str:
    """A pattern as text, such as ``mul(x, 1)``."""
    if isinstance(pattern, Apply):
        return f"{pattern.op}({', '.join(map(show, pattern.args))})"
    return pattern.name if isinstance(pattern, Var) else str(pattern)


def _match_node(pattern: Apply, node: Node, rewriter: Rewriter, bound: Bound) -> Bound | None:
    found = _match_all(pattern.args, node.inputs, rewriter, bound)
    if found is None and len(node.inputs) == 2 and Trait.COMMUTATIVE in node.op.traits:
        found = _match_all(pattern.args, node.inputs[::-1], rewriter, bound)
    return found


def _match_all(terms: tuple[Term, ...], values: tuple[Value, ...], rewriter: Rewriter, bound: Bound) -> Bound | None:
    # Numbers first: they fail fastest, and they bind nothing.
    for wanted, value in zip(terms, values, strict=True):
        if not isinstance(wanted, Pattern) and not _same_number(wanted, rewriter.scalar(value)):
            return None
    found: Bound | None = bound
    for wanted, value in zip(terms, values, strict=True):
        if isinstance(wanted, Pattern) and found is not None:
            found = _match(wanted, value, rewriter, found)
    return found


def _match(pattern: Pattern, value: Value, rewriter: Rewriter, bound: Bound) -> Bound | None:
    if isinstance(pattern, Var):
        return {**bound, pattern: value} if bound.get(pattern, value) is value else None
    assert isinstance(pattern, Apply)
    node = rewriter.producer(value)
    if node is None or node.op.name != pattern.op:
        return None
    return _match_node(pattern, node, rewriter, bound)


def _same_number(wanted: Number, found: Number | None) -> bool:
    # 0.0 and -0.0 are different numbers here: adding one of them is exact, adding the other is not.
    if found is None or found != wanted:
        return False
    return not isinstance(found, float) or math.copysign(1.0, found) == math.copysign(1.0, wanted)


def _instance(template: Term, bound: Bound, like: TensorType, rewriter: Rewriter) -> Value:
    if isinstance(template, Var):
        return bound[template]
    if isinstance(template, Apply):
        value = rewriter.emit(template.op, *(_instance(arg, bound, like, rewriter) for arg in template.args))
        assert isinstance(value, Value)
        return value
    assert not isinstance(template, Pattern)
    return rewriter.splat(template, like)
