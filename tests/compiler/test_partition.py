"""Which statements of a kernel are divided among threads."""

from __future__ import annotations

import pytest
from op_samples import graph_of_sample, samples_of

from kgraph.compiler.analysis.partition import divide, work
from kgraph.compiler.lower import lower
from kgraph.ir.loop_parser import parse_kernel
from kgraph.ir.verify import verify_kernel
from kgraph.primitives import REGISTRY

HEAD = (
    "kernel @k(%x: f32[8, 8] in, %w: f32[8, 8] in, %d: i32[8] in, %y: f32[8, 8] out, %z: f32[8, 8] out, "
    "%s: f32[64] scratch) {\n"
)
ROWS = "parallel for {0} in 0..8 {{\n store %{1}[{0}, 0] = %{2}[{0}, 0]\n}}\n"
PRODUCT = "contract a[r in 0..8, c in 0..8] = %{0}[] @ %w[] over 0..8 using %s {{\n store %{1}[r, c] = a\n}}\n"


def divided(body):
    """Number of statements that are divided."""
    kernel = parse_kernel(HEAD + body + "}")
    verify_kernel(kernel)
    found = divide(kernel).statements
    assert (work(kernel) != 0) == bool(found)
    return len(found)


@pytest.mark.parametrize("body, count", [
    (ROWS.format("i", "y", "x"), 1),
    (PRODUCT.format("x", "y"), 1),
    ("let t: f32 = 1:f32\n" + PRODUCT.format("x", "y"), 1),
    (PRODUCT.format("x", "y") + ROWS.format("i", "z", "x"), 2),
    (PRODUCT.format("x", "y") + PRODUCT.format("x", "z").replace("a", "b").replace("contrbct", "contract"), 2),
    # the second statement reads other rows of what the first one writes
    (ROWS.format("i", "y", "x") + ROWS.format("j", "z", "y").replace("y[j, 0]", "y[0, j]"), 0),
    (ROWS.format("i", "y", "x") + PRODUCT.format("y", "z").replace("%y[] @ %w[]", "transpose(%y[]) @ %w[]"), 0),
    (ROWS.format("i", "y", "x") + PRODUCT.format("x", "z").replace("@ %w[]", "@ %y[]"), 0),
    # data in an extent and in an index
    ("let f: i32 = %d[0]\nparallel for i in 0..8 {\n let e: i32 = %d[i]\n for p in 0..e {\n store %y[i, p] = %x[f, p]\n"
     "}\n}\n", 1),
    # a part alone cannot do a serial loop, a sum, or a single store
    (ROWS.format("i", "y", "x").replace("parallel ", ""), 0),
    (ROWS.format("i", "y", "x") + "store %z[0, 0] = 1:f32\n", 0),
    ("init t: f32 = 0:f32\nvector for i in 0..8 {\n t += %x[0, i]\n}\nstore %y[0, 0] = t\n", 0),
    ("parallel for i in 0..1 {\n store %y[0, 0] = 1:f32\n}\n", 0),
])  # fmt: skip
def test_only_independent_statements_are_divided(body, count):
    assert divided(body) == count


STEPS = "for t in 0..4 {{\n {0} {1} }}\n"


@pytest.mark.parametrize("body, count", [
    (ROWS.format("i", "y", "x") + ROWS.format("j", "z", "y"), 2),
    (ROWS.format("i", "y", "x") + PRODUCT.format("y", "z"), 2),
    (ROWS.format("q", "z", "x") + STEPS.format(PRODUCT.format("z", "y"), ROWS.format("i", "z", "y")), 3),
    # another row is read, another number of rows, or a step that is no matter of rows
    (ROWS.format("i", "y", "x") + ROWS.format("j", "z", "y").replace("y[j, 0]", "y[0, 0]"), 0),
    (ROWS.format("i", "y", "x") + ROWS.format("j", "z", "y").replace("0..8", "0..4"), 0),
    (STEPS.format(PRODUCT.format("z", "y"), ROWS.format("i", "z", "y") + "store %z[0, 1] = 1:f32\n"), 0),
    (STEPS.format("let a0: f32 = %z[0, 0]\n", ROWS.format("i", "z", "y")), 0),
])  # fmt: skip
def test_rows_that_depend_on_themselves_alone_are_divided_once_for_all_statements(body, count):
    kernel = parse_kernel(HEAD + body + "}")
    verify_kernel(kernel)
    found = divide(kernel)
    assert (len(found.statements), found.rows, work(kernel) != 0) == (count, 8 if count else None, count > 0)


@pytest.mark.parametrize("name", ["lstm_sequence", "lstm_sequence_adjoint", "gru_sequence", "gru_sequence_adjoint"])
def test_threads_divide_the_rows_of_sequences(name):
    op = REGISTRY[name]
    graph = graph_of_sample(op, samples_of(op)[5])
    (call,) = lower(graph, lambda kind, dtype, sizes: 64)
    assert divide(call.kernel).rows == 13
