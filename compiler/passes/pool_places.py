"""Places of maxima: found together with the maxima where a gradient needs them."""

from __future__ import annotations

from kgraph.compiler.rewrite import Rewriter
from kgraph.ir.graph import Graph, Node, Value
from kgraph.ir.opdef import Attr


def pool_places(graph: Graph) -> Graph:
    """Let a max-pooling leave the places of its maxima where the gradient asks for them later.

    A place is a byte; what was pooled, four bytes for each of the elements of a window, need not be kept for the
    backward pass nor be read again.

    Before: y = max_pool(x); ...; index = max_pool_index(x)
    After:  y, index = max_pool_places(x); ...
    """
    pools: dict[tuple[Value, tuple[tuple[str, Attr], ...]], Node] = {}
    pairs: dict[Node, Node] = {}  # index by pooling
    for node in graph.nodes:
        if node.op.name not in ("max_pool", "max_pool_index"):
            continue
        key = node.inputs[0], tuple(sorted(node.attrs.items()))
        if node.op.name == "max_pool":
            pools.setdefault(key, node)
        elif key in pools:
            pairs.setdefault(pools[key], node)
    if not pairs:
        return graph
    rewriter, dropped = Rewriter(graph), set(pairs.values())
    for node in graph.nodes:
        if node in pairs:
            rewriter.loc = node.loc
            value, places = rewriter.emit("max_pool_places", rewriter.resolve(node).inputs[0], **node.attrs)
            rewriter.replace(node.output, value)
            rewriter.replace(pairs[node].output, places)
        elif node not in dropped:
            rewriter.keep(node)
    return rewriter.finish()
