"""Arithmetic and functions of real numbers, element by element."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from kgraph.ir import scalar
from kgraph.ir.opdef import Array, GradRule, NoGrad, OpDef, Scalar, Trait, current_emitter, primitive
from kgraph.ir.operators import binary, match
from kgraph.ir.scalar import Expr, call, const
from kgraph.primitives.sampling import SPECIALS, Sampler, elementwise_errors, elementwise_samples
from kgraph.primitives.signatures import FLOATS, NUMBERS, Kinds, alike

BORDERS = (np.nan, np.inf, -np.inf, 0.0, -0.0)


def elementwise(
    operands: int,
    kinds: Kinds,
    *,
    grad: GradRule | NoGrad,
    lower: Callable[..., Expr] | None = None,
    samples: Sampler | None = None,
    traits: Trait = Trait.NONE,
    source: str = "",
) -> Callable[[Callable[..., Any]], OpDef]:
    """Make an elementwise op whose operands and result have one type; lowered to the scalar function of its name."""

    def make(reference: Callable[..., Any]) -> OpDef:
        name = reference.__name__.rstrip("_")
        return primitive(
            name=name,
            infer=alike(name, operands, kinds),
            grad=grad,
            lower=Scalar(lower or partial(call, name)),
            samples=samples or elementwise_samples(operands, kinds),
            errors=elementwise_errors(operands, kinds),
            traits=Trait.ELEMENTWISE | traits,
            source=source,
        )(reference)

    return make


def reals(low: float, high: float, special: tuple[float, ...] = SPECIALS) -> Sampler:
    """Samples of one float operand from [low, high)."""
    return elementwise_samples(1, FLOATS, low, high, special)


def choose(condition: Any, a: Any, b: Any) -> Any:
    """`a` where `condition`, else `b`; a number takes type and shape of the tensor beside it."""
    return current_emitter().emit("select", condition, *match(a, b))


def _function(name: str, *operands: Any) -> Any:
    return current_emitter().emit(name, *operands)


@elementwise(2, NUMBERS, grad=lambda dy, y, a, b: (dy, dy), traits=Trait.COMMUTATIVE)
def add(a: Array, b: Array) -> Any:
    """Sum of two tensors of one type; integers wrap round."""
    return np.add(a, b)


@elementwise(2, NUMBERS, grad=lambda dy, y, a, b: (dy, -dy))
def sub(a: Array, b: Array) -> Any:
    """Difference of two tensors of one type; integers wrap round."""
    return np.subtract(a, b)


@elementwise(2, NUMBERS, grad=lambda dy, y, a, b: (dy * b, dy * a), traits=Trait.COMMUTATIVE)
def mul(a: Array, b: Array) -> Any:
    """Product of two tensors of one type; integers wrap round."""
    return np.multiply(a, b)


@elementwise(
    2, FLOATS, grad=lambda dy, y, a, b: (dy / b, -(dy * y / b)), samples=elementwise_samples(2, FLOATS, 0.5, 3)
)
def div(a: Array, b: Array) -> Any:
    """Quotient of two float tensors; division by zero gives infinity or NaN."""
    return np.divide(a, b)


def _pow_grad(dy: Any, y: Any, a: Any, b: Any) -> tuple[Any, Any]:
    # Exponent 1 in place of -1 where b is 0: the factor b makes the product 0, not 0 * inf, at a = 0.
    lowered = choose(binary("eq", b, 0.0), 1.0, b - 1.0)
    positive = a > 0.0
    logarithm = choose(positive, _function("log", choose(positive, a, 1.0)), 0.0)
    return dy * b * a**lowered, dy * y * logarithm


@elementwise(2, FLOATS, grad=_pow_grad, samples=elementwise_samples(2, FLOATS, 0.2, 3),
             source="d a^b = b a^(b-1) da + a^b log a db")  # fmt: skip
def pow_(a: Array, b: Array) -> Any:
    """Power of two float tensors, as in C; the gradient for the exponent is 0 where the base is not positive."""
    return np.power(a, b)


@elementwise(2, NUMBERS, grad=lambda dy, y, a, b: (choose(a <= b, dy, 0.0), choose(a <= b, 0.0, dy)),
             lower=partial(call, "min"))  # fmt: skip
def minimum(a: Array, b: Array) -> Any:
    """Smaller of two tensors; NaN if either is NaN. The gradient of equal operands goes to the first."""
    return np.minimum(a, b)


@elementwise(2, NUMBERS, grad=lambda dy, y, a, b: (choose(a >= b, dy, 0.0), choose(a >= b, 0.0, dy)),
             lower=partial(call, "max"))  # fmt: skip
def maximum(a: Array, b: Array) -> Any:
    """Larger of two tensors; NaN if either is NaN. The gradient of equal operands goes to the first."""
    return np.maximum(a, b)


@elementwise(1, NUMBERS, grad=lambda dy, y, x: (-dy,))
def neg(x: Array) -> Any:
    """Negative; unsigned integers wrap round."""
    return np.negative(x)


@elementwise(1, NUMBERS, grad=lambda dy, y, x: (dy * _function("sign", x),))
def abs_(x: Array) -> Any:
    """Absolute value; the gradient at 0 is 0."""
    return np.abs(x)


@elementwise(1, NUMBERS, grad=lambda dy, y, x: (None,))
def sign(x: Array) -> Any:
    """-1, 0 or 1; NaN for NaN. The gradient is 0."""
    return np.sign(x)


@elementwise(1, FLOATS, grad=lambda dy, y, x: (None,))
def floor(x: Array) -> Any:
    """Largest integer not above x; the gradient is 0."""
    return np.floor(x)


@elementwise(1, FLOATS, grad=lambda dy, y, x: (None,))
def ceil(x: Array) -> Any:
    """Smallest integer not below x; the gradient is 0."""
    return np.ceil(x)


@elementwise(1, FLOATS, grad=lambda dy, y, x: (None,), samples=reals(-9, 9, (*BORDERS, 0.5, 1.5, 2.5, -0.5)))
def round_(x: Array) -> Any:
    """Nearest integer, halves to the even one; the gradient is 0."""
    return np.round(x)


@elementwise(1, FLOATS, grad=lambda dy, y, x: (dy * 0.5 / y,), samples=reals(0.1, 9))
def sqrt(x: Array) -> Any:
    """Square root; NaN below 0. The gradient at 0 is infinite."""
    return np.sqrt(x)


@elementwise(1, FLOATS, grad=lambda dy, y, x: (dy * (-0.5 * (y * y * y)),), samples=reals(0.1, 9))
def rsqrt(x: Array) -> Any:
    """1 / sqrt(x)."""
    return x.dtype.type(1) / np.sqrt(x)


@elementwise(1, FLOATS, grad=lambda dy, y, x: (dy * y,), samples=reals(-9, 9, (*SPECIALS, 89.0, -110.0)))
def exp(x: Array) -> Any:
    """e to the power x."""
    return np.exp(x)


@elementwise(1, FLOATS, grad=lambda dy, y, x: (dy * (y + 1.0),), samples=reals(-2, 2))
def expm1(x: Array) -> Any:
    """exp(x) - 1, precise for small x."""
    return np.expm1(x)


@elementwise(1, FLOATS, grad=lambda dy, y, x: (dy / x,), samples=reals(0.01, 9))
def log(x: Array) -> Any:
    """Natural logarithm; -inf at 0, NaN below."""
    return np.log(x)


@elementwise(1, FLOATS, grad=lambda dy, y, x: (dy / (x + 1.0),), samples=reals(-0.9, 3))
def log1p(x: Array) -> Any:
    """log(1 + x), precise for small x."""
    return np.log1p(x)


@elementwise(1, FLOATS, grad=lambda dy, y, x: (dy * (1.0 - y * y),), samples=reals(-4, 4), source="1 - tanh(x)^2")
def tanh(x: Array) -> Any:
    """Hyperbolic tangent; results lie in [-1, 1]."""
    return np.tanh(x)


@elementwise(1, FLOATS, grad=lambda dy, y, x: (dy * (y * (1.0 - y)),), samples=reals(-8, 8, (*SPECIALS, 1e4, -1e4)))
def sigmoid(x: Array) -> Any:
    """1 / (1 + exp(-x)), without overflow; results lie in [0, 1]."""
    return scalar.sigmoid(x)


@elementwise(
    1, FLOATS, samples=reals(-3, 3), source="d erf(x) = 2 / sqrt(pi) exp(-x^2)",
    grad=lambda dy, y, x: (dy * (_function("exp", -(x * x)) * (2 / math.sqrt(math.pi))),),
)  # fmt: skip
def erf(x: Array) -> Any:
    """Error function."""
    return scalar.erf(x)


@elementwise(1, FLOATS, grad=lambda dy, y, x: (dy * _function("cos", x),), samples=reals(-9, 9, BORDERS))
def sin(x: Array) -> Any:
    """Sine of an angle in radians; NaN for infinities."""
    return np.sin(x)


@elementwise(1, FLOATS, grad=lambda dy, y, x: (-(dy * _function("sin", x)),), samples=reals(-9, 9, BORDERS))
def cos(x: Array) -> Any:
    """Cosine of an angle in radians; NaN for infinities."""
    return np.cos(x)


def _relu_expr(x: Expr) -> Expr:
    return call("max", x, const(0, x.dtype))


@elementwise(1, NUMBERS, grad=lambda dy, y, x: (choose(y > 0.0, dy, 0.0),), lower=_relu_expr)
def relu(x: Array) -> Any:
    """max(x, 0); NaN stays NaN. The gradient at 0 is 0."""
    return np.maximum(x, x.dtype.type(0))


def _softplus_expr(x: Expr) -> Expr:
    return call("add", _relu_expr(x), call("log1p", call("exp", call("neg", call("abs", x)))))


@elementwise(1, FLOATS, grad=lambda dy, y, x: (dy * _function("sigmoid", x),), lower=_softplus_expr,
             samples=reals(-8, 8, (*SPECIALS, 1e4, -1e4)), source="max(x, 0) + log1p(exp(-|x|))")  # fmt: skip
def softplus(x: Array) -> Any:
    """log(1 + exp(x)), without overflow."""
    return np.maximum(x, x.dtype.type(0)) + np.log1p(np.exp(-np.abs(x)))


OPS = (
    add, sub, mul, div, pow_, minimum, maximum, neg, abs_, sign, floor, ceil, round_, sqrt, rsqrt, exp, expm1, log,
    log1p, tanh, sigmoid, erf, sin, cos, relu, softplus,
)  # fmt: skip
