"""Composite functions against independent formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dims import symbol
from kgraph.ir.dtypes import dtype_of, f32, f64, u32
from kgraph.ir.graph import GraphBuilder
from kgraph.ir.opdef import emitting
from kgraph.ir.operators import lift
from kgraph.ir.philox import philox2x32
from kgraph.ir.types import TensorType
from kgraph.primitives import REGISTRY, composites
from kgraph.runtime.interpreter import interpret


def run(function, *arrays, first_axis_symbolic=False):
    """The value of `function` of the arrays; sizes of first axes may be symbolic."""
    builder = GraphBuilder("g", REGISTRY)

    def type_of(array):
        shape = (symbol("batch"), *array.shape[1:]) if first_axis_symbolic else array.shape
        return TensorType(dtype_of(array.dtype), shape)

    with emitting(builder):
        out = function(*(builder.input(type_of(a)) for a in arrays))
    return interpret(builder.build([out]), arrays)[0]


X = np.linspace(-3, 3, 24).reshape(2, 3, 4)
IDS = np.array([[2, 0, 0], [1, 2, 2]], np.int32)
RANKS = np.searchsorted(X[1, 1], X, "right")
SUMS = np.stack([np.zeros(4), X[1].sum(0), X[0].sum(0), np.zeros(4)])
BY_ID = np.einsum("nki,nkv->niv", np.eye(4)[IDS], X)


def normal_cdf(x):
    return np.vectorize(lambda v: 0.5 * math.erfc(-v / math.sqrt(2)))(x)


CASES = [
    ("square", composites.square, X**2),
    ("sqrt", lambda x: composites.sqrt(composites.square(x)), np.abs(X)),
    ("relu6", lambda x: composites.relu6(x * 4.0), np.clip(4 * X, 0, 6)),
    ("elu", lambda x: composites.elu(x, 0.5), np.where(X > 0, X, 0.5 * np.expm1(np.minimum(X, 0)))),
    ("leaky_relu", lambda x: composites.leaky_relu(x, 0.3), np.where(X > 0, X, 0.3 * X)),
    ("gelu", composites.gelu, X * normal_cdf(X)),
    ("clip", lambda x: composites.clip(x, -1.0, 2.0), np.clip(X, -1, 2)),
    ("where", lambda x: composites.where(x > 0.5, x, -1.0), np.where(X > 0.5, X, -1)),
    ("sum_all", composites.sum, X.sum()),
    ("sum_last", lambda x: composites.sum(x, -1), X.sum(-1)),
    ("sum_two", lambda x: composites.sum(x, (-1, 0), keepdims=True), X.sum((0, 2), keepdims=True)),
    ("prod", lambda x: composites.prod(x, 1), X.prod(1)),
    ("max", lambda x: composites.max(x, 0), X.max(0)),
    ("min", lambda x: composites.min(x, (0, 1)), X.min((0, 1))),
    ("mean", lambda x: composites.mean(x, 1), X.mean(1)),
    ("mean_all", composites.mean, X.mean()),
    ("argmax", lambda x: composites.argmax(-x, 1), (-X).argmax(1)),
    ("softmax", lambda x: composites.softmax(x, 1), np.exp(X) / np.exp(X).sum(1, keepdims=True)),
    ("log_softmax", lambda x: composites.log_softmax(x, 0), X - np.log(np.exp(X).sum(0, keepdims=True))),
    ("reshape", lambda x: composites.reshape(x, (4, -1)), X.reshape(4, -1)),
    ("expand_dims", lambda x: composites.expand_dims(x, -2), X[:, :, np.newaxis]),
    ("squeeze", lambda x: composites.squeeze(composites.expand_dims(x, 1)), X),
    ("transpose", composites.transpose, X.T),
    ("transpose_axes", lambda x: composites.transpose(x, (0, -1, 1)), X.transpose(0, 2, 1)),
    ("concatenate", lambda x: composites.concatenate([x, x * 2.0], 1), np.concatenate([X, 2 * X], 1)),
    ("zeros_like", composites.zeros_like, np.zeros_like(X)),
    ("ones_like", composites.ones_like, np.ones_like(X)),
    ("not_equal", lambda x: composites.not_equal(x, x), np.zeros(X.shape, bool)),
    ("equal", lambda x: composites.equal(x, x), np.ones(X.shape, bool)),
    ("cast", lambda x: composites.cast(x, "int32"), X.astype(np.int32)),
    ("argmin", lambda x: composites.argmin(-x, 1), (-X).argmin(1)),
    ("sort", lambda x: composites.sort(-x, 1), np.sort(-X, 1)),
    ("sort_falling", lambda x: composites.sort(x, 1, descending=True), X[:, ::-1]),
    ("argsort", lambda x: composites.argsort(x * 0.0, 1, descending=True), np.tile(np.arange(3)[:, None], (2, 1, 4))),
    ("top_k", lambda x: composites.top_k(x, 2)[0], X[..., :-3:-1]),
    ("top_k_places", lambda x: composites.top_k(x * 0.0, 3, 1)[1], np.tile(np.arange(3)[:, None], (2, 1, 4))),
    ("take_along_axis", lambda x: composites.take_along_axis(x, composites.argsort(-x), -1), X[..., ::-1]),
    ("bincount", lambda x: composites.bincount(lift(IDS), 4), np.array([[2, 0, 1, 0], [0, 1, 2, 0]])),
    ("bincount_weights", lambda x: composites.bincount(lift(IDS[:, :, None].repeat(4, 2)), 4, x, 1), BY_ID),
    ("cumsum", lambda x: composites.cumsum(x, -1), X.cumsum(-1)),
    ("cumprod", lambda x: composites.cumprod(x, 1, reverse=True), X[:, ::-1].cumprod(1)[:, ::-1]),
    ("searchsorted", lambda x: composites.searchsorted(lift(X[1, 1]), x, right=True), RANKS),
    ("gather", lambda x: composites.gather(x, lift(IDS), -2), np.take(X, IDS, 1)),
    ("scatter_add", lambda x: composites.scatter_add(x, lift(IDS[:, :1].repeat(3, 1)), 4), SUMS),
]


@pytest.mark.parametrize("function, wanted", [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_composite_gives_what_its_formula_gives(function, wanted):
    np.testing.assert_allclose(run(function, X), wanted, rtol=1e-12, atol=1e-14)


def test_tanh_form_of_gelu_is_near_the_exact_one():
    assert 1e-5 < np.max(np.abs(run(lambda x: composites.gelu(x, approximate=True), X) - X * normal_cdf(X))) < 1e-3


def test_mean_divides_by_the_size_known_at_run_time():
    np.testing.assert_allclose(run(composites.mean, X, first_axis_symbolic=True), X.mean(), atol=1e-15)
    np.testing.assert_allclose(run(lambda x: composites.mean(x, 0), X, first_axis_symbolic=True), X.mean(0))


def test_mean_of_nothing_is_nan_and_mean_of_integers_a_float():
    assert np.isnan(run(composites.mean, np.zeros((0, 3), np.float32)))
    out = run(composites.mean, np.array([1, 2], np.int32))
    assert (out, out.dtype) == (1.5, np.float32)


def test_sum_of_bools_counts():
    assert run(composites.sum, np.array([True, False, True])) == 2


@pytest.mark.parametrize(
    "left, right",
    [((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((6, 2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)), ((4,), (4, 5)),
     ((3, 4), (4,)), ((4,), (4,)), ((1, 3, 4), (7, 4, 5)), ((3, 4), (7, 4, 5)), ((0, 3, 4), (4, 5))],
)  # fmt: skip
def test_matmul_follows_numpy(left, right, rng):
    a, b = rng.normal(size=left), rng.normal(size=right)
    np.testing.assert_allclose(run(composites.matmul, a, b), a @ b, rtol=1e-12, atol=1e-14)


def test_matmul_promotes_element_types(rng):
    out = run(composites.matmul, np.ones((2, 3), np.float32), np.ones((3, 2), np.float64))
    assert out.dtype == np.float64


@pytest.mark.parametrize(
    "function, error, words",
    [
        (lambda x: composites.sum(x, 3), ShapeError, r"an axis in -3\.\.2"),
        (lambda x: composites.sum(x, (0, -3)), ShapeError, "different axes"),
        (lambda x: composites.reshape(x, (5, -1)), ShapeError, "24 elements"),
        (lambda x: composites.reshape(x, (-1, -1)), ShapeError, "24 elements"),
        (lambda x: composites.squeeze(x, 0), ShapeError, "axes of size 1"),
        (lambda x: composites.concatenate([]), ArgumentError, "at least one"),
    ],
)
def test_wrong_arguments_are_refused(function, error, words):
    with pytest.raises(error, match=words):
        run(function, X)


KEY = np.array([7, 9], np.uint32)


@pytest.mark.parametrize(
    "low, high, key, words",
    [
        (0, 0, 0, (0xFF1DAE59, 0x6CD10DF2)),
        (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, (0x2C3F628B, 0xAB4FD7AD)),
        (0x243F6A88, 0x85A308D3, 0x13198A2E, (0xDD7CE038, 0xF62A4C12)),
    ],
)
def test_generator_gives_the_published_numbers(low, high, key, words):
    """Known answers of the Random123 library for philox2x32-10."""
    assert tuple(int(w) for w in philox2x32(*(np.uint32(n) for n in (low, high, key)))) == words
    if low == 0:
        assert REGISTRY["random_bits"].reference(np.array([key, high], np.uint32), shape=(1,))[0] == words[0]


@pytest.mark.parametrize("dtype", [f32, f64])
def test_uniform_numbers_lie_in_zero_to_one(dtype):
    out = run(lambda key: composites.uniform(key, (200, 500), dtype), KEY)
    assert out.dtype == dtype.to_numpy()
    assert 0 <= out.min() < 1e-4
    assert 1 - 1e-4 < out.max() < 1
    assert abs(out.mean() - 0.5) < 5 * (1 / 12) ** 0.5 / 1e5**0.5


@pytest.mark.parametrize("keep", [1e-9, 0.25, 0.9, 1.0])
def test_dropout_keeps_the_wanted_part(keep):
    mask = run(lambda key: composites.dropout_mask(key, (200, 500), keep), KEY)
    assert abs(mask.mean() - keep) <= 5 * (keep * (1 - keep) / 1e5) ** 0.5


@pytest.mark.parametrize("keep", [0.0, 1.5, -1.0])
def test_dropout_without_a_probability_is_refused(keep):
    with pytest.raises(ArgumentError, match="keep"):
        run(lambda key: composites.dropout_mask(key, (2,), keep), KEY)


def test_folded_keys_differ_from_each_other_and_from_the_random_bits_of_the_key():
    fold, bits = REGISTRY["fold_in"].reference, REGISTRY["random_bits"].reference
    words = [int(w) for data in range(200) for w in fold(KEY, data=data)] + bits(KEY, shape=(400,)).tolist()
    assert len(set(words)) == len(words)
    assert TensorType(u32, (2,)) == REGISTRY["fold_in"].result_types([TensorType(u32, (2,))], {"data": 1})[0]
