"""Core and activation layers against Keras."""

from __future__ import annotations

import pytest
from keras_comparison import Case, Data, compare

CASES = [
    Case("Dense(5)", [(4,)]),
    Case("Dense(5, activation='gelu')", [(2, 3, 4)]),
    Case("Dense(1, use_bias=False, activation='tanh')", [(3, 4)]),
    Case("Dense(300)", [(7,)]),
    Case("Identity()", [(2, 3)]),
    Case("Activation('log_softmax')", [(4, 5)]),
    Case("Activation('hard_shrink')", [(4, 5)]),
    Case("Activation('sparse_sigmoid')", [(4, 5)]),
    Case("Identity()", [(4, 6)], "k.activations.glu(layer(x0))"),  # Activation('glu') has a wrong symbolic shape there
    Case("Identity()", [(4, 6)], "k.activations.threshold(layer(x0), 0.2, -1.0)"),
    Case("ReLU()", [(4, 5)]),
    Case("ReLU(max_value=1.0)", [(4, 5)]),
    Case("ReLU(negative_slope=0.3)", [(4, 5)]),
    Case("ReLU(threshold=0.5)", [(4, 5)]),
    Case("ReLU(max_value=0.7, negative_slope=0.2, threshold=0.3)", [(4, 5)]),
    Case("LeakyReLU()", [(6,)]),
    Case("LeakyReLU(negative_slope=0.0)", [(6,)]),
    Case("ELU()", [(3, 6)]),
    Case("ELU(alpha=2.5)", [(3, 6)]),
    Case("PReLU()", [(3, 6)]),
    Case("PReLU(shared_axes=[1, 2])", [(3, 4, 6)]),
    Case("PReLU(shared_axes=[2])", [(3, 6)]),
    Case("Softmax()", [(3, 6)]),
    Case("Softmax(axis=1)", [(3, 6, 2)]),
    Case("Softmax(axis=[1, 2])", [(3, 6, 2)]),
    Case("Softmax()", [(3, 6), Data((3, 6), "bool")], "layer(x0, mask=x1)"),
    Case("Softmax(axis=(1, 2))", [(3, 6, 2), Data((3, 6, 2), "bool")], "layer(x0, mask=x1)"),
    Case("Masking()", [Data((5, 2), "int32", -1, 2)]),
    Case("Masking(1.0)", [Data((5, 2), "float32", 0, 1)]),
    Case("Lambda(lambda x, by: x * by + x * x, arguments={'by': 3.0})", [(3, 6)]),
    Case("Lambda(lambda x: k.ops.mean(x, axis=1))", [(3, 6)]),
    Case("ActivityRegularization(0.1, 0.2)", [(3, 6)]),
    Case("SpectralNormalization(Dense(3), power_iterations=2)", [(4,)], training=False),
    Case("SpectralNormalization(Conv2D(3, 2))", [(4, 4, 2)], training=False),
    Case("Rescaling(0.5)", [(3, 6)]),
    Case("Rescaling([1.0, 2.0], offset=[0.1, -3.0])", [(3, 2)]),
]


@pytest.mark.parametrize("execution", ["interpreter", "native"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_layer(case: Case, execution: str):
    compare(case, execution)
