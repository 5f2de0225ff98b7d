"""The right loop becomes the vector loop, and none where iterations depend on each other."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_samples import assert_same_meaning

from kgraph.compiler.analysis.kernels import statements
from kgraph.compiler.loops.vectorize import vectorize
from kgraph.ir.dims import symbol
from kgraph.ir.dtypes import f32
from kgraph.ir.loop_parser import parse_kernel
from kgraph.ir.loops import Accumulate, For, Init, Kernel, Let, Stmt, Store
from kgraph.ir.scalar import Buffer, Load, Local, call, const
from kgraph.ir.verify import verify_kernel

i, j, k, n, m = (symbol(name) for name in "ijknm")
X = Buffer("x", f32, (n, m), "in")
ROW = Buffer("row", f32, (m,), "in")
Y = Buffer("y", f32, (n, m), "out")
SUMS = Buffer("sums", f32, (n,), "out")
CHAIN = Buffer("chain", f32, (m + 1,), "out")
DOUBLED = call("add", Load(X, (i, j)), Load(X, (i, j)))


def kernel_of(*body: Stmt) -> Kernel:
    return Kernel("sample", (X, ROW, Y, SUMS, CHAIN), ("n", "m"), body)


def pair(body: tuple[Stmt, ...], inner: str = "parallel", outer: str = "parallel") -> Kernel:
    return kernel_of(For("i", n, outer, (For("j", m, inner, body),)))


def vector_loops(kernel: Kernel) -> list[str]:
    return [s.var for s in statements(kernel.body) if isinstance(s, For) and s.kind == "vector"]


SUM = (Init("s", const(0, f32)), For("j", m, "serial", (Accumulate("s", "add", Load(X, (i, j))),)))
READ_BACK = (Accumulate("s", "add", Load(X, (i, j))), Store(Y, (i, j), Local("s", f32)))
CARRIED = For("i", n, "serial", (Init("s", const(0, f32)), For("j", m, "serial", READ_BACK)))
COLUMN_SUM = (Init("s", const(0, f32)), For("i", n, "serial", (Accumulate("s", "add", Load(X, (i, j))),)))
CASES = [
    ("innermost", pair((Store(Y, (i, j), DOUBLED),)), ["j"]),
    ("innermost_serial", pair((Store(Y, (i, j), DOUBLED),), "serial", "serial"), ["j"]),
    ("row_sum", kernel_of(For("i", n, "parallel", (*SUM, Store(SUMS, (i,), Local("s", f32))))), ["j"]),
    ("column_sum", kernel_of(For("j", m, "parallel", (*COLUMN_SUM, Store(CHAIN, (j,), Local("s", f32))))), ["j"]),
    ("outer", kernel_of(For("j", m, "parallel", (For("i", n, "parallel", (Store(Y, (i, j), DOUBLED),)),))), ["j"]),
    ("carried_by_a_sum", kernel_of(CARRIED), []),
    ("carried_by_memory",
     kernel_of(For("j", m, "serial", (Store(CHAIN, (j + 1,), call("add", Load(CHAIN, (j,)), Load(ROW, (j,)))),))), []),
    ("done", pair((Store(Y, (i, j), DOUBLED),), "vector"), ["j"]),
    ("one_round", kernel_of(For("j", 1, "parallel", (Store(CHAIN, (j,), const(1, f32)),))), []),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kernel", "expected"), CASES, ids=[c[0] for c in CASES])
def test_the_best_loop_is_chosen(name, kernel: Kernel, expected: list[str], rng: np.random.Generator):
    verify_kernel(kernel)
    result = vectorize(kernel)
    verify_kernel(result)
    assert vector_loops(result) == expected
    assert (result is kernel) == (vector_loops(kernel) == expected)
    for sizes in ({"n": 3, "m": 5}, {"n": 1, "m": 1}):
        assert_same_meaning(kernel, result, sizes, rng)


def test_each_nest_gets_its_own_vector_loop():
    first = For("i", n, "parallel", (For("j", m, "parallel", (Store(Y, (i, j), DOUBLED),)),))
    second = For("j", m, "parallel", (Let("v", Load(ROW, (j,))), Store(CHAIN, (j,), Local("v", f32))))
    assert vector_loops(vectorize(kernel_of(first, second))) == ["j", "j"]


def test_a_chosen_outer_loop_holds_serial_loops_only():
    turned = Buffer("turned", f32, (m, n), "in")
    body = (Store(Y, (i, j), Load(turned, (j, i))), Store(SUMS, (i,), const(0, f32)))
    nest = For("i", n, "parallel", (For("j", m, "serial", body[:1]), body[1]))
    kernel = Kernel("sample", (turned, Y, SUMS), ("n", "m"), (nest,))
    result = vectorize(kernel)
    verify_kernel(result)
    assert len(vector_loops(result)) == 1


DATA = {
    # The place that j reads follows from an id: only the rows of an independent loop may run at once.
    "columns": (
        "parallel for i in 0..8 {\nfor j in 0..8 {\nlet r: i32 = %ids[j]\nstore %y[i, j] = %x[i, r]\n}\n}", "i"
    ),
    "rows": ("for i in 0..8 {\nlet r: i32 = %ids[i]\nfor j in 0..8 {\nstore %y[i, j] = %x[r, j]\n}\n}", "j"),
    "scattered": ("for i in 0..8 {\nlet r: i32 = %ids[i]\nstore %y[0, r] = %x[0, i]\n}", ""),
    "of another let": (
        "for j in 0..8 {\nlet r: i32 = %ids[j] + 1:i32\nlet q: i32 = r * 0:i32\nstore %y[q, j] = 1:f32\n}", ""
    ),
    "rounds": ("parallel for i in 0..8 {\nlet e: i32 = %ids[i]\nfor p in 0..e {\nstore %y[i, p] = 1:f32\n}\n}", "p"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), DATA.values(), ids=DATA)
def test_rounds_that_differ_in_an_index_of_data_do_not_run_at_once(body, expected, rng: np.random.Generator):
    kernel = parse_kernel(f"kernel @k(%x: f32[8, 8] in, %ids: i32[8] in, %y: f32[8, 8] out) {{\n{body}\n}}")
    verify_kernel(kernel)
    result = vectorize(kernel)
    verify_kernel(result)
    assert vector_loops(result) == list(expected)
    assert_same_meaning(kernel, result, {}, rng)
