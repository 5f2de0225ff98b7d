"""Exponentials, logarithms, trigonometric and error functions of `kgraph.ops` against NumPy."""

from __future__ import annotations

import pytest
from ops_cases import assert_like_numpy, assert_native_like_interpreter, assert_slopes, cases

CASES = cases(
    "exp(x)", "exp(i)", "exp2(x)", "expm1(x)", "log(p)", "log1p(p)", "log2(p)", "log10(p)", "logaddexp(x, y)",
    "logaddexp(z, 0.5)", "logaddexp2(x, y)", "sin(x)", "cos(i)", "tan(u)", "arcsin(u)", "arccos(u)", "arctan(x)",
    "arctan2(x, y)", "arctan2(i, j)", "sinh(x)", "cosh(x)", "tanh(x)", "arcsinh(x)",
    ("arccosh(add(p, 1))", "np.arccosh(p + 1)"), "arctanh(u)", "sinc(x)", ("erf(x)", "np.vectorize(math.erf)(x)"),
    ("erfc(x)", "1 - np.vectorize(math.erf)(x)"), ("erf(erfinv(u))", "u"), ("erfinv(erf(x))", "x"),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.call)
def test_on_arrays_it_is_what_numpy_computes(case):
    assert_like_numpy(case)


def test_native_code_agrees_with_the_interpreter():
    assert_native_like_interpreter(CASES)


def test_gradients_are_slopes():
    assert_slopes(CASES)
