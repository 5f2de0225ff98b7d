"""Attention layers and EinsumDense against Keras."""

from __future__ import annotations

import pytest
from keras_comparison import Case, Data, compare

Q, V, K = (5, 4), (7, 3), (7, 4)
SELF = [(6, 8)]
STEPS, VALUES = Data((5,), "bool"), Data((7,), "bool")

CASES = [
    Case("EinsumDense('ab,bc->ac', 3)", [(4,)]),
    Case("EinsumDense('ab,bc->ac', output_shape=3, bias_axes='c', activation='relu')", [(4,)]),
    Case("EinsumDense('abc,cd->abd', output_shape=(None, 5), bias_axes='d')", [(3, 4)]),
    Case("EinsumDense('abc,cd->abd', output_shape=(3, 5), bias_axes='bd')", [(3, 4)]),
    Case("EinsumDense('...x,xy->...y', output_shape=5, bias_axes='y')", [(3, 4)]),
    Case("EinsumDense('ab...,bc->ac...', output_shape=5, bias_axes='c')", [(4, 2, 3)]),
    Case("EinsumDense('abc,cde->abde', output_shape=(None, 2, 3), bias_axes='de')", [(3, 4)]),
    Case("EinsumDense('abde,dec->abc', output_shape=(None, 4), bias_axes='c')", [(3, 2, 5)]),
    Case("EinsumDense('abc,bcd->abd', output_shape=(3, 5), bias_axes='d')", [(3, 4)]),
    Case("EinsumDense('abc,cd->adb', output_shape=(5, None), bias_axes='d')", [(3, 4)]),
    Case("Attention()", [(5, 4), (7, 4)]),
    Case("Attention()", [Q, V, K]),
    Case("Attention(use_scale=True)", [Q, V, K], "layer([x0, x1, x2], use_causal_mask=True)"),
    Case("Attention(score_mode='concat')", [Q, V, K]),
    Case("Attention(score_mode='concat', use_scale=True)", [Q, V, K], scale=0.8),
    Case("Attention()", [Q, V, K, STEPS, VALUES], "layer([x0, x1, x2], mask=[x3, x4])"),
    Case("Attention()", [Q, V, K, VALUES], "layer([x0, x1, x2], mask=[None, x3, None], use_causal_mask=True)"),
    Case("Attention()", [Q, V, K], "layer([x0, x1, x2], return_attention_scores=True)"),
    Case("Attention(dropout=0.3)", [Q, V, K], training=False),
    Case("AdditiveAttention()", [Q, V, K]),
    Case("AdditiveAttention(use_scale=False)", [Q, V, K], "layer([x0, x1, x2], use_causal_mask=True)"),
    Case("AdditiveAttention()", [Q, V, K, VALUES], "layer([x0, x1, x2], mask=[None, x3])"),
    Case("MultiHeadAttention(2, 3)", SELF, "layer(x0, x0)"),
    Case("MultiHeadAttention(2, 3, use_bias=False)", SELF, "layer(x0, x0, use_causal_mask=True)"),
    Case("MultiHeadAttention(2, 3, output_shape=(2, 3))", [Q, V, K], "layer(x0, x1, x2)"),
    # Keras cannot run this on JAX in its fast form; with the scores it takes another one.
    Case("MultiHeadAttention(2, 3, value_dim=4)", SELF, "layer(x0, x0, return_attention_scores=True)"),
    Case("MultiHeadAttention(3, 2, use_gate=True)", [Q, V], "layer(x0, x1)"),
    Case("MultiHeadAttention(2, 3, sliding_window=2)", SELF, "layer(x0, x0, use_causal_mask=True)"),
    Case("MultiHeadAttention(2, 3)", SELF, "layer(x0, x0, return_attention_scores=True)"),
    Case("MultiHeadAttention(2, 3)", SELF, "layer(x0, x0, return_attention_scores=True, use_causal_mask=True)"),
    Case("MultiHeadAttention(2, 3)", [Q, V, Data((5, 7), "bool")], "layer(x0, x1, attention_mask=x2)"),
    Case("MultiHeadAttention(2, 3)", [Q, V, Data((2, 5, 7), "bool")], "layer(x0, x1, attention_mask=x2)"),
    Case("MultiHeadAttention(2, 3)", [Q, V, VALUES], "layer(x0, x1, value_mask=x2)"),
    Case("MultiHeadAttention(2, 3, dropout=0.2)", [Q, V, VALUES], "layer(x0, x1, value_mask=x2)", training=False),
    Case("MultiHeadAttention(2, 3, attention_axes=(1, 2))", [(2, 3, 4)], "layer(x0, x0)"),
    Case("MultiHeadAttention(2, 3, attention_axes=2)", [(2, 3, 4)], "layer(x0, x0)"),
    Case("MultiHeadAttention(2, 3, attention_axes=(2, 1), output_shape=5)", [(4, 5, 4)], "layer(x0, x0)"),
    Case("MultiHeadAttention(2, 3, attention_axes=-2)", [(4, 5, 4), Data((5, 5), "bool")],
         "layer(x0, x0, attention_mask=x1)"),
    Case("MultiHeadAttention(2, 3)", [Q, V, VALUES, Data((5, 7), "bool")],
         "layer(x0, x1, key_mask=x2, attention_mask=x3, use_causal_mask=True, return_attention_scores=True)[0]"),
    Case("GroupQueryAttention(3, 4, 2)", [Q, K], "layer(x0, x1)"),
    Case("GroupQueryAttention(3, 4, 1, use_bias=False)", [Q, K, V], "layer(x0, x1, x2)"),
    Case("GroupQueryAttention(3, 4, 4, use_gate=True)", SELF, "layer(x0, x0, use_causal_mask=True)"),
    Case("GroupQueryAttention(3, 4, 2)", SELF, "layer(x0, x0, return_attention_scores=True)[0]"),
    Case("GroupQueryAttention(3, 4, 2)", [Q, K, Data((5, 7), "bool")], "layer(x0, x1, attention_mask=x2)"),
]


@pytest.mark.parametrize("execution", ["interpreter", "native"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_layer(case: Case, execution: str):
    compare(case, execution)
