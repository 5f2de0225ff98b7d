"""Streams of batches: Python generators and other iterables, `PyDataset`, loaders and datasets of other packages."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np

from kgraph.data.ahead import BatchesAhead, copied
from kgraph.data.py_dataset import PyDataset
from kgraph.errors import DataError


def is_stream(data: Any) -> bool:
    """Whether `data` gives batches one by one instead of being an array or a structure of arrays.

    Only what it can do counts, so loaders and datasets of other packages need not be known.

    >>> is_stream(iter([])), is_stream([[1.0]]), is_stream({"x": [1.0]})
    (True, False, False)
    """
    if isinstance(data, PyDataset):
        return True
    if isinstance(data, (np.ndarray, Sequence, Mapping, Set)) or hasattr(data, "__array__") or hasattr(data, "shape"):
        return False
    return hasattr(data, "__iter__")


def unpack(batch: Any, what: str) -> tuple[Any, Any, Any]:
    """x, y and sample_weight of what a stream gave: a tuple or list of up to three, or x alone."""
    if not isinstance(batch, (tuple, list)):
        return batch, None, None
    if not 1 <= len(batch) <= 3:
        raise DataError(what, expected="x, (x, y) or (x, y, sample_weight)",
                        received=f"a {type(batch).__name__} of {len(batch)}")  # fmt: skip
    x, y, weight = (*batch, None, None)[:3]
    return x, y, weight


def unpack_x_y_sample_weight(data: Any) -> tuple[Any, Any, Any]:
    """x, y and sample_weight of what a training step gets; None for what is not there.

    >>> unpack_x_y_sample_weight((1, 2))
    (1, 2, None)
    """
    return unpack(data, "unpack_x_y_sample_weight")


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """What a training step gets for these: x alone, or the tuple of those that are there.

    >>> pack_x_y_sample_weight(1, 2)
    (1, 2)
    """
    if y is None and sample_weight is None:
        return (x,) if isinstance(x, (list, tuple)) else x
    return (x, y) if sample_weight is None else (x, y, sample_weight)


# After so many batches in a row that waited, or took, so many seconds the next ones are made in a thread. A thread that
# computes takes a processor from the step: that pays later than one that waits for a disk.
SLOW_BATCHES, SLOW_WAITING, SLOW_SECONDS = 2, 0.0003, 0.005


class BatchSource:
    """The batches of a stream, epoch by epoch.

    Batches that take long to make are made in a thread while the step before them runs, up to `BatchesAhead.AHEAD` of
    them, but none that is not of the epoch; quick ones are taken without a thread, which would cost more than it saves.
    An epoch of `steps` batches goes on where the last one ended; without `steps` every epoch begins anew, as far as the
    stream can do that: a generator cannot.

    Args:
        stream: what `is_stream` accepts.
        steps: number of batches of an epoch; None for all that the stream has.
        random: draws the order of a `PyDataset` with a length; None for the order as it is.

    Attributes:
        length: number of batches, where the stream tells.
    """

    def __init__(self, stream: Any, steps: int | None = None, random: np.random.Generator | None = None) -> None:
        self._stream, self._steps, self._random = stream, steps, random
        self._batches: Iterator[Any] | None = None
        self._number = 0
        self._fresh = False
        self._slow = 0  # how many batches in a row took long
        self.length = _length(stream)

    def begin(self) -> None:
        """Begin an epoch."""
        if isinstance(self._stream, PyDataset):
            self._stream.on_epoch_begin()
        if self._batches is None or self._steps is None:
            self._batches = self._opened()
        elif isinstance(self._batches, BatchesAhead):
            self._batches.allow(self._steps)
        self._number = 0

    def end(self) -> None:
        """End an epoch."""
        if isinstance(self._stream, PyDataset):
            self._stream.on_epoch_end()

    def take(self) -> tuple[Any] | None:
        """The next batch, in a tuple; None if there is no other.

        An error of the user's code comes through as it is, with the number of the batch in a note.
        """
        if self._batches is None:
            return None
        started, worked = time.perf_counter(), time.thread_time()
        try:
            batch = next(self._batches)
        except StopIteration:
            self._batches = None
            if self._number or self._fresh:
                return None
            self._batches = self._opened()  # the last epoch ended just where the stream did
            return self.take()
        except Exception as error:
            error.add_note(f"raised while making batch {self._number}")
            raise
        self._number += 1
        self._fresh = False
        seconds, busy = time.perf_counter() - started, time.thread_time() - worked
        self._slow = self._slow + 1 if seconds - busy > SLOW_WAITING or seconds > SLOW_SECONDS else 0
        if self._slow >= SLOW_BATCHES and not self._has_thread():
            batch = copied(batch)  # the thread may fill the same arrays at once
            wanted = self.length if self._steps is None else self._steps
            self._batches = BatchesAhead(self._batches, None if wanted is None else wanted - self._number)
        return (batch,)

    def _has_thread(self) -> bool:
        own = isinstance(self._stream, PyDataset) and self._stream.workers > 1
        return own or isinstance(self._batches, BatchesAhead)

    def _opened(self) -> Iterator[Any]:
        self._fresh = True
        if not isinstance(self._stream, PyDataset):
            return iter(self._stream)
        if self._random is None or self.length is None:
            return self._stream.batches(None)
        return self._stream.batches(self._random.permutation(self.length))


def _length(stream: Any) -> int | None:
    if isinstance(stream, PyDataset):
        return stream.num_batches
    try:
        return len(stream)
    except TypeError:  # also datasets that have `__len__`, but do not know or are endless
        return None
