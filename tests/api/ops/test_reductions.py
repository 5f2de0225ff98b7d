"""Reductions of `kgraph.ops` against NumPy."""

from __future__ import annotations

import pytest
from ops_cases import assert_like_numpy, assert_native_like_interpreter, assert_slopes, cases

CASES = cases(
    "sum(x)", "sum(x, axis=0)", "sum(t, axis=(0, -1), keepdims=True)", "sum(b, axis=1)", "sum(g)",
    ("sum(i, axis=[1])", "np.sum(i, axis=1)"), "prod(x, axis=1)", "prod(i, axis=0)", "mean(x)", "mean(i, axis=0)",
    "mean(b)", "mean(t, axis=(1, 2))", "max(x)", "max(i, axis=1)", "max(b, axis=0)", "max(x, axis=0, initial=0.5)",
    "min(t, axis=(0, 2))", "min(g, initial=3)", "amax(x, axis=-1, keepdims=True)", "amin(x)", "ptp(x, axis=1)",
    "all(b, axis=0)", "all(k)", "any(b, axis=1)", "any(x, axis=0, keepdims=True)", "count_nonzero(k, axis=1)",
    "var(x, axis=1)", "var(i)", "std(x, axis=0)", "average(x, axis=0)", "average(x, axis=1, weights=v)",
    "average(x, weights=p)", "average(i, axis=0)", ("logsumexp(x, axis=1)", "np.log(np.sum(np.exp(x), 1))"),
    ("logsumexp(x)", "np.log(np.sum(np.exp(x)))"),
    ("logsumexp(t, axis=(0, 2), keepdims=True)", "np.log(np.sum(np.exp(t), (0, 2), keepdims=True))"),
    "nansum(z, axis=0)", "nanprod(n, axis=1)", "nanmax(n, axis=1)", "nanmin(z, axis=0)", "nanmean(n, axis=0)",
    "nanvar(n)", "nanstd(n, axis=1)", "nanmean(i)",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.call)
def test_on_arrays_it_is_what_numpy_computes(case):
    assert_like_numpy(case)


def test_native_code_agrees_with_the_interpreter():
    assert_native_like_interpreter(CASES)


def test_gradients_are_slopes():
    assert_slopes(CASES)
