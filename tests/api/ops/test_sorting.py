"""Order statistics of `kgraph.ops` against NumPy."""

from __future__ import annotations

import pytest
from ops_cases import assert_like_numpy, assert_native_like_interpreter, assert_slopes, cases

CASES = cases(
    "sort(x)", "sort(i, axis=0)", "sort(x, axis=None)", "sort(b, axis=1)", "sort(z)", "argsort(x, axis=1)",
    ("argsort(i, axis=0)", "np.argsort(i, 0, stable=True)"),
    ("top_k(x, 2)", "(np.sort(x)[:, ::-1][:, :2], np.argsort(-x)[:, :2])"),
    ("in_top_k([0, 3, 1], x, 2)", "np.argsort(np.argsort(-x))[[0, 1, 2], [0, 3, 1]] < 2"),
    ("searchsorted(sort(w), x)", "np.searchsorted(np.sort(w), x)"),
    ("searchsorted([1, 2, 2, 3], k, side='right')", "np.searchsorted([1, 2, 2, 3], k, 'right')"),
    ("digitize(x, [-1.0, 0.0, 1.0])", "np.digitize(x, [-1.0, 0.0, 1.0])"), "median(x)", "median(x, axis=1)",
    "median(t, axis=(0, 2), keepdims=True)", "median(i, axis=0)", "quantile(x, 0.3)",
    "quantile(x, [0.1, 0.9], axis=0)", "quantile(t, 0.25, axis=(1, 2), keepdims=True)",
    "quantile(x, [0.1, 0.5], axis=1, method='lower')", "quantile(x, 0.7, axis=1, method='higher')",
    "quantile(x, 0.7, axis=1, method='midpoint')", "quantile(x, 0.4, axis=1, method='nearest')",
    "percentile(x, 75, axis=0)", "median(n, axis=0)", "bincount([1, 3, 1, 0])",
    "bincount([1, 2], weights=[0.5, 2.0], minlength=5)",
    ("bincount(k, minlength=4)", "np.eye(4, dtype=int)[k].sum(1)"), ("histogram(x, 5)", "np.histogram(x, 5)"),
    ("histogram(i, 4, (-8, 8))", "np.histogram(i, 4, (-8, 8))"), "cumsum(x, axis=1)", "cumsum(x)", "cumsum(b, axis=0)",
    "cumprod(x, axis=0)", "cumprod(i)", "diff(x)", "diff(i, 2, axis=0)", "diff(b)", "isin(i, [1, 2, 3])",
    "isin(i, j, invert=True)", ("trapezoid(x)", "np.trapezoid(x)"), ("trapezoid(x, v)", "np.trapezoid(x, v)"),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.call)
def test_on_arrays_it_is_what_numpy_computes(case):
    assert_like_numpy(case)


def test_native_code_agrees_with_the_interpreter():
    assert_native_like_interpreter(CASES)


def test_gradients_are_slopes():
    assert_slopes(CASES)
