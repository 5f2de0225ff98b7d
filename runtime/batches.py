"""Native code that takes batch after batch from whole arrays: one call for any number of steps."""

from __future__ import annotations

from array import array as numbers
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kgraph.ir.artifact import BatchRun
from kgraph.runtime.executable import Binding, Executable
from kgraph.runtime.memory import address_of, allocate
from kgraph.runtime.sizes import bind_sizes
from kgraph.runtime.states import count_change
from kgraph.runtime.threads import run_in_team

Array: TypeAlias = "npt.NDArray[Any]"


class NativeBatches:
    """A program bound to arrays from which it takes batches of rows.

    Args:
        executable: of an artifact with a `batches` entry point.
        arrays: one for each argument, C-contiguous, with equal numbers of rows.
        batch_size: rows of each batch but the last, which has the rest.

    Attributes:
        steps: number of batches.
        batch_size: as given.
        with_rows: whether each result has rows.
        results: for each result of the program an array: of all rows if the result has rows, else with one entry for
            each batch.
    """

    def __init__(self, executable: Executable, arrays: Sequence[Array], batch_size: int) -> None:
        executable.check(arrays)
        self._executable, self._arrays = executable, list(arrays)
        symbol = executable.artifact.batches
        self._function, self._address = executable.code.function(symbol, 3), executable.code.address(symbol)
        rows = len(arrays[0])
        self.steps = -(-rows // batch_size)
        self._full, self._rest = divmod(rows, batch_size)
        self.batch_size = batch_size
        self._order: Array | None = None
        self._buffers: list[Array] = []
        names = executable.artifact.size_names
        with executable.lock:
            whole = bind_sizes(executable.argument_types, arrays, names)
            self._by_rows = {
                n: executable.bind(bind_sizes(executable.argument_types, [a[:n] for a in arrays], names))
                for n in (min(batch_size, rows), self._rest)
                if n
            }
        self.results = self._result_arrays(dict(zip(names, whole, strict=True)))
        self._run = self._filled()

    def _result_arrays(self, sizes: dict[str, int]) -> list[Array]:
        artifact = self._executable.artifact
        self.with_rows = [bool(t.rank) and t.shape[0] == artifact.inputs[0].shape[0] for t in artifact.outputs]
        shapes = [t.concrete(sizes) for t in artifact.outputs]
        what, fix = f"{artifact.name}: results of all batches", "Give fewer rows at once"
        return [
            allocate(what, shape if with_rows else (self.steps, *shape), t.dtype.to_numpy(), fix=fix)
            for t, shape, with_rows in zip(artifact.outputs, shapes, self.with_rows, strict=True)
        ]

    def _filled(self) -> numbers[int]:
        """The fields that are the same for all calls."""
        count = len(self._arrays)
        run = numbers("q", bytes(8 * BatchRun.output(count, len(self.results))))
        for n, array in enumerate(self._arrays):
            at = BatchRun.argument(n)
            run[at] = address_of(array)
            run[at + 2] = array[:1].nbytes
        for n, (result, with_rows) in enumerate(zip(self.results, self.with_rows, strict=True)):
            at = BatchRun.output(count, n)
            run[at] = address_of(result)
            run[at + 1] = result[:1].nbytes * (self.batch_size if with_rows else 1)
        return run

    def shuffle(self, order: Array | None) -> None:
        """Take row `order[i]` in the place of row i from now on; None for the order as it is."""
        self._order = None if order is None else np.ascontiguousarray(order, np.int64)
        run = self._run
        run[BatchRun.ORDER] = 0 if self._order is None else address_of(self._order)
        if self._order is not None and not self._buffers:
            rows = min(self.batch_size, len(self._arrays[0]))
            what = f"{self._executable.artifact.name}: one shuffled batch of {rows} rows"
            self._buffers = [allocate(what, (rows, *a.shape[1:]), a.dtype) for a in self._arrays]
            for n, buffer in enumerate(self._buffers):
                run[BatchRun.argument(n) + 1] = address_of(buffer)

    def run(self, first: int, count: int) -> None:
        """Run the batches first .. first+count-1; states change in place, `results` are filled."""
        full = max(0, min(first + count, self._full) - first)
        with self._executable.lock:
            self._executable.refresh_copies()
            try:
                if full:
                    self._call(self.batch_size, first, full)
                if full < count:
                    self._call(self._rest, first + full, 1)
            finally:
                count_change(self._executable.updated)

    def _call(self, rows: int, first: int, count: int) -> None:
        binding: Binding = self._by_rows[rows]
        run = self._run
        run[BatchRun.STEP] = binding.step_address
        run[BatchRun.FIRST_ROW], run[BatchRun.ROWS] = first * self.batch_size, rows
        run[BatchRun.COUNT], run[BatchRun.FIRST_BATCH] = count, first
        run_in_team(binding.threads, self._executable.code, self._address, self._function, run.buffer_info()[0])
