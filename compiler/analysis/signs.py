"""What is known about the sign of a tensor's elements."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kgraph.ir.graph import Node, Value

# Ops whose result is never negative, whatever comes in.
_POSITIVE = frozenset({"abs", "exp", "sigmoid", "softmax", "size", "iota", "one_hot"})
# Ops whose result is never negative if no operand is. (Not max: the larger of 0.0 and -0.0 may be either.)
_KEEPS = frozenset({"add", "mul", "div", "sqrt", "sum", "sum_to", "cast", "broadcast", "reshape", "transpose", "slice"})
_DEPTH = 6  # how far back the answer is looked for; keeps the cost of a question constant


def never_negative(value: Value, producer: Callable[[Value], Node | None], depth: int = _DEPTH) -> bool:
    """Whether every element is known to be nan or at least +0.0, and not -0.0."""
    if value.dtype.kind in ("unsigned", "bool"):
        return True
    node = producer(value)
    # Signed integers wrap round: even abs and squares may be negative.
    if node is None or depth == 0 or not value.dtype.is_float:
        return False
    name = node.op.name
    if name == "constant":
        array = node.attrs["value"]
        return array.size == 1 and not bool(np.signbit(array).any())
    if name == "mul" and node.inputs[0] is node.inputs[1]:
        return True
    if name in _KEEPS:
        return all(never_negative(operand, producer, depth - 1) for operand in node.inputs)
    return name in _POSITIVE


def never_minus_zero(value: Value, producer: Callable[[Value], Node | None], depth: int = _DEPTH) -> bool:
    """Whether no element is -0.0."""
    if not value.dtype.is_float or never_negative(value, producer, depth):
        return True
    node = producer(value)
    if node is None or depth == 0:
        return False
    if node.op.name == "constant":
        array = node.attrs["value"]
        return array.size == 1 and bool(array.any())
    if node.op.name in ("sum", "sum_to"):
        return True  # sums begin with 0.0, and 0.0 + -0.0 is 0.0
    if node.op.name == "add":
        return any(never_minus_zero(operand, producer, depth - 1) for operand in node.inputs)
    if node.op.name in ("sub", "broadcast", "reshape", "transpose", "slice"):
        return never_minus_zero(node.inputs[0], producer, depth - 1)
    return False
