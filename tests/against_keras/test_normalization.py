"""Normalization layers against Keras, with moving statistics after a call in training."""

from __future__ import annotations

import pytest
from keras_comparison import Case, Data, compare

IMAGE = (4, 5, 6)

CASES = [
    Case("BatchNormalization()", [(6,)]),
    Case("BatchNormalization()", [IMAGE]),
    Case("BatchNormalization(axis=1)", [IMAGE]),
    Case("BatchNormalization(axis=-2, momentum=0.7, epsilon=0.1)", [IMAGE]),
    Case("BatchNormalization(center=False)", [(5, 6)]),
    Case("BatchNormalization(scale=False)", [(5, 6)]),
    Case("BatchNormalization(center=False, scale=False, momentum=0.0)", [(5, 6)]),
    Case("BatchNormalization()", [(5, 6), Data((5,), "bool")], "layer(x0, mask=x1)"),
    Case("BatchNormalization(trainable=False)", [(6,)]),
    Case("LayerNormalization()", [(6,)]),
    Case("LayerNormalization()", [IMAGE]),
    Case("LayerNormalization(axis=1)", [IMAGE]),
    Case("LayerNormalization(axis=[2, 3])", [IMAGE]),
    Case("LayerNormalization(axis=[1, 3], epsilon=0.01)", [IMAGE]),
    Case("LayerNormalization(center=False)", [(5, 6)]),
    Case("LayerNormalization(scale=False)", [(5, 6)]),
    Case("LayerNormalization(center=False, scale=False)", [(300,)]),
    Case("GroupNormalization(3)", [IMAGE]),
    Case("GroupNormalization(1)", [(5, 6)]),
    Case("GroupNormalization(-1)", [(5, 6)]),
    Case("GroupNormalization(2, axis=1)", [IMAGE]),
    Case("GroupNormalization(2, scale=False, epsilon=0.1)", [(6,)]),
    Case("RMSNormalization()", [(5, 6)]),
    Case("RMSNormalization(axis=-1, epsilon=0.1)", [IMAGE]),
    Case("RMSNormalization(axis=[2, 3])", [IMAGE]),
    Case("UnitNormalization()", [(5, 6)]),
    Case("UnitNormalization(axis=1)", [IMAGE]),
    Case("UnitNormalization(axis=[1, 2])", [IMAGE]),
]


@pytest.mark.parametrize("execution", ["interpreter", "native"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_layer(case: Case, execution: str):
    compare(case, execution)
