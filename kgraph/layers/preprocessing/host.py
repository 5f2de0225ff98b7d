"""Layers that run in Python on data, before a model: words, and other things that no kernel takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from kgraph.config import floatx
from kgraph.errors import DataError, StateError
from kgraph.keras_tensor import active_trace, symbolic_tensors
from kgraph.layers.base import Layer
from kgraph.layers.preprocessing.adapting import Array


class HostLayer(Layer):
    """Base of these layers. They take arrays and lists, give arrays, and cannot stand inside a model.

    Subclasses define `compute` for an array of strings, integers or other objects.
    """

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The layer on data; StateError inside a model."""
        if active_trace() is not None or symbolic_tensors([inputs]):
            fix = "Call the layer on the data, and give the model what it returns"
            raise StateError(self.label, expected="data, before the model", received="a symbolic tensor", fix=fix)
        return self.compute(as_items(inputs, self.label), *args, **kwargs)

    def compute(self, inputs: Array) -> Any:
        """The layer on an array; subclasses define it."""
        raise NotImplementedError(f"{type(self).__name__}.compute is not defined")


def as_items(data: Any, what: str) -> Array:
    """Data as an array of strings (decoded if they are bytes) or whole numbers; rows of different lengths fail."""
    try:
        array = np.asarray(data)
    except ValueError:
        raise DataError(f"{what}: rows of different lengths") from None
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8")
    if array.dtype.kind == "O":
        array = np.array([_text(item, what) for item in array.flat], dtype=str).reshape(array.shape)
    if array.dtype.kind not in "Uiub":
        raise DataError(f"{what}: expected strings or whole numbers, received {array.dtype} values")
    return array


def _text(item: Any, what: str) -> str:
    if isinstance(item, bytes):
        return item.decode("utf-8")
    if not isinstance(item, str):
        raise DataError(f"{what}: expected strings or whole numbers, received an object of type {type(item).__name__}")
    return item


def encode_ids(ids: Array, mode: str, depth: int) -> Array:
    """Ids as vectors of `depth` numbers; ids below 0 count nowhere. `mode` is "one_hot", "multi_hot" or "count"."""
    if mode == "one_hot":
        ids = ids[..., 0] if ids.ndim > 1 and ids.shape[-1] == 1 else ids
        return (ids[..., np.newaxis] == np.arange(depth)).astype(floatx())
    rows = ids.reshape(1, -1) if ids.ndim < 2 else ids.reshape(-1, ids.shape[-1])
    counts = np.zeros((len(rows), depth), floatx())
    places = np.nonzero(rows >= 0)
    np.add.at(counts, (places[0], rows[places]), 1)
    counts = np.minimum(counts, 1) if mode == "multi_hot" else counts
    return counts.reshape((*ids.shape[:-1], depth))
