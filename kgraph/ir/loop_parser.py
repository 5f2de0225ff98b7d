"""Reads the text form of kernels."""

from __future__ import annotations

from typing import Literal, cast

from kgraph.ir.dims import Dim, product
from kgraph.ir.dtypes import DType, bool_
from kgraph.ir.lexer import Cursor, Token, did_you_mean
from kgraph.ir.loop_printer import COMBINES, INFIX
from kgraph.ir.loops import (
    Accumulate,
    Combine,
    Contract,
    For,
    Init,
    Kernel,
    Let,
    LoopKind,
    Matrix,
    Ranges,
    Stmt,
    Store,
    Window,
)
from kgraph.ir.scalar import FUNCTIONS, Buffer, Call, Const, Expr, IndexValue, Load, Local

_SIGNS = {sign: (function, binds) for function, (sign, binds) in INFIX.items()}
_MARKS = {mark: combine for combine, mark in COMBINES.items()}
_ROLES = ("in", "out", "scratch")
_KINDS = ("parallel", "vector", "unroll")


def parse_kernel(text: str) -> Kernel:
    """The kernel that a text describes; the verifier, not the parser, judges what it means.

    Spaces and line ends are free; `//` starts a comment.

    Raises:
        ParseError: with line and column; a note shows the line.
    """
    reader = _Reader(text)
    return reader.cursor.whole(reader.kernel)


class _Reader:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str) -> None:
        self.cursor = Cursor(text)
        self.buffers: dict[str, Buffer] = {}
        self.locals: dict[str, DType] = {}

    def kernel(self) -> Kernel:
        """`kernel @name(%x: type role, ...) sizes(n, ...) { statements }`."""
        cursor = self.cursor
        cursor.expect("kernel")
        name = cursor.title()
        cursor.expect("(")
        buffers = []
        while not cursor.accept(")"):
            buffers.append(self.parameter())
            if cursor.token.text != ")":
                cursor.expect(",")
        sizes = []
        if cursor.accept("sizes"):
            cursor.expect("(")
            while not cursor.accept(")"):
                sizes.append(cursor.expect_kind("name", "a size name").text)
                if cursor.token.text != ")":
                    cursor.expect(",")
        return Kernel(name, tuple(buffers), tuple(sizes), self.block())

    def parameter(self) -> Buffer:
        """`%x: f32[batch, 3] in`."""
        cursor = self.cursor
        token = cursor.expect_kind("value", "a buffer")
        if token.text in self.buffers:
            raise cursor.error(f"{token.text} is defined twice", token)
        cursor.expect(":")
        type = cursor.type()
        if cursor.token.text not in _ROLES:
            raise cursor.wrong("in, out or scratch")
        role = cast(Literal["in", "out", "scratch"], cursor.take().text)
        buffer = Buffer(token.text[1:], type.dtype, type.shape, role)
        self.buffers[token.text] = buffer
        return buffer

    def buffer(self) -> Buffer:
        """A known buffer."""
        token = self.cursor.expect_kind("value", "a buffer")
        if token.text not in self.buffers:
            raise self.cursor.error(f"{token.text} is not defined", token, fix=did_you_mean(token.text, self.buffers))
        return self.buffers[token.text]

    def block(self) -> tuple[Stmt, ...]:
        """`{ statements }`; the locals it starts end with it."""
        self.cursor.enter()
        outer = dict(self.locals)
        self.cursor.expect("{")
        body = []
        while not self.cursor.accept("}"):
            body.append(self.stmt())
        self.locals = outer
        self.cursor.leave()
        return tuple(body)

    def stmt(self) -> Stmt:
        """One statement with what is inside it."""
        cursor = self.cursor
        token = cursor.token
        if self.starts_accumulate():
            return self.accumulate()
        if token.text in _KINDS or token.text == "for":
            return self.loop()
        if token.text in ("let", "init"):
            return self.local()
        if cursor.accept("store"):
            buffer, index = self.buffer(), self.index()
            cursor.expect("=")
            return Store(buffer, index, self.expr())
        if token.text == "contract":
            return self.contract()
        raise cursor.wrong("a statement")

    def starts_accumulate(self) -> bool:
        """Whether a name and `+=`, or a name, a word and `=` come next."""
        token, ahead = self.cursor.token, self.cursor.ahead
        if token.kind != "name":
            return False
        return ahead.text in _MARKS or (
            f"{ahead.text}=" in _MARKS and self.cursor.tokens[self.cursor.at + 2].text == "="
        )

    def accumulate(self) -> Accumulate:
        """`acc += value`, `acc max= value`."""
        cursor = self.cursor
        name = cursor.take().text
        mark = cursor.take()
        if mark.kind == "name":
            cursor.expect("=")
        combine = cast(Combine, _MARKS[mark.text if mark.kind == "mark" else f"{mark.text}="])
        return Accumulate(name, combine, self.expr())

    def loop(self) -> For:
        """`vector for i in 0..extent { body }`; a loop without a kind is serial."""
        cursor = self.cursor
        kind = "serial" if cursor.token.text == "for" else cursor.take().text
        cursor.expect("for")
        var, extent = self.range()
        return For(var, extent, cast(LoopKind, kind), self.block())

    def range(self) -> tuple[str, Dim]:
        """`i in 0..extent`."""
        var = self.cursor.expect_kind("name", "a loop variable").text
        self.cursor.expect("in")
        return var, self.extent()

    def extent(self) -> Dim:
        """`0..extent`."""
        self.cursor.expect("0")
        self.cursor.expect("..")
        return self.cursor.dim()

    def local(self) -> Let | Init:
        """`let t: f32 = value`, `init acc: f32 = value`."""
        cursor = self.cursor
        word = cursor.take().text
        name = cursor.expect_kind("name", "a local").text
        cursor.expect(":")
        start = cursor.token
        dtype = cursor.dtype()
        cursor.expect("=")
        value = self.expr()
        if value.dtype is not dtype:
            raise cursor.error(f"type of {name}", start, expected=str(value.dtype), received=str(dtype))
        self.locals[name] = dtype
        return Let(name, value) if word == "let" else Init(name, value)

    def contract(self) -> Contract:
        """`contract acc[i in 0..m, j in 0..n] = %a[] @ transpose(%b[]) over 0..k using %s { body }`.

        With windows: `contract acc[i as (y in 0..h, x in 0..w), j in 0..n] = window(%a[y+u, x, p]) @
        window(%b[u, p, j]) over (u in 0..3, p in 0..c) using %s, packed %p { body }`, if b was packed into %p.
        """
        cursor = self.cursor
        cursor.expect("contract")
        acc = cursor.expect_kind("name", "a local").text
        cursor.expect("[")
        row, m, rows = self.rows()
        cursor.expect(",")
        col, n = self.range()
        cursor.expect("]")
        cursor.expect("=")
        a = self.matrix()
        cursor.expect("@")
        b = self.matrix()
        cursor.expect("over")
        over = self.ranges() if cursor.token.text == "(" else ()
        k = product(tuple(extent for _, extent in over)) if over else self.extent()
        cursor.expect("using")
        scratch, packed = self.buffer(), None
        if cursor.accept(","):
            cursor.expect("packed")
            packed = self.buffer()
        outer = dict(self.locals)
        self.locals[acc] = a.buffer.dtype
        body = self.block()
        self.locals = outer
        return Contract(row, col, m, n, k, a, b, acc, scratch, body, rows, over, packed)

    def rows(self) -> tuple[str, Dim, Ranges]:
        """`i in 0..m` or `i as (y in 0..h, x in 0..w)`."""
        if self.cursor.ahead.text != "as":
            return *self.range(), ()
        var = self.cursor.expect_kind("name", "a loop variable").text
        self.cursor.expect("as")
        rows = self.ranges()
        return var, product(tuple(extent for _, extent in rows)), rows

    def ranges(self) -> Ranges:
        """`(y in 0..h, x in 0..w)`."""
        self.cursor.expect("(")
        found = [self.range()]
        while not self.cursor.accept(")"):
            self.cursor.expect(",")
            found.append(self.range())
        return tuple(found)

    def matrix(self) -> Matrix | Window:
        """`%a[batch]`, `transpose(%a[batch])` or `window(%a[index])`."""
        if self.cursor.accept("window"):
            self.cursor.expect("(")
            window = Window(self.buffer(), self.index())
            self.cursor.expect(")")
            return window
        transposed = self.cursor.accept("transpose")
        if transposed:
            self.cursor.expect("(")
        matrix = Matrix(self.buffer(), self.index(), transposed)
        if transposed:
            self.cursor.expect(")")
        return matrix

    def index(self) -> tuple[Dim, ...]:
        """`[i, 2*j+1]`."""
        self.cursor.expect("[")
        return self.cursor.dims("]")

    def expr(self, binds: int = 1) -> Expr:
        """Operands joined by signs that bind at least as strongly as `binds`."""
        cursor = self.cursor
        cursor.enter()
        left = self.operand()
        while cursor.token.text in _SIGNS and _SIGNS[cursor.token.text][1] >= binds:
            function, own = _SIGNS[cursor.take().text]
            left = Call(function, (left, self.expr(own + 1)), left.dtype)
        cursor.leave()
        return left

    def operand(self) -> Expr:
        """A load, literal, local, call, or an expression in parentheses."""
        cursor = self.cursor
        token, ahead = cursor.token, cursor.ahead
        if token.kind == "value":
            return Load(self.buffer(), self.index())
        if cursor.accept("("):
            inner = self.expr()
            cursor.expect(")")
            return inner
        if token.kind in ("int", "float") or token.text in ("-", "inf", "nan", "true", "false"):
            return self.literal()
        if token.kind != "name":
            raise cursor.wrong("an expression")
        return self.call() if ahead.text == "(" else self.name()

    def name(self) -> Local:
        """A local; one that is not in scope shows its type."""
        cursor = self.cursor
        token = cursor.take()
        if cursor.accept(":"):
            return Local(token.text, cursor.dtype())
        if token.text not in self.locals:
            raise cursor.error(f"local {token.text} is not defined", token, fix=did_you_mean(token.text, self.locals))
        return Local(token.text, self.locals[token.text])

    def literal(self) -> Const:
        """`0.5:f32`, `-3:i32`, `-inf:f32`, `true`."""
        cursor = self.cursor
        if cursor.token.text in ("true", "false"):
            truth = cursor.take().text == "true"
            return Const(truth, cursor.dtype() if cursor.accept(":") else bool_)
        sign = -1 if cursor.accept("-") else 1
        token = cursor.token
        if token.kind not in ("int", "float") and token.text not in ("inf", "nan"):
            raise cursor.wrong("a number")
        cursor.take()
        cursor.expect(":")
        number = int(token.text) if token.kind == "int" else float(token.text)
        return Const(sign * number, cursor.dtype())

    def call(self) -> Expr:
        """`exp(x)`, `cast(x, f32)`, `index(2*i, u32)`."""
        cursor = self.cursor
        head = cursor.take()
        cursor.expect("(")
        if head.text == "index":
            index = cursor.dim()
            return IndexValue(index, self.last_dtype())
        args: list[Expr] = []
        while not cursor.accept(")"):
            args.append(self.expr())
            if head.text == "cast":
                return Call("cast", tuple(args), self.last_dtype())
            if cursor.token.text != ")":
                cursor.expect(",")
        return self.function(head, tuple(args))

    def last_dtype(self) -> DType:
        """`, f32)`."""
        self.cursor.expect(",")
        dtype = self.cursor.dtype()
        self.cursor.expect(")")
        return dtype

    def function(self, head: Token, args: tuple[Expr, ...]) -> Call:
        """A scalar function of the operands read before, with its result type."""
        if head.text not in FUNCTIONS:
            fix = did_you_mean(head.text, [*FUNCTIONS, "cast", "index"])
            raise self.cursor.error(f"unknown function {head.text!r}", head, fix=fix)
        entry = FUNCTIONS[head.text]
        if len(args) != entry.arity:
            raise self.cursor.error(head.text, head, expected=f"{entry.arity} operands", received=str(len(args)))
        dtype = {"same": args[0].dtype, "bool": bool_, "second": args[-1].dtype}[entry.result]
        return Call(head.text, args, dtype)
