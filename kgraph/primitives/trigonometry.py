"""Inverse trigonometric and hyperbolic functions, element by element."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kgraph.ir.opdef import Array, current_emitter
from kgraph.ir.scalar import Expr, call, const
from kgraph.primitives.elementwise import elementwise, reals
from kgraph.primitives.sampling import SPECIALS, elementwise_samples
from kgraph.primitives.signatures import FLOATS


def _function(name: str, *operands: Any) -> Any:
    return current_emitter().emit(name, *operands)


def _number(value: float, like: Expr) -> Expr:
    return const(value, like.dtype)


@elementwise(1, FLOATS, grad=lambda dy, y, x: (dy / (x * x + 1.0),), samples=reals(-9, 9))
def atan(x: Array) -> Any:
    """Arc tangent, in [-pi/2, pi/2]."""
    return np.arctan(x)


def _atan2_expr(y: Expr, x: Expr) -> Expr:
    zero, one, half_pi = _number(0, x), _number(1, x), _number(math.pi / 2, x)
    size_y, size_x = call("abs", y), call("abs", x)
    # The larger one divides, so that nothing overflows; 0/0 and inf/inf become 0 and 1.
    steep = call("gt", size_y, size_x)
    small, large = call("min", size_y, size_x), call("max", size_y, size_x)
    ratio = call("select", call("eq", small, large), one, call("div", small, large))
    ratio = call("select", call("eq", large, zero), zero, ratio)
    angle = call("atan", ratio)
    angle = call("select", steep, call("sub", half_pi, angle), angle)
    # 1 / x tells -0 from 0.
    left = call("or", call("lt", x, zero), call("lt", call("div", one, x), zero))
    angle = call("select", left, call("sub", _number(math.pi, x), angle), angle)
    below = call("or", call("lt", y, zero), call("lt", call("div", one, y), zero))
    return call("select", below, call("neg", angle), angle)


def _atan2_grad(dy: Any, result: Any, y: Any, x: Any) -> tuple[Any, Any]:
    scaled = dy / (x * x + y * y)
    return scaled * x, -(scaled * y)


@elementwise(2, FLOATS, grad=_atan2_grad, lower=_atan2_expr, samples=elementwise_samples(2, FLOATS, 0.3, 3))
def atan2(y: Array, x: Array) -> Any:
    """Angle of the point (x, y), in [-pi, pi]; signs of zeros count, as in C."""
    return np.arctan2(y, x)


def _asin_expr(x: Expr) -> Expr:
    one = _number(1, x)
    cosine = call("sqrt", call("mul", call("sub", one, x), call("add", one, x)))
    return call("atan", call("div", x, cosine))


@elementwise(1, FLOATS, lower=_asin_expr, samples=reals(-0.95, 0.95), source="atan(x / sqrt((1 - x) (1 + x)))",
             grad=lambda dy, y, x: (dy * _function("rsqrt", (1.0 - x) * (1.0 + x)),))  # fmt: skip
def asin(x: Array) -> Any:
    """Arc sine, in [-pi/2, pi/2]; NaN outside [-1, 1]."""
    return np.arcsin(x)


def _acos_expr(x: Expr) -> Expr:
    one = _number(1, x)
    half = call("atan", call("div", call("sqrt", call("sub", one, x)), call("sqrt", call("add", one, x))))
    return call("add", half, half)


@elementwise(1, FLOATS, lower=_acos_expr, samples=reals(-0.95, 0.95), source="2 atan(sqrt(1 - x) / sqrt(1 + x))",
             grad=lambda dy, y, x: (-(dy * _function("rsqrt", (1.0 - x) * (1.0 + x))),))  # fmt: skip
def acos(x: Array) -> Any:
    """Arc cosine, in [0, pi]; NaN outside [-1, 1]."""
    return np.arccos(x)


def _half_exponentials(x: Expr) -> tuple[Expr, Expr]:
    """exp(|x|/2) and |x|, from which sinh and cosh are made where exp(|x|) may overflow."""
    size = call("abs", x)
    return call("exp", call("mul", size, _number(0.5, x))), size


def _sinh_expr(x: Expr) -> Expr:
    half = _number(0.5, x)
    root, size = _half_exponentials(x)
    less = call("expm1", size)
    near = call("mul", half, call("add", less, call("div", less, call("add", less, _number(1, x)))))
    far = call("mul", call("mul", half, root), root)
    y = call("select", call("gt", size, _number(20, x)), far, near)
    signed = call("select", call("lt", x, _number(0, x)), call("neg", y), y)
    return call("select", call("eq", x, _number(0, x)), x, signed)  # keeps the sign of zero


@elementwise(1, FLOATS, grad=lambda dy, y, x: (dy * _function("cosh", x),), lower=_sinh_expr,
             samples=reals(-4, 4, (*SPECIALS, 89.0, -89.0, 1e-4)))  # fmt: skip
def sinh(x: Array) -> Any:
    """Hyperbolic sine."""
    return np.sinh(x)


def _cosh_expr(x: Expr) -> Expr:
    root, _ = _half_exponentials(x)
    half = _number(0.5, x)
    return call("add", call("mul", call("mul", half, root), root), call("div", half, call("mul", root, root)))


@elementwise(1, FLOATS, grad=lambda dy, y, x: (dy * _function("sinh", x),), lower=_cosh_expr,
             samples=reals(-4, 4, (*SPECIALS, 89.0, -89.0)))  # fmt: skip
def cosh(x: Array) -> Any:
    """Hyperbolic cosine."""
    return np.cosh(x)


# Coefficients of Giles (2012), "Approximating the erfinv function": central and outer polynomial, highest power first.
_CENTRE = (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503,
           -0.00417768164, 0.246640727, 1.50140941)  # fmt: skip
_OUTER = (-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613, 0.00943887047,
          1.00167406, 2.83297682)  # fmt: skip


def _horner(x: Expr, coefficients: tuple[float, ...]) -> Expr:
    total: Expr = _number(coefficients[0], x)
    for coefficient in coefficients[1:]:
        total = call("add", call("mul", total, x), _number(coefficient, x))
    return total


def _erfinv_expr(x: Expr) -> Expr:
    one = _number(1, x)
    w = call("neg", call("log", call("mul", call("sub", one, x), call("add", one, x))))
    centre = _horner(call("sub", w, _number(2.5, x)), _CENTRE)
    outer = _horner(call("sub", call("sqrt", w), _number(3, x)), _OUTER)
    y: Expr = call("mul", x, call("select", call("lt", w, _number(5, x)), centre, outer))
    if x.dtype.bits == 64:
        for _ in range(2):  # Newton's method: the slope of erf is 2 / sqrt(pi) exp(-y^2)
            miss = call("sub", call("erf", y), x)
            slope = call("mul", _number(2 / math.sqrt(math.pi), x), call("exp", call("neg", call("mul", y, y))))
            y = call("sub", y, call("div", miss, slope))
    edge = call("mul", x, _number(math.inf, x))
    return call("select", call("eq", call("abs", x), one), edge, y)


@elementwise(
    1, FLOATS, lower=_erfinv_expr, samples=reals(-0.95, 0.95), source="Giles (2012); d erfinv = sqrt(pi)/2 exp(y^2)",
    grad=lambda dy, y, x: (dy * (_function("exp", y * y) * (math.sqrt(math.pi) / 2)),),
)  # fmt: skip
def erfinv(x: Array) -> Any:
    """Inverse of the error function; infinite at -1 and 1, NaN outside."""
    wide = x.astype(np.float64)
    w = -np.log((1 - wide) * (1 + wide))
    start = np.where(w < 5, np.polyval(_CENTRE, w - 2.5), np.polyval(_OUTER, np.sqrt(w) - 3))
    y = wide * start
    inside = np.abs(wide) < 1
    for _ in range(3):
        slope = 2 / math.sqrt(math.pi) * np.exp(-y * y)
        miss = np.array([math.erf(v) for v in np.where(inside, y, 0).flat]).reshape(x.shape) - wide
        y = y - miss / slope
    return np.where(np.abs(wide) == 1, np.copysign(np.inf, wide), y).astype(x.dtype)


OPS = (atan, atan2, asin, acos, sinh, cosh, erfinv)
