"""The loop interpreter against NumPy, on kernels whose meaning is one NumPy expression."""

from __future__ import annotations

import numpy as np
import pytest

from kgraph.ir.dims import symbol
from kgraph.ir.dtypes import bool_, f32, i32, u8
from kgraph.ir.loops import Accumulate, Contract, For, Init, Kernel, Let, Matrix, Store
from kgraph.ir.scalar import Buffer, IndexValue, Load, Local, call, cast, const
from kgraph.runtime.loop_interpreter import run_kernel

i, j, n, m = (symbol(name) for name in "ijnm")
SIZES = {"n": 3, "m": 4}


def test_elementwise_with_a_let_and_an_index(rng: np.random.Generator):
    x, y = Buffer("x", f32, (n, m), "in"), Buffer("y", f32, (n, m), "out")
    let = Let("v", call("mul", Load(x, (i, j)), Load(x, (i, j))))
    store = Store(y, (i, j), call("add", Local("v", f32), IndexValue(i * 10 + j // 2, f32)))
    kernel = Kernel("k", (x, y), ("n", "m"), (For("i", n, "parallel", (For("j", m, "vector", (let, store)),)),))
    data, out = rng.normal(size=(3, 4)).astype(np.float32), np.zeros((3, 4), np.float32)
    run_kernel(kernel, [data, out], SIZES)
    rows, columns = np.indices((3, 4))
    np.testing.assert_array_equal(out, data * data + (rows * 10 + columns // 2).astype(np.float32))


def test_reduction(rng: np.random.Generator):
    x, y = Buffer("x", i32, (n, m), "in"), Buffer("y", i32, (n,), "out")
    row = (Init("s", const(-5, i32)), For("j", m, "vector", (Accumulate("s", "max", Load(x, (i, j))),)))
    kernel = Kernel("k", (x, y), ("n", "m"), (For("i", n, "serial", (*row, Store(y, (i,), Local("s", i32)))),))
    data, out = rng.integers(-9, 9, (3, 4)).astype(np.int32), np.zeros(3, np.int32)
    run_kernel(kernel, {"x": data, "y": out}, SIZES)
    np.testing.assert_array_equal(out, np.maximum(data.max(1), -5))


@pytest.mark.parametrize("turned_a", (False, True))
@pytest.mark.parametrize("turned_b", (False, True))
def test_matrix_product(turned_a: bool, turned_b: bool, rng: np.random.Generator):
    a = Buffer("a", f32, (2, 5, 3) if turned_a else (2, 3, 5), "in")
    b = Buffer("b", f32, (2, 4, 5) if turned_b else (2, 5, 4), "in")
    out, scratch = Buffer("out", f32, (2, 3, 4), "out"), Buffer("scratch", f32, (1,), "scratch")
    store = Store(out, (n, i, j), call("add", Local("acc", f32), const(1, f32)))
    operands = Matrix(a, (n,), turned_a), Matrix(b, (n,), turned_b)
    product = Contract("i", "j", 3, 4, 5, *operands, "acc", scratch, (store,))
    kernel = Kernel("k", (a, b, out, scratch), (), (For("n", 2, "serial", (product,)),))
    left, right = rng.normal(size=(2, 3, 5)).astype(np.float32), rng.normal(size=(2, 5, 4)).astype(np.float32)
    result = np.zeros((2, 3, 4), np.float32)
    given = {"a": left.swapaxes(1, 2).copy() if turned_a else left,
             "b": right.swapaxes(1, 2).copy() if turned_b else right, "out": result}  # fmt: skip
    run_kernel(kernel, given)
    np.testing.assert_allclose(result, left @ right + 1, rtol=1e-6)


def test_conversions_saturate():
    x, y, z = Buffer("x", f32, (4,), "in"), Buffer("y", u8, (4,), "out"), Buffer("z", bool_, (4,), "out")
    body = (Store(y, (i,), cast(Load(x, (i,)), u8)), Store(z, (i,), cast(Load(x, (i,)), bool_)))
    kernel = Kernel("k", (x, y, z), (), (For("i", 4, "serial", body),))
    out, flags = np.zeros(4, np.uint8), np.zeros(4, bool)
    run_kernel(kernel, [np.array([-3.0, 2.9, 1e9, np.nan], np.float32), out, flags])
    assert out.tolist() == [0, 2, 255, 0]
    assert flags.tolist() == [True, True, True, True]


def test_an_index_outside_its_buffer_is_found():
    x = Buffer("x", f32, (n,), "out")
    kernel = Kernel("k", (x,), ("n",), (For("i", n, "serial", (Store(x, (i - 1,), const(0, f32)),)),))
    with pytest.raises(AssertionError, match="outside buffer x"):
        run_kernel(kernel, [np.zeros(3, np.float32)], SIZES)
