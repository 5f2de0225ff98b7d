"""Time of one training step, kgraph against whatever peers are installed; each system in a process of its own.

    python tests/benchmarks/training.py --peers /path/to/python

runs kgraph with this Python and the peers with the other one (default: this one). Every process is held on one core.
The same network, data, optimizer and batch size for all. An epoch of `fit` is timed as a whole and divided by its
steps; the first two epochs, which compile, do not count; the median of the others is shown.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WARM = 2
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


@dataclass(frozen=True)
class Case:
    """A network and how it is trained.

    Attributes:
        sizes: units of the input and of every layer.
        batch: rows of a step.
        steps: of an epoch.
        dropout: rate after every hidden layer.
    """

    sizes: tuple[int, ...]
    batch: int
    steps: int
    dropout: float = 0.0

    def data(self) -> tuple[Any, Any]:
        """Random inputs and class numbers."""
        import numpy as np

        rng = np.random.default_rng(0)
        rows = self.batch * self.steps
        return rng.random((rows, self.sizes[0]), dtype="float32"), rng.integers(0, self.sizes[-1], rows)


CASES = {
    "784-512-512-10, batch 128, Adam": Case((784, 512, 512, 10), 128, 40),
    "784-512-512-10, batch 128, Adam, dropout 0.2": Case((784, 512, 512, 10), 128, 40, 0.2),
    "10-20-30, batch 32, Adam": Case((10, 20, 30), 32, 500),
}


def with_keras(keras: Any, case: Case, epochs: int) -> list[float]:
    """Seconds of each epoch of `fit`, of Keras or of kgraph."""
    layers = [keras.Input((case.sizes[0],))]
    for units in case.sizes[1:-1]:
        layers.append(keras.layers.Dense(units, activation="relu"))
        if case.dropout:
            layers.append(keras.layers.Dropout(case.dropout))
    model = keras.Sequential([*layers, keras.layers.Dense(case.sizes[-1], activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    seconds: list[float] = []

    class Clock(keras.callbacks.Callback):  # type: ignore[misc]
        """Notes the time of each epoch."""

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seconds.append(time.perf_counter() - self.start)

    x, y = case.data()
    model.fit(x, y, batch_size=case.batch, epochs=epochs, verbose=0, callbacks=[Clock()])
    return seconds


def kgraph(case: Case, epochs: int) -> list[float]:
    """Seconds of each epoch with kgraph."""
    sys.path.insert(0, str(ROOT))
    import kgraph as module

    return with_keras(module, case, epochs)


def keras_on(backend: str) -> Callable[[Case, int], list[float]]:
    """Keras with a backend."""

    def run(case: Case, epochs: int) -> list[float]:
        os.environ["KERAS_BACKEND"] = backend
        if backend == "tensorflow":
            import tensorflow

            tensorflow.config.threading.set_intra_op_parallelism_threads(1)
        if backend == "torch":
            import torch

            torch.set_num_threads(1)
        import keras

        return with_keras(keras, case, epochs)

    return run


def torch_eager(case: Case, epochs: int) -> list[float]:
    """PyTorch's usual loop, with the data shuffled by index once an epoch."""
    import torch

    torch.set_num_threads(1)
    layers: list[Any] = []
    for a, b in zip(case.sizes, case.sizes[1:], strict=False):
        layers += [torch.nn.Linear(a, b), torch.nn.ReLU()] + [torch.nn.Dropout(case.dropout)] * (case.dropout > 0)
    model = torch.nn.Sequential(*layers[: -1 - (case.dropout > 0)])
    optimizer = torch.optim.Adam(model.parameters())
    loss_of = torch.nn.CrossEntropyLoss()
    x, y = map(torch.from_numpy, case.data())
    seconds = []
    for _ in range(epochs):
        start = time.perf_counter()
        order = torch.randperm(len(x))
        for at in range(0, len(x), case.batch):
            rows = order[at : at + case.batch]
            optimizer.zero_grad()
            loss = loss_of(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
        float(loss)
        seconds.append(time.perf_counter() - start)
    return seconds


SYSTEMS: dict[str, Callable[[Case, int], list[float]]] = {
    "kgraph": kgraph,
    "keras-jax": keras_on("jax"),
    "keras-tensorflow": keras_on("tensorflow"),
    "keras-torch": keras_on("torch"),
    "torch": torch_eager,
}


def measure(python: str, system: str, case: str, epochs: int) -> list[float] | None:
    """Microseconds a step, one for each timed epoch, of a system in its own process; None if it cannot run."""
    command = [python, str(Path(__file__).resolve()), "--worker", system, "--case", case, "--epochs", str(epochs)]
    done = subprocess.run(command, env={**os.environ, **ONE_THREAD}, capture_output=True, text=True)
    if done.returncode:
        print(f"  {system}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}", file=sys.stderr)
        return None
    seconds: list[float] = json.loads(done.stdout.strip().splitlines()[-1])
    return [s / CASES[case].steps * 1e6 for s in seconds[WARM:]]


def hold_on_one_core() -> None:
    """Let this process use one core only, the last one it may use."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def main() -> None:
    """Print a table for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default=sys.executable, help="the Python that has the peers installed")
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="comma-separated")
    parser.add_argument("--epochs", type=int, default=7, help="timed epochs, at least 5")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        hold_on_one_core()
        print(json.dumps(SYSTEMS[options.worker](CASES[options.case], options.epochs)))
        return
    for case in (name for name in CASES if options.only in name):
        print(f"\n{case}: microseconds a step (median of {max(options.epochs, 5)} epochs, one core)")
        own = 0.0
        for system in options.systems.split(","):
            python = sys.executable if system == "kgraph" else options.peers
            times = measure(python, system, case, max(options.epochs, 5) + WARM)
            if times is None:
                continue
            median = statistics.median(times)
            own = median if system == "kgraph" else own
            ratio = f"{median / own:6.2f} x kgraph" if own else ""
            print(f"  {system:18}{median:10.1f}   min {min(times):10.1f}   max {max(times):10.1f}   {ratio}")


if __name__ == "__main__":
    main()
