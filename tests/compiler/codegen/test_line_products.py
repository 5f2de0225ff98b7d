"""Convolutions of few channels read padded lines of pixels: which do, and that their numbers are right."""

from __future__ import annotations

import numpy as np
import pytest
from native_kernels import runnable_targets
from op_samples import graph_of_sample

from kgraph.compiler.native import compile_native
from kgraph.config import override
from kgraph.ir.opdef import Sample
from kgraph.primitives import REGISTRY
from kgraph.runtime.executable import Executable

FORWARD, INPUT, WEIGHTS = "conv", "conv_input_grad", "conv_weight_grad"
# Shapes of input and weights, strides, zeros before and after, dilation; the passes that read padded lines.
CASES = [
    ((3, 32, 32, 16), (3, 3, 16, 16), (1, 1), (1, 1), (1, 1), (1, 1), {FORWARD, INPUT, WEIGHTS}),
    ((2, 9, 11, 8), (3, 3, 8, 20), (2, 2), (0, 1), (1, 1), (1, 1), {FORWARD, INPUT, WEIGHTS}),
    ((2, 9, 11, 8), (3, 4, 8, 12), (2, 1), (0, 0), (0, 0), (1, 1), {FORWARD, INPUT, WEIGHTS}),
    ((2, 12, 11, 8), (3, 4, 8, 7), (1, 3), (2, 2), (2, 1), (2, 1), {FORWARD, WEIGHTS}),  # dilated across lines
    ((2, 12, 30), (4, 30, 7), (2,), (2,), (1,), (1,), {FORWARD, WEIGHTS}),
    ((2, 12, 30), (4, 30, 7), (1,), (2,), (1,), (3,), set()),  # dilated along lines
    ((2, 3, 8, 5, 24), (1, 3, 2, 24, 9), (1, 1, 1), (0, 1, 0), (0, 1, 1), (1, 1, 1), {FORWARD, WEIGHTS}),
    ((2, 3, 4, 5, 24), (2, 3, 2, 24, 9), (1, 1, 1), (0, 1, 0), (0, 1, 1), (1, 1, 1), set()),  # taps over three axes
    ((2, 6, 6, 4), (3, 3, 4, 16), (1, 1), (1, 1), (1, 1), (1, 1), {INPUT}),  # 12 elements of a tap: too short
    ((2, 6, 6, 16), (3, 3, 16, 80), (1, 1), (1, 1), (1, 1), (1, 1), {INPUT}),  # many columns: collected for each tap
    ((0, 8, 9, 24), (3, 2, 24, 9), (1, 1), (1, 0), (1, 1), (1, 1), {FORWARD, WEIGHTS}),
]


def calls(case):
    """(op, operands, attributes) of the three passes of a convolution."""
    x_shape, w_shape, strides, low, high, dilation, _ = case
    attrs = {"strides": strides, "low": low, "high": high, "dilation": dilation, "groups": 1}
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in (x_shape, w_shape))
    dy = rng.standard_normal(REGISTRY[FORWARD].reference(x, w, **attrs).shape).astype(np.float32)
    yield FORWARD, (x, w), attrs
    yield INPUT, (dy, w), {**attrs, "shape": x_shape}
    yield WEIGHTS, (x, dy), {**attrs, "kernel": w_shape[:-2]}


@pytest.mark.parametrize("target", runnable_targets())
@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case[:-1]))
def test_results(case, target):
    for name, arrays, attrs in calls(case):
        graph = graph_of_sample(REGISTRY[name], Sample(arrays, attrs))
        with override(target_cpu=target):
            code = compile_native(graph, 0, check=True)
            (result,) = Executable(code.artifact, []).run(arrays)
        expected = REGISTRY[name].reference(*(a.astype(np.float64) for a in arrays), **attrs)
        # float32 sums of n products are off by at most n eps of the sum of sizes; here by far less than n = 2000.
        scale = np.abs(expected).max(initial=1)
        np.testing.assert_allclose(result, expected, rtol=0, atol=2e-6 * scale, err_msg=name)


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case[:-1]))
def test_which_passes_read_lines(case):
    used = set()
    for name, arrays, attrs in calls(case):
        graph = graph_of_sample(REGISTRY[name], Sample(arrays, attrs))
        with override(target_cpu="x86-64-v4"):
            if "@matmul.lines_" in compile_native(graph, 0, check=False).llvm:
                used.add(name)
    assert used == case[-1]
