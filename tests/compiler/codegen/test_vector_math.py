"""Vector math: error in units in the last place over the whole range, special values, widths, targets."""

from __future__ import annotations

import ctypes
import functools
import math
import re
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import numpy.typing as npt
import pytest

from kgraph.compiler.codegen import target as targets
from kgraph.compiler.codegen.emitter import Function, Module, vector_of
from kgraph.compiler.codegen.vector_math import MATH, emit
from kgraph.ir.philox import philox2x32

Array = npt.NDArray[Any]

INF, NAN = math.inf, math.nan
BYTES = {"float": 4, "double": 8, "i32": 4}
DTYPES = {"float": np.float32, "double": np.float64}
OPERANDS = {"pow": 2, "philox": 3}
REAL = sorted(set(MATH) - {"philox"})
UNARY = sorted(set(REAL) - {"pow"})
RUNNABLE = ["host", "x86-64"] if targets.host().is_x86 else ["host"]
needs_long_double = pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="no type wider than double")


# --- machinery ----------------------------------------------------------------------------------------------------
def kernel_text(name: str, element: str, lanes: int, target: targets.Target) -> str:
    """A module with @kernel(out, in..., n): out[i] = name(in[i]...), `lanes` elements at a time."""
    module, ty, operands = Module(target.triple), vector_of(element, lanes), OPERANDS.get(name, 1)
    params = [("ptr", "out"), *(("ptr", f"in{k}") for k in range(operands)), ("i64", "n")]
    f = Function(module, "kernel", params, attributes=target.function_attributes(), linkage="external")
    size = BYTES[element]
    with f.loop("0", "%n", str(lanes)) as loop:
        args = [f.load(ty, f.gep(element, f"%in{k}", loop.index), size) for k in range(operands)]
        result = emit(name, f, ty, *args, fma=target.isa != "sse2")
        f.store(ty, result, f.gep(element, "%out", loop.index), size)
    f.finish()
    return module.text()


class Kernel:
    """A kernel of `kernel_text` compiled for this machine."""

    def __init__(self, name: str, element: str, lanes: int, target: targets.Target) -> None:
        parsed = llvm.parse_assembly(kernel_text(name, element, lanes, target))
        parsed.verify()
        self.engine = llvm.create_mcjit_compiler(parsed, target.machine())
        self.engine.finalize_object()
        pointers = [ctypes.c_void_p] * (1 + OPERANDS.get(name, 1))
        prototype = ctypes.CFUNCTYPE(None, *pointers, ctypes.c_int64)
        self.function = prototype(self.engine.get_function_address("kernel"))
        self.lanes = lanes

    def __call__(self, *operands: Array) -> Array:
        size = operands[0].size
        padded = [np.pad(operand, (0, -size % self.lanes), mode="edge") for operand in operands]
        out = np.empty_like(padded[0])
        self.function(out.ctypes.data, *(operand.ctypes.data for operand in padded), out.size)
        return out[:size]


@functools.cache
def kernel(name: str, element: str, lanes: int, target: str) -> Kernel:
    """The compiled kernel, made once."""
    return Kernel(name, element, lanes, targets.named(target))


def ulp_error(got: Array, exact: Array) -> Array:
    """|got - exact| in units in the last place of `exact` rounded to got's type; infinite for a wrong special value."""
    form = np.finfo(got.dtype)
    with np.errstate(all="ignore"):
        rounded = exact.astype(got.dtype)
        exponent = np.maximum(np.frexp(exact)[1] - 1, form.minexp)
        unit = np.ldexp(np.ones_like(exact), exponent - form.nmant)
        error = np.abs(got.astype(exact.dtype) - exact) / unit
    special = ~np.isfinite(rounded)
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    # A result next to the largest number may round to infinity, and the other way round.
    edge = np.nextafter(form.max, form.dtype.type(0))
    error = np.where(np.isinf(got) & (np.abs(exact) > edge) & np.isfinite(exact), 1.0, error)
    error = np.where(special, np.where(same | (np.isinf(rounded) & (np.abs(got) > edge)), 0.0, INF), error)
    signs_differ = (np.signbit(got) != np.signbit(rounded)) & ~np.isnan(rounded)
    return np.where(signs_differ | np.isnan(error), INF, error)


def long_erf(x: Array) -> Array:
    """Error function by Kummer's series exp(-x^2) 2/sqrt(pi) sum 2^n x^(2n+1) / (2n+1)!!, whose terms are positive."""
    a = np.minimum(np.abs(x), 7)
    term = total = a
    for n in range(1, 260):
        term = term * 2 * a * a / (2 * n + 1)
        total = total + term
    root_pi = np.sqrt(4 * np.arctan(x.dtype.type(1)))
    value = total * np.exp(-a * a) * 2 / root_pi
    return np.where(np.isnan(x), x, np.copysign(np.where(np.abs(x) > 7, 1, value), x))


REFERENCES: dict[str, Callable[[Array], Array]] = {
    "exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p, "tanh": np.tanh, "erf": long_erf,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "rsqrt": lambda x: 1 / np.sqrt(x), "sin": np.sin, "cos": np.cos,
    "atan": np.arctan,
}  # fmt: skip
BOUNDS = dict.fromkeys(REAL, 2.0) | {"tanh": 4.0, "sigmoid": 4.0, "erf": 4.0, "pow": 4.0}
# The angle left by the reduction has one more rounding.
DOUBLE_BOUNDS = BOUNDS | {"sin": 2.5, "cos": 2.5}


def exact_values(name: str, *operands: Array) -> Array:
    """The function in long double."""
    with np.errstate(all="ignore"):
        wide = [operand.astype(np.longdouble) for operand in operands]
        return np.power(*wide) if name == "pow" else REFERENCES[name](*wide)


SPECIAL = [0.0, -0.0, INF, -INF, NAN, 1.0, -1.0]


def float_samples() -> Array:
    """Bit patterns at equal distances (all signs, exponents, subnormals), the busy interval, special values."""
    patterns = np.arange(0, 2**32, 100_003, dtype=np.uint64).astype(np.uint32).view(np.float32)
    busy = np.linspace(-20, 20, 20_001, dtype=np.float32)
    edges = [88.72283, 88.72284, -87.33655, -103.97207, -103.97209, 9.010914, 3.9192059, 1e-45, -1e-45, 3.4028235e38]
    return np.concatenate([patterns, busy, np.array(SPECIAL + edges, np.float32)])


def double_samples(rng: np.random.Generator) -> Array:
    """The same for double, at random; multiples of pi/2 for the reduction of angles."""
    patterns = rng.integers(0, 2**64, 20_000, dtype=np.uint64).view(np.float64)
    busy = rng.uniform(-1, 1, 20_000) * np.exp2(rng.integers(-6, 11, 20_000))
    above_minus_one = -1 + np.exp2(rng.uniform(-53, 1, 5_000))
    angles = np.concatenate([np.arange(1.0, 2_000.0), rng.integers(0, 2**21, 2_000), 2.0 ** np.arange(21, 1000)])
    # The doubles nearest to a multiple of pi/2: below 2^20, and of all (Muller, "Elementary Functions", 2006).
    hard = [45.553093477052, math.ldexp(6381956970095103, 797)]
    edges = [709.782712893384, 709.782712893385, -745.1332191019411, -745.1332191019412, 5e-324, -5e-324, 1.7e308]
    return np.concatenate([patterns, busy, above_minus_one, angles * (math.pi / 2), hard, SPECIAL, edges])


def assert_within(bound: float, got: Array, exact: Array, *operands: Array) -> None:
    """Check the largest error, and name the worst operand."""
    errors = ulp_error(got, exact)
    worst = int(errors.argmax())
    where = ", ".join(repr(operand[worst]) for operand in operands)
    assert errors[worst] <= bound, f"{errors[worst]} ulp at {where}: got {got[worst]!r}, exact {exact[worst]!r}"


# --- accuracy -----------------------------------------------------------------------------------------------------
@needs_long_double
@pytest.mark.parametrize("name", UNARY)
def test_float_error_over_all_exponents(name: str) -> None:
    x = float_samples()
    exact = exact_values(name, x)
    for target in RUNNABLE:
        assert_within(BOUNDS[name], kernel(name, "float", 8, target)(x), exact, x)


@needs_long_double
@pytest.mark.parametrize("name", UNARY)
def test_double_error_over_all_exponents(name: str) -> None:
    x = double_samples(np.random.default_rng(1))
    exact = exact_values(name, x)
    for target in RUNNABLE:
        assert_within(DOUBLE_BOUNDS[name], kernel(name, "double", 4, target)(x), exact, x)


@needs_long_double
@pytest.mark.parametrize("target", RUNNABLE)
@pytest.mark.parametrize("element", ["float", "double"])
def test_pow_error_where_the_result_is_finite(element: str, target: str) -> None:
    rng = np.random.default_rng(2)
    log_range, size = {"float": (100.0, 10_000), "double": (740.0, 20_000)}[element]
    near_one = 1 + rng.normal(0, 1e-4, size)
    base = np.concatenate([np.exp(rng.uniform(-80, 80, size)), rng.uniform(0.5, 2, size), near_one])
    power = rng.uniform(-log_range, log_range, 3 * size) / np.log(base)
    x, y = base.astype(DTYPES[element]), power.astype(DTYPES[element])
    assert_within(BOUNDS["pow"], kernel("pow", element, 4, target)(x, y), exact_values("pow", x, y), x, y)


@needs_long_double
@pytest.mark.parametrize("target", RUNNABLE)
@pytest.mark.parametrize("element", ["float", "double"])
def test_pow_of_special_and_whole_operands(element: str, target: str) -> None:
    whole = [2.0, 3.0, 7.0, 2.0**23 + 1, 2.0**24 - 1, 2.0**24, 2.0**52 + 1, 2.0**53 - 1, 2.0**53, 1e38]
    values = SPECIAL + whole + [-v for v in whole] + [0.5, -0.5, 0.3, 1e-40]
    grid = np.meshgrid(np.array(values, DTYPES[element]), np.array(values, DTYPES[element]))
    x, y = (axis.ravel() for axis in grid)
    assert_within(BOUNDS["pow"], kernel("pow", element, 4, target)(x, y), exact_values("pow", x, y), x, y)


# --- exact results ------------------------------------------------------------------------------------------------
EXACT = {
    "exp": [(0, 1), (-0.0, 1), (INF, INF), (-INF, 0), (NAN, NAN), (1e4, INF), (-1e4, 0)],
    "expm1": [(0, 0), (-0.0, -0.0), (INF, INF), (-INF, -1), (NAN, NAN), (1e4, INF), (-1e4, -1), (1e-40, 1e-40)],
    "log": [(1, 0), (0, -INF), (-0.0, -INF), (INF, INF), (-INF, NAN), (-1, NAN), (NAN, NAN)],
    "log1p": [(0, 0), (-0.0, -0.0), (-1, -INF), (INF, INF), (-INF, NAN), (-2, NAN), (NAN, NAN), (-1e-40, -1e-40)],
    "tanh": [(0, 0), (-0.0, -0.0), (INF, 1), (-INF, -1), (NAN, NAN), (50, 1), (-50, -1), (1e-40, 1e-40)],
    "sigmoid": [(0, 0.5), (-0.0, 0.5), (INF, 1), (-INF, 0), (NAN, NAN), (1e4, 1), (-1e4, 0)],
    "erf": [(0, 0), (-0.0, -0.0), (INF, 1), (-INF, -1), (NAN, NAN), (50, 1), (-50, -1)],
    "sin": [(0, 0), (-0.0, -0.0), (INF, NAN), (-INF, NAN), (NAN, NAN), (1e-40, 1e-40)],
    "cos": [(0, 1), (-0.0, 1), (INF, NAN), (-INF, NAN), (NAN, NAN)],
    "atan": [(0, 0), (-0.0, -0.0), (INF, np.pi / 2), (-INF, -np.pi / 2), (NAN, NAN), (1e-40, 1e-40)],
    "rsqrt": [(4, 0.5), (0, INF), (-0.0, -INF), (INF, 0), (-1, NAN), (NAN, NAN)],
}


@pytest.mark.parametrize("target", RUNNABLE)
@pytest.mark.parametrize("element", ["float", "double"])
@pytest.mark.parametrize("name", UNARY)
def test_exact_results(name: str, element: str, target: str) -> None:
    x, expected = (np.array(column, DTYPES[element]) for column in zip(*EXACT[name], strict=True))
    got = kernel(name, element, 8 if element == "float" else 4, target)(x)
    np.testing.assert_array_equal(got, expected)
    known = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(got[known]), np.signbit(expected[known]))


@pytest.mark.parametrize("element", ["float", "double"])
@pytest.mark.parametrize("name", ["tanh", "sigmoid", "erf"])
def test_saturating_functions_stay_within_one(name: str, element: str) -> None:
    x = np.linspace(-45, 45, 50_001, dtype=DTYPES[element])
    got = kernel(name, element, 8 if element == "float" else 4, "host")(x)
    assert np.abs(got).max() == 1


# --- widths and targets -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("element", ["float", "double"])
@pytest.mark.parametrize("name", REAL)
def test_all_widths_give_the_same_bits(name: str, element: str) -> None:
    x = np.concatenate([np.linspace(-30, 30, 801), [1e7, -3e9], SPECIAL]).astype(DTYPES[element])
    operands = [np.abs(x), np.flip(x)] if name == "pow" else [x]
    operands = [np.ascontiguousarray(operand) for operand in operands]
    one = kernel(name, element, 1, "host")(*operands)
    for lanes in (4, 8):
        np.testing.assert_array_equal(kernel(name, element, lanes, "host")(*operands), one)


@pytest.mark.parametrize("name", sorted(MATH))
@pytest.mark.parametrize("target", ["x86-64", "x86-64-v3", "x86-64-v4", "aarch64"])
def test_no_library_calls_and_the_vector_registers_of_the_target(target: str, name: str) -> None:
    machine = targets.named(target)
    elements = ["i32"] if name == "philox" else ["float", "double"]
    for element in elements:
        text = kernel_text(name, element, machine.lanes(8 * BYTES[element]), machine)
        assembly = machine.machine().emit_assembly(llvm.parse_assembly(text))
        called = set(re.findall(r"^\s(?:callq?|bl|b|jmp)\s+([A-Za-z_]\w*)", assembly, re.MULTILINE))
        assert called <= {"vector_math_sin_large"}
        register = {"x86-64": r"%xmm", "x86-64-v3": "%ymm", "x86-64-v4": "%zmm", "aarch64": r"\bv\d+\.[24]"}[target]
        assert re.search(register, assembly)


def test_exp_is_seventeen_vector_instructions_with_fused_multiply_add() -> None:
    machine = targets.named("x86-64-v3")
    assembly = machine.machine().emit_assembly(llvm.parse_assembly(kernel_text("exp", "float", 8, machine)))
    arithmetic = r"^\s(?:vfn?m(?:add|sub)\w*|v(?:min|max|sub|add|mul)ps|vpslld|vpaddd)\s"
    assert len(re.findall(arithmetic, assembly, re.MULTILINE)) == 17


# --- random numbers -----------------------------------------------------------------------------------------------
# Known answers published with Random123 for philox2x32-10: counter words, key, output words.
PHILOX = [
    (0x00000000, 0x00000000, 0x00000000, 0xFF1DAE59, 0x6CD10DF2),
    (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0x2C3F628B, 0xAB4FD7AD),
    (0x243F6A88, 0x85A308D3, 0x13198A2E, 0xDD7CE038, 0xF62A4C12),
]


def test_philox_in_numpy_gives_the_published_words() -> None:
    low, high, key, first, second = np.array(PHILOX, np.uint32).T
    words = philox2x32(low, high, key)
    np.testing.assert_array_equal(words, [first, second])
    assert all(word.dtype == np.uint32 for word in words)


@pytest.mark.parametrize("target", RUNNABLE)
@pytest.mark.parametrize("lanes", [1, 4, 8])
def test_philox_gives_the_published_words_and_those_of_numpy(lanes: int, target: str) -> None:
    low, high, key, first, _ = np.ascontiguousarray(np.array(PHILOX, np.uint32).T)
    run = kernel("philox", "i32", lanes, target)
    np.testing.assert_array_equal(run(low, high, key), first)
    random = np.random.default_rng(3).integers(0, 2**32, (3, 1_000), dtype=np.uint32)
    np.testing.assert_array_equal(run(*random), philox2x32(*random)[0])
