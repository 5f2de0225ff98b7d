"""Pooling first: what rises with its operand runs on the maxima instead of on everything."""

from __future__ import annotations

from kgraph.compiler.analysis.uses import users
from kgraph.compiler.rewrite import Rewriter
from kgraph.ir.graph import Graph, Node, Value


def pool_first(graph: Graph) -> Graph:
    """Let relu and the addition of a bias run behind a max-pooling instead of before it; must run before autodiff.

    Neither ever falls where its operand rises, rounding included, so the results are equal to the bit (but where a bias
    of inf meets -inf, and adding it first would give NaN). A window of
    2 x 2 leaves a quarter of the elements to work on; after autodiff the gradient is cut off, and summed for the bias,
    behind the pooling as well, and nothing but the convolution's result itself, of which the places of the maxima are
    taken, is read again. Where relu cuts a maximum off no place gets a gradient, so that it does not matter that all
    elements below 0 became equal; of elements that only rounding made equal the largest one gets it.

    Before: y = max_pool(relu(add(x, broadcast(b))))
    After:  y = relu(add(max_pool(x), broadcast(b)))
    """
    finder = _Finder(graph)
    chains = {node: chain for node in graph.nodes if node.op.name == "max_pool" and (chain := finder.chain(node))}
    if not chains:
        return graph
    moved = {member for chain in chains.values() for member in chain}
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        if node in chains:
            rewriter.replace(node.output, _behind(rewriter, node, chains[node]))
        elif node not in moved:
            rewriter.keep(node)
    return rewriter.finish()


def _behind(rewriter: Rewriter, pool: Node, chain: list[Node]) -> Value:
    """The pooling of what the chain begins with, and the chain, which is given from its end, on the maxima."""
    first = rewriter.resolve(chain[-1]).inputs
    source = next(value for value in first if not _is_bias(rewriter.producer(value)))
    rewriter.loc = pool.loc
    value: Value = rewriter.emit("max_pool", source, **pool.attrs)
    for node in reversed(chain):
        rewriter.loc = node.loc
        if node.op.name == "relu":
            value = rewriter.emit("relu", value)
            continue
        spread = next(n for n in map(rewriter.producer, rewriter.resolve(node).inputs) if _is_bias(n))
        assert spread is not None
        bias = rewriter.emit("broadcast", spread.inputs[0], shape=value.type.shape, axes=spread.attrs["axes"])
        value = rewriter.emit("add", value, bias)
    return value


def _is_bias(node: Node | None) -> bool:
    """Whether a node gives each channel a number of its own, the same one everywhere."""
    if node is None or node.op.name != "broadcast":
        return False
    return tuple(node.attrs["axes"]) == (node.output.type.rank - 1,)


class _Finder:
    def __init__(self, graph: Graph) -> None:
        self._makers, self._readers = graph.producers(), users(graph)
        self._outputs = set(graph.outputs)

    def chain(self, pool: Node) -> list[Node]:
        """The nodes before a pooling that may run behind it, the last one first."""
        found: list[Node] = []
        value = pool.inputs[0]
        while True:
            node = self._makers.get(value)
            if node is None or len(self._readers.get(value, ())) != 1 or value in self._outputs:
                return found
            if node.op.name == "relu":
                (value,) = node.inputs
            elif node.op.name == "add" and sum(_is_bias(self._makers.get(v)) for v in node.inputs) == 1:
                value = next(v for v in node.inputs if not _is_bias(self._makers.get(v)))
            else:
                return found
            found.append(node)
