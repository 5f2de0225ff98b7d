"""The demonstration: digits from a few thousand bytes of data to a trained, checked native program."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from kgraph.callbacks import Callback, Logs
from kgraph.config import override, settings
from kgraph.datasets import digits
from kgraph.layers import Dense, Dropout
from kgraph.models import Sequential
from kgraph.random_seed import set_random_seed

EPOCHS = 20
BATCH = 32
WANTED = 0.95


class _Clock(Callback):
    """Measures the epochs, the first of which compiles."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._start = 0.0

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.seconds.append(time.perf_counter() - self._start)


def run(folder: Path, seed: int = 1, write: Callable[[str], None] = print) -> bool:
    """Train a small network on the digits and show every step with its figures.

    Args:
        folder: where the dumps of every compilation go; made if missing.
        seed: of weights, shuffles and dropout.
        write: gets the text, line by line.

    Returns:
        Whether the accuracy on the test digits is high enough and interpreter and native code agree.
    """
    started = time.perf_counter()
    set_random_seed(seed)
    with override(dump=str(folder)):
        ok = _train_and_check(write)
    write(f"\nDumps of every pass and stage: {folder}")
    write(f"Total: {time.perf_counter() - started:.1f} s")
    return ok


def _train_and_check(write: Callable[[str], None]) -> bool:
    (images, y_train), (test_images, y_test) = digits.load_data()
    x_train, x_test = images.reshape(-1, 64) / 16, test_images.reshape(-1, 64) / 16
    write(f"1. Data: {len(x_train)} handwritten digits of 8x8 pixels to train on, {len(x_test)} to test with")
    model = Sequential([
        Dense(128, activation="relu", input_shape=(64,)), Dropout(0.2), Dense(64, activation="relu"),
        Dense(10, activation="softmax"),
    ])  # fmt: skip
    sizes = " -> ".join(["64", *(str(layer.units) for layer in model.layers if isinstance(layer, Dense))])
    write(f"2. Model: {sizes}, {model.count_params():,} weights")
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    _show_compilation(model, write)
    write(f"4. Training: {EPOCHS} epochs in batches of {BATCH}, {settings().execution}")
    clock = _Clock()
    model.fit(x_train, y_train, batch_size=BATCH, epochs=EPOCHS, callbacks=clock)
    usual = sorted(clock.seconds)[len(clock.seconds) // 2]
    write(f"   {usual * 1e3:.1f} ms an epoch, {usual / -(-len(x_train) // BATCH) * 1e6:.0f} us a step")
    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    write(f"5. Test: loss {loss:.4f}, accuracy {accuracy:.4f} (wanted: {WANTED})")
    report = model.compare(x_train[:BATCH], y_train[:BATCH])
    write("6. Interpreter against native code, one more step on the same state:")
    write("   " + str(report).replace("\n", "\n   "))
    return bool(accuracy >= WANTED and report.ok)


def _show_compilation(model: Sequential, write: Callable[[str], None]) -> None:
    """Compile the training program and say what became of it."""
    if settings().execution != "native":
        write("3. Compilation: none, the interpreter runs the graph")
        return
    program = model.training_program()
    report = program.report()
    workspace = program.arena_bytes(batch=BATCH)
    write(f"3. Compilation of the training step: {report.seconds:.2f} s, "
          f"{report.nodes} ops -> {report.kernels} kernels,")  # fmt: skip
    write(f"   {report.code_bytes:,} bytes of code, {workspace:,} bytes of workspace for a batch of {BATCH}")
