"""Where a NaN or Inf came from: steps that are looked at, and run again op by op once something is wrong."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from kgraph.data import surely_finite
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
        self.program = program
        self._states = [(variable, np.empty_like(variable.array)) for variable in program.program.variables]
        self._floats = [variable.array for variable, _ in self._states if variable.array.dtype.kind == "f"]

    def save(self) -> None:
        """Remember the states as they are."""
        for variable, saved in self._states:
            np.copyto(saved, variable.array)

    def restore(self) -> None:
        """Put the remembered states back."""
        for variable, saved in self._states:
            variable.set_value(saved)

    def fault(self, results: Sequence[Array]) -> str:
        """What is not finite among results and states, such as "loss became NaN"; empty if nothing is."""
        if all(map(surely_finite, [*results, *self._floats])):
            return ""
        named = zip(self.program.program.results, results, strict=False)  # there may be none
        states = ((v.path, v.array) for v in self.program.program.variables)
        for name, array in [*named, *states]:
            wrong = _wrong(array)
            if wrong:
                return f"{name} became {wrong}"
        return ""

    def origin(self, arguments: Sequence[Array]) -> str:
        """Words for the op that made the first NaN or Inf, when the step runs again from the states as they are."""
        trail = _Trail()
        self.program.watch(arguments, trail)
        return trail.words(self.program.expanded.outputs)

    def run(self, arguments: Sequence[Array], execution: str | None, batch: int) -> list[Array]:
        """One run of the program; NotFinite, with the states as before, if something is not finite after it."""
        self.save()
        results = self.program.run(arguments, execution)
        fault = self.fault(results)
        if fault:
            self.restore()
            raise NotFinite(batch, fault, self.origin(arguments))
        return results


class GuardedRuns:
    """Runs of programs batch by batch. The results are looked at after each, the states, which are more, only now and
    then; if something is wrong, all batches since the last look run again one by one, to find the one that was.

    Args:
        execution: "native" or "interpreter"; None means the setting in force.
    """

    SECONDS = 0.05  # between two looks
    BYTES = 1 << 22  # of batches that are kept to be run again: they should not push all else out of the cache

    def __init__(self, execution: str | None) -> None:
        self._execution = execution
        self._guards: dict[CompiledProgram, Guard] = {}
        self._guard: Guard | None = None
        self._kept: list[tuple[int, Sequence[Array]]] = []
        self._bytes, self._until = 0, 0.0

    def run(self, program: CompiledProgram, arguments: Sequence[Array], number: int, look: bool) -> list[Array]:
        """Run batch `number`.

        Args:
            program, arguments: as of `CompiledProgram.run`.
            number: of the batch in its epoch.
            look: whether to look at the states now.

        Raises:
            NotFinite: this batch, or one since the last look, went wrong; the states are those before it.
        """
        if self._guard is None or self._guard.program is not program:
            self.look()
            self._guard = self._guards.get(program) or self._guards.setdefault(program, Guard(program))
        if not self._kept:
            self._guard.save()
            self._until = time.perf_counter() + self.SECONDS
        results = program.run(arguments, self._execution)
        due = look or self._bytes > self.BYTES or time.perf_counter() > self._until
        if due or not all(map(surely_finite, results)):
            self._kept.append((number, arguments))
            self.look(results)
            return results
        copies = [array.copy() for array in arguments]  # whoever makes the batches may fill the same arrays again
        self._kept.append((number, copies))
        for array in copies:
            self._bytes += array.nbytes
        return results

    def look(self, results: Sequence[Array] = ()) -> None:
        """Look at these results and at the states; NotFinite, with the states before it, if a batch went wrong."""
        kept, self._kept, self._bytes = self._kept, [], 0
        guard = self._guard
        if not kept or guard is None or not guard.fault(results):
            return
        guard.restore()
        for number, arguments in kept:
            guard.run(arguments, self._execution, number)


def _wrong(array: Array) -> str:
    """ "NaN" or "Inf" if the array has one; "" if all is finite."""
    if surely_finite(array):
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
    batch_size: int
    with_rows: list[bool]
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
        self._batches, self._arrays, self.batch_size = batches, arrays, batch_size
        self._guard = Guard(program)
        self._order: Array | None = None
        self.steps, self.results, self.with_rows = batches.steps, batches.results, batches.with_rows

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
                rows = slice(number * self.batch_size, (number + 1) * self.batch_size)
                batch = [a[rows] if self._order is None else a[self._order[rows]] for a in self._arrays]
                raise NotFinite(number, fault, self._guard.origin(batch))

    def _fault(self, first: int, count: int) -> str:
        size = self.batch_size
        rows, batches = slice(first * size, (first + count) * size), slice(first, first + count)
        with_rows = len(self._arrays[0])
        return self._guard.fault([r[rows if len(r) == with_rows else batches] for r in self.results])
