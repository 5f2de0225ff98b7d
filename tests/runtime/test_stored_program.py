"""Compiled programs on disk: they start without the compiler, and only where nothing that decides them has changed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from source_tree import ROOT

import kgraph.runtime.fingerprint as fingerprints
from kgraph.config import override
from kgraph.engine import STAGES, CompiledProgram
from kgraph.ir.dims import symbol
from kgraph.ir.dtypes import f32
from kgraph.ir.opdef import emitting
from kgraph.ir.types import TensorType
from kgraph.runtime.cache import ObjectCache
from kgraph.runtime.stored_program import StoredProgram
from kgraph.trace import Program, Trace
from kgraph.variable import Variable

TRAIN = """
import sys
import numpy as np
import kgraph

kgraph.utils.set_random_seed(1)
model = kgraph.Sequential([kgraph.Input((4,)), kgraph.layers.Dense(3, "relu"), kgraph.layers.Dropout(0.5)])
model.compile("adam", "mse")
loss = float(model.train_on_batch(np.ones((5, 4)), np.ones((5, 3))))
y = model.predict(np.ones((7, 4)), verbose=0)
print(any(name.startswith(("kgraph.compiler.codegen", "llvmlite")) for name in sys.modules),
      kgraph.config.compilation_count(), loss.hex(), y.tobytes().hex())
"""


def started(folder: Path, **environment: str) -> subprocess.Popen[str]:
    """A new process that trains for a step."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", TRAIN], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "KGRAPH_VERIFY": "0", "KGRAPH_CACHE": str(folder), **environment}, text=True,
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> list[str]:
    """Whether it loaded the code generator or LLVM, compilations counted, loss, and predictions."""
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return output.split()


def test_a_second_process_does_not_load_the_compiler(tmp_path: Path):
    """Also with other hashes of strings, and beside others that do the same: all get the same bits."""
    first = ended(started(tmp_path / "cache", PYTHONHASHSEED="1"))
    assert first[:2] == ["True", "2"]
    second = [started(tmp_path / "cache", PYTHONHASHSEED=str(n)) for n in range(2)]
    assert [ended(process) for process in second] == [["False", *first[1:]]] * 2


def test_damaged_entries_are_compiled_again(tmp_path: Path):
    first = ended(started(tmp_path))
    for path in (tmp_path / "objects").iterdir():
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    assert ended(started(tmp_path)) == first
    assert ended(started(tmp_path)) == ["False", *first[1:]]


def test_processes_that_start_with_nothing_at_once_agree(tmp_path: Path):
    processes = [started(tmp_path / "cache") for _ in range(3)]
    results = [ended(process)[1:] for process in processes]
    assert results == [results[0]] * 3


# --- one process -----------------------------------------------------------------------------------------------------


def traced(factor: float = 2.0) -> Program:
    """x -> x * weight * factor + table; weight += 1."""
    table = np.full(100, factor, np.float32)
    weight = Variable(np.ones(100, np.float32), name="weight")
    trace = Trace("test")
    with emitting(trace):
        x = trace.argument(TensorType(f32, (symbol("batch"), 100)), "x")
        old = trace.read(weight)
        trace.assign(weight, old + 1.0)
        return trace.program([("y", x * old + trace.constant(table))])


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The folder of the cache in force; the verifier is off, since what is verified must be compiled."""
    with override(cache=str(tmp_path / "cache"), verify=False):
        yield tmp_path / "cache"


def compiled_anew(program: Program | None = None) -> bool:
    """Whether a program had to be compiled; it runs, too."""
    made = CompiledProgram(program or traced())
    table = made.program.graph.nodes
    assert table
    (y,) = made.run([np.ones((3, 100), np.float32)])
    assert y.shape == (3, 100)
    return made._native is not None


def test_what_was_loaded_once_is_found(folder: Path):
    assert compiled_anew()
    assert not compiled_anew()


def test_what_was_only_looked_at_is_not_kept(folder: Path):
    """Only code that this machine has loaded: it may have been made for another one."""
    CompiledProgram(traced()).dump("asm")
    assert compiled_anew()


def test_large_constants_are_part_of_the_key(folder: Path):
    """The text of a graph holds only their names."""
    x = np.zeros((2, 100), np.float32)
    assert [float(CompiledProgram(traced(c)).run([x])[0][0, 0]) for c in (2.0, 5.0, 2.0)] == [2.0, 5.0, 2.0]
    assert not compiled_anew()


def test_states_and_results_are_the_same(folder: Path):
    results = []
    for _ in range(2):
        program = CompiledProgram(traced())
        outputs = [program.run([np.ones((n, 100), np.float32)])[0].tobytes() for n in (3, 5)]
        results.append((outputs, program.program.variables[0].array.tobytes()))
    assert results[0] == results[1]
    assert program._native is None


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_of_a_stored_program_can_be_seen(stage: str, folder: Path):
    assert compiled_anew() in (True, False)
    program = CompiledProgram(traced())
    kernels = program.artifact.kernels
    assert program._native is None
    with override(cache="off"):
        assert program.dump(stage) == CompiledProgram(traced()).dump(stage)
    assert program.report().kernels == kernels


@pytest.mark.parametrize("change", [{"verify": True}, {"dump": "dumps"}, {"cache": "off"}], ids=str)
def test_programs_that_are_watched_are_compiled(change: dict[str, object], folder: Path, tmp_path: Path):
    assert compiled_anew()
    if "dump" in change:
        change = {"dump": str(tmp_path / "dumps")}
    with override(**change):
        assert compiled_anew()


def test_without_its_object_file_a_program_is_compiled(folder: Path):
    assert compiled_anew()
    key = CompiledProgram(traced()).artifact.objects[0].key
    (folder / "objects" / key).unlink()
    assert compiled_anew()
    assert not compiled_anew()


def test_an_object_file_is_no_program(folder: Path):
    """Entries are bound to their names: one in the place of another is not read."""
    assert compiled_anew()
    key = CompiledProgram(traced()).artifact.objects[0].key
    paths = list((folder / "objects").iterdir())
    program = next(path for path in paths if path.name != key)
    program.write_bytes((folder / "objects" / key).read_bytes())
    assert compiled_anew()


# --- the fingerprint -------------------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small package in the place of kgraph, and a file in the place of the system's about the processor."""
    for name in ("ir/artifact.py", "primitives/add.py", "compiler/passes/fuse.py"):
        path = tmp_path / "kgraph" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\n")
    (tmp_path / "cpu").write_text("model : 1\nflags : sse2\n\nmodel : 2\nflags : none\n")
    monkeypatch.setattr(fingerprints, "_CPU_FILE", tmp_path / "cpu")
    artifact = SimpleNamespace(__file__=str(tmp_path / "kgraph" / "ir" / "artifact.py"))
    monkeypatch.setattr(fingerprints.kgraph.ir, "artifact", artifact)
    monkeypatch.setattr(fingerprints, "_LOADED", time.time() + 60)
    return tmp_path


def found() -> str | None:
    """The fingerprint as another process would find it."""
    return fingerprints.fingerprint.__wrapped__()


def replaced(path: Path) -> None:
    """A file of the same size and date in the place of another."""
    info = path.stat()
    path.with_suffix(".new").write_text("x = 2\n")
    os.utime(path.with_suffix(".new"), ns=(info.st_atime_ns, info.st_mtime_ns))
    path.with_suffix(".new").replace(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda root: replaced(root / "kgraph/compiler/passes/fuse.py"),
        lambda root: (root / "kgraph/primitives/new.py").write_text(""),
        lambda root: (root / "kgraph/primitives/add.py").unlink(),
        lambda root: (root / "cpu").write_text("model : 1\nflags : sse2 avx2\n"),
    ],
    ids=["file of the same size and date", "new file", "fewer files", "processor"],
)
def test_a_change_changes_the_fingerprint(change: Callable[[Path], object], package: Path):
    before = found()
    assert before is not None
    assert found() == before
    change(package)
    assert found() not in (None, before)


def test_other_lines_about_the_processor_do_not_matter(package: Path):
    before = found()
    (package / "cpu").write_text("cpu MHz : 7\nmodel : 1\nflags : sse2\n\nmodel : 3\n")
    assert found() == before


@pytest.mark.parametrize(
    "spoil",
    [
        lambda root, patch: (root / "cpu").unlink(),
        lambda root, patch: (root / "cpu").write_text("model : 1\n"),
        lambda root, patch: patch.setattr(fingerprints, "_LOADED", 0.0),
        lambda root, patch: patch.setattr(fingerprints, "_PACKAGES", ("nothing",)),
    ],
    ids=["no file about the processor", "nothing about what it can do", "files changed since", "no files"],
)
def test_where_it_cannot_be_said_nothing_is_kept(
    spoil: Callable[[Path, pytest.MonkeyPatch], object], package: Path, monkeypatch: pytest.MonkeyPatch
):
    spoil(package, monkeypatch)
    assert found() is None
    monkeypatch.setattr("kgraph.runtime.stored_program.fingerprint", lambda: None)
    stored = StoredProgram(ObjectCache(package / "cache"), traced().graph, 1, "host")
    stored.put(CompiledProgram(traced()).artifact)
    assert stored.get() is None
    assert not (package / "cache").exists()
