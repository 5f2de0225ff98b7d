"""Epilogues of matrix products."""

from __future__ import annotations

import math
import re

import numpy as np
from pass_checks import graph_of

from kgraph.compiler.native import compile_native
from kgraph.runtime.executable import Executable
from kgraph.runtime.interpreter import interpret


def asks(body: str) -> bool:
    """Whether kernels in the code of y = x @ w with this `body` behind it ask for what is read there."""
    inputs = "%x: f32[batch, 40], %w: f32[40, 64], %r: f32[batch, 64], %b: f32[64]"
    product = "%p = matmul(%x, %w) {transpose_a=false, transpose_b=false} : f32[batch, 64]\n"
    code = compile_native(graph_of(inputs, product + body), 0, check=True)
    return bool(re.search(r"@matmul\.plan\.float\.nna ", code.llvm))


def test_what_an_epilogue_reads_is_asked_for_a_tile_ahead():
    assert asks("%y = add(%p, %r) : f32[batch, 64]\nreturn %y")


def test_what_is_the_same_for_all_rows_is_not():
    bias = "%c = broadcast(%b) {axes=[1], shape=[batch, 64]} : f32[batch, 64]\n"
    assert not asks(f"{bias}%y = add(%p, %c) : f32[batch, 64]\nreturn %y")


def test_epilogues_may_read_more_than_is_asked_for():
    """More rows than a table of questions holds: the others are read when they are needed."""
    count, shapes = 40, [(26, 8), (8, 32)] + [(26, 32)] * 40
    inputs = ", ".join(f"%v{n}: f64[{rows}, {columns}]" for n, (rows, columns) in enumerate(shapes))
    sums = "".join(f"%s{n + 1} = add(%s{n}, %v{n + 2}) : f64[26, 32]\n" for n in range(count))
    product = "%s0 = matmul(%v0, %v1) {transpose_a=false, transpose_b=false} : f64[26, 32]\n"
    graph = graph_of(inputs, f"{product}{sums}return %s{count}")
    arrays = [np.random.default_rng(n).integers(-9, 9, shape).astype("float64") for n, shape in enumerate(shapes)]
    (got,), (want,) = (
        Executable(compile_native(graph, 0, check=True).artifact, []).run(arrays),
        interpret(graph, arrays),
    )
    np.testing.assert_array_equal(got, want)  # whole numbers: every sum is exact


def epilogues_of_two(first: str, second: str) -> int:
    """Epilogues in the code of p = first(x @ w, 1), q = second(p @ v, 2); its results are compared, too."""
    inputs = "%x: f32[batch, 24], %w: f32[24, 20], %v: f32[20, 20], %one: f32[batch, 20], %two: f32[batch, 20]"
    body = f"""%a = matmul(%x, %w) {{transpose_a=false, transpose_b=false}} : f32[batch, 20]
        %p = {first}(%a, %one) : f32[batch, 20]
        %b = matmul(%p, %v) {{transpose_a=false, transpose_b=false}} : f32[batch, 20]
        %q = {second}(%b, %two) : f32[batch, 20]
        return %p, %q"""
    graph = graph_of(inputs, body)
    code = compile_native(graph, 0, check=True)
    shapes = ((17, 24), (24, 20), (20, 20), (17, 20), (17, 20))
    arrays = [(np.arange(math.prod(s)) % 7 - n).astype("float32").reshape(s) for n, s in enumerate(shapes)]
    for got, want in zip(Executable(code.artifact, []).run(arrays), interpret(graph, arrays), strict=True):
        np.testing.assert_array_equal(got, want)  # small whole numbers: every sum is exact
    return len(re.findall(r"define internal void @\S+\.finish\(", code.llvm))


def test_epilogues_with_the_same_text_are_written_once():
    assert epilogues_of_two("add", "add") == 1


def test_epilogues_that_differ_are_not():
    assert epilogues_of_two("add", "sub") == 2
