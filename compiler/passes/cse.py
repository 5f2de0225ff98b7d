"""Common-subexpression elimination: compute equal things once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from kgraph.compiler.analysis.structure import attr_key
from kgraph.compiler.nested import also_in_bodies
from kgraph.ir.graph import Graph, Node, Value, rebuild
from kgraph.ir.opdef import Trait


@also_in_bodies
def cse(graph: Graph) -> Graph:
    """Replace a node by an earlier one with the same op, operands and attributes; all ops are pure.

    Operands of commutative ops count in any order: IEEE sums and products commute exactly.

    Before: a = tanh(x); b = tanh(x); c = add(a, b)
    After:  a = tanh(x); c = add(a, a)
    """
    first: dict[Hashable, Node] = {}
    same: dict[Value, Value] = {}
    kept: list[Node] = []
    for node in graph.nodes:
        known = first.setdefault(_node_key(node, same), node)
        if known is node:
            kept.append(node)
        else:
            same.update(zip(node.outputs, known.outputs, strict=True))
    return rebuild(graph, kept, same) if same else graph


def _node_key(node: Node, same: Mapping[Value, Value]) -> Hashable:
    inputs = [same.get(value, value) for value in node.inputs]
    if Trait.COMMUTATIVE in node.op.traits:
        inputs.sort(key=id)
    attrs = tuple((name, attr_key(value)) for name, value in sorted(node.attrs.items()))
    return (node.op, tuple(inputs), attrs)
