"""The sample calls of all ops, for tests that hold for every op."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from kgraph.ir.dtypes import dtype_of
from kgraph.ir.graph import Graph, GraphBuilder
from kgraph.ir.opdef import OpDef, Sample, Trait
from kgraph.ir.types import TensorType
from kgraph.primitives import REGISTRY

PRIMITIVES = tuple(op for op in REGISTRY.values() if not op.traits & Trait.STRUCTURAL)


def samples_of(op: OpDef) -> list[Sample]:
    """The samples of an op: the same ones in every run."""
    return list(op.samples(np.random.default_rng(zlib.crc32(op.name.encode()))))


def sample_types(sample: Sample) -> list[TensorType]:
    """Types of the operands of a sample."""
    return [TensorType(dtype_of(array.dtype), array.shape) for array in sample.args]


def every_sample() -> list[object]:
    """A pytest parameter row (op, sample) for each sample of each primitive op."""
    return [
        pytest.param(op, sample, id=f"{op.name}-{number}")
        for op in PRIMITIVES
        for number, sample in enumerate(samples_of(op))
    ]


def graph_of_sample(op: OpDef, sample: Sample) -> Graph:
    """A graph of one node: the call of the sample; its inputs are the operands, its outputs all results."""
    builder = GraphBuilder(op.name, REGISTRY)
    out = builder.emit(op, *map(builder.input, sample_types(sample)), **sample.attrs)
    return builder.build(out if isinstance(out, tuple) else [out])


def is_special(sample: Sample) -> bool:
    """Whether a sample tests border values: it holds a number that is not finite."""
    return not all(np.isfinite(array).all() for array in sample.args)
