"""Algebraic simplification: nodes are replaced by cheaper equals, by the laws of two tables."""

from __future__ import annotations

from typing import Any

from kgraph.compiler.nested import also_in_bodies
from kgraph.compiler.rewrite import Law, Rewriter
from kgraph.compiler.scalar_laws import SCALAR_LAWS, through_broadcast
from kgraph.compiler.shape_laws import SHAPE_LAWS
from kgraph.errors import InternalError
from kgraph.ir.graph import Graph, Node, Value
from kgraph.ir.opdef import Attr, OpDef

LAWS: dict[str, tuple[Law, ...]] = {
    op: tuple(law for law in (*SCALAR_LAWS, *SHAPE_LAWS) if law.op == op)
    for op in dict.fromkeys(law.op for law in (*SCALAR_LAWS, *SHAPE_LAWS))
}

# A law's replacement is simplified in its turn; no chain of the laws here is longer than a handful.
LONGEST_CHAIN = 40


@also_in_bodies
def simplify(graph: Graph) -> Graph:
    """Apply the laws of `compiler/scalar_laws.py` and `compiler/shape_laws.py` until none applies.

    One pass from inputs to outputs reaches the end, since laws look at a node and what makes its operands only.

    Before: a = mul(x, 1); b = transpose(w); c = matmul(a, b)
    After:  c = matmul(x, w) {transpose_b=true}
    """
    rewriter = _Simplifier(graph)
    for node in graph.nodes:
        rewriter.simplify(node)
    return rewriter.finish()


class _Simplifier(Rewriter):
    """A builder that tries the laws on every node before it adds it."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self._chain: list[str] = []

    def simplify(self, node: Node) -> None:
        """Add `node` of the old graph, or what replaces it."""
        self.loc = node.loc
        node = self.resolve(node)
        value = self._replacement(node)
        if value is None:
            self.append(node)
        else:
            self.replace(node.output, value)

    def emit(self, op: str | OpDef, *args: Any, **attrs: Attr) -> Any:
        """Add a node of a law's replacement, or what replaces that."""
        opdef = self._lookup(op) if isinstance(op, str) else op
        types = opdef.result_types([value.type for value in args], attrs)
        node = Node(opdef, tuple(args), tuple(map(Value, types)), attrs, self.loc)
        value = self._replacement(node)
        if value is not None:
            return value
        self.append(node)
        return node.output if len(node.outputs) == 1 else node.outputs

    def _replacement(self, node: Node) -> Value | None:
        for law in LAWS.get(node.op.name, ()):
            value = self._try(law, node)
            if value is not None:
                return value
        return through_broadcast(node, self)

    def _try(self, law: Law, node: Node) -> Value | None:
        if len(self._chain) > LONGEST_CHAIN:
            raise InternalError(f"simplify: the laws {', '.join(self._chain[-4:])} never end")
        self._chain.append(law.name)
        value = law.apply(node, self)
        self._chain.pop()
        if value is not None and value.type != node.output.type:
            raise InternalError(f"simplify: law {law.name}", expected=str(node.output.type), received=str(value.type))
        return value
