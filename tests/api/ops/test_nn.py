"""Encodings, crossentropies, normalisation and attention of `kgraph.ops` against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from ops_cases import assert_like_numpy, assert_native_like_interpreter, assert_slopes, cases

import kgraph.ops as ops

CASES = cases(
    ("one_hot(k, 4)", "np.eye(4)[k]"), ("one_hot(k, 3, axis=0)", "np.moveaxis(np.eye(4)[k][..., :3], -1, 0)"),
    ("one_hot(k, 4, dtype='int32')", "np.eye(4, dtype=int)[k]"), ("multi_hot(k, 4)", "np.eye(4)[k].max(1)"),
    ("multi_hot([1, 3], 4)", "np.array([0.0, 1, 0, 1])"),
    ("binary_crossentropy(b, divide(p, 4))", "-np.where(b, np.log(p / 4), np.log(1 - p / 4))"),
    ("binary_crossentropy(b, x, from_logits=True)", "np.where(b, 0, x) + np.log1p(np.exp(-x))"),
    ("categorical_crossentropy(one_hot(k, 4), stack([p, p, p, p], -1))", "np.full((3, 4), np.log(4))"),
    ("categorical_crossentropy(softmax(y), x, from_logits=True)",
     "np.log(np.exp(x).sum(1)) - (np.exp(y) * x).sum(1) / np.exp(y).sum(1)"),
    ("categorical_crossentropy(softmax(y, axis=0), p, axis=0)",
     "-(np.exp(y) / np.exp(y).sum(0) * np.log(p / p.sum(0))).sum(0)"),
    ("sparse_categorical_crossentropy([1, 0, 2], p)", "-np.log(p / p.sum(1, keepdims=True))[[0, 1, 2], [1, 0, 2]]"),
    ("sparse_categorical_crossentropy([[1], [0], [2]], x, from_logits=True)",
     "np.log(np.exp(x).sum(1)) - x[[0, 1, 2], [1, 0, 2]]"),
    ("moments(x, 0)", "(x.mean(0), x.var(0))"),
    ("moments(t, (0, 2), keepdims=True)", "(t.mean((0, 2), keepdims=True), t.var((0, 2), keepdims=True))"),
    ("batch_normalization(x, v, add(abs(v), 1), -1, offset=v, scale=v)",
     "(x - v) / np.sqrt(np.abs(v) + 1.001) * v + v"),
    ("batch_normalization(t, [0.5, 1.0], [1.0, 2.0], 0, epsilon=0.0)",
     "(t - np.array([0.5, 1]).reshape(2, 1, 1)) / np.sqrt(np.array([1, 2]).reshape(2, 1, 1))"),
    ("layer_normalization(x, v, v, epsilon=1e-3)",
     "(x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-3) * v + v"),
    ("layer_normalization(t, axis=(1, 2), epsilon=0.1)",
     "(t - t.mean((1, 2), keepdims=True)) / np.sqrt(t.var((1, 2), keepdims=True) + 0.1)"),
    ("rms_normalization(x, v, epsilon=0.01)", "x / np.sqrt((x ** 2).mean(1, keepdims=True) + 0.01) * v"),
    ("normalize(x)", "x / np.sqrt((x ** 2).sum(1, keepdims=True))"),
    ("normalize(x, axis=0, order=1)", "x / np.abs(x).sum(0)"),
    ("normalize(x, axis=1, order=3)", "x / np.linalg.norm(x, 3, 1, True)"),
    ("normalize(zeros((2, 2)))", "np.zeros((2, 2))"),
    ("gelu(x, approximate=False)", "x * (1 + np.vectorize(math.erf)(x / np.sqrt(2))) / 2"),
    ("gelu(x)", "x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3)))"),
    ("softmax(t, axis=(1, 2))", "np.exp(t) / np.exp(t).sum((1, 2), keepdims=True)"),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.call)
def test_on_arrays_it_is_what_numpy_computes(case):
    assert_like_numpy(case)


def test_native_code_agrees_with_the_interpreter():
    assert_native_like_interpreter(CASES)


def test_gradients_are_slopes():
    assert_slopes(CASES)


def attention(q, k, v, kept=None, bias=0.0, scale=None):
    """Attention by its formula, head by head, in float64."""
    out = np.zeros((*q.shape[:3], v.shape[-1]))
    for batch, head in np.ndindex(q.shape[0], q.shape[2]):
        group = head // (q.shape[2] // k.shape[2])
        scores = q[batch, :, head] @ k[batch, :, group].T * (q.shape[3] ** -0.5 if scale is None else scale)
        full = (q.shape[0], q.shape[2], *scores.shape)
        scores = scores + np.broadcast_to(bias, full)[batch, head]
        if kept is not None:
            scores = np.where(np.broadcast_to(kept, full)[batch, head], scores, -np.inf)
        weights = np.exp(scores - scores.max(1, keepdims=True))
        out[batch, :, head] = weights / weights.sum(1, keepdims=True) @ v[batch, :, group]
    return out


def test_attention_is_its_formula(rng):
    q, k, v = (rng.normal(size=s).astype("float32") for s in ((2, 5, 4, 3), (2, 6, 2, 3), (2, 6, 2, 7)))
    mask, bias = rng.random((2, 1, 5, 6)) > 0.3, rng.normal(size=(4, 5, 6)).astype("float32")
    mask[..., 0] = True
    causal = np.tri(5, 6, dtype=bool)
    for options, formula in (
        ({}, {}),
        ({"scale": 0.7}, {"scale": 0.7}),
        ({"mask": mask}, {"kept": mask}),
        ({"bias": bias, "is_causal": True}, {"bias": bias, "kept": causal}),
        ({"mask": mask, "is_causal": True}, {"kept": mask & causal}),
    ):
        got = ops.dot_product_attention(q, k, v, **options)
        np.testing.assert_allclose(got, attention(q, k, v, **formula), rtol=1e-5, atol=1e-6)


def test_a_soft_cap_bounds_the_scores(rng):
    q, k, v = (100 * rng.normal(size=(1, 3, 1, 2)).astype("float32") for _ in range(3))
    got = ops.dot_product_attention(q, k, v, attn_logits_soft_cap=1e-6)
    np.testing.assert_allclose(got, np.broadcast_to(v.mean(1, keepdims=True), v.shape), rtol=1e-4)
