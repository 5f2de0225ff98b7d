"""Threads of native code: the same bits for any number of them, and no harm from forks, exits and other threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from op_samples import every_sample, graph_of_sample
from random_graphs import random_graph

import kgraph as kg
import kgraph.runtime.sharing as sharing
import kgraph.runtime.threads as pools
from kgraph.compiler.native import compile_native
from kgraph.compiler.pipeline import run
from kgraph.compiler.pipelines import EXPAND, OPTIMIZE
from kgraph.config import override
from kgraph.ir.artifact import KernelCall, MemoryPlan, Place, Step, Team
from kgraph.ir.dims import symbol
from kgraph.ir.dtypes import f32
from kgraph.ir.opdef import Sample
from kgraph.ir.types import TensorType
from kgraph.primitives import REGISTRY
from kgraph.random_seed import set_random_seed
from kgraph.runtime.executable import Executable
from kgraph.runtime.threads import _control_groups, _quota, thread_count

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def everything_shared(monkeypatch):
    """Share every kernel that can be shared, however small."""
    monkeypatch.setattr(sharing, "LEAST_WORK", 1)


def trained(threads: int, rows: int = 203, width: int = 70):
    """Weights and history after two epochs."""
    set_random_seed(11)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((rows, 33)).astype("float32"), rng.integers(0, 5, rows)
    layers = [kg.Input((33,)), kg.layers.Dense(width, "relu"), kg.layers.Dropout(0.3), kg.layers.Dense(width, "gelu")]
    model = kg.Sequential([*layers, kg.layers.Dense(5, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    with override(num_threads=threads):
        history = model.fit(x, y, batch_size=64, epochs=2, verbose=0).history
        outputs = model.predict(x, batch_size=50, verbose=0)
    return [*model.get_weights(), outputs], history


@pytest.mark.parametrize("threads", [2, 3, 4])
@pytest.mark.parametrize("width", [70, 192])  # also rows of whole vectors, after which no code for a rest is written
def test_bits_do_not_depend_on_the_number_of_threads(everything_shared, threads, width):
    alone, alone_history = trained(1, width=width)
    weights, history = trained(threads, width=width)
    assert history == alone_history
    for a, b in zip(weights, alone, strict=True):
        np.testing.assert_array_equal(a, b)


def test_bits_are_the_same_where_only_large_kernels_are_shared():
    alone, _ = trained(1, 300, 400)
    weights, _ = trained(2, 300, 400)
    for a, b in zip(weights, alone, strict=True):
        np.testing.assert_array_equal(a, b)


def in_threads(op, attrs, arrays, counts):
    """Results of a program of one op for each number of threads."""
    graph = graph_of_sample(op, Sample(tuple(arrays), attrs))
    executable = Executable(compile_native(graph, 0, check=True).artifact, [])
    results = []
    for threads in counts:
        with override(num_threads=threads):
            results.append(executable.run(arrays))
    return results


@pytest.mark.parametrize("shape", [
    (1, 40, 70), (2, 30, 700), (3, 50, 449), (7, 33, 16), (130, 65, 97), (61, 300, 600), (500, 20, 1), (64, 3, 5),
])  # fmt: skip
@pytest.mark.parametrize("transposes", [(False, False), (True, False), (False, True), (True, True)])
def test_products_have_the_same_bits_in_any_parts(everything_shared, shape, transposes):
    m, k, n = shape
    rng = np.random.default_rng(m)
    left, right = rng.standard_normal((m, k)).astype("float32"), rng.standard_normal((k, n)).astype("float32")
    attrs = {"transpose_a": transposes[0], "transpose_b": transposes[1]}
    stored = [np.ascontiguousarray(x.T if t else x) for x, t in zip((left, right), transposes, strict=True)]
    (alone,), *others = in_threads(REGISTRY["matmul"], attrs, stored, (1, 2, 3, 5))
    np.testing.assert_allclose(alone, left.astype("float64") @ right, rtol=1e-4, atol=1e-4)
    for (result,) in others:
        np.testing.assert_array_equal(result, alone)


@pytest.mark.parametrize("op, sample", every_sample())
def test_every_op_has_the_same_bits_in_any_parts(everything_shared, op, sample):
    alone, *others = in_threads(op, sample.attrs, sample.args, (1, 3))
    for results in others:
        for a, b in zip(results, alone, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("seed", range(25))
def test_random_graphs_have_the_same_bits_in_any_parts(everything_shared, seed):
    graph, inputs = random_graph(seed)
    optimized = run(run(graph, EXPAND, name="expand"), OPTIMIZE, name="optimize")
    executable = Executable(compile_native(optimized, 0, check=True).artifact, [])
    with override(num_threads=1):
        alone = executable.run(inputs)
    for _ in range(5):
        with override(num_threads=3):
            for a, b in zip(executable.run(inputs), alone, strict=True):
                np.testing.assert_array_equal(a, b)


# --- who waits for whom ----------------------------------------------------------------------------------------------


def waits(*calls):
    """Whether each of the calls waits for all threads; calls are given as (shared, places read, places written)."""
    places = tuple(Place(f"p{n}", TensorType(f32, (symbol("n"),)), "slot", n) for n in range(6))
    made = tuple(KernelCall("k", (), reads, writes, (), 10**9 if shared else 0) for shared, reads, writes in calls)
    found = sharing.flags_of(MemoryPlan(places, (), made), {"n": 1}, 2)
    assert [bool(flag & Step.SHARED) for flag in found] == [shared for shared, _, _ in calls]
    return [bool(flag & Step.AFTER_BARRIER) for flag in found]


@pytest.mark.parametrize("work, threads, least", [
    (2 * sharing.LEAST_WORK, 2, Team.PARTS), (5 * sharing.LEAST_WORK, 2, 4), (20 * sharing.LEAST_WORK, 2, 1),
])  # fmt: skip
def test_small_kernels_are_taken_in_few_pieces(work, threads, least):
    (flag,) = sharing.flags_of(MemoryPlan((), (), (KernelCall("k", (), (), (), (), work),)), {}, threads)
    assert flag >> Step.LEAST == least


def test_a_reader_of_shared_work_waits():
    assert waits((True, (0,), (1,)), (True, (1,), (2,))) == [False, True]
    assert waits((True, (0,), (1,)), (False, (1,), (2,))) == [False, True]
    assert waits((False, (0,), (1,)), (True, (1,), (2,))) == [False, True]


def test_one_thread_does_not_wait_for_itself():
    assert waits((False, (0,), (1,)), (False, (1,), (2,))) == [False, False]


def test_independent_kernels_do_not_wait():
    assert waits((True, (0,), (1,)), (True, (0,), (2,)), (True, (0,), (3,))) == [False, False, False]


def test_a_writer_waits_for_readers_and_writers():
    assert waits((True, (0,), (1,)), (True, (2,), (0,))) == [False, True]
    assert waits((True, (0,), (1,)), (True, (2,), (1,))) == [False, True]


def test_a_barrier_counts_for_all_that_came_before():
    calls = (True, (0,), (1,)), (True, (0,), (2,)), (True, (1,), (3,)), (True, (2,), (4,))
    assert waits(*calls) == [False, False, True, False]


# --- the process -----------------------------------------------------------------------------------------------------


def test_several_callers_at_once(everything_shared):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((90, 90)).astype("float32") for _ in range(2)]
    attrs = {"transpose_a": False, "transpose_b": False}
    graph = graph_of_sample(REGISTRY["matmul"], Sample(tuple(arrays), attrs))
    artifact = compile_native(graph, 0, check=True).artifact
    with override(num_threads=1):
        (expected,) = Executable(artifact, []).run(arrays)
    wrong = []

    def work():
        executable = Executable(artifact, [])
        with override(num_threads=3):
            for _ in range(50):
                if not np.array_equal(executable.run(arrays)[0], expected):
                    wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


FORKS = """
import os, sys, warnings
import numpy as np
import kgraph as kg
import kgraph.runtime.sharing as sharing
import kgraph.runtime.threads as pools
sharing.LEAST_WORK = 1
model = kg.Sequential([kg.Input((30,)), kg.layers.Dense(200), kg.layers.Dense(3)])
model.compile("adam", "mse")
x, y = np.ones((64, 30), "float32"), np.zeros((64, 3), "float32")
model.fit(x, y, verbose=0)
expected = model.predict(x, verbose=0)
warnings.simplefilter("ignore")  # newer Pythons warn of forks beside threads
child = os.fork()
good = np.array_equal(model.predict(x, verbose=0), expected)
if not child:
    model.fit(x, y, verbose=0)
    os._exit(0 if good else 1)
status = os.waitpid(child, 0)[1]
print("ok" if good and status == 0 else f"child {status}")
"""


@pytest.mark.parametrize("threads", ["1", "3"])
def test_a_child_has_threads_of_its_own_and_the_process_ends(threads):
    env = {**os.environ, "KGRAPH_NUM_THREADS": threads, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", FORKS], env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok\n", "")


def test_sleeping_workers_wake_up(everything_shared):
    first, _ = trained(2)
    time.sleep(0.2)  # far longer than a thread spins
    second, _ = trained(2)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
def test_workers_leave_the_processor_of_the_caller(everything_shared, monkeypatch):
    mine, *others = sorted(os.sched_getaffinity(0))
    places: dict[int, int] = {}
    monkeypatch.setattr(pools, "_processor_of", lambda thread: places.get(thread, mine))
    monkeypatch.setattr(pools, "_BETWEEN_LOOKS", 0.0)
    trained(2)
    (pool,) = (pool for count, pool in pools._pools(os.getpid())[0].items() if count == 2)
    worker, spin = pool._workers[0].native_id, pool._sleeps - Team.SLEEPS + Team.SPIN
    try:
        pool._spread()
        assert os.sched_getaffinity(worker) == set(others)
        os.sched_setaffinity(worker, {mine, *others})
        places[worker] = others[0]
        pool._spread()
        assert os.sched_getaffinity(worker) == {mine, *others}
        places[worker] = mine
        pool._memory[spin] = 1  # who waits falls asleep at once
        trained(2)
        assert os.sched_getaffinity(worker) == set(others)
    finally:
        pool._memory[spin] = pools._SPIN_TICKS
        os.sched_setaffinity(worker, {mine, *others})


def quota(root, membership=""):
    """Processors that the control groups below `root` grant a process with such a /proc/self/cgroup."""
    (root / "membership").write_text(membership)
    return min(map(_quota, _control_groups(root, root / "membership")))


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".", 1)).write_text(text)


def test_quota_of_the_control_group(tmp_path):
    assert quota(tmp_path) == sys.maxsize
    write(tmp_path, cpu_max="max 100000\n")
    assert quota(tmp_path) == sys.maxsize
    write(tmp_path, cpu_max="150000 100000\n")
    assert quota(tmp_path) == 2
    write(tmp_path, cpu_max="20000 100000\n")
    assert quota(tmp_path) == 1
    (tmp_path / "cpu.max").unlink()
    write(tmp_path / "cpu", cpu_cfs_quota_us="-1\n", cpu_cfs_period_us="100000\n")
    assert quota(tmp_path) == sys.maxsize
    write(tmp_path / "cpu", cpu_cfs_quota_us="300000\n")
    assert quota(tmp_path) == 3


@pytest.mark.parametrize("garbage", ["", "100000", "many 100000", "100000 0", "-5 100000", "1 2 3"])
def test_files_that_say_nothing_are_no_quota(tmp_path, garbage):
    write(tmp_path, cpu_max=garbage)
    assert quota(tmp_path) == sys.maxsize


def test_quota_of_groups_in_groups(tmp_path):
    """As systemd makes them: a quota of the service, another of the slice round it."""
    write(tmp_path / "a.slice" / "b.service" / "c", cpu_max="max 100000\n")
    write(tmp_path / "a.slice" / "b.service", cpu_max="250000 100000\n")
    write(tmp_path / "a.slice", cpu_max="800000 100000\n")
    write(tmp_path / "other", cpu_max="100000 100000\n")
    assert quota(tmp_path, "0::/a.slice/b.service/c\n") == 3
    assert quota(tmp_path, "0::/a.slice\n") == 8
    assert quota(tmp_path, "0::/not/seen/in/a/container\n") == sys.maxsize


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
def test_quota_of_groups_in_groups_of_version_1(tmp_path, mount):
    write(tmp_path / mount / "docker" / "1", cpu_cfs_quota_us="120000\n", cpu_cfs_period_us="50000\n")
    write(tmp_path / "memory" / "docker" / "1", cpu_cfs_quota_us="1\n", cpu_cfs_period_us="50000\n")
    lines = "5:memory:/docker/1\n2:cpu,cpuacct:/docker/1\n1:name=systemd:/docker/1\n0::/\n"
    assert quota(tmp_path, lines) == 3


def test_fewer_threads_where_the_system_refuses_some(everything_shared, monkeypatch):
    """A limit of processes leaves the pool smaller, with one warning; the bits stay."""
    real, started = threading.Thread.start, []

    def start(thread):
        if thread.name.startswith("kgraph-worker-"):
            if len(started) == 2:
                raise RuntimeError("can't start new thread")
            started.append(thread)
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    alone, _ = trained(1)
    with pytest.warns(kg.errors.KgraphWarning, match="expected 9 threads, the system allows 3: can't start") as said:
        weights, _ = trained(9)
    assert len(said) == 1
    for a, b in zip(weights, alone, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_setting_decides_the_number_of_threads():
    assert thread_count() >= 1
    with override(num_threads=7):
        assert thread_count() == 7
    with pytest.raises(kg.errors.ArgumentError), override(num_threads=-1):
        pass
