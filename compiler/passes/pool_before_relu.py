"""Pooling before relu: a maximum is found first, and cut off at 0 afterwards."""

from __future__ import annotations

from kgraph.compiler.analysis.uses import users
from kgraph.compiler.rewrite import Rewriter
from kgraph.ir.graph import Graph, Node, Value


def pool_before_relu(graph: Graph) -> Graph:
    """Let relu run behind a max-pooling instead of before it; must run before autodiff.

    relu never falls, so the results are equal to the bit. A window of 2 x 2 leaves a quarter of the elements to cut
    off, and after autodiff the gradient is cut off there as well: nothing but the convolution's result itself, of which
    the places of the maxima are taken, is read again. Where a maximum is cut off no place gets a gradient, so that it
    does not matter that all elements below 0 became equal.

    Before: y = max_pool(relu(x))
    After:  y = relu(max_pool(x))
    """
    readers, makers = users(graph), graph.producers()
    moved = {node for node in graph.nodes if node.op.name == "max_pool" and _follows_relu(graph, node, readers, makers)}
    if not moved:
        return graph
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        if node in moved:
            relu = makers[node.inputs[0]]
            rewriter.loc = node.loc
            pooled = rewriter.emit("max_pool", rewriter.resolve(relu).inputs[0], **node.attrs)
            rewriter.loc = relu.loc
            rewriter.replace(node.output, rewriter.emit("relu", pooled))
        elif not any(node is makers[pool.inputs[0]] for pool in moved):
            rewriter.keep(node)
    return rewriter.finish()


def _follows_relu(
    graph: Graph, pool: Node, readers: dict[Value, list[Node]], makers: dict[Value, Node]
) -> bool:
    """Whether a pooling is the only reader of a relu."""
    value = pool.inputs[0]
    maker = makers.get(value)
    alone = len(readers.get(value, ())) == 1 and value not in graph.outputs
    return maker is not None and maker.op.name == "relu" and alone
