"""Arithmetic, powers, rounding and remainders, element by element."""

from __future__ import annotations

from typing import Any

import numpy as np

from kgraph.eager import operation
from kgraph.errors import DTypeError
from kgraph.ir.dtypes import bool_, f64
from kgraph.ir.operators import cast as convert
from kgraph.ops.promotion import (
    binary,
    common_dtype,
    counted,
    emit,
    floating,
    floats_together,
    integers_together,
    numbers_together,
    together,
    type_of,
)
from kgraph.primitives import composites


@operation("x1", "x2", numbers=True)
def add(x1: Any, x2: Any) -> Any:
    """``x1 + x2``; of bools: whether either holds.

    >>> add([1, 2], 0.5)
    array([1.5, 2.5], dtype=float32)
    """
    return binary("add", x1, x2, "logical_or")


@operation("x1", "x2", numbers=True)
def subtract(x1: Any, x2: Any) -> Any:
    """``x1 - x2``."""
    return binary("sub", x1, x2)


@operation("x1", "x2", numbers=True)
def multiply(x1: Any, x2: Any) -> Any:
    """``x1 * x2``; of bools: whether both hold."""
    return binary("mul", x1, x2, "logical_and")


@operation("x1", "x2", numbers=True)
def divide(x1: Any, x2: Any) -> Any:
    """``x1 / x2`` in floats: integers are cast to `floatx`."""
    return emit("div", *floats_together(x1, x2))


@operation("x1", "x2", numbers=True)
def divide_no_nan(x1: Any, x2: Any) -> Any:
    """``x1 / x2``, and 0 where ``x2`` is 0; the gradient is 0 there, too."""
    x1, x2 = floats_together(x1, x2)
    zero = composites.equal(x2, 0.0)
    return composites.where(zero, 0.0, x1 / composites.where(zero, 1.0, x2))


@operation("x1", "x2", numbers=True)
def floor_divide(x1: Any, x2: Any) -> Any:
    """``x1 / x2`` rounded down; 0 for integers divided by 0."""
    return binary("floordiv", x1, x2)


@operation("x1", "x2", numbers=True)
def mod(x1: Any, x2: Any) -> Any:
    """Remainder of ``x1 / x2`` with the sign of ``x2``; 0 for integers divided by 0.

    Of floats it is ``x1 - floor(x1 / x2) * x2``.
    """
    return binary("mod", x1, x2)


@operation("x1", "x2", numbers=True)
def fmod(x1: Any, x2: Any) -> Any:
    """Remainder of ``x1 / x2`` with the sign of ``x1``, as in C."""
    x1, x2 = numbers_together(x1, x2)
    if type_of(x1).dtype.is_float:
        return x1 - _trunc(x1 / x2) * x2
    rest = emit("mod", abs(x1), abs(x2))
    return composites.where(x1 < 0, -rest, rest)


@operation("x1", "x2", numbers=True)
def power(x1: Any, x2: Any) -> Any:
    """``x1`` to the power ``x2``; of integers an integer, right where the result is below 2^53."""
    x1, x2 = numbers_together(x1, x2)
    kind = type_of(x1).dtype
    if kind.is_float:
        return emit("pow", x1, x2)
    raised = emit("pow", convert(x1, f64), convert(x2, f64))
    return convert(emit("round", raised), kind)


@operation("x1", "x2", numbers=True)
def maximum(x1: Any, x2: Any) -> Any:
    """The larger of two; NaN if either is NaN."""
    return binary("maximum", x1, x2, "logical_or")


@operation("x1", "x2", numbers=True)
def minimum(x1: Any, x2: Any) -> Any:
    """The smaller of two; NaN if either is NaN."""
    return binary("minimum", x1, x2, "logical_and")


@operation("x1", "x2", numbers=True)
def fmax(x1: Any, x2: Any) -> Any:
    """The larger of two; the other one if one is NaN."""
    x1, x2 = numbers_together(x1, x2)
    return composites.where(_isnan(x1), x2, composites.where(_isnan(x2), x1, composites.maximum(x1, x2)))


@operation("x1", "x2", numbers=True)
def fmin(x1: Any, x2: Any) -> Any:
    """The smaller of two; the other one if one is NaN."""
    x1, x2 = numbers_together(x1, x2)
    return composites.where(_isnan(x1), x2, composites.where(_isnan(x2), x1, composites.minimum(x1, x2)))


def _isnan(x: Any) -> Any:
    return emit("ne", x, x)


@operation("x", "x_min", "x_max", numbers=True)
def clip(x: Any, x_min: Any, x_max: Any) -> Any:
    """``x`` limited to [x_min, x_max]; the gradient passes inside and at the limits."""
    kind = counted(x)
    limits = [_in_type_of(kind, limit) for limit in (x_min, x_max)]
    x, low, high = together(kind, *limits)
    return emit("minimum", emit("maximum", x, low), high)


def _in_type_of(x: Any, limit: Any) -> Any:
    """A float limit of integers keeps them integers, as in Keras."""
    kind = type_of(x).dtype
    if isinstance(limit, float) and not kind.is_float and limit.is_integer():
        return int(limit)
    return limit


@operation("x")
def negative(x: Any) -> Any:
    """``-x``."""
    return emit("neg", counted(x))


@operation("x")
def absolute(x: Any) -> Any:
    """``|x|``; bools stay."""
    return x if type_of(x).dtype is bool_ else emit("abs", x)


@operation("x")
def fabs(x: Any) -> Any:
    """``|x|`` as floats."""
    return emit("abs", floating(x))


@operation("x")
def sign(x: Any) -> Any:
    """-1, 0 or 1; NaN for NaN."""
    return emit("sign", counted(x))


@operation("x")
def square(x: Any) -> Any:
    """``x * x``."""
    return composites.square(counted(x))


@operation("x")
def sqrt(x: Any) -> Any:
    """Square root; NaN below 0."""
    return emit("sqrt", floating(x))


@operation("x")
def rsqrt(x: Any) -> Any:
    """``1 / sqrt(x)``."""
    return emit("rsqrt", floating(x))


@operation("x")
def cbrt(x: Any) -> Any:
    """Cube root, of negative numbers, too."""
    x = floating(x)
    return emit("sign", x) * abs(x) ** (1.0 / 3.0)


@operation("x1", "x2", numbers=True)
def hypot(x1: Any, x2: Any) -> Any:
    """``sqrt(x1^2 + x2^2)``, without overflow."""
    a, b = (emit("abs", x) for x in floats_together(x1, x2))
    large, small = composites.maximum(a, b), composites.minimum(a, b)
    zero = composites.equal(large, 0.0)
    ratio = small / composites.where(zero, 1.0, large)
    return composites.where(emit("isfinite", large), large * emit("sqrt", ratio * ratio + 1.0), large)


@operation("x")
def reciprocal(x: Any) -> Any:
    """``1 / x``."""
    return 1.0 / floating(x)


def _trunc(x: Any) -> Any:
    return composites.where(x < 0, emit("ceil", x), emit("floor", x))


@operation("x")
def floor(x: Any) -> Any:
    """Largest whole number not above ``x``, as floats."""
    return emit("floor", floating(x))


@operation("x")
def ceil(x: Any) -> Any:
    """Smallest whole number not below ``x``, as floats."""
    return emit("ceil", floating(x))


@operation("x")
def trunc(x: Any) -> Any:
    """``x`` without its fraction; integers stay."""
    x = counted(x)
    return _trunc(x) if type_of(x).dtype.is_float else x


@operation("x")
def round(x: Any, decimals: int = 0) -> Any:
    """Nearest number with so many decimals, halves to the even one; integers stay for ``decimals >= 0``."""
    x = counted(x)
    kind = type_of(x).dtype
    if not kind.is_float:
        return x if decimals >= 0 else convert(round(floating(x), decimals), kind)
    if not decimals:
        return emit("round", x)
    scale = 10.0 ** abs(decimals)
    return emit("round", x * scale) / scale if decimals > 0 else emit("round", x / scale) * scale


@operation("x1", "x2", numbers=True)
def heaviside(x1: Any, x2: Any) -> Any:
    """0 where ``x1 < 0``, ``x2`` where it is 0, 1 where it is positive; NaN stays."""
    x1, x2 = floats_together(x1, x2)
    steps = composites.where(_isnan(x1), x1, composites.cast(x1 > 0.0, type_of(x1).dtype))
    return composites.where(composites.equal(x1, 0.0), x2, steps)


@operation("x")
def deg2rad(x: Any) -> Any:
    """Degrees in radians."""
    return floating(x) * 0.017453292519943295


@operation("x")
def rad2deg(x: Any) -> Any:
    """Radians in degrees."""
    return floating(x) * 57.29577951308232


@operation("x")
def nan_to_num(x: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Any:
    """``x`` with NaN and infinities replaced; by the largest and smallest finite number if not given."""
    kind = type_of(x).dtype
    if not kind.is_float:
        return x
    largest = float(np.finfo(kind.numpy).max)
    high = composites.where(composites.equal(x, float("inf")), largest if posinf is None else posinf, x)
    low = composites.where(composites.equal(x, float("-inf")), -largest if neginf is None else neginf, high)
    return composites.where(_isnan(x), nan, low)


@operation("x", "y", numbers=True)
def bitwise_and(x: Any, y: Any) -> Any:
    """Bits that both have."""
    return _bits("bitwise_and", "logical_and", x, y)


@operation("x", "y", numbers=True)
def bitwise_or(x: Any, y: Any) -> Any:
    """Bits that either has."""
    return _bits("bitwise_or", "logical_or", x, y)


@operation("x", "y", numbers=True)
def bitwise_xor(x: Any, y: Any) -> Any:
    """Bits that only one of them has."""
    return _bits("bitwise_xor", "ne", x, y)


def _bits(op: str, on_bools: str, x: Any, y: Any) -> Any:
    if common_dtype(x, y) is bool_:
        return emit(on_bools, *together(x, y))
    return emit(op, *integers_together(x, y))


@operation("x")
def bitwise_not(x: Any) -> Any:
    """All bits turned."""
    kind = type_of(x).dtype
    if kind is bool_:
        return emit("logical_not", x)
    if kind.is_float:
        raise DTypeError("x", expected="integers", received=kind.numpy)
    return emit("bitwise_xor", *together(x, -1 if kind.kind == "signed" else 2**kind.bits - 1))


@operation("x", "y", numbers=True)
def bitwise_left_shift(x: Any, y: Any) -> Any:
    """``x * 2^y``, without the bits that leave the type."""
    return emit("shift_left", *integers_together(x, y))


@operation("x", "y", numbers=True)
def bitwise_right_shift(x: Any, y: Any) -> Any:
    """``x / 2^y``, rounded down."""
    return emit("shift_right", *integers_together(x, y))


true_divide = divide
bitwise_invert = bitwise_not
left_shift, right_shift = bitwise_left_shift, bitwise_right_shift
