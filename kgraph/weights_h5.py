"""Weights of a model in an HDF5 file, in the layout of `save_weights` of Keras 2, which Keras 3 reads as well.

The root's attribute "layer_names" lists the layers; each is a group whose attribute "weight_names" lists its datasets,
trainable weights first. Keras 3 reads such files under names that end in .h5 or .hdf5.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from kgraph.variable import Variable
from kgraph.whole_files import write_whole

if TYPE_CHECKING:
    import h5py

ATTRIBUTE_BYTES = 64000  # HDF5 allows 64 KiB an object header; longer lists are cut into name0, name1 ... as in Keras
LAYOUT = "2.15.0"  # version of Keras whose layout this is: readers convert files of Keras 1


class Weighted(Protocol):
    """What the writer needs of a layer."""

    name: str

    @property
    def weights(self) -> list[Variable]:
        """All weights."""

    @property
    def trainable_weights(self) -> list[Variable]:
        """Weights that gradients update."""

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The other weights."""


class WeightedModel(Weighted, Protocol):
    """What the writer needs of a model."""

    @property
    def layers(self) -> Sequence[Weighted]:
        """The direct layers."""


def write_weights(model: WeightedModel, path: str | os.PathLike[str]) -> None:
    """Write the weights of a model; a file of that name is replaced, or kept whole if writing fails.

    Args:
        model: whose weights.
        path: of the file; missing folders are made.
    """
    import h5py

    memory = io.BytesIO()  # HDF5 itself may end the process when a disk is full
    with h5py.File(memory, "w") as file:
        _write_model(file, model)
    write_whole(path, memory.getbuffer())


def _write_model(file: h5py.File, model: WeightedModel) -> None:
    file.attrs["keras_version"] = np.bytes_(LAYOUT)
    _write_names(file, "layer_names", [layer.name for layer in model.layers])
    for layer in model.layers:
        _write_group(file.create_group(layer.name), [*layer.trainable_weights, *layer.non_trainable_weights])
    inside = {variable for layer in model.layers for variable in layer.weights}
    own = [v for v in [*model.trainable_weights, *model.non_trainable_weights] if v not in inside]
    _write_group(file.create_group("top_level_model_weights"), own)


def _write_group(group: h5py.Group, variables: Sequence[Variable]) -> None:
    names = _distinct([variable.path for variable in variables])
    _write_names(group, "weight_names", names)
    for name, variable in zip(names, variables, strict=True):
        group.create_dataset(name, data=variable.array)


def _distinct(paths: Sequence[str]) -> list[str]:
    """Names of the weights: their paths with Keras' ":0", a higher number where one comes again."""
    used: dict[str, int] = {}
    names = []
    for path in paths:
        used[path] = used.get(path, -1) + 1
        names.append(f"{path}:{used[path]}")
    return names


def _write_names(group: Any, attribute: str, names: Sequence[str]) -> None:
    """A list of names as an attribute, in as many parts as HDF5 needs."""
    encoded = np.array([name.encode() for name in names], dtype=np.bytes_ if names else "S1")
    if encoded.nbytes <= ATTRIBUTE_BYTES:
        group.attrs[attribute] = encoded
        return
    rows = ATTRIBUTE_BYTES // encoded.itemsize
    for number, start in enumerate(range(0, len(encoded), rows)):
        group.attrs[f"{attribute}{number}"] = encoded[start : start + rows]
