"""The kernel verifier: every seeded defect is found, shown in the text, and legal kernels pass."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kgraph.errors import VerifyError
from kgraph.ir.dims import symbol
from kgraph.ir.dtypes import bool_, f32, f64
from kgraph.ir.loop_parser import parse_kernel
from kgraph.ir.loop_printer import kernel_to_text
from kgraph.ir.loops import Accumulate, For, Init, Kernel, Store
from kgraph.ir.scalar import Buffer, Call, Const, IndexValue, Load, call
from kgraph.ir.verify import verify_kernel

HEAD = (
    "kernel @k(%x: f32[n, 4] in, %w: f32[4, 8] in, %d: f64[4] in, %b: bool[n] in, "
    "%g: f64[4, 8] in, %h: i32[4, 4] in, %e: f32[0] in, "
    "%y: f32[n, 4] out, %z: f32[n, 8] out, %t: f32[64] scratch) sizes(n) {\n"
)
HEAD_LINES = 12  # as printed

PRODUCT = "contract a[i in 0..n, j in 0..8] = %x[] @ %w[] over 0..4 using %t {\n"

# (statements, number of the line at fault, words of the message)
DEFECTS = [
    # roles, buffers, ranks
    ("store %x[0, 0] = 1:f32", 2, "store to %x: expected a buffer of role out or scratch, received in"),
    ("store %y[0] = 1:f32", 2, "index of %y: expected 2 entries, received 1"),
    ("store %t[0] = %x[0, 0, 0]", 2, "index of %x: expected 2 entries, received 3"),
    # names
    ("for i in 0..n {\n for i in 0..4 {\n }\n }", 3, "name i: expected a name not in use"),
    ("for n in 0..4 {\n }", 2, "name n"),
    ("let a: f32 = 1:f32\n let a: f32 = 1:f32", 3, "name a"),
    ("let a: f32 = 1:f32\n for a in 0..4 {\n }", 3, "name a"),
    ("for i in 0..4 {\n }\n store %t[i] = 1:f32", 4, "sizes, loop variables and integer lets in scope, received i"),
    ("for i in 0..m {\n }", 2, "extent: expected sizes, loop variables and integer lets in scope, received m"),
    ("store %t[j] = 1:f32", 2, "received j"),
    ("let a: f32 = index(q, f32)", 2, "index value: expected sizes, loop variables and integer lets"),
    ("let a: f32 = 1:f32\n store %t[a] = 1:f32", 3, "received a"),
    ("store %t[0] = a:f32", 2, "local a: expected a local in scope"),
    ("for i in 0..4 {\n let a: f32 = 1:f32\n }\n store %t[0] = a:f32", 5, "local a: expected a local in scope"),
    ("for i in 0..4 {\n store %t[i] = i:f32\n }", 3, "local i: expected a local in scope"),
    ("store %t[0] = a:f32\n let a: f32 = 1:f32", 2, "local a"),
    ("let true: bool = false", 2, "no word of IR text"),
    # data in indices
    ("init a: i32 = 1:i32\n store %t[a] = 1:f32", 3, "received a"),
    ("for i in 0..4 {\n let a: i32 = %h[i, 0]\n }\n store %t[a] = 1:f32", 5, "received a"),
    ("vector for i in 0..4 {\n let a: i32 = %h[i, 0]\n store %y[i, a] = 1:f32\n }", 4,
     "index of %y: expected one value for all iterations of the vector loop, received a"),
    ("vector for i in 0..4 {\n let a: i32 = %h[i, 0]\n let c: i32 = a + 1:i32\n let q: f32 = %x[c, 0]\n }", 5,
     "received c"),
    ("vector for i in 0..4 {\n let a: i32 = %h[i, 0]\n for k in 0..a {\n }\n }", 4, "extent: expected one value"),
    ("vector for i in 0..4 {\n init s: i32 = 0:i32\n let a: i32 = s\n let q: f32 = %x[a, 0]\n }", 5, "received a"),
    ("vector for i in 0..4 {\n let a: i32 = %h[i, 0]\n let q: i32 = index(a, i32)\n }", 4, "index value"),
    (PRODUCT + " let q: i32 = cast(a, i32)\n store %z[i, q+j] = a\n }", 4, "received q"),
    ("parallel for i in 0..4 {\n let a: i32 = %h[i, 0]\n store %y[a, 0] = 1:f32\n }", 4,
     "an index that differs with i"),
    ("parallel for i in 0..4 {\n let a: i32 = %h[i, 0]\n store %y[a+i, 0] = 1:f32\n }", 4,
     "an index that differs with i"),
    # element types
    ("let a: f32 = 1:f32\n store %t[0] = a:f64", 3, "local a: expected f32, received f64"),
    ("store %t[0] = %d[0]", 2, "store to %t: expected f32, received f64"),
    ("store %t[0] = %w[0, 0] + %d[0]", 2, "add: expected one operand type, received f32, f64"),
    ("store %t[0] = select(%w[0, 0], %w[0, 0], %w[0, 1])", 2, "select: expected a bool condition"),
    ("store %t[0] = select(true, %d[0], %w[0, 1])", 2, "select: expected a bool condition and two operands"),
    ("let a: bool = index(0, bool)", 2, "index value: expected an integer or float type"),
    ("let a: u32 = -1:u32", 2, "literal: expected a value of u32, received -1"),
    ("let a: i32 = 0.5:i32", 2, "literal: expected a value of i32, received 0.5"),
    ("let a: bool = 1:bool", 2, "literal: expected a value of bool, received 1"),
    ("let a: f32 = true:f32", 2, "literal: expected a value of f32, received True"),
    # accumulators
    ("a += 1:f32", 2, "accumulate into a: expected a local started with init, received an unknown name"),
    ("let a: f32 = 1:f32\n a += 1:f32", 3, "accumulate into a: expected a local started with init, received another"),
    ("init a: f32 = 1:f32\n a += 1:f64", 3, "accumulate into a: expected f32, received f64"),
    ("init a: bool = true\n a += true", 3, "combine add"),
    ("init a: f32 = 1:f32\n a or= 1:f32", 3, "combine or"),
    ("init a: f32 = 1:f32\n parallel for i in 0..n {\n a += 1:f32\n }", 4, "a local started inside the parallel loop"),
    # loops
    ("vector for i in 0..4 {\n vector for j in 0..4 {\n }\n }", 3, "inside a vector loop: expected serial loops only, "
     "received vector loop"),
    ("vector for i in 0..4 {\n parallel for j in 0..4 {\n }\n }", 3, "received parallel loop"),
    ("vector for i in 0..4 {\n for j in 0..4 {\n unroll for k in 0..4 {\n }\n }\n }", 4, "received unroll loop"),
    ("vector for h in 0..4 {\n contract a[i in 0..n, j in 0..8] = %x[] @ %w[] over 0..4 using %t {\n }\n }", 3,
     "received contraction"),
    ("parallel for i in 0..n {\n store %y[0, 0] = 1:f32\n }", 3, "expected an index that differs with i"),
    ("vector for i in 0..n {\n for j in 0..4 {\n store %t[j] = 1:f32\n }\n }", 4, "an index that differs with i"),
    # contractions
    (PRODUCT + " init q: f32 = a\n }", 3,
     "body of a contraction: expected let and store only, received Init"),
    (PRODUCT + " for q in 0..4 {\n }\n }", 3, "received For"),
    ("contract a[i in 0..n, j in 0..8] = %x[] @ %w[] over 0..4 using %z {\n }", 2, "memory %z: expected role scratch"),
    ("contract a[i in 0..n, j in 0..8] = %x[] @ transpose(%w[]) over 0..4 using %t {\n }", 2,
     "matrix %w: expected 8 x 4, received 4 x 8"),
    ("contract a[i in 0..4, j in 0..8] = %x[] @ %w[] over 0..4 using %t {\n }", 2,
     "matrix %x: expected 4 x 4, received n x 4"),
    ("contract a[i in 0..n, j in 0..8] = %x[0] @ %w[] over 0..4 using %t {\n }", 2, "%x: expected a matrix: 3 axes"),
    ("contract a[i in 0..n, j in 0..8] = %d[] @ %w[] over 0..4 using %t {\n }", 2, "%d: expected a matrix: 2 axes"),
    ("contract a[i in 0..n, j in 0..8] = %x[] @ %g[] over 0..4 using %t {\n }", 2,
     "one float type, received f32 and f64"),
    ("contract a[i in 0..4, j in 0..4] = %h[] @ %h[] over 0..4 using %t {\n }", 2,
     "one float type, received i32 and i32"),
    ("contract a[i in 0..n, i in 0..8] = %x[] @ %w[] over 0..4 using %t {\n }", 2, "name i"),
    (PRODUCT + " store %z[i, 0] = a\n }", 3,
     "expected an index that differs with j"),
    (PRODUCT + " store %z[i, j] = a\n }\n store %t[0] = a:f32", 5,
     "local a"),
    # bounds
    ("store %t[64] = 1:f32", 2, "index of %t: expected 0 <= index < 64, received 64"),
    ("store %t[-1] = 1:f32", 2, "received -1"),
    ("for i in 0..4 {\n store %t[0] = %w[i, i+5]\n }", 3, "index of %w: expected 0 <= index < 8, received 5+i"),
    ("for i in 0..4 {\n store %t[i-1] = 1:f32\n }", 3, "received -1+i"),
    ("for i in 0..n {\n store %z[i+1, 0] = 1:f32\n }", 3, "expected 0 <= index < n, received 1+i"),
    ("for i in 0..n {\n store %z[2*i, 0] = 1:f32\n }", -1, ""),  # inside for n = 1
    ("for i in 0..n {\n store %z[n, 0] = 1:f32\n }", 3, "received n"),
    ("for i in 0..9 {\n store %t[63-8*i] = 1:f32\n }", 3, "received 63-8*i"),
    ("for i in 0..8 {\n for j in 0..8 {\n store %t[8*i+j+1] = 1:f32\n }\n }", 4, "received 1+8*i+j"),
    ("for i in 0..8 {\n for j in 0..3 {\n store %t[60+j-i] = 1:f32\n }\n }", -1, ""),
    ("for i in 0..8 {\n for j in 0..5 {\n store %t[60+j-i] = 1:f32\n }\n }", 4, "received 60-i+j"),
    ("for i in 0..9 {\n store %t[i//2+60] = 1:f32\n }", 3, "received 60+(i)//2"),
    ("store %t[0] = %e[0]", 2, "index of %e"),
]  # fmt: skip


@pytest.mark.parametrize("body, line, words", DEFECTS, ids=[f"{n}-{d[2][:40]}" for n, d in enumerate(DEFECTS)])
def test_every_seeded_defect_is_found_and_shown(body, line, words):
    kernel = parse_kernel(f"{HEAD}{body}\n}}")
    if line < 0:
        verify_kernel(kernel)
        return
    with pytest.raises(VerifyError) as caught:
        verify_kernel(kernel)
    message = str(caught.value)
    line += HEAD_LINES - 1
    assert message.startswith(f"kernel @k, line {line}: ")
    assert words in message
    assert "\n" not in message
    note = caught.value.__notes__[0].split("\n")
    (pointer,) = [n for n, row in enumerate(note) if row.lstrip().startswith("^ ")]
    assert note[pointer - 1] == kernel_to_text(kernel).split("\n")[line - 1]


LEGAL = [
    "for i in 0..4 {\n }\n for i in 0..4 {\n let a: f32 = 1:f32\n }\n let a: f32 = 1:f32",
    "init a: f32 = 0:f32\n vector for i in 0..n {\n a += %x[i, 0]\n }\n store %t[0] = a",
    "parallel for i in 0..n {\n init a: f32 = 0:f32\n for j in 0..4 {\n a max= %x[i, j]\n }\n store %y[i, 0] = a\n }",
    "vector for i in 0..n {\n init a: bool = true\n for j in 0..4 {\n a and= %b[i]\n }\n store %y[i, 0] = 1:f32\n }",
    "parallel for i in 0..1 {\n store %t[0] = 1:f32\n }",
    "for i in 0..0 {\n store %t[0] = %e[0]\n }",
    "vector for i in 0..3 {\n for j in 0..0 {\n store %t[j] = %e[j]\n }\n }",
    "for i in 0..32 {\n store %t[2*i+1] = %t[63-2*i]\n }",
    "for i in 0..64 {\n store %t[i] = %t[8*(i//8)]\n store %t[i-8*(i//8)] = 1:f32\n }",
    "for i in 0..n {\n for j in 0..i {\n store %t[j] = 1:f32\n }\n }",
    "for i in 0..4 {\n for j in 0..8 {\n store %t[16*i+j] = 1:f32\n }\n }",
    "for i in 0..n*4 {\n store %y[i//4, i-4*(i//4)] = 1:f32\n }",
    "let a: i32 = %h[0, 0]\n parallel for i in 0..4 {\n store %t[a+i] = 1:f32\n }",
    "parallel for i in 0..4 {\n let a: i32 = %h[i, 0]\n for k in 0..a {\n store %y[i, k] = %x[a, k]\n }\n }",
    "vector for i in 0..4 {\n let a: i32 = %h[0, 1]\n for k in 0..a {\n store %y[a, i] = %x[a, k]\n }\n }",
    "parallel for i in 0..n {\n store %t[0] = 1:f32\n }",
    PRODUCT + " let q: f32 = a * 2:f32\n store %z[i, j] = q\n }",
    "contract a[i in 0..8, j in 0..n] = transpose(%w[]) @ transpose(%x[]) over 0..4 using %t {\n }",
]  # fmt: skip


@pytest.mark.parametrize("body", LEGAL)
def test_legal_kernels_pass(body):
    verify_kernel(parse_kernel(f"{HEAD}{body}\n}}"))


N = symbol("n")
X, Y = Buffer("x", f32, (N,), "in"), Buffer("y", f32, (N,), "out")
VAR = symbol("i")
LOAD = Load(X, (VAR,))


def kernel_of(*body, buffers=(X, Y), sizes=("n",)) -> Kernel:
    return Kernel("k", buffers, sizes, (For("i", N, "serial", body),))


# Defects that no text can have.
BUILT = {
    "unknown buffer": (kernel_of(Store(Y, (VAR,), LOAD), buffers=(Y,)), "buffer %x: expected a parameter"),
    "other buffer of that name": (kernel_of(Store(Y, (VAR,), Load(replace(X, dtype=f64), (VAR,)))), "buffer %x"),
    "buffer twice": (kernel_of(buffers=(X, Y, replace(X, role="out"))), "buffers: expected different names"),
    "size twice": (kernel_of(sizes=("n", "n")), "sizes: expected different names"),
    "size missing": (kernel_of(sizes=()), "shape of %x: expected sizes, loop variables"),
    "size name": (kernel_of(sizes=("n", "2x")), "size '2x'"),
    "role": (kernel_of(buffers=(X, replace(Y, role="tmp"))), "role of %y: expected in or out or scratch, received tmp"),
    "kind": (Kernel("k", (X, Y), ("n",), (For("i", N, "wide", ()),)), "loop kind"),
    "variable name": (Kernel("k", (X, Y), ("n",), (For("i j", N, "serial", ()),)), "name 'i j'"),
    "function": (kernel_of(Store(Y, (VAR,), Call("sine", (LOAD,), f32))), "function sine"),
    "arity": (kernel_of(Store(Y, (VAR,), Call("max", (LOAD,), f32))), "max: expected 2 operands, received 1"),
    "cast arity": (kernel_of(Store(Y, (VAR,), Call("cast", (LOAD, LOAD), f32))), "cast: expected 1 operand"),
    "type of a call": (kernel_of(Store(Y, (VAR,), Call("exp", (LOAD,), f64))), "type of exp: expected f32"),
    "type of a comparison": (kernel_of(Init("a", Call("lt", (LOAD, LOAD), f32))), "type of lt: expected bool"),
    "combine": (kernel_of(Init("a", LOAD), Accumulate("a", "sub", LOAD)), "combine: expected add or mul"),
    "index is no size": (kernel_of(Store(Y, (1.5,), LOAD)), "index of %y: expected a size, received 1.5"),
    "literal of a wrong kind": (kernel_of(Store(Y, (VAR,), Const("1", f32))), "literal"),
    "index of bool": (kernel_of(Init("a", IndexValue(VAR, bool_))), "index value"),
}


@pytest.mark.parametrize("kernel, words", BUILT.values(), ids=BUILT)
def test_defects_that_have_no_text_are_found_too(kernel, words):
    with pytest.raises(VerifyError) as caught:
        verify_kernel(kernel)
    assert words in str(caught.value)
    assert "^ " in caught.value.__notes__[0]


def test_the_note_points_under_the_statement():
    text = f"{HEAD}for i in 0..n {{\n vector for j in 0..4 {{\n store %y[i, j] = exp(%x[i, j+1])\n }}\n }}\n}}"
    with pytest.raises(VerifyError) as caught:
        verify_kernel(parse_kernel(text))
    note = caught.value.__notes__[0].split("\n")
    at = note.index("      store %y[i, j] = exp(%x[i, 1+j])")
    assert note[at + 1] == "      ^ index of %x: expected 0 <= index < 4, received 1+j"


def test_an_expression_used_twice_is_checked_in_both_places():
    twice = call("add", LOAD, LOAD)
    verify_kernel(kernel_of(Store(Y, (VAR,), twice)))
