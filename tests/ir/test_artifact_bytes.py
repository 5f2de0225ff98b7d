"""Artifacts survive as bytes."""

from __future__ import annotations

import dataclasses

import numpy as np

from kgraph.ir.artifact import Artifact, Carry, KernelCall, Loop, MemoryPlan, ObjectFile, Place, Slot
from kgraph.ir.artifact_bytes import from_bytes, to_bytes
from kgraph.ir.dims import DimExpr, FloorDiv, symbol
from kgraph.ir.dtypes import ALL, f32, i32
from kgraph.ir.types import TensorType

BATCH, TIME = symbol("batch"), symbol("time")
ROW = TensorType(f32, (BATCH, 3))
HALF = (BATCH * 3 + TIME + 1) // 2
PLAN = MemoryPlan(
    (Place("x", ROW, "input", 0), Place("s0", TensorType(i32, (HALF, TIME * BATCH - 4)), "slot", 1)),
    (Slot((BATCH * 12, 64)), Slot((HALF * TIME * 4,))),
    (
        KernelCall("k0", (0, 1), (0,), (1,)),
        Loop(TIME, True, (KernelCall("k2", (0,), (), (0,)),), (
            KernelCall("k1", (1, 0, 1), (1,), (0, 1), (1,), BATCH * 7), Loop(3, False, (), (), (), (), True),
        ), (Carry(4, 5, 6, 7),), (8, 9)),
    ),
)  # fmt: skip
CONSTANTS = (
    *(np.arange(5).astype(t.to_numpy()) for t in ALL),
    np.array([[np.nan, -0.0], [np.inf, 1e-45]], np.float32),
    np.array(2.5),
    np.zeros((0, 3), np.int64),
    np.arange(12, dtype=np.float32).reshape(3, 4).T,
)
ARTIFACT = Artifact(
    name="train: a name with ü", inputs=(ROW, ROW), outputs=(TensorType(f32),), states=1, size_names=("batch", "time"),
    constants=CONSTANTS, plan=PLAN, entry="e", step="e.step", batches="",
    objects=(ObjectFile("a", b"\0code"), ObjectFile("b", b"")), target="x86_64 +avx2", kernels=2,
)  # fmt: skip
CODES = {file.key: file.code for file in ARTIFACT.objects}


def test_everything_comes_back():
    read = from_bytes(to_bytes(ARTIFACT), CODES.get)
    assert read is not None
    for field in dataclasses.fields(Artifact):
        if field.name != "constants":
            assert getattr(read, field.name) == getattr(ARTIFACT, field.name), field.name
    assert isinstance(read.plan.places[1].type.shape[0], DimExpr)
    assert isinstance(read.plan.places[1].type.shape[0].terms[0][0][0], FloorDiv)


def test_constants_come_back_bit_by_bit_and_lie_as_native_code_expects():
    read = from_bytes(to_bytes(ARTIFACT), CODES.get)
    assert read is not None
    for got, array in zip(read.constants, CONSTANTS, strict=True):
        assert (got.dtype, got.shape, got.tobytes()) == (array.dtype, array.shape, array.tobytes())
        assert got.flags.aligned
        assert got.flags.c_contiguous


def test_without_one_of_its_object_files_there_is_no_artifact():
    assert from_bytes(to_bytes(ARTIFACT), {"a": b"\0code"}.get) is None
