"""Convolutions and pooling: kernels by the loop interpreter, and native code on every target that runs here."""

import numpy as np
import pytest
from native_kernels import runnable_targets
from op_samples import graph_of_sample, samples_of
from plan_runner import run_planned

from kgraph.compiler.native import compile_native
from kgraph.config import override
from kgraph.ir.loop_parser import parse_kernel
from kgraph.ir.loop_printer import kernel_to_text
from kgraph.ops import REGISTRY, convolution, pooling
from kgraph.runtime.executable import Executable

NAMES = tuple(op.name for op in (*convolution.OPS, *pooling.OPS))
SAMPLES = [
    pytest.param(REGISTRY[name], sample, id=f"{name}-{number}")
    for name in NAMES
    for number, sample in enumerate(samples_of(REGISTRY[name]))
]


def close(got, want):
    """Equal up to the rounding of sums; integers exactly."""
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(got, want)
        return
    scale = max(float(np.abs(want).max(initial=0)), 1.0)
    np.testing.assert_allclose(got, want, rtol=0, atol=(2e-5 if want.dtype == np.float32 else 1e-12) * scale)


@pytest.mark.parametrize("op, sample", SAMPLES)
def test_kernels_compute_what_the_reference_says(op, sample):
    (got,) = run_planned(graph_of_sample(op, sample), sample.args)
    close(got, op.reference(*sample.args, **sample.attrs))


@pytest.mark.parametrize("target", runnable_targets())
@pytest.mark.parametrize("op, sample", SAMPLES)
def test_native_code_computes_what_the_reference_says(op, sample, target):
    with override(target_cpu=target):
        code = compile_native(graph_of_sample(op, sample), 0, check=True)
    for kernel in code.kernels:
        text = kernel_to_text(kernel)
        assert kernel_to_text(parse_kernel(text)) == text
    (got,) = Executable(code.artifact, []).run(sample.args)
    close(got, op.reference(*sample.args, **sample.attrs))
