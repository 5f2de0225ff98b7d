"""Vector sin and cos."""

from __future__ import annotations

import math

from kgraph.compiler.codegen.emitter import Function, element_of, lanes_of, vector_of
from kgraph.compiler.codegen.vector_arithmetic import Lanes

# S of sin(r) = r + r z S(z) and C of cos(r) = 1 - z/2 + z^2 C(z), z = r^2, |r| <= pi/4; minimax for the relative and
# the absolute error by the Remez exchange algorithm in 240-bit arithmetic, coefficients rounded one by one from the
# lowest power on. Errors: 2^-28.0 and 2^-33.1 (float), 2^-58.0 and 2^-64.2 (double).
_SIN = {
    "float": (-1.9518788e-04, 0.008332192, -0.16666655),
    "double": (
        1.5896898225161724e-10, -2.5050760070742875e-08, 2.755731370605785e-06, -0.00019841269829855618,
        0.008333333333322488, -0.16666666666666632,
    ),
}  # fmt: skip
_COS = {
    "float": (2.443067e-05, -0.0013887301, 0.041666646),
    "double": (
        -1.1359926447651555e-11, 2.0875729146906104e-09, -2.75573144001898e-07, 2.4801587289669284e-05,
        -0.0013888888888874472, 0.0416666666666666,
    ),
}  # fmt: skip

# pi/2 as a sum of two numbers of 33 bits and a double: products with integers up to 2^20 are exact.
_HALF_PI = tuple(float.fromhex(h) for h in ("0x1.921fb544p+0", "0x1.0b4611a6p-34", "0x1.3198a2e037073p-69"))

# Beyond this size the arguments are reduced one by one with as many bits of 2/pi as they need.
_LARGE = 2.0**20

# 2/pi as a fixed-point number with this many fractional bits: the largest double needs 1161 (see `_large_function`).
_FRACTION_BITS = 1216


def _reduced(lanes: Lanes, a: str) -> tuple[str, str]:
    """a - n pi/2 for 0 <= a <= 2^20 (doubles), n the nearest integer, and integers with n in the low bits.

    Cody and Waite's reduction. The first difference is exact, the second has no bits below 2^-66 and so is exact
    wherever it is small: what cancels near multiples of pi/2 carries no error.
    """
    n, low_bits = lanes.round_to_int(a, 2 / math.pi)
    r = a
    for part in _HALF_PI:
        r = lanes.fma(n, lanes.real(-part), r)
    return r, low_bits


def _quarter_wave(lanes: Lanes, r: str, quadrant: str) -> str:
    """sin(r + quadrant * pi/2) for |r| <= pi/4; `quadrant` are integers of which the two lowest bits count."""
    z = lanes.mul(r, r)
    sine = lanes.fma(lanes.mul(r, z), lanes.horner(z, _SIN[lanes.element]), r)
    cosine = lanes.fma(z, lanes.real(-0.5), lanes.real(1.0))
    cosine = lanes.fma(lanes.mul(z, z), lanes.horner(z, _COS[lanes.element]), cosine)
    odd = lanes.int_op("and", quadrant, lanes.integer(1))
    odd_mask = lanes.f.binary("icmp ne", lanes.int_ty, odd, lanes.integer(0))
    sign = lanes.int_op("shl", quadrant, lanes.integer(lanes.format.bits - 2))
    sign = lanes.int_op("and", sign, lanes.integer(1 << (lanes.format.bits - 1)))
    return lanes.from_bits(lanes.int_op("xor", lanes.bits(lanes.select(odd_mask, cosine, sine)), sign))


def _large_function(f: Function) -> str:
    """Name of the function (a, quadrant) -> sin(a + quadrant * pi/2) for one finite double a >= 2^20.

    Payne and Hanek's reduction: a = M 2^e with a 53-bit integer M. Of 2/pi * 2^e only the bits with weights 2^1 to
    2^-190 matter for a * 2/pi modulo 4; their product with M, a 192-bit integer, has the quadrant in its two upper
    bits. Nearest to a multiple of pi/2 a double has 2^-62 left, so the remainder keeps more than 64 correct bits.
    """
    name = "vector_math_sin_large"
    table = f"@two_over_pi = internal unnamed_addr constant i{_FRACTION_BITS + 64} {_two_over_pi()}, align 8"
    if table in f.module.globals:
        return name
    f.module.globals.append(table)
    parameters = [("double", "a"), ("i64", "quadrant")]
    g = Function(f.module, name, parameters, returns="double", attributes="nounwind noinline")
    lanes = Lanes(g, "double", False)
    bits = lanes.bits("%a")
    significand = g.binary("or", "i64", g.binary("and", "i64", bits, str((1 << 52) - 1)), str(1 << 52))
    exponent = g.binary("lshr", "i64", bits, "52")
    # e = exponent - 1075; the window starts at bit FRACTION_BITS - 190 - e of the table.
    start = g.binary("sub", "i64", str(_FRACTION_BITS - 190 + 1075), exponent)
    address = g.gep("i8", "@two_over_pi", g.binary("lshr", "i64", start, "3"))
    shift = g.cast("zext", "i64", g.binary("and", "i64", start, "7"), "i256")
    window = g.cast("trunc", "i256", g.binary("lshr", "i256", g.load("i256", address, 1), shift), "i192")
    product = g.binary("mul", "i192", window, g.cast("zext", "i64", significand, "i192"))
    # Rounding to the nearest quadrant leaves a signed remainder in the lower 190 bits.
    near = g.binary("add", "i192", product, str(1 << 189))
    nearest = g.cast("trunc", "i192", g.binary("lshr", "i192", near, "190"), "i64")
    remainder = g.binary("shl", "i192", product, "2")
    upper = g.cast("trunc", "i192", g.binary("lshr", "i192", remainder, "128"), "i64")
    lower = g.cast("trunc", "i192", g.binary("lshr", "i192", remainder, "64"), "i64")
    low = lanes.mul(g.cast("uitofp", "i64", lower, "double"), lanes.real(2.0**-64))
    turn = lanes.add(g.cast("sitofp", "i64", upper, "double"), low)
    quarter = g.binary("add", "i64", nearest, "%quadrant")
    g.finish("double " + _quarter_wave(lanes, lanes.mul(turn, lanes.real(2.0**-64 * math.pi / 2)), quarter))
    return name


def _two_over_pi() -> int:
    """Integer part of 2/pi * 2^_FRACTION_BITS, from Machin's pi = 16 atan(1/5) - 4 atan(1/239) in integers."""
    unit = 1 << (_FRACTION_BITS + 128)

    def atan_inverse(k: int) -> int:
        total, power, n = 0, unit // k, 1
        while power:
            total += power // n if n % 4 == 1 else -(power // n)
            power //= k * k
            n += 2
        return total

    return (unit * unit << 1) // (16 * atan_inverse(5) - 4 * atan_inverse(239)) >> 128


def _circular(f: Function, ty: str, x: str, fma: bool, quadrant: int) -> str:
    """sin(|x| + quadrant * pi/2); floats are reduced as doubles."""
    outer = Lanes(f, ty, fma)
    lanes = outer.like("double")
    single = outer.element == "float"
    a = outer.abs(x)
    a = f.cast("fpext", ty, a, lanes.ty) if single else a
    r, low_bits = _reduced(lanes, a)
    turns = f.cast("trunc", lanes.int_ty, low_bits, outer.int_ty) if single else low_bits
    turns = outer.int_op("add", turns, outer.integer(quadrant)) if quadrant else turns
    fast = _quarter_wave(outer, f.cast("fptrunc", lanes.ty, r, ty) if single else r, turns)
    finite = lanes.compare("olt", a, lanes.real(math.inf))
    large = lanes.mask("and", lanes.compare("ogt", a, lanes.real(_LARGE)), finite)
    return _replace_large(f, ty, large, a, fast, quadrant)


def _replace_large(f: Function, ty: str, large: str, a: str, fast: str, quadrant: int) -> str:
    """`fast` with the lanes of the mask `large` computed one by one; the loop runs only if there are any."""
    count, element = lanes_of(ty), element_of(ty)
    word = large if count == 1 else f.cast("bitcast", f"<{count} x i1>", large, f"i{count}")
    needed = f.binary("icmp ne", f"i{count}", word, "0")
    stop = f.select("i1", needed, "i64", str(count), "0")
    name = _large_function(f)
    with f.loop("0", stop, carried=[(ty, fast)]) as loop:
        wide = vector_of("double", count)
        one = a if count == 1 else f.assign(f"extractelement {wide} {a}, i64 {loop.index}")
        value = f.assign(f"call double @{name}(double {one}, i64 {quadrant})")
        value = f.cast("fptrunc", "double", value, "float") if element == "float" else value
        if count > 1:
            value = f.assign(f"insertelement {ty} {loop.carried[0]}, {element} {value}, i64 {loop.index}")
        loop.next = [value]
    return f.select(vector_of("i1", count), large, ty, loop.results[0], fast)


def sin(f: Function, ty: str, x: str, *, fma: bool) -> str:
    """Sine of x in radians, for any size of x: sin|x| with the sign of x multiplied in."""
    lanes = Lanes(f, ty, fma)
    value = _circular(f, ty, x, fma, 0)
    sign = lanes.int_op("and", lanes.bits(x), lanes.integer(1 << (lanes.format.bits - 1)))
    return lanes.from_bits(lanes.int_op("xor", lanes.bits(value), sign))


def cos(f: Function, ty: str, x: str, *, fma: bool) -> str:
    """Cosine of x in radians, for any size of x."""
    return _circular(f, ty, x, fma, 1)
