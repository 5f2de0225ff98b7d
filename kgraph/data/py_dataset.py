"""Data that are computed batch by batch, by number: `PyDataset`, which older Keras calls `Sequence`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from kgraph.errors import ArgumentError


class PyDataset:
    """Base of data that are made batch by batch. Subclasses write `__getitem__` and, unless endless, `__len__`.

    Args:
        workers: number of threads that make batches ahead; with 1 there is a thread only if batches take long.
        use_multiprocessing: accepted as in Keras; the workers are threads, which cannot be lost.
        max_queue_size: how many batches may wait, with several workers.

    Attributes:
        timeout: seconds after which a batch that several workers do not finish is an error, which names the worker and
            what it does; set it on the class or the object.

    >>> import numpy as np
    >>> class Squares(PyDataset):
    ...     def __len__(self):
    ...         return 2
    ...     def __getitem__(self, index):
    ...         x = np.arange(4.0)[:, None] + 4 * index
    ...         return x, x**2
    >>> [float(y.sum()) for x, y in Squares()]
    [14.0, 126.0]
    """

    workers = 1
    max_queue_size = 10
    timeout = 600.0

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10) -> None:
        for name, value in (("workers", workers), ("max_queue_size", max_queue_size)):
            if not isinstance(value, int) or value < 0:
                raise ArgumentError(f"{type(self).__name__}({name})", expected="an int >= 0", received=repr(value))
        self.workers, self.use_multiprocessing, self.max_queue_size = workers, use_multiprocessing, max_queue_size

    def __getitem__(self, index: int) -> Any:
        """Batch number `index`: x, (x, y) or (x, y, sample_weight)."""
        raise NotImplementedError(f"{type(self).__name__}.__getitem__")

    @property
    def num_batches(self) -> int | None:
        """Number of batches of an epoch; None if the data are endless."""
        return len(self) if hasattr(self, "__len__") else None

    def on_epoch_begin(self) -> None:
        """Called before each epoch."""

    def on_epoch_end(self) -> None:
        """Called after each epoch."""

    def __iter__(self) -> Iterator[Any]:
        """All batches in order."""
        return self.batches(None)

    def batches(self, order: Iterable[int] | None) -> Iterator[Any]:
        """The batches with the numbers `order`; all in order if it is None."""
        if order is None:
            count = self.num_batches
            order = itertools.count() if count is None else range(count)
        if self.workers > 1:
            from kgraph.data.workers import Workers

            workers = Workers(self.__getitem__, self.workers, type(self).__name__, self.timeout)
            return workers.in_order(map(int, order), self.max_queue_size)
        return (self[int(index)] for index in order)
