"""Products over windows: text, the verifier's judgement, and the loop interpreter."""

from __future__ import annotations

import numpy as np
import pytest

from kgraph.errors import KgraphError, ParseError, VerifyError
from kgraph.ir.loop_parser import parse_kernel
from kgraph.ir.loop_printer import kernel_to_text
from kgraph.ir.verify import verify_kernel
from kgraph.runtime.loop_interpreter import run_kernel

HEAD = "kernel @k(%x: f32[n, 4, 3] in, %w: f32[2, 3, 5] in, %y: f32[n, 4, 5] out, %s: f32[8] scratch) sizes(n) {\n"
ROWS, OVER = "r as (b in 0..n, i in 0..4)", "(t in 0..2, c in 0..3)"
LEFT, RIGHT = "window(%x[b, i+2*t-1, c])", "window(%w[t, c, j])"
BODY = "store %y[b, i, j] = a"


def text(rows=ROWS, over=OVER, left=LEFT, right=RIGHT, body=BODY, columns="j in 0..5"):
    return f"{HEAD}contract a[{rows}, {columns}] = {left} @ {right} over {over} using %s {{\n{body}\n}}\n}}"


def packed_text(panels="f32[2, 6, 4]", packed="%p"):
    head = HEAD.replace("%y:", f"%p: {panels} in, %y:")
    return text().replace(HEAD, head).replace("using %s", f"using %s, packed {packed}")


def test_text_reads_back():
    kernel = parse_kernel(text())
    verify_kernel(kernel)
    printed = kernel_to_text(kernel)
    assert "contract a[r as (b in 0..n, i in 0..4), j in 0..5] = window(%x[b, -1+i+2*t, c]) @" in printed
    assert "over (t in 0..2, c in 0..3) using %s" in printed
    assert kernel_to_text(parse_kernel(printed)) == printed


def test_a_packed_operand_is_a_part_of_the_text():
    kernel = parse_kernel(packed_text())
    verify_kernel(kernel)
    printed = kernel_to_text(kernel)
    assert "over (t in 0..2, c in 0..3) using %s, packed %p {" in printed
    assert kernel_to_text(parse_kernel(printed)) == printed


@pytest.mark.parametrize("panels", ["f32[1, 6, 4]", "f32[2, 5, 4]", "f32[3, 6, 4]", "f64[2, 6, 4]", "f32[2, 24]"])
def test_a_packed_operand_of_other_sizes_is_a_defect(panels):
    with pytest.raises(VerifyError, match="packed %p: expected f32 in panels of 6 x n columns"):
        verify_kernel(parse_kernel(packed_text(panels)))


def test_the_interpreter_reads_the_operand_itself():
    random = np.random.default_rng(0)
    arrays = {name: random.random(shape, np.float32) for name, shape in (("x", (2, 4, 3)), ("w", (2, 3, 5)))}
    found = []
    for source in (text(), packed_text()):
        y = np.zeros((2, 4, 5), np.float32)
        run_kernel(parse_kernel(source), {**arrays, "y": y}, {"n": 2})
        found.append(y)
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("words, changes", [
    ("window of %x: expected 3 entries, received 2", {"left": "window(%x[b, c])"}),
    ("sizes, loop variables and integer lets in scope, received j", {"left": "window(%x[b, i, j])"}),
    ("sizes, loop variables and integer lets in scope, received i", {"right": "window(%w[t, c, i])"}),
    ("index of %w: expected 0 <= index < 2", {"right": "window(%w[t+1, c, j])"}),
    ("name i", {"over": "(i in 0..2, c in 0..3)"}),
    ("name b", {"rows": "b as (b in 0..n, i in 0..4)"}),
    ("expected an index that differs with i", {"body": "store %y[b, 0, j] = a"}),
    ("expected an index that differs with b", {"body": "store %y[0, i, j] = a"}),
    ("expected a window, received a matrix", {"right": "%w[0]"}),
    ("rows: expected extents with the product", {"rows": "r in 0..8"}),
    ("let and store only", {"body": "for q in 0..4 {\n}"}),
])  # fmt: skip
def test_defects_are_found(words, changes):
    with pytest.raises(VerifyError) as caught:
        verify_kernel(parse_kernel(text(**changes)))
    assert words in str(caught.value)


@pytest.mark.parametrize("changes", [
    {"rows": "r as b in 0..n"}, {"rows": "r as ()"}, {"over": "(t in 0..2 c in 0..3)"}, {"left": "window %x[b, i, c]"},
])  # fmt: skip
def test_broken_text_is_refused(changes):
    with pytest.raises(ParseError):
        parse_kernel(text(**changes))


@pytest.mark.parametrize("old, new", [(", packed %p", " packed %p"), ("packed %p", "packing %p"), ("packed %p", "%p")])
def test_broken_text_of_a_packed_operand_is_refused(old, new):
    with pytest.raises(ParseError):
        parse_kernel(packed_text().replace(old, new))


def test_interpreter_takes_zero_outside_the_first_operand():
    rng = np.random.default_rng(5)
    x, w = (rng.integers(-3, 4, shape).astype(np.float32) for shape in ((2, 4, 3), (2, 3, 5)))
    arrays = {"x": x, "w": w, "y": np.full((2, 4, 5), np.nan, np.float32)}
    run_kernel(parse_kernel(text()), arrays, {"n": 2})
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0)))
    wanted = padded[:, 0:4] @ w[0] + padded[:, 2:6] @ w[1]
    np.testing.assert_array_equal(arrays["y"], wanted)


def test_interpreter_refuses_a_second_operand_that_leads_outside():
    kernel = parse_kernel(text(columns="j in 0..n").replace("%y: f32[n, 4, 5]", "%y: f32[n, 4, n]"))
    arrays = {"x": np.zeros((6, 4, 3), np.float32), "w": np.zeros((2, 3, 5), np.float32)}
    with pytest.raises((AssertionError, KgraphError), match="outside"):
        run_kernel(kernel, {**arrays, "y": np.zeros((6, 4, 6), np.float32)}, {"n": 6})
