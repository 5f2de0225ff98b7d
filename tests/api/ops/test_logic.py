"""Comparisons, predicates and choice of `kgraph.ops` against NumPy."""

from __future__ import annotations

import pytest
from ops_cases import assert_like_numpy, assert_native_like_interpreter, assert_slopes, cases

CASES = cases(
    "equal(i, j)", "equal(i, 3)", "equal(b, c)", "not_equal(i, j)", "less(x, y)", "less(b, c)", "less_equal(i, j)",
    "greater(x, 0)", "greater_equal(x, v)", "logical_and(b, c)", "logical_and(k, 1)", "logical_or(b, k)",
    "logical_xor(b, c)", "logical_not(b)", "logical_not(k)", "isfinite(z)", "isfinite(i)", "isinf(z)", "isinf(i)",
    "isnan(z)", "isnan(i)", "isposinf(z)", "isneginf(z)", "isreal(x)", "signbit(z)", "signbit(i)",
    "isclose(x, y, 0.1, 0.5)", "isclose(z, z)", "isclose(z, z, equal_nan=True)", "isclose(i, j, 0.5)",
    ("allclose(x, x)", "np.array(True)"), ("allclose(x, y)", "np.array(False)"), "where(b, x, y)", "where(b, 1, 0)",
    "where(k, x, 0)", "where(b, i, 0.5)", "where(greater(x, 0), x, y)", "select([b, c], [x, y], 7.0)",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.call)
def test_on_arrays_it_is_what_numpy_computes(case):
    assert_like_numpy(case)


def test_native_code_agrees_with_the_interpreter():
    assert_native_like_interpreter(CASES)


def test_gradients_are_slopes():
    assert_slopes(CASES)
