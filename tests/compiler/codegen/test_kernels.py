"""Native code computes what the loop interpreter computes, for every kind of statement, type, stride and size."""

from __future__ import annotations

import re

import numpy as np
import pytest
from native_kernels import aligned, both, compile_kernels, program_text, run_native, runnable_targets, shapes_of

from kgraph.compiler.codegen.emit import to_assembly
from kgraph.compiler.codegen.target import named
from kgraph.ir.dims import DimExpr, symbol
from kgraph.ir.dtypes import ALL, DType, bool_, f32, f64, i32, i64, u8, u32
from kgraph.ir.loop_parser import parse_kernel
from kgraph.ir.loops import Accumulate, Contract, For, Init, Kernel, Let, Matrix, Store
from kgraph.ir.scalar import FUNCTIONS, Buffer, Call, Const, IndexValue, Load, Local, call, cast, const, philox
from kgraph.ir.verify import verify_kernel

SIZES = (0, 1, 7, 8, 9, 31, 100)
i, j, n, m = (symbol(name) for name in "ijnm")
EXACT_COST = 4  # functions of this cost or less are exact but for fused multiply-adds


def inputs(kernel: Kernel, sizes: dict[str, int], rng: np.random.Generator) -> list[np.ndarray]:
    """Random arrays for the buffers of a kernel."""
    arrays = []
    for buffer, shape in zip(kernel.buffers, shapes_of(kernel, sizes)):
        dtype = buffer.dtype.to_numpy()
        if buffer.role == "scratch":
            arrays.append(np.zeros(shape, dtype))
        elif buffer.dtype.is_float:
            arrays.append(rng.uniform(0.25, 1.0, shape).astype(dtype))
        elif buffer.dtype is bool_:
            arrays.append(rng.integers(0, 2, shape).astype(dtype))
        else:
            arrays.append(rng.integers(0, 100, shape).astype(dtype))
    return arrays


def shapes(kernel: Kernel, sizes=SIZES) -> list[dict[str, int]]:
    """Sizes n and m: each of them long and short."""
    if kernel.sizes == ("n",):
        return [{"n": size} for size in sizes]
    return [{"n": size, "m": 3} for size in sizes] + [{"n": 2, "m": size} for size in sizes]


def check(kernel: Kernel, rng: np.random.Generator, targets=None, sizes=SIZES, rtol: float = 2e-6) -> None:
    """Compare on all targets and sizes."""
    for target in targets or runnable_targets():
        code = compile_kernels([kernel], target)
        for now in shapes(kernel, sizes):
            native, expected = both(kernel, code, inputs(kernel, now, rng), now)
            for buffer, a, b in zip(kernel.buffers, native, expected):
                message = f"{kernel.name} {buffer.name} on {target}, sizes {now}"
                if buffer.dtype.is_float:
                    np.testing.assert_allclose(a, b, rtol=rtol, atol=0, err_msg=message)
                else:
                    np.testing.assert_array_equal(a, b, err_msg=message)


def load(buffer: Buffer, *index) -> Load:
    return Load(buffer, index)


# --- scalar functions and conversions -------------------------------------------------------------------------
def special_values(dtype: DType) -> np.ndarray:
    """Ordinary and awkward values of a type."""
    if dtype is bool_:
        return np.array([False, True])
    if dtype.is_float:
        usual = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 0.1, -0.7, 3.3, 1e6, -123456.75, 8388609.0, 4e9]
        return np.array([*usual, np.inf, -np.inf, np.nan], dtype.numpy)
    info = np.iinfo(dtype.numpy)
    values = [0, 1, 2, 3, 7, 100, info.max, info.max - 1, info.min]
    return np.array(values + ([-1, -2, -7] if info.min else []), dtype.numpy)


def supports(name: str, dtype: DType) -> bool:
    if name == "philox":
        return dtype is u32
    if name in ("and", "or", "not"):
        return dtype is bool_
    if dtype is bool_:
        return name in ("eq", "ne", "min", "max", "select")
    if name == "fma":
        return dtype.is_float
    if name in ("floordiv", "mod", "bitand", "bitor", "bitxor", "shl", "shr"):
        return dtype.is_integer
    return dtype.is_float or (FUNCTIONS[name].cost < 4 and not (dtype.kind == "unsigned" and name == "neg"))


def function_kernel(dtype: DType) -> tuple[Kernel, list[str]]:
    """One kernel that applies every function of a type to vectors a, b and c."""
    names = [name for name in FUNCTIONS if supports(name, dtype)]
    operands = [Buffer(letter, dtype, (n,), "in") for letter in "abc"]
    buffers, body = list(operands), []
    for name in names:
        args = [load(b, i) for b in operands[: FUNCTIONS[name].arity]]
        if name == "select":
            args = [call("eq", args[0], args[1]), *args[1:]]
        value = call(name, *args)
        out = Buffer("out_" + name, value.dtype, (n,), "out")
        buffers.append(out)
        body.append(For("i", n, "vector", (Store(out, (i,), value),)))
    return Kernel("functions", tuple(buffers), ("n",), tuple(body)), names


@pytest.mark.parametrize("target", runnable_targets())
@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_scalar_functions_mean_what_numpy_means(dtype: DType, target: str):
    kernel, names = function_kernel(dtype)
    values = special_values(dtype)
    a, b = (grid.ravel() for grid in np.meshgrid(values, values))
    arrays = [a, b, a[::-1].copy()] + [np.zeros(a.size, x.dtype.numpy) for x in kernel.buffers[3:]]
    native, expected = both(kernel, compile_kernels([kernel], target), arrays, {"n": a.size})
    for name, got, want in zip(names, native[3:], expected[3:]):
        if name == "pow":
            # C's pow(-inf, 0.5) is inf; NumPy takes a square root there.
            usual = ~(np.isneginf(a) & (b == 0.5))
            got, want = got[usual], want[usual]
        if name == "fma":  # a product in between that is not rounded may be as large as infinity
            with np.errstate(all="ignore"):
                size = np.abs(a * b) + np.abs(arrays[2])
            usual, limits = np.isfinite(size), np.finfo(size.dtype)
            np.testing.assert_array_less(np.abs(got[usual] - want[usual]), limits.eps * size[usual] + limits.tiny)
            continue
        if FUNCTIONS[name].cost > EXACT_COST and dtype.is_float:
            np.testing.assert_allclose(got, want, rtol=1e-6 if dtype is f32 else 2e-15, err_msg=name)
            continue
        np.testing.assert_array_equal(got, want, err_msg=name)
        if dtype.is_float and name not in ("min", "max"):
            wrong = (np.signbit(got) != np.signbit(want)) & ~np.isnan(want)
            assert not wrong.any(), (name, a[wrong], got[wrong])


@pytest.mark.parametrize("target", runnable_targets())
@pytest.mark.parametrize("source", ALL, ids=str)
def test_conversions(source: DType, target: str):
    x = Buffer("x", source, (n,), "in")
    outs = [Buffer(f"to_{to}", to, (n,), "out") for to in ALL]
    body = tuple(For("i", n, "vector", (Store(o, (i,), cast(load(x, i), o.dtype)),)) for o in outs)
    kernel = Kernel("convert", (x, *outs), ("n",), body)
    values = special_values(source)
    arrays = [values] + [np.zeros(values.size, o.dtype.numpy) for o in outs]
    native, expected = both(kernel, compile_kernels([kernel], target), arrays, {"n": values.size})
    for out, got, want in zip(outs, native[1:], expected[1:]):
        np.testing.assert_array_equal(got, want, err_msg=str(out.dtype))


# --- strides and sizes ----------------------------------------------------------------------------------------
def doubled(value):
    return call("add", value, value)


def one_store(name: str, inner: tuple, buffers: tuple, kinds=("serial", "vector"), extents=(n, m)) -> Kernel:
    nest = For("i", extents[0], kinds[0], (For("j", extents[1], kinds[1], inner),))
    return Kernel(name, buffers, ("n", "m"), (nest,))


def stride_kernels(dtype: DType) -> list[Kernel]:
    """Kernels that read and write with every kind of stride."""
    x, row, col = (Buffer(name, dtype, shape, "in") for name, shape in (("x", (n, m)), ("row", (m,)), ("col", (n,))))
    y, turned = Buffer("y", dtype, (n, m), "out"), Buffer("turned", dtype, (m, n), "out")
    wide, flags = Buffer("wide", dtype, (n, m * 2 + 1), "in"), Buffer("flags", bool_, (n, m), "out")
    third = DimExpr(((("i",), 1),)) // 3
    flat, thirds = Buffer("flat", dtype, (n,), "in"), Buffer("thirds", dtype, (n // 3 + 1, 3), "out")
    by_three = Store(thirds, (third, i - third * 3), doubled(load(flat, i)))
    compared = call("lt", load(x, i, j), load(row, j))
    chosen = call("select", compared, const(0, dtype), load(x, i, j))
    largest = call("max", load(x, i, j), call("max", load(row, j), load(col, i)))
    return [
        one_store("broadcast", (Store(y, (i, j), largest),), (x, row, col, y)),
        one_store("transpose_write", (Store(turned, (j, i), doubled(load(x, i, j))),), (x, turned)),
        one_store("outer_vector", (Store(y, (i, j), doubled(load(x, i, j))),), (x, y), ("vector", "serial")),
        one_store("strided", (Store(y, (i, j), load(wide, i, j * 2 + 1)),), (wide, y)),
        one_store("reversed", (Store(y, (i, m - 1 - j), load(x, n - 1 - i, j)),), (x, y)),
        one_store("flags", (Store(flags, (i, j), compared), Store(y, (i, j), chosen)), (x, row, flags, y)),
        Kernel("thirds", (flat, thirds), ("n",), (For("i", n, "vector", (by_three,)),)),
    ]


@pytest.mark.parametrize("dtype", (f32, f64, i32, u8), ids=str)
def test_strides(dtype: DType, rng: np.random.Generator):
    for kernel in stride_kernels(dtype):
        check(kernel, rng)


def test_known_sizes(rng: np.random.Generator):
    for size in (1, 2, 7, 8, 16, 19, 64, 67):
        x, y = Buffer("x", f32, (n, size), "in"), Buffer("y", f32, (n, size), "out")
        check(one_store("known", (Store(y, (i, j), call("sqrt", load(x, i, j))),), (x, y), extents=(n, size)), rng,
              sizes=(0, 1, 3))  # fmt: skip


def test_index_values(rng: np.random.Generator):
    body = []
    buffers = []
    for dtype in (f32, f64, i32, i64, u8, u32):
        out = Buffer(f"out_{dtype}", dtype, (n, m), "out")
        buffers.append(out)
        behind = IndexValue((i - 5) // 3 + 4, dtype)
        value = call("add", IndexValue(i * 3 + j * 2 + 1, dtype), call("add", behind, IndexValue((i + j) // 4, dtype)))
        body.append(For("i", n, "serial", (For("j", m, "vector", (Store(out, (i, j), value),)),)))
    check(Kernel("indices", tuple(buffers), ("n", "m"), tuple(body)), rng)


def test_random_bits(rng: np.random.Generator):
    key, out = Buffer("key", u32, (2,), "in"), Buffer("out", u32, (n, m), "out")
    bits = philox(i * m + j, load(key, 1), load(key, 0))
    check(one_store("bits", (Store(out, (i, j), bits),), (key, out)), rng)


INDEXED = {
    "rows and bags": """
kernel @bags(%ids: i64[n] in, %starts: u8[n] in, %table: f32[5, m] in, %y: f32[n, m] out, %z: f32[n, m] out) sizes(n, m)
{
  parallel for i in 0..n {
    let row: i64 = mod(%ids[i], 5:i64)
    let count: u8 = mod(%starts[i], 4:u8)
    vector for j in 0..m {
      init total: f32 = 0.0:f32
      for p in 0..count {
        let at: i32 = cast(mod(%ids[i] + index(p, i64), 5:i64), i32)
        total += %table[at, j] * index(2*at+p, f32)
      }
      store %y[i, j] = total
      store %z[i, j] = %table[row, j] + index(row*m+j, f32)
    }
  }
}""",
    "one name twice": """
kernel @twice(%ids: i32[n] in, %x: f32[n, m] in, %y: f32[n, m] out, %z: f32[n, m] out) sizes(n, m) {
  for i in 0..n {
    let row: i32 = mod(%ids[0], index(n, i32))
    vector for j in 0..m {
      store %y[i, j] = %x[row, j]
    }
  }
  for i in 0..n {
    let row: i32 = mod(%ids[i], index(n, i32))
    vector for j in 0..m {
      store %z[i, j] = %x[row, j]
    }
  }
}""",
    "counting": """
kernel @counts(%ids: u8[n] in, %counts: i32[8] out, %y: i32[n] out) sizes(n) {
  for k in 0..8 {
    store %counts[k] = 0:i32
  }
  init all: i32 = 0:i32
  for i in 0..n {
    let id: u8 = mod(%ids[i], 8:u8)
    let seen: i32 = %counts[id] + 1:i32
    store %counts[id] = seen
    let before: i32 = all
    all += 1:i32
    store %y[before] = seen - %counts[id] + all * %counts[id]
  }
}""",
}


@pytest.mark.parametrize("text", INDEXED.values(), ids=INDEXED)
def test_data_as_indices_and_extents(text: str, rng: np.random.Generator):
    kernel = parse_kernel(text)
    verify_kernel(kernel)
    check(kernel, rng, sizes=SIZES[1:])


@pytest.mark.parametrize(("extent", "has_rest"), [("128*n", False), ("n", True), ("8*n", True), ("n*n", True)])
def test_no_rest_is_written_for_lengths_of_whole_vectors(extent: str, has_rest: bool, rng: np.random.Generator):
    text = f"""
kernel @double(%x: f32[{extent}] in, %y: f32[{extent}] out) sizes(n) {{
  vector for i in 0..{extent} {{
    store %y[i] = %x[i] * 2.0:f32
  }}
}}"""
    kernel = parse_kernel(text)
    verify_kernel(kernel)
    assert ("llvm.masked.store" in program_text([kernel], named("x86-64-v4"))) == has_rest
    check(kernel, rng, sizes=SIZES[1:])


# --- reductions -----------------------------------------------------------------------------------------------
START = {"add": 0, "mul": 1, "max": 0, "min": 100}


def reduction_kernels(how: str, dtype: DType) -> list[Kernel]:
    """Reductions of rows, of columns and of all, with work before and after."""
    x = Buffer("x", dtype, (n, m), "in")
    rows, cols, one = Buffer("r", dtype, (n,), "out"), Buffer("c", dtype, (m,), "out"), Buffer("o", dtype, (), "out")
    start, acc = Init("s", const(START[how], dtype)), Local("s", dtype)
    step = Accumulate("s", how, load(x, i, j))
    scaled = call("add", acc, const(3, dtype))
    row = (start, For("j", m, "vector", (step,)), Store(rows, (i,), scaled))
    column = (start, For("i", n, "serial", (step,)), Store(cols, (j,), scaled))
    whole = (start, For("i", n, "serial", (For("j", m, "vector", (step,)),)), Store(one, (), scaled))
    return [
        Kernel("rows", (x, rows), ("n", "m"), (For("i", n, "parallel", row),)),
        Kernel("columns", (x, cols), ("n", "m"), (For("j", m, "vector", column),)),
        Kernel("all", (x, one), ("n", "m"), whole),
    ]


@pytest.mark.parametrize("dtype", (f32, f64, i32, u32, u8), ids=str)
@pytest.mark.parametrize("how", START)
def test_reductions(how: str, dtype: DType, rng: np.random.Generator):
    # Sums are taken in another order: at most n * m = 300 roundings of terms of one sign.
    rtol = {f32: 300 * 2.0**-24, f64: 300 * 2.0**-53}.get(dtype, 0.0) if how in ("add", "mul") else 0.0
    for kernel in reduction_kernels(how, dtype):
        check(kernel, rng, rtol=rtol)


@pytest.mark.parametrize("how", ("and", "or"))
def test_reductions_of_flags(how: str, rng: np.random.Generator):
    x, rows = Buffer("x", bool_, (n, m), "in"), Buffer("rows", bool_, (n,), "out")
    body = (Init("s", const(how == "and", bool_)), For("j", m, "vector", (Accumulate("s", how, load(x, i, j)),)))
    nest = For("i", n, "serial", (*body, Store(rows, (i,), Local("s", bool_))))
    check(Kernel("flags", (x, rows), ("n", "m"), (nest,)), rng)


def test_maximum_keeps_nan_and_infinities():
    x, out = Buffer("x", f32, (n,), "in"), Buffer("out", f32, (2,), "out")
    low, high = const(float("-inf"), f32), const(float("inf"), f32)
    loop = For("i", n, "vector", (Accumulate("a", "max", load(x, i)), Accumulate("b", "min", load(x, i))))
    stores = (Store(out, (0,), Local("a", f32)), Store(out, (1,), Local("b", f32)))
    kernel = Kernel("extremes", (x, out), ("n",), (Init("a", low), Init("b", high), loop, *stores))
    for target in runnable_targets():
        code = compile_kernels([kernel], target)
        for size in (1, 5, 40, 100):
            for place in {0, size // 2, size - 1}:
                for value in (np.nan, np.inf, -np.inf):
                    data = np.linspace(-1, 1, size, dtype=np.float32)
                    data[place] = value
                    native, expected = both(kernel, code, [data, np.zeros(2, np.float32)], {"n": size})
                    np.testing.assert_array_equal(native[1], expected[1])


def softmax_kernel() -> Kernel:
    x, y = Buffer("x", f32, (n, m), "in"), Buffer("y", f32, (n, m), "out")
    shifted = call("sub", load(x, i, j), Local("top", f32))
    exponential = call("exp", shifted)
    body = (
        Init("top", const(float("-inf"), f32)), For("j", m, "vector", (Accumulate("top", "max", load(x, i, j)),)),
        Init("sum", const(0.0, f32)), For("j", m, "vector", (Accumulate("sum", "add", exponential),)),
        Let("scale", call("div", const(1.0, f32), Local("sum", f32))),
        For("j", m, "vector", (Store(y, (i, j), call("mul", exponential, Local("scale", f32))),)),
    )  # fmt: skip
    return Kernel("softmax", (x, y), ("n", "m"), (For("i", n, "parallel", body),))


def test_an_expression_shared_by_loops_is_computed_anew_when_its_local_changed(rng: np.random.Generator):
    check(softmax_kernel(), rng, rtol=1e-5)


def test_an_expression_is_computed_anew_in_a_loop_that_changes_its_local(rng: np.random.Generator):
    x, y, z = Buffer("x", f32, (n,), "in"), Buffer("y", f32, (n,), "out"), Buffer("z", f32, (2,), "out")
    twice = doubled(Local("s", f32))
    step = (Store(y, (i,), twice), Accumulate("s", "max", load(x, i)))
    body = (Init("s", const(0.5, f32)), Store(z, (0,), twice), For("i", n, "serial", step), Store(z, (1,), twice))
    check(Kernel("running", (x, y, z), ("n",), body), rng)


def test_clamps_by_constants_keep_nan():
    x = Buffer("x", f32, (n,), "in")
    outs = [Buffer(f"y{at}", f32, (n,), "out") for at in range(4)]
    limits = [const(0.5, f32), const(-0.5, f32)]
    clamps = [call(name, *pair) for name, limit in zip(("min", "max"), limits)
              for pair in ((load(x, i), limit), (limit, load(x, i)))]  # fmt: skip
    body = tuple(Store(out, (i,), value) for out, value in zip(outs, clamps))
    kernel = Kernel("clamps", (x, *outs), ("n",), (For("i", n, "vector", body),))
    data = np.array([0, 1, np.nan, -1, np.inf, 0.25, -np.inf, np.nan, np.nan, 2, -2], np.float32)
    arrays = [data] + [np.zeros_like(data) for _ in outs]
    for target in runnable_targets():
        native, expected = both(kernel, compile_kernels([kernel], target), arrays, {"n": data.size})
        for got, want in zip(native[1:], expected[1:]):
            np.testing.assert_array_equal(got, want)


def test_scratch_written_and_read_back(rng: np.random.Generator):
    x, y = Buffer("x", f32, (n, m), "in"), Buffer("y", f32, (n, m), "out")
    line = Buffer("line", f32, (m,), "scratch")
    same = load(line, j)
    body = (
        For("j", m, "vector", (Store(line, (j,), doubled(load(x, i, j))), Store(line, (j,), doubled(same)))),
        For("j", m, "vector", (Store(y, (i, j), same),)),
    )
    check(Kernel("scratch", (x, y, line), ("n", "m"), (For("i", n, "serial", body),)), rng)


# --- matrix products ------------------------------------------------------------------------------------------
def product_kernel(turned_a: bool, turned_b: bool, dtype: DType, epilogue: str) -> Kernel:
    """Batched matrix products with a bias and a clipping, and a mask or a transposed result."""
    rows, inner, cols, b, r, c = n, 5, m, symbol("b"), symbol("r"), symbol("c")
    a = Buffer("a", dtype, (2, inner, rows) if turned_a else (2, rows, inner), "in")
    w = Buffer("w", dtype, (2, cols, inner) if turned_b else (2, inner, cols), "in")
    bias, out = Buffer("bias", dtype, (m,), "in"), Buffer("out", dtype, (2, n, m), "out")
    flags, turned = Buffer("flags", bool_, (2, n, m), "out"), Buffer("turned", dtype, (2, m, n), "out")
    scratch = Buffer("scratch", u8, (12 << 20,), "scratch")  # more than products of any number of columns need
    summed = call("add", Local("acc", dtype), call("mul", load(bias, c), Local("factor", dtype)))
    value = call("max", summed, const(1.5, dtype))
    flag = Store(flags, (b, r, c), call("gt", summed, const(2, dtype)))
    stores = {
        "plain": (Store(out, (b, r, c), Local("acc", dtype)),),
        "flags": (Let("v", value), Store(out, (b, r, c), Local("v", dtype)), flag),
        "turned": (Store(turned, (b, c, r), value),),
    }[epilogue]
    left, right = Matrix(a, (b,), turned_a), Matrix(w, (b,), turned_b)
    product = Contract("r", "c", rows, cols, inner, left, right, "acc", scratch, stores)
    factor = Let("factor", cast(IndexValue(b + 1, i32), dtype))
    outs = {"plain": (out,), "flags": (bias, out, flags), "turned": (bias, turned)}[epilogue]
    return Kernel("product", (a, w, scratch, *outs), ("n", "m"), (For("b", 2, "serial", (factor, product)),))


@pytest.mark.parametrize("turned", ((False, False), (True, False), (False, True)))
@pytest.mark.parametrize("epilogue", ("plain", "flags", "turned"))
def test_products_with_epilogues(turned: tuple[bool, bool], epilogue: str, rng: np.random.Generator):
    for dtype in (f32, f64):
        kernel = product_kernel(*turned, dtype, epilogue)
        for target in runnable_targets():
            code = compile_kernels([kernel], target)
            for now in shapes(kernel):
                native, expected = both(kernel, code, inputs(kernel, now, rng), now)
                for a, b in zip(native[3:], expected[3:]):
                    np.testing.assert_allclose(a, b, rtol=1e-5, err_msg=f"{target} {now}")


# --- memory and programs --------------------------------------------------------------------------------------
def test_input_and_output_may_be_the_same_memory(rng: np.random.Generator):
    x, y, z = Buffer("x", f32, (n,), "in"), Buffer("y", f32, (n,), "out"), Buffer("z", f32, (n,), "out")
    body = (Store(y, (i,), IndexValue(i * 2, f32)), Store(z, (i,), call("neg", load(x, i))))
    kernel = Kernel("aliased", (x, y, z), ("n",), (For("i", n, "vector", body),))
    for target in runnable_targets():
        code = compile_kernels([kernel], target)
        for size in SIZES:
            data = rng.uniform(-1, 1, size).astype(np.float32)
            shared, other = aligned(data), aligned(np.zeros_like(data))
            run_native(code, [shared, shared, other], {"n": size})
            np.testing.assert_array_equal(shared, np.arange(size) * 2)
            np.testing.assert_array_equal(other, -data)


def add_kernel(name: str, size_name: str) -> Kernel:
    size = symbol(size_name)
    x, y = Buffer("x", f32, (size,), "in"), Buffer("y", f32, (size,), "out")
    return Kernel(name, (x, y), (size_name,), (For("i", size, "vector", (Store(y, (i,), doubled(load(x, i))),)),))


def test_equal_kernels_become_one_function():
    """Those over another size read it from another place."""
    kernels = [add_kernel("first", "n"), add_kernel("second", "n"), add_kernel("third", "m")]
    text = program_text(kernels, named("host"))
    assert re.findall(r"^define internal void @(first|second|third)\(", text, re.M) == ["first", "third"]
    assert "@second" not in text
    arrays = [np.full(s, s + n, np.float32) for n, s in enumerate((3, 3, 3, 3, 11, 11))]
    run_native(compile_kernels(kernels, "host"), arrays, {"n": 3, "m": 11})
    assert [a.tolist() for a in arrays] == [[3] * 3, [6] * 3, [5] * 3, [10] * 3, [15] * 11, [30] * 11]


def test_subnormals_are_zero_inside_only():
    code = compile_kernels([add_kernel("double", "n")], "host")
    arrays = [np.full(9, 1e-40, np.float32), np.ones(9, np.float32)]
    run_native(code, arrays, {"n": 9})
    assert arrays[1].tolist() == [0.0] * 9
    assert (arrays[0] + arrays[0] > 0).all()


def samples() -> list[Kernel]:
    """One kernel of each kind, with different names."""
    kernels = [function_kernel(t)[0] for t in ALL] + stride_kernels(f32) + reduction_kernels("max", f32)
    kernels += [softmax_kernel(), product_kernel(True, False, f32, "flags")]
    return [Kernel(f"{k.name}_{at}", k.buffers, k.sizes, k.body) for at, k in enumerate(kernels)]


@pytest.mark.parametrize("target", ("x86-64", "x86-64-v3", "x86-64-v4", "aarch64"))
def test_code_for_every_target_calls_nothing_from_outside(target: str):
    assembly = to_assembly(program_text(samples(), named(target)), named(target))
    called = set(re.findall(r"^\s+(?:callq?|bl|jmp)\s+([A-Za-z_][\w.]*)", assembly, re.M))
    defined = set(re.findall(r"^([A-Za-z_.][\w.]*):", assembly, re.M))
    assert called - defined == set()
    assert {"x86-64": "xmm", "x86-64-v3": "ymm", "x86-64-v4": "zmm", "aarch64": ".4s"}[target] in assembly


def test_literals_of_unsigned_types(rng: np.random.Generator):
    x = Buffer("x", u32, (n,), "out")
    value: Call = call("add", Const(4294967295, u32), IndexValue(i, u32))
    check(Kernel("literals", (x,), ("n",), (For("i", n, "vector", (Store(x, (i,), value),)),)), rng)
