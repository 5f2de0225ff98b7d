"""Laws of arithmetic that hold in floating point: the same bits, but for the sign and payload of a nan.

Not here, because they are wrong for some numbers: x * 0 -> 0 and x - x -> 0 (nan, inf), x / x -> 1,
log(exp(x)) -> x (overflow), (a + b) + c -> a + (b + c) and a*b + a*c -> a*(b + c) (rounding).
"""

from __future__ import annotations

import math

import numpy as np

from kgraph.compiler.analysis.signs import never_minus_zero, never_negative
from kgraph.compiler.rewrite import Law, Rewriter, Var, law, rule, term
from kgraph.ir.dtypes import DType
from kgraph.ir.graph import Node, Value
from kgraph.ir.opdef import Trait

x, y = Var("x"), Var("y")
both, either, invert = term("logical_and"), term("logical_or"), term("logical_not")
smaller, larger, divide = term("minimum"), term("maximum"), term("div")
neg, sqrt, relu = term("neg"), term("sqrt"), term("relu")


def _adding_zero_is_exact(value: Value, rewriter: Rewriter) -> bool:
    """-0.0 + 0.0 is +0.0; for every other number, and for integers, adding 0 changes nothing."""
    return never_minus_zero(value, rewriter.producer)


def _never_negative(value: Value, rewriter: Rewriter) -> bool:
    return never_negative(value, rewriter.producer)


def _is_float(value: Value, rewriter: Rewriter) -> bool:
    return value.dtype.is_float


RULES: tuple[Law, ...] = (
    rule(x + -0.0, x),  # -0.0 is the neutral element of addition; +0.0 is not
    rule(x + 0, x, when=_adding_zero_is_exact),
    rule(x - 0, x),  # -0.0 - 0.0 is -0.0
    rule(x + -y, x - y),  # IEEE defines subtraction so
    rule(x - -y, x + y),
    rule(x * 1, x),
    rule(x / 1, x),
    rule(x * -1, -x, when=_is_float),
    rule(x / -1, -x, when=_is_float),
    rule((-x) * (-y), x * y),  # the sign of a product is exact
    rule((-x) / (-y), x / y, when=_is_float),
    rule(neg(neg(x)), x),
    rule(abs(-x), abs(x)),
    rule(abs(x), x, when=_never_negative),
    rule(relu(relu(x)), relu(x)),
    rule(smaller(x, x), x),
    rule(larger(x, x), x),
    rule(x**1, x),
    rule(x**-1, divide(1, x), when=_is_float),
    rule(x**0, 1),  # IEEE: also for nan
    # One rounding: where a library's power rounds otherwise (it may err by an ulp), the product is the right one.
    rule(x**2, x * x),
    # Not for other x: pow(-0.0, 0.5) is +0.0 and pow(-inf, 0.5) is inf, where sqrt gives -0.0 and nan.
    rule(x**0.5, sqrt(x), when=_never_negative),
    rule(both(x, True), x),
    rule(either(x, False), x),
    rule(both(x, x), x),
    rule(either(x, x), x),
    rule(invert(invert(x)), x),
)


# Largest k with 2**k and 2**-k both normal, and bits of the significand, by the width of the float type.
LARGEST_EXPONENT = {32: 126, 64: 1022}
SIGNIFICAND = {32: 24, 64: 53}


@law("div")
def divide_by_power_of_two(node: Node, rewriter: Rewriter) -> Value | None:
    """x / c = x * (1/c) if c and 1/c are normal powers of two: both scale exactly and round alike at the ends."""
    numerator, divisor = node.inputs
    number = rewriter.scalar(divisor)
    if number is None or not math.isfinite(number):
        return None
    significand, exponent = math.frexp(number)
    if abs(significand) != 0.5 or abs(exponent - 1) > LARGEST_EXPONENT[divisor.dtype.bits]:
        return None
    inverse = 1.0 / float(number)
    product = rewriter.emit("mul", numerator, rewriter.splat(inverse, divisor.type))
    assert isinstance(product, Value)
    return product


@law("select")
def select_with_known_condition(node: Node, rewriter: Rewriter) -> Value | None:
    """select(true, a, b) = a; select(false, a, b) = b; select(c, a, a) = a."""
    condition, a, b = node.inputs
    if a is b:
        return a
    known = rewriter.scalar(condition)
    return None if known is None else (a if known else b)


@law("cast")
def cast_to_same_type(node: Node, rewriter: Rewriter) -> Value | None:
    """cast(x) = x if x has the type already."""
    return node.inputs[0] if node.inputs[0].dtype == node.output.dtype else None


@law("cast")
def cast_of_widening_cast(node: Node, rewriter: Rewriter) -> Value | None:
    """cast(cast(x)) = cast(x) if the inner cast loses nothing."""
    inner = rewriter.producer(node.inputs[0])
    if inner is None or inner.op.name != "cast":
        return None
    old, middle, new = inner.inputs[0].dtype, inner.output.dtype, node.output.dtype
    # From a float that is too large for it, an integer type may get anything; from an integer it gets the low bits.
    if not _holds(middle, old) or (old.is_integer and middle.is_float and new.is_integer and not _holds(new, old)):
        return None
    value = rewriter.emit("cast", inner.inputs[0], dtype=node.output.dtype)
    assert isinstance(value, Value)
    return value


def _holds(wide: DType, narrow: DType) -> bool:
    """Whether every number of type `narrow` is one of type `wide`."""
    if wide.is_float and narrow.is_integer:
        return narrow.bits <= SIGNIFICAND[wide.bits]
    return np.can_cast(narrow.to_numpy(), wide.to_numpy(), casting="safe")


@law("constant")
def constant_of_equal_numbers(node: Node, rewriter: Rewriter) -> Value | None:
    """An array of equal numbers becomes a broadcast: no memory, and the laws of numbers see it."""
    array = node.attrs["value"]
    if array.size < 2:
        return None
    flat = array.reshape(-1)
    # The bytes are compared: 0.0 equals -0.0 but is not the same number.
    first = flat[:1].view(np.uint8)
    if not np.array_equal(first, flat[-1:].view(np.uint8)):
        return None
    if not (flat.view(np.uint8).reshape(flat.size, -1) == first).all():
        return None
    return rewriter.splat(array.flat[0].item(), node.output.type)


def through_broadcast(node: Node, rewriter: Rewriter) -> Value | None:
    """f(broadcast(a), broadcast(b)) = broadcast(f(a, b)): each number is computed once.

    Operands must be broadcast in the same way, or have rank 0 before.
    """
    if not node.inputs or len(node.outputs) != 1 or Trait.ELEMENTWISE not in node.op.traits:
        return None
    makers = [rewriter.producer(value) for value in node.inputs]
    views = [maker for maker in makers if maker is not None and maker.op.name == "broadcast"]
    if len(views) < len(makers):
        return None
    widest = max(views, key=lambda view: view.inputs[0].type.rank)
    shape, axes = widest.inputs[0].type.shape, widest.attrs["axes"]
    sources = [view.inputs[0] for view in views]
    spread_alike = [view.inputs[0].type.shape == shape and view.attrs["axes"] == axes for view in views]
    if not all(alike or source.type.rank == 0 for alike, source in zip(spread_alike, sources)):
        return None
    operands = [
        source if alike else rewriter.emit("broadcast", source, shape=shape, axes=())
        for alike, source in zip(spread_alike, sources)
    ]
    small = rewriter.emit(node.op, *operands, **node.attrs)
    assert isinstance(small, Value)
    value = rewriter.emit("broadcast", small, shape=node.output.type.shape, axes=axes)
    assert isinstance(value, Value)
    return value


SCALAR_LAWS: tuple[Law, ...] = (
    *RULES,
    *divide_by_power_of_two,
    *select_with_known_condition,
    *cast_to_same_type,
    *cast_of_widening_cast,
    *constant_of_equal_numbers,
)
