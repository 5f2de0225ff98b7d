"""Ops between class numbers and vectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from kgraph.ir import scalar
from kgraph.ir.dims import Dim
from kgraph.ir.dtypes import DType, bool_, f32, f64, i32, i64, u8, u32
from kgraph.ir.opdef import Array, Attrs, LoopContext, NoGrad, Pointwise, Sample, Types, primitive
from kgraph.ir.scalar import Expr, IndexValue, call
from kgraph.ir.types import TensorType
from kgraph.primitives.nests import Index
from kgraph.primitives.sampling import bad, of
from kgraph.primitives.signatures import ANY, INTEGERS, expect, expect_dims, expect_dtype, expect_kind


def _infer_one_hot(types: Types, attrs: Attrs) -> TensorType:
    expect("one_hot", types, attrs, 1, ("depth", "dtype"))
    expect_kind("one_hot", types[0], INTEGERS)
    (depth,) = expect_dims("one_hot", "depth", (attrs["depth"],))
    return TensorType(expect_dtype("one_hot", attrs["dtype"], ANY), (*types[0].shape, depth))


def _one_hot_element(context: LoopContext, index: Index, depth: Dim, dtype: DType) -> Expr:
    # Compared in a type that holds both sides: a depth above 256 must not wrap round in u8.
    wide = i64 if context.in_types[0].dtype in (i64, u32) else i32
    label = scalar.cast(context.read(0, index[:-1]), wide)
    return scalar.cast(call("eq", label, IndexValue(index[-1], wide)), dtype)


def _one_hot_samples(rng: np.random.Generator) -> Iterator[Sample]:
    cases: tuple[tuple[tuple[int, ...], int, DType, DType], ...] = (
        ((5,), 3, i32, f32), ((2, 3), 4, i64, f32), ((), 2, i32, f64), ((0,), 3, i32, f32), ((1,), 1, u8, f32),
        ((4,), 0, i32, f32), ((7,), 300, u8, f64), ((6,), 10, u32, i32), ((3,), 5, i64, bool_), ((9,), 33, i32, f32),
    )  # fmt: skip
    for shape, depth, label, dtype in cases:
        labels = rng.integers(0 if label.kind == "unsigned" else -1, depth + 2, shape)
        yield Sample((np.asarray(np.minimum(labels, 255), label.to_numpy()),), {"depth": depth, "dtype": dtype})


@primitive(
    infer=_infer_one_hot,
    grad=NoGrad("the operand is an integer"),
    lower=Pointwise(_one_hot_element),
    samples=_one_hot_samples,
    errors=(
        bad("1 operands", depth=3, dtype=f32),
        bad("an integer", of((2,), f32), depth=3, dtype=f32),
        bad("sizes >= 0", of((2,), i32), depth=-1, dtype=f32),
        bad("element type", of((2,), i32), depth=3, dtype="float32"),
    ),
)
def one_hot(labels: Array, depth: int, dtype: DType) -> Any:
    """A new last axis with 1 at the label and 0 elsewhere; labels outside 0..depth-1 give zeros."""
    hot = labels.astype(np.int64)[..., np.newaxis] == np.arange(depth)
    return hot.astype(dtype.to_numpy())


OPS = (one_hot,)
