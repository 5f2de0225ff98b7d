"""Batches of a stream made into arguments of a program; quick where they are arrays of the right form already."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kgraph.data import quickly_prepared, surely_finite, unpack
from kgraph.engine import CompiledProgram
from kgraph.errors import DataError, DTypeError, ShapeError
from kgraph.ir.dims import product, symbols_of
from kgraph.ir.types import TensorType
from kgraph.keras_tensor import BATCH
from kgraph.models.model_data import check_target, input_arrays
from kgraph.nesting import pack


class PredictionBatches:
    """Inputs for the program "predict"; labels that come with them are not looked at.

    Args:
        model: a `Compiled`.
        call: the method, for messages.
    """

    def __init__(self, model: Any, call: str) -> None:
        self._model, self._call = model, call

    def __call__(self, batch: Any, number: int) -> tuple[CompiledProgram, list[np.ndarray]]:
        """The program, and its arguments for batch `number`."""
        call = f"{self._call}: batch {number}"
        x, _, _ = unpack(batch, call)
        arrays, _ = input_arrays(self._model, call, x)
        return self._model._predict_program(), arrays


def rows_in_turn(program: CompiledProgram) -> bool:
    """Whether each result has a row for each row of the data, or the same shape for every batch.

    Others, such as those of two rows for each, are joined batch by batch.
    """
    types = [value.type for value in program.program.graph.outputs[: len(program.program.results)]]
    return all(str(BATCH) not in symbols_of(product(t.shape[t.shape[:1] == (BATCH,) :])) for t in types)


def joined(parts: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Each result of several batches, joined along its first axis; single numbers become a vector."""
    found = []
    for batches in zip(*parts, strict=True):
        arrays = [np.atleast_1d(array) for array in batches]
        shapes = dict.fromkeys(str((None, *array.shape[1:])) for array in arrays)
        if len(shapes) > 1:
            raise ShapeError("predict: results of batches", expected="shapes that differ in the first axis only",
                             received=" and ".join(shapes), fix="Predict one batch at a time")  # fmt: skip
        found.append(np.concatenate(arrays))
    return found


def batches_of(arrays: Sequence[np.ndarray], nesting: Any, batch_size: int) -> Iterator[Any]:
    """Inputs of one batch after another."""
    for start in range(0, len(arrays[0]), batch_size):
        yield (pack(nesting, [array[start : start + batch_size] for array in arrays]),)


class TrainingBatches:
    """Inputs, labels and weights for the program "train" or "evaluate".

    A batch whose arrays have the types of the last batch's arguments is used as it is; others are converted,
    quickly if only the size of their numbers differs.

    Args:
        model: a `Compiled`.
        kind: which program.
        call: the method, for messages.
        class_weight: dict from class to weight, or None.
    """

    def __init__(self, model: Any, kind: str, call: str, class_weight: Any = None) -> None:
        self._model, self._kind, self._call, self._class_weight = model, kind, call, class_weight
        self._program: CompiledProgram | None = None
        self._types: Sequence[TensorType] = ()
        self._key: Any = None
        self._warned = False

    def __call__(self, batch: Any, number: int) -> tuple[CompiledProgram, list[np.ndarray]]:
        """The program, and its arguments for batch `number`."""
        call = f"{self._call}: batch {number}"
        try:
            return self._prepared(batch, call)
        except (DataError, ShapeError, DTypeError) as error:
            raise error.within(call) from None

    def _prepared(self, batch: Any, call: str) -> tuple[CompiledProgram, list[np.ndarray]]:
        x, y, weight = unpack(batch, call)
        if self._program is not None:
            ready = self._ready(x, y, weight)
            if ready is not None:
                return self._program, ready
        data = self._model._data(call, x, y, weight, self._class_weight)
        self._warned = self._warned or data.warn_not_finite(call, self._model._guarded())
        key = (data.y_types, data.weight_types, data.arguments)
        if self._program is None or self._key != key:
            self._key, self._program = key, self._model._program(self._kind, data)
            self._types = self._program.argument_types[: len(data.arrays)]
        return self._program, data.arrays

    def _ready(self, x: Any, y: Any, weight: Any) -> list[np.ndarray] | None:
        """The arguments if there is nothing to convert; None otherwise."""
        arrays = [*_leaves(x), *_leaves(y), *_leaves(weight)]
        if self._class_weight is not None or len(arrays) != len(self._types):
            return None
        rows = len(arrays[0]) if isinstance(arrays[0], np.ndarray) else 0
        ready = []
        for given, type_ in zip(arrays, self._types, strict=True):
            array = quickly_prepared(given, type_)
            if array is None or len(array) != rows:
                return None
            # The long way then finds and names what is not.
            if not self._warned and not surely_finite(array):
                return None
            ready.append(array)
        inputs = len(_leaves(x))
        for target, labels in zip(self._model._setup.targets, ready[inputs:], strict=False):
            check_target(target, labels)
        return ready


def _leaves(part: Any) -> Sequence[Any]:
    if part is None:
        return ()
    return part if isinstance(part, (list, tuple)) else (part,)
