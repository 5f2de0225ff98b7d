"""Graphs as text that `kgraph.ir.parser` reads back."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from kgraph.errors import DTypeError, GraphError
from kgraph.ir.dims import DimExpr
from kgraph.ir.dtypes import DType, dtype_of
from kgraph.ir.graph import Graph, Node, Value
from kgraph.ir.lexer import MAX_NAME, VALUE_NAME, heading, quoted, title
from kgraph.ir.location import UNKNOWN, Location
from kgraph.ir.loop_printer import kernel_to_text
from kgraph.ir.opdef import Array
from kgraph.ir.types import TensorType

__all__ = ["INLINE", "array_to_text", "graph_lines", "kernel_to_text", "to_text"]

INLINE = 16  # arrays of at most this many elements stand in the text


def to_text(graph: Graph, *, locations: bool = False, constants: dict[str, Array] | None = None) -> str:
    """The text of a graph; `kgraph.ir.parser.parse` reads it back.

    Args:
        graph: what to print; it need not pass the verifier, but its attributes must be of the known kinds.
        locations: end each node with its layer path and source line.
        constants: receives the arrays too large for the text, under "c0", "c1", ...; give it to `parse`. Whoever
            uses the text as a key must hash these arrays too: the text holds only their names.

    Raises:
        GraphError: an attribute is of a kind that has no text.
    """
    writer = _Writer(locations, {} if constants is None else constants)
    return "\n".join(writer.graph(graph, "")) + "\n"


def graph_lines(graph: Graph) -> list[str]:
    """The text of a graph for error messages: the head, one entry for each node, `return`, the brace.

    Never fails: what has no text, as in faulty graphs, is shown by its repr after a question mark.
    """
    return _FaultWriter(False, {}).graph(graph, "")


def array_to_text(array: Array) -> str:
    """A small array as a literal that reads back bit by bit.

    >>> array_to_text(np.array([[0.1, -0.0]], np.float32))
    'f32[1, 2](0.1, -0.0)'
    """
    dtype = dtype_of(array.dtype)
    array = np.ascontiguousarray(array, dtype.to_numpy()).reshape(array.shape)
    head = str(TensorType(dtype, array.shape))
    if not dtype.is_float:
        return f"{head}({', '.join(str(v).lower() for v in array.ravel().tolist())})"
    words = list(map(str, array.ravel()))
    # The shortest digits of an f32 are read as f64 first; in rare cases rounding twice gives a neighbour.
    for n, value in enumerate(array.ravel()):
        if not np.isnan(value) and array.dtype.type(float(words[n])) != value:
            words[n] = float.__repr__(float(value))
    if np.array([float(w) for w in words], array.dtype).tobytes() != array.tobytes():
        return f'{head}"{array.astype(array.dtype.newbyteorder("<")).tobytes().hex()}"'  # NaNs with bits of their own
    return f"{head}({', '.join(words)})"


def _names(graph: Graph) -> dict[Value, str]:
    """Text of each value: its hint if no other value has the same, else a number by position."""
    values = [*graph.inputs, *(v for node in graph.nodes for v in node.outputs)]
    used = Counter(v.name for v in values)
    names: dict[Value, str] = {}
    number = 0
    for value in values:
        if used[value.name] == 1 and len(value.name) < MAX_NAME and VALUE_NAME.fullmatch(value.name):
            names[value] = f"%{value.name}"
        elif value not in names:
            names[value] = f"%{number}"
            number += 1
    return names


class _Writer:
    """Prints one graph and the graphs in its attributes."""

    def __init__(self, locations: bool, constants: dict[str, Array]) -> None:
        self.locations = locations
        self.constants = constants
        self.numbers: dict[int, str] = {}

    def graph(self, graph: Graph, indent: str) -> list[str]:
        """Head, one entry for each node, `return`, brace."""
        names = _names(graph)
        inputs = [f"{names[v]}: {v.type}" for v in graph.inputs]
        lines = [heading(f"graph {title(graph.name)}", inputs, indent) + " {"]
        lines += [self.node(node, names, indent + "  ") for node in graph.nodes]
        outputs = ", ".join(names.get(v, "%?") for v in graph.outputs)
        return [*lines, f"{indent}  return {outputs}".rstrip(), indent + "}"]

    def node(self, node: Node, names: dict[Value, str], indent: str) -> str:
        """One node as a line; longer if an attribute is a graph."""
        args = ", ".join([names.get(v, "%?") for v in node.inputs])
        text = f"{node.op.name}({args})"
        if node.attrs:
            attrs = ", ".join([f"{key}={self.attr(node.attrs[key], indent)}" for key in sorted(node.attrs)])
            text += f" {{{attrs}}}"
        if node.outputs:
            results = ", ".join([names[v] for v in node.outputs])
            text = f"{results} = {text} : {', '.join([str(v.type) for v in node.outputs])}"
        if self.locations and node.loc != UNKNOWN:
            text += location(node.loc)
        return indent + text

    def attr(self, value: Any, indent: str) -> str:
        """An attribute's value."""
        match value:
            case bool():
                return "true" if value else "false"
            case int():
                return int.__repr__(value)
            case DimExpr() | DType():
                return str(value)
            case tuple() | list():
                return f"[{', '.join([self.attr(v, indent) for v in value])}]"
            case float():
                return float.__repr__(value)
            case str():
                return quoted(value)
            case np.ndarray():
                return self.array(value)
            case Graph():
                return "\n".join(self.graph(value, indent))
            case _:
                return self.unknown(value)

    def array(self, value: Array) -> str:
        """An array in the text, or the name of one beside it."""
        try:
            dtype_of(value.dtype)
        except DTypeError:
            return self.unknown(value)
        if value.size <= INLINE:
            return array_to_text(value)
        if id(value) not in self.numbers:
            name = f"c{len(self.constants)}"
            self.constants[name] = value
            self.numbers[id(value)] = name
        return f"#{self.numbers[id(value)]}"

    def unknown(self, value: Any) -> str:
        """An attribute that has no text."""
        raise GraphError("attribute", expected="a kind of value that IR text knows", received=repr(value)[:60])


class _FaultWriter(_Writer):
    """Prints faulty graphs too."""

    def unknown(self, value: Any) -> str:
        """A text that does not parse."""
        return f"?{' '.join(repr(value).split())[:60]}"


def location(loc: Location) -> str:
    """The end of a line that says where a node comes from."""
    return f" @ {quoted(loc.layer)} {quoted(loc.file)}:{loc.line}"
