"""Many steps in native code give what one step at a time gives, and stop when they should."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest

import kgraph as kg
from kgraph.callbacks import Callback
from kgraph.random_seed import set_random_seed
from kgraph.stepping import BatchLoop, SteppedBatches, batch_loop


class EachBatch(Callback):
    """Looks at every batch."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[int] = []
        self.losses: list[float] = []

    def on_train_batch_begin(self, batch, logs=None):
        self.begun.append(batch)

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(logs["loss"])


def small_model() -> kg.Sequential:
    """A classifier with dropout, so that the random state matters as well."""
    set_random_seed(3)
    layers = [kg.Input((10,)), kg.layers.Dense(20, activation="relu"), kg.layers.Dropout(0.2), kg.layers.Dense(7)]
    model = kg.Sequential([*layers, kg.layers.Activation("softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def small_data(rows: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.standard_normal((rows, 10)).astype("float32"), rng.integers(0, 7, rows)


def fitted(callbacks=None, rows=107, **options):
    model = small_model()
    x, y = small_data(rows)
    set_random_seed(4)
    history = model.fit(x, y, batch_size=16, epochs=3, verbose=0, callbacks=callbacks, **options)
    return model, history.history


@pytest.mark.parametrize("options", [{}, {"shuffle": False}, {"sample_weight": np.linspace(0, 2, 107)}])
def test_fit_gives_the_bits_of_single_steps(options):
    each = EachBatch()
    stepped, one_by_one = fitted([each], **options)
    whole, at_once = fitted(**options)
    assert each.begun == list(range(7)) * 3
    assert len(set(each.losses)) == 21
    assert one_by_one == at_once
    for a, b in zip(stepped.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_shuffled_rows_are_the_rows_of_the_order():
    model = small_model()
    x, _ = small_data(50)
    program = model._predict_program()
    order = np.random.default_rng(5).permutation(50)
    loop = batch_loop(program, [x], 16)
    loop.restart(order)
    while loop.unfinished:
        loop.advance()
    expected = np.concatenate([program.run([x[order[at : at + 16]]])[0] for at in range(0, 50, 16)])
    np.testing.assert_array_equal(loop.results[0], expected)


def test_single_bytes_and_many_axes_are_gathered():
    inputs = kg.Input((3, 5, 2), dtype="uint8")
    model = kg.Model(inputs, kg.layers.Flatten()(inputs))
    x = np.random.default_rng(2).integers(0, 255, (11, 3, 5, 2)).astype("uint8")
    loop = batch_loop(model._predict_program(), [x], 4)
    order = np.arange(11)[::-1].copy()
    loop.restart(order)
    while loop.unfinished:
        loop.advance(3)
    np.testing.assert_array_equal(loop.results[0], x[order].reshape(11, 30))


def test_interpreter_goes_through_the_same_batches():
    model = small_model()
    x, y = small_data(40)
    program = model.training_program()
    stepped = SteppedBatches(program, [x, y.astype("int32")], 16, "interpreter")
    assert stepped.steps == 3
    stepped.run(0, 3)
    assert stepped.results[0].shape == (3,)
    assert np.isfinite(stepped.results[0]).all()


@pytest.mark.parametrize("rows", [0, 5, 16, 33])
def test_predict_and_evaluate_any_number_of_rows(rows):
    model = small_model()
    x, y = small_data(rows)
    assert model.predict(x, batch_size=16, verbose=0).shape == (rows, 7)
    if rows:
        alone = model.evaluate(x, y, batch_size=rows, verbose=0)
        np.testing.assert_allclose(model.evaluate(x, y, batch_size=16, verbose=0), alone, rtol=1e-5)


class Slow:
    """Batches that take a millisecond each."""

    steps = 1000
    results: list[np.ndarray] = []

    def __init__(self) -> None:
        self.counts: list[int] = []

    def shuffle(self, order):
        pass

    def run(self, first, count):
        self.counts.append(count)
        time.sleep(0.001 * count)


def test_stretches_last_about_a_twentieth_of_a_second():
    batches = Slow()
    loop = BatchLoop(batches)
    while loop.unfinished:
        loop.advance()
    assert sum(batches.counts) == 1000
    assert batches.counts[0] == 1
    assert max(batches.counts) <= 55
    assert sorted(batches.counts)[len(batches.counts) // 2] > 20


def test_ctrl_c_stops_a_long_epoch_between_steps():
    model = small_model()
    x, y = small_data(200_000)
    model.fit(x[:16], y[:16], batch_size=16, verbose=0)
    iterations = int(model.optimizer.iterations.numpy())
    pressed: list[float] = []

    def press() -> None:
        pressed.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.3, press)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, batch_size=16, epochs=1000, verbose=0)
    assert time.perf_counter() - pressed[0] < 1
    assert int(model.optimizer.iterations.numpy()) > iterations
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_a_loss_that_is_not_finite_is_named_by_its_batch():
    model = kg.Sequential([kg.Input((1,)), kg.layers.Dense(1, use_bias=False)])
    model.compile("sgd", "mse")
    x = np.ones((8, 1), "float32")
    y = np.ones((8, 1), "float32")
    y[5] = 1e30
    with pytest.warns(kg.errors.KgraphWarning, match="epoch 1 batch 2"):
        model.fit(x, y, batch_size=2, shuffle=False, verbose=0)


def test_several_threads_may_predict_at_once():
    model = small_model()
    x, _ = small_data(64)
    expected = model.predict(x, batch_size=64, verbose=0)
    wrong: list[int] = []

    def work() -> None:
        for n in range(100):
            if not np.array_equal(model.predict_on_batch(x), expected):
                wrong.append(n)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
