"""Discrete Fourier transforms along the last axis. Complex tensors are pairs (real part, imaginary part).

A transform of n = a * b numbers is made of transforms of a and of b numbers (Cooley and Tukey, 1965), those as products
with a matrix of sines and cosines.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kgraph.eager import operation
from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.opdef import current_emitter
from kgraph.ops.promotion import emit, floating, floats_together, type_of
from kgraph.ops.shaping import padded, windows
from kgraph.primitives import composites

Pair = tuple[Any, Any]
# Up to this many numbers a product with a matrix is cheaper than splitting.
_WHOLE = 64


def _factor(size: int) -> int:
    """A divisor of `size` near its root, 1 for primes."""
    return max(d for d in range(1, math.isqrt(size) + 1) if size % d == 0)


def _times(pair: Pair, real: Any, imaginary: Any) -> Pair:
    a, b = pair
    return a * real - b * imaginary, a * imaginary + b * real


def _turned(pair: Pair, angles: Any, product: bool) -> Pair:
    """A pair times exp(i angles): as a matrix on the right, or element by element."""
    kind, emitter = type_of(pair[0]).dtype, current_emitter()
    cosine, sine = emitter.constant(np.cos(angles), kind), emitter.constant(np.sin(angles), kind)
    if not product:
        return _times(pair, cosine, sine)
    a, b = pair
    real = composites.matmul(a, cosine) - composites.matmul(b, sine)
    return real, composites.matmul(a, sine) + composites.matmul(b, cosine)


def transform(pair: Pair, sign: int) -> Pair:
    """Sums over j of x_j exp(sign 2 pi i j k / n) along the last axis."""
    *lead, size = type_of(pair[0]).shape
    if not isinstance(size, int) or size < 1:
        raise ShapeError("x", expected="a last axis of known size", received=str(size))
    rows = _factor(size)
    if size <= _WHOLE or rows == 1:
        places = np.outer(np.arange(size), np.arange(size)) % size
        return _turned(pair, sign * 2 * math.pi / size * places, product=True)
    columns = size // rows
    # j = columns * r + c and k = q + rows * p: first over r, then a turn by c q / n, then over c.
    split = [composites.swapaxes(composites.reshape(x, (*lead, rows, columns)), -1, -2) for x in pair]
    first = transform((split[0], split[1]), sign)
    turn = np.outer(np.arange(columns), np.arange(rows)) % size
    mixed = _turned(first, sign * 2 * math.pi / size * turn, product=False)
    second = transform((composites.swapaxes(mixed[0], -1, -2), composites.swapaxes(mixed[1], -1, -2)), sign)
    real, imaginary = (composites.reshape(composites.swapaxes(x, -1, -2), (*lead, size)) for x in second)
    return real, imaginary


def _pair(x: Sequence[Any]) -> Pair:
    if len(x) != 2:
        raise ArgumentError("x", expected="a pair (real part, imaginary part)", received=f"{len(x)} tensors")
    real, imaginary = floats_together(*x)
    return real, imaginary


@operation("*x")
def fft(x: Any) -> Any:
    """Fourier transform of a pair (real part, imaginary part): the same for the result."""
    return transform(_pair(x), -1)


@operation("*x")
def fft2(x: Any) -> Any:
    """Fourier transform along the last two axes."""
    real, imaginary = transform(_pair(x), -1)
    turned = transform((composites.swapaxes(real, -1, -2), composites.swapaxes(imaginary, -1, -2)), -1)
    return tuple(composites.swapaxes(part, -1, -2) for part in turned)


@operation("*x")
def ifft2(x: Any) -> Any:
    """Inverse of `fft2`."""
    real, imaginary = transform(_pair(x), 1)
    turned = transform((composites.swapaxes(real, -1, -2), composites.swapaxes(imaginary, -1, -2)), 1)
    rows, columns = type_of(real).shape[-2:]
    scale = composites.size(rows * columns, type_of(real).dtype)
    return tuple(composites.swapaxes(part, -1, -2) / scale for part in turned)


def _resized(x: Any, size: int) -> Any:
    """The last axis cut or filled up with zeros."""
    *lead, old = type_of(x).shape
    if not isinstance(old, int):
        raise ShapeError("x", expected="a last axis of known size", received=str(old))
    if old >= size:
        return composites.part(x, -1, 0, size)
    zeros = (0,) * len(lead)
    return padded(x, (*zeros, 0), (*zeros, size - old))


def _real_transform(x: Any, size: int) -> Pair:
    x = _resized(x, size)
    real, imaginary = transform((x, composites.zeros_like(x)), -1)
    return composites.part(real, -1, 0, size // 2 + 1), composites.part(imaginary, -1, 0, size // 2 + 1)


def _length(x: Any, fft_length: int | None) -> int:
    size = type_of(x).shape[-1] if fft_length is None else fft_length
    if not isinstance(size, int) or size < 1:
        raise ArgumentError("fft_length", expected="a length >= 1", received=repr(fft_length))
    return size


@operation("x")
def rfft(x: Any, fft_length: int | None = None) -> Any:
    """The first n // 2 + 1 numbers of the Fourier transform of real numbers, as a pair.

    `fft_length` is n: the input is cut, or filled up with zeros; None is its own length.
    """
    x = floating(x)
    return _real_transform(x, _length(x, fft_length))


def _inverse_real(pair: Pair, size: int) -> Any:
    """The n real numbers whose `rfft` is `pair`."""
    real, imaginary = (_resized(part, size // 2 + 1) for part in pair)
    count = size // 2 + 1
    weights = np.full(count, 2.0)
    weights[0] = 1.0
    if size % 2 == 0:
        weights[-1] = 1.0
    angles = 2 * math.pi / size * (np.outer(np.arange(count), np.arange(size)) % size)
    kind, emitter = type_of(real).dtype, current_emitter()
    cosine = emitter.constant(weights[:, None] * np.cos(angles) / size, kind)
    sine = emitter.constant(weights[:, None] * np.sin(angles) / size, kind)
    return composites.matmul(real, cosine) - composites.matmul(imaginary, sine)


@operation("*x")
def irfft(x: Any, fft_length: int | None = None) -> Any:
    """Inverse of `rfft`: real numbers of a pair; `fft_length` of them, None for an even number."""
    pair = _pair(x)
    known = type_of(pair[0]).shape[-1]
    size = 2 * (known - 1) if fft_length is None and isinstance(known, int) else fft_length
    return _inverse_real(pair, _length(pair[0], size))


def _window(window: Any, length: int, fft_length: int) -> Any:
    """Weights of a frame: a name, numbers, or None for 1; in the middle of `fft_length` places."""
    if window is None:
        weights = np.ones(length)
    elif isinstance(window, str):
        if window not in ("hann", "hamming"):
            raise ArgumentError("window", expected="'hann', 'hamming', numbers or None", received=repr(window))
        make = np.hanning if window == "hann" else np.hamming
        weights = make(length + 1)[:-1]  # one period, as spectra want it
    else:
        weights = np.asarray(window, np.float64)
        if weights.shape != (length,):
            raise ShapeError("window", expected=f"{length} numbers", received=str(weights.shape))
    before = (fft_length - length) // 2
    return np.pad(weights, (before, fft_length - length - before))


def _frames_fit(sequence_length: int, sequence_stride: int, fft_length: int) -> None:
    if not 1 <= sequence_length <= fft_length or sequence_stride < 1:
        raise ArgumentError("sequence_length, sequence_stride and fft_length", expected="1 <= length <= fft_length",
                            received=f"{sequence_length}, {sequence_stride}, {fft_length}")  # fmt: skip


@operation("x")
def stft(
    x: Any, sequence_length: int, sequence_stride: int, fft_length: int, window: Any = "hann", center: bool = True
) -> Any:
    """Fourier transforms of weighted frames along the last axis, as a pair ``(.., frames, fft_length // 2 + 1)``.

    Args:
        x: real numbers.
        sequence_length: length of the window.
        sequence_stride: distance of the frames.
        fft_length: length of a frame, at least that of the window, which stands in its middle.
        window: "hann", "hamming", numbers, or None for equal weights.
        center: mirror half a frame at both ends, so that frames are centred on their place.
    """
    _frames_fit(sequence_length, sequence_stride, fft_length)
    x = floating(x)
    size, half, axis = type_of(x).shape[-1], fft_length // 2, -1
    if center:
        axes = (type_of(x).rank - 1,)
        start = emit("reverse", composites.part(x, axis, 1, half + 1), axes=axes)
        end = emit("reverse", composites.part(x, axis, size - half - 1, size - 1), axes=axes)
        x = composites.concatenate([start, x, end], axis)
    weights = current_emitter().constant(_window(window, sequence_length, fft_length), type_of(x).dtype)
    return _real_transform(windows(x, fft_length, sequence_stride) * weights, fft_length)


def _overlapped(frames: Any, stride: int) -> Any:
    """Frames added up, each `stride` behind the one before."""
    *lead, count, length = type_of(frames).shape
    if not isinstance(length, int):
        raise ShapeError("x", expected="frames of known length", received=str(length))
    parts = -(-length // stride)
    frames = _resized(frames, parts * stride)
    total: Any = None
    for number in range(parts):
        piece = composites.part(frames, -1, number * stride, (number + 1) * stride)
        line = composites.reshape(piece, (*lead, count * stride))
        zeros = (0,) * len(lead)
        line = padded(line, (*zeros, number * stride), (*zeros, (parts - 1 - number) * stride))
        total = line if total is None else total + line
    return composites.part(total, -1, 0, (count - 1) * stride + length)


@operation("*x")
def istft(
    x: Any, sequence_length: int, sequence_stride: int, fft_length: int, length: int | None = None,
    window: Any = "hann", center: bool = True,
) -> Any:  # fmt: skip
    """Inverse of `stft`: frames added up and divided by the sum of the squared weights; `length` cuts the result."""
    _frames_fit(sequence_length, sequence_stride, fft_length)
    frames = _inverse_real(_pair(x), fft_length)
    count = type_of(frames).shape[-2]
    if not isinstance(count, int):
        raise ShapeError("x", expected="a known number of frames", received=str(count))
    weights = _window(window, sequence_length, fft_length)
    total = np.zeros((count - 1) * sequence_stride + fft_length)
    for number in range(count):
        total[number * sequence_stride : number * sequence_stride + fft_length] += weights**2
    inverse = np.where(total > 1e-11, 1 / np.maximum(total, 1e-11), 1.0)
    kind, emitter = type_of(frames).dtype, current_emitter()
    found = _overlapped(frames * emitter.constant(weights, kind), sequence_stride) * emitter.constant(inverse, kind)
    start = fft_length // 2 if center else 0
    stop = len(total) - start if length is None else start + length
    return composites.part(found, -1, start, min(stop, len(total)))
