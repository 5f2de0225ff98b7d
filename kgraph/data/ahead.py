"""Batches made in a thread while a training step runs: native code does not hold Python's lock."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import numpy as np

from kgraph.nesting import map_structure

_END = object()


class BatchesAhead(Iterator[Any]):
    """An iterator whose next items are made ahead, in order, by one thread.

    Args:
        batches: what makes them; nobody else may use it from now on.
        wanted: how many may be made until `allow` is called; None for all.

    An error that an item raises comes when that item is asked for, as it is. Arrays are copied: `batches` may have one
    buffer that it fills again for the next item.
    """

    AHEAD = 2

    def __init__(self, batches: Iterator[Any], wanted: int | None) -> None:
        self._orders: SimpleQueue[bool] = SimpleQueue()
        self._made: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self._waiting, self._wanted = 0, wanted
        # A daemon: an iterator that hangs does not keep the process from ending.
        thread = threading.Thread(
            target=_make, args=(batches, self._orders, self._made), name="kgraph-batches", daemon=True
        )
        thread.start()
        self._order()

    def allow(self, wanted: int) -> None:
        """Let so many further items be made."""
        if self._wanted is not None:
            self._wanted += wanted
            self._order()

    def _order(self, least: int = 0) -> None:
        """Have items made up to the number ahead, as far as they are wanted; at least `least` are."""
        while self._waiting < least or (self._waiting < self.AHEAD and self._wanted != 0):
            if self._wanted:
                self._wanted -= 1
            self._waiting += 1
            self._orders.put(True)

    def __next__(self) -> Any:
        self._order(least=1)
        batch, error = self._made.get()
        self._waiting -= 1
        if error is not None:
            raise error
        if batch is _END:
            raise StopIteration
        self._order()
        return batch

    def __del__(self) -> None:
        self._orders.put(False)


def _make(
    batches: Iterator[Any], orders: SimpleQueue[bool], made: SimpleQueue[tuple[Any, BaseException | None]]
) -> None:
    while orders.get():
        try:
            batch = next(batches, _END)
            made.put((batch if batch is _END else copied(batch), None))
        except BaseException as error:
            made.put((None, error))


def copied(batch: Any) -> Any:
    """The same batch in arrays that nobody else fills."""
    return map_structure(lambda leaf: leaf.copy() if isinstance(leaf, np.ndarray) else leaf, batch)
