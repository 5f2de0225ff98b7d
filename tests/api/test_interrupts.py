"""Ctrl-C from outside: training stops at the end of a step, whatever it does or waits for, and can go on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import kgraph
from kgraph.data.workers import Workers
from kgraph.errors import DataError
from kgraph.progress import interrupts_between_steps

SCRIPT = """
import sys, threading, time
import numpy as np
import kgraph
from kgraph import layers
from kgraph.callbacks import LambdaCallback

ROWS, SIZE = 4000, 20
X = np.random.default_rng(0).random((ROWS, 8), dtype="float32")
Y = X.sum(1, keepdims=True)
BATCHES = ROWS // SIZE

def model():
    kgraph.utils.set_random_seed(0)
    made = kgraph.Sequential([kgraph.Input((8,)), layers.Dense(16, activation="relu"), layers.Dense(1)])
    made.compile("adam", "mse")
    return made

def ready(*_):
    print("ready", flush=True)

def batch(number):
    rows = slice(number % BATCHES * SIZE, (number % BATCHES + 1) * SIZE)
    return X[rows], Y[rows]

def hang():
    ready()
    threading.Lock().acquire() and time.sleep(3600)

def generator(last=None):
    for number in range(10**9):
        if number == last:
            hang()
        if number == 250:
            ready()
        yield batch(number)

class Data(kgraph.utils.PyDataset):
    last = None

    def __len__(self):
        return BATCHES

    def __getitem__(self, index):
        if index == self.last:
            hang()
        if index == 150:
            ready()
        time.sleep(0.001)
        return batch(index)

class Hanging(Data):
    last = 120

arrays = dict(x=X, y=Y, batch_size=SIZE, shuffle=False)
told = LambdaCallback(on_epoch_end=lambda epoch, logs: ready() if epoch == 2 else None)
CALLS = {
    "arrays": dict(arrays, callbacks=[told]),
    "generator": dict(x=generator()),
    "generator that hangs": dict(x=generator(last=50)),
    "dataset": dict(x=Data(), shuffle=False),
    "workers": dict(x=Data(workers=3), shuffle=False),
    "workers that hang": dict(x=Hanging(workers=3), shuffle=False),
    "validation that hangs": dict(arrays, validation_data=generator(last=5)),
}

def main(name):
    trained = model()
    try:
        trained.fit(verbose=0, epochs=10**6, **CALLS[name])
    except KeyboardInterrupt:
        pass
    steps = int(trained.optimizer.iterations.numpy())
    assert steps, "nothing was trained"
    epochs = trained.history.epoch
    done = 0 if name in ("generator", "validation that hangs") else steps // BATCHES
    assert epochs == list(range(len(epochs))) and done - 1 <= len(epochs) <= done, (epochs, done)
    assert len(trained.history.history.get("loss", [])) == len(epochs)
    other = model()
    for number in range(steps):
        other.train_on_batch(*batch(number))
    for a, b in zip(trained.get_weights(), other.get_weights()):
        assert np.array_equal(a, b), "not at the end of a step"
    for model_ in (trained, other):
        model_.fit(X, Y, shuffle=False, verbose=0)
    for a, b in zip(trained.get_weights(), other.get_weights()):
        assert np.array_equal(a, b), "does not go on"
    print("stopped", flush=True)

main(sys.argv[1])
"""

CALLS = ["arrays", "generator", "generator that hangs", "dataset", "workers", "workers that hang",
         "validation that hangs"]  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_fit_stops_between_steps_and_what_hangs_keeps_nothing(name: str):
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
            out, errors = process.communicate(timeout=60)  # data that hang do so for an hour
        finally:
            process.kill()
    assert (process.returncode, out.splitlines()[-1:], errors) == (0, ["stopped"], "")


def test_a_worker_that_hangs_is_named_with_the_line_where_it_is():
    class Stuck(kgraph.utils.PyDataset):
        timeout = 0.2

        def __len__(self) -> int:
            return 20

        def __getitem__(self, index: int) -> np.ndarray:
            if index == 7:
                self.wait()
            return np.zeros((2, 3), "float32")

        def wait(self) -> None:
            time.sleep(3600)

    model = kgraph.Sequential([kgraph.Input((3,)), kgraph.layers.Dense(1)])
    words = r"^Stuck: batch 7 was not made within 0.2 s: worker Stuck_\d is at test_interrupts.py:\d+ in __getitem__\."
    with pytest.raises(DataError, match=words) as caught:
        model.predict(Stuck(workers=3), verbose=0)
    assert "time.sleep(3600)" in caught.value.__notes__[0]
    assert model.predict(np.zeros((2, 3)), verbose=0).shape == (2, 1)


def test_a_time_out_of_the_users_code_is_not_one_of_the_workers():
    def make(number: int) -> int:
        raise TimeoutError("the server is away")

    with pytest.raises(TimeoutError, match="the server is away"):
        list(Workers(make, 2, "Rows", patience=60).in_order(range(3), 2))


def test_ctrl_c_that_nobody_looked_at_acts_at_the_end():
    with pytest.raises(KeyboardInterrupt), interrupts_between_steps():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_does_not_wait():
    with interrupts_between_steps() as interrupt:
        signal.raise_signal(signal.SIGINT)
        assert interrupt.pressed
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
