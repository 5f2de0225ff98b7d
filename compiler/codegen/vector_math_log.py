"""Vector log and log1p."""

from __future__ import annotations

import math

from kgraph.compiler.codegen.emitter import Function
from kgraph.compiler.codegen.vector_arithmetic import Lanes

# L of 2 atanh(s) = 2 s + s z L(z), z = s^2, for |s| <= 0.1716 (log of sqrt(1/2) to sqrt(2)); minimax by the Remez
# exchange algorithm in 240-bit arithmetic, coefficients rounded one by one from the lowest power on. Errors of z L:
# 2^-29.2 (float) and 2^-58.3 (double).
_LOG = {
    "float": (0.2987093, 0.3997758, 0.66666776),
    "double": (
        0.1477444390211709, 0.1531636913474001, 0.1818346524688652, 0.22222200696629368,
        0.2857142871870127, 0.39999999999541996, 0.666666666666671,
    ),
}  # fmt: skip

# ln 2 as a sum whose first part has 15 (float) or 41 (double) bits: its product with an exponent is exact.
LN2 = {
    "float": (float.fromhex("0x1.62e4p-1"), float.fromhex("0x1.7f7d1cf79abcap-20")),
    "double": (float.fromhex("0x1.62e42fefa3p-1"), float.fromhex("0x1.3de6af278ece6p-42")),
}


# The bits of sqrt(1/2), rounded to nearest.
_ROOT_BITS = {"float": 0x3F3504F3, "double": 0x3FE6A09E667F3BCD}


def _split(lanes: Lanes, x: str) -> tuple[str, str]:
    """Exponent e (as a number) and significand m in [sqrt(1/2), sqrt(2)) of a positive normal x = m 2^e."""
    form = lanes.format
    root = _ROOT_BITS[lanes.element]
    above = lanes.int_op("add", lanes.bits(x), lanes.integer(form.one - root))
    # Or-ing a small integer into the bits of 2^mantissa adds it: cheaper than a 64-bit conversion on most targets.
    biased = lanes.int_op("lshr", above, lanes.integer(form.mantissa))
    integer = lanes.int_op("or", biased, lanes.integer((form.bias + form.mantissa) << form.mantissa))
    exponent = lanes.sub(lanes.from_bits(integer), lanes.real(2.0**form.mantissa + form.bias))
    fraction = lanes.int_op("and", above, lanes.integer((1 << form.mantissa) - 1))
    return exponent, lanes.from_bits(lanes.int_op("add", fraction, lanes.integer(root)))


def normalized(lanes: Lanes, x: str) -> tuple[str, str]:
    """`_split` for any positive finite x: subnormal numbers are scaled first."""
    form = lanes.format
    small = lanes.compare("olt", x, lanes.real(2.0 ** (1 - form.bias)))
    scaled = lanes.mul(x, lanes.real(2.0**form.mantissa))
    exponent, m = _split(lanes, lanes.select(small, scaled, x))
    return lanes.sub(exponent, lanes.select(small, lanes.real(form.mantissa), lanes.real(0.0))), m


def _log_near_one(lanes: Lanes, f: str, exponent: str) -> str:
    """log((1 + f) 2^exponent) for 1 + f in [sqrt(1/2), sqrt(2)).

    With s = f / (2 + f) and h = f^2/2, log(1 + f) = 2 atanh(s) = f - (h - s (h + z L(z))): f is exact and leads.
    """
    ln2 = LN2[lanes.element]
    s = lanes.div(f, lanes.add(f, lanes.real(2.0)))
    z = lanes.mul(s, s)
    h = lanes.mul(lanes.mul(f, lanes.real(0.5)), f)
    tail = lanes.fma(z, lanes.horner(z, _LOG[lanes.element]), h)
    tail = lanes.fma(s, tail, lanes.mul(exponent, lanes.real(ln2[1])))
    small = lanes.sub(f, lanes.sub(h, tail))
    return lanes.fma(exponent, lanes.real(ln2[0]), small)


def at_poles(lanes: Lanes, x: str, y: str) -> str:
    """y = log(x) corrected where x is no positive finite number."""
    y = lanes.select(lanes.compare("olt", x, lanes.real(math.inf)), y, x)
    below = lanes.select(lanes.compare("olt", x, lanes.real(0.0)), lanes.real(math.nan), lanes.real(-math.inf))
    return lanes.select(lanes.compare("ole", x, lanes.real(0.0)), below, y)


def log_lanes(lanes: Lanes, x: str) -> str:
    """Natural logarithm of x; -inf at zero, NaN below."""
    exponent, m = normalized(lanes, x)
    return at_poles(lanes, x, _log_near_one(lanes, lanes.sub(m, lanes.real(1.0)), exponent))


def log(f: Function, ty: str, x: str, *, fma: bool) -> str:
    """Natural logarithm of x; -inf at zero, NaN below."""
    return log_lanes(Lanes(f, ty, fma), x)


def log1p(f: Function, ty: str, x: str, *, fma: bool) -> str:
    """log(1 + x) without loss near zero.

    u = 1 + x is split as in log, and what its rounding lost, x - (u - 1), is added to the significand. Zero is its
    own result, which keeps its sign.
    """
    lanes = Lanes(f, ty, fma)
    form = lanes.format
    one = lanes.real(1.0)
    u = lanes.add(x, one)
    exponent, m = _split(lanes, u)
    lost = lanes.sub(x, lanes.sub(u, one))
    # m / u is a power of two: its bits are the difference of exponents. Where it would be no normal number, u is so
    # large that nothing was lost.
    ratio = lanes.int_op("add", lanes.int_op("sub", lanes.bits(m), lanes.bits(u)), lanes.integer(form.one))
    ratio = f.intrinsic("smax", lanes.int_ty, ratio, lanes.integer(0))
    fraction = lanes.fma(lost, lanes.from_bits(ratio), lanes.sub(m, one))
    y = at_poles(lanes, u, _log_near_one(lanes, fraction, exponent))
    return lanes.select(lanes.compare("oeq", x, lanes.real(0.0)), x, y)
