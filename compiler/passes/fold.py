"""Constant folding: what depends on constants only is computed while compiling."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kgraph.compiler.nested import also_in_bodies
from kgraph.compiler.rewrite import Rewriter
from kgraph.errors import InternalError
from kgraph.ir.dims import DimExpr
from kgraph.ir.graph import Graph, Node, Value
from kgraph.ir.opdef import Attr, Trait
from kgraph.ir.types import TensorType

# A constant stands in the compiled program; beyond this size it costs more than it saves.
LARGEST_BYTES = 1 << 16

Constants = dict[Value, npt.NDArray[Any]]


@also_in_bodies
def fold(graph: Graph) -> Graph:
    """Compute nodes whose operands are all constants with the op's reference.

    A result may not have more elements than the operands together, nor more than 64 KiB: so the broadcast of a
    scalar stays a broadcast, which costs nothing in a kernel, where an array of equal numbers costs memory traffic.

    Before: a = constant 2.0; b = exp(a); c = mul(b, x)
    After:  b = constant 7.389; c = mul(b, x)
    """
    constants: Constants = {}
    rewriter = Rewriter(graph)
    for node in graph.nodes:
        if node.op.name == "constant":
            constants[node.output] = node.attrs["value"]
            rewriter.append(node)
        elif _foldable(node, constants):
            for value, array in zip(node.outputs, _compute(node, constants), strict=True):
                rewriter.loc = node.loc
                constant = rewriter.constant(array)
                constants[constant] = constants[value] = array
                rewriter.replace(value, constant)
        else:
            rewriter.keep(node)
    return rewriter.finish()


def _foldable(node: Node, constants: Constants) -> bool:
    if not node.inputs or Trait.STRUCTURAL in node.op.traits:
        return False
    if not all(value in constants for value in node.inputs) or any(map(_symbolic, node.attrs.values())):
        return False
    room = sum(constants[value].size for value in node.inputs)
    return all(_fits(value.type, room) for value in node.outputs)


def _fits(type: TensorType, room: int) -> bool:
    size = type.size
    return isinstance(size, int) and size <= room and size * type.dtype.itemsize <= LARGEST_BYTES


def _symbolic(attr: Attr) -> bool:
    """Whether an attribute is not plain data: it holds a size known at run time, or a graph."""
    return any(map(_symbolic, attr)) if isinstance(attr, tuple) else isinstance(attr, DimExpr | Graph)


def _compute(node: Node, constants: Constants) -> list[npt.NDArray[Any]]:
    # Overflow and nan are results like others: the compiled program would give them without a warning, too.
    with np.errstate(all="ignore"):
        out = node.op.reference(*(constants[value] for value in node.inputs), **node.attrs)
    arrays = [np.asarray(array) for array in (out if isinstance(out, tuple) else (out,))]
    for array, value in zip(arrays, node.outputs, strict=True):
        if array.shape != value.type.shape or array.dtype != value.dtype.to_numpy():
            raise InternalError(
                f"reference of {node.op.name}", expected=str(value.type), received=f"{array.dtype}{list(array.shape)}"
            )
    return arrays
