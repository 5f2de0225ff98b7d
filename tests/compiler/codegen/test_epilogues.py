"""Epilogues of matrix products."""

from __future__ import annotations

import re

from pass_checks import graph_of

from kgraph.compiler.native import compile_native


def prefetches(body: str) -> int:
    """Prefetch instructions in the code of y = x @ w with this `body` behind it."""
    inputs = "%x: f32[batch, 40], %w: f32[40, 64], %r: f32[batch, 64], %b: f32[64]"
    product = "%p = matmul(%x, %w) {transpose_a=false, transpose_b=false} : f32[batch, 64]\n"
    code = compile_native(graph_of(inputs, product + body), 0, check=True)
    return len(re.findall(r"call void @llvm\.prefetch", code.llvm))


def test_what_an_epilogue_reads_is_asked_for_a_tile_ahead():
    assert prefetches("%y = add(%p, %r) : f32[batch, 64]\nreturn %y") > 0


def test_what_is_the_same_for_all_rows_is_not():
    bias = "%c = broadcast(%b) {axes=[1], shape=[batch, 64]} : f32[batch, 64]\n"
    assert prefetches(f"{bias}%y = add(%p, %c) : f32[batch, 64]\nreturn %y") == 0
