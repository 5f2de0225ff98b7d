"""Reductions that leave only channels become one for each image and one over the batch."""

from __future__ import annotations

import numpy as np
import pytest
from pass_checks import graph_of, stays, unnamed

from kgraph.compiler.passes.split_reductions import split_reductions
from kgraph.runtime.interpreter import interpret

INPUTS = "%x: f32[batch, 9, 8, 5], %d: f32[batch, 9, 8, 7]"
CONV = "conv_weight_grad(%x, %d) {dilation=[1, 1], groups=1, high=[1, 1], kernel=[3, 3], low=[1, 1], strides=[1, 1]}"


@pytest.mark.parametrize("body, words", [
    ("%s = sum(%x) {axes=[0, 1, 2], keepdims=false} : f32[5]\nreturn %s", ["axes=[1, 2]", "f32[batch, 5]", "axes=[0]"]),
    ("%s = sum_to(%x) {axes=[3], shape=[5]} : f32[5]\nreturn %s", ["sum(%0) {axes=[1, 2]", "axes=[0]"]),
    ("%m, %r, %v = moments(%x) {axes=[0, 1, 2]} : f32[5], f32[5], f32[5]\nreturn %m, %v",
     ["moments(%0) {axes=[1, 2]}", "pooled_moments(%2, %3, %4) {axes=[0]}"]),
    ("%p, %q = paired_sums(%x, %x) {axes=[0, 1, 2]} : f32[5], f32[5]\nreturn %p, %q",
     ["paired_sums(%0, %0) {axes=[1, 2]}", "sum(%2) {axes=[0]", "sum(%3) {axes=[0]"]),
    (f"%w = {CONV} : f32[3, 3, 5, 7]\nreturn %w", ["parts=8", "f32[8, 3, 3, 5, 7]", "sum(%2) {axes=[0]"]),
], ids=["sum", "sum_to", "moments", "paired_sums", "conv_weight_grad"])  # fmt: skip
def test_split(body, words):
    graph = graph_of(INPUTS, body)
    after = split_reductions(graph)
    text = unnamed(after)
    assert [word for word in words if word not in text] == [], text
    assert split_reductions(after) is after
    rng = np.random.default_rng(0)
    for images in (0, 1, 3, 20):
        arrays = [1e3 + rng.standard_normal((images, 9, 8, n)).astype(np.float32) for n in (5, 7)]
        for got, want in zip(interpret(after, arrays), interpret(graph, arrays), strict=True):
            # Both round sums of at most 1440 products to float32.
            np.testing.assert_allclose(got, want, rtol=2e-6, atol=2e-6 * np.abs(want).max(initial=1))


@pytest.mark.parametrize("body", [
    "%s = sum(%x) {axes=[0], keepdims=false} : f32[9, 8, 5]\nreturn %s",  # over the batch only
    "%s = sum(%x) {axes=[1, 2], keepdims=false} : f32[batch, 5]\nreturn %s",  # there is one for each image
    "%s = sum(%x) {axes=[0, 2], keepdims=false} : f32[9, 5]\nreturn %s",  # few elements of each image
    "%s = max(%x) {axes=[0, 1, 2], keepdims=false} : f32[5]\nreturn %s",  # not a sum
    "%s = sum(%x) {axes=[0, 1, 2], keepdims=true} : f32[1, 1, 1, 5]\nreturn %s",
    f"%w = {CONV.replace('[3, 3]', '[1, 1]').replace('h=[1, 1]', 'h=[0, 0]').replace('w=[1, 1]', 'w=[0, 0]')}"
    " : f32[1, 1, 5, 7]\nreturn %w",
], ids=range(6))  # fmt: skip
def test_kept(body):
    stays(split_reductions, INPUTS, body)
