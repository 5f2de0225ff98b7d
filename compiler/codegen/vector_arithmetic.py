"""Arithmetic on the lanes of one vector type: the vocabulary in which the vector math is written."""

from __future__ import annotations

from collections.abc import Sequence

from kgraph.compiler.codegen.emitter import Function, element_of, float_literal, lanes_of, splat, vector_of
from kgraph.record import record


@record
class FloatFormat:
    """Layout of an IEEE 754 binary format.

    Attributes:
        bits: size of the number and of the integer type `integer` that holds its bits.
        mantissa: number of stored significand bits.
        bias: exponent bias; also the largest exponent.
    """

    bits: int
    mantissa: int
    bias: int

    @property
    def integer(self) -> str:
        """The LLVM integer type of the same size."""
        return f"i{self.bits}"

    @property
    def one(self) -> int:
        """The bits of 1.0; `n << mantissa` more are the bits of 2**n."""
        return self.bias << self.mantissa

    @property
    def shifter(self) -> float:
        """1.5 * 2**mantissa: adding it rounds to an integer, which then stands in the low bits of the sum."""
        return 1.5 * 2.0**self.mantissa


FORMATS = {"float": FloatFormat(32, 23, 127), "double": FloatFormat(64, 52, 1023)}


class Lanes:
    """Writes arithmetic on values of one floating-point type (scalar or vector) into a function.

    No fast-math flags are used: NaN, infinities and signed zeros keep their meaning. Only operations that every
    target has as instructions are used, so that nothing becomes a call of the C library.
    """

    def __init__(self, f: Function, ty: str, fma: bool) -> None:
        """`ty` is float, double or a vector of them; `fma` says that the target has fused multiply-add."""
        self.f = f
        self.ty = ty
        self.has_fma = fma
        self.element = element_of(ty)
        self.format = FORMATS[self.element]
        self.int_ty = vector_of(self.format.integer, lanes_of(ty))
        self.bool_ty = vector_of("i1", lanes_of(ty))

    def like(self, element: str) -> Lanes:
        """The same number of lanes of another element type."""
        return Lanes(self.f, vector_of(element, lanes_of(self.ty)), self.has_fma)

    # --- constants --------------------------------------------------------------------------------------------
    def real(self, value: float) -> str:
        """A floating-point constant in every lane."""
        return splat(self.ty, float_literal(value, self.element))

    def integer(self, value: int) -> str:
        """An integer constant in every lane."""
        return splat(self.int_ty, str(value))

    # --- floating point ---------------------------------------------------------------------------------------
    def add(self, a: str, b: str) -> str:
        """a + b"""
        return self.f.binary("fadd", self.ty, a, b)

    def sub(self, a: str, b: str) -> str:
        """a - b"""
        return self.f.binary("fsub", self.ty, a, b)

    def mul(self, a: str, b: str) -> str:
        """a * b"""
        return self.f.binary("fmul", self.ty, a, b)

    def div(self, a: str, b: str) -> str:
        """a / b"""
        return self.f.binary("fdiv", self.ty, a, b)

    def neg(self, a: str) -> str:
        """-a"""
        return self.f.assign(f"fneg {self.ty} {a}")

    def fma(self, a: str, b: str, c: str) -> str:
        """a * b + c, with one rounding where the target has the instruction and with two elsewhere."""
        return self.f.multiply_add(self.ty, a, b, c, fused=self.has_fma)

    def horner(self, x: str, coefficients: Sequence[float]) -> str:
        """The polynomial in `x` with these coefficients, highest power first; at least two."""
        total = self.real(coefficients[0])
        for coefficient in coefficients[1:]:
            total = self.fma(total, x, self.real(coefficient))
        return total

    def abs(self, a: str) -> str:
        """|a|"""
        return self.f.intrinsic("fabs", self.ty, a)

    def copysign(self, a: str, sign: str) -> str:
        """|a| with the sign of `sign`."""
        return self.f.intrinsic("copysign", self.ty, a, sign)

    def at_most(self, x: str, limit: float) -> str:
        """The lesser of x and the limit; NaN stays."""
        return self.select(self.compare("ogt", x, self.real(limit)), self.real(limit), x)

    def at_least(self, x: str, limit: float) -> str:
        """The greater of x and the limit; NaN stays."""
        return self.select(self.compare("olt", x, self.real(limit)), self.real(limit), x)

    def compare(self, condition: str, a: str, b: str) -> str:
        """Lanes where `a condition b`, with an LLVM condition such as "olt"; a mask."""
        return self.f.binary(f"fcmp {condition}", self.ty, a, b)

    def select(self, mask: str, a: str, b: str) -> str:
        """`a` where the mask is set, else `b`."""
        return self.f.select(self.bool_ty, mask, self.ty, a, b)

    def mask(self, op: str, a: str, b: str) -> str:
        """Two masks joined by "and", "or" or "xor"."""
        return self.f.binary(op, self.bool_ty, a, b)

    # --- bits -------------------------------------------------------------------------------------------------
    def bits(self, x: str) -> str:
        """The bits of x as integers."""
        return self.f.cast("bitcast", self.ty, x, self.int_ty)

    def from_bits(self, bits: str) -> str:
        """The numbers with these bits."""
        return self.f.cast("bitcast", self.int_ty, bits, self.ty)

    def int_op(self, op: str, a: str, b: str) -> str:
        """An integer instruction such as "add", "shl" or "and"."""
        return self.f.binary(op, self.int_ty, a, b)

    def round_to_int(self, x: str, factor: float) -> tuple[str, str]:
        """n = x * factor rounded to an integer, |n| < 2**(mantissa - 1): as a number, and as bits with n lowest."""
        shifted = self.fma(x, self.real(factor), self.real(self.format.shifter))
        return self.sub(shifted, self.real(self.format.shifter)), self.bits(shifted)

    def power_of_two(self, low_bits: str, offset: int = 0) -> str:
        """2**(n + offset) for n in the low bits of integers, as `round_to_int` gives them; must be a normal number."""
        form = self.format
        exponent = self.int_op("shl", low_bits, self.integer(form.mantissa))
        return self.from_bits(self.int_op("add", exponent, self.integer(form.one + (offset << form.mantissa))))
