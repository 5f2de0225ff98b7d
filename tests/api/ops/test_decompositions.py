"""Factors, inverses and determinants of `kgraph.ops` against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from ops_cases import Case, assert_like_numpy, assert_native_like_interpreter, assert_slopes, cases

import kgraph.ops as ops
from kgraph.errors import ShapeError

CASES = cases(
    ("cholesky(matmul(m, transpose(m)))", "np.linalg.cholesky(m @ m.T)"),
    ("cholesky(matmul(m, transpose(m)), upper=True)", "np.linalg.cholesky(m @ m.T).T"), ("inv(m)", "np.linalg.inv(m)"),
    ("inv(stack([m, transpose(m)]))", "np.linalg.inv(np.stack([m, m.T]))"), ("solve(m, v)", "np.linalg.solve(m, v)"),
    ("solve(m, transpose(x))", "np.linalg.solve(m, x.T)"),
    ("solve([[0.0, 2.0], [1.0, 0.0]], [4.0, 3.0])", "np.array([3.0, 2.0])"), ("det(m)", "np.linalg.det(m)"),
    ("det(negative(flip(m, 0)))", "np.linalg.det(-m[::-1])"),
    ("slogdet(flip(m, 0))", "tuple(np.linalg.slogdet(m[::-1]))"), ("logdet(m)", "np.linalg.slogdet(m)[1]"),
    ("qr(m)", "tuple(np.linalg.qr(m))"), ("qr(x)", "tuple(np.linalg.qr(x))"),
    Case("qr(transpose(x), 'complete')", "tuple(np.linalg.qr(x.T, 'complete'))", smooth=False),
    ("qr(transpose(x))", "tuple(np.linalg.qr(x.T))"),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.call)
def test_on_arrays_it_is_what_numpy_computes(case):
    assert_like_numpy(case)


def test_native_code_agrees_with_the_interpreter():
    assert_native_like_interpreter(CASES)


def test_gradients_are_slopes():
    assert_slopes(CASES)


@pytest.mark.parametrize("name", ["cholesky", "inv", "det"])
def test_a_matrix_that_is_not_square_is_refused(name):
    with pytest.raises(ShapeError, match=rf"^{name}: x: expected square matrices of known size"):
        getattr(ops, name)(np.ones((2, 3), "float32"))
