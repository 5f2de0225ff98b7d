"""Vector error function."""

from __future__ import annotations

from kgraph.compiler.codegen.emitter import Function
from kgraph.compiler.codegen.vector_arithmetic import Lanes
from kgraph.compiler.codegen.vector_math_exp import exp_lanes

# P of erf(a) = a + a P(a^2), 0 <= a <= 1, minimax for the relative error: 2^-29.4 (float), 2^-56.0 (double). Remez
# exchange algorithm in 240-bit arithmetic, coefficients rounded one by one from the lowest power on.
_NEAR = {
    "float": (7.806903e-05, -7.997853e-04, 0.005187162, -0.026853347, 0.11283579, -0.37612626, 0.12837917),
    "double": (
        -7.610002865622264e-10, 1.3617768068351574e-08, -1.6184212264750409e-07, 1.6444175849933483e-06,
        -1.4924467385873663e-05, 0.00012055280571357647, -0.0008548325486958811, 0.005223977596765683,
        -0.026866170641961472, 0.11283791670936957, -0.37612638903183343, 0.12837916709551256,
    ),
}  # fmt: skip

# G of erf(a) = 1 - exp(G(a)), 1 <= a <= 4 (float) or 6 (double): log(1 - erf(a)), minimax for the absolute error of
# erf: 2^-29.8 and 2^-57.1; found in the same way.
_FAR = {
    "float": (1.8557772e-04, -0.0029396284, 0.02180536, -0.1030374, -0.6382257, -1.12704, -3.5372147e-04),
    "double": (
        -4.864685973136876e-12, 2.0202033745546128e-10, -3.889799190770883e-09, 4.59312237023201e-08,
        -3.695529563123515e-07, 2.114743953319367e-06, -8.578597299667522e-06, 2.2532423085088282e-05,
        -1.952203330778334e-05, -0.00013655710120629968, 0.0007730467267140905, -0.0019189490480252139,
        0.0004135388891518484, 0.018988040989799018, -0.10270228955506779, -0.636644055083242,
        -1.1283739917368028, -5.132366240498912e-07,
    ),
}  # fmt: skip

# From here on erf rounds to 1.
_ONE = {"float": 4.0, "double": 6.0}


def erf(f: Function, ty: str, x: str, *, fma: bool) -> str:
    """Error function 2/sqrt(pi) * integral of exp(-t^2) from 0 to x; an odd polynomial for |x| < 1, else 1 - exp."""
    lanes = Lanes(f, ty, fma)
    a = lanes.at_most(lanes.abs(x), _ONE[lanes.element])
    near = lanes.fma(lanes.horner(lanes.mul(x, x), _NEAR[lanes.element]), a, a)
    far = lanes.sub(lanes.real(1.0), exp_lanes(lanes, lanes.horner(a, _FAR[lanes.element]), never_positive=True))
    small = lanes.compare("olt", a, lanes.real(1.0))
    return lanes.copysign(lanes.select(small, near, far), x)
