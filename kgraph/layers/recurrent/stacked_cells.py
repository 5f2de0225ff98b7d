"""StackedRNNCells: cells one after another, as one cell."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from kgraph.errors import ArgumentError
from kgraph.ir.dims import Dim
from kgraph.ir.dtypes import dtype_of
from kgraph.layers.base import Layer
from kgraph.layers.recurrent.cell import RecurrentCell
from kgraph.primitives import composites
from kgraph.serialization import serialize_keras_object


class StackedRNNCells(Layer):
    """Cells one after another: the output of each is the input of the next one.

    Args:
        cells: a list of cells; see `RNN`.

    The states are a list with the state, or the list of states, of each cell.

    >>> import numpy as np
    >>> from kgraph.layers import RNN, GRUCell, LSTMCell
    >>> RNN([GRUCell(3), LSTMCell(4)])(np.zeros((2, 5, 6))).shape
    (2, 4)
    """

    def __init__(self, cells: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for cell in cells:
            if not hasattr(cell, "call") or not hasattr(cell, "state_size"):
                expected = "objects with call(inputs, states) and state_size"
                raise ArgumentError(f"{self.label}: cells", expected=expected, received=f"{cell!r:.60}")
        self.cells = list(cells)

    @property
    def state_size(self) -> list[Any]:
        """Sizes of the states of each cell."""
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self) -> Any:
        """Size of the output of the last cell."""
        return _output_size(self.cells[-1])

    def build(self, input_shape: Any) -> None:
        """Build each cell for the outputs of the one before."""
        for cell in self.cells:
            if isinstance(cell, Layer) and not cell.built:
                cell.build(input_shape)
            input_shape = (input_shape[0], _output_size(cell))

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """The states of each cell before the first step."""
        return [self._initial_state(cell, batch_size) for cell in self.cells]

    def _initial_state(self, cell: Any, batch_size: Any) -> Any:
        nested = isinstance(cell.state_size, (list, tuple))
        if hasattr(cell, "get_initial_state"):
            states = cell.get_initial_state(batch_size=batch_size)
        else:
            sizes = cell.state_size if nested else [cell.state_size]
            states = [composites.full((batch_size, size), 0, dtype_of(self.dtype)) for size in sizes]
        return list(states) if isinstance(states, (list, tuple)) else [states]

    @contextmanager
    def held_masks(self, batch: Dim, training: bool) -> Iterator[None]:
        """Draw the dropout masks that all steps inside the block share."""
        with ExitStack() as stack:
            for cell in self.cells:
                if isinstance(cell, RecurrentCell):
                    stack.enter_context(cell.held_masks(batch, training))
            yield

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        """The output of the last cell, and the new states of all."""
        new = []
        for cell, before in zip(self.cells, states, strict=True):
            takes_training = "training" in inspect.signature(cell.call).parameters
            run = cell if callable(cell) else cell.call
            inputs, after = run(inputs, before, **({"training": training} if takes_training else {}))
            new.append(list(after) if isinstance(after, (list, tuple)) else [after])
        return inputs, new

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "cells": serialize_keras_object(self.cells)}


def _output_size(cell: Any) -> Any:
    """Size of a cell's output: that of its first state unless it says another one."""
    size = getattr(cell, "output_size", None)
    if size is None:
        size = cell.state_size
        size = size[0] if isinstance(size, (list, tuple)) else size
    return size
