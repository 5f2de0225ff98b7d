"""Makers of sample calls and wrong calls for the tests that every op gets.

A sample that holds a number that is not finite is a special one: it tests values at the borders, not gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from kgraph.ir.dtypes import ALL, DType, bool_, f32, f64, i32, i64, u8, u32
from kgraph.ir.opdef import Array, Attrs, BadCall, Sample
from kgraph.ir.types import TensorType
from kgraph.primitives.signatures import Kinds

Sampler: TypeAlias = "Callable[[np.random.Generator], Iterable[Sample]]"

SHAPES: tuple[tuple[int, ...], ...] = ((3, 4), (7,), (), (1,), (0,), (2, 0, 3), (1, 1), (2, 3, 5), (33,), (4, 17))
SPECIALS = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 2.5)


def numbers(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: DType = f32, low: float = -3, high: float = 3
) -> Array:
    """A random array of any element type; values from [low, high), cut to what the type can hold."""
    if dtype is bool_:
        return np.asarray(rng.integers(0, 2, shape), dtype.to_numpy())
    if dtype.is_float:
        return np.asarray(rng.uniform(low, high, shape), dtype.to_numpy())
    first = 0 if dtype.kind == "unsigned" else int(low)
    return np.asarray(rng.integers(first, max(int(high), first + 1) + 1, shape), dtype.to_numpy())


def dtypes_of(kinds: Kinds) -> tuple[DType, ...]:
    """The element types of these kinds."""
    return tuple(d for d in ALL if d.kind in kinds.kinds)


def elementwise_samples(
    operands: int, kinds: Kinds, low: float = -3, high: float = 3, special: Sequence[float] = SPECIALS
) -> Sampler:
    """Samples with operands of one type: many shapes, all element types of `kinds`, and the special values."""
    dtypes = dtypes_of(kinds)

    def samples(rng: np.random.Generator) -> Iterator[Sample]:
        calls = [(s, dtypes[n % len(dtypes)]) for n, s in enumerate(SHAPES)] + [((5, 9), d) for d in dtypes]
        for shape, dtype in calls:
            yield Sample(tuple(numbers(rng, shape, dtype, low, high) for _ in range(operands)))
        if special and f32 in dtypes:
            yield from (Sample(grid(special, operands, d)) for d in (f32, f64))

    return samples


def grid(values: Sequence[float], operands: int, dtype: DType) -> tuple[Array, ...]:
    """One array for each operand so that every combination of `values` occurs."""
    array = np.array(values, dtype.to_numpy())
    return tuple(np.ascontiguousarray(m) for m in np.meshgrid(*[array] * operands))


def of(shape: Sequence[int], dtype: DType = f32) -> TensorType:
    """A type, short enough for tables of wrong calls."""
    return TensorType(dtype, tuple(shape))


def elementwise_errors(operands: int, kinds: Kinds) -> tuple[BadCall, ...]:
    """Wrong calls that every elementwise op must refuse."""
    good = next(d for d in (f32, i32, bool_) if d.kind in kinds.kinds)
    bad = next((d for d in (bool_, i32, f32) if d.kind not in kinds.kinds), None)
    one = of((2, 3), good)
    calls = [
        BadCall((one,) * (operands + 1), {}, f"{operands} operands"),
        BadCall((one,) * operands, {"axis": 1}, "attributes"),
        BadCall((), {}, "received 0"),
    ]
    if bad is not None:
        calls.append(BadCall((of((2, 3), bad),) * operands, {}, f"received {bad.numpy}"))
    if operands > 1:
        calls.append(BadCall((one,) * (operands - 1) + (of((3,), good),), {}, "one shape"))
    return tuple(calls)


def bad(words: str, *types: TensorType, **attrs: object) -> BadCall:
    """A wrong call and the words that its error must contain."""
    return BadCall(types, attrs, words)


def with_attrs(*calls: tuple[tuple[int, ...], Attrs], dtypes: Sequence[DType] = (f32, f64), low: float = -3,
               high: float = 3) -> Sampler:  # fmt: skip
    """Samples with one operand, from (shape, attributes) pairs; element types take turns, each seen at every shape."""

    def samples(rng: np.random.Generator) -> Iterator[Sample]:
        for turn in range(min(2, len(dtypes))):
            for n, (shape, attrs) in enumerate(calls):
                yield Sample((numbers(rng, shape, dtypes[(n + turn) % len(dtypes)], low, high),), attrs)

    return samples


def attrs_only(*calls: Attrs) -> Sampler:
    """Samples of an op without operands."""
    return lambda rng: [Sample((), attrs) for attrs in calls]


def key_array(rng: np.random.Generator) -> npt.NDArray[np.uint32]:
    """A random key."""
    return rng.integers(0, 2**32, 2, dtype=np.uint32)


NUMERIC = (f32, i32, f64, i64, u8, u32)
