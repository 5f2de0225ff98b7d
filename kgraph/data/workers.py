"""Batches made by several threads, in order; one that is never made is an error and not the end of all."""

from __future__ import annotations

import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeAlias

from kgraph.errors import DataError

Order: TypeAlias = "tuple[int, Future[Any]]"


class Workers:
    """Threads that make items by number.

    They are daemons: one that hangs in the user's code does not keep the process from ending, as those of
    `concurrent.futures` would.

    Args:
        make: gives the item of a number; called by several threads at once.
        count: how many threads.
        name: what they are called, with a number behind it.
        patience: seconds after which an item that is waited for counts as lost.
    """

    def __init__(self, make: Callable[[int], Any], count: int, name: str, patience: float) -> None:
        self._make, self._count, self._name, self._patience = make, count, name, patience
        self._orders: SimpleQueue[Order | None] = SimpleQueue()
        self._busy: dict[int, threading.Thread] = {}  # who makes which item

    def in_order(self, numbers: Iterable[int], ahead: int) -> Iterator[Any]:
        """The items of these numbers; up to `ahead` of them are ordered while an earlier one is in use.

        Raises:
            DataError: an item was not made in time. What an item raises comes when it is asked for.
        """
        for number in range(self._count):
            threading.Thread(target=self._work, name=f"{self._name}_{number}", daemon=True).start()
        waiting: deque[Order] = deque()
        try:
            for number in numbers:
                waiting.append((number, Future()))
                self._orders.put(waiting[-1])
                if len(waiting) > ahead:
                    yield self._wait(*waiting.popleft())
            while waiting:
                yield self._wait(*waiting.popleft())
        finally:
            for _, future in waiting:
                future.cancel()
            for _ in range(self._count):
                self._orders.put(None)

    def _work(self) -> None:
        while (order := self._orders.get()) is not None:
            number, future = order
            if not future.set_running_or_notify_cancel():
                continue
            self._busy[number] = threading.current_thread()
            try:
                future.set_result(self._make(number))
            except BaseException as error:
                future.set_exception(error)
            self._busy.pop(number, None)

    def _wait(self, number: int, future: Future[Any]) -> Any:
        try:
            return future.result(self._patience)
        except TimeoutError:
            thread = self._busy.get(number)
            if thread is None or future.done():  # done in this moment, or the user's code raised this error
                return future.result()
            raise self._lost(number, thread) from None

    def _lost(self, number: int, thread: threading.Thread) -> DataError:
        """Tells where the thread stands that should have made the item; its whole stack is in a note."""
        stack = traceback.extract_stack(sys._current_frames()[thread.ident or 0])
        inside = [frame for frame in stack[:-1] if frame.filename == __file__]
        place = stack[stack.index(inside[-1]) + 1] if inside else stack[-1]
        at = f"{Path(place.filename).name}:{place.lineno} in {place.name}"
        error = DataError(f"{self._name}: batch {number} was not made within {self._patience:g} s: "
                          f"worker {thread.name} is at {at}", fix="Raise its `timeout` if it is only slow")  # fmt: skip
        error.add_note("".join(traceback.format_list(stack)))
        return error
