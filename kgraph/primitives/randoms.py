"""Random bits: pure functions of a key."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir import scalar
from kgraph.ir.dims import Dim, Shape
from kgraph.ir.dtypes import f32, i32, u32
from kgraph.ir.opdef import Array, Attrs, LoopContext, NoGrad, Pointwise, Sample, Types, primitive
from kgraph.ir.philox import philox2x32
from kgraph.ir.scalar import Expr, call, const
from kgraph.ir.types import TensorType
from kgraph.primitives.nests import Index
from kgraph.primitives.sampling import bad, key_array, of
from kgraph.primitives.signatures import expect, expect_dims

KEY = TensorType(u32, (2,))
BITS = NoGrad("keys and random bits are integers")
# Folding draws from counters whose high word is the key's plus this, so that new keys are not the key's random bits.
FOLD = 1 << 31


def _expect_key(op: str, type: TensorType) -> None:
    if type != KEY:
        raise ShapeError(f"{op}, operand 0", expected=f"a key, {KEY}", received=str(type))


def _infer_fold_in(types: Types, attrs: Attrs) -> TensorType:
    expect("fold_in", types, attrs, 1, ("data",))
    _expect_key("fold_in", types[0])
    data = attrs["data"]
    if not isinstance(data, int) or not 0 <= data < 1 << 31:
        raise ArgumentError("fold_in, attribute data", expected="an integer in 0..2^31-1", received=repr(data))
    return KEY


def _fold_in_element(context: LoopContext, index: Index, data: int) -> Expr:
    high = call("add", context.read(0, (1,)), const(FOLD, u32))
    return scalar.philox(2 * data + index[0], high, context.read(0, (0,)))


def _fold_in_samples(rng: np.random.Generator) -> Iterator[Sample]:
    yield Sample((np.zeros(2, np.uint32),), {"data": 0})
    yield Sample((np.full(2, 2**32 - 1, np.uint32),), {"data": 2**31 - 1})
    yield from (Sample((key_array(rng),), {"data": data}) for data in (0, 1, 2, 7, 1000, 2**30))


@primitive(
    infer=_infer_fold_in,
    grad=BITS,
    lower=Pointwise(_fold_in_element),
    samples=_fold_in_samples,
    errors=(
        bad("1 operands", data=0),
        bad("a key", of((3,), u32), data=0),
        bad("a key", of((2,), i32), data=0),
        bad("in 0..2^31-1", KEY, data=-1),
    ),
    source="word 0 of philox2x32-10 at counters (2 data + i, key[1] + 2^31) under key[0], i = 0, 1",
)
def fold_in(key: Array, data: int) -> Any:
    """A new key from a key and a number, such as that of a layer; different numbers give independent keys."""
    low = np.uint32(2 * data) + np.arange(2, dtype=np.uint32)
    return philox2x32(low, key[1:] + np.uint32(FOLD), key[:1])[0]


def _infer_bits(types: Types, attrs: Attrs) -> TensorType:
    expect("random_bits", types, attrs, 1, ("shape",))
    _expect_key("random_bits", types[0])
    return TensorType(u32, expect_dims("random_bits", "shape", attrs["shape"]))


def _bits_element(context: LoopContext, index: Index, shape: Shape) -> Expr:
    flat: Dim = 0
    for i, size in zip(index, shape, strict=True):
        flat = flat * size + i
    return scalar.philox(flat, context.read(0, (1,)), context.read(0, (0,)))


def _bits_samples(rng: np.random.Generator) -> Iterator[Sample]:
    for shape in ((5,), (3, 4), (), (1,), (0,), (2, 0), (2, 3, 5), (37,), (4, 33)):
        yield Sample((key_array(rng),), {"shape": shape})


@primitive(
    infer=_infer_bits,
    grad=BITS,
    lower=Pointwise(_bits_element),
    samples=_bits_samples,
    errors=(
        bad("1 operands", shape=(2,)),
        bad("a key", of((2,), f32), shape=(2,)),
        bad("sizes >= 0", KEY, shape=(-1,)),
    ),
    source="word 0 of philox2x32-10 at counter (n, key[1]) under key[0], n the flat index",
)
def random_bits(key: Array, shape: tuple[int, ...]) -> Any:
    """32 random bits for each element of `shape`; the same key gives the same bits in every way of running."""
    low = np.arange(math.prod(shape), dtype=np.uint64) & np.uint64(0xFFFFFFFF)
    return philox2x32(low, key[1:], key[:1])[0].reshape(shape)


OPS = (fold_in, random_bits)
