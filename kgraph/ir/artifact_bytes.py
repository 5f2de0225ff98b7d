"""Artifacts as bytes: plain data, so that reading one runs nothing. Object files are named, not contained.

    8 bytes     length of the head, little-endian
    head        JSON: everything but the arrays
    arrays      elements of the constants, one after another

A size is an integer or a list of terms ``[atoms, factor]``; an atom is a name or ``[numerator, divisor]``. Types stand
once, in a list; all else refers to them by position.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kgraph.ir.artifact import Artifact, Carry, KernelCall, Loop, MemoryPlan, ObjectFile, Place, Slot
from kgraph.ir.dims import Dim, DimExpr, FloorDiv
from kgraph.ir.dtypes import BY_NAME
from kgraph.ir.types import TensorType

Json: TypeAlias = Any
_LENGTH = struct.Struct("<Q")


def to_bytes(artifact: Artifact) -> bytes:
    """The artifact without its object files; `from_bytes` reads it back."""
    types: dict[TensorType, int] = {}

    def number(type_: TensorType) -> int:
        return types.setdefault(type_, len(types))

    plan = artifact.plan
    head = {
        "name": artifact.name,
        "inputs": [number(t) for t in artifact.inputs],
        "outputs": [number(t) for t in artifact.outputs],
        "states": artifact.states,
        "sizes": artifact.size_names,
        "constants": [[array.dtype.str, array.shape] for array in artifact.constants],
        "places": [[p.name, number(p.type), p.kind, p.index] for p in plan.places],
        "slots": [[_dim(n) for n in slot.nbytes] for slot in plan.slots],
        "calls": [_call(call) for call in plan.calls],
        "symbols": [artifact.entry, artifact.step, artifact.batches],
        "objects": [file.key for file in artifact.objects],
        "target": artifact.target,
        "kernels": artifact.kernels,
    }
    head["types"] = [[t.dtype.name, [_dim(d) for d in t.shape]] for t in types]
    text = json.dumps(head, separators=(",", ":")).encode()
    return b"".join([_LENGTH.pack(len(text)), text, *(np.ascontiguousarray(a).tobytes() for a in artifact.constants)])


def from_bytes(data: bytes, object_code: Callable[[str], bytes | None]) -> Artifact | None:
    """The artifact that `to_bytes` wrote; None if one of its object files is not to be had.

    Args:
        data: whole and trusted: it is not checked here.
        object_code: the code of an object file by its key.
    """
    end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
    head = json.loads(data[_LENGTH.size : end])
    codes = {key: object_code(key) for key in head["objects"]}
    objects = tuple(ObjectFile(key, code) for key, code in codes.items() if code is not None)
    if len(objects) < len(codes):
        return None
    types = [TensorType(BY_NAME[name], tuple(map(_from_dim, shape))) for name, shape in head["types"]]
    constants: list[npt.NDArray[Any]] = []
    for dtype, shape in head["constants"]:
        constants.append(np.ndarray(shape, dtype, data, end).copy())  # a copy is aligned
        end += constants[-1].nbytes
    entry, step, batches = head["symbols"]
    return Artifact(
        name=head["name"],
        inputs=tuple(types[n] for n in head["inputs"]),
        outputs=tuple(types[n] for n in head["outputs"]),
        states=head["states"],
        size_names=tuple(head["sizes"]),
        constants=tuple(constants),
        plan=_plan(head, types),
        entry=entry,
        step=step,
        batches=batches,
        objects=objects,
        target=head["target"],
        kernels=head["kernels"],
    )


def _plan(head: Json, types: list[TensorType]) -> MemoryPlan:
    return MemoryPlan(
        tuple(Place(name, types[n], kind, index) for name, n, kind, index in head["places"]),
        tuple(Slot(tuple(map(_from_dim, nbytes))) for nbytes in head["slots"]),
        tuple(map(_from_call, head["calls"])),
    )


def _call(call: KernelCall | Loop) -> Json:
    """A kernel call as a list, a loop as a dict."""
    if isinstance(call, KernelCall):
        return [call.kernel, call.args, call.reads, call.writes, call.private, _dim(call.work)]
    return {
        "length": _dim(call.length),
        "reverse": call.reverse,
        "start": [_call(first) for first in call.start],
        "calls": [_call(inner) for inner in call.calls],
        "carries": [[carry.old, carry.new, carry.last, carry.other] for carry in call.carries],
        "pieces": call.pieces,
        "conditional": call.conditional,
    }


def _from_kernel_call(data: Json) -> KernelCall:
    kernel, args, reads, writes, private, work = data
    return KernelCall(kernel, tuple(args), tuple(reads), tuple(writes), tuple(private), _from_dim(work))


def _from_call(data: Json) -> KernelCall | Loop:
    if isinstance(data, list):
        return _from_kernel_call(data)
    return Loop(
        length=_from_dim(data["length"]),
        reverse=data["reverse"],
        start=tuple(map(_from_kernel_call, data["start"])),
        calls=tuple(map(_from_call, data["calls"])),
        carries=tuple(Carry(*places) for places in data["carries"]),
        pieces=tuple(data["pieces"]),
        conditional=data["conditional"],
    )


def _dim(dim: Dim) -> Json:
    if isinstance(dim, int):
        return dim
    return [
        [[atom if isinstance(atom, str) else [_dim(atom.numerator), atom.divisor] for atom in atoms], factor]
        for atoms, factor in dim.terms
    ]


def _from_dim(data: Json) -> Dim:
    if isinstance(data, int):
        return data
    return DimExpr(tuple((tuple(map(_from_atom, atoms)), factor) for atoms, factor in data))


def _from_atom(data: Json) -> str | FloorDiv:
    if isinstance(data, str):
        return data
    numerator = _from_dim(data[0])
    assert isinstance(numerator, DimExpr)
    return FloorDiv(numerator, data[1])
