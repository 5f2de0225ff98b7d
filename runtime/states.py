"""States: arrays that programs update in place, with the copies that programs keep of those that they only read."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from kgraph.ir.artifact import MemoryPlan
from kgraph.ir.dims import evaluate
from kgraph.ir.types import TensorType
from kgraph.runtime.memory import aligned_in, allocate

Array: TypeAlias = "npt.NDArray[Any]"


# Numbers of changes; no number comes twice, whichever threads draw them.
_numbers = itertools.count()


class State:
    """An array at one address. Whoever writes into it calls `count_change` afterwards, so that copies are made again.

    Args:
        array: C-contiguous.

    Attributes:
        view: the array, not to be written to.
        change: number of the last change.
    """

    __slots__ = ("_copies", "array", "change", "view")

    def __init__(self, array: Array) -> None:
        self.array, self.view = array, array.view()
        self.view.flags.writeable = False
        self.change = next(_numbers)
        self._copies: WeakValueDictionary[TensorType, PackedCopy] = WeakValueDictionary()

    def __reduce__(self) -> Any:
        """A state that was copied or stored has no copies of its own yet."""
        return State, (self.array,)

    def packed(self, type_: TensorType, what: str) -> PackedCopy:
        """The copy of this type, one for all programs that keep it; `what` says in errors what it is for."""
        found = self._copies.get(type_)
        return found if found is not None else self._copies.setdefault(type_, PackedCopy(self, type_, what))


def count_change(states: Iterable[State]) -> None:
    """Note that these states were written, after that."""
    number = next(_numbers)
    for state in states:
        state.change = number


def bytes_of_copy(type_: TensorType) -> int:
    """Bytes of a copy, and what it takes to align them."""
    return evaluate(type_.nbytes, {}) + MemoryPlan.ALIGNMENT


class PackedCopy:
    """A state as a matrix in panels (see `kgraph.ir.loops.Contract`), packed again when the state has changed."""

    def __init__(self, state: State, type_: TensorType, what: str) -> None:
        self._state = state
        memory = allocate(what, (bytes_of_copy(type_),), np.uint8, fix="Use a smaller model")
        self.array = aligned_in(memory, type_.concrete({}), type_.dtype.to_numpy())
        self._packed_at = -1
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Pack the state if it has changed."""
        if self._packed_at == self._state.change:
            return
        with self._lock:
            change = self._state.change  # before its elements are read: what is written meanwhile counts as new
            if self._packed_at != change:
                self._pack()
                self._packed_at = change

    def _pack(self) -> None:
        _, k, width = self.array.shape
        matrix = self._state.array.reshape(k, -1)
        whole, rest = divmod(matrix.shape[1], width)
        self.array[:whole] = matrix[:, : whole * width].reshape(k, whole, width).transpose(1, 0, 2)
        if rest:
            self.array[whole, :, :rest] = matrix[:, whole * width :]
            self.array[whole, :, rest:] = 0
