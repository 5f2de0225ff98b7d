"""Attention: masks, order, dropout, parts; tests/against_keras/test_attention.py compares the numbers with Keras'."""

from __future__ import annotations

import numpy as np
import pytest

import kgraph
from kgraph import layers as L


@pytest.fixture(autouse=True)
def in_the_interpreter():
    """A golden case runs natively."""
    with kgraph.execution("interpreter"):
        yield


@pytest.fixture
def query(rng) -> np.ndarray:
    return rng.normal(size=(2, 5, 4)).astype("float32")


@pytest.fixture
def value(rng) -> np.ndarray:
    return rng.normal(size=(2, 7, 4)).astype("float32")


LAYERS = {
    "dot": (L.Attention, True), "concat": (lambda: L.Attention(score_mode="concat"), True),
    "additive": (L.AdditiveAttention, True), "multi_head": (lambda: L.MultiHeadAttention(2, 3), False),
    "grouped": (lambda: L.GroupQueryAttention(3, 4, 2), False),
}  # fmt: skip


@pytest.mark.parametrize("make, listed", LAYERS.values(), ids=LAYERS)
def test_later_values_do_not_matter_under_a_causal_mask(make, listed: bool, query):
    layer = make()
    other = query.copy()
    other[:, 3:] += 1

    def run(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        args = ([x, x],) if listed else (x, x)
        return layer(*args, use_causal_mask=True, return_attention_scores=True)

    (y, weights), (z, _) = run(query), run(other)
    np.testing.assert_allclose(y[:, :3], z[:, :3], rtol=1e-5, atol=1e-6)
    assert np.abs(y[:, 3:] - z[:, 3:]).max() > 1e-3
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
    assert not np.triu(weights, 1).any()


def test_masked_values_have_no_weight_and_masked_queries_give_0(query, value):
    keep_q, keep_v = np.arange(5) < [[5], [3]], np.arange(7) < [[2], [7]]
    y, weights = L.Attention()([query, value], mask=[keep_q, keep_v], return_attention_scores=True)
    assert not weights[0, :, 2:].any()
    assert not y[1, 3:].any()
    layer = L.MultiHeadAttention(2, 3)
    y = layer(query, value, value_mask=keep_v)
    changed = value.copy()
    changed[0, 2:] = 9
    np.testing.assert_allclose(layer(query, changed, value_mask=keep_v), y, rtol=1e-5, atol=1e-6)


def test_masks_reach_attention_through_layers(query):
    query[:, 3:] = 0
    x = kgraph.Input((None, 4))
    masked = L.Masking()(x)
    model = kgraph.Model(x, L.GlobalAveragePooling1D()(L.MultiHeadAttention(2, 3)(masked, masked)))
    plain = kgraph.Model(x, L.GlobalAveragePooling1D()(L.MultiHeadAttention(2, 3)(x, x)))
    plain.set_weights(model.get_weights())
    np.testing.assert_allclose(model(query), plain(query[:, :3]), rtol=1e-5, atol=1e-6)


def test_dropout_acts_on_the_weights_in_training_only(query, value):
    layer = L.Attention(dropout=0.5, seed=1)
    y = layer([query, value])
    np.testing.assert_array_equal(layer([query, value]), y)
    assert (layer([query, value], training=True) != y).any()


def test_projections_start_with_different_numbers_and_share_options():
    layer = L.MultiHeadAttention(2, 3, kernel_regularizer="l2", activity_regularizer="l1", use_bias=False)
    layer(np.ones((1, 2, 4)), np.ones((1, 2, 4)))
    assert [w.path.split("/")[-2] for w in layer.weights] == ["query", "key", "value", "attention_output"]
    assert np.abs(layer.weights[0].numpy() - layer.weights[1].numpy()).min() > 0
    limit = np.sqrt(6 / (4 + 6))  # Glorot: 4 inputs, two heads of 3 outputs
    assert limit * 0.8 < max(np.abs(w.numpy()).max() for w in layer.weights[:3]) <= limit
    assert len([w for w in layer.weights if w.regularizer is not None]) == 4
    assert len(layer.losses) == 8


def test_spectral_normalization_divides_by_the_largest_singular_value(rng):
    layer = L.SpectralNormalization(L.Dense(5), power_iterations=50)
    x = rng.normal(size=(2, 4))
    layer(x)
    kernel = rng.normal(size=(4, 5))
    layer.kernel.assign(kernel)
    layer(x)
    np.testing.assert_allclose(layer.kernel.numpy(), kernel, rtol=1e-6)
    layer(x, training=True)
    np.testing.assert_allclose(layer.kernel.numpy(), kernel / np.linalg.norm(kernel, 2), rtol=1e-3)
    layer.kernel.assign(np.zeros((4, 5)))
    layer(x, training=True)
    assert not layer.kernel.numpy().any()


def test_lambda_gets_what_its_function_asks_for():
    x = np.array([[[1.0, 2.0], [0.0, 0.0]]], "float32")
    layer = L.Lambda(lambda x, training: x * (2.0 if training else 1.0))
    assert layer(x, training=True).tolist() == (2 * x).tolist()
    assert layer(x).tolist() == x.tolist()
    counts = L.Lambda(lambda x, mask: kgraph.ops.cast(mask, "float32"), mask=lambda inputs, mask: mask)
    model = kgraph.Sequential([L.Masking(), counts])
    assert model(x).tolist() == [[1, 0]]


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda a, b: L.Attention()(a), r"expected \[query, value\] or \[query, value, key\], received one tensor"),
        (lambda a, b: L.Attention()([a, b[:, :, :3]]), "expected query and key of equal features"),
        (lambda a, b: L.Attention(score_mode="sum"), "score_mode: expected 'dot' or 'concat'"),
        (lambda a, b: L.MultiHeadAttention(0, 3), "num_heads: expected an int >= 1, received 0"),
        (lambda a, b: L.MultiHeadAttention(2, 3)(a[0], b), r"expected a query \(batch, steps, features\)"),
        (lambda a, b: L.MultiHeadAttention(2, 3)(a, b, b[:, :6]), "expected value and key of equal steps"),
        (lambda a, b: L.MultiHeadAttention(2, 3, dropout=0.1, flash_attention=True), "expected dropout=0, received"),
        (
            lambda a, b: L.MultiHeadAttention(2, 3)(a, b, attention_mask=np.ones((2, 5, 6), bool)),
            r"attention_mask: expected \(batch, 5, 7\), received \(2, 5, 6\)",
        ),
        (lambda a, b: L.GroupQueryAttention(3, 4, 3), "num_query_heads: expected a multiple of num_key_value_heads=3"),
        (lambda a, b: L.EinsumDense("ab,bc", 3), r"equation: expected \[X\],\[Y\]->\[Z\]"),
        (lambda a, b: L.EinsumDense("ab,bc->ad", 3), "equation: expected letters of kernel and output that occur"),
        (lambda a, b: L.EinsumDense("ab,bc->ac", 3, bias_axes="d"), "bias_axes: expected letters of the output 'ac'"),
        (lambda a, b: L.EinsumDense("ab,bc->ac", 3)(a), "expected rank 2 for 'ab,bc->ac', received"),
        (lambda a, b: L.EinsumDense("abc,cd->abd", (6, 3))(a), "axis 'b': expected size 6, received 5 in the input"),
        (lambda a, b: L.EinsumDense("abc,cd->abd", 3)(a), "output_shape: expected 2 sizes for"),
        (lambda a, b: L.SpectralNormalization(L.Flatten())(a), "layer: expected a layer with a kernel or embeddings"),
        (lambda a, b: L.SpectralNormalization(L.Dense(2), 0), "power_iterations: expected an int >= 1"),
        (lambda a, b: L.Wrapper("dense"), "layer: expected a layer, received 'dense'"),
        (lambda a, b: L.Lambda(3), "function: expected a function, received 3"),
        (lambda a, b: L.Softmax()(a, mask=np.ones((2, 6, 4), bool)), "mask: expected a shape that broadcasts to"),
        (lambda a, b: L.ReLU(max_value=-1), "max_value: expected a number >= 0, received -1"),
    ],
)
def test_words_of_errors(call, words: str, query, value):
    with pytest.raises((ValueError, TypeError), match=words) as caught:
        call(query, value)
    assert "\n" not in str(caught.value)
