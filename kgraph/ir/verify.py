"""Checks that a graph keeps the rules of the IR; faults are shown in the printed text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from kgraph.errors import DTypeError, KgraphError, VerifyError
from kgraph.ir.dims import DimExpr, symbols_of
from kgraph.ir.dtypes import DType, dtype_of
from kgraph.ir.graph import Graph, Node, Value
from kgraph.ir.lexer import RESERVED
from kgraph.ir.loop_verify import verify_kernel
from kgraph.ir.printer import graph_lines
from kgraph.ir.types import TensorType

__all__ = ["verify", "verify_kernel"]

SHOWN = 12  # lines shown before and after a fault


def verify(graph: Graph) -> None:
    """Check a graph in time linear in its size.

    Values are defined once and before their uses, belong to this graph and have the types that the ops' shape rules
    give; attributes are of legal kinds and name only sizes of the inputs; graphs inside attributes keep the same
    rules and match their node.

    Raises:
        VerifyError: the first fault; a note shows the printed graph with the fault under its line.
    """
    _GraphCheck(graph, frozenset()).run()


class _GraphCheck:
    """Checks one graph; graphs inside attributes get a check of their own."""

    def __init__(self, graph: Graph, outer_sizes: frozenset[str]) -> None:
        self.graph = graph
        self.sizes = outer_sizes.union(graph.size_names())
        self.defined: set[Value] = set()
        self.line = 0  # entry of graph_lines that is being checked

    def run(self) -> None:
        """All checks, in the order of the text."""
        for value in self.graph.inputs:
            self.define(value, "input")
        for name in sorted(self.sizes & RESERVED):
            self.fail(f"size name {name!r}", expected="a name that is no word of IR text")
        for node in self.graph.nodes:
            self.line += 1
            self.node(node)
        self.line = len(self.graph.nodes) + 1
        for position, value in enumerate(self.graph.outputs):
            self.use(value, f"output {position}")

    def node(self, node: Node) -> None:
        """One node: operands, attributes, types, graphs inside, results."""
        name = node.op.name
        for position, value in enumerate(node.inputs):
            self.use(value, f"{name}, operand {position}")
        for key, attr in node.attrs.items():
            self.attr(attr, f"{name}, attribute {key}")
        self.result_types(node)
        for attr in node.attrs.values():
            if isinstance(attr, Graph):
                self.body(node, attr)
        for value in node.outputs:
            self.define(value, f"{name}, result")

    def define(self, value: Value, what: str) -> None:
        """A value that starts to exist here."""
        if value in self.defined:
            self.fail(f"{what} is defined twice", expected="one definition for each value", received=repr(value))
        for dim in value.type.shape:
            if not (isinstance(dim, DimExpr) or (isinstance(dim, int) and dim >= 0)):
                self.fail(f"{what}, shape", expected="sizes >= 0", received=repr(value.type.shape))
        self.defined.add(value)

    def use(self, value: Value, what: str) -> None:
        """A value that must exist here."""
        if value in self.defined:
            return
        later = any(value is v for node in self.graph.nodes for v in node.outputs)
        received = "one that is defined later" if later else f"{value!r} of another graph"
        self.fail(what, expected="a value defined before", received=received)

    def attr(self, attr: Any, what: str) -> None:
        """An attribute: its kind, and the sizes that it names."""
        match attr:
            case bool() | int() | float() | str() | DType() | Graph():
                return
            case DimExpr():
                unknown = symbols_of(attr) - self.sizes
                if unknown:
                    known = ", ".join(sorted(self.sizes)) or "none"
                    self.fail(what, expected=f"sizes of the inputs ({known})", received=", ".join(sorted(unknown)))
            case tuple():
                for item in attr:
                    self.attr(item, what)
            case np.ndarray():
                try:
                    dtype_of(attr.dtype)
                except DTypeError:
                    self.fail(what, expected="an array of a known element type", received=str(attr.dtype))
            case _:
                kinds = "a number, string, dtype, size, array, graph or tuple of those"
                self.fail(what, expected=kinds, received=f"{type(attr).__name__} {attr!r}"[:60])

    def result_types(self, node: Node) -> None:
        """Compare the results' types with those that the op's rule gives."""
        try:
            found = node.op.result_types([v.type for v in node.inputs], node.attrs)
        except KgraphError as fault:
            self.fail(str(fault), cause=fault)
        # A shape rule may stumble over operands or attributes of a wrong kind in any way.
        except Exception as fault:
            self.fail(f"{node.op.name}: operands or attributes do not fit ({fault!r})", cause=fault)
        received = tuple([v.type for v in node.outputs])
        if received != found:
            self.fail(f"{node.op.name}, result types", expected=_commas(found), received=_commas(received) or "none")

    def body(self, node: Node, body: Graph) -> None:
        """A graph inside an attribute: its own rules; that of a fusion has the node's inputs and outputs.

        How the graphs of other ops fit their node is for the shape rules to say.
        """
        for what, inside, outside in (("inputs", body.inputs, node.inputs), ("outputs", body.outputs, node.outputs)):
            if node.op.name == "fusion" and [v.type for v in inside] != [v.type for v in outside]:
                expected, received = (_commas([v.type for v in values]) for values in (outside, inside))
                self.fail(f"{node.op.name}, {what} of the body", expected=expected, received=received)
        try:
            _GraphCheck(body, self.sizes).run()
        except VerifyError as fault:
            fault.add_note(f"inside node {self.line - 1} ({node.op.name}) of graph @{self.graph.name}")
            raise

    def fail(self, what: str, *, expected: str = "", received: str = "", cause: Exception | None = None) -> NoReturn:
        """Raise for the line that is being checked."""
        entries = graph_lines(self.graph)
        line = 1 + sum(entry.count("\n") + 1 for entry in entries[: self.line])
        error = VerifyError(f"graph @{self.graph.name}, line {line}: {what}", expected=expected, received=received)
        before, after = entries[: self.line + 1], entries[self.line + 1 :]
        pointer = f"  ^ {str(error).split(': ', 1)[1]}"
        shown = [*before[-SHOWN:], pointer, *after[:SHOWN]]
        error.add_note("\n".join(["  ..."] * (len(before) > SHOWN) + shown + ["  ..."] * (len(after) > SHOWN)))
        raise error from cause


def _commas(types: Sequence[TensorType]) -> str:
    return ", ".join(map(str, types))
