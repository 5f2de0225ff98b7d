"""Vector pow."""

from __future__ import annotations

import math

from kgraph.compiler.codegen.emitter import Function
from kgraph.compiler.codegen.vector_arithmetic import Lanes
from kgraph.compiler.codegen.vector_math_exp import exp_lanes
from kgraph.compiler.codegen.vector_math_log import LN2, at_poles, log_lanes, normalized

# Q of atanh(s) = s (1 + z/3 + z^2 Q(z)), z = s^2, |s| <= 0.1716; minimax by the Remez exchange algorithm in 240-bit
# arithmetic, coefficients rounded one by one from the lowest power on. Error of z^2 Q: 2^-73.5.
_TAIL = (
    0.059908997165470726, 0.05837887934176734, 0.06668132349345637, 0.07692279212259215,
    0.09090909422016166, 0.11111111108894794, 0.1428571428572192, 0.1999999999999999,
)  # fmt: skip

_THIRD = (1 / 3, float.fromhex("0x1.5555555555555p-56"))


def _two_product(lanes: Lanes, a: str, b: str) -> tuple[str, str]:
    """a * b as rounded product and exact error (Dekker's splitting where there is no fused multiply-add)."""
    product = lanes.mul(a, b)
    if lanes.has_fma:
        return product, lanes.fma(a, b, lanes.neg(product))
    (a_high, a_low), (b_high, b_low) = _halves(lanes, a), _halves(lanes, b)
    error = lanes.sub(lanes.mul(a_high, b_high), product)
    for x, y in ((a_high, b_low), (a_low, b_high), (a_low, b_low)):
        error = lanes.add(error, lanes.mul(x, y))
    return product, error


def _halves(lanes: Lanes, a: str) -> tuple[str, str]:
    """a as a sum of two numbers of at most 26 bits each (Veltkamp), |a| < 2^995."""
    big = lanes.mul(a, lanes.real(2.0**27 + 1))
    high = lanes.sub(big, lanes.sub(big, a))
    return high, lanes.sub(a, high)


def _sum(lanes: Lanes, large: str, small: str) -> tuple[str, str]:
    """large + small as rounded sum and exact error (Dekker); |large| >= |small| or large = 0."""
    high = lanes.add(large, small)
    return high, lanes.add(lanes.sub(large, high), small)


def _long_log(lanes: Lanes, x: str) -> tuple[str, str]:
    """log(x), x >= 0, as a sum of two doubles, with about 64 correct bits.

    Like log, but s = f / (2 + f), s^2/3 and all sums are carried with their errors; only the terms from s^5/5 on,
    which are smaller by 2^-12, have double precision.
    """
    exponent, m = normalized(lanes, x)
    f = lanes.sub(m, lanes.real(1.0))
    d = lanes.add(f, lanes.real(2.0))
    d_low = lanes.sub(f, lanes.sub(d, lanes.real(2.0)))
    s = lanes.div(f, d)
    product, error = _two_product(lanes, s, d)
    rest = lanes.sub(lanes.sub(lanes.sub(f, product), error), lanes.mul(s, d_low))
    two_s, two_s_low = lanes.add(s, s), lanes.div(lanes.add(rest, rest), d)
    z, z_low = _two_product(lanes, s, s)
    z_low = lanes.fma(two_s_low, s, z_low)
    t, t_low = _two_product(lanes, z, lanes.real(_THIRD[0]))
    t_low = lanes.fma(z, lanes.real(_THIRD[1]), lanes.fma(z_low, lanes.real(_THIRD[0]), t_low))
    t_low = lanes.fma(lanes.mul(z, z), lanes.horner(z, _TAIL), t_low)
    u, u_low = _two_product(lanes, two_s, t)
    u_low = lanes.fma(two_s, t_low, lanes.fma(two_s_low, t, lanes.add(u_low, two_s_low)))
    first, first_low = _sum(lanes, two_s, u)
    second, second_low = _sum(lanes, lanes.mul(exponent, lanes.real(LN2["double"][0])), first)
    low = lanes.fma(exponent, lanes.real(LN2["double"][1]), lanes.add(first_low, u_low))
    total, low = _sum(lanes, second, lanes.add(second_low, low))
    return at_poles(lanes, x, total), low


def _magnitude(lanes: Lanes, x: str, y: str, long: bool) -> str:
    """exp(y log x) for doubles x >= 0; `long` carries the product with about 64 bits."""
    if not long:
        return exp_lanes(lanes, lanes.mul(y, log_lanes(lanes, x)))
    high, low = _long_log(lanes, x)
    product, error = _two_product(lanes, y, high)
    error = lanes.fma(y, low, error)
    # Beyond the range of exp the error is infinite or NaN, and the product alone decides.
    inside = lanes.compare("olt", lanes.abs(product), lanes.real(1000.0))
    return exp_lanes(lanes, product, lanes.select(inside, error, lanes.real(0.0)))


def _is_integer(lanes: Lanes, magnitude: str) -> str:
    """Mask of lanes with an integer, for numbers >= 0; from 2^52 on all are integers."""
    big = lanes.real(2.0**52)
    capped = lanes.at_most(magnitude, 2.0**52)
    return lanes.compare("oeq", lanes.sub(lanes.add(capped, big), big), capped)


def pow(f: Function, ty: str, x: str, y: str, *, fma: bool) -> str:
    """x to the power y, with the special cases of C (IEEE 754-2008 `pow`): x^0 = 1^y = 1 even for NaN.

    Floats are computed as doubles; doubles with a logarithm of about 64 bits.
    """
    outer = Lanes(f, ty, fma)
    lanes = outer.like("double")
    single = outer.element == "float"
    if single:
        x, y = f.cast("fpext", ty, x, lanes.ty), f.cast("fpext", ty, y, lanes.ty)
    # A power beyond 2^65 gives 0, 1 or infinity anyway; the bound keeps infinity * log(1) from being NaN.
    bounded = lanes.at_least(lanes.at_most(y, 2.0**65), -(2.0**65))
    result = _magnitude(lanes, lanes.abs(x), bounded, long=not single)
    size = lanes.abs(bounded)
    whole = _is_integer(lanes, size)
    even = _is_integer(lanes, lanes.mul(size, lanes.real(0.5)))
    signed = lanes.select(even, result, lanes.copysign(result, x))
    result = lanes.select(whole, signed, result)
    negative = lanes.mask(
        "and", lanes.compare("olt", x, lanes.real(0.0)), lanes.compare("ogt", x, lanes.real(-math.inf))
    )
    result = lanes.select(negative, lanes.select(whole, result, lanes.real(math.nan)), result)
    trivial = lanes.mask("or", lanes.compare("oeq", y, lanes.real(0.0)), lanes.compare("oeq", x, lanes.real(1.0)))
    result = lanes.select(trivial, lanes.real(1.0), result)
    return f.cast("fptrunc", lanes.ty, result, ty) if single else result
