"""What a program asks of sizes that are known only at run time: nothing negative, and no slice beyond the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kgraph.errors import ShapeError
from kgraph.ir.dims import Dim, DimExpr, evaluate
from kgraph.ir.graph import Graph, Node
from kgraph.record import record


@record
class _Rule:
    """`rest` must not be negative; `node` is where that comes from, `axis` the axis, `what` the words for it."""

    rest: Dim
    node: Node
    axis: int
    what: str


class SizeRules:
    """The rules of a graph that its types cannot promise; most graphs have none.

    Args:
        graph: as traced, with the layers that its nodes come from.
    """

    def __init__(self, graph: Graph) -> None:
        self._rules = [rule for node in _nodes(graph) for rule in _rules_of(node) if not _surely_natural(rule.rest)]

    def check(self, sizes: Mapping[str, int]) -> None:
        """ShapeError if the program cannot run with these sizes."""
        for rule in self._rules:
            if evaluate(rule.rest, sizes) < 0:
                place = rule.node.loc.layer or f"op {rule.node.op.name}"
                size = rule.node.inputs[0].type.shape[rule.axis]
                received = f"{evaluate(size, sizes)}"
                raise ShapeError(f"{place}: {rule.what}", expected=f"a longer axis {rule.axis}", received=received)


def _nodes(graph: Graph) -> Iterator[Node]:
    """All nodes, also those of the bodies of loops."""
    for node in graph.nodes:
        yield node
        for attr in node.attrs.values():
            if isinstance(attr, Graph):
                yield from _nodes(attr)


def _rules_of(node: Node) -> Iterator[_Rule]:
    if node.op.name == "slice":
        shape, starts, limits = node.inputs[0].type.shape, node.attrs["starts"], node.attrs["limits"]
        for axis, (size, start, limit) in enumerate(zip(shape, starts, limits, strict=True)):
            for rest in (start, limit - start, size - limit):
                yield _Rule(rest, node, axis, f"elements {start}:{limit}")
    elif node.inputs:
        shape = node.inputs[0].type.shape
        for value in node.outputs:
            for axis, size in enumerate(value.type.shape):
                yield _Rule(size, node, min(axis, max(len(shape) - 1, 0)), f"a result of size {size}")


def _surely_natural(dim: Dim) -> bool:
    """Whether `dim` cannot be negative, whatever its sizes are."""
    if not isinstance(dim, DimExpr):
        return dim >= 0
    atoms = [atom for monomial, _ in dim.terms for atom in monomial]
    parts = all(isinstance(atom, str) or _surely_natural(atom.numerator) for atom in atoms)
    return parts and all(factor >= 0 for _, factor in dim.terms)
