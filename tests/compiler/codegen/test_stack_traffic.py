"""Inner loops keep their vectors in registers: what LLVM spills is counted in the assembly, for all targets."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from assembly import assembly_of, innermost_loops, vector_spills
from matmul_jit import DTYPES

import kgraph
import kgraph.layers as L
from kgraph.compiler.codegen import vector_loops
from kgraph.compiler.codegen.emitter import Module
from kgraph.compiler.codegen.target import named
from kgraph.compiler.codegen.thin import axpy_kernel, dot_kernel
from kgraph.compiler.codegen.tiles import UNROLL, micro_kernel, tiling
from kgraph.config import override

TARGETS = ["x86-64", "x86-64-v3", "x86-64-v4", "aarch64"]
MULTIPLY = re.compile(r"\bv?fmadd\w*p[sd]|\bmulp[sd]|\bfmla\b")
COMPUTES = re.compile(r"= (?:fadd|fsub|fmul|fdiv|frem|fneg|fcmp) |@llvm\.(?:fma|fmuladd|sqrt)\.")


def assembly(target: str, write: Callable[[Module], object]) -> list[str]:
    """The assembly of the functions that `write` writes."""
    machine = named(target)
    module = Module(machine.triple)
    write(module)
    return assembly_of(module.text().replace("define internal", "define"), machine)


@pytest.mark.parametrize("kind", ["plain", "segmented", "copying", "asking"])
@pytest.mark.parametrize("row_major", [True, False])
@pytest.mark.parametrize("element", DTYPES)
@pytest.mark.parametrize("target", TARGETS)
def test_tiles_keep_vectors_in_registers(target: str, element: str, row_major: bool, kind: str) -> None:
    """No vector is spilled, nothing is called, and no multiply-add is duplicated or missing."""
    machine, segmented, copying = named(target), kind == "segmented", kind == "copying"
    steps = 1 if copying else UNROLL
    for t in (tiling(machine, element), tiling(machine, element, 1)):
        for rows in t.heights:
            lines = assembly(target, lambda module, t=t, rows=rows: micro_kernel(
                module, machine, t, rows, row_major, segmented, copying, kind == "asking"))  # fmt: skip
            assert not vector_spills(lines), (t.vectors, rows)
            assert not [line for line in lines if re.match(r"\s+(callq?|bl)\s", line)]
            expected = steps * rows * t.vectors
            assert sum(bool(MULTIPLY.search(line)) for line in lines) == expected, (t.vectors, rows)


@pytest.mark.parametrize("kernel", [dot_kernel, axpy_kernel])
@pytest.mark.parametrize("element", DTYPES)
@pytest.mark.parametrize("target", TARGETS)
def test_matrix_vector_kernels_keep_vectors_in_registers(target: str, element: str, kernel: Callable[..., str]) -> None:
    machine = named(target)
    assert not vector_spills(assembly(target, lambda module: kernel(module, machine, tiling(machine, element))))


@pytest.mark.parametrize("target", TARGETS)
def test_a_tile_that_is_too_tall_is_seen_to_spill(target: str) -> None:
    """The checks above can fail: twice the height does not fit the registers."""
    machine = named(target)
    t = tiling(machine, "float")
    lines = assembly(target, lambda module: micro_kernel(module, machine, t, 2 * t.rows, False))
    assert vector_spills(lines)
    assert any(vector_spills(loop) for _, loop in innermost_loops(lines))


# --- whole training steps ------------------------------------------------------------------------------------------


def images() -> kgraph.Model:
    layers = [
        L.Conv2D(32, 3, padding="same", activation="relu"), L.BatchNormalization(), L.MaxPooling2D(),
        L.Conv2D(64, 3, strides=2), L.DepthwiseConv2D(3, padding="same"), L.AveragePooling2D(3, padding="same"),
        L.Dropout(0.2), L.Flatten(),
    ]  # fmt: skip
    return kgraph.Sequential([kgraph.Input((20, 20, 3)), *layers, L.Dense(10, activation="softmax")])


def sequences() -> kgraph.Model:
    return kgraph.Sequential([kgraph.Input((9, 12)), L.LSTM(32, dropout=0.1), L.Dense(10, activation="softmax")])


def words() -> kgraph.Model:
    return kgraph.Sequential([
        kgraph.Input((7,), dtype="int32"), L.Embedding(100, 32), L.GlobalAveragePooling1D(),
        L.Dense(10, activation="softmax"),
    ])  # fmt: skip


def attention() -> kgraph.Model:
    x = kgraph.Input((16, 32))
    y = L.LayerNormalization()(x + L.MultiHeadAttention(4, 8)(x, x))
    y = L.GlobalAveragePooling1D()(L.Dense(64, activation="gelu")(y))
    return kgraph.Model(x, L.Dense(10, activation="softmax")(y))


MODELS = [images, sequences, words, attention]


def spilled_share(make: Callable[[], kgraph.Model], target: str) -> dict[str, float]:
    """Kernels of a training step with Adam that move vectors through the stack in an innermost loop, and the largest
    share of such a loop's lines that do."""
    with override(target_cpu=target, cache="off"):
        model = make()
        model.compile("adam", "sparse_categorical_crossentropy")
        lines = assembly_of(model.dump("llvm"), named(target))
    shares: dict[str, float] = {}
    for function, loop in innermost_loops(lines):
        if spills := vector_spills(loop):
            shares[function] = max(shares.get(function, 0.0), len(spills) / len(loop))
    return shares


@pytest.mark.parametrize("make", MODELS)
def test_steps_keep_vectors_in_32_registers(make: Callable[[], kgraph.Model]) -> None:
    assert spilled_share(make, "x86-64-v4") == {}


@pytest.mark.parametrize("make", MODELS)
def test_steps_keep_nearly_all_vectors_in_16_registers(make: Callable[[], kgraph.Model]) -> None:
    """The gates of an LSTM need more constants than there are registers; no loop has to wait for what it spills.

    Sums down the columns of wide arrays run on eight vectors at once although some then leave the registers: on four,
    which do not, batch normalization takes longer.
    """
    shares = spilled_share(make, "x86-64-v3")
    assert {n: s for n, s in shares.items() if s > 1 / 16 and not re.search("moments|paired_sums", n)} == {}


def test_more_vectors_at_once_than_there_are_registers_are_seen_to_spill(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks above can fail: statistics of channels, which have two sums."""
    monkeypatch.setattr(vector_loops, "_WIDE", 32)
    monkeypatch.setattr(vector_loops, "CHEAP", 100)
    model = kgraph.Sequential([kgraph.Input((512,)), L.BatchNormalization(), L.Dense(3)])
    assert any("moments" in name for name in spilled_share(lambda: model, "x86-64-v4"))


@pytest.mark.parametrize("make", MODELS)
def test_functions_without_optimisation_compute_no_floating_point_numbers(make: Callable[[], kgraph.Model]) -> None:
    """LLVM's fast selector, which `optnone` asks for, would give products and sums other bits."""
    model = make()
    model.compile("adam", "sparse_categorical_crossentropy")
    functions = model.dump("llvm").split("\ndefine ")[1:]
    plain = [text for text in functions if " optnone " in text.partition("\n")[0]]
    assert 0 < len(plain) < len(functions)
    assert [text for text in functions if COMPUTES.search(text)]
    assert not [text for text in plain if COMPUTES.search(text)]
