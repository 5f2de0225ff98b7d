"""Exponentials, logarithms, trigonometric and hyperbolic functions, error functions, element by element.

Integers and bools are cast to `floatx`; the result is a float.
"""

from __future__ import annotations

import math
from typing import Any

from kgraph.eager import operation
from kgraph.ops.promotion import emit, floating, floats_together
from kgraph.primitives import composites


@operation("x")
def exp(x: Any) -> Any:
    """e to the power ``x``."""
    return emit("exp", floating(x))


@operation("x")
def exp2(x: Any) -> Any:
    """2 to the power ``x``."""
    return emit("exp", floating(x) * math.log(2))


@operation("x")
def expm1(x: Any) -> Any:
    """``exp(x) - 1``, precise for small ``x``."""
    return emit("expm1", floating(x))


@operation("x")
def log(x: Any) -> Any:
    """Natural logarithm; -inf at 0, NaN below."""
    return emit("log", floating(x))


@operation("x")
def log1p(x: Any) -> Any:
    """``log(1 + x)``, precise for small ``x``."""
    return emit("log1p", floating(x))


@operation("x")
def log2(x: Any) -> Any:
    """Logarithm to the base 2."""
    return emit("log", floating(x)) * (1 / math.log(2))


@operation("x")
def log10(x: Any) -> Any:
    """Logarithm to the base 10."""
    return emit("log", floating(x)) * (1 / math.log(10))


@operation("x1", "x2", numbers=True)
def logaddexp(x1: Any, x2: Any) -> Any:
    """``log(exp(x1) + exp(x2))``, without overflow."""
    return _logaddexp(*floats_together(x1, x2))


@operation("x1", "x2", numbers=True)
def logaddexp2(x1: Any, x2: Any) -> Any:
    """``log2(2^x1 + 2^x2)``, without overflow."""
    x1, x2 = floats_together(x1, x2)
    return _logaddexp(x1 * math.log(2), x2 * math.log(2)) * (1 / math.log(2))


def _logaddexp(a: Any, b: Any) -> Any:
    # Of two equal infinities the difference would be NaN.
    gap = composites.where(composites.equal(a, b), 0.0, a - b)
    return composites.maximum(a, b) + emit("log1p", emit("exp", -abs(gap)))


@operation("x")
def sin(x: Any) -> Any:
    """Sine of an angle in radians."""
    return emit("sin", floating(x))


@operation("x")
def cos(x: Any) -> Any:
    """Cosine of an angle in radians."""
    return emit("cos", floating(x))


@operation("x")
def tan(x: Any) -> Any:
    """Tangent of an angle in radians."""
    x = floating(x)
    return emit("sin", x) / emit("cos", x)


@operation("x")
def arcsin(x: Any) -> Any:
    """Arc sine, in [-pi/2, pi/2]; NaN outside [-1, 1]."""
    return emit("asin", floating(x))


@operation("x")
def arccos(x: Any) -> Any:
    """Arc cosine, in [0, pi]; NaN outside [-1, 1]."""
    return emit("acos", floating(x))


@operation("x")
def arctan(x: Any) -> Any:
    """Arc tangent, in [-pi/2, pi/2]."""
    return emit("atan", floating(x))


@operation("x1", "x2", numbers=True)
def arctan2(x1: Any, x2: Any) -> Any:
    """Angle of the point (x2, x1), in [-pi, pi]."""
    return emit("atan2", *floats_together(x1, x2))


@operation("x")
def sinh(x: Any) -> Any:
    """Hyperbolic sine."""
    return emit("sinh", floating(x))


@operation("x")
def cosh(x: Any) -> Any:
    """Hyperbolic cosine."""
    return emit("cosh", floating(x))


@operation("x")
def tanh(x: Any) -> Any:
    """Hyperbolic tangent."""
    return emit("tanh", floating(x))


@operation("x")
def arcsinh(x: Any) -> Any:
    """Inverse of `sinh`: ``sign(x) log1p(|x| + x^2 / (1 + sqrt(x^2 + 1)))``."""
    x = floating(x)
    size = abs(x)
    return emit("sign", x) * emit("log1p", size + x * x / (emit("sqrt", x * x + 1.0) + 1.0))


@operation("x")
def arccosh(x: Any) -> Any:
    """Inverse of `cosh` for ``x >= 1``; NaN below."""
    x = floating(x)
    return emit("log", x + emit("sqrt", x - 1.0) * emit("sqrt", x + 1.0))


@operation("x")
def arctanh(x: Any) -> Any:
    """Inverse of `tanh` in [-1, 1]; NaN outside."""
    x = floating(x)
    return 0.5 * (emit("log1p", x) - emit("log1p", -x))


@operation("x")
def sinc(x: Any) -> Any:
    """``sin(pi x) / (pi x)``, and 1 at 0."""
    x = floating(x) * math.pi
    zero = composites.equal(x, 0.0)
    return composites.where(zero, 1.0, emit("sin", x) / composites.where(zero, 1.0, x))


@operation("x")
def erf(x: Any) -> Any:
    """Error function."""
    return emit("erf", floating(x))


@operation("x")
def erfc(x: Any) -> Any:
    """``1 - erf(x)``."""
    return 1.0 - emit("erf", floating(x))


@operation("x")
def erfinv(x: Any) -> Any:
    """Inverse of the error function; infinite at -1 and 1, NaN outside."""
    return emit("erfinv", floating(x))
