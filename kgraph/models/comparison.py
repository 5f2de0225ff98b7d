"""The report of `Model.compare`: interpreter against native code, tensor by tensor."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kgraph.engine import CompiledProgram
from kgraph.variable import Variable

Array: TypeAlias = "npt.NDArray[Any]"

# Machine epsilons by which two orders of summation may differ, relative to the largest element of a tensor. Sums of
# n terms differ by about sqrt(n) epsilons of the largest partial sum: 256 leaves room for 65,536 terms, and for the few
# ulp of exp, log and tanh on the way.
ROUNDINGS = 256


@dataclass(frozen=True)
class Row:
    """One compared tensor.

    Attributes:
        name: such as "output dense_1" or "updated dense/kernel".
        shape: of the tensor.
        absolute: largest absolute difference.
        relative: that, divided by the largest magnitude of the interpreter's result.
        ulps: largest difference in units in the last place of the element it occurs at.
        tolerance: limit of `relative`.
        ok: whether it is within the limit, and NaN and infinities are at the same places.
    """

    name: str
    shape: tuple[int, ...]
    absolute: float
    relative: float
    ulps: float
    tolerance: float
    ok: bool


@dataclass(frozen=True)
class Comparison:
    """All compared tensors; `print` it for a table."""

    rows: list[Row]

    @property
    def ok(self) -> bool:
        """Whether every tensor agrees within its tolerance."""
        return all(row.ok for row in self.rows)

    def __str__(self) -> str:
        head = ("tensor", "shape", "max abs", "max rel", "max ulp", "tolerance", "verdict")
        lines = [
            (row.name, str(row.shape), f"{row.absolute:.2e}", f"{row.relative:.2e}", f"{row.ulps:.1f}",
             f"{row.tolerance:.2e}", "ok" if row.ok else "DIFFERS")
            for row in self.rows
        ]  # fmt: skip
        widths = [max(len(line[n]) for line in [head, *lines]) for n in range(len(head))]
        made = []
        for line in [head, *lines]:
            left, right = line[:2], line[2:]
            cells = [cell.ljust(w) for cell, w in zip(left, widths[:2], strict=True)]
            cells += [cell.rjust(w) for cell, w in zip(right, widths[2:], strict=True)]
            made.append("  ".join(cells))
        made.insert(1, "-" * len(made[0]))
        wrong = sum(not row.ok for row in self.rows)
        made.append(f"{len(self.rows)} tensors compared, " + (f"{wrong} differ" if wrong else "all within tolerance"))
        return "\n".join(made)


def compare_arrays(name: str, expected: Array, received: Array) -> Row:
    """Compare a tensor of the interpreter with the native one.

    The tolerance is 256 machine epsilons of the element type, relative to the largest magnitude in the tensor (for
    float32 3.1e-5, for float64 5.7e-14); integers and bools must be equal.
    """
    if expected.dtype.kind != "f":
        equal = bool(np.array_equal(expected, received))
        difference = 0.0 if equal else float(np.abs(expected.astype("f8") - received.astype("f8")).max())
        return Row(name, expected.shape, difference, difference, difference, 0.0, equal)
    tolerance = ROUNDINGS * float(np.finfo(expected.dtype).eps)
    finite = np.isfinite(expected)
    same_places = bool(np.array_equal(expected[~finite], received[~finite], equal_nan=True))
    a, b = expected[finite].astype(np.float64), received[finite].astype(np.float64)
    same_places = same_places and bool(np.isfinite(b).all())
    absolute = float(np.abs(a - b).max(initial=0.0)) if same_places else float("nan")
    scale = float(np.abs(a).max(initial=0.0))
    spacing = np.spacing(np.maximum(np.abs(a), np.abs(b)).astype(expected.dtype)).astype(np.float64)
    with np.errstate(all="ignore"):
        ulps = float((np.abs(a - b) / spacing).max(initial=0.0))
    relative = absolute / scale if scale else absolute
    return Row(name, expected.shape, absolute, relative, ulps, tolerance, same_places and relative <= tolerance)


def compare_program(
    program: CompiledProgram, arrays: Sequence[Array], what: str | None, updated: Collection[Variable] = ()
) -> list[Row]:
    """Run a program in both ways from the same state, and compare.

    Args:
        program: to run.
        arrays: its arguments.
        what: put before the name of each result; None leaves the results out.
        updated: variables whose new values are compared.

    The variables have their old values afterwards.
    """
    variables = program.program.variables
    before = [variable.numpy() for variable in variables]
    outcomes = []
    try:
        for execution in ("interpreter", "native"):
            results = program.run(arrays, execution)
            outcomes.append((results, [variable.numpy() for variable in variables]))
            _restore(variables, before)
    finally:
        _restore(variables, before)
    (expected, expected_state), (received, received_state) = outcomes
    rows = []
    if what is not None:
        for name, a, b in zip(program.program.results, expected, received, strict=True):
            rows.append(compare_arrays(f"{what} {name}".strip(), a, b))
    for variable, a, b in zip(variables, expected_state, received_state, strict=True):
        if variable in updated:
            rows.append(compare_arrays(f"updated {variable.path}", a, b))
    return rows


def _restore(variables: Sequence[Variable], values: Sequence[Array]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.array[...] = value
