"""The table of vector math functions, by name.

Every function writes its instructions inline, for scalars and for vectors of any width, of float or double. All
operands and the result have the one type `ty`. There are no branches, but for arguments of sin and cos beyond 2^20,
and no calls of the C library. NaN, infinities and signed zeros are treated as by the C library.

Error bounds, tested on samples of all exponents: 2 ulp; 4 ulp for tanh, sigmoid, erf and pow; 2.5 ulp for sin and
cos of doubles. Denormal operands and results are right unless the caller has set flush-to-zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from kgraph.compiler.codegen.emitter import Function
from kgraph.compiler.codegen.vector_arithmetic import Lanes
from kgraph.compiler.codegen.vector_math_atan import atan
from kgraph.compiler.codegen.vector_math_erf import erf
from kgraph.compiler.codegen.vector_math_exp import exp, expm1, sigmoid, tanh
from kgraph.compiler.codegen.vector_math_log import log, log1p
from kgraph.compiler.codegen.vector_math_pow import pow
from kgraph.compiler.codegen.vector_math_trig import cos, sin
from kgraph.compiler.codegen.vector_philox import philox


def rsqrt(f: Function, ty: str, x: str, *, fma: bool) -> str:
    """1 / sqrt(x), each operation correctly rounded."""
    lanes = Lanes(f, ty, fma)
    return lanes.div(lanes.real(1.0), f.intrinsic("sqrt", ty, x))


# From name to (f, ty, operands ..., fma=...) -> register of the result.
MATH: Mapping[str, Callable[..., str]] = MappingProxyType(
    {
        "exp": exp, "expm1": expm1, "log": log, "log1p": log1p, "pow": pow, "rsqrt": rsqrt,
        "tanh": tanh, "sigmoid": sigmoid, "erf": erf, "sin": sin, "cos": cos, "atan": atan,
        "philox": philox,
    }
)  # fmt: skip


def emit(name: str, f: Function, ty: str, *args: str, fma: bool) -> str:
    """Write the function `name` of `MATH` for operands of type `ty` into `f`; returns the result's register.

    `fma` says that the target has fused multiply-add instructions (all but SSE2); without them products and sums are
    rounded one by one, within the same error bounds. "philox" takes i32 operands: counter words and key.
    """
    return MATH[name](f, ty, *args, fma=fma)
