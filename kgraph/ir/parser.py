"""Reads the text form of graphs and checks each line's types against the ops' shape rules."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from kgraph.errors import KgraphError
from kgraph.ir.dims import product
from kgraph.ir.graph import Graph, Node, Value
from kgraph.ir.lexer import DTYPES, Cursor, Token, did_you_mean
from kgraph.ir.location import UNKNOWN, Location
from kgraph.ir.loop_parser import parse_kernel
from kgraph.ir.opdef import Array, Attr, OpDef
from kgraph.ir.types import TensorType

__all__ = ["parse", "parse_kernel"]


def parse(text: str, registry: Mapping[str, OpDef], constants: Mapping[str, Array] | None = None) -> Graph:
    """The graph that a text describes.

    Spaces and line ends are free; `//` starts a comment. The text is only read, never run, and nesting and lengths
    are bounded, so that it may come from anywhere.

    Args:
        text: one graph, as `kgraph.ir.printer.to_text` writes it.
        registry: the ops by name.
        constants: arrays that the text names `#c0`, `#c1`, ... by their names without the `#`.

    Raises:
        ParseError: with line and column; a note shows the line.
    """
    reader = _Reader(text, registry, constants or {})
    return reader.cursor.whole(reader.graph)


class _Reader:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str, registry: Mapping[str, OpDef], constants: Mapping[str, Array]) -> None:
        self.cursor = Cursor(text)
        self.registry = registry
        self.constants = constants
        self.scope: dict[str, Value] = {}

    def graph(self) -> Graph:
        """`graph @name(%x: type, ...) { nodes return values }`."""
        cursor = self.cursor
        cursor.enter()
        outer, self.scope = self.scope, {}
        cursor.expect("graph")
        name = cursor.title()
        cursor.expect("(")
        inputs = []
        while not cursor.accept(")"):
            token = cursor.expect_kind("value", "an input")
            cursor.expect(":")
            inputs.append(self.define(token, cursor.type()))
            if cursor.token.text != ")":
                cursor.expect(",")
        cursor.expect("{")
        nodes = []
        while not cursor.accept("return"):
            nodes.append(self.node())
        outputs = self.values() if cursor.token.kind == "value" else []
        cursor.expect("}")
        self.scope = outer
        cursor.leave()
        return Graph(name, tuple(inputs), tuple(nodes), tuple(outputs))

    def define(self, token: Token, type: TensorType) -> Value:
        """A new value named by `token`; a name of digits is only a position."""
        if token.text in self.scope:
            raise self.cursor.error(f"{token.text} is defined twice", token)
        name = token.text[1:]
        value = Value(type, "" if name[0] in "0123456789" else name)
        self.scope[token.text] = value
        return value

    def values(self) -> list[Value]:
        """One or more known values, separated by commas."""
        out = []
        while True:
            token = self.cursor.expect_kind("value", "a value")
            if token.text not in self.scope:
                raise self.cursor.error(f"{token.text} is not defined", token, fix=did_you_mean(token.text, self.scope))
            out.append(self.scope[token.text])
            if not self.cursor.accept(","):
                return out

    def node(self) -> Node:
        """`%a, %b = op(%x, ...) {attributes} : type, type @ "layer" "file":line`."""
        cursor = self.cursor
        results = []
        if cursor.token.kind == "value":
            results.append(cursor.take())
            while cursor.accept(","):
                results.append(cursor.expect_kind("value", "a result"))
            cursor.expect("=")
        head = cursor.expect_kind("name", "an op")
        if head.text not in self.registry:
            raise cursor.error(f"unknown op {head.text!r}", head, fix=did_you_mean(head.text, self.registry))
        op = self.registry[head.text]
        cursor.expect("(")
        inputs = [] if cursor.token.text == ")" else self.values()
        cursor.expect(")")
        attrs = self.attrs() if cursor.accept("{") else {}
        types, start = [], cursor.token
        if results:
            start = cursor.expect(":")
            types.append(cursor.type())
            while cursor.accept(","):
                types.append(cursor.type())
        loc = self.location() if cursor.accept("@") else UNKNOWN
        self.check(op, head, inputs, attrs, types, start)
        if len(types) != len(results):
            raise cursor.error(op.name, results[0], expected=f"{len(types)} results", received=str(len(results)))
        outputs = tuple(self.define(token, type) for token, type in zip(results, types, strict=True))
        return Node(op, tuple(inputs), outputs, attrs, loc)

    def check(
        self, op: OpDef, head: Token, inputs: list[Value], attrs: dict[str, Attr], types: list[TensorType], at: Token
    ) -> None:
        """Compare the types at the end of a line with those that the op's rule gives."""
        error = self.cursor.error
        try:
            found = op.result_types([v.type for v in inputs], attrs)
        except KgraphError as fault:
            raise error(str(fault), head) from fault
        except KeyError as fault:
            raise error(f"{op.name}: attribute {fault} is missing", head) from fault
        # A shape rule may stumble over operands or attributes of a wrong kind in any way.
        except Exception as fault:
            raise error(f"{op.name}: operands or attributes do not fit ({fault})", head) from fault
        if tuple(types) != found:
            expected, received = (", ".join(map(str, t)) for t in (found, types))
            raise error(f"{op.name}, result type", at, expected=expected, received=received or "none")

    def location(self) -> Location:
        """`"layer" "file":line`."""
        layer, file = self.cursor.string(), self.cursor.string()
        self.cursor.expect(":")
        return Location(layer, file, self.cursor.integer())

    def attrs(self) -> dict[str, Attr]:
        """`key=value, ...}`."""
        cursor = self.cursor
        attrs: dict[str, Attr] = {}
        while not cursor.accept("}"):
            key = cursor.expect_kind("name", "an attribute")
            if key.text in attrs:
                raise cursor.error(f"attribute {key.text} is given twice", key)
            cursor.expect("=")
            attrs[key.text] = self.attr()
            if cursor.token.text != "}":
                cursor.expect(",")
        return attrs

    def attr(self) -> Attr:
        """An attribute's value."""
        cursor = self.cursor
        token, ahead = cursor.token, cursor.ahead
        if token.kind == "string":
            return cursor.string()
        if token.kind == "constant":
            return self.constant(cursor.take())
        if token.text == "[":
            return self.tuple()
        if token.text == "graph" and ahead.text == "@":
            return self.graph()
        if token.text in ("true", "false"):
            return cursor.take().text == "true"
        if token.text in DTYPES:
            return self.array() if ahead.text == "[" else cursor.dtype()
        if is_float(token) or (token.text == "-" and is_float(ahead)):
            return self.number()
        return cursor.dim()

    def tuple(self) -> tuple[Attr, ...]:
        """`[value, ...]`."""
        cursor = self.cursor
        cursor.enter()
        cursor.expect("[")
        out = []
        while not cursor.accept("]"):
            out.append(self.attr())
            if cursor.token.text != "]":
                cursor.expect(",")
        cursor.leave()
        return tuple(out)

    def constant(self, token: Token) -> Array:
        """An array that stands beside the text."""
        name = token.text[1:]
        if name not in self.constants:
            raise self.cursor.error(f"constant {token.text} was not given", token, fix="Pass it in `constants`")
        return self.constants[name]

    def number(self) -> float | int | bool:
        """An element of an array: an integer or float with a sign, inf, nan, true or false."""
        cursor = self.cursor
        if cursor.token.text in ("true", "false"):
            return cursor.take().text == "true"
        sign = -1 if cursor.accept("-") else 1
        token = cursor.token
        if is_float(token):
            return sign * float(cursor.take().text)
        if token.kind == "int":
            return sign * int(cursor.take().text)
        raise cursor.wrong("a number")

    def array(self) -> Array:
        """`f32[2, 2](1.0, ...)`, or the bytes, little end first, as hexadecimal digits in a string."""
        cursor = self.cursor
        start = cursor.token
        type = cursor.type()
        if not all(isinstance(d, int) for d in type.shape):
            raise cursor.error("array", start, expected="sizes that are numbers", received=str(type))
        if cursor.token.kind == "string":
            array = self.from_bytes(type, start)
        else:
            cursor.expect("(")
            numbers: list[float | int | bool] = []
            while not cursor.accept(")"):
                numbers.append(self.number())
                if cursor.token.text != ")":
                    cursor.expect(",")
            if len(numbers) != type.size:
                raise cursor.error("array", start, expected=f"{type.size} elements", received=str(len(numbers)))
            array = self.elements(type, numbers, start)
        array = array.reshape(type.concrete({}))
        array.setflags(write=False)
        return array

    def from_bytes(self, type: TensorType, start: Token) -> Array:
        """The elements from hexadecimal digits."""
        digits = self.cursor.string()
        total = product(type.shape) * type.dtype.itemsize
        if not re.fullmatch("(?:[0-9a-f]{2})*", digits) or len(digits) != 2 * total:
            raise self.cursor.error("array", start, expected=f"{total} bytes in hexadecimal")
        return np.frombuffer(bytes.fromhex(digits), type.dtype.to_numpy().newbyteorder("<")).astype(type.dtype.numpy)

    def elements(self, type: TensorType, numbers: list[float | int | bool], start: Token) -> Array:
        """The elements from numbers, which must fit the element type."""
        is_bool = type.dtype.kind == "bool"
        fits = all(isinstance(n, bool) is is_bool and (type.dtype.is_float or isinstance(n, int)) for n in numbers)
        if type.dtype.is_integer:
            limits = np.iinfo(type.dtype.numpy)
            fits = fits and all(limits.min <= n <= limits.max for n in numbers)
        if type.dtype.is_float:
            with np.errstate(over="ignore"):
                array: Array = np.array(list(map(float, numbers)) if fits else [], np.float64).astype(type.dtype.numpy)
            fits = fits and all(np.isfinite(a) or not np.isfinite(n) for a, n in zip(array, numbers, strict=True))
        if not fits:
            raise self.cursor.error("array", start, expected=f"elements of {type.dtype}", received=str(numbers)[:60])
        return array if type.dtype.is_float else np.array(numbers, type.dtype.numpy)


def is_float(token: Token) -> bool:
    """Whether a token is a float without its sign."""
    return token.kind == "float" or token.text in ("inf", "nan")
