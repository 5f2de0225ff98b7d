"""Batches that do not fit in memory: one line before anything runs, and a model that works afterwards."""

import subprocess
import sys

import numpy as np
import pytest

import kgraph
import kgraph.engine
from kgraph import layers
from kgraph.errors import OutOfMemoryError
from kgraph.runtime import memory

ROWS = 200_000
X = np.zeros((ROWS, 1), "float32")
WIDE = 2_000_000  # units: a terabyte for all rows


@pytest.fixture(scope="module")
def model():
    wide = layers.Dense(WIDE, "tanh", kernel_initializer="zeros", name="wide")
    made = kgraph.Sequential([kgraph.Input((1,)), wide, layers.Dense(1, kernel_initializer="zeros")])
    made.compile("sgd", "mse")
    return made


@pytest.mark.parametrize(
    ("program", "call"),
    [
        ("train", lambda m: m.fit(X, X, batch_size=ROWS, verbose=0)),
        ("train", lambda m: m.fit(iter([(X, X)]), verbose=0)),
        ("train", lambda m: m.train_on_batch(X, X)),
        ("evaluate", lambda m: m.evaluate(X, X, batch_size=ROWS, verbose=0)),
        ("evaluate", lambda m: m.test_on_batch(X, X)),
        ("predict", lambda m: m.predict(X, batch_size=ROWS, verbose=0)),
        ("predict", lambda m: m.predict_on_batch(X)),
    ],
)
def test_working_memory_that_is_not_there(model, program, call):
    with pytest.raises(MemoryError) as caught:
        call(model)
    text = str(caught.value)
    assert text.startswith(f"{program}: working memory for batch={ROWS}: expected ")
    wanted = model.memory_report(ROWS)[program]
    assert wanted.largest[0].layer.endswith("/wide")
    assert f", {4 * ROWS * WIDE:,} of them for layer '{wanted.largest[0].layer}', received " in text
    assert f"expected {wanted.arena:,} bytes" in text
    assert text.endswith("Use a smaller batch_size")
    assert "\n" not in text
    assert model.predict(X[:2], verbose=0).shape == (2, 1)


def test_a_model_trains_on_after_the_error(model):
    with pytest.raises(OutOfMemoryError):
        model.fit(X, X, batch_size=ROWS, verbose=0)
    assert model.fit(X[:2], X[:2], verbose=0).history["loss"] == [0.0]


def test_results_that_are_not_there():
    flat = kgraph.Sequential([kgraph.Input((1,)), layers.Dense(WIDE, kernel_initializer="zeros")])
    with pytest.raises(OutOfMemoryError, match=f"predict: results of all batches: expected {ROWS * WIDE * 4:,} bytes"):
        flat.predict(X, batch_size=1, verbose=0)
    with pytest.raises(OutOfMemoryError, match=r"Give fewer rows at once$"):  # batches are as small as can be
        flat.predict(X, batch_size=1, verbose=0)


def test_an_operation_on_arrays_has_no_batch_size():
    with pytest.raises(OutOfMemoryError, match=r"^add: Unable to allocate .* and data type float32$"):
        kgraph.ops.add(np.zeros((10**7, 1), "float32"), np.zeros((1, 10**7), "float32"))


def test_a_batch_size_beyond_the_data_takes_no_memory():
    small = kgraph.Sequential([kgraph.Input((1,)), layers.Dense(1)])
    small.compile("sgd", "mse")
    assert small.fit(X[:4], X[:4], batch_size=10**14, verbose=0).history["loss"]


def test_what_is_available_is_asked_before_large_pieces(monkeypatch):
    available = memory.available_bytes()
    assert available is None or available > 2**20
    monkeypatch.setattr(memory, "available_bytes", lambda: 2**20)
    assert memory.allocate("small", (memory.ASKED_FROM - 1,), np.uint8).nbytes == memory.ASKED_FROM - 1
    with pytest.raises(OutOfMemoryError, match="large: expected 268,435,456 bytes, received 1,048,576 available"):
        memory.allocate("large", (memory.ASKED_FROM,), np.uint8)


def test_a_system_that_does_not_say_what_is_available(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "none")
    assert memory.available_bytes() is None
    assert memory.allocate("large", (memory.ASKED_FROM,), np.uint8).nbytes == memory.ASKED_FROM


def test_the_interpreter_says_it_too(monkeypatch):
    def refuse(*arguments, **options):
        raise MemoryError("Unable to allocate 3 TiB")

    model = kgraph.Sequential([kgraph.Input((1,)), layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    with monkeypatch.context() as patched:
        patched.setattr(kgraph.engine, "interpret", refuse)
        with pytest.raises(OutOfMemoryError, match=r"train: Unable to allocate 3 TiB\. Use a smaller batch_size"):
            model.fit(X[:4], X[:4], verbose=0)
    assert model.fit(X[:4], X[:4], verbose=0).history["loss"]


LIMITED = """
import resource
import numpy as np
import kgraph
wide = kgraph.layers.Dense(100_000, "tanh", name="wide")
model = kgraph.Sequential([kgraph.Input((1,)), wide, kgraph.layers.Dense(1)])
model.compile("sgd", "mse")
x = np.ones((4000, 1), "float32")
model.train_on_batch(x[:2], x[:2])
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**29, used + 2**29))
try:
    model.fit(x, x, batch_size=4000, verbose=0)
except MemoryError as error:
    print(type(error).__name__, error)
print(len(model.fit(x, x, batch_size=8, steps_per_epoch=2, verbose=0).history["loss"]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of address space as Linux has them")
def test_a_process_with_a_limit():
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=True)
    line, epochs = done.stdout.splitlines()
    assert line.startswith("OutOfMemoryError train: working memory for batch=4000: expected ")
    assert "of them for layer 'sequential/wide', received a refusal: the process has a limit. Use" in line
    assert epochs == "1"
