"""Vector arc tangent."""

from __future__ import annotations

import math

from kgraph.compiler.codegen.emitter import Function
from kgraph.compiler.codegen.vector_arithmetic import Lanes

# P of atan(z) = z + z^3 P(z^2), |z| <= tan(pi/8): Chebyshev interpolation in 50 digits; error of atan 2^-28.5 (float)
# and 2^-57.4 (double), relative to z.
_ATAN = {
    "float": (-0.06451918, 0.10743728, -0.14263955, 0.1999954, -0.3333333),
    "double": (
        -0.019176815538986532, 0.03923159984722041, -0.05085447714773134, 0.05858148526183487, -0.06664511402876551,
        0.07692183187666538, -0.09090904577987899, 0.11111111015253014, -0.142857142846665, 0.1999999999999552,
        -0.3333333333333333,
    ),
}  # fmt: skip

# pi/2 in two parts: the number nearest to it, and what is left.
_HALF_PI = {"float": (1.5707963705062866, -4.371139000186241e-08), "double": (math.pi / 2, 6.123233995736766e-17)}


def atan(f: Function, ty: str, x: str, *, fma: bool) -> str:
    """Arc tangent, through atan(a) = pi/4 + atan((a - 1) / (a + 1)) = pi/2 - atan(1 / a): one division."""
    lanes = Lanes(f, ty, fma)
    one, high, low = lanes.real(1.0), *_HALF_PI[lanes.element]
    a = lanes.abs(x)
    middle = lanes.compare("ogt", a, lanes.real(math.tan(math.pi / 8)))
    far = lanes.compare("ogt", a, lanes.real(math.tan(3 * math.pi / 8)))

    def pick(at_far: str, at_middle: str, near: str) -> str:
        return lanes.select(far, at_far, lanes.select(middle, at_middle, near))

    z = lanes.div(pick(lanes.real(-1.0), lanes.sub(a, one), a), pick(a, lanes.add(a, one), one))
    base = pick(lanes.real(high), lanes.real(high / 2), lanes.real(0.0))
    rest = pick(lanes.real(low), lanes.real(low / 2), lanes.real(0.0))
    w = lanes.mul(z, z)
    tail = lanes.fma(lanes.mul(z, w), lanes.horner(w, _ATAN[lanes.element]), rest)
    return lanes.copysign(lanes.add(base, lanes.add(z, tail)), x)
