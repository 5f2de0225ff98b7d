"""Many steps of a program over whole arrays: in native code as far as possible, coming up for air in between."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kgraph.config import settings
from kgraph.engine import CompiledProgram
from kgraph.errors import ShapeError
from kgraph.numeric_guard import Batches, GuardedBatches
from kgraph.runtime.batches import NativeBatches
from kgraph.runtime.sizes import bind_sizes

Array: TypeAlias = "npt.NDArray[Any]"


class SteppedBatches:
    """The same as `NativeBatches` with one run of a program for each batch.

    Args:
        program: what to run.
        arrays: one for each argument.
        batch_size: rows of each batch but the last.
        execution: "native" or "interpreter".
    """

    def __init__(self, program: CompiledProgram, arrays: Sequence[Array], batch_size: int, execution: str) -> None:
        self._program, self._arrays, self._execution = program, arrays, execution
        self.batch_size = batch_size
        self._order: Array | None = None
        self.steps = -(-len(arrays[0]) // batch_size)
        graph = program.program.graph
        types = [value.type for value in graph.inputs[: len(arrays)]]
        first = [a[:batch_size] for a in arrays]
        program.check_sizes(first)
        outputs = [value.type for value in graph.outputs[: len(program.program.results)]]
        names = graph.size_names()
        sizes = dict(zip(names, bind_sizes(types, first, names), strict=True))
        self.with_rows = [bool(t.rank) and t.shape[0] == types[0].shape[0] for t in outputs]
        self.results = [
            np.empty((len(arrays[0]), *shape[1:]) if with_rows else (self.steps, *shape), t.dtype.to_numpy())
            for t, with_rows, shape in zip(outputs, self.with_rows, (t.concrete(sizes) for t in outputs), strict=True)
        ]

    def shuffle(self, order: Array | None) -> None:
        """Take row `order[i]` in the place of row i from now on; None for the order as it is."""
        self._order = order

    def run(self, first: int, count: int) -> None:
        """Run the batches first .. first+count-1."""
        for number in range(first, first + count):
            rows = slice(number * self.batch_size, (number + 1) * self.batch_size)
            batch = [a[rows] if self._order is None else a[self._order[rows]] for a in self._arrays]
            made = self._program.run(batch, self._execution)
            for result, with_rows, part in zip(self.results, self.with_rows, made, strict=True):
                result[rows if with_rows else number] = part


class BatchLoop:
    """Goes through all batches, a stretch of about `SECONDS` at a time, or fewer if asked for.

    Args:
        batches: what runs.

    Attributes:
        done: number of batches that have run.
    """

    SECONDS = 0.05
    GROWTH = 16  # a stretch is at most this many times as long as the last one: the first steps may be slow or quick

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self._stretch = 1
        self.done = 0

    @property
    def steps(self) -> int:
        """Number of batches."""
        return self._batches.steps

    @property
    def results(self) -> list[Array]:
        """The program's results: of all rows, or one for each batch; complete up to the batches that have run."""
        return self._batches.results

    def batch_results(self, number: int) -> list[Array]:
        """The results of one batch that has run."""
        rows = slice(number * self._batches.batch_size, (number + 1) * self._batches.batch_size)
        found = zip(self.results, self._batches.with_rows, strict=True)
        return [result[rows if with_rows else number] for result, with_rows in found]

    def joined_results(self) -> list[Array]:
        """Those of the batches that have run, joined along their first axis; single numbers become a vector."""
        batches, rows = self.done, self.done * self._batches.batch_size
        found = [a[:rows] if with_rows else a[:batches] for a, with_rows in zip(self.results, self._batches.with_rows)]
        return [
            a if with_rows or a.ndim == 1 else a.reshape(len(a) * a.shape[1], *a.shape[2:])
            for a, with_rows in zip(found, self._batches.with_rows, strict=True)
        ]

    @property
    def unfinished(self) -> bool:
        """Whether there are batches left."""
        return self.done < self.steps

    def restart(self, order: Array | None) -> None:
        """Begin again, with row `order[i]` in the place of row i if there is an order."""
        self._batches.shuffle(order)
        self.done = 0

    def advance(self, at_most: int | None = None) -> None:
        """Run the next stretch, or fewer batches of it."""
        count = min(self.steps - self.done, self._stretch, self._stretch if at_most is None else at_most)
        started = time.perf_counter()
        self._batches.run(self.done, count)
        seconds = max(time.perf_counter() - started, 1e-9)
        self.done += count
        self._stretch = max(1, min(int(count * self.SECONDS / seconds), self.GROWTH * count))


def batch_loop(
    program: CompiledProgram, arrays: Sequence[Array], batch_size: int, execution: str | None = None,
    guarded: bool = False,
) -> BatchLoop:  # fmt: skip
    """A loop of `program` over the rows of `arrays`.

    Args:
        arrays: one for each argument, prepared as for `CompiledProgram.run`; at least one row each, or none at all.
        batch_size: rows of each batch; the last has the rest.
        execution: "native" or "interpreter"; None means the setting in force.
        guarded: whether a NaN or Inf is an error.

    Raises:
        ShapeError: the program has a batch size of its own, and these batches have another.
    """
    program.check(arrays)
    way, batches = execution or settings().execution, None
    in_parts = _has_fixed_parts(program, len(arrays[0]), batch_size) if arrays else False
    if way == "native" and program.artifact.batches and not in_parts:
        batches = NativeBatches(program.executable, arrays, batch_size)
    made: Batches = batches or SteppedBatches(program, arrays, batch_size, way)
    return BatchLoop(GuardedBatches(made, program, arrays, batch_size) if guarded else made)


def _has_fixed_parts(program: CompiledProgram, rows: int, batch_size: int) -> bool:
    """Whether there are several batches of a size that the program fixes, as models with states between them do."""
    shape = program.argument_types[0].shape
    if not shape or not isinstance(shape[0], int) or not rows or rows == shape[0] <= batch_size:
        return False
    if batch_size != shape[0]:
        expected = f"{shape[0]}, which the model's inputs fix"
        raise ShapeError("batch_size", expected=expected, received=str(min(batch_size, rows)))
    if rows % batch_size:
        expected = f"a multiple of {batch_size} rows, the batch size that the model's inputs fix"
        raise ShapeError("data", expected=expected, received=f"{rows} rows")
    return True
