"""The memory report equals what is allocated."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import kgraph
from kgraph.config import override
from kgraph.errors import ArgumentError

BATCHES = [1, 7, 32, 1000]


def small_model() -> kgraph.Model:
    """Two dense layers, with Adam and a metric."""
    wide = kgraph.layers.Dense(40, activation="relu", name="wide")
    model = kgraph.Sequential([kgraph.Input((20,)), wide, kgraph.layers.Dense(3, name="out")])
    model.compile("adam", kgraph.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model


def data(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and labels."""
    return np.ones((rows, 20), "float32"), np.zeros(rows, "int32")


def arena_of(program) -> int:
    """Bytes of the arena of the only set of sizes that the program has run with."""
    (binding,) = program.executable._bindings.values()
    return sum(piece.nbytes for piece in binding.keeps if isinstance(piece, np.ndarray))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("rows", BATCHES)
def test_the_arena_is_what_is_allocated(rows: int, threads: int):
    model = small_model()
    x, y = data(rows)
    with override(num_threads=threads):
        report = model.memory_report(rows)
        model.predict_on_batch(x)
        model.train_on_batch(x, y)
        model.test_on_batch(x, y)
    setup = model._setup
    programs = {"predict": model._predict_program()}
    programs |= {kind: setup.program(kind, model, [t.usual_type for t in setup.targets], [], model._version_of_all())
                 for kind in ("evaluate", "train")}  # fmt: skip
    assert {name: report[name].arena for name in programs} == {name: arena_of(p) for name, p in programs.items()}


def test_the_arena_is_what_tracemalloc_sees():
    model = small_model()
    x, _ = data(50_000)
    model.predict_on_batch(x[:1])
    report = model.memory_report(50_000)["predict"]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        result = model.predict_on_batch(x)
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert result.nbytes == report.outputs
    assert 0 <= after - before - report.arena - report.outputs < 20_000  # tables, shapes and keys


def test_weights_slots_inputs_and_outputs():
    model = small_model()
    x, y = data(32)
    report = model.memory_report()
    assert report.batch_size == 32
    assert report.parameters == sum(w.nbytes for w in model.get_weights()) == 4 * (20 * 40 + 40 + 40 * 3 + 3)
    assert report.optimizer == sum(v.numpy().nbytes for v in model.optimizer.variables) > 2 * report.parameters
    assert report["predict"].inputs == x.nbytes
    assert report["train"].inputs == x.nbytes + y.nbytes
    assert report["predict"].outputs == model.predict_on_batch(x).nbytes
    assert report["train"].code == model.training_program().artifact.code_bytes
    trained = model.training_program().program.variables
    assert report["train"].states == sum(v.array.nbytes for v in trained)
    assert report.other == sum(v.array.nbytes for v in trained) - report.parameters - report.optimizer


def test_the_largest_buffers_name_their_layers():
    largest = small_model().memory_report(5000)["train"].largest
    sizes = [buffer.nbytes for buffer in largest]
    assert sizes == sorted(sizes, reverse=True)
    found = {(b.layer.partition("/")[2], b.shape): b.nbytes for b in largest if b.kind == "result"}
    assert found["wide", (5000, 40)] == 5000 * 40 * 4
    assert found["wide/grad", (5000, 40)] == 5000 * 40 * 4
    assert [b.kind for b in largest].count("private") == 1


def test_the_report_allocates_nothing():
    model = small_model()
    model.memory_report()
    tracemalloc.start()
    try:
        report = model.memory_report(10_000_000)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert report["train"].arena > 10_000_000 * 40 * 4
    assert not model.training_program().executable._bindings


def test_the_table_has_every_figure():
    report = small_model().memory_report(32)
    text = str(report)
    assert text.startswith("Memory in bytes, batches of 32\n")
    for program in report.programs:
        for figure in (program.arena, program.inputs, program.outputs, program.code):
            assert f"{figure:,}" in text
        assert f"largest buffers of {program.name}" in text
    for part in (f"{report.parameters:,}", f"{report.optimizer:,}", "/wide", "private"):
        assert part in text


def test_a_model_that_is_not_compiled_has_only_predict():
    model = kgraph.Sequential([kgraph.Input((3,)), kgraph.layers.Dense(2)])
    report = model.memory_report(4)
    assert [p.name for p in report.programs] == ["predict"]
    assert report.optimizer == 0
    with pytest.raises(ArgumentError, match="expected one of predict, received 'train'"):
        report["train"]


def test_wrong_arguments():
    with pytest.raises(ArgumentError, match="batch_size"):
        small_model().memory_report(0)


def test_every_other_size_must_be_given():
    model = kgraph.Sequential([kgraph.Input((None, 3)), kgraph.layers.Dense(2)])
    name = next(n for n in model._predict_program().program.graph.size_names() if n != "batch")
    with pytest.raises(ArgumentError, match=f"memory_report: expected values of the sizes {name}"):
        model.memory_report(4)
    assert model.memory_report(4, **{name: 10})["predict"].outputs == 4 * 10 * 2 * 4
