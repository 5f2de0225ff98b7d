"""Calls of `kgraph.ops` as text, so that one table serves NumPy, the interpreter, native code, slopes and Keras.

A case is a call such as "add(x, y)", evaluated among the functions of kgraph.ops and the arrays of `ARRAYS`. What it
must give is the same text among NumPy's functions, or another text where the names differ.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from public_names import names_of

import kgraph.ops as ops
from kgraph.config import override
from kgraph.engine import CompiledProgram
from kgraph.ir.dtypes import dtype_of
from kgraph.ir.opdef import emitting
from kgraph.ir.operators import Operators
from kgraph.ir.types import TensorType
from kgraph.nesting import flatten
from kgraph.primitives import composites
from kgraph.trace import Trace, gradients

_rng = np.random.default_rng(11)

# What the letters of the cases stand for. Floats keep away from the borders of functions with jumps.
ARRAYS: dict[str, np.ndarray] = {
    "x": _rng.uniform(-2, 2, (3, 4)).astype("float32"),
    "y": _rng.uniform(-2, 2, (3, 4)).astype("float32"),
    "p": _rng.uniform(0.2, 3, (3, 4)).astype("float32"),
    "u": _rng.uniform(-0.9, 0.9, (3, 4)).astype("float32"),
    "v": _rng.uniform(-2, 2, (4,)).astype("float32"),
    "w": _rng.uniform(-2, 2, (5,)).astype("float32"),
    "t": _rng.uniform(-2, 2, (2, 3, 4)).astype("float32"),
    "m": (np.eye(4) * 3 + _rng.uniform(-1, 1, (4, 4))).astype("float32"),
    "z": np.array([[-1.5, -0.5, 0.0, 0.5], [1.5, np.nan, np.inf, -np.inf]], "float32"),
    "n": np.array([[0.5, np.nan, -1.5, 2.0], [1.0, 3.0, np.nan, 0.25]], "float32"),
    "i": _rng.integers(-9, 10, (3, 4)).astype("int32"),
    "j": np.array([[1, -2, 3, -4], [5, 2, -3, 7], [-1, 4, 6, -5]], "int32"),
    "k": _rng.integers(0, 4, (3, 4)).astype("int32"),
    "g": _rng.integers(0, 200, (3, 4)).astype("uint8"),
    "b": _rng.integers(0, 2, (3, 4)).astype(bool),
    "c": _rng.integers(0, 2, (3, 4)).astype(bool),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One call.

    Attributes:
        call: text, evaluated among kgraph.ops.
        expected: text, evaluated among NumPy's functions and `np`; `call` if empty.
        smooth: whether the slopes can be compared with differences.
        tolerance: relative error that the float32 result may have against NumPy in float64.
    """

    call: str
    expected: str = ""
    smooth: bool = True
    tolerance: float = 3e-6

    @property
    def letters(self) -> list[str]:
        """The arrays it takes."""
        return sorted(set(re.findall(r"\b[a-z]\b(?!\s*=|\()", self.call)) & set(ARRAYS))


def cases(*rows: Any) -> list[Case]:
    """Cases from rows: a text, (text, expected text), or a Case."""
    made = []
    for row in rows:
        made.append(row if isinstance(row, Case) else Case(row) if isinstance(row, str) else Case(*row))
    return made


def evaluate(text: str, module: ModuleType, arrays: dict[str, Any]) -> Any:
    """The value of a text among the functions of a module."""
    return eval(text, {**names_of(module), "np": np, "math": math, **arrays})


def leaves(value: Any) -> list[np.ndarray]:
    """Results as a flat list of arrays."""
    return [np.asarray(leaf) for leaf in flatten(value)]


def expected_of(case: Case) -> list[np.ndarray]:
    """What NumPy gives, floats computed in float64."""
    wide = {n: a.astype("float64") if a.dtype == np.float32 else a for n, a in ARRAYS.items()}
    with np.errstate(all="ignore"):
        return leaves(evaluate(case.expected or case.call, np, wide))


def assert_like_numpy(case: Case) -> None:
    """The call on arrays gives what NumPy gives, in values, shape and kind of element type."""
    found, wanted = leaves(evaluate(case.call, ops, ARRAYS)), expected_of(case)
    assert len(found) == len(wanted)
    for got, want in zip(found, wanted, strict=True):
        assert got.shape == want.shape, f"{case.call}: {got.shape} != {want.shape}"
        assert got.dtype.kind == want.dtype.kind or {got.dtype.kind, want.dtype.kind} <= {"i", "u"}, case.call
        assert got.dtype.name not in ("float64", "int64"), f"{case.call}: {got.dtype}"
        scale = case.tolerance * np.max(np.abs(want[np.isfinite(want)]), initial=1.0) if want.dtype.kind == "f" else 0
        np.testing.assert_allclose(got, want, rtol=case.tolerance, atol=scale, err_msg=case.call)


def traced(rows: list[Case], arrays: dict[str, np.ndarray]) -> tuple[CompiledProgram, list[str]]:
    """One program that makes all calls; the name of the call of each result."""
    trace = Trace("ops")
    with emitting(trace):
        values = {n: trace.argument(TensorType(dtype_of(a.dtype), a.shape), n) for n, a in arrays.items()}
        results = []
        for case in rows:
            for leaf in flatten(evaluate(case.call, ops, values)):
                if isinstance(leaf, Operators):
                    results.append((case.call, leaf))
        program = trace.program([(f"r{n}", leaf) for n, (_, leaf) in enumerate(results)])
    return CompiledProgram(program), [name for name, _ in results]


def assert_native_like_interpreter(rows: list[Case]) -> None:
    """All calls as one native program give what the interpreter gives."""
    program, names = traced(rows, ARRAYS)
    arrays = list(ARRAYS.values())
    native, oracle = (program.run(arrays, execution=how) for how in ("native", "interpreter"))
    for name, got, want in zip(names, native, oracle, strict=True):
        scale = 2e-5 * np.max(np.abs(want[np.isfinite(want)]), initial=1.0) if want.dtype.kind == "f" else 0
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=scale, err_msg=name)


def assert_slopes(rows: list[Case]) -> None:
    """Gradients of all smooth calls are the slopes along one random direction, in float64."""
    wide = {n: a.astype("float64") if a.dtype == np.float32 else a for n, a in ARRAYS.items() if n not in "zn"}
    floats = [n for n, a in wide.items() if a.dtype.kind == "f"]
    smooth = [c for c in rows if c.smooth and set(c.letters) <= set(wide) and set(c.letters) & set(floats)]
    rng = np.random.default_rng(5)
    direction = {n: rng.normal(size=wide[n].shape) for n in floats}
    trace = Trace("slopes")
    with emitting(trace), override(floatx="float64"):
        values = {n: trace.argument(TensorType(dtype_of(a.dtype), a.shape), n) for n, a in wide.items()}
        results = []
        for case in smooth:
            parts = [v for v in flatten(evaluate(case.call, ops, values)) if trace.type_of(v).dtype.is_float]
            if not parts:
                continue
            weights = [trace.constant(rng.normal(size=trace.type_of(v).shape), trace.type_of(v).dtype) for v in parts]
            total = sum(composites.cast(composites.sum(v * w), "float64") for v, w in zip(parts, weights))
            inputs = [values[n] for n in case.letters if n in floats]
            slope = sum(composites.sum(g * trace.constant(direction[n])) for n, g in zip(
                [n for n in case.letters if n in floats], gradients(total, inputs)))
            results += [(case.call, total), (case.call, slope)]
        program = CompiledProgram(trace.program([(f"r{n}", leaf) for n, (_, leaf) in enumerate(results)]))

    def run(step: float) -> list[np.ndarray]:
        moved = [a + step * direction[n] if n in direction else a for n, a in wide.items()]
        return program.run(moved, execution="interpreter")

    h = 1e-5
    here, near, far = run(0.0), (run(h), run(-h)), (run(2 * h), run(-2 * h))
    for n in range(0, len(results), 2):
        wanted = (8 * (near[0][n] - near[1][n]) - (far[0][n] - far[1][n])) / (12 * h)
        got, size = here[n + 1], 1.0 + abs(here[n]) + abs(wanted)
        assert abs(got - wanted) <= 1e-6 * size, f"{results[n][0]}: gradient {got}, slope {wanted}"


def used(rows: list[Case]) -> set[str]:
    """Names of the functions that the cases call."""
    return {name for case in rows for name in re.findall(r"\b([A-Za-z_]\w*)\(", case.call)}
