"""Stable losses: a cross-entropy of probabilities that come from logits is computed from the logits."""

from __future__ import annotations

from collections.abc import Mapping

from kgraph.compiler.analysis.uses import dependents, needed
from kgraph.compiler.rewrite import Rewriter
from kgraph.ir.graph import Graph, Node, Value

# Loss of probabilities -> (op that makes the probabilities, loss of logits).
STABLE = {
    "categorical_crossentropy": ("softmax", "softmax_crossentropy"),
    "binary_crossentropy": ("sigmoid", "sigmoid_crossentropy"),
}


def stabilize(graph: Graph) -> Graph:
    """Replace loss(activation(z), targets) by the loss of the logits z; must run before autodiff.

    log(softmax(z)) loses everything where softmax underflows; logsumexp does not. The loss of probabilities clips them
    to [epsilon, 1 - epsilon], and that clipping goes: Keras with the TensorFlow backend does the same when it sees the
    softmax or sigmoid. A reshape between the two is looked through. The new loss gives the softmax as well, which
    replaces the old one for metrics and outputs. Nothing happens where somebody wants the gradient with respect to the
    probabilities themselves.

    Before: p = softmax(z); l = categorical_crossentropy(p, t)
    After:  l, p = softmax_crossentropy(z, t)
    """
    producers = graph.producers()
    wanted = {value for node in graph.nodes if node.op.name == "gradient" for value in node.inputs[1:]}
    found = {node: maker for node in graph.nodes if (maker := _logits(node, producers, wanted)) is not None}
    return _Stabilizer(graph, found).run() if found else graph


def _logits(loss: Node, producers: Mapping[Value, Node], wanted: set[Value]) -> Node | None:
    """The softmax or sigmoid whose result `loss` takes as probabilities, if it may be looked through."""
    if loss.op.name not in STABLE:
        return None
    activation = STABLE[loss.op.name][0]
    value = loss.inputs[0]
    while value not in wanted and (node := producers.get(value)) is not None:
        if node.op.name == activation:
            return node
        # A softmax runs over the last axis: rows stay rows only if that axis stays.
        if node.op.name != "reshape":
            return None
        if activation == "softmax" and node.inputs[0].type.shape[-1:] != value.type.shape[-1:]:
            return None
        value = node.inputs[0]
    return None


class _Stabilizer(Rewriter):
    """Replaces losses, and moves each to its softmax so that earlier users of the softmax can use its second result."""

    def __init__(self, graph: Graph, found: Mapping[Node, Node]) -> None:
        """Take the losses to replace, each with its softmax or sigmoid."""
        super().__init__(graph)
        self._found = found
        self._moved = self._softmaxes_to_replace()
        self._done: set[Node] = set()

    def run(self) -> Graph:
        """The graph with all losses replaced."""
        for position, node in enumerate(self.graph.nodes):
            self._add(node, position)
        return self.finish()

    def _softmaxes_to_replace(self) -> dict[Node, Node]:
        """softmax -> its first loss, where the targets do not depend on such a softmax (the loss could not move)."""
        tainted = dependents(self.graph.nodes, [maker.output for maker in self._found.values()])
        moved: dict[Node, Node] = {}
        for loss, maker in self._found.items():
            if maker.op.name == "softmax" and loss.inputs[1] not in tainted:
                moved.setdefault(maker, loss)
        return moved

    def _add(self, node: Node, position: int) -> None:
        if node in self._done:
            return
        self._done.add(node)
        self.loc = node.loc
        if node in self._moved:
            loss = self._moved[node]
            for earlier in needed(self.graph.nodes[position + 1 :], [loss.inputs[1]]):
                self._add(earlier, position)
            self._done.add(loss)
            self.loc = loss.loc
            probabilities = self._add_loss(loss, node)
            self.replace(node.output, self._reshaped(probabilities, node.output))
        elif node in self._found:
            self._add_loss(node, self._found[node])
        else:
            self.keep(node)

    def _add_loss(self, loss: Node, maker: Node) -> Value:
        """Add the stable form of `loss`; its second result, if it has one, else the loss."""
        logits = self._reshaped(self.resolve(maker).inputs[0], loss.inputs[0])
        results = self.emit(STABLE[loss.op.name][1], logits, self.resolve(loss).inputs[1])
        results = results if isinstance(results, tuple) else (results,)
        self.replace(loss.output, results[0])
        value = results[-1]
        assert isinstance(value, Value)
        return value

    def _reshaped(self, value: Value, like: Value) -> Value:
        if value.type == like.type:
            return value
        shaped = self.emit("reshape", value, shape=like.type.shape)
        assert isinstance(shaped, Value)
        return shaped
