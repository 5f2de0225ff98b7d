"""Automatic differentiation: every `gradient` node becomes the nodes that compute it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from kgraph.compiler.analysis.uses import needed, smooth_dependents
from kgraph.compiler.nested import also_in_bodies
from kgraph.compiler.rewrite import Rewriter
from kgraph.compiler.scan_gradient import scan_cotangents
from kgraph.errors import GraphError, InternalError
from kgraph.ir.graph import Graph, Node, Value
from kgraph.ir.location import Location
from kgraph.ir.opdef import Composed, Expanded, NoGrad, emitting

Cotangents = dict[Value, Value]


@also_in_bodies
def autodiff(graph: Graph) -> Graph:
    """Expand ``gradient(y, *xs)`` by reverse accumulation over what lies between the xs and y.

    Each node's op gives, from the cotangents of its results, those of its operands; several uses of a value add up.
    Where y does not depend on x, the gradient is zero. Gradients of gradients work, since nodes are expanded in the
    order in which they run: the inner ones first. New nodes stand at the layer of their node, plus "/grad".

    Before: y = sum(tanh(x)); g = gradient(y, x)
    After:  g = mul(broadcast(1), 1 - tanh(x) * tanh(x))

    Raises:
        GraphError: an op on the way has no gradient.
    """
    rewriter = Rewriter(graph)
    with emitting(rewriter):
        for node in graph.nodes:
            if node.op.name != "gradient":
                rewriter.keep(node)
                continue
            y, *xs = rewriter.resolve(node).inputs
            rewriter.loc = node.loc
            start = len(rewriter.nodes)
            gradients = _gradients(rewriter, y, xs)
            # Rules give cotangents of all operands; those that no x needs go again.
            rewriter.nodes[start:] = needed(rewriter.nodes[start:], gradients)
            for old, new in zip(node.outputs, gradients, strict=True):
                rewriter.replace(old, new)
    return rewriter.finish()


def _gradients(rewriter: Rewriter, y: Value, xs: Sequence[Value]) -> list[Value]:
    """Gradients of `y` with respect to each of `xs`."""
    cotangents = _accumulate(rewriter, {y: rewriter.constant(1.0, y.dtype)}, xs)
    return [cotangents[x] if x in cotangents else rewriter.splat(0.0, x.type) for x in xs]


def _accumulate(
    rewriter: Rewriter, seeds: Mapping[Value, Value], xs: Collection[Value], start: int = 0
) -> Cotangents:
    """From the cotangents `seeds` of some values, those of all values between the `xs` and them.

    Nodes before number `start` are no way between them.
    """
    here, nodes = rewriter.loc, rewriter.nodes[start:]
    active = smooth_dependents(nodes, xs)
    path = [node for node in needed(nodes, seeds) if not active.isdisjoint(node.outputs)]
    cotangents: Cotangents = dict(seeds)
    for node in reversed(path):
        rewriter.loc = _gradient_location(node.loc)
        for operand, cotangent in zip(
            node.inputs, _operand_cotangents(rewriter, node, cotangents, active), strict=True
        ):
            if cotangent is None or operand not in active:
                continue
            _check(node, operand, cotangent)
            known = cotangents.get(operand)
            cotangents[operand] = cotangent if known is None else rewriter.emit("add", known, cotangent)
    rewriter.loc = here
    return cotangents


def _operand_cotangents(
    rewriter: Rewriter, node: Node, cotangents: Cotangents, active: Collection[Value]
) -> Sequence[Value | None]:
    """What the op's gradient rule says, an entry per operand."""
    dy = tuple(cotangents.get(value) for value in node.outputs)
    if all(d is None for d in dy):
        return [None] * len(node.inputs)
    if isinstance(node.op.grad, NoGrad):
        place = f" in layer {node.loc.layer}" if node.loc.layer else ""
        raise GraphError(f"gradient of {node.op.name}{place}: {node.op.grad.why}")
    if isinstance(node.op.grad, Expanded):
        return scan_cotangents(rewriter, node, dy, active, _accumulate)
    if isinstance(node.op.grad, Composed):
        return _cotangents_through_parts(rewriter, node, node.op.grad, dy)
    if len(node.outputs) == 1:
        found = node.op.grad(dy[0], node.output, *node.inputs, **node.attrs)
    else:
        found = node.op.grad(dy, node.outputs, *node.inputs, **node.attrs)
    if len(found) != len(node.inputs):
        raise InternalError(
            f"gradient rule of {node.op.name}", expected=f"{len(node.inputs)} entries", received=str(len(found))
        )
    return found


def _cotangents_through_parts(
    rewriter: Rewriter, node: Node, composed: Composed, dys: Sequence[Value | None]
) -> Sequence[Value | None]:
    """Cotangents of the operands of a node by way of the ops that it could be written with."""
    start = len(rewriter.nodes)
    results = composed.parts(*node.inputs, **node.attrs)
    results = results if isinstance(results, tuple) else (results,)
    seeds = {result: dy for result, dy in zip(results, dys, strict=True) if dy is not None}
    # One operand may depend on another: what lies before the parts is the business of the caller.
    found = _accumulate(rewriter, seeds, node.inputs, start)
    return [found.get(operand) for operand in node.inputs]


def _check(node: Node, operand: Value, cotangent: Value) -> None:
    if cotangent.type != operand.type:
        raise InternalError(
            f"gradient rule of {node.op.name}", expected=str(operand.type), received=str(cotangent.type)
        )


def _gradient_location(loc: Location) -> Location:
    return Location(f"{loc.layer}/grad" if loc.layer else "grad", loc.file, loc.line)
