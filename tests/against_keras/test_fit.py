"""The arguments of fit against Keras: the same record for the same data, arrays or datasets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kgraph.layers import Dense
from kgraph.models import Sequential
from kgraph.optimizers import SGD
from kgraph.utils import PyDataset

RNG = np.random.default_rng(0)
X = RNG.normal(size=(10, 4)).astype("float32")
Y = np.arange(10) % 3
KERNEL = RNG.normal(size=(4, 3)).astype("float32")
LOSS = "sparse_categorical_crossentropy"

CASES: list[dict[str, Any]] = [
    {"class_weight": {0: 1.0, 1: 0.5, 2: 3.0}, "epochs": 3},
    {"sample_weight": np.linspace(0, 2, 10), "epochs": 2},
    {"steps_per_epoch": 2, "epochs": 5},
    {"steps_per_epoch": 3, "epochs": 3},
    {"epochs": 6, "validation_data": (X, Y), "validation_freq": 3, "validation_steps": 2, "validation_batch_size": 2},
    {"epochs": 6, "initial_epoch": 2, "validation_split": 0.3, "validation_freq": [4, 6]},
]


def _batches(base: type) -> Any:
    class Batches(base):
        """The rows above, four at a time."""

        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> Any:
            return X[index * 4 : index * 4 + 4], Y[index * 4 : index * 4 + 4]

    return Batches()


def _compare(own: Any, keras_data: Any, options: dict[str, Any]) -> None:
    import keras

    model = Sequential([Dense(3, activation="softmax", input_shape=(4,))])
    model.compile(SGD(0.1), LOSS, metrics=["accuracy"], run_eagerly=True)
    theirs = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    theirs.compile(keras.optimizers.SGD(0.1), LOSS, metrics=["accuracy"])
    for made in (model, theirs):
        made.set_weights([KERNEL, np.zeros(3, "float32")])
    options = {"shuffle": False, "verbose": 0, **options}
    record = model.fit(**own, **options).history
    expected = theirs.fit(**keras_data, **options).history
    assert set(record) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(record[name], values, rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(model.get_weights()[0], theirs.get_weights()[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("options", CASES, ids=lambda options: " ".join(options))
def test_arguments_of_fit(options: dict[str, Any]):
    arrays = {"x": X, "y": Y, "batch_size": 4}
    _compare(arrays, arrays, options)


@pytest.mark.parametrize("options", [{"epochs": 2}, {"steps_per_epoch": 3, "epochs": 2}, {"steps_per_epoch": 2}])
def test_datasets(options: dict[str, Any]):
    import keras

    _compare({"x": _batches(PyDataset)}, {"x": _batches(keras.utils.PyDataset)}, options)
