"""How each system builds, trains and runs a workload; one process measures one system on one workload."""

from __future__ import annotations

import importlib
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from workloads import Workload

ROOT = Path(__file__).resolve().parents[2]
RATES = {"adam": 1e-3, "sgd": 1e-2}
WARM_RUNS = 1  # after the first step: epochs that do not count


@dataclass
class Measured:
    """What one process found.

    Attributes:
        versions: of the modules that were imported.
        imports: wall seconds to import them.
        first: wall seconds after the imports to the end of the first step: model, compilation, one step.
        first_cpu: the same in CPU seconds of all threads.
        seconds: of each timed epoch, or run of `steps` calls.
        loss: mean over the last epoch; says whether systems do the same work.
        peak: largest resident size of the process in MiB.
    """

    versions: dict[str, str] = field(default_factory=dict)
    imports: float = 0.0
    first: float = 0.0
    first_cpu: float = 0.0
    seconds: list[float] = field(default_factory=list)
    loss: float = float("nan")
    peak: float = 0.0

    @contextmanager
    def first_step(self) -> Iterator[None]:
        """Time what is inside as the first step."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.first, self.first_cpu = time.perf_counter() - wall, time.process_time() - cpu


def peak_memory() -> float:
    """MiB that this process had resident at most."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def _imported(out: Measured, name: str) -> Any:
    """The module; its time and version are noted."""
    start = time.perf_counter()
    module = importlib.import_module(name)
    out.imports += time.perf_counter() - start
    out.versions[name] = str(getattr(module, "__version__", "of this checkout"))
    return module


def use_cores(threads: int) -> None:
    """Let this process use that many cores, the last ones it may use."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


# Installed packages come with bytecode; a checkout has it from its first run on, unless Python is told not to keep it.
KEEP_BYTECODE = {"PYTHONDONTWRITEBYTECODE": ""}


def thread_settings(threads: int) -> dict[str, str]:
    """Environment variables that every system reads its number of threads from."""
    names = ("OMP_NUM", "MKL_NUM", "OPENBLAS_NUM", "KGRAPH_NUM", "TF_NUM_INTRAOP", "TF_NUM_INTEROP")
    variables = {f"{name}_THREADS": str(threads) for name in names} | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    if threads == 1:
        variables["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    return variables


def with_keras(keras: Any, work: Workload, runs: int, out: Measured) -> None:
    """Measure Keras, or kgraph in its place; with no runs the first step only."""
    x, y = work.data()
    if not work.optimizer:
        with out.first_step():
            model = work.keras(keras)
            model.predict_on_batch(x[:1])
        _time_calls(runs, out, model.predict_on_batch, x)
        return
    with out.first_step():
        model = work.keras(keras)
        optimizers, rate = keras.optimizers, RATES[work.optimizer]
        optimizer = optimizers.Adam(rate) if work.optimizer == "adam" else optimizers.SGD(rate, momentum=0.9)
        model.compile(optimizer, "sparse_categorical_crossentropy")
        model.fit(x[: work.batch], y[: work.batch], batch_size=work.batch, verbose=0)
    if not runs:
        return
    ends: list[float] = []

    class Clock(keras.callbacks.Callback):  # type: ignore[misc,name-defined]
        """Notes when each epoch ends: what is between two ends is one epoch with all that belongs to it."""

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            ends.append(time.perf_counter())

    history = model.fit(x, y, batch_size=work.batch, epochs=runs + WARM_RUNS, verbose=0, callbacks=[Clock()])
    out.seconds = [b - a for a, b in zip(ends[WARM_RUNS - 1 :], ends[WARM_RUNS:])]
    out.loss = float(history.history["loss"][-1])


def _time_calls(runs: int, out: Measured, call: Callable[[Any], Any], x: Any) -> None:
    """Seconds of a call for each row of x."""
    rows = [x[n : n + 1] for n in range(len(x))]
    for _ in range(runs + WARM_RUNS if runs else 0):
        start = time.perf_counter()
        for row in rows:
            call(row)
        out.seconds.append(time.perf_counter() - start)
    del out.seconds[:WARM_RUNS]


def keras_on(backend: str, work: Workload, runs: int, out: Measured) -> None:
    """Keras with one of its backends."""
    os.environ["KERAS_BACKEND"] = backend
    engine, keras = _imported(out, backend), _imported(out, "keras")
    if backend == "torch":
        engine.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    with_keras(keras, work, runs, out)


def kgraph(work: Workload, runs: int, out: Measured) -> None:
    """kgraph from this checkout."""
    sys.path.insert(0, str(ROOT))
    with_keras(_imported(out, "kgraph"), work, runs, out)


def torch_loop(compiled: bool, work: Workload, runs: int, out: Measured) -> None:
    """PyTorch's usual loop: data shuffled by index once an epoch, channels first as is its default."""
    torch = _imported(out, "torch")
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    x, y = work.data()
    if x.ndim == 4:
        x = x.transpose(0, 3, 1, 2).copy()
    if not work.optimizer:
        with out.first_step():
            model = work.torch(torch).eval()
            model = torch.compile(model) if compiled else model
            with torch.inference_mode():
                model(torch.from_numpy(x[:1])).softmax(-1).numpy()

        with torch.inference_mode():
            _time_calls(runs, out, lambda row: model(torch.from_numpy(row)).softmax(-1).numpy(), x)
        return
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    with out.first_step():
        model = work.torch(torch)
        rate, parameters = RATES[work.optimizer], model.parameters()
        adam = work.optimizer == "adam"
        optimizer = torch.optim.Adam(parameters, rate) if adam else torch.optim.SGD(parameters, rate, momentum=0.9)
        model = torch.compile(model) if compiled else model
        step = partial(_torch_step, model, optimizer, torch.nn.CrossEntropyLoss())
        step(x[: work.batch], y[: work.batch])
    for _ in range(runs + WARM_RUNS if runs else 0):
        start, total = time.perf_counter(), torch.zeros(())
        order = torch.randperm(len(x))
        for at in range(0, len(x), work.batch):
            rows = order[at : at + work.batch]
            total += step(x[rows], y[rows])
        out.loss = float(total) / work.steps
        out.seconds.append(time.perf_counter() - start)
    del out.seconds[:WARM_RUNS]


def _torch_step(model: Any, optimizer: Any, loss_of: Any, x: Any, y: Any) -> Any:
    """One training step; the loss before it."""
    optimizer.zero_grad()
    loss = loss_of(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.detach()


SYSTEMS: dict[str, Callable[[Workload, int, Measured], None]] = {
    "kgraph": kgraph,
    "keras-jax": partial(keras_on, "jax"),
    "keras-tensorflow": partial(keras_on, "tensorflow"),
    "keras-torch": partial(keras_on, "torch"),
    "torch": partial(torch_loop, False),
    "torch.compile": partial(torch_loop, True),
}


def measure(system: str, work: Workload, runs: int, threads: int) -> dict[str, Any]:
    """Measure in this process; `runs` timed epochs, or the first step only if 0."""
    use_cores(threads)
    out = Measured()
    SYSTEMS[system](work, runs, out)
    out.peak = peak_memory()
    return asdict(out)
