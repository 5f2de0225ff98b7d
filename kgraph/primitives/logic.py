"""Comparisons, logic, choice and conversion, element by element."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from kgraph.ir import scalar
from kgraph.ir.dtypes import ALL, DType, bool_, f32, f64, i32, u8
from kgraph.ir.opdef import (
    Array,
    Attrs,
    NoGrad,
    OpDef,
    Sample,
    Scalar,
    Trait,
    Types,
    current_emitter,
    primitive,
)
from kgraph.ir.scalar import Expr, call
from kgraph.ir.types import TensorType
from kgraph.primitives.elementwise import choose
from kgraph.primitives.sampling import (
    NUMERIC,
    SHAPES,
    SPECIALS,
    Sampler,
    bad,
    elementwise_errors,
    elementwise_samples,
    grid,
    numbers,
    of,
)
from kgraph.primitives.signatures import ANY, BOOLS, FLOATS, NUMBERS, Kinds, alike, expect, expect_dtype, expect_same

STEP = NoGrad("the result is bool: its slope is 0 wherever it exists")


def predicate(
    operands: int, kinds: Kinds, function: str, traits: Trait = Trait.NONE, samples: Sampler | None = None
) -> Callable[[Callable[..., Any]], OpDef]:
    """Make an elementwise op with a bool result, lowered to the scalar function `function`."""

    def make(reference: Callable[..., Any]) -> OpDef:
        name = reference.__name__.rstrip("_")
        return primitive(
            name=name,
            infer=alike(name, operands, kinds, result=bool_),
            grad=STEP,
            lower=Scalar(partial(call, function)),
            samples=samples or elementwise_samples(operands, kinds, 0, 3),
            errors=elementwise_errors(operands, kinds),
            traits=Trait.ELEMENTWISE | traits,
        )(reference)

    return make


@predicate(2, ANY, "eq", Trait.COMMUTATIVE)
def eq(a: Array, b: Array) -> Any:
    """Whether equal; NaN equals nothing."""
    return np.equal(a, b)


@predicate(2, ANY, "ne", Trait.COMMUTATIVE)
def ne(a: Array, b: Array) -> Any:
    """Whether different; NaN differs from everything."""
    return np.not_equal(a, b)


@predicate(2, NUMBERS, "lt")
def lt(a: Array, b: Array) -> Any:
    """Whether a < b."""
    return np.less(a, b)


@predicate(2, NUMBERS, "le")
def le(a: Array, b: Array) -> Any:
    """Whether a <= b."""
    return np.less_equal(a, b)


@predicate(2, NUMBERS, "gt")
def gt(a: Array, b: Array) -> Any:
    """Whether a > b."""
    return np.greater(a, b)


@predicate(2, NUMBERS, "ge")
def ge(a: Array, b: Array) -> Any:
    """Whether a >= b."""
    return np.greater_equal(a, b)


@predicate(1, FLOATS, "isfinite")
def isfinite(x: Array) -> Any:
    """Whether neither NaN nor infinite."""
    return np.isfinite(x)


@predicate(2, BOOLS, "and", Trait.COMMUTATIVE)
def logical_and(a: Array, b: Array) -> Any:
    """Whether both hold."""
    return np.logical_and(a, b)


@predicate(2, BOOLS, "or", Trait.COMMUTATIVE)
def logical_or(a: Array, b: Array) -> Any:
    """Whether either holds."""
    return np.logical_or(a, b)


@predicate(1, BOOLS, "not")
def logical_not(a: Array) -> Any:
    """Whether it does not hold."""
    return np.logical_not(a)


def _infer_select(types: Types, attrs: Attrs) -> TensorType:
    expect("select", types, attrs, 3)
    expect_same("select", types[1:])
    expect_same("select", (types[1].with_dtype(bool_), types[0]))
    return types[1]


def _select_samples(rng: np.random.Generator) -> Iterator[Sample]:
    calls = [(s, ALL[n % len(ALL)]) for n, s in enumerate(SHAPES)] + [((5, 9), d) for d in ALL]
    for shape, dtype in calls:
        yield Sample((numbers(rng, shape, bool_), numbers(rng, shape, dtype), numbers(rng, shape, dtype)))
    for dtype in (f32, f64):
        a, b = grid(SPECIALS, 2, dtype)
        yield Sample((numbers(rng, a.shape, bool_), a, b))


@primitive(
    infer=_infer_select,
    grad=lambda dy, y, condition, a, b: (None, choose(condition, dy, 0.0), choose(condition, 0.0, dy)),
    lower=Scalar(partial(call, "select")),
    samples=_select_samples,
    errors=(
        bad("3 operands", of((2,)), of((2,))),
        bad("one element type", of((2,), i32), of((2,)), of((2,))),
        bad("one shape", of((2,), bool_), of((2,)), of((3,))),
        bad("one shape", of((1,), bool_), of((2,)), of((2,))),
        bad("attributes", of((2,), bool_), of((2,)), of((2,)), axis=0),
    ),
    traits=Trait.ELEMENTWISE,
)
def select(condition: Array, a: Array, b: Array) -> Any:
    """`a` where the bool `condition` holds, else `b`; what is not chosen has no influence, not even as NaN."""
    return np.where(condition, a, b)


def _infer_cast(types: Types, attrs: Attrs) -> TensorType:
    expect("cast", types, attrs, 1, ("dtype",))
    return types[0].with_dtype(expect_dtype("cast", attrs["dtype"], ANY))


def _cast_samples(rng: np.random.Generator) -> Iterator[Sample]:
    for source in ALL:
        for target in ALL:
            low = 0 if target.kind == "unsigned" else -9
            yield Sample((numbers(rng, (3, 7), source, low, 100),), {"dtype": target})
    for shape in ((), (0,), (1,), (2, 3, 5)):
        yield Sample((numbers(rng, shape, f32),), {"dtype": f64})
    yield Sample(grid(SPECIALS, 1, f32), {"dtype": f64})
    yield Sample(grid(SPECIALS, 1, f64), {"dtype": f32})
    yield Sample(grid(SPECIALS, 1, f32), {"dtype": bool_})


def _cast_grad(dy: Any, y: Any, x: Any, dtype: DType) -> tuple[Any]:
    emitter = current_emitter()
    source = emitter.type_of(x).dtype
    return (emitter.emit("cast", dy, dtype=source) if source.is_float and dtype.is_float else None,)


@primitive(
    infer=_infer_cast,
    grad=_cast_grad,
    lower=Scalar(lambda x, dtype: scalar.cast(x, dtype)),
    samples=_cast_samples,
    errors=(
        bad("1 operands", dtype=f32),
        bad("element type", of((2,)), dtype="float32"),
        bad("attributes", of((2,))),
    ),
    traits=Trait.ELEMENTWISE,
)
def cast(x: Array, dtype: DType) -> Any:
    """Convert to another element type, as NumPy's astype: floats are cut towards 0, bool is x != 0.

    Floats outside the range of an integer type give an unspecified integer.
    """
    return x.astype(dtype.to_numpy())


def _identity(x: Expr) -> Expr:
    return x


def _stop_samples(rng: np.random.Generator) -> Iterator[Sample]:
    for n, shape in enumerate(SHAPES):
        yield Sample((numbers(rng, shape, (*NUMERIC, bool_)[n % 7]),))
    yield Sample(grid(SPECIALS, 1, f32))


@primitive(
    infer=alike("stop_gradient", 1, ANY),
    grad=lambda dy, y, x: (None,),
    lower=Scalar(_identity),
    samples=_stop_samples,
    errors=(
        bad("1 operands"),
        bad("1 operands", of((2,)), of((2,))),
        bad("attributes", of((2,), u8), axis=0),
    ),
    traits=Trait.ELEMENTWISE,
)
def stop_gradient(x: Array) -> Any:
    """x, but as a constant for gradients."""
    return x


@primitive(
    infer=alike("copy", 1, ANY),
    grad=lambda dy, y, x: (dy,),
    lower=Scalar(_identity),
    samples=_stop_samples,
    errors=(
        bad("1 operands"),
        bad("1 operands", of((2,)), of((2,))),
        bad("attributes", of((2,), u8), axis=0),
    ),
    traits=Trait.ELEMENTWISE,
)
def copy(x: Array) -> Any:
    """x in memory of its own; memory planning adds it where two results would share memory."""
    return x.copy()


OPS = (eq, ne, lt, le, gt, ge, isfinite, logical_and, logical_or, logical_not, select, cast, stop_gradient, copy)
