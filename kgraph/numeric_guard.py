"""Where a NaN or Inf came from: steps that are looked at, and run again op by op once something is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from kgraph.engine import CompiledProgram
from kgraph.errors import NumericError
from kgraph.ir.graph import Node, Value

Array: TypeAlias = "npt.NDArray[Any]"


class NotFinite(NumericError):
    """What a guarded step raises; the loop round it knows the epoch.

    Args:
        batch: number of the batch in its epoch.
        what: the result or variable that is not finite, such as "loss became NaN".
        origin: which op made it.
    """

    def __init__(self, batch: int, what: str, origin: str) -> None:
        super().__init__(f"{what} at batch {batch}; {origin}")
        self.batch, self.changed, self.origin = batch, what, origin

    def at(self, call: str, epoch: int | None = None) -> NumericError:
        """The error for the user."""
        place = f"batch {self.batch}" if epoch is None else f"epoch {epoch} batch {self.batch}"
        return NumericError(f"{call}: {self.changed} at {place}; {self.origin}")


@contextmanager
def reported(call: str, epoch: int | None = None) -> Iterator[None]:
    """Let a fault that a guarded step finds be told with the method, and the epoch if there are any."""
    try:
        yield
    except NotFinite as error:
        raise error.at(call, epoch) from None


class Guard:
    """Looks at a program's results and states; can take back a step and say which op of it made the first NaN or Inf.

    Args:
        program: whose steps are guarded.
    """

    def __init__(self, program: CompiledProgram) -> None:
        self._program = program
        self._floats = [v for v in program.program.variables if v.array.dtype.kind == "f"]
        self._saved = [np.empty_like(v.array) for v in program.program.variables]

    def save(self) -> None:
        """Remember the states as they are."""
        for variable, saved in zip(self._program.program.variables, self._saved, strict=True):
            saved[...] = variable.array

    def restore(self) -> None:
        """Put the remembered states back."""
        for variable, saved in zip(self._program.program.variables, self._saved, strict=True):
            variable.array[...] = saved

    def fault(self, results: Sequence[Array]) -> str:
        """What is not finite among results and states, such as "loss became NaN"; empty if nothing is."""
        named = zip(self._program.program.results, results, strict=True)
        for name, array in [*named, *((v.path, v.array) for v in self._floats)]:
            wrong = _wrong(array)
            if wrong:
                return f"{name} became {wrong}"
        return ""

    def origin(self, arguments: Sequence[Array]) -> str:
        """Words for the op that made the first NaN or Inf, when the step runs again from the states as they are."""
        trail = _Trail()
        self._program.watch(arguments, trail)
        return trail.words(self._program.expanded.outputs)

    def run(self, arguments: Sequence[Array], execution: str | None, batch: int) -> list[Array]:
        """One run of the program; NotFinite, with the states as before, if something is not finite after it."""
        self.save()
        results = self._program.run(arguments, execution)
        fault = self.fault(results)
        if fault:
            self.restore()
            raise NotFinite(batch, fault, self.origin(arguments))
        return results


def _wrong(array: Array) -> str:
    """ "NaN" or "Inf" if the array has one; "" if all is finite."""
    if array.dtype.kind != "f" or not array.size:
        return ""
    with np.errstate(all="ignore"):
        if np.isfinite(array.sum()):  # several times cheaper than a mask; it may overflow: then look closely
            return ""
    return "NaN" if np.isnan(array).any() else "" if np.isfinite(array).all() else "Inf"


class _Trail:
    """Remembers which node made each value that is not finite."""

    def __init__(self) -> None:
        self._wrong: dict[Value, str] = {}
        self._makers: dict[Value, Node] = {}

    def __call__(self, node: Node, results: Sequence[Array]) -> None:
        for value, array in zip(node.outputs, results, strict=True):
            wrong = _wrong(array)
            # A constant may well be infinite, such as the one that masks attention.
            if wrong and node.inputs:
                self._wrong[value], self._makers[value] = wrong, node

    def words(self, outputs: Sequence[Value]) -> str:
        """The op at which the way from a wrong output back ends: along NaN, then along Inf."""
        bad = [value for value in outputs if value in self._wrong]
        if not bad:
            return "the interpreter makes finite numbers of the same step; compare() shows where they differ"
        value = self._back(bad[0])
        text = f"first {self._wrong[value]}: {_place(self._makers[value])}"
        before = next((v for v in self._makers[value].inputs if v in self._wrong), None)
        if before is not None:  # NaN made of infinities
            text += f", out of {self._wrong[before]} from {_place(self._makers[self._back(before)])}"
        return text

    def _back(self, value: Value) -> Value:
        """Follow operands that are wrong in the same way to the first."""
        while True:
            same = (v for v in self._makers[value].inputs if self._wrong.get(v) == self._wrong[value])
            before = next(same, None)
            if before is None:
                return value
            value = before


def _place(node: Node) -> str:
    layer, slash, rest = node.loc.layer.rpartition("/")
    backwards = rest == "grad"
    where = (layer if backwards else node.loc.layer) if slash else ("" if backwards else rest)
    text = f"op '{node.op.name}'" + (f" in layer '{where}'" if where else "")
    return f"{text} (gradient)" if backwards else text


class Batches(Protocol):
    """A program bound to arrays; see `NativeBatches`."""

    steps: int
    results: list[Array]

    def shuffle(self, order: Array | None) -> None:
        """Take row `order[i]` in the place of row i."""

    def run(self, first: int, count: int) -> None:
        """Run some batches."""


class GuardedBatches:
    """Batches that are looked at after each stretch; one with a fault is run again batch by batch to find it.

    Args:
        batches: what runs.
        program, arrays, batch_size: what it was made of.
    """

    def __init__(self, batches: Batches, program: CompiledProgram, arrays: Sequence[Array], batch_size: int) -> None:
        self._batches, self._arrays, self._batch_size = batches, arrays, batch_size
        self._guard = Guard(program)
        self._order: Array | None = None
        self.steps, self.results = batches.steps, batches.results

    def shuffle(self, order: Array | None) -> None:
        """Take row `order[i]` in the place of row i from now on; None for the order as it is."""
        self._order = order
        self._batches.shuffle(order)

    def run(self, first: int, count: int) -> None:
        """Run the batches first .. first+count-1; NotFinite, with the states before the batch, if one goes wrong."""
        self._guard.save()
        self._batches.run(first, count)
        if not self._fault(first, count):
            return
        self._guard.restore()
        for number in range(first, first + count):
            self._guard.save()
            self._batches.run(number, 1)
            fault = self._fault(number, 1)
            if fault:
                self._guard.restore()
                rows = slice(number * self._batch_size, (number + 1) * self._batch_size)
                batch = [a[rows] if self._order is None else a[self._order[rows]] for a in self._arrays]
                raise NotFinite(number, fault, self._guard.origin(batch))

    def _fault(self, first: int, count: int) -> str:
        size = self._batch_size
        rows, batches = slice(first * size, (first + count) * size), slice(first, first + count)
        with_rows = len(self._arrays[0])
        return self._guard.fault([r[rows if len(r) == with_rows else batches] for r in self.results])
