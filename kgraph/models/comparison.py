"""The report of `Model.compare`: interpreter against native code, tensor by tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kgraph.engine import CompiledProgram
from kgraph.record import record
from kgraph.variable import Variable

Array: TypeAlias = "npt.NDArray[Any]"

# Machine epsilons by which two orders of summation may differ, relative to the largest element of a tensor. Sums of
# n terms differ by about sqrt(n) epsilons of the largest partial sum: 256 leaves room for 65,536 terms, and for the few
# ulp of exp, log and tanh on the way.
ROUNDINGS = 256


@record
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


@record
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


def compare_arrays(name: str, expected: Array, received: Array, slack: Array | None = None) -> Row:
    """Compare a tensor of the interpreter with the native one.

    The tolerance is 256 machine epsilons of the element type, relative to the largest magnitude in the tensor (for
    float32 3.1e-5, for float64 5.7e-14); integers and bools must be equal. `slack` allows more at single elements, as
    an absolute difference. The row shows the element that uses up most of what it is allowed.
    """
    if expected.dtype.kind != "f":
        equal = bool(np.array_equal(expected, received))
        largest = 0.0 if equal else float(np.abs(expected.astype("f8") - received.astype("f8")).max())
        return Row(name, expected.shape, largest, largest, largest, 0.0, equal)
    tolerance = ROUNDINGS * float(np.finfo(expected.dtype).eps)
    finite = np.isfinite(expected)
    same_places = bool(np.array_equal(expected[~finite], received[~finite], equal_nan=True))
    a, b = expected[finite].astype(np.float64), received[finite].astype(np.float64)
    if not (same_places and np.isfinite(b).all()):
        return Row(name, expected.shape, float("nan"), float("nan"), float("nan"), tolerance, False)
    if not a.size:
        return Row(name, expected.shape, 0.0, 0.0, 0.0, tolerance, True)
    difference: Array = np.abs(a - b)
    scale = float(np.abs(a).max()) or 1.0
    allowed: Array = tolerance * scale + (np.zeros_like(a) if slack is None else slack[finite].astype(np.float64))
    worst = int(np.argmax(difference / allowed))
    spacing = np.spacing(np.maximum(np.abs(a), np.abs(b)).astype(expected.dtype)).astype(np.float64)
    return Row(
        name, expected.shape, float(difference[worst]), float(difference[worst]) / scale,
        float((difference / spacing).max()), float(allowed[worst]) / scale, bool(difference[worst] <= allowed[worst]),
    )  # fmt: skip


@record
class _Outcome:
    """Results of a program, and its variables before and after it."""

    results: list[Array]
    before: dict[Variable, Array]
    after: dict[Variable, Array]


def _both_ways(program: CompiledProgram, arrays: Sequence[Array]) -> tuple[_Outcome, _Outcome]:
    """What interpreter and native code make of the same state; the variables have their old values afterwards."""
    variables = program.program.variables
    before = {variable: variable.numpy() for variable in variables}
    outcomes = []
    for execution in ("interpreter", "native"):
        try:
            results = program.run(arrays, execution)
            outcomes.append(_Outcome(results, before, {variable: variable.numpy() for variable in variables}))
        finally:
            for variable, value in before.items():
                variable.set_value(value)
    return outcomes[0], outcomes[1]


def compare_results(program: CompiledProgram, arrays: Sequence[Array], what: str) -> list[Row]:
    """Run a program in both ways from the same state and compare its results; `what` goes before their names."""
    return _result_rows(program, *_both_ways(program, arrays), what)


def _result_rows(program: CompiledProgram, expected: _Outcome, received: _Outcome, what: str) -> list[Row]:
    return [
        compare_arrays(f"{what} {name}".strip(), a, b)
        for name, a, b in zip(program.program.results, expected.results, received.results, strict=True)
    ]


def compare_training(
    gradients: CompiledProgram, train: CompiledProgram, arrays: Sequence[Array], trained: Sequence[Variable]
) -> list[Row]:
    """Compare the loss, every gradient and every updated variable of a training step.

    Optimizers such as Adam divide a gradient by its own size, so an element whose gradient is rounding noise gets an
    update that is noise. An updated element may therefore differ by the share of its step that the tolerance of the
    gradients is of its own gradient, besides the tolerance of its tensor.

    Args:
        gradients: program whose results are the loss and the gradients of `trained`, in order.
        train: the training program.
        arrays: arguments of both.
        trained: the variables that are updated.
    """
    expected, received = _both_ways(gradients, arrays)
    rows = _result_rows(gradients, expected, received, "")
    slopes = dict(zip(trained, expected.results[1:], strict=True))
    expected, received = _both_ways(train, arrays)
    for variable in trained:
        new, slope = expected.after[variable], np.abs(slopes[variable])
        noise = ROUNDINGS * np.finfo(new.dtype).eps * slope.max(initial=0.0)
        with np.errstate(all="ignore"):
            share = np.where(slope > noise, noise / slope, 1.0)
        slack = share * np.abs(new - expected.before[variable])
        rows.append(compare_arrays(f"updated {variable.path}", new, received.after[variable], slack))
    return rows
