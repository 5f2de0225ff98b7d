"""Keys by which equal attributes and equal graphs find each other."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from kgraph.ir.graph import Graph, Value
from kgraph.ir.opdef import Attr

# Larger arrays are compared by identity: hashing megabytes costs more than a second copy of a constant.
HASHED_BYTES = 1 << 16


def structure(graph: Graph) -> Hashable:
    """A key that is equal only for graphs that compute the same: names, and where nodes come from, do not count.

    Values count by their numbers, attributes as `attr_key` compares them.
    """
    numbers: dict[Value, int] = {}
    for value in graph.inputs:
        numbers.setdefault(value, len(numbers))
    nodes = []
    for node in graph.nodes:
        operands = tuple(numbers[value] for value in node.inputs)
        for value in node.outputs:
            numbers[value] = len(numbers)
        attrs = tuple((name, attr_key(value)) for name, value in sorted(node.attrs.items()))
        nodes.append((node.op, operands, attrs))
    outputs = tuple(numbers[value] for value in graph.outputs)
    return tuple(nodes), outputs, tuple(value.type for value in numbers)


def attr_key(value: Attr) -> Hashable:
    """A key that is equal for equal attributes only: 0.0 and -0.0, 1 and 1.0 and True differ, graphs by identity."""
    if isinstance(value, np.ndarray):
        data: Hashable = value.tobytes() if value.nbytes <= HASHED_BYTES else id(value)
        return (value.dtype.str, value.shape, data)
    if isinstance(value, tuple):
        return tuple(attr_key(part) for part in value)
    if isinstance(value, float):
        return ("float", value.hex())
    return (type(value), value)
