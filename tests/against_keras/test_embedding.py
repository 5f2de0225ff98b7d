"""Embedding against Keras: outputs, gradients, masks, and several steps of training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras_comparison import Case, Data, compare

import kgraph

IDS = Data((5,), "int32", 0, 6)

CASES = [
    Case("Embedding(6, 4)", [IDS]),
    Case("Embedding(6, 4, embeddings_initializer='zeros')", [Data((2, 3), "int32", 0, 6)]),
    Case("Embedding(6, 4)", [Data((), "int32", 0, 6)]),
    Case("Embedding(6, 4, mask_zero=True)", [IDS], "GlobalAveragePooling1D()(layer(x0))"),
]  # fmt: skip


@pytest.mark.parametrize("execution", ["interpreter", "native"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_layer(case: Case, execution: str):
    compare(case, execution)


def _trained(package: Any, optimizer: str, weights: list[np.ndarray], ids: np.ndarray, y: np.ndarray) -> Any:
    layers = package.layers
    model = package.Sequential([
        package.Input((7,), dtype="int32"), layers.Embedding(50, 16), layers.GlobalAveragePooling1D(), layers.Dense(1),
    ])  # fmt: skip
    model.set_weights(weights)
    model.compile(package.optimizers.get(optimizer), "mse")
    history = model.fit(ids, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    return history.history["loss"], model.get_weights()


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop", "adagrad", "adamw"])
def test_rows_that_few_batches_name_are_trained_as_in_keras(optimizer: str):
    import keras

    rng = np.random.default_rng(5)
    ids = np.minimum(rng.geometric(0.1, (40, 7)), 45)  # some often, some in one batch, some never
    y = rng.normal(size=(40, 1))
    weights = [rng.normal(size=shape).astype("float32") for shape in ((50, 16), (16, 1), (1,))]
    loss, moved = _trained(kgraph, optimizer, weights, ids, y)
    wanted_loss, wanted = _trained(keras, optimizer, weights, ids, y)
    np.testing.assert_allclose(loss, wanted_loss, rtol=1e-5)
    for got, want, start in zip(moved, wanted, weights, strict=True):
        np.testing.assert_allclose(got - start, want - start, rtol=2e-3, atol=2e-6)
