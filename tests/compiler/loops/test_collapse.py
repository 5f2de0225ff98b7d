"""Joined loops compute the same, and only loops that may be joined are."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_samples import assert_same_meaning

from kgraph.compiler.analysis.kernels import buffers_of, statements
from kgraph.compiler.loops.collapse import collapse
from kgraph.ir.dims import Dim, symbol
from kgraph.ir.dtypes import f32, i32, u32
from kgraph.ir.loop_parser import parse_kernel
from kgraph.ir.loops import Accumulate, Contract, For, Init, Kernel, Matrix, Stmt, Store
from kgraph.ir.scalar import Buffer, Expr, IndexValue, Load, Local, call, cast, const
from kgraph.ir.verify import verify_kernel

i, j, k, n, m, p = (symbol(name) for name in "ijknmp")
X = Buffer("x", f32, (n, m, p), "in")
ROW = Buffer("row", f32, (p,), "in")
COLUMN = Buffer("column", f32, (n,), "in")
MIDDLE = Buffer("middle", f32, (n, p), "in")
Y = Buffer("y", f32, (n, m, p), "out")
TURNED = Buffer("turned", f32, (m, n, p), "out")
SIZES = ({"n": 3, "m": 2, "p": 5}, {"n": 1, "m": 4, "p": 1}, {"n": 2, "m": 0, "p": 3})


def nest(body: tuple[Stmt, ...], extents: tuple[Dim, ...] = (n, m, p), kinds=("parallel",) * 3) -> tuple[Stmt, ...]:
    for var, extent, kind in reversed(list(zip("ijk", extents, kinds))):
        body = (For(var, extent, kind, body),)
    return body


def kernel_of(*body: Stmt) -> Kernel:
    buffers = (X, ROW, COLUMN, MIDDLE, Y, TURNED)
    return Kernel("sample", buffers, ("n", "m", "p"), body)


def extents(kernel: Kernel) -> list[str]:
    return [str(s.extent) for s in statements(kernel.body) if isinstance(s, For)]


def stored(value: Expr, buffer: Buffer = Y, index=(i, j, k)) -> Kernel:
    return kernel_of(*nest((Store(buffer, index, value),)))


X_AT = Load(X, (i, j, k))
BITS = cast(IndexValue(i * (m * p) + j * p + k, u32), f32)
CASES = [
    ("elementwise", stored(call("add", X_AT, const(1, f32))), ["m*n*p"]),
    ("flat_index_value", stored(BITS), ["m*n*p"]),
    ("last_axis_broadcast", stored(call("add", X_AT, Load(ROW, (k,)))), ["m*n", "p"]),
    ("first_axis_broadcast", stored(call("add", X_AT, Load(COLUMN, (i,)))), ["n", "m*p"]),
    ("transposed_blocks", stored(X_AT, TURNED, (j, i, k)), None),
    ("middle_axis_broadcast", stored(call("add", X_AT, Load(MIDDLE, (i, k)))), None),
    ("partial_index_value", stored(cast(IndexValue(j, i32), f32)), None),
]


@pytest.mark.parametrize(("name", "kernel", "expected"), CASES, ids=[c[0] for c in CASES])
def test_loops_are_joined_where_places_allow_it(name, kernel: Kernel, expected, rng: np.random.Generator):
    result = collapse(kernel)
    verify_kernel(result)
    if expected is None:
        assert result is kernel
        return
    assert extents(result) == expected
    # Passes after this one compare buffers by object.
    assert all(any(used is own for own in result.buffers) for used in buffers_of(result.body))
    for sizes in SIZES:
        assert_same_meaning(kernel, result, sizes, rng)


def test_a_whole_reduction_becomes_one_loop(rng: np.random.Generator):
    out = Buffer("y", f32, (), "out")
    steps = nest((Accumulate("s", "add", X_AT),), kinds=("serial", "serial", "vector"))
    body = (Init("s", const(0, f32)), *steps, Store(out, (), Local("s", f32)))
    kernel = Kernel("total", (X, out), ("n", "m", "p"), body)
    result = collapse(kernel)
    verify_kernel(result)
    loops = [s for s in result.body if isinstance(s, For)]
    assert [(str(s.extent), s.kind) for s in loops] == [("m*n*p", "vector")]
    for sizes in SIZES:
        assert_same_meaning(kernel, result, sizes, rng)


@pytest.mark.parametrize(("outer", "inner", "joined"), (
    ("parallel", "serial", "parallel"), ("serial", "vector", "vector"), ("parallel", "vector", "vector"),
    ("serial", "serial", "serial"), ("parallel", "parallel", "parallel"),
))  # fmt: skip
def test_the_kind_of_the_joined_loop(outer, inner, joined):
    store = Store(Y, (i, j, k), X_AT)
    (loop,) = collapse(kernel_of(*nest((store,), kinds=("unroll", outer, inner)))).body[0].body
    assert loop.kind == joined


def test_rows_are_not_joined_with_what_is_summed_in_them():
    out = Buffer("y", f32, (n,), "out")
    row = (Init("s", const(0, f32)), For("k", p, "vector", (Accumulate("s", "add", Load(MIDDLE, (i, k))),)))
    rows = For("i", n, "parallel", (*row, Store(out, (i,), Local("s", f32))))
    kernel = Kernel("rows", (MIDDLE, out), ("n", "p"), (rows,))
    assert collapse(kernel) is kernel


def test_loops_of_one_round_do_not_stand_between_others(rng: np.random.Generator):
    x, y = Buffer("x", f32, (n, 1, p), "in"), Buffer("y", f32, (n, 1, p), "out")
    body = nest((Store(y, (i, j, k), call("neg", Load(x, (i, 0, k)))),), (n, 1, p))
    kernel = Kernel("single", (x, y), ("n", "p"), body)
    result = collapse(kernel)
    verify_kernel(result)
    assert extents(result) == ["n*p"]
    assert_same_meaning(kernel, result, {"n": 3, "p": 4}, rng)


def test_a_round_that_reads_what_the_last_one_wrote_stays_in_its_loop():
    y = Buffer("y", f32, (n + 1, p), "out")
    step = Store(y, (i + 1, k), call("add", Load(y, (i, k)), const(1, f32)))
    kernel = Kernel("scan", (y,), ("n", "p"), (For("i", n, "serial", (For("k", p, "vector", (step,)),)),))
    assert collapse(kernel) is kernel


def test_matrix_products_keep_their_shapes():
    a, b, out = Buffer("a", f32, (n, m), "in"), Buffer("b", f32, (m, p), "in"), Buffer("out", f32, (n, p), "out")
    scratch = Buffer("scratch", f32, (1000,), "scratch")
    body = (Store(out, (i, j), Local("acc", f32)),)
    product = Contract("i", "j", n, p, m, Matrix(a, (), False), Matrix(b, (), False), "acc", scratch, body)
    kernel = Kernel("product", (a, b, out, scratch), ("n", "m", "p"), (product,))
    assert collapse(kernel) is kernel


DATA = {
    "an id for each element": ("let r: i32 = %ids[i, j]\nstore %y[i, j] = %x[0, r]", ["64"], "parallel"),
    "places that may meet": ("let r: i32 = %ids[i, j]\nstore %y[i, j+r-r//9] = %x[i, j]", ["64"], "serial"),
    "an id for each row": ("let r: i32 = %ids[i, 0]\nstore %y[i, j] = %x[r, j]", ["8", "8"], "parallel"),
    "rounds that are data": (
        "let e: i32 = %ids[j, 0]\nfor p in 0..e {\nstore %y[i, j] = 1:f32\n}", ["8", "8", "e"], "parallel"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "expected", "kind"), DATA.values(), ids=DATA)
def test_loops_over_indices_that_are_data(body, expected, kind, rng: np.random.Generator):
    loops = f"parallel for i in 0..8 {{\nfor j in 0..8 {{\n{body}\n}}\n}}"
    kernel = parse_kernel(f"kernel @k(%x: f32[8, 8] in, %ids: i32[8, 8] in, %y: f32[8, 8] out) {{\n{loops}\n}}")
    result = collapse(kernel)
    verify_kernel(result)
    assert extents(result) == expected
    assert result.body[0].kind == kind
