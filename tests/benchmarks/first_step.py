"""Where the time to the first training step goes: CPU milliseconds of each stage, with nothing cached and then again.

    python tests/benchmarks/first_step.py --workloads mlp,cnn,resnet20

See README.md in this folder.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from systems import KEEP_BYTECODE, RATES, ROOT, peak_memory, thread_settings, use_cores
from workloads import WORKLOADS

# Stage, module, function or class and method: the time inside, less that of stages inside it, is the stage's.
STAGES = (
    ("load compiler", "kgraph.engine", "_compiler"),
    ("trace", "kgraph.models.training_programs", "TrainingSetup._train"),
    ("trace", "kgraph.models.predict_program", "predict_program"),
    ("passes", "kgraph.engine", "CompiledProgram._run_passes"),
    ("from disk", "kgraph.runtime.stored_program", "StoredProgram.get"),
    ("load code", "kgraph.runtime.executable", "Executable.__init__"),
    ("run", "kgraph.stepping", "BatchLoop.advance"),
)
COMPILER_STAGES = (
    ("load LLVM", "kgraph.compiler.native", "current"),
    ("fuse", "kgraph.compiler.native", "run"),
    ("lower", "kgraph.compiler.native", "lower"),
    ("lower", "kgraph.compiler.native", "_optimised"),
    ("plan", "kgraph.compiler.native", "memory_plan"),
    ("write LLVM", "kgraph.compiler.native", "emit_program"),
    ("LLVM", "kgraph.compiler.native", "to_object"),
)


class Stopwatch:
    """CPU milliseconds by stage; inner stages interrupt outer ones."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self._running = ["other"]
        self._since = time.process_time()

    def enter(self, stage: str) -> None:
        """A stage begins."""
        self._note()
        self._running.append(stage)

    def leave(self) -> None:
        """It ends."""
        self._note()
        self._running.pop()

    def _note(self) -> None:
        now = time.process_time()
        stage = self._running[-1]
        self.spent[stage] = self.spent.get(stage, 0.0) + 1e3 * (now - self._since)
        self._since = now

    def watch(self, stage: str, module: str, path: str) -> None:
        """Time every call of a function."""
        owner: Any = importlib.import_module(module)
        *outer, name = path.split(".")
        for part in outer:
            owner = getattr(owner, part)
        setattr(owner, name, self._timed(stage, getattr(owner, name)))

    def _timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            self.enter(stage)
            try:
                result = function(*args, **kwargs)
                if stage == "load compiler" and not getattr(function, "seen", False):
                    function.seen = True  # type: ignore[attr-defined]
                    for entry in COMPILER_STAGES:
                        self.watch(*entry)
                return result
            finally:
                self.leave()

        return timed


def measure(name: str, threads: int) -> dict[str, Any]:
    """Stages of the first training step in this process."""
    use_cores(threads)
    sys.path.insert(0, str(ROOT))
    watch = Stopwatch()
    watch.enter("import NumPy")
    importlib.import_module("numpy")
    watch.leave()
    watch.enter("import kgraph")
    keras = importlib.import_module("kgraph")
    sequential, optimizers = keras.Sequential, keras.optimizers
    assert sequential is not None
    watch.leave()
    work = WORKLOADS[name]
    x, y = work.data()
    for entry in STAGES:
        watch.watch(*entry)
    watch.enter("make model")
    model = work.keras(keras)
    rate = RATES[work.optimizer]
    optimizer = optimizers.Adam(rate) if work.optimizer == "adam" else optimizers.SGD(rate, momentum=0.9)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    watch.leave()
    watch.spent.pop("other")
    watch.enter("the rest of fit")
    model.fit(x[: work.batch], y[: work.batch], batch_size=work.batch, verbose=0)
    watch.leave()
    return {"stages": watch.spent, "peak": peak_memory()}


def in_own_process(name: str, threads: int, cache: str) -> dict[str, Any]:
    """The same in a new process."""
    command = [sys.executable, str(Path(__file__).resolve()), "--worker"]
    command += ["--workloads", name, "--threads", str(threads)]
    environment = {**os.environ, **thread_settings(threads), **KEEP_BYTECODE, "KGRAPH_CACHE": cache}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(name: str, options: argparse.Namespace) -> None:
    """Print the stages of one workload; the least of several runs each, since all else is disturbance."""
    columns: dict[str, dict[str, float]] = {}
    peaks: dict[str, float] = {}
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory() as cache:
            for state in ("cold", "again"):
                found = in_own_process(name, options.threads, cache)
                column = columns.setdefault(state, {})
                for stage, spent in found["stages"].items():
                    column[stage] = min(column.get(stage, spent), spent)
                peaks[state] = min(peaks.get(state, found["peak"]), found["peak"])
    print(f"\n{name}: {WORKLOADS[name].title}; CPU ms, least of {options.runs}\n{'':18}{'cold':>9}{'again':>9}")
    for stage in columns["cold"] | columns["again"]:
        print(f"{stage:18}" + "".join(f"{columns[state].get(stage, 0.0):9.1f}" for state in columns))
    for title, left_out in (("all", ()), ("without NumPy", ("import NumPy",)), ("after imports", ("import ",))):
        sums = [sum(ms for s, ms in c.items() if not s.startswith(left_out)) for c in columns.values()]
        print(f"{title:18}" + "".join(f"{ms:9.1f}" for ms in sums))
    print(f"{'peak MiB':18}" + "".join(f"{peak:9.0f}" for peak in peaks.values()), flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", default="mlp,cnn,resnet20", help="comma-separated")
    parser.add_argument("--threads", type=int, default=1, help="threads and cores (default: 1)")
    parser.add_argument("--runs", type=int, default=3, help="pairs of processes (default: 3)")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name in options.workloads.split(","):
        if options.worker:
            print(json.dumps(measure(name, options.threads)))
        else:
            table(name, options)


if __name__ == "__main__":
    main()
