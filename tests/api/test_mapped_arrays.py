"""Arrays mapped from files are trained on where they are: no copy of them is made in memory."""

import tracemalloc

import numpy as np
import pytest

import kgraph
from kgraph import layers

ROWS, WIDTH = 8192, 512
LIMIT = ROWS * WIDTH * 4 // 4  # a quarter of the file


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    path = tmp_path_factory.mktemp("mapped") / "x.npy"
    np.save(path, np.random.default_rng(0).random((ROWS, WIDTH), dtype="float32"))
    return np.load(path, mmap_mode="r")


@pytest.fixture(scope="module")
def model():
    made = kgraph.Sequential([kgraph.Input((WIDTH,)), layers.Dense(1)])
    made.compile(kgraph.optimizers.SGD(1e-5), "mse", metrics=["mae"])
    small = np.zeros((3, WIDTH), "float32")
    made.fit(small, small[:, :1], validation_split=0.4, verbose=0)  # compiled before memory is watched
    made.predict(small, verbose=0)
    return made


CALLS = {
    "fit": lambda m, x, y: m.fit(x, y, batch_size=128, epochs=2, verbose=0),
    "in order": lambda m, x, y: m.fit(x, y, batch_size=128, shuffle=False, verbose=0),
    "split": lambda m, x, y: m.fit(x, y, batch_size=128, validation_split=0.25, verbose=0),
    "weighed": lambda m, x, y: m.fit(x, y, batch_size=128, sample_weight=np.ones(len(x), "float32"), verbose=0),
    "validation": lambda m, x, y: m.fit(x[:128], y[:128], validation_data=(x, y), validation_batch_size=128, verbose=0),
    "evaluate": lambda m, x, y: m.evaluate(x, y, batch_size=128, verbose=0),
    "predict": lambda m, x, y: m.predict(x, batch_size=128, verbose=0),
    "in a list": lambda m, x, y: m.predict([x], batch_size=128, verbose=0),
}


@pytest.mark.parametrize("call", CALLS)
def test_no_copy_is_made(mapped, model, call):
    y = np.zeros((ROWS, 1), "float32")
    CALLS[call](model, mapped[:256], y[:256])
    tracemalloc.start()
    try:
        CALLS[call](model, mapped, y)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < LIMIT


def test_a_copy_would_be_seen(mapped):
    tracemalloc.start()
    try:
        np.array(mapped)
        assert tracemalloc.get_traced_memory()[1] > LIMIT
    finally:
        tracemalloc.stop()


def test_results_are_those_of_an_array_in_memory(mapped, model):
    np.testing.assert_array_equal(model.predict(mapped, verbose=0), model.predict(np.array(mapped), verbose=0))
