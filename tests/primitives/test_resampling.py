"""Resized and moved images against closed forms and NumPy's padding."""

from __future__ import annotations

import numpy as np
import pytest

from kgraph.eager import run_on_arrays
from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dims import symbol
from kgraph.ir.dtypes import dtype_of
from kgraph.ir.graph import GraphBuilder
from kgraph.ir.opdef import emitting
from kgraph.ir.types import TensorType
from kgraph.primitives import REGISTRY
from kgraph.primitives.resampling import INTERPOLATIONS, affine_transform, resampling_weights, resize

# What our fill modes are called in np.pad.
NUMPY_MODES = {"nearest": "edge", "wrap": "wrap", "mirror": "reflect", "reflect": "symmetric", "constant": "constant"}


def resized(x: np.ndarray, *args: object) -> np.ndarray:
    return run_on_arrays("resize", lambda v: resize(v, *args), x)


def moved(images: np.ndarray, entries: list[float], *args: object) -> np.ndarray:
    matrix = [np.full(len(images), entry) for entry in entries]
    return run_on_arrays("affine", lambda v, *m: affine_transform(v, m, *args), images, *matrix)


def test_doubling_takes_quarters():
    x = np.array([[0.0, 4.0, 8.0]])
    np.testing.assert_allclose(resized(x, 1, 6, "bilinear"), [[0, 1, 3, 5, 7, 8]])
    np.testing.assert_allclose(resized(x, 1, 6, "nearest"), [[0, 0, 4, 4, 8, 8]])
    np.testing.assert_allclose(resized(x.T, 0, 2, "nearest"), [[0], [8]])


@pytest.mark.parametrize("name", [name for name in INTERPOLATIONS if name != "nearest"])
def test_weights_of_each_new_element_add_up_to_1(name: str):
    for old, new, antialias in ((5, 8, False), (8, 3, False), (8, 3, True), (1, 4, False), (4, 1, True)):
        weights = resampling_weights(old, new, name, antialias)
        np.testing.assert_allclose(weights.sum(0), 1, rtol=1e-12)
        np.testing.assert_allclose(weights[::-1, ::-1], weights, atol=1e-12)  # symmetric


def test_without_antialias_small_sizes_leave_elements_out():
    assert (resampling_weights(9, 3, "bilinear", antialias=False) == 0).all(1).any()
    assert not (resampling_weights(9, 3, "bilinear", antialias=True) == 0).all(1).any()


def test_polynomials_are_kept_by_their_kernels():
    x = np.arange(9.0)
    between = (np.arange(18) + 0.5) / 2 - 0.5
    inner = slice(4, -4)
    np.testing.assert_allclose(resized(x, 0, 18, "bilinear")[inner], between[inner], rtol=1e-12)
    np.testing.assert_allclose(resized(x**2, 0, 18, "bicubic")[inner], between[inner] ** 2, rtol=1e-12)


@pytest.mark.parametrize("fill_mode", NUMPY_MODES)
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_whole_shifts_are_paddings(fill_mode: str, interpolation: str, rng):
    x = rng.normal(size=(2, 4, 5, 3))
    mode = NUMPY_MODES[fill_mode]
    more = {"constant_values": 0.5} if mode == "constant" else {}
    padded = np.pad(x, ((0, 0), (3, 3), (4, 4), (0, 0)), mode=mode, **more)
    for down, right in ((3, -2), (-1, 4), (0, 0)):
        y = moved(x, [1, 0, -right, 0, 1, -down], interpolation, fill_mode, 0.5)
        np.testing.assert_allclose(y, padded[:, 3 - down : 7 - down, 4 - right : 9 - right], atol=1e-12)


def test_a_quarter_turn_and_halves_of_pixels(rng):
    x = rng.normal(size=(1, 4, 4, 2))
    turned = moved(x, [0, -1, 3, 1, 0, 0], "bilinear", "nearest")  # column 3 - y, row x
    np.testing.assert_allclose(turned, np.rot90(x, axes=(1, 2)), atol=1e-12)
    half = moved(x, [1, 0, 0.5, 0, 1, 0], "bilinear", "nearest")
    np.testing.assert_allclose(half[:, :, :3], (x[:, :, :3] + x[:, :, 1:]) / 2, atol=1e-12)


def test_errors():
    with pytest.raises(ArgumentError, match=r"expected 'nearest' or 'bilinear' or .*, received 'cubic'"):
        resampling_weights(3, 4, "cubic", antialias=False)
    builder = GraphBuilder("g", REGISTRY)
    with emitting(builder), pytest.raises(ShapeError, match="resize: expected a known size, received n"):
        resize(builder.input(TensorType(dtype_of("float32"), (symbol("n"), 2))), 0, 4, "bilinear")
