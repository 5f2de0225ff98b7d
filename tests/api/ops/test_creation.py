"""New tensors of `kgraph.ops` against NumPy."""

from __future__ import annotations

import pytest
from ops_cases import assert_like_numpy, assert_native_like_interpreter, assert_slopes, cases

CASES = cases(
    "zeros((2, 3))", "zeros(3, dtype='int32')", "ones((2,), dtype='bool')", "ones([2, 2])",
    ("empty((2, 0))", "np.zeros((2, 0))"), "full((2, 3), 1.5)", ("full((2, 4), v)", "np.full((2, 4), v)"),
    ("full(2, 7, dtype='int32')", "np.full(2, 7)"), "zeros_like(x)", "ones_like(i)", "ones_like(x, dtype='bool')",
    ("empty_like(x)", "np.zeros_like(x)"), "full_like(x, 3.0)", "full_like(i, 3)", "arange(5)", "arange(1, 9, 2)",
    "arange(0.0, 1.0, 0.25)", "arange(3, dtype='float32')", "linspace(0, 1, 5)",
    "linspace(0.0, 1.0, 4, endpoint=False)", "linspace(v, 2 * 3.0, 3)", "linspace(x, y, 4, axis=-1)",
    "linspace(0, 3, 4, retstep=True)", "logspace(0, 2, 3)", "geomspace(1, 8, 4)", "eye(3)", "eye(3, 4, k=1)",
    "eye(3, dtype='int32')", "identity(3)", "tri(3, 4, -1)", "tril(x)", "tril(t, 1)", "triu(x, -1)", "triu(i)",
    ("meshgrid(v, w)", "list(np.meshgrid(v, w))"),
    ("meshgrid(v, w, indexing='ij')", "list(np.meshgrid(v, w, indexing='ij'))"), "vander(v)",
    "vander(v, 3, increasing=True)", "bartlett(5)", "blackman(6)", "hamming(5)", "hanning(4)", "kaiser(5, 2.0)",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.call)
def test_on_arrays_it_is_what_numpy_computes(case):
    assert_like_numpy(case)


def test_native_code_agrees_with_the_interpreter():
    assert_native_like_interpreter(CASES)


def test_gradients_are_slopes():
    assert_slopes(CASES)
