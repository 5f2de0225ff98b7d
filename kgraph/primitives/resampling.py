"""Images in other sizes, and moved by affine maps: products with fixed matrices, and lookups of neighbours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dims import Dim, product
from kgraph.ir.dtypes import DType, i32
from kgraph.ir.opdef import current_emitter
from kgraph.primitives import composites

Weights: TypeAlias = "npt.NDArray[np.float64]"


def _triangle(x: Weights) -> Weights:
    return np.maximum(1 - x, 0)


def _cubic(x: Weights) -> Weights:
    """The kernel of Keys (1981) with a = -1/2."""
    near = ((1.5 * x - 2.5) * x) * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x >= 2, 0, np.where(x >= 1, far, near))


def _lanczos(radius: float) -> Callable[[Weights], Weights]:
    def kernel(x: Weights) -> Weights:
        return np.where(x > radius, 0, np.sinc(x) * np.sinc(x / radius))

    return kernel


_KERNELS: dict[str, Callable[[Weights], Weights]] = {
    "bilinear": _triangle, "bicubic": _cubic, "lanczos3": _lanczos(3), "lanczos5": _lanczos(5),
}  # fmt: skip
INTERPOLATIONS = ("nearest", *_KERNELS)
FILL_MODES = ("constant", "nearest", "wrap", "mirror", "reflect")


def resize(x: Any, axis: int, size: int, interpolation: str, antialias: bool = False) -> Any:
    """An axis of known size resampled to another size.

    Args:
        x: float tensor.
        axis: which.
        size: the new one.
        interpolation: one of `INTERPOLATIONS`.
        antialias: widen the kernel where the size shrinks, so that each element counts.

    Pixels are squares: element i lies at (i + 1/2) / size of the axis.
    """
    emitter = current_emitter()
    kind = emitter.type_of(x)
    place = composites.axis_of(axis, kind.rank)
    old = kind.shape[place]
    if not isinstance(old, int):
        raise ShapeError("resize", expected="a known size", received=str(old), fix="Give the input shape without None")
    if old == size and interpolation != "nearest":
        return x
    if interpolation == "nearest":
        near = np.floor((np.arange(size) + 0.5) * old / size).astype("int32")
        return composites.gather(x, emitter.constant(near), place)
    weights = emitter.constant(resampling_weights(old, size, interpolation, antialias), kind.dtype)
    last = composites.swapaxes(x, place, -1)
    return composites.swapaxes(composites.matmul(last, weights), place, -1)


def resampling_weights(old: int, new: int, interpolation: str, antialias: bool) -> Weights:
    """The weight of each old element (row) in each new one (column).

    >>> resampling_weights(2, 4, "bilinear", False).T.tolist()
    [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    if interpolation not in _KERNELS:
        expected = " or ".join(map(repr, INTERPOLATIONS))
        raise ArgumentError("interpolation", expected=expected, received=repr(interpolation))
    step = old / new
    places = (np.arange(new) + 0.5) * step - 0.5
    width = max(step, 1.0) if antialias else 1.0
    weights = _KERNELS[interpolation](np.abs(places - np.arange(old)[:, np.newaxis]) / width)
    weights = weights / weights.sum(axis=0)
    return np.where((places >= -0.5) & (places <= old - 0.5), weights, 0.0)


def affine_transform(
    images: Any, matrix: tuple[Any, ...], interpolation: str, fill_mode: str, fill_value: float = 0.0
) -> Any:
    """Images whose pixel at row y and column x is taken from the place that an affine map says.

    Args:
        images: float tensor [batch, height, width, channels].
        matrix: (a0, a1, a2, b0, b1, b2), each [batch]: column ``a0 x + a1 y + a2`` and row ``b0 x + b1 y + b2``.
        interpolation: "nearest" or "bilinear".
        fill_mode: what lies outside; one of `FILL_MODES`.
        fill_value: for "constant".
    """
    emitter = current_emitter()
    kind = emitter.type_of(images)
    batch, height, width, _ = kind.shape
    plane = (batch, height, width)
    y, x = (emitter.emit("iota", shape=plane, axis=axis, dtype=kind.dtype) for axis in (1, 2))
    a0, a1, a2, b0, b1, b2 = (composites.reshape(m, (batch, 1, 1)) for m in matrix)
    row, column = b0 * x + b1 * y + b2, a0 * x + a1 * y + a2

    def pixel(rows: Any, columns: Any) -> Any:
        return _pixels(images, rows, columns, fill_mode, fill_value)

    if interpolation == "nearest":
        return pixel(_rounded(row), _rounded(column))
    top, left = emitter.emit("floor", row), emitter.emit("floor", column)
    down, right = (composites.expand_dims(part, -1) for part in (row - top, column - left))
    upper = pixel(top, left) * (1.0 - right) + pixel(top, left + 1.0) * right
    lower = pixel(top + 1.0, left) * (1.0 - right) + pixel(top + 1.0, left + 1.0) * right
    return upper * (1.0 - down) + lower * down


def _rounded(x: Any) -> Any:
    """The nearest whole number, halves away from 0."""
    return current_emitter().emit("sign", x) * current_emitter().emit("floor", abs(x) + 0.5)


def _pixels(images: Any, rows: Any, columns: Any, fill_mode: str, fill_value: float) -> Any:
    """The pixels [batch, height, width, channels] at these whole rows and columns."""
    emitter = current_emitter()
    kind = emitter.type_of(images)
    batch, height, width, channels = kind.shape
    i, inside_i = _within(rows, height, fill_mode, kind.dtype)
    j, inside_j = _within(columns, width, fill_mode, kind.dtype)
    sample = emitter.emit("iota", shape=(batch, height, width), axis=0, dtype=i32)
    rows_of = composites.size(height, i32), composites.size(width, i32)
    flat = (sample * rows_of[0] + composites.cast(i, i32)) * rows_of[1] + composites.cast(j, i32)
    table = composites.reshape(images, (product((batch, height, width)), channels))
    found = composites.gather(table, flat)
    if fill_mode != "constant":
        return found
    inside = emitter.emit("logical_and", inside_i, inside_j)
    return composites.where(composites.expand_dims(inside, -1), found, fill_value)


def _within(places: Any, size: Dim, fill_mode: str, dtype: DType) -> tuple[Any, Any]:
    """Whole numbers as indices of an axis, and whether they were."""
    n = composites.size(size, dtype)
    inside = current_emitter().emit("logical_and", *(places >= 0.0, places <= n - 1.0))
    if fill_mode == "wrap":
        return _modulo(places, n), inside
    if fill_mode == "mirror":  # b c | a b c | a b: the border is not repeated
        period = composites.maximum(n - 1.0, 1.0)
        return abs(_modulo(places + period, 2.0 * period) - period), inside
    if fill_mode == "reflect":  # b a | a b c | c b
        turned = _modulo(places, 2.0 * n)
        return composites.minimum(turned, 2.0 * n - 1.0 - turned), inside
    return composites.clip(places, 0.0, n - 1.0), inside


def _modulo(a: Any, b: Any) -> Any:
    return a - b * current_emitter().emit("floor", a / b)
