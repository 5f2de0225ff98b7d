"""Splitting of reductions with few results, so that threads can share them."""

from __future__ import annotations

from typing import Any

from kgraph.compiler.rewrite import Rewriter
from kgraph.ir.dims import Dim, product
from kgraph.ir.graph import Graph, Node

# With more results there is enough to divide among threads.
MOST_RESULTS = 512
# Fewer elements for each partial result are not worth a second kernel.
LEAST_ELEMENTS = 64
# Sums of weights in so many parts, as long as the parts are small beside what is read.
WEIGHT_PARTS, MOST_WEIGHTS = 8, 1 << 16


def split_reductions(graph: Graph) -> Graph:
    """Reduce batches of images first over each image, then over the batch; results differ by rounding.

    A reduction that leaves only channels cannot be divided among threads; one for each image can, and what an image
    needs stays in the cache: `moments` reads it twice. How the sums are cut depends on the shapes only.

    The gradient of few weights of a convolution is made in parts of the batch: divided by weights, each thread would
    read all pixels.

    Before: s = sum(x: f32[batch, 32, 32, 16]) {axes=[0, 1, 2]} : f32[16]
    After:  p = sum(x) {axes=[1, 2]} : f32[batch, 16]; s = sum(p) {axes=[0]}
    """
    splitter = _Splitter(graph)
    for node in graph.nodes:
        axes = _reduced_axes(node)
        if axes is not None and _is_worth_it(node, axes):
            splitter.split(node, axes)
        elif node.op.name == "conv_weight_grad" and _has_few_weights(node):
            splitter.split_weights(node)
        else:
            splitter.keep(node)
    return splitter.finish()


def _reduced_axes(node: Node) -> tuple[int, ...] | None:
    """The axes over which a node reduces, if it is of a kind that can be split."""
    if node.op.name in ("moments", "paired_sums") or (node.op.name == "sum" and not node.attrs["keepdims"]):
        axes: tuple[int, ...] = node.attrs["axes"]
        return axes
    if node.op.name == "sum_to":
        kept, shape = node.attrs["axes"], node.inputs[0].type.shape
        if all(size == shape[axis] for size, axis in zip(node.attrs["shape"], kept, strict=True)):
            return tuple(axis for axis in range(len(shape)) if axis not in kept)
    return None


def _is_worth_it(node: Node, axes: tuple[int, ...]) -> bool:
    shape = node.inputs[0].type.shape
    results = product(tuple(size for axis, size in enumerate(shape) if axis not in axes))
    if axes[:1] != (0,) or len(axes) == 1 or not isinstance(results, int) or results > MOST_RESULTS:
        return False
    return _at_least(product(tuple(shape[axis] for axis in axes[1:])), LEAST_ELEMENTS)


def _has_few_weights(node: Node) -> bool:
    weights, pixels = product(node.output.type.shape), product(node.inputs[1].type.shape[1:-1])
    few = isinstance(weights, int) and weights <= MOST_WEIGHTS
    is_plain = all(size == 1 for size in node.attrs["kernel"])  # one product of matrices, read along the batch
    return few and node.attrs["groups"] == 1 and not is_plain and _at_least(pixels, LEAST_ELEMENTS)


def _at_least(size: Dim, least: int) -> bool:
    """Whether a size is large; one known only at run time counts as large."""
    return not isinstance(size, int) or size >= least


class _Splitter(Rewriter):
    """Writes two nodes in place of one."""

    def split(self, node: Node, axes: tuple[int, ...]) -> None:
        """Replace a reduction by one over all `axes` but the first, and one over the first."""
        self.loc = node.loc
        name, inputs = node.op.name, self.resolve(node).inputs
        whole: Any
        if name == "moments":
            parts = self.emit("moments", *inputs, axes=axes[1:])
            whole = self.emit("pooled_moments", *parts, axes=(0,))
        elif name == "paired_sums":
            parts = self.emit("paired_sums", *inputs, axes=axes[1:])
            whole = tuple(self.emit("sum", part, axes=(0,), keepdims=False) for part in parts)
        else:
            part = self.emit("sum", *inputs, axes=axes[1:], keepdims=False)
            whole = (self.emit("sum", part, axes=(0,), keepdims=False),)
        for old, new in zip(node.outputs, whole, strict=True):
            self.replace(old, new)

    def split_weights(self, node: Node) -> None:
        """Replace a gradient of weights by the sum of several."""
        self.loc = node.loc
        parts = self.emit("conv_weight_grad_parts", *self.resolve(node).inputs, **node.attrs, parts=WEIGHT_PARTS)
        self.replace(node.output, self.emit("sum", parts, axes=(0,), keepdims=False))
