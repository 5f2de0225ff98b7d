"""What the texts of graphs and kernels have in common: tokens, names, sizes, types, errors that point into the text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias, TypeVar, cast

from kgraph.errors import ParseError
from kgraph.ir.dims import Dim, DimExpr, symbol
from kgraph.ir.dtypes import ALL, DType
from kgraph.ir.types import TensorType

T = TypeVar("T")
TokenKind: TypeAlias = Literal["value", "float", "int", "name", "string", "constant", "mark", "bad", "end"]

# IR text may come from anywhere: these bound the time and memory that reading it can take.
MAX_TEXT = 1 << 26
MAX_DEPTH = 256
MAX_NAME = 256
MAX_DIGITS = 40
MAX_STRING = 1 << 16
MAX_TERMS = 64
MAX_DEGREE = 16
WIDTH = 110  # longer headings are broken

DTYPES: dict[str, DType] = {d.name: d for d in ALL}
# Words with a meaning of their own where a size or a local may stand.
RESERVED = frozenset(DTYPES) | {"true", "false", "inf", "nan"}
# Hints and names that can be written as they are; others are numbered (hints) or quoted (names).
VALUE_NAME = re.compile(r"[^\W\d]\w*(?:[./-]\w+)*")
PLAIN_NAME = re.compile(r"[^\W\d]\w*")

# `//` is a floor division where it stands, without spaces, between an operand and a digit; otherwise a comment.
_TOKEN = re.compile(
    r"""
    \s+ | (?<![\w)])//[^\n]* | //(?![0-9])[^\n]*
    |(?P<value>%(?:[0-9]+|[^\W\d]\w*(?:[./-]\w+)*))
    |(?P<float>[0-9]+(?:\.[0-9]+(?:e[+-]?[0-9]+)?|e[+-]?[0-9]+))
    |(?P<int>[0-9]+)
    |(?P<name>[^\W\d]\w*)
    |(?P<string>"(?:[^"\\\n]|\\.)*")
    |(?P<constant>\#\w+)
    |(?P<mark>\.\.|\+=|\*=|//|[-+*/(){}\[\],:=@])
    |(?P<bad>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_LIMITS: dict[str, int] = {
    "value": MAX_NAME, "name": MAX_NAME, "constant": MAX_NAME,
    "int": MAX_DIGITS, "float": MAX_DIGITS, "string": MAX_STRING, "mark": MAX_NAME,
}  # fmt: skip


class Token(NamedTuple):
    """A piece of the text and where it starts."""

    kind: TokenKind
    text: str
    start: int


def title(name: str) -> str:
    """The name of a graph or kernel after its `@`."""
    return f"@{name}" if PLAIN_NAME.fullmatch(name) else f"@{quoted(name)}"


def quoted(text: str) -> str:
    """A string with JSON's escapes."""
    return json.dumps(text, ensure_ascii=False)


def heading(head: str, items: Sequence[str], indent: str) -> str:
    """`head(item, ...)`; one item a line where one line would be too long."""
    line = f"{head}({', '.join(items)})"
    if len(line) <= WIDTH:
        return line
    return f"{head}(\n" + "".join(f"{indent}    {item},\n" for item in items) + f"{indent})"


def error_at(text: str, start: int, what: str, *, expected: str = "", received: str = "", fix: str = "") -> ParseError:
    """A ParseError that names line and column (both from 1) of a position; a note shows the line with a caret."""
    line = text.count("\n", 0, start) + 1
    begin = text.rfind("\n", 0, start) + 1
    end = text.find("\n", start)
    row = text[begin : len(text) if end < 0 else end].replace("\t", " ")
    column = start - begin
    where = f"line {line}, column {column + 1}: {what}"
    error = ParseError(where, expected=expected, received=received, fix=fix)
    cut = max(0, column - 80)
    error.add_note(f"{row[cut : cut + 160]}\n{' ' * (column - cut)}^")
    return error


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint with the nearest known name; empty if none is near."""
    import difflib

    near = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean {near[0]!r}?" if near else ""


def tokenize(text: str) -> list[Token]:
    """The tokens of a text, ended by one of kind "end"; ParseError for characters that start no token."""
    if len(text) > MAX_TEXT:
        raise ParseError("IR text", expected=f"at most {MAX_TEXT} characters", received=str(len(text)))
    tokens: list[Token] = []
    for match in _TOKEN.finditer(text):
        kind = cast("TokenKind | None", match.lastgroup)
        if kind is None:
            continue
        word, start = match[0], match.start()
        if kind == "bad":
            what = "string without an end" if word == '"' else f"unexpected character {word!r}"
            raise error_at(text, start, what)
        if len(word) > 40 and len(word) > _LIMITS[kind]:
            raise error_at(text, start, f"{kind} too long", expected=f"at most {_LIMITS[kind]} characters")
        tokens.append(Token(kind, word, start))
    tokens.append(Token("end", "", len(text)))
    return tokens


class Cursor:
    """A position in a token list, with what both levels of the IR read: names, strings, sizes, types."""

    def __init__(self, text: str) -> None:
        """Start at the first token of `text`."""
        self.text = text
        self.tokens = tokenize(text)
        self.at = 0
        self.depth = 0

    @property
    def token(self) -> Token:
        """The token that comes next."""
        return self.tokens[self.at]

    @property
    def ahead(self) -> Token:
        """The token after the next one."""
        return self.tokens[min(self.at + 1, len(self.tokens) - 1)]

    def error(
        self, what: str, at: Token | None = None, *, expected: str = "", received: str = "", fix: str = ""
    ) -> ParseError:
        """An error that points at a token; at the next one if none is given."""
        start = (at or self.token).start
        return error_at(self.text, start, what, expected=expected, received=received, fix=fix)

    def take(self) -> Token:
        """Step over the next token."""
        token = self.tokens[self.at]
        if token.kind != "end":
            self.at += 1
        return token

    def accept(self, text: str) -> bool:
        """Step over the next token if it reads `text`."""
        if self.tokens[self.at].text != text:
            return False
        self.at += 1
        return True

    def expect(self, text: str) -> Token:
        """Step over the next token, which must read `text`."""
        if self.tokens[self.at].text != text:
            raise self.wrong(repr(text))
        return self.take()

    def expect_kind(self, kind: TokenKind, meaning: str) -> Token:
        """Step over the next token, which must be of this kind; `meaning` says for errors what it stands for."""
        if self.tokens[self.at].kind != kind:
            raise self.wrong(meaning)
        return self.take()

    def wrong(self, expected: str) -> ParseError:
        """The error for a next token that does not fit."""
        token = self.token
        received = "the end of the text" if token.kind == "end" else repr(token.text[:40])
        return self.error("syntax", expected=expected, received=received)

    def whole(self, read: Callable[[], T]) -> T:
        """What `read` makes of the text, of which nothing may be left."""
        try:
            result = read()
        except RecursionError:  # the caller's own stack left too little room
            raise self.error("nested too deeply") from None
        if self.token.kind != "end":
            raise self.wrong("the end of the text")
        return result

    def enter(self) -> None:
        """One level deeper; the caller leaves it with `leave`."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error("nested too deeply", expected=f"at most {MAX_DEPTH} levels")

    def leave(self) -> None:
        """Back from a level."""
        self.depth -= 1

    def string(self) -> str:
        """A string in double quotes, with JSON's escapes."""
        token = self.expect_kind("string", "a string")
        try:
            value = json.loads(token.text)
        except ValueError:
            raise self.error("string", token, expected="JSON escapes", received=token.text[:40]) from None
        assert isinstance(value, str)
        return value

    def title(self) -> str:
        """The name after `@`, plain or as a string."""
        self.expect("@")
        return self.string() if self.token.kind == "string" else self.expect_kind("name", "a name").text

    def integer(self) -> int:
        """A number of digits without a sign."""
        return int(self.expect_kind("int", "an integer").text)

    def dtype(self) -> DType:
        """An element type by its short name."""
        token = self.expect_kind("name", "an element type")
        if token.text not in DTYPES:
            raise self.error(f"unknown element type {token.text!r}", token, fix=did_you_mean(token.text, DTYPES))
        return DTYPES[token.text]

    def type(self) -> TensorType:
        """A tensor type such as `f32[batch, 10]`."""
        dtype = self.dtype()
        start = self.expect("[")
        shape = self.dims("]")
        if any(isinstance(d, int) and d < 0 for d in shape):
            raise self.error("shape", start, expected="sizes >= 0", received=str(list(shape)))
        return TensorType(dtype, shape)

    def dims(self, close: str) -> tuple[Dim, ...]:
        """Sizes separated by commas, up to `close`."""
        out: list[Dim] = []
        while not self.accept(close):
            out.append(self.dim())
            if self.token.text != close:
                self.expect(",")
        return tuple(out)

    def dim(self) -> Dim:
        """A size: a sum of products, with `//` of equal rank to `*`."""
        self.enter()
        total = self._product()
        while self.token.text in ("+", "-"):
            sign = self.take()
            right = self._product()
            total = self._bounded(total + right if sign.text == "+" else total - right, sign)
        self.leave()
        return total

    def _product(self) -> Dim:
        total = self._factor()
        while self.token.text in ("*", "//"):
            sign = self.take()
            if sign.text == "*":
                total = total * self._factor()
            else:
                divisor = self.integer()
                if divisor < 1:
                    raise self.error("floor division", sign, expected="a divisor >= 1", received=str(divisor))
                total = total // divisor
            total = self._bounded(total, sign)
        return total

    def _factor(self) -> Dim:
        token = self.token
        if token.kind == "int":
            self.at += 1
            return self._bounded(int(token.text), token)
        if token.kind == "name" and token.text not in RESERVED:
            self.at += 1
            return symbol(token.text)
        if token.text == "(":
            self.at += 1
            inner = self.dim()
            self.expect(")")
            return inner
        if token.text == "-":
            self.at += 1
            self.enter()
            inner = self._factor()
            self.leave()
            return -1 * inner
        raise self.wrong("a size")

    def _bounded(self, dim: Dim, at: Token) -> Dim:
        terms = dim.terms if isinstance(dim, DimExpr) else (((), dim),)
        if len(terms) > MAX_TERMS or any(len(m) > MAX_DEGREE for m, _ in terms):
            raise self.error("size too long", at, expected=f"at most {MAX_TERMS} terms of degree {MAX_DEGREE}")
        if any(not -(1 << 63) <= factor < 1 << 63 for _, factor in terms):
            raise self.error("size too large", at, expected="numbers of 64 bits")
        return dim
