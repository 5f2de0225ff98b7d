"""Arithmetic, rounding, powers and bits of `kgraph.ops` against NumPy."""

from __future__ import annotations

import pytest
from ops_cases import Case, assert_like_numpy, assert_native_like_interpreter, assert_slopes, cases

CASES = cases(
    "add(x, y)", "add(x, v)", "add(x, 2)", "add(i, j)", "add(b, c)", ("add(i, 1.5)", "np.add(i, 1.5)"), "add(b, 1)",
    "subtract(x, y)", "subtract(2.0, x)", "subtract(i, j)", "multiply(x, y)", "multiply(b, c)", "multiply(i, x)",
    "divide(x, p)", ("divide(i, j)", "np.divide(i, j)"), "true_divide(1, p)", ("divide_no_nan(x, p)", "x / p"),
    ("divide_no_nan(i, k)", "np.where(k == 0, 0.0, i / np.where(k == 0, 1, k))"), "floor_divide(i, j)",
    Case("floor_divide(x, p)", smooth=False), "floor_divide(i, 3)", "mod(i, j)",
    Case("mod(x, p)", tolerance=2e-5, smooth=False), "fmod(i, j)", Case("fmod(x, p)", tolerance=2e-5, smooth=False),
    "power(p, y)", "power(x, 2)", "power(i, 2)", "power(2.0, x)", "maximum(x, y)", "maximum(x, 0.5)", "maximum(b, c)",
    "minimum(i, j)", "minimum(0, x)", ("fmax(z, 0.25)", "np.fmax(z, 0.25)"), "fmin(z, 0.25)", "fmax(x, y)",
    Case("clip(x, -1, 1)", smooth=False), Case("clip(i, -2, 5)"), Case("clip(x, -p, p)", smooth=False), "negative(x)",
    "negative(i)", "abs(x)", "absolute(i)", "absolute(b)", ("fabs(i)", "np.abs(i) + 0.0"), "fabs(x)", "sign(z)",
    "sign(i)", "square(x)", "square(i)", "sqrt(p)", ("rsqrt(p)", "1 / np.sqrt(p)"), "cbrt(x)", "hypot(x, y)",
    "hypot(x, 3.0)", "reciprocal(p)", "floor(z)", "ceil(z)", "trunc(z)", "trunc(x)", "round(z)",
    Case("round(x, 2)", smooth=False), ("round(i, -1)", "np.round(i, -1)"), "heaviside(z, 0.5)", "deg2rad(x)",
    "rad2deg(x)", "nan_to_num(z, nan=1.0, posinf=7.0, neginf=-7.0)", "nan_to_num(i)", "bitwise_and(i, j)",
    "bitwise_or(i, j)", "bitwise_xor(i, j)", "bitwise_and(b, c)", "bitwise_not(i)", "bitwise_not(g)",
    ("bitwise_invert(b)", "~b"), "bitwise_left_shift(i, k)", "bitwise_right_shift(i, k)", "left_shift(g, 1)",
    "right_shift(g, 3)",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.call)
def test_on_arrays_it_is_what_numpy_computes(case):
    assert_like_numpy(case)


def test_native_code_agrees_with_the_interpreter():
    assert_native_like_interpreter(CASES)


def test_gradients_are_slopes():
    assert_slopes(CASES)
