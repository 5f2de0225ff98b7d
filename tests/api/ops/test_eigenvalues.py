"""Eigenvalues and singular values of `kgraph.ops` against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from ops_cases import Case, assert_like_numpy, assert_native_like_interpreter, assert_slopes, cases

import kgraph.ops as ops
from kgraph.errors import ShapeError

CASES = cases(
    ("eigh(add(m, transpose(m)))[0]", "np.linalg.eigh(m + m.T)[0]"),
    ("svd(x, compute_uv=False)", "np.linalg.svd(x, compute_uv=False)"),
    ("svd(transpose(x), compute_uv=False)", "np.linalg.svd(x.T, compute_uv=False)"),
    Case("square(eigh(add(m, transpose(m)))[1])", "np.linalg.eigh(m + m.T)[1] ** 2", tolerance=1e-4),
    ("square(svd(m)[0])", "np.linalg.svd(m)[0] ** 2"), ("square(svd(m)[2])", "np.linalg.svd(m)[2] ** 2"),
    ("square(svd(x, full_matrices=False)[2])", "np.linalg.svd(x, full_matrices=False)[2] ** 2"),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.call)
def test_on_arrays_it_is_what_numpy_computes(case):
    assert_like_numpy(case)


def test_native_code_agrees_with_the_interpreter():
    assert_native_like_interpreter(CASES)


def test_gradients_are_slopes():
    assert_slopes(CASES)


def test_factors_multiply_to_the_matrix_and_are_orthogonal(rng):
    for shape in ((4, 6, 3), (3, 7), (5, 5)):
        x = rng.normal(size=shape).astype("float32")
        for full in (False, True):
            u, s, vt = ops.svd(x, full_matrices=full)
            count = s.shape[-1]
            np.testing.assert_allclose((u[..., :count] * s[..., None, :]) @ vt[..., :count, :], x, atol=1e-5)
            for square in (np.swapaxes(u, -1, -2) @ u, vt @ np.swapaxes(vt, -1, -2)):
                np.testing.assert_allclose(square, np.broadcast_to(np.eye(square.shape[-1]), square.shape), atol=1e-5)


@pytest.mark.parametrize("name", ["eigh"])
def test_a_matrix_that_is_not_square_is_refused(name):
    with pytest.raises(ShapeError, match=rf"^{name}: x: expected square matrices of known size"):
        getattr(ops, name)(np.ones((2, 3), "float32"))
