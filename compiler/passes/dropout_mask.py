"""Gradients of dropout behind relu: the mask is read off the result instead of being drawn again."""

from __future__ import annotations

from typing import TypeAlias

from kgraph.compiler.rewrite import Rewriter
from kgraph.ir.graph import Graph, Node, Value

# Mask, what was dropped from, the factor for what stays: they tell one dropout from another.
Key: TypeAlias = "tuple[Value, Value, Value]"


def dropout_mask(graph: Graph) -> Graph:
    """Ask the result of dropout after relu which gradients pass: exactly those of its positive elements.

    Elements that stay are multiplied by at least 1, so none of them becomes 0, and nan is not positive before or after.
    The backward pass then needs no random bits, and reads nothing but the result, which the next layer has kept anyway.

    Before: r = relu(z); y = select(mask, mul(r, s), 0); ...; d = select(gt(r, 0), mul(select(mask, g, 0), s), 0)
    After:  r = relu(z); y = select(mask, mul(r, s), 0); ...; d = select(gt(y, 0), mul(g, s), 0)
    """
    rewriter = Rewriter(graph)
    results: dict[Key, Value] = {}
    for node in graph.nodes:
        resolved = rewriter.resolve(node)
        if (forward := _dropped(resolved, rewriter)) is not None:
            results.setdefault(forward, node.output)
        elif (backward := _gradient(resolved, rewriter)) is not None and backward[0] in results:
            key, gradient = backward
            rewriter.loc = node.loc
            passes = rewriter.emit("gt", results[key], resolved.inputs[2])
            rewriter.replace(
                node.output, rewriter.emit("select", passes, rewriter.emit("mul", gradient, key[2]), resolved.inputs[2])
            )
            continue
        rewriter.keep(node)
    return rewriter.finish()


def _dropped(node: Node, rewriter: Rewriter) -> Key | None:
    """The key of ``select(mask, mul(relu(z), s), 0)`` with a number s >= 1."""
    kept = _kept(node, rewriter)
    if kept is None:
        return None
    mask, scaled = kept
    product = _made_by("mul", scaled, rewriter)
    if product is None:
        return None
    r, factor = product.inputs
    scale = rewriter.scalar(factor)
    if scale is None or not scale >= 1 or _made_by("relu", r, rewriter) is None:
        return None
    return mask, r, factor


def _gradient(node: Node, rewriter: Rewriter) -> tuple[Key, Value] | None:
    """Key and g of ``select(gt(r, 0), mul(select(mask, g, 0), s), 0)``."""
    kept = _kept(node, rewriter)
    positive = kept and _made_by("gt", kept[0], rewriter)
    product = kept and _made_by("mul", kept[1], rewriter)
    if not positive or not product or rewriter.scalar(positive.inputs[1]) != 0:
        return None
    inner = rewriter.producer(product.inputs[0])
    masked = inner and _kept(inner, rewriter)
    return ((masked[0], positive.inputs[0], product.inputs[1]), masked[1]) if masked else None


def _kept(node: Node, rewriter: Rewriter) -> tuple[Value, Value] | None:
    """Condition and value of ``select(condition, value, 0)``."""
    if node.op.name != "select" or rewriter.scalar(node.inputs[2]) != 0:
        return None
    return node.inputs[0], node.inputs[1]


def _made_by(op: str, value: Value, rewriter: Rewriter) -> Node | None:
    node = rewriter.producer(value)
    return node if node is not None and node.op.name == op else None
