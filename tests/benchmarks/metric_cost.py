"""What metrics inside the compiled training step cost: the time of a step with each of them beside that without.

    python tests/benchmarks/metric_cost.py --models small,large --threads 1,2

See README.md in this folder.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from systems import KEEP_BYTECODE, ROOT, thread_settings, use_cores

# By the row's title: makes what `compile(metrics=...)` gets.
BINARY: dict[str, Callable[[Any], list[Any]]] = {
    "accuracy": lambda m: ["accuracy"],
    "accuracy, precision, recall": lambda m: ["accuracy", m.Precision(), m.Recall()],
    "AUC": lambda m: [m.AUC()],
    "AUC, 198 uneven thresholds": lambda m: [m.AUC(thresholds=[(n / 199) ** 2 for n in range(1, 199)])],
    "PrecisionAtRecall": lambda m: [m.PrecisionAtRecall(0.5)],
    "Precision, 9 thresholds": lambda m: [m.Precision(thresholds=[n / 10 for n in range(1, 10)])],
}
CLASSES: dict[str, Callable[[Any], list[Any]]] = {
    "accuracy": lambda m: ["accuracy"],
    "top 3": lambda m: [m.SparseTopKCategoricalAccuracy(3)],
    "accuracy, top 3": lambda m: ["accuracy", m.SparseTopKCategoricalAccuracy(3)],
    "MeanIoU": lambda m: [m.MeanIoU(10, sparse_y_pred=False)],
}
ONE_HOT: dict[str, Callable[[Any], list[Any]]] = {
    "accuracy": lambda m: ["accuracy"],
    "F1Score": lambda m: [m.F1Score()],
    "AUC": lambda m: [m.AUC()],
    "AUC, multi_label": lambda m: [m.AUC(multi_label=True)],
    "Precision, top_k=3": lambda m: [m.Precision(top_k=3)],
    "OneHotMeanIoU": lambda m: [m.OneHotMeanIoU(10)],
}
PIXELS: dict[str, Callable[[Any], list[Any]]] = {
    "accuracy": lambda m: ["accuracy"],
    "AUC": lambda m: [m.AUC()],
    "BinaryIoU": lambda m: [m.BinaryIoU()],
}


@dataclass(frozen=True)
class Model:
    """A network whose step is timed.

    Attributes:
        title: for the table.
        shape: of one sample.
        hidden: layers, of `kgraph.layers`.
        outputs: the layer behind them, which makes the prediction.
        labels: makes labels from a generator and the number of rows.
        loss: by name.
        batch, steps: rows of a step, steps of an epoch.
        metrics: what is measured.
    """

    title: str
    shape: tuple[int, ...]
    hidden: Callable[[Any], list[Any]]
    outputs: Callable[[Any], Any]
    labels: Callable[[Any, int], Any]
    loss: str
    batch: int
    steps: int
    metrics: dict[str, Callable[[Any], list[Any]]]


def _dense(*units: int) -> Callable[[Any], list[Any]]:
    return lambda layers: [layers.Dense(n, activation="relu") for n in units]


def _numbers(count: int) -> Callable[[Any, int], Any]:
    return lambda rng, rows: rng.integers(0, count, (rows, 1))


def _one_hot(rng: Any, rows: int) -> Any:
    return (rng.integers(0, 10, (rows, 1)) == range(10)).astype("float32")


_BINARY = (lambda layers: layers.Dense(1, activation="sigmoid"), _numbers(2), "binary_crossentropy")
_CLASSES = (lambda layers: layers.Dense(10, activation="softmax"), _numbers(10), "sparse_categorical_crossentropy")
_SPREAD = (lambda layers: layers.Dense(10, activation="softmax"), _one_hot, "categorical_crossentropy")
MODELS = {
    "small": Model("MLP 32-64-1", (32,), _dense(64), *_BINARY, 128, 400, BINARY),
    "medium": Model("MLP 64-256-1", (64,), _dense(256), *_BINARY, 128, 200, BINARY),
    "large": Model("MLP 64-512-512-1", (64,), _dense(512, 512), *_BINARY, 128, 20, BINARY),
    "classes": Model("MLP 64-128-10", (64,), _dense(128), *_CLASSES, 128, 200, CLASSES),
    "one_hot": Model("MLP 64-128-10, labels one-hot", (64,), _dense(128), *_SPREAD, 128, 200, ONE_HOT),
    "pixels": Model(
        "two convolutions over 64 x 64 pixels", (64, 64, 1),
        lambda layers: [layers.Conv2D(8, 3, padding="same", activation="relu")],
        lambda layers: layers.Conv2D(1, 1, activation="sigmoid"),
        lambda rng, rows: rng.integers(0, 2, (rows, 64, 64, 1)), "binary_crossentropy", 16, 10, PIXELS,
    ),
}  # fmt: skip


def trainer(kgraph: Any, model: Model, wanted: Sequence[Any], x: Any, y: Any) -> Callable[[], float]:
    """A function that trains for an epoch, and gives the seconds of a step."""
    layers = kgraph.layers
    network = kgraph.Sequential([kgraph.Input(model.shape), *model.hidden(layers)])
    network.add(model.outputs(layers))
    network.compile("adam", model.loss, metrics=list(wanted))
    moments: list[float] = []

    class Clock(kgraph.callbacks.Callback):  # type: ignore[misc,name-defined]
        """Notes when an epoch begins and ends."""

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            moments.append(time.perf_counter())

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            moments.append(time.perf_counter())

    def epoch() -> float:
        network.fit(x, y, batch_size=model.batch, verbose=0, shuffle=False, callbacks=[Clock()])
        return (moments[-1] - moments[-2]) / model.steps

    epoch()
    return epoch


def measure(name: str, runs: int, copies: int, threads: int) -> dict[str, list[float]]:
    """Seconds of a step without metrics, without once more, and with each of the model's, in turn.

    Where memory lies changes a step by some percent, so several models are made for each row.
    """
    use_cores(threads)
    sys.path.insert(0, str(ROOT))
    kgraph, numpy = importlib.import_module("kgraph"), importlib.import_module("numpy")
    model = MODELS[name]
    rng = numpy.random.default_rng(0)
    rows = model.batch * model.steps
    x, y = rng.random((rows, *model.shape), dtype="float32"), model.labels(rng, rows)
    made = {"none": lambda m: [], "none, once more": lambda m: [], **model.metrics}
    found: dict[str, list[float]] = {title: [] for title in made}
    for _ in range(copies):
        epochs = {title: trainer(kgraph, model, make(kgraph.metrics), x, y) for title, make in made.items()}
        for _ in range(runs):
            for title, epoch in epochs.items():
                found[title].append(epoch())
    return found


def in_own_process(name: str, threads: int, options: argparse.Namespace, cache: str) -> dict[str, list[float]]:
    """The same in a new process."""
    command = [sys.executable, str(Path(__file__).resolve()), "--worker", "--models", name, "--threads", str(threads)]
    command += ["--runs", str(options.runs), "--copies", str(options.copies)]
    environment = {**os.environ, **thread_settings(threads), **KEEP_BYTECODE, "KGRAPH_CACHE": cache}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(name: str, threads: int, options: argparse.Namespace) -> None:
    """Print a line for each metric: the step, and how much longer it is than that without metrics."""
    with tempfile.TemporaryDirectory() as cache:
        found = in_own_process(name, threads, options, cache)
    model, plural = MODELS[name], "s" * (threads > 1)
    print(f"\n{name}: {model.title}; batch {model.batch}; {threads} thread{plural}")
    print(f"{'metrics':30}{'step us':>10}{'more us':>10}{'share':>9}")
    without = statistics.median(found["none"] + found["none, once more"])
    for title, seconds in found.items():
        step = statistics.median(seconds)
        more = f"{1e6 * (step - without):+10.2f}{step / without - 1:+9.1%}"
        print(f"{title:30}{1e6 * step:10.1f}{more}", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS), help=f"comma-separated (default: {','.join(MODELS)})")
    parser.add_argument("--threads", default="1", help="numbers of threads and cores, comma-separated (default: 1)")
    parser.add_argument("--runs", type=int, default=7, help="epochs of each model, in turn (default: 7)")
    parser.add_argument("--copies", type=int, default=3, help="models for each row (default: 3)")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in options.models.split(","):
        if name not in MODELS:
            raise SystemExit(f"unknown: {name}; there are {', '.join(MODELS)}")
        if options.worker:
            print(json.dumps(measure(name, options.runs, options.copies, int(options.threads))))
            return
        for threads in map(int, options.threads.split(",")):
            table(name, threads, options)


if __name__ == "__main__":
    main()
