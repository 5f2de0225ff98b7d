"""Every sample of every op as native code: equal to the reference, and no byte touched outside a buffer.

All samples of an op are one program, which halves the time to compile them. If it dies, a program for each sample
finds the one to blame.
"""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from guard_pages import SIDES, GuardedMemory, faults_in_child, loaded, run_guarded
from op_samples import PRIMITIVES, sample_types, samples_of

from kgraph.compiler.codegen.target import named
from kgraph.compiler.native import compile_native
from kgraph.config import override
from kgraph.errors import KgraphError
from kgraph.ir.dims import evaluate, symbol
from kgraph.ir.dtypes import f32, f64
from kgraph.ir.graph import GraphBuilder
from kgraph.ir.opdef import OpDef, Sample
from kgraph.ir.types import TensorType
from kgraph.primitives import REGISTRY
from kgraph.runtime.interpreter import concrete

THREADS = 3
SPECIALS = ("nan", "inf", "-inf", "-0", "0", "subnormal")
# IEEE 754 leaves open which of -0 and 0 is the greater, and sums of windows start with 0.
EITHER_ZERO = {"maximum", "minimum", "relu", "max", "min", "sum_pool"}


def runs_here(target: str) -> bool:
    """Whether this machine has what code for the target needs."""
    host = named("host").isa
    return target == "host" or named(target).isa == host or (named(target).isa, host) in {
        ("sse2", "avx2"), ("sse2", "avx512"), ("avx2", "avx512"),
    }  # fmt: skip


TARGETS = [
    pytest.param(t, marks=[pytest.mark.skipif(not runs_here(t), reason="other machine"), *marks])
    for t, marks in (("host", []), ("x86-64-v3", [pytest.mark.slow]), ("x86-64", [pytest.mark.slow]))
]
OPS = pytest.mark.parametrize("op", PRIMITIVES, ids=lambda op: op.name)


@dataclass(frozen=True)
class Case:
    """A call of an op in a program: the types of its operands may have symbolic sizes where the arrays have numbers."""

    name: str
    op: OpDef
    types: tuple[TensorType, ...]
    sample: Sample
    attrs: dict[str, Any]


def fixed_cases(op):
    return [
        Case(f"{op.name} sample {n}", op, tuple(sample_types(sample)), sample, dict(sample.attrs))
        for n, sample in enumerate(samples_of(op))
    ]


def symbolic_cases(op):
    """The samples that also make sense with a first axis of unknown size, with a size of its own for each."""
    return [c for n, case in enumerate(fixed_cases(op)) if (c := with_symbolic_axis(case, f"n{n}")) is not None]


def with_symbolic_axis(case, name):
    """The same call with the size of the first operand's first axis unknown; None if shapes then do not work out."""
    if not case.types or not case.types[0].rank:
        return None
    size = case.types[0].shape[0]

    def unknown(shape):
        return (symbol(name), *shape[1:]) if shape and shape[0] == size else shape

    def type_of(type_):
        return TensorType(type_.dtype, unknown(type_.shape))

    attrs = {k: unknown(v) if k == "shape" else v for k, v in case.attrs.items()}
    wanted = [t.shape for t in case.op.result_types(case.types, case.attrs)]
    for types in (tuple(map(type_of, case.types)), (type_of(case.types[0]), *case.types[1:])):
        for tried in (attrs, case.attrs):
            try:
                results = case.op.result_types(types, tried)
            except KgraphError:
                continue
            if [tuple(evaluate(d, {name: size}) for d in t.shape) for t in results] == wanted:
                return replace(case, types=types, attrs=tried)
    return None


class Program:
    """The calls of some cases, compiled as one program."""

    def __init__(self, cases):
        self.cases = cases
        builder, outputs = GraphBuilder("samples", REGISTRY), []
        for case in cases:
            out = builder.emit(case.op, *map(builder.input, case.types), **case.attrs)
            outputs += out if isinstance(out, tuple) else [out]
        self.artifact = compile_native(builder.build(outputs), 0, check=False).artifact
        self.code = loaded(self.artifact)

    def check(self, side, samples=None, threads=1):
        """Run on the samples, or on others of the same shapes, and compare all results."""
        samples = samples or [case.sample for case in self.cases]
        got = iter(run_guarded(self.code, self.artifact, [a for s in samples for a in s.args], side, threads))
        faults = []
        for case, sample in zip(self.cases, samples, strict=True):
            for number, want in enumerate(references(case.op, sample.args, sample.attrs)):
                try:
                    assert_close(case.op, sample, next(got), want, number)
                except AssertionError as error:
                    faults.append(f"{case.name}: {error}")
        assert not faults, " | ".join(faults[:3])


def references(op, args, attrs):
    with np.errstate(all="ignore"):
        out = op.reference(*map(flushed, args), **concrete(attrs, {}))
    return [np.asarray(r) for r in (out if isinstance(out, tuple) else (out,))]


def flushed(array):
    """Subnormal numbers are zeros with their sign, as in compiled programs."""
    if array.dtype.kind != "f":
        return array
    return np.where(np.abs(array) < np.finfo(array.dtype).tiny, np.copysign(array.dtype.type(0), array), array)


def assert_same_class(op, got, want):
    """NaN, infinities with their sign, zeros with their sign, and finite numbers are where they should be."""
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want), "NaN")
    np.testing.assert_array_equal(np.isinf(got) * np.sign(got), np.isinf(want) * np.sign(want), "infinities")
    zeros = (got == 0) & (want == 0) & (op.name not in EITHER_ZERO)
    np.testing.assert_array_equal(np.signbit(got[zeros]), np.signbit(want[zeros]), "sign of zero")


def assert_close(op, sample, got, want, number):
    """As near to the exact result as NumPy in the same precision, up to rounding; numbers that are not floats equal."""
    assert (got.shape, got.dtype) == (want.shape, want.dtype)
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(got, want)
        return
    got, want = flushed(got), flushed(want)  # what copies a subnormal number may keep it
    assert_same_class(op, got, want)
    finite = np.isfinite(want)
    if not finite.any():
        return
    truth, floats = want.astype(np.float64), [a for a in sample.args if a.dtype.kind == "f"]
    if any(a.dtype == np.float32 for a in floats):
        args = [flushed(a).astype(np.float64) if a.dtype == np.float32 else a for a in sample.args]
        truth = references(op, args, {name: f64 if a is f32 else a for name, a in sample.attrs.items()})[number]
    own, error = (np.abs(x[finite] - truth[finite]).max() for x in (want, got))
    # Where numbers cancel, what is left of them is rounded as they are; errors of a sum grow as the root of its length.
    operands = max((np.abs(a[np.isfinite(a)]).max(initial=0) for a in floats), default=0)
    terms = max((a.size for a in floats), default=1) / want.size
    scale = max(np.abs(truth[finite]).max(), min(1.0, operands) * max(1.0, terms) ** 0.5)
    assert error <= 4 * own + 8 * np.finfo(want.dtype).eps * scale, f"error {error}, NumPy's {own}, scale {scale}"


def planted(case, operand, special):
    """The sample of a case with a special value amid one of its operands, if that has floats."""
    args = list(case.sample.args)
    if operand >= len(args) or args[operand].dtype.kind != "f" or not args[operand].size:
        return case.sample
    if case.op.name == "searchsorted" and operand == 0:  # it would not be sorted any more
        return case.sample
    if special.endswith(("nan", "inf")):
        # What becomes of these is not said: integers made of them, and their products with the zeros of a padding.
        to_integer = case.op.name == "cast" and not case.attrs["dtype"].is_float
        if to_integer or (case.op.name.startswith("conv") and operand == 1):
            return case.sample
    args[operand] = array = np.array(args[operand])
    array.flat[array.size // 2] = np.finfo(array.dtype).tiny / 8 if special == "subnormal" else float(special)
    return Sample(tuple(args), case.sample.attrs)


def steps(cases, specials):
    if not cases:
        return
    program = Program(cases)
    whole = cases[0].name if len(cases) == 1 else cases[0].op.name
    for side in SIDES:
        yield f"{whole}, page at {side}", functools.partial(program.check, side)
    yield f"{whole}, {THREADS} threads", functools.partial(program.check, "end", threads=THREADS)
    operands = max(len(case.sample.args) for case in cases)
    for special in SPECIALS if specials else ():
        for operand in range(operands):
            samples = [planted(case, operand, special) for case in cases]
            yield f"{whole}, {special} in operand {operand}", functools.partial(program.check, "end", samples)


def faults(cases, target, specials=False):
    with override(target_cpu=target):
        found = faults_in_child(functools.partial(steps, cases, specials))
        if any("the process ended" in fault for fault in found) and len(cases) > 1:
            found += [f for case in cases for f in faults([case], target, specials)]
    return found


@pytest.mark.parametrize("target", TARGETS)
@OPS
def test_native_code_is_right_and_stays_inside_its_buffers(op, target):
    found = faults(fixed_cases(op), target, specials=True)
    assert not found, "\n".join(found)


@OPS
def test_code_for_a_size_not_known_is_right_and_stays_inside_its_buffers(op):
    found = faults(symbolic_cases(op), "host")
    assert not found, "\n".join(found)


@pytest.mark.parametrize("side, byte", [("end", 100), ("start", -1)])
def test_touched_page_ends_the_child_and_names_the_step(side, byte):
    def step():
        with GuardedMemory(side) as memory:
            ctypes.memset(memory.buffer("b", 100, 4).ctypes.data + byte, 0, 1)

    assert faults_in_child(lambda: iter([("fine", lambda: None), ("bad", step)])) == [
        "bad: the process ended with SIGSEGV"
    ]


@pytest.mark.parametrize("side, byte", [("end", -1), ("start", 100)])
def test_write_beside_a_buffer_is_seen(side, byte):
    with GuardedMemory(side) as memory:
        ctypes.memset(memory.buffer("b", 100, 4).ctypes.data, 0, 100)
        assert memory.overwritten() == []
        ctypes.memset(memory.buffer("c", 100, 4).ctypes.data + byte, 0, 1)
        assert memory.overwritten() == ["c"]


def believed_smaller(artifact, kind):
    """The same code, of whose buffers of a kind ("input" or "output") the last element is said not to exist."""

    def smaller(type_):
        return type_.with_shape((type_.shape[0] - 1,))

    places = tuple(replace(p, type=smaller(p.type)) if p.kind == kind else p for p in artifact.plan.places)
    types = {f"{kind}s": tuple(map(smaller, getattr(artifact, f"{kind}s")))}
    return replace(artifact, plan=replace(artifact.plan, places=places), **types)


@pytest.mark.parametrize("size", [1, 5, 33])
@pytest.mark.parametrize(("kind", "side", "fault"), [
    ("input", "end", "the process ended with SIGSEGV"),
    ("output", "end", "the process ended with SIGSEGV"),
    ("output", "start", "wrote beside output 0"),
    ("input", "start", "NaN"),  # reads what lies beside the buffer: poison
])  # fmt: skip
def test_native_code_that_goes_one_element_too_far_is_caught(kind, side, fault, size):
    def attempts():
        program = Program([Case("neg", REGISTRY["neg"], (TensorType(f32, (size,)),), Sample((), {}), {})])
        yield "right", lambda: program.check(side, [Sample((np.ones(size, np.float32),), {})])
        wrong = believed_smaller(program.artifact, kind)
        argument = np.ones(size - (kind == "input"), np.float32)

        def run():
            (got,) = run_guarded(program.code, wrong, [argument], side)
            assert not np.isnan(got).any(), "NaN"

        yield "too far", run

    (found,) = faults_in_child(attempts)
    assert found.startswith("too far")
    assert fault in found
