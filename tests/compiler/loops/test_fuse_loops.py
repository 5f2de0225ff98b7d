"""Loops beside each other become one where they read the same memory, and only if sums stay what they are."""

from __future__ import annotations

import pytest
from kernel_samples import assert_same_meaning

from kgraph.compiler.analysis.kernels import expressions, statements
from kgraph.compiler.loops.fuse_loops import MOST_SUMS, fuse_loops
from kgraph.ir.loop_parser import parse_kernel
from kgraph.ir.loops import For
from kgraph.ir.scalar import Call
from kgraph.ir.verify import verify_kernel

HEAD = """kernel @k(%x: f32[n] in, %w: f32[n] in, %d: f64[n] in, %h: u8[n] in, %e: f32[n] out, %y: f32[2] out)
    sizes(n) {
"""
SUM = "init {0}: f32 = 0:f32 {kind} {0}_at in 0..{to} {{ {0} += {1} }}\n"


def sums(kind: str = "vector for", to: tuple[str, ...] = (), **values: str) -> str:
    """A loop for each local, which adds up a value at `I`."""
    ends = (*to, *["n"] * len(values))
    return "".join(
        SUM.format(name, value.replace("I", f"{name}_at"), kind=kind, to=end)
        for (name, value), end in zip(values.items(), ends)
    )


JOINED = {
    "two sums": (sums(a="%x[I]", b="%x[I] * %x[I]"), 1),
    "serial loops": (sums("for", a="%x[I]", b="%x[I] * %x[I]"), 1),
    "costly sums": (sums(a="exp(%x[I])", b="exp(%x[I]) * %x[I]"), 1),
    "a store beside a sum": (sums(a="exp(%x[I])") + "vector for j in 0..n { store %e[j] = exp(%x[j]) }\n", 1),
    "a result that is stored in between": (sums(a="%x[I]") + "store %y[0] = a\n" + sums(b="%x[I] * 2:f32"), 1),
    "an expression of the result of a loop before both": (
        sums(a="%w[I]") + "let m: f32 = a * 2:f32\n" + sums(b="%x[I] - m", c="%x[I] * m"), 2),
    "as many as stay in registers": (sums(**{"abcdef"[n]: f"%x[I] * {n}:f32" for n in range(MOST_SUMS + 2)}), 2),
    "other sums between two": (sums(a="%x[I]", b="exp(%x[I])", c="%x[I] * 2:f32"), 2),
}  # fmt: skip
KEPT = {
    "other memory": sums(a="%x[I]", b="%w[I]"),
    "other numbers of rounds": sums(to=("n", "9"), a="%x[I]", b="%x[I]"),
    "one needs the other": sums(a="%x[I]", b="%x[I] * a"),
    "one needs what is made of the other": sums(a="%x[I]") + "let m: f32 = a\n" + sums(b="%x[I] * m"),
    "one would be made of fewer vectors": sums(a="%x[I]", b="exp(%x[I])"),
    "numbers of two widths": sums(a="%x[I]", b="%x[I] + cast(%d[I], f32)"),
    "rounds that cannot be masked": sums(a="%x[I]", b="%x[I] + cast(%h[I], f32)"),
    "one reads what the other writes": "vector for j in 0..n { store %e[j] = %x[j] }\n" + sums(a="%e[I] + %x[I]"),
    "nothing is added up": "vector for j in 0..n { store %e[j] = %x[j] } vector for k in 0..n { store %y[k] = %x[k] }",
    "the same sum goes on": sums(a="%x[I]") + "vector for j in 0..n { a += %x[j] }\n",
}  # fmt: skip


def loops_of(kernel) -> int:
    return sum(isinstance(stmt, For) for stmt in statements(kernel.body))


def kernel_of(body: str):
    ends = "store %y[0] = a\n" * ("a +=" in body and "%y" not in body) + "store %y[1] = b\n" * ("b +=" in body)
    kernel = parse_kernel(HEAD + body + ends + "}")
    verify_kernel(kernel)
    return kernel


@pytest.mark.parametrize("case", JOINED)
def test_joined(case, rng):
    body, count = JOINED[case]
    before = kernel_of(body)
    after = fuse_loops(before)
    verify_kernel(after)
    assert loops_of(after) == count
    assert fuse_loops(after) is after
    for n in (0, 1, 5, 40):
        assert_same_meaning(before, after, {"n": n}, rng)


@pytest.mark.parametrize("case", KEPT)
def test_kept(case):
    kernel = kernel_of(KEPT[case])
    assert fuse_loops(kernel) is kernel


def test_what_both_compute_is_one_expression():
    after = fuse_loops(kernel_of(sums(a="exp(%x[I])", b="exp(%x[I]) * %x[I]")))
    assert sum(isinstance(e, Call) and e.function == "exp" for e in expressions(after.body)) == 1


def test_loops_inside_joined_blocks_are_joined():
    block = """init {0}: f32 = 0:f32 for k{0} in 0..n {{
        init p{0}: f32 = 0:f32 for i{0} in 0..9 {{ p{0} += %x[i{0}] * {1} }} {0} += p{0} }}\n"""
    after = fuse_loops(kernel_of(block.format("a", "2:f32") + block.format("b", "3:f32")))
    assert loops_of(after) == 2
