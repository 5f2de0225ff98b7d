"""Division with remainder, and bit operations of integers, element by element."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from kgraph.ir.opdef import Array, NoGrad, OpDef, Sample, Trait, current_emitter
from kgraph.ir.scalar import Expr, call
from kgraph.primitives.elementwise import elementwise
from kgraph.primitives.sampling import SHAPES, Sampler, dtypes_of, elementwise_samples, numbers
from kgraph.primitives.signatures import FLOATS, INTEGERS, NUMBERS

WHOLE = NoGrad("operands and result are integers")


def whole_numbers(low: int, high: int) -> Sampler:
    """Samples of two integer operands, the second from [low, high]."""

    def samples(rng: np.random.Generator) -> Iterator[Sample]:
        dtypes = dtypes_of(INTEGERS)
        for shape, dtype in [*((s, dtypes[n % 4]) for n, s in enumerate(SHAPES)), *(((5, 9), d) for d in dtypes)]:
            yield Sample((numbers(rng, shape, dtype, -99, 99), numbers(rng, shape, dtype, low, high)))

    return samples


def _quotients(rng: np.random.Generator) -> Iterator[Sample]:
    yield from whole_numbers(-4, 4)(rng)
    yield from elementwise_samples(2, FLOATS, 0.5, 3)(rng)


def on_integers(
    function: str, samples: Sampler, traits: Trait = Trait.NONE
) -> Callable[[Callable[..., Any]], OpDef]:
    """Make an elementwise op of two integers, lowered to the scalar function `function`."""

    def lower(a: Any, b: Any) -> Any:
        return call(function, a, b)

    return elementwise(2, INTEGERS, grad=WHOLE, lower=lower, samples=samples, traits=traits)


def _floordiv_expr(a: Expr, b: Expr) -> Expr:
    return call("floor", call("div", a, b)) if a.dtype.is_float else call("floordiv", a, b)


def _mod_expr(a: Expr, b: Expr) -> Expr:
    if not a.dtype.is_float:
        return call("mod", a, b)
    return call("sub", a, call("mul", _floordiv_expr(a, b), b))


def _quotient(a: Array, b: Array) -> Any:
    return np.floor(a / b) if a.dtype.kind == "f" else np.floor_divide(a, b)


@elementwise(2, NUMBERS, grad=lambda dy, y, a, b: (None, None), lower=_floordiv_expr, samples=_quotients,
             source="floor(a / b)")  # fmt: skip
def floordiv(a: Array, b: Array) -> Any:
    """Quotient rounded down; 0 for integers divided by 0. The gradient is 0."""
    return _quotient(a, b)


@elementwise(
    2, NUMBERS, lower=_mod_expr, samples=_quotients, source="a - floor(a / b) b",
    grad=lambda dy, y, a, b: (dy, -(dy * current_emitter().emit("floordiv", a, b))),
)  # fmt: skip
def mod(a: Array, b: Array) -> Any:
    """Remainder of `floordiv`, with the sign of the divisor; 0 for integers divided by 0."""
    return a - _quotient(a, b) * b if a.dtype.kind == "f" else np.mod(a, b)


@on_integers("bitand", whole_numbers(-99, 99), Trait.COMMUTATIVE)
def bitwise_and(a: Array, b: Array) -> Any:
    """Bits that both have."""
    return np.bitwise_and(a, b)


@on_integers("bitor", whole_numbers(-99, 99), Trait.COMMUTATIVE)
def bitwise_or(a: Array, b: Array) -> Any:
    """Bits that either has."""
    return np.bitwise_or(a, b)


@on_integers("bitxor", whole_numbers(-99, 99), Trait.COMMUTATIVE)
def bitwise_xor(a: Array, b: Array) -> Any:
    """Bits that only one of them has."""
    return np.bitwise_xor(a, b)


@on_integers("shl", whole_numbers(0, 7))
def shift_left(a: Array, b: Array) -> Any:
    """a times 2^b, without the bits that leave the type; 0 for b outside 0..bits-1."""
    return np.left_shift(a, b)


@on_integers("shr", whole_numbers(0, 7))
def shift_right(a: Array, b: Array) -> Any:
    """a divided by 2^b, rounded down; for b outside 0..bits-1, what is left when all bits have gone: 0 or -1."""
    return np.right_shift(a, b)


OPS = (floordiv, mod, bitwise_and, bitwise_or, bitwise_xor, shift_left, shift_right)
