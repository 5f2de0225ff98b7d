"""Random arrays for kernels, and a comparison of two kernels by the loop interpreter."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kgraph.ir.dims import evaluate
from kgraph.ir.loops import Kernel
from kgraph.runtime.loop_interpreter import run_kernel


def random_arrays(kernel: Kernel, sizes: Mapping[str, int], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Integers in the element types of a kernel's buffers: sums of them are exact in any order."""
    return {
        b.name: rng.integers(0, 8, [evaluate(d, sizes) for d in b.shape]).astype(b.dtype.numpy) for b in kernel.buffers
    }


def assert_same_meaning(a: Kernel, b: Kernel, sizes: Mapping[str, int], rng: np.random.Generator) -> None:
    """Both kernels leave the same numbers in their buffers."""
    first = random_arrays(a, sizes, rng)
    second = {buffer.name: first[buffer.name].reshape(-1).copy() for buffer in b.buffers}
    run_kernel(a, first, sizes)
    run_kernel(b, second, sizes)
    for name, array in second.items():
        np.testing.assert_array_equal(first[name].reshape(-1), array, err_msg=f"{name}, sizes {dict(sizes)}")
