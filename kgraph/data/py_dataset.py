"""Data that are computed batch by batch, by number: `PyDataset`, which older Keras calls `Sequence`."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from kgraph.errors import ArgumentError


class PyDataset:
    """Base of data that are made batch by batch. Subclasses write `__getitem__` and, unless endless, `__len__`.

    Args:
        workers: number of threads that make batches ahead; with 1 there is a thread only if batches take long.
        use_multiprocessing: accepted as in Keras; the workers are threads, which cannot be lost.
        max_queue_size: how many batches may wait, with several workers.

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
            return self._made_ahead(order)
        return (self[int(index)] for index in order)

    def _made_ahead(self, order: Iterable[int]) -> Iterator[Any]:
        """The same, made by threads while earlier batches are in use."""
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix=type(self).__name__)
        waiting: deque[Future[Any]] = deque()
        try:
            for index in order:
                waiting.append(pool.submit(self.__getitem__, int(index)))
                if len(waiting) > self.max_queue_size:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
