"""The reference interpreter: runs any graph with NumPy, one node after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from kgraph.errors import ArgumentError, DTypeError, InternalError, ShapeError
from kgraph.ir.dims import DimExpr, evaluate
from kgraph.ir.graph import Graph, Node, Value
from kgraph.ir.opdef import Array, Attrs
from kgraph.runtime.sizes import bind_sizes

# Called with each node of the outer graph, and its results, after it ran.
Watch: TypeAlias = Callable[[Node, Sequence[Array]], None]


def interpret(
    graph: Graph, inputs: Sequence[Array], sizes: Mapping[str, int] | None = None, watch: Watch | None = None
) -> list[Array]:
    """The outputs of `graph` by the NumPy references of its ops: new arrays of exactly the inferred types.

    Args:
        graph: any graph without `gradient` nodes; a `fusion` runs its body.
        inputs: one array for each graph input, of exactly its element type.
        sizes: values of symbolic sizes that no input shows.
        watch: looks at what each node gives.

    Raises:
        ShapeError: input shapes do not fit the graph's types, or disagree about a symbolic size.
        DTypeError: an input has another element type.
        InternalError: a `gradient` is not expanded, or a reference contradicts the op's shape rule.
    """
    arrays = [np.asarray(array) for array in inputs]
    if len(arrays) != len(graph.inputs):
        raise ArgumentError(f"graph {graph.name}", expected=f"{len(graph.inputs)} inputs", received=str(len(arrays)))
    for number, (value, array) in enumerate(zip(graph.inputs, arrays, strict=True)):
        if array.dtype != value.dtype.to_numpy():
            raise DTypeError(f"argument {number}", expected=value.dtype.numpy, received=str(array.dtype))
    # Overflow and nan are results like others: native code gives them without a warning, too.
    with np.errstate(all="ignore"):
        return [np.array(array) for array in _run(graph, arrays, _sizes(graph, arrays, sizes or {}), watch)]


def _sizes(graph: Graph, arrays: Sequence[Array], given: Mapping[str, int]) -> dict[str, int]:
    names = graph.size_names()
    found = dict(zip(names, bind_sizes([v.type for v in graph.inputs], arrays, names), strict=True))
    for name, size in given.items():
        if found.setdefault(name, size) != size:
            raise ShapeError(f"size {name}", expected=f"{size}, as given", received=f"{found[name]} in an input")
    return found


def _run(
    graph: Graph, arrays: Sequence[Array], sizes: Mapping[str, int], watch: Watch | None = None
) -> list[Array]:
    known: dict[Value, Array] = dict(zip(graph.inputs, arrays, strict=True))
    dying = _last_uses(graph)
    for node, last in zip(graph.nodes, dying, strict=True):
        operands = [known[value] for value in node.inputs]
        for value, array in zip(node.outputs, _apply(node, operands, sizes), strict=True):
            known[value] = _checked(node, value, array, sizes)
        if watch is not None:
            watch(node, [known[value] for value in node.outputs])
        for value in last:
            del known[value]
    return [known[value] for value in graph.outputs]


def _apply(node: Node, operands: Sequence[Array], sizes: Mapping[str, int]) -> Sequence[Any]:
    if node.op.name == "gradient":
        raise InternalError(
            "gradient in a graph to run", expected="a graph after autodiff", fix="Expand gradients first"
        )
    out = node.op.reference(*operands, **concrete(node.attrs, sizes))
    return out if isinstance(out, tuple) else (out,)


def concrete(attrs: Attrs, sizes: Mapping[str, int]) -> dict[str, Any]:
    """Attributes as references take them: sizes are numbers, graphs are functions of arrays."""
    return {name: _concrete(attr, sizes) for name, attr in attrs.items()}


def _concrete(attr: Any, sizes: Mapping[str, int]) -> Any:
    match attr:
        case DimExpr():
            return evaluate(attr, sizes)
        case tuple():
            return tuple(_concrete(part, sizes) for part in attr)
        case Graph():
            return lambda *arrays: _run(attr, arrays, sizes)
        case _:
            return attr


def _checked(node: Node, value: Value, result: Any, sizes: Mapping[str, int]) -> Array:
    shape = value.type.concrete(sizes)
    array = np.asarray(result)
    if array.shape != shape:
        raise InternalError(f"reference of {node.op.name}", expected=f"shape {shape}", received=str(array.shape))
    return array.astype(value.dtype.to_numpy(), copy=False)


def _last_uses(graph: Graph) -> list[list[Value]]:
    """For each node, the values that nobody needs after it; graph outputs are always needed."""
    seen = set(graph.outputs)
    out: list[list[Value]] = []
    for node in reversed(graph.nodes):
        last = [v for v in dict.fromkeys((*node.inputs, *node.outputs)) if v not in seen]
        seen.update(last)
        out.append(last)
    return out[::-1]
