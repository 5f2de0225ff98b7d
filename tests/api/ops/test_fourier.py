"""Fourier transforms of `kgraph.ops` against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from ops_cases import assert_like_numpy, assert_native_like_interpreter, assert_slopes, cases

import kgraph.ops as ops
from kgraph.errors import ArgumentError

CASES = cases(
    ("fft((x, y))", "(lambda z: (z.real, z.imag))(np.fft.fft(x + 1j * y))"),
    ("fft2((x, y))", "(lambda z: (z.real, z.imag))(np.fft.fft2(x + 1j * y))"),
    ("ifft2((x, y))", "(lambda z: (z.real, z.imag))(np.fft.ifft2(x + 1j * y))"),
    ("rfft(w)", "(lambda z: (z.real, z.imag))(np.fft.rfft(w))"),
    ("rfft(x, 6)", "(lambda z: (z.real, z.imag))(np.fft.rfft(x, 6))"),
    ("rfft(x, 3)", "(lambda z: (z.real, z.imag))(np.fft.rfft(x, 3))"), ("irfft((x, y))", "np.fft.irfft(x + 1j * y)"),
    ("irfft((x, y), 7)", "np.fft.irfft(x + 1j * y, 7)"),
    ("istft(stft(tile(w, 4), 6, 2, 8), 6, 2, 8, length=20)", "np.tile(w, 4)"),
    ("istft(stft(tile(w, 4), 4, 2, 4, window=None, center=False), 4, 2, 4, window=None, center=False)",
     "np.tile(w, 4)"),
    ("stft(tile(w, 3), 4, 4, 4, window=[1.0, 2.0, 3.0, 4.0], center=False)[1]",
     "np.fft.rfft(np.stack([np.tile(w, 3)[k : k + 4] for k in (0, 4, 8)]) * [1, 2, 3, 4]).imag"),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.call)
def test_on_arrays_it_is_what_numpy_computes(case):
    assert_like_numpy(case)


def test_native_code_agrees_with_the_interpreter():
    assert_native_like_interpreter(CASES)


def test_gradients_are_slopes():
    assert_slopes(CASES)


@pytest.mark.parametrize("size", [1, 7, 96, 101, 1000])
def test_long_transforms_are_split_and_stay_precise(rng, size):
    a, b = rng.normal(size=(2, 2, size)).astype("float32")
    wanted = np.fft.fft(a.astype("float64") + 1j * b)
    real, imaginary = ops.fft((a, b))
    # Each of about log n sums of up to 64 products adds its rounding to numbers of size sqrt(n).
    assert np.abs(real + 1j * imaginary - wanted).max() <= 32 * np.finfo("float32").eps * np.sqrt(size)


def test_a_tensor_that_is_no_pair_is_refused():
    with pytest.raises(ArgumentError, match=r"^fft: x: expected a pair \(real part, imaginary part\), received 3"):
        ops.fft([np.ones(2)] * 3)
