"""Which statements of a kernel are divided among threads."""

from __future__ import annotations

import pytest

from kgraph.compiler.analysis.partition import split_statements, work
from kgraph.ir.loop_parser import parse_kernel
from kgraph.ir.verify import verify_kernel

HEAD = "kernel @k(%x: f32[8, 8] in, %w: f32[8, 8] in, %y: f32[8, 8] out, %z: f32[8, 8] out, %s: f32[64] scratch) {\n"
ROWS = "parallel for {0} in 0..8 {{\n store %{1}[{0}, 0] = %{2}[{0}, 0]\n}}\n"
PRODUCT = "contract a[r in 0..8, c in 0..8] = %{0}[] @ %w[] over 0..8 using %s {{\n store %{1}[r, c] = a\n}}\n"


def divided(body):
    """Number of statements that are divided."""
    kernel = parse_kernel(HEAD + body + "}")
    verify_kernel(kernel)
    found = split_statements(kernel)
    assert (work(kernel) != 0) == bool(found)
    return len(found)


@pytest.mark.parametrize("body, count", [
    (ROWS.format("i", "y", "x"), 1),
    (PRODUCT.format("x", "y"), 1),
    ("let t: f32 = 1:f32\n" + PRODUCT.format("x", "y"), 1),
    (PRODUCT.format("x", "y") + ROWS.format("i", "z", "x"), 2),
    (PRODUCT.format("x", "y") + PRODUCT.format("x", "z").replace("a", "b").replace("contrbct", "contract"), 2),
    # the second statement reads what the first one writes
    (ROWS.format("i", "y", "x") + ROWS.format("j", "z", "y"), 0),
    (ROWS.format("i", "y", "x") + PRODUCT.format("y", "z"), 0),
    # a part alone cannot do a serial loop, a sum, or a single store
    (ROWS.format("i", "y", "x").replace("parallel ", ""), 0),
    (ROWS.format("i", "y", "x") + "store %z[0, 0] = 1:f32\n", 0),
    ("init t: f32 = 0:f32\nvector for i in 0..8 {\n t += %x[0, i]\n}\nstore %y[0, 0] = t\n", 0),
    ("parallel for i in 0..1 {\n store %y[0, 0] = 1:f32\n}\n", 0),
])  # fmt: skip
def test_only_independent_statements_are_divided(body, count):
    assert divided(body) == count
