"""Batches that take long are made in a thread while the step before them runs."""

import gc
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest

import kgraph
from kgraph import layers
from kgraph.callbacks import LambdaCallback
from kgraph.data import streams
from kgraph.data.ahead import BatchesAhead

X = np.random.default_rng(0).random((8, 4), dtype="float32")
Y = X.sum(1, keepdims=True)
SLOW = 0.001


def model():
    kgraph.utils.set_random_seed(0)
    made = kgraph.Sequential([kgraph.Input((4,)), layers.Dense(1)])
    made.compile("sgd", "mse")
    return made


def batches(count, seconds=SLOW, seen=None, error_at=None):
    for number in range(count):
        time.sleep(seconds)
        if seen is not None:
            seen.append((number, threading.current_thread().name))
        if number == error_at:
            raise ZeroDivisionError("in the user's code")
        yield X + number, Y


class StillClock:
    """No time passes, however busy the machine is."""

    @staticmethod
    def perf_counter():
        return 0.0

    thread_time = perf_counter


def test_slow_batches_come_from_a_thread_and_quick_ones_do_not(monkeypatch):
    slow, quick = [], []
    model().fit(batches(8, seen=slow), verbose=0)
    monkeypatch.setattr(streams, "time", StillClock)
    model().fit(batches(8, seconds=0, seen=quick), verbose=0)
    assert [number for number, _ in slow] == list(range(8))
    assert [name for _, name in slow[2:]] == ["kgraph-batches"] * 6
    assert {name for _, name in slow[:2]} == {threading.current_thread().name}
    assert {name for _, name in quick} == {threading.current_thread().name}


def test_the_result_is_the_same():
    found = []
    for seconds in (0, SLOW):
        made = model()
        history = made.fit(batches(12, seconds), steps_per_epoch=4, epochs=3, verbose=0).history
        found.append((history["loss"], made.get_weights()))
    assert found[0][0] == found[1][0]
    for a, b in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_one_buffer_may_be_filled_again_for_each_batch():
    def refilled():
        x, y = np.empty_like(X), np.empty_like(Y)
        for a, b in batches(12):
            x[...], y[...] = a, b
            yield {"x": x}, y

    expected, made = model(), model()
    inputs = kgraph.Input((4,), name="x")
    by_name = kgraph.Model(inputs, made(inputs))
    by_name.compile("sgd", "mse")
    expected.fit(batches(12, seconds=0), verbose=0)
    slow_steps = LambdaCallback(on_train_batch_begin=lambda batch, logs: time.sleep(3 * SLOW))
    by_name.fit(refilled(), verbose=0, callbacks=[slow_steps])
    for a, b in zip(expected.get_weights(), by_name.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_none_is_made_that_is_not_of_the_epoch():
    seen, at_end = [], []
    watch = LambdaCallback(on_epoch_end=lambda epoch, logs: at_end.append(len(seen)))
    model().fit(batches(100, seen=seen), steps_per_epoch=5, epochs=3, verbose=0, callbacks=[watch])
    assert at_end == [5, 10, 15]
    assert len(seen) == 15


def test_a_dataset_by_number_is_made_ahead_too():
    names = []

    class Slow(kgraph.utils.PyDataset):
        def __len__(self):
            return 5

        def __getitem__(self, index):
            time.sleep(SLOW)
            names.append(threading.current_thread().name)
            return X, Y

    model().fit(Slow(), epochs=2, verbose=0)
    assert len(names) == 10
    assert names.count("kgraph-batches") >= 6


def test_an_error_comes_as_it_is_with_the_number_of_its_batch():
    with pytest.raises(ZeroDivisionError, match="in the user's code") as caught:
        model().fit(batches(10, error_at=6), verbose=0)
    assert caught.value.__notes__ == ["raised while making batch 6"]
    assert any(entry.name == "batches" for entry in caught.traceback)


def test_the_thread_ends_with_its_iterator():
    ahead = BatchesAhead(iter(range(3)), None)
    assert list(ahead) == [0, 1, 2]
    assert list(ahead) == []
    waiting = BatchesAhead(iter(range(100)), 1)
    (thread,) = [t for t in threading.enumerate() if t.name == "kgraph-batches"][-1:]
    del waiting
    thread.join(10)
    assert not thread.is_alive()


def test_an_iterator_that_hangs_does_not_keep_the_process():
    script = (
        "import threading, time, numpy as np, kgraph\n"
        "def batches():\n"
        "    for n in range(100):\n"
        "        time.sleep(0.001 if n < 4 else 3600)\n"
        "        yield np.ones((2, 3), 'f'), np.ones((2, 1), 'f')\n"
        "class Stop(kgraph.callbacks.Callback):\n"
        "    def on_train_batch_end(self, batch, logs=None):\n"
        "        if batch == 2: raise SystemExit(7)\n"
        "m = kgraph.Sequential([kgraph.Input((3,)), kgraph.layers.Dense(1)])\n"
        "m.compile('sgd', 'mse')\n"
        "m.fit(batches(), verbose=0, callbacks=[Stop()])\n"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 7


@pytest.mark.parametrize("error_at", [None, 6])
def test_a_model_does_not_keep_its_data_after_fit(error_at):
    made = model()
    source = batches(10, error_at=error_at)
    alive = weakref.ref(source)
    try:
        made.fit(source, steps_per_epoch=8, verbose=0)
    except ZeroDivisionError:
        assert error_at is not None
    del source
    gc.collect()
    for thread in threading.enumerate():  # that had the generator
        if thread.name == "kgraph-batches":
            thread.join(10)
    assert alive() is None


def test_a_model_does_not_keep_its_arrays_after_fit():
    made, inputs = model(), X.copy()
    alive = weakref.ref(inputs)
    made.fit(inputs, Y, verbose=0)
    del inputs
    gc.collect()
    assert alive() is None
