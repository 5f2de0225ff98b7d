"""Text of kernels: canonical text prints back unchanged, and every statement and expression survives exactly."""

from __future__ import annotations

import numpy as np
import pytest

from kgraph.ir.dims import symbol
from kgraph.ir.dtypes import ALL, bool_, f32, f64, i32, i64, u8, u32
from kgraph.ir.loop_parser import parse_kernel
from kgraph.ir.loop_printer import expr_to_text, kernel_to_text
from kgraph.ir.loops import Kernel, Store
from kgraph.ir.scalar import FUNCTIONS, Buffer, Call, Const, Expr, IndexValue, Load, Local, call, cast, const, philox
from kgraph.ir.verify import verify_kernel

VAR, N = symbol("i"), symbol("n")

CANONICAL = {
    "empty": "kernel @k() {\n}\n",
    "elementwise": """\
kernel @scale_0(%x: f32[batch, 3] in, %w: f32[3] in, %y: f32[batch, 3] out) sizes(batch) {
  parallel for i in 0..batch {
    vector for j in 0..3 {
      store %y[i, j] = tanh(%x[i, j] * %w[j])
    }
  }
}
""",
    "reduction and lets": """\
kernel @"softmax/rows"(%x: f32[n, 7+2*m] in, %y: f32[n, 7+2*m] out) sizes(n, m) {
  parallel for i in 0..n {
    init top: f32 = -inf:f32
    init total: f32 = 0:f32
    init finite: bool = true
    vector for j in 0..7+2*m {
      let z: f32 = %x[i, j]
      top max= z
      total += exp(z - top)
      finite and= isfinite(z)
    }
    for j in 0..7+2*m {
      unroll for k in 0..1 {
        store %y[i, j+k] = select(finite, exp(%x[i, j] - top) / total, nan:f32)
      }
    }
  }
}
""",
    "contraction": """\
kernel @dense(
    %x: f64[4, batch, 64] in,
    %w: f64[10, 64] in,
    %b: f64[10] in,
    %y: f64[4, batch, 10] out,
    %s: f64[8192] scratch,
) sizes(batch) {
  for h in 0..4 {
    contract acc[i in 0..batch, j in 0..10] = %x[h] @ transpose(%w[]) over 0..64 using %s {
      let z: f64 = acc + %b[j]
      store %y[h, i, j] = max(z, 0.0:f64)
    }
  }
}
""",
    "data in indices and extents": """\
kernel @bags(%ids: i64[n] in, %starts: i32[1+m] in, %table: f32[k, 2, 3] in, %y: f32[m, 3] out) sizes(n, m, k) {
  parallel for i in 0..m {
    let first: i32 = %starts[i]
    let end: i32 = %starts[1+i]
    vector for j in 0..3 {
      init total: f32 = 0:f32
      for p in 0..end-first {
        let row: i64 = max(min(%ids[first+p], index(-1+k, i64)), 0:i64)
        total += %table[row, row-2*((row)//2), j]
      }
      store %y[i, j] = total
    }
  }
}
""",
    "scalars and types": """\
kernel @mixed(%k: u32[2] in, %a: bool[] in, %y: i64[3*((1+n)//2)] out) sizes(n) {
  vector for i in 0..3*((1+n)//2) {
    let bits: u32 = philox(index(i, u32), %k[1], %k[0])
    let low: i64 = cast(bits, i64) - -3:i64 * index(2+3*i, i64)
    init best: i64 = -9223372036854775808:i64
    for j in 0..4 {
      best max= select(or(%a[], not(lt(bits, 255:u32))), low, mod(low, 7:i64))
      best min= low
      best *= 2:i64
    }
    store %y[i] = best
  }
}
""",
}  # fmt: skip


@pytest.mark.parametrize("text", CANONICAL.values(), ids=CANONICAL)
def test_canonical_text_prints_back_and_verifies(text):
    kernel = parse_kernel(text)
    assert kernel_to_text(kernel) == text
    assert repr(parse_kernel(kernel_to_text(kernel))) == repr(kernel)
    verify_kernel(kernel)


def test_spacing_and_comments_are_free():
    free = """kernel@scale_0 // a comment
        (%x:f32[batch,3]in,%w:f32[3]in,%y:f32[batch,3]out,)sizes(batch,){parallel for i in 0 .. batch
        {vector for j in 0..3{store%y[i,j]=((tanh((%x[i,j]*%w[j]))))}}} // the end"""
    assert kernel_to_text(parse_kernel(free)) == CANONICAL["elementwise"]


@pytest.mark.parametrize("word", ["max", "min", "or", "and", "sizes", "over", "in", "using", "kernel"])
def test_words_of_the_text_may_be_names_where_they_cannot_be_mistaken(word):
    text = f"kernel @k(%{word}: f32[] out) {{\n  init {word}: f32 = 1:f32\n  {word} += 2:f32\n  {word} max= {word}\n"
    text += f"  store %{word}[] = {word} + exp({word})\n}}\n"
    assert kernel_to_text(parse_kernel(text)) == text
    verify_kernel(parse_kernel(text))


X, Y = Load(Buffer("x", f32, (N,), "in"), (VAR,)), Load(Buffer("y", f32, (N,), "in"), (2 * VAR + 1,))


@pytest.mark.parametrize(
    "expr, text",
    [
        (call("add", X, call("mul", X, Y)), "%x[i] + %x[i] * %y[1+2*i]"),
        (call("mul", call("add", X, Y), X), "(%x[i] + %y[1+2*i]) * %x[i]"),
        (call("sub", X, call("sub", X, Y)), "%x[i] - (%x[i] - %y[1+2*i])"),
        (call("sub", call("sub", X, Y), X), "%x[i] - %y[1+2*i] - %x[i]"),
        (call("div", X, call("mul", X, Y)), "%x[i] / (%x[i] * %y[1+2*i])"),
        (call("mul", call("div", X, Y), X), "%x[i] / %y[1+2*i] * %x[i]"),
        (call("neg", call("add", X, Y)), "neg(%x[i] + %y[1+2*i])"),
        (call("add", const(-1.0, f32), const(-2, f32)), "-1.0:f32 + -2:f32"),
        (call("sub", X, const(float("-inf"), f32)), "%x[i] - -inf:f32"),
        (cast(X, f64), "cast(%x[i], f64)"),
        (cast(IndexValue((N + 1) // 2, i32), f32), "cast(index((1+n)//2, i32), f32)"),
        (philox(3 * VAR, const(1, u32), const(2, u32)), "philox(index(3*i, u32), 1:u32, 2:u32)"),
        (Const(True, bool_), "true"),
        (Const(True, f32), "true:f32"),
        (Const(1, bool_), "1:bool"),
        (Const(1e-5, f64), "1e-05:f64"),
        (Const(float("nan"), f32), "nan:f32"),
        (Const(-0.0, f32), "-0.0:f32"),
        (Const(np.float32(0.1), f32), "0.10000000149011612:f32"),
        (Const(np.int64(7), u8), "7:u8"),
        (Local("t", f64), "t"),
        (Local("t", f32), "t:f32"),
        (Local("other", i64), "other:i64"),
    ],
)
def test_expressions_read_like_arithmetic(expr: Expr, text: str):
    assert expr_to_text(expr, {"t": f64}) == text


def random_expr(rng: np.random.Generator, depth: int) -> Expr:
    """A random expression of type f32."""
    if depth == 0 or rng.random() < 0.15:
        leaves = [X, Y, Const(float(rng.normal()), f32), Const(-1, f32), IndexValue(VAR * N - 2, f32), Local("t", f32)]
        return leaves[rng.integers(len(leaves))]
    names = [name for name, f in FUNCTIONS.items() if f.result == "same" and name != "philox"]
    name = names[rng.integers(len(names))] if rng.random() < 0.4 else ["add", "sub", "mul", "div"][rng.integers(4)]
    args = [random_expr(rng, depth - 1) for _ in range(FUNCTIONS[name].arity)]
    result: Expr = call(name, *args)
    if rng.random() < 0.1:
        result = call("select", call("lt", args[0], result), result, args[-1])
    return cast(cast(result, ALL[rng.integers(1, len(ALL))]), f32) if rng.random() < 0.1 else result


def test_random_expressions_survive_exactly(rng):
    buffers = (X.buffer, Y.buffer, Buffer("z", f32, (N,), "out"))
    for _ in range(200):
        body = (Store(buffers[2], (VAR,), random_expr(rng, 5)),)
        kernel = Kernel("k", buffers, ("n",), body)
        text = kernel_to_text(kernel)
        back = parse_kernel(text)
        assert repr(back) == repr(kernel)
        assert kernel_to_text(back) == text


def test_long_chains_need_no_deep_stack():
    expr: Expr = X
    for _ in range(200):
        expr = Call("add", (expr, Y), f32)
    kernel = Kernel("k", (X.buffer, Y.buffer), ("n",), (Store(Y.buffer, (VAR,), expr),))
    assert repr(parse_kernel(kernel_to_text(kernel)).body[0].value.dtype) == "f32"
    assert kernel_to_text(parse_kernel(kernel_to_text(kernel))) == kernel_to_text(kernel)
