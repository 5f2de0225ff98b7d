"""Shrinking: convolutions compute only what the pooling behind them reads."""

from __future__ import annotations

from collections.abc import Mapping

from kgraph.compiler.analysis.uses import users
from kgraph.compiler.rewrite import Rewriter
from kgraph.ir.graph import Graph, Node, Value
from kgraph.ir.opdef import Trait

POOLS = ("max_pool", "sum_pool")


def shrink(graph: Graph) -> Graph:
    """Make convolutions smaller whose last rows or columns no window of a pooling reaches; must run before autodiff.

    A window of 2 with stride 2 leaves out the last row of an odd size: of 7 x 7 pixels it reads 36. Elementwise nodes
    between the two (bias, activation) shrink too, if nobody else reads them; so do, after autodiff, all gradients.

    Before: a = conv(x, w) {high: 1}: 7 x 7; y = max_pool(relu(a)) {window: 2, strides: 2}
    After:  a = conv(x, w) {high: 0}: 6 x 6; y = max_pool(relu(a))
    """
    shrinker = _Shrinker(graph)
    return shrinker.run() if shrinker.sizes else graph


class _Shrinker(Rewriter):
    """Finds the trees of nodes between convolutions and poolings, and makes them again with other sizes."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self._readers = users(graph)
        self._maker = graph.producers()
        self._outputs = set(graph.outputs)
        self.sizes: dict[Value, Mapping[int, int]] = {}  # of the values to shrink: axis -> new size
        for node in graph.nodes:
            if node.op.name in POOLS:
                found = self._tree(node.inputs[0], _read_sizes(node))
                if found is not None and any(self._maker[v].op.name == "conv" for v in found):
                    self.sizes.update(found)

    def _tree(self, value: Value, sizes: Mapping[int, int]) -> dict[Value, Mapping[int, int]] | None:
        """All values that shrink with `value`; None if one cannot."""
        node = self._maker.get(value)
        if node is None or not sizes:
            return None
        if node.op.name == "broadcast":
            axes = dict(zip(node.attrs["axes"], node.inputs[0].type.shape, strict=True))
            return {value: sizes} if all(axes.get(axis, 1) == 1 for axis in sizes) else None
        if len(self._readers.get(value, ())) != 1 or value in self._outputs:
            return None
        if node.op.name == "conv":
            return {value: sizes}
        if Trait.ELEMENTWISE not in node.op.traits:
            return None
        found: dict[Value, Mapping[int, int]] = {value: sizes}
        for operand in node.inputs:
            part = self._tree(operand, sizes)
            if part is None:
                return None
            found |= part
        return found

    def run(self) -> Graph:
        """The graph with the smaller nodes."""
        small: dict[Value, Value] = {}
        for node in self.graph.nodes:
            sizes = self.sizes.get(node.outputs[0])
            if sizes is None:
                self.keep(node)
                continue
            self.loc = node.loc
            attrs = dict(node.attrs)
            if node.op.name == "broadcast":
                self.keep(node)  # for its other readers
                attrs["shape"] = tuple(sizes.get(axis, d) for axis, d in enumerate(attrs["shape"]))
            if node.op.name == "conv":
                attrs["high"] = _less_padding(node, sizes)
            fixed = node.op.name in ("broadcast", "conv")
            inputs = self.resolve(node).inputs if fixed else tuple(small[v] for v in node.inputs)
            small[node.output] = self.emit(node.op, *inputs, **attrs)
            if node.op.name != "broadcast":
                self.replace(node.output, small[node.output])
        return self.finish()


def _read_sizes(pool: Node) -> dict[int, int]:
    """The spatial axes of a pooling's operand of which windows do not reach the end, with the sizes that they reach."""
    found = {}
    window, strides, low, high = (pool.attrs[name] for name in ("window", "strides", "low", "high"))
    for axis, size in enumerate(pool.inputs[0].type.shape[1:-1]):
        if isinstance(size, int) and high[axis] == 0:
            left = (size + low[axis] - window[axis]) % strides[axis]
            if left:
                found[axis + 1] = size - left
    return found


def _less_padding(conv: Node, sizes: Mapping[int, int]) -> tuple[int, ...]:
    """The padding behind with which a convolution gives the smaller sizes: below 0 if it had none to give."""
    padding = list(conv.attrs["high"])
    for axis, size in sizes.items():
        old = conv.output.type.shape[axis]
        assert isinstance(old, int)
        padding[axis - 1] -= (old - size) * conv.attrs["strides"][axis - 1]
    return tuple(padding)
