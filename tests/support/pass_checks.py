"""Checks of graph passes: text in, text out, and the results of a graph."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from kgraph.ir.dtypes import f64
from kgraph.ir.graph import Graph, GraphBuilder, Node, Value
from kgraph.ir.opdef import emitting
from kgraph.ir.parser import parse
from kgraph.ir.printer import to_text
from kgraph.ir.types import TensorType
from kgraph.ir.verify import verify
from kgraph.primitives import REGISTRY
from kgraph.runtime.interpreter import interpret

Pass = Callable[[Graph], Graph]
Array = npt.NDArray[np.generic]


def graph_of(inputs: str, body: str) -> Graph:
    """The graph with these inputs and this body, such as ``graph_of("%x: f32[3]", "return %x")``."""
    return parse(f"graph @g({inputs}) {{\n{textwrap.dedent(body)}\n}}", REGISTRY)


def unnamed(graph: Graph) -> str:
    """The text of a graph with values numbered by position, so that names do not matter."""
    fresh: dict[Value, Value] = {}

    def bare(values: Sequence[Value]) -> tuple[Value, ...]:
        return tuple(fresh.setdefault(value, Value(value.type)) for value in values)

    inputs = bare(graph.inputs)
    nodes = tuple(Node(node.op, bare(node.inputs), bare(node.outputs), node.attrs) for node in graph.nodes)
    return to_text(Graph("g", inputs, nodes, bare(graph.outputs)))


def becomes(apply: Pass, inputs: str, before: str, after: str) -> None:
    """Check that a pass makes the body `after` of the body `before`, and finds nothing more to do there."""
    result = apply(graph_of(inputs, before))
    verify(result)
    assert unnamed(result) == unnamed(graph_of(inputs, after))
    assert apply(result) is result


def stays(apply: Pass, inputs: str, body: str) -> None:
    """Check that a pass gives back the very same graph."""
    graph = graph_of(inputs, body)
    assert apply(graph) is graph


def traced(function: Callable[..., object], *types: TensorType) -> Graph:
    """The graph of a function of symbolic tensors."""
    builder = GraphBuilder("g", REGISTRY)
    with emitting(builder):
        out = function(*(builder.input(type) for type in types))
    return builder.build(out if isinstance(out, (tuple, list)) else [out])


def doubles(*shapes: tuple[int, ...]) -> list[TensorType]:
    """Types of float64 tensors."""
    return [TensorType(f64, shape) for shape in shapes]


def values_of(graph: Graph, arrays: Sequence[Array]) -> list[Array]:
    """The outputs of a graph by the interpreter."""
    return list(interpret(graph, arrays))
