"""Vector exp, expm1, sigmoid and tanh."""

from __future__ import annotations

import math

from kgraph.compiler.codegen.emitter import Function
from kgraph.compiler.codegen.vector_arithmetic import Lanes
from kgraph.record import record


@record
class _ExpTables:
    """Constants of one format.

    Attributes:
        exp: Q of exp(r) = 1 + r + r^2 Q(r), |r| <= ln 2, minimax for the relative error of exp.
        expm1: Q of expm1(r) = r + r^2 Q(r), |r| <= ln(2)/2, minimax for the relative error of expm1.
        ln2: ln 2 as a sum; the first part is short, so that its product with the integers used here is exact.
        overflow, underflow: a little beyond the arguments where exp overflows, and where it rounds to zero.
        minus_one: below this expm1 rounds to -1.
        tanh_one: above this tanh rounds to 1.
    """

    exp: tuple[float, ...]
    expm1: tuple[float, ...]
    ln2: tuple[float, float]
    overflow: float
    underflow: float
    minus_one: float
    tanh_one: float


# The polynomials were found by the Remez exchange algorithm in 240-bit arithmetic; coefficients were rounded one by
# one from the lowest power on, and the rest fitted again each time. Relative errors of approximation: 2^-26.0 and
# 2^-26.1 (float, exp and expm1), 2^-55.5 and 2^-61.6 (double).
_TABLES = {
    "float": _ExpTables(
        exp=(1.9645212e-04, 0.0014106304, 0.008335913, 0.04166117, 0.16666616, 0.50000036),
        expm1=(0.0013836691, 0.008367107, 0.041667752, 0.16666539, 0.49999997),
        ln2=(float.fromhex("0x1.62e4p-1"), float.fromhex("0x1.7f7d1cf79abcap-20")),
        overflow=89.0,
        underflow=-104.0,
        minus_one=-18.0,
        tanh_one=10.0,
    ),
    "double": _ExpTables(
        exp=(
            1.6042652484526867e-10, 2.106026366720757e-09, 2.5053448475348296e-08, 2.7556177263321164e-07,
            2.7557308956513926e-06, 2.4801590777808596e-05, 0.0001984126987497345, 0.0013888888883612281,
            0.00833333333328246, 0.04166666666670208, 0.16666666666666935, 0.4999999999999993,
        ),
        expm1=(
            2.089142482382309e-09, 2.5108659207003636e-08, 2.7557336018402483e-07, 2.7557245229774997e-06,
            2.4801587273558934e-05, 0.0001984126988527182, 0.0013888888888895132, 0.008333333333321816,
            0.041666666666666685, 0.16666666666666677, 0.5,
        ),
        ln2=(float.fromhex("0x1.62e42fefa38p-1"), float.fromhex("0x1.ef35793c7673p-45")),
        overflow=710.0,
        underflow=-746.0,
        minus_one=-38.0,
        tanh_one=20.0,
    ),
}  # fmt: skip


def exp_lanes(lanes: Lanes, x: str, low: str | None = None, never_positive: bool = False) -> str:
    """exp(x + low); `low` is a correction of at most a few ulp of x.

    Cody and Waite's reduction x = 2 n ln 2 + r with |r| <= ln 2, then exp(x) = exp(r) * 2^n * 2^n. The two equal
    factors stay normal numbers where the result is subnormal or 2^128 <= 2^n 2^n, so that the last multiplication is
    the only rounding there. `never_positive` leaves out the check for overflow.
    """
    tables = _TABLES[lanes.element]
    x = x if never_positive else lanes.at_most(x, tables.overflow)
    x = lanes.at_least(x, tables.underflow)
    n, low_bits = lanes.round_to_int(x, 0.5 / math.log(2))
    r = lanes.fma(n, lanes.real(-2 * tables.ln2[0]), x)
    r = lanes.fma(n, lanes.real(-2 * tables.ln2[1]), r)
    if low is not None:
        r = lanes.add(r, low)
    p = lanes.horner(r, (*tables.exp, 1.0, 1.0))
    scale = lanes.power_of_two(low_bits)
    return lanes.mul(lanes.mul(p, scale), scale)


def exp(f: Function, ty: str, x: str, *, fma: bool) -> str:
    """e to the power x."""
    return exp_lanes(Lanes(f, ty, fma), x)


def _expm1_reduced(lanes: Lanes, x: str) -> tuple[str, str]:
    """expm1(r) for x = n ln 2 + r with |r| <= ln(2)/2, and integers with n in the low bits.

    Then expm1(x) = 2^n expm1(r) + (2^n - 1), where nothing cancels.
    """
    tables = _TABLES[lanes.element]
    n, low_bits = lanes.round_to_int(x, 1 / math.log(2))
    r = lanes.fma(n, lanes.real(-tables.ln2[0]), x)
    r = lanes.fma(n, lanes.real(-tables.ln2[1]), r)
    return lanes.fma(lanes.mul(r, r), lanes.horner(r, tables.expm1), r), low_bits


def expm1(f: Function, ty: str, x: str, *, fma: bool) -> str:
    """exp(x) - 1 without cancellation near zero.

    Half of the result is computed and doubled, because 2^n alone overflows for the largest results. Tiny x is its
    own result, which also keeps the sign of zero.
    """
    lanes = Lanes(f, ty, fma)
    tables = _TABLES[lanes.element]
    clamped = lanes.at_least(lanes.at_most(x, tables.overflow), tables.minus_one)
    q, low_bits = _expm1_reduced(lanes, clamped)
    half = lanes.power_of_two(low_bits, -1)
    y = lanes.fma(half, q, lanes.sub(half, lanes.real(0.5)))
    tiny = lanes.compare("olt", lanes.abs(x), lanes.real(2.0 ** -(lanes.format.mantissa + 2)))
    return lanes.select(tiny, x, lanes.add(y, y))


def sigmoid(f: Function, ty: str, x: str, *, fma: bool) -> str:
    """1 / (1 + exp(-x)), from e = exp(-|x|) <= 1: e / (1 + e) for negative x and 1 / (1 + e) for others."""
    lanes = Lanes(f, ty, fma)
    e = exp_lanes(lanes, lanes.neg(lanes.abs(x)), never_positive=True)
    numerator = lanes.select(lanes.compare("olt", x, lanes.real(0.0)), e, lanes.real(1.0))
    return lanes.div(numerator, lanes.add(e, lanes.real(1.0)))


def tanh(f: Function, ty: str, x: str, *, fma: bool) -> str:
    """Hyperbolic tangent: with t = expm1(2|x|) it is t / (t + 2), which loses nothing near zero."""
    lanes = Lanes(f, ty, fma)
    a = lanes.at_most(lanes.abs(x), _TABLES[lanes.element].tanh_one)
    q, low_bits = _expm1_reduced(lanes, lanes.add(a, a))
    scale = lanes.power_of_two(low_bits)
    t = lanes.fma(scale, q, lanes.sub(scale, lanes.real(1.0)))
    return lanes.copysign(lanes.div(t, lanes.add(t, lanes.real(2.0))), x)
