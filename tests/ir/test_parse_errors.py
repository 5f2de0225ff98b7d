"""Faults in the text of graphs and kernels: each is reported at its line and column."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from kgraph.errors import ParseError
from kgraph.ir.lexer import MAX_TEXT
from kgraph.ir.loop_parser import parse_kernel
from kgraph.ir.parser import parse
from kgraph.primitives import REGISTRY

HEAD = "graph @g(%x: f32[batch, 3], %y: f32[3]) {\n  "
TAIL = "\n  return %x\n}\n"

# (the second line of a graph, column of the fault in it, words of the message)
LINES = [
    ("%0 = tahn(%x) : f32[batch, 3]", 8, "unknown op 'tahn'. Did you mean 'tanh'?"),
    ("%0 = zzzz(%x) : f32[batch, 3]", 8, "unknown op 'zzzz'"),
    ("%0 = add(%x, %y) : f32[batch, 3]", 8, "operands of one shape"),
    ("%0 = tanh(%x, %x) : f32[batch, 3]", 8, "expected 1 operands, received 2"),
    ("%0 = tanh(%x) {axis=1} : f32[batch, 3]", 8, "attributes"),
    ("%0 = tanh(%x) : f32[batch, 4]", 17, "expected f32[batch, 3], received f32[batch, 4]"),
    ("%0 = tanh(%x) : f64[batch, 3]", 17, "expected f32[batch, 3], received f64[batch, 3]"),
    ("%0 = tanh(%x) : f32[3, batch]", 17, "received f32[3, batch]"),
    ("%0 = tanh(%x) : f32[batch, 3], f32[]", 17, "received f32[batch, 3], f32[]"),
    ("%0, %1 = tanh(%x) : f32[batch, 3]", 3, "expected 1 results, received 2"),
    ("tanh(%x)", -1, "result type: expected f32[batch, 3], received none"),
    ("%0 = tanh(%x)", -1, "expected ':', received 'return'"),
    ("%0 = tanh(%z) : f32[batch, 3]", 13, "%z is not defined"),
    ("%0 = tanh(%0) : f32[batch, 3]", 13, "%0 is not defined"),
    ("%x = tanh(%y) : f32[3]", 3, "%x is defined twice"),
    ("%a, %a = softmax_crossentropy(%x, %x) : f32[batch], f32[batch, 3]", 7, "%a is defined twice"),
    ("%0 = tanh(x) : f32[batch, 3]", 13, "expected a value, received 'x'"),
    ("%0 = tanh %x) : f32[batch, 3]", 13, "expected '(', received '%x'"),
    ("%0 tanh(%x) : f32[batch, 3]", 6, "expected '=', received 'tanh'"),
    ("%0 = tanh(%x) : f33[batch, 3]", 19, "unknown element type 'f33'. Did you mean 'f32'?"),
    ("%0 = tanh(%x) : f32[batch, -3]", 22, "expected sizes >= 0"),
    ("%0 = tanh(%x) : f32[batch 3]", 29, "expected ',', received '3'"),
    ("%0 = tanh(%x) ? f32[batch, 3]", 17, "unexpected character '?'"),
    ("%0 = cast(%x) {dtype=f64 dtype=f64} : f64[batch, 3]", 28, "expected ',', received 'dtype'"),
    ("%0 = cast(%x) {dtype=f64, dtype=f64} : f64[batch, 3]", 29, "attribute dtype is given twice"),
    ("%0 = cast(%x) {dtype=} : f64[batch, 3]", 24, "expected a size, received '}'"),
    ('%0 = cast(%x) {dtype="f64} : f64[batch, 3]', 24, "string without an end"),
    (r'%0 = cast(%x) {dtype="\q"} : f64[batch, 3]', 24, "JSON escapes"),
    ("%0 = constant() {value=#c7} : f64[3]", 26, "constant #c7 was not given. Pass it in `constants`"),
    ("%0 = constant() {value=f32[2](1.0)} : f32[2]", 26, "expected 2 elements, received 1"),
    ("%0 = constant() {value=f32[n](1.0)} : f32[1]", 26, "sizes that are numbers"),
    ("%0 = constant() {value=u8[1](256)} : u8[1]", 26, "elements of u8"),
    ("%0 = constant() {value=i32[1](1.5)} : i32[1]", 26, "elements of i32"),
    ("%0 = constant() {value=bool[1](1)} : bool[1]", 26, "elements of bool"),
    ("%0 = constant() {value=f32[1](1e300)} : f32[1]", 26, "elements of f32"),
    ("%0 = constant() {value=f32[1](true)} : f32[1]", 26, "elements of f32"),
    ('%0 = constant() {value=f32[1]("00")} : f32[1]', 33, "a number"),
    ('%0 = constant() {value=f32[1]"00"} : f32[1]', 26, "4 bytes in hexadecimal"),
    ("%0 = reshape(%y) {shape=[batch//0]} : f32[3]", 33, "expected a divisor >= 1, received 0"),
    ("%0 = reshape(%y) {shape=[batch//n]} : f32[3]", -1, "expected"),
    ("%0 = reshape(%y) {shape=[99999999999999999999]} : f32[3]", 28, "numbers of 64 bits"),
    ("%0 = reshape(%y) {shape=[1, " + "9" * 50 + "]} : f32[3]", 31, "int too long"),
    ("%0 = reshape(%y) {shape=[a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a]} : f32[3]", 59, "size too long"),
    ("%0 = reshape(%y) {shape=" + "[" * 300 + "]" * 300 + "} : f32[3]", 282, "nested too deeply"),
    ("%0 = reshape(%y) {shape=[" + "(" * 300 + "1" + ")" * 300 + "]} : f32[3]", 282, "nested too deeply"),
    ("%0 = reshape(%y) {shape=[" + "-" * 300 + "1]} : f32[3]", 282, "nested too deeply"),
    ("%0 = fusion(%x) {body=graph @b(%a: f32[3]) { return %a }} : f32[3]", 8, "expected operands"),
    ("%0 = fusion(%x) {body=graph @b(%a: f32[3]) { return %x }} : f32[3]", 55, "%x is not defined"),
    ("%0 = tanh(%x) : f32[batch, 3] @ 12", 35, "expected a string, received '12'"),
    ("%0 = tanh(%x) : f32[batch, 3] @ \"l\" \"f\"", -1, "expected ':', received 'return'"),
]  # fmt: skip


@pytest.mark.parametrize("line, column, words", LINES, ids=[f"{n}-{case[2][:30]}" for n, case in enumerate(LINES)])
def test_a_wrong_line_is_reported_where_it_is_wrong(line, column, words):
    with pytest.raises(ParseError) as caught:
        parse(HEAD + line + TAIL, REGISTRY)
    message = str(caught.value)
    where = f"line 2, column {column}: " if column >= 0 else "line 3, column 3: "
    if "batch//n" not in line:
        assert message.startswith(where), message
    assert words in message
    assert "\n" not in message


WHOLE = [
    ("", "line 1, column 1: ", "expected 'graph', received the end of the text"),
    ("graph g() { return }", "line 1, column 7: ", "expected '@'"),
    ("graph @g(%x: f32[], %x: f32[]) { return }", "line 1, column 21: ", "%x is defined twice"),
    ("graph @g(x: f32[]) { return }", "line 1, column 10: ", "expected an input"),
    ("graph @g()\n{\n  %0 = ", "line 3, column 8: ", "expected an op, received the end"),
    ("graph @g() {\n}", "line 2, column 1: ", "expected an op, received '}'"),
    ("graph @g() {\n  return %0\n}", "line 2, column 10: ", "%0 is not defined"),
    ("graph @g() { return }\n\n  graph", "line 3, column 3: ", "expected the end of the text"),
    ("graph @" + "g" * 300 + "() { return }", "line 1, column 8: ", "name too long"),
]


@pytest.mark.parametrize("text, where, words", WHOLE)
def test_a_wrong_graph_is_reported_where_it_is_wrong(text, where, words):
    with pytest.raises(ParseError) as caught:
        parse(text, REGISTRY)
    assert str(caught.value).startswith(where)
    assert words in str(caught.value)


BUFFERS = "kernel @k(%x: f32[n] in, %y: f32[n] out, %s: f32[8] scratch) sizes(n) {\n  "
STATEMENTS = [
    ("for i in 1..n { }", 12, "expected '0', received '1'"),
    ("for i in 0..n { ", -1, "expected a statement, received the end"),
    ("wide for i in 0..n { }", 3, "expected a statement, received 'wide'"),
    ("vector i in 0..n { }", 10, "expected 'for'"),
    ("store %z[0] = 1.0:f32", 9, "%z is not defined"),
    ("store %y[0] = 1.0", -1, "expected ':'"),
    ("store %y[0] = 1.0:f31", 21, "unknown element type 'f31'"),
    ("store %y[0] = ext(%x[0])", 17, "unknown function 'ext'. Did you mean 'exp'?"),
    ("store %y[0] = exp(%x[0], %x[0])", 17, "expected 1 operands, received 2"),
    ("store %y[0] = max(%x[0])", 17, "expected 2 operands, received 1"),
    ("store %y[0] = acc", 17, "local acc is not defined"),
    ("store %y[0] = (%x[0] + )", 26, "expected an expression, received ')'"),
    ("store %y[0] = - %x[0]", 19, "expected a number"),
    ("store %y[0] = %x[1.5]", 20, "expected a size, received '1.5'"),
    ("store %y[0] = " + "(" * 300 + "1:f32" + ")" * 300, 272, "nested too deeply"),
    ("store %y[0] = " + "exp(" * 300 + "1:f32" + ")" * 300, -2, "nested too deeply"),
    ("for i in 0..n { " * 300, -2, "nested too deeply"),
    ("let t: f64 = %x[0]", 10, "type of t: expected f32, received f64"),
    ("for i in 0..n { let t: f32 = 1:f32 } store %y[0] = t", 54, "local t is not defined"),
    ("acc ?= 1:f32", 7, "unexpected character"),
    ("contract a[i in 0..n] = ", 23, "expected ','"),
    ("contract a[i in 0..n, j in 0..n] = %x[] @ %x[] over 0..n using %q { }", 66, "%q is not defined"),
]


@pytest.mark.parametrize("line, column, words", STATEMENTS, ids=[f"{n}-{c[2][:30]}" for n, c in enumerate(STATEMENTS)])
def test_a_wrong_statement_is_reported_where_it_is_wrong(line, column, words):
    with pytest.raises(ParseError) as caught:
        parse_kernel(BUFFERS + line + "\n}\n")
    message = str(caught.value)
    if column > 0:
        assert message.startswith(f"line 2, column {column}: "), message
    assert words in message


@pytest.mark.parametrize(
    "text, where, words",
    [
        ("kernel @k(%x: f32[n]) { }", "line 1, column 21: ", "in, out or scratch"),
        ("kernel @k(%x: f32[n] inout) { }", "line 1, column 22: ", "expected in, out or scratch, received 'inout'"),
        ("kernel @k(%x: f32[] in, %x: f32[] in) { }", "line 1, column 25: ", "%x is defined twice"),
        ("kernel @k() sizes(1) { }", "line 1, column 19: ", "expected a size name"),
        ("kernel @k() { } }", "line 1, column 17: ", "expected the end of the text"),
    ],
)
def test_a_wrong_kernel_is_reported_where_it_is_wrong(text, where, words):
    with pytest.raises(ParseError) as caught:
        parse_kernel(text)
    assert str(caught.value).startswith(where)
    assert words in str(caught.value)


def test_a_note_shows_the_line_with_a_caret():
    with pytest.raises(ParseError) as caught:
        parse(HEAD + "\t%0 = tahn(%x) : f32[batch, 3]" + TAIL, REGISTRY)
    assert caught.value.__notes__ == ["   %0 = tahn(%x) : f32[batch, 3]\n        ^"]


def test_the_note_of_a_long_line_shows_only_what_is_near():
    with pytest.raises(ParseError) as caught:
        parse(HEAD + " " * 5000 + "%0 = tahn(%x) : f32[batch, 3]" + " " * 5000 + TAIL, REGISTRY)
    row, caret = caught.value.__notes__[0].split("\n")
    assert len(row) <= 160
    assert row[caret.index("^") :].startswith("tahn")


def test_a_text_that_is_too_long_is_refused():
    with pytest.raises(ParseError, match="at most 67108864 characters"):
        parse(" " * (MAX_TEXT + 1), REGISTRY)


def test_what_a_text_says_is_never_run():
    for attack in ("__import__('os')", "().__class__", "f32[].__init__", "lambda: 0"):
        with pytest.raises(ParseError):
            parse(HEAD + f"%0 = reshape(%y) {{shape={attack}}} : f32[3]" + TAIL, REGISTRY)


def test_damaged_texts_give_parse_errors_and_nothing_else(rng):
    lines = "%0 = reshape(%y) {shape=[1, 3]} : f32[1, 3]\n  %1 = constant() {value=f32[2](1.0, nan)} : f32[2]"
    good = HEAD + lines + TAIL
    kernel = BUFFERS + "vector for i in 0..n {\n store %y[i] = exp(%x[i]) * 2.0:f32 + cast(index(2*i, u32), f32)\n }\n}"
    parse(good, REGISTRY)
    parse_kernel(kernel)
    for text, read in ((good, lambda t: parse(t, REGISTRY)), (kernel, parse_kernel)):
        for _ in range(400):
            letters = list(text)
            for _ in range(rng.integers(1, 4)):
                at = int(rng.integers(len(letters)))
                match rng.integers(3):
                    case 0:
                        del letters[at]
                    case 1:
                        letters.insert(at, letters[int(rng.integers(len(letters)))])
                    case _:
                        letters[at] = "{}[]()%#@:=,.-+*/0aé\"\\\n"[rng.integers(23)]
            with contextlib.suppress(ParseError):
                read("".join(letters))


def test_a_constant_of_the_wrong_type_is_seen():
    with pytest.raises(ParseError, match=r"expected f32\[4\], received f32\[3\]"):
        parse("graph @g() {\n %0 = constant() {value=#c0} : f32[3]\n return %0\n}", REGISTRY, {"c0": np.zeros(4, "f4")})
