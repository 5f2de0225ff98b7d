"""LLVM instructions of the scalar functions and conversions, for one lane or a vector of lanes."""

from __future__ import annotations

from kgraph.compiler.codegen import vector_math
from kgraph.compiler.codegen.emitter import Function, element_of, float_literal, lanes_of, splat, vector_of
from kgraph.compiler.codegen.target import Target
from kgraph.ir.dtypes import DType, bool_

_COMPARE = {"eq": "eq", "ne": "ne", "lt": "lt", "le": "le", "gt": "gt", "ge": "ge"}
_FLOAT_OP = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
_INTEGER_OP = {"add": "add", "sub": "sub", "mul": "mul"}
_BITS = {"bitand": "and", "bitor": "or", "bitxor": "xor"}
_ROUND = {"floor": "floor", "ceil": "ceil", "round": "roundeven"}

# Magnitude from which every float is a whole number.
_WHOLE = {"float": 2.0**23, "double": 2.0**52}


def register_type(dtype: DType, lanes: int) -> str:
    """LLVM type of `lanes` values in a register; a bool is an i1 there, and an i8 in memory."""
    return vector_of("i1" if dtype is bool_ else dtype.llvm, lanes)


def literal(value: float | int | bool, dtype: DType) -> str:
    """LLVM literal of one element."""
    if dtype is bool_:
        return "true" if value else "false"
    if dtype.is_float:
        return float_literal(float(value), dtype.llvm)
    bits = int(value) & ((1 << dtype.bits) - 1)
    return str(bits - (1 << dtype.bits) if bits >> (dtype.bits - 1) else bits)


class ScalarFunctions:
    """Writes scalar functions into one LLVM function."""

    def __init__(self, f: Function, target: Target) -> None:
        self.f = f
        self.target = target
        self.fma = target.has_fma
        # Lets LLVM join a product and a sum into one rounding; nothing else.
        self._flags = " contract" if self.fma else ""

    def apply(self, function: str, dtype: DType, ty: str, args: list[str], steady: list[bool]) -> str:
        """The value of `function` on operands of element type `dtype` and register type `ty`.

        For select, `dtype` and `ty` are those of the second operand. `steady` marks operands that are never NaN.
        """
        if function in _COMPARE or function in ("and", "or", "not", "isfinite"):
            return self._logic(function, dtype, ty, args)
        if function in ("min", "max"):
            return self._extreme(function, dtype, ty, args, steady)
        if function == "select":
            return self.f.select(vector_of("i1", lanes_of(ty)), args[0], ty, args[1], args[2])
        if function in vector_math.MATH:
            return vector_math.emit(function, self.f, ty, *args, fma=self.fma)
        return self._float(function, ty, args) if dtype.is_float else self._integer(function, dtype, ty, args)

    def combine(self, how: str, dtype: DType, ty: str, a: str, b: str) -> str:
        """One step of an accumulation; max and min keep NaN."""
        return self.apply(how, dtype, ty, [a, b], [False, False])

    def identity(self, how: str, dtype: DType) -> str:
        """The literal that changes nothing when combined."""
        if how in ("or", "and"):
            return literal(how == "and", dtype)
        if how in ("add", "mul"):
            # -0.0 and not 0.0, for -0.0 + 0.0 is 0.0.
            return literal(1 if how == "mul" else -0.0 if dtype.is_float else 0, dtype)
        if dtype.is_float:
            return literal(float("-inf") if how == "max" else float("inf"), dtype)
        if dtype is bool_:
            return literal(how == "min", dtype)
        lowest, highest = (0, 2**dtype.bits - 1) if dtype.kind == "unsigned" else (-(2 ** (dtype.bits - 1)), 0)
        return literal(lowest if how == "max" else highest or 2 ** (dtype.bits - 1) - 1, dtype)

    # --- groups of functions ----------------------------------------------------------------------------------
    def _logic(self, function: str, dtype: DType, ty: str, args: list[str]) -> str:
        f = self.f
        if function in ("and", "or"):
            return f.binary(function, ty, args[0], args[1])
        if function == "not":
            return f.binary("xor", ty, args[0], splat(ty, "true"))
        if function == "isfinite":
            if not dtype.is_float:
                return splat(vector_of("i1", lanes_of(ty)), "true")
            infinity = splat(ty, float_literal(float("inf"), element_of(ty)))
            return f.binary("fcmp olt", ty, f.intrinsic("fabs", ty, args[0]), infinity)
        return f.binary(self._comparison(_COMPARE[function], dtype), ty, args[0], args[1])

    @staticmethod
    def _comparison(relation: str, dtype: DType) -> str:
        if dtype.is_float:
            return f"fcmp {'une' if relation == 'ne' else 'o' + relation}"
        if relation in ("eq", "ne"):
            return f"icmp {relation}"
        return f"icmp {'s' if dtype.kind == 'signed' else 'u'}{relation}"

    def _extreme(self, function: str, dtype: DType, ty: str, args: list[str], steady: list[bool]) -> str:
        f = self.f
        a, b = args
        if dtype is bool_:
            return f.binary("or" if function == "max" else "and", ty, a, b)
        if not dtype.is_float:
            return f.intrinsic(("s" if dtype.kind == "signed" else "u") + function, ty, a, b)
        if not self.target.is_x86:
            return f.intrinsic(f"{function}imum", ty, a, b)
        # maxps gives its second operand where either is NaN, so an operand that is never NaN goes first.
        if steady[1] and not steady[0]:
            a, b = b, a
        relation = "fcmp ogt" if function == "max" else "fcmp olt"
        cond_ty = vector_of("i1", lanes_of(ty))
        best = f.select(cond_ty, f.binary(relation, ty, a, b), ty, a, b)
        if steady[0] or steady[1]:
            return best
        return f.select(cond_ty, f.binary("fcmp uno", ty, a, a), ty, a, best)

    def _float(self, function: str, ty: str, args: list[str]) -> str:
        f = self.f
        if function in _FLOAT_OP:
            flags = self._flags if function != "div" else ""
            return f.binary(_FLOAT_OP[function] + flags, ty, args[0], args[1])
        if function == "fma":
            return f.multiply_add(ty, args[0], args[1], args[2], fused=self.fma)
        if function == "neg":
            return f.assign(f"fneg {ty} {args[0]}")
        if function in ("abs", "sqrt"):
            return f.intrinsic("fabs" if function == "abs" else "sqrt", ty, args[0])
        if function in _ROUND:
            return self._whole(function, ty, args[0])
        if function == "sign":
            return self._float_sign(ty, args[0])
        raise AssertionError(f"{function} has no meaning for {ty}")

    def _float_sign(self, ty: str, x: str) -> str:
        f = self.f
        cond_ty, zero = vector_of("i1", lanes_of(ty)), splat(ty, float_literal(0.0, element_of(ty)))
        one = splat(ty, float_literal(1.0, element_of(ty)))
        unit = f.intrinsic("copysign", ty, one, x)
        at_zero = f.select(cond_ty, f.binary("fcmp oeq", ty, x, zero), ty, zero, unit)
        return f.select(cond_ty, f.binary("fcmp uno", ty, x, x), ty, x, at_zero)

    def _whole(self, function: str, ty: str, x: str) -> str:
        """Round to a whole number; SSE2 has no instruction for it, and the C library is not there to be called."""
        f = self.f
        if self.target.isa != "sse2":
            return f.intrinsic(_ROUND[function], ty, x)
        element, cond_ty = element_of(ty), vector_of("i1", lanes_of(ty))
        whole = splat(ty, float_literal(_WHOLE[element], element))
        size = f.intrinsic("fabs", ty, x)
        # Adding and subtracting 2^23 rounds to even; the sign is that of x, also for zeros.
        near = f.binary("fsub", ty, f.binary("fadd", ty, size, whole), whole)
        near = f.intrinsic("copysign", ty, near, x)
        if function != "round":
            step = splat(ty, float_literal(-1.0 if function == "floor" else 1.0, element))
            beyond = f.binary("fcmp ogt" if function == "floor" else "fcmp olt", ty, near, x)
            near = f.select(cond_ty, beyond, ty, f.binary("fadd", ty, near, step), near)
            near = f.intrinsic("copysign", ty, near, x)
        small = f.binary("fcmp olt", ty, size, whole)
        return f.select(cond_ty, small, ty, near, x)

    def _integer(self, function: str, dtype: DType, ty: str, args: list[str]) -> str:
        f = self.f
        signed = dtype.kind == "signed"
        if function in _INTEGER_OP:
            return f.binary(_INTEGER_OP[function], ty, args[0], args[1])
        if function in ("floordiv", "mod"):
            return self._division(function, signed, ty, args[0], args[1])
        if function in _BITS:
            return f.binary(_BITS[function], ty, args[0], args[1])
        if function in ("shl", "shr"):
            return self._shift(function, dtype, ty, args[0], args[1])
        if function in _ROUND:
            return args[0]
        negative = f.binary("sub", ty, splat(ty, "0"), args[0])
        if function == "neg":
            return negative
        if function == "abs":
            return f.intrinsic("smax", ty, args[0], negative) if signed else args[0]
        if function == "sign":
            top = f.intrinsic("smin" if signed else "umin", ty, args[0], splat(ty, "1"))
            return f.intrinsic("smax", ty, top, splat(ty, "-1")) if signed else top
        raise AssertionError(f"{function} has no meaning for {dtype}")

    def _division(self, function: str, signed: bool, ty: str, a: str, b: str) -> str:
        """Floor division or remainder as NumPy has them: 0 for a zero divisor, wrapping for the lowest / -1."""
        f = self.f
        cond_ty, zero = vector_of("i1", lanes_of(ty)), splat(ty, "0")
        by_zero = f.binary("icmp eq", ty, b, zero)
        safe = f.select(cond_ty, by_zero, ty, splat(ty, "1"), b)
        if not signed:
            result = f.binary("udiv" if function == "floordiv" else "urem", ty, a, safe)
            return f.select(cond_ty, by_zero, ty, zero, result)
        minus_one = splat(ty, "-1")
        by_minus = f.binary("icmp eq", ty, b, minus_one)
        # x / -1 would trap for the lowest x; its quotient is 0 - x and its remainder 0.
        safe = f.select(cond_ty, by_minus, ty, splat(ty, "1"), safe)
        quotient, rest = f.binary("sdiv", ty, a, safe), f.binary("srem", ty, a, safe)
        mixed = f.binary("icmp slt", ty, f.binary("xor", ty, rest, safe), zero)
        crosses = f.binary("and", cond_ty, mixed, f.binary("icmp ne", ty, rest, zero))
        if function == "floordiv":
            result = f.select(cond_ty, crosses, ty, f.binary("add", ty, quotient, minus_one), quotient)
            result = f.select(cond_ty, by_minus, ty, f.binary("sub", ty, zero, a), result)
        else:
            result = f.select(cond_ty, crosses, ty, f.binary("add", ty, rest, safe), rest)
        return f.select(cond_ty, by_zero, ty, zero, result)

    def _shift(self, function: str, dtype: DType, ty: str, a: str, b: str) -> str:
        """Shifts as NumPy has them: an amount outside 0..bits-1 leaves no bit but copies of the sign."""
        f = self.f
        cond_ty, last = vector_of("i1", lanes_of(ty)), splat(ty, str(dtype.bits - 1))
        inside = f.binary("icmp ule", ty, b, last)
        amount = f.select(cond_ty, inside, ty, b, last)
        if function == "shr" and dtype.kind == "signed":
            return f.binary("ashr", ty, a, amount)
        shifted = f.binary("shl" if function == "shl" else "lshr", ty, a, amount)
        return f.select(cond_ty, inside, ty, shifted, splat(ty, "0"))

    # --- conversions ------------------------------------------------------------------------------------------
    def convert(self, value: str, source: DType, to: DType, lanes: int) -> str:
        """`value` as another element type; floats outside an integer type's range go to its nearest end."""
        if source is to:
            return value
        from_ty, to_ty = register_type(source, lanes), register_type(to, lanes)
        if to is bool_:
            zero = splat(from_ty, literal(0, source))
            return self.f.binary("fcmp une" if source.is_float else "icmp ne", from_ty, value, zero)
        if source.is_float and to.is_float:
            return self.f.cast("fpext" if to.bits > source.bits else "fptrunc", from_ty, value, to_ty)
        if source.is_float:
            saturate = self._saturate_lanes if lanes > 1 else self._saturate
            return saturate(value, source, to, lanes)
        signed = source.kind == "signed"
        if to.is_float:
            return self.f.cast("sitofp" if signed else "uitofp", from_ty, value, to_ty)
        wide = 1 if source is bool_ else source.bits
        if to.bits == wide:
            return value
        op = "trunc" if to.bits < wide else "sext" if signed else "zext"
        return self.f.cast(op, from_ty, value, to_ty)

    def _saturate(self, value: str, source: DType, to: DType, lanes: int) -> str:
        from_ty, to_ty = register_type(source, lanes), register_type(to, lanes)
        name = f"llvm.fpto{'s' if to.kind == 'signed' else 'u'}i.sat.{to_ty}.f{source.bits}"
        self.f.module.declare(name, f"{to_ty} @{name}({from_ty})")
        return self.f.assign(f"call {to_ty} @{name}({from_ty} {value})")

    def _saturate_lanes(self, value: str, source: DType, to: DType, lanes: int) -> str:
        """The same in whole vectors, where LLVM takes its own saturating conversion apart into single lanes."""
        f, signed = self.f, to.kind == "signed"
        from_ty, to_ty, cond_ty = register_type(source, lanes), register_type(to, lanes), vector_of("i1", lanes)
        least, past = (-(2 ** (to.bits - 1)), 2 ** (to.bits - 1)) if signed else (0, 2**to.bits)
        low, end = (splat(from_ty, literal(bound, source)) for bound in (least, past))
        below, above = f.binary("fcmp olt", from_ty, value, low), f.binary("fcmp oge", from_ty, value, end)
        outside = f.binary(
            "or", cond_ty, f.binary("fcmp uno", from_ty, value, low), f.binary("or", cond_ty, below, above)
        )
        zero = splat(from_ty, literal(0, source))
        inside = f.select(cond_ty, outside, from_ty, zero, value)
        result = f.cast("fptosi" if signed else "fptoui", from_ty, inside, to_ty)
        result = f.select(cond_ty, below, to_ty, splat(to_ty, literal(least, to)), result)
        return f.select(cond_ty, above, to_ty, splat(to_ty, literal(past - 1, to)), result)
