"""The steps of an epoch, over arrays or over a stream of batches: one interface for the loops of fit and evaluate."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from kgraph.data import BatchSource, warn_user
from kgraph.engine import CompiledProgram
from kgraph.errors import DataError
from kgraph.numeric_guard import GuardedRuns
from kgraph.stepping import BatchLoop


class Steps(Protocol):
    """Steps of a program, epoch after epoch."""

    @property
    def steps(self) -> int | None:
        """Number of steps of an epoch, as far as it is known."""

    @property
    def done(self) -> int:
        """Number of steps of this epoch that have run."""

    @property
    def unfinished(self) -> bool:
        """Whether the epoch has another step."""

    def begin(self) -> None:
        """Begin an epoch."""

    def advance(self, at_most: int | None = None) -> np.ndarray:
        """Run some steps; the first result, usually the loss, of each."""

    def look(self) -> None:
        """NotFinite if a guarded step that nobody has looked at went wrong."""

    def finish(self) -> None:
        """End the epoch; warn once if there were fewer steps than asked for."""

    def ended(self, epochs: int, wanted: int) -> None:
        """Warn, unless that was done, that there are no data for further epochs."""

    def position(self) -> dict[str, Any]:
        """How far the steps are, as JSON can hold it."""

    def go_to(self, position: dict[str, Any], batch: int) -> None:
        """Go on from a position of the same steps over the same data, after so many batches of an epoch."""


class Shortage:
    """Warns once that data end too early.

    Args:
        call: the method, for messages.
        wanted: number of batches that an epoch should have; None for all there are.
    """

    def __init__(self, call: str, wanted: int | None) -> None:
        self._call, self._wanted = call, wanted
        self._told = False

    def check(self, got: int) -> None:
        """Warn unless `got` batches are enough."""
        if self._wanted is not None and got < self._wanted and not self._told:
            self._told = True
            warn_user(f"{self._call}: the data ended too early: got {got} of {self._wanted} batches")

    def check_epochs(self, got: int, wanted: int) -> None:
        """Warn that data for only `got` epochs came."""
        if not self._told:
            self._told = True
            advice = "Give steps_per_epoch, or data that can begin anew"
            warn_user(f"{self._call}: the data ended after {got} of {wanted} epochs. {advice}")


class ArraySteps:
    """Steps over whole arrays.

    Args:
        call: the method, for messages.
        loop: over all batches of the arrays.
        rows: number of samples.
        wanted: number of steps of an epoch; the next one goes on from there. None for all.
        random: draws a new order each time the arrays begin anew; None for the order as it is.
    """

    def __init__(
        self, call: str, loop: BatchLoop, rows: int, wanted: int | None = None,
        random: np.random.Generator | None = None,
    ) -> None:  # fmt: skip
        self._loop, self._rows, self._wanted, self._random = loop, rows, wanted, random
        self._shortage = Shortage(call, wanted)
        self._first = 0
        self._before_order: Any = None  # state of `random` before it drew the order in force
        self._within = False  # an epoch that another process began

    @property
    def steps(self) -> int:
        """Number of steps of an epoch."""
        return self._loop.steps if self._wanted is None else self._wanted

    @property
    def done(self) -> int:
        """Number of steps of this epoch that have run."""
        return self._loop.done - self._first

    @property
    def unfinished(self) -> bool:
        """Whether the epoch has another step."""
        return self._loop.unfinished and self.done < self.steps

    def begin(self) -> None:
        """Begin an epoch."""
        if self._within:
            self._within = False
            return
        if self._wanted is None or self._loop.done == 0 or not self._loop.unfinished:
            self._restart()
        self._first = self._loop.done

    def _restart(self) -> None:
        if self._random is not None:
            self._before_order = self._random.bit_generator.state
        self._loop.restart(None if self._random is None else self._random.permutation(self._rows))

    def position(self) -> dict[str, Any]:
        """State of the random numbers before the order was drawn, and where in it the epoch and the next step begin."""
        return {"order": self._before_order, "first": self._first, "done": self._loop.done}

    def go_to(self, position: dict[str, Any], batch: int) -> None:
        """Draw the same order, and go on where it was left."""
        if self._random is not None and position["order"] is not None:
            self._random.bit_generator.state = position["order"]
        self._restart()
        self._first, self._loop.done = position["first"], position["done"]
        self._within = batch > 0

    def advance(self, at_most: int | None = None) -> np.ndarray:
        """Run the next stretch; the losses of its batches."""
        first, left = self._loop.done, self.steps - self.done
        self._loop.advance(left if at_most is None else min(left, at_most))
        return self._loop.results[0][first : self._loop.done]

    def look(self) -> None:
        """Nothing: guarded batches are looked at after each stretch."""

    def finish(self) -> None:
        """End the epoch."""
        self._shortage.check(self.done)

    def ended(self, epochs: int, wanted: int) -> None:
        """Warn that there are no data for further epochs."""
        self._shortage.check_epochs(epochs, wanted)


class Preparation(Protocol):
    """Makes what a stream gave into a program and its arguments; `number` counts the batches of the epoch."""

    def __call__(self, batch: Any, number: int) -> tuple[CompiledProgram, list[np.ndarray]]: ...


class StreamSteps:
    """Steps over a stream; a batch is taken from it when the loop asks whether there is another.

    Args:
        call: the method, for messages.
        source: of the batches.
        prepare: makes a batch into arguments.
        wanted: number of steps of an epoch; None for all that there are.
        execution: "native" or "interpreter"; None means the setting in force.
        guarded: whether a NaN or Inf is an error.

    Attributes:
        results: of the last step.

    Raises:
        DataError: there is no batch at all.
    """

    def __init__(
        self, call: str, source: BatchSource, prepare: Preparation, wanted: int | None, execution: str | None,
        guarded: bool = False,
    ) -> None:  # fmt: skip
        self._source, self._prepare, self._execution, self._call = source, prepare, execution, call
        self._guarded = GuardedRuns(execution) if guarded else None
        self._wanted = wanted
        self._shortage = Shortage(call, source.length if wanted is None else wanted)
        self._next: tuple[CompiledProgram, list[np.ndarray]] | None = None
        self.done = 0
        self.results: list[np.ndarray] = []
        # The first batch is looked at before anything else happens: a model may be built from it.
        source.begin()
        self._begun = True
        if not self.unfinished:
            raise DataError(f"{call}: the data have no batches")

    @property
    def steps(self) -> int | None:
        """Number of steps of an epoch, as far as it is known."""
        return self._source.length if self._wanted is None else self._wanted

    @property
    def unfinished(self) -> bool:
        """Whether the epoch has another step."""
        if self._next is None and (self._wanted is None or self.done < self._wanted):
            taken = self._source.take()
            if taken is not None:
                self._next = self._prepare(taken[0], self.done)
        return self._next is not None

    def begin(self) -> None:
        """Begin an epoch."""
        if not self._begun:
            self._source.begin()
            self.done = 0
        self._begun = False

    def position(self) -> dict[str, Any]:
        """Nothing: a stream begins anew."""
        return {}

    def go_to(self, position: dict[str, Any], batch: int) -> None:
        """Drop the batches that the epoch has had already."""
        while self.done < batch and self.unfinished:
            self._next = None
            self.done += 1

    def advance(self, at_most: int | None = None) -> np.ndarray:
        """Run one step; its loss."""
        assert self._next is not None
        program, arrays = self._next
        self._next = None
        try:
            if self._guarded is None:
                self.results = program.run(arrays, self._execution)
            else:
                self.results = self._guarded.run(program, arrays, self.done, look=at_most is not None)
        except DataError as error:  # ids outside of a table, say
            raise error.within(f"{self._call}: batch {self.done}") from None
        self.done += 1
        return self.results[0].reshape(-1)

    def look(self) -> None:
        """Look at the states, if there are steps since the last look."""
        if self._guarded is not None:
            self._guarded.look()

    def finish(self) -> None:
        """End the epoch."""
        self._source.end()
        self._shortage.check(self.done)

    def ended(self, epochs: int, wanted: int) -> None:
        """Warn that there are no data for further epochs."""
        self._shortage.check_epochs(epochs, wanted)
