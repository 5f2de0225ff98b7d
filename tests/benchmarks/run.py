"""Speed, first step and memory of kgraph beside the systems that are installed; each measured in its own process.

    python tests/benchmarks/run.py --python /path/to/python/with/the/others

See README.md in this folder.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from systems import KEEP_BYTECODE, SYSTEMS, measure, thread_settings
from workloads import WORKLOADS

HEADER = (
    f"{'system':17}{'samples/s':>11}{'step':>10}{'min':>10}{'max':>10}"
    f"{'import s':>9}{'first s':>9}{'CPU s':>7}{'again s':>9}{'CPU s':>7}{'MiB':>7}{'loss':>7}  kgraph is"
)


def in_own_process(python: str, system: str, name: str, runs: int, threads: int, cache: str) -> dict[str, Any] | None:
    """Figures of one system on one workload; None, and a line that says why, if it cannot run."""
    command = [python, str(Path(__file__).resolve()), "--worker", system, "--workloads", name]
    command += ["--runs", str(runs), "--threads", str(threads)]
    folders = {"XDG_CACHE_HOME": cache, "KGRAPH_CACHE": cache, "TORCHINDUCTOR_CACHE_DIR": cache}
    environment = {**os.environ, **thread_settings(threads), **KEEP_BYTECODE, **folders}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode == 0:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found
    reason = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
    print(f"{system:17}not measured: {reason[:150]}", flush=True)
    return None


def table(name: str, threads: int, options: argparse.Namespace) -> dict[str, str]:
    """Measure a workload with all systems and print a line for each; versions of the modules used."""
    work = WORKLOADS[name]
    plural = "s" * (threads > 1)
    print(f"\n{name}: {work.title}; {threads} thread{plural}; median of {options.runs}\n{HEADER}", flush=True)
    own, versions = 0.0, dict[str, str]()
    for system in options.systems:
        python = sys.executable if system == "kgraph" else options.python
        with tempfile.TemporaryDirectory() as cache:  # empty: the first process compiles, the second finds what it left
            cold = in_own_process(python, system, name, options.runs, threads, cache)
            if cold is None:
                continue
            again = in_own_process(python, system, name, 0, threads, cache) or cold
        versions |= cold["versions"]
        each = [seconds / work.steps for seconds in cold["seconds"]]
        middle = statistics.median(each)
        own = middle if system == "kgraph" else own
        ratio = f"{middle / own:8.2f} x as fast" if own and system != "kgraph" else ""
        loss = f"{cold['loss']:.3f}" if work.optimizer else "-"
        times = "".join(f"{_time(s):>10}" for s in (middle, min(each), max(each)))
        starts = "".join(f"{run['first']:9.2f}{run['first_cpu']:7.2f}" for run in (cold, again))
        speed, memory = f"{work.batch / middle:11.0f}{times}", f"{cold['peak']:7.0f}{loss:>7}"
        print(f"{system:17}{speed}{cold['imports']:9.2f}{starts}{memory}{ratio}", flush=True)
    return versions


def _time(seconds: float) -> str:
    return f"{1e6 * seconds:.1f} us" if seconds < 1e-3 else f"{1e3 * seconds:.2f} ms"


def _names(known: dict[str, Any], text: str) -> list[str]:
    """The names in a comma-separated list; an error that lists the known ones."""
    names = text.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    return names


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="the Python that has the other systems")
    parser.add_argument("--systems", default=",".join(SYSTEMS), help=f"comma-separated (default: {','.join(SYSTEMS)})")
    parser.add_argument("--workloads", default=",".join(WORKLOADS), help=f"(default: {','.join(WORKLOADS)})")
    parser.add_argument("--threads", default="1,2", help="numbers of threads and cores, comma-separated (default: 1,2)")
    parser.add_argument("--runs", type=int, default=5, help="timed epochs; the median counts (default: 5)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    workloads = _names(WORKLOADS, options.workloads)
    if options.worker:
        found = measure(options.worker, WORKLOADS[workloads[0]], options.runs, int(options.threads))
        print(json.dumps(found))
        return
    options.systems = _names(SYSTEMS, options.systems)
    versions: dict[str, str] = {}
    for name in workloads:
        for threads in map(int, options.threads.split(",")):
            versions |= table(name, threads, options)
    print("\n" + ", ".join(f"{name} {version}" for name, version in versions.items()))


if __name__ == "__main__":
    main()
