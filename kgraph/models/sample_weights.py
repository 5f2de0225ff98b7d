"""Weights of samples, of their steps, and of classes, made into arguments of a program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kgraph.data import as_array, prepare, target_type
from kgraph.errors import ArgumentError, DataError, DTypeError, ShapeError
from kgraph.ir.types import TensorType
from kgraph.keras_tensor import BATCH, shape_text
from kgraph.models.targets import Target


def named_weights(sample_weight: Any, targets: Sequence[Target], call: str) -> list[tuple[str, np.ndarray] | None]:
    """(what messages call it, array) of the weights: none, one for all outputs, or one or None for each output.

    Args:
        sample_weight: an array; with several outputs also a list, or a dict by output name.
        targets: the model's outputs.
        call: the method, for messages.
    """
    if sample_weight is None:
        return []
    names = [target.name for target in targets]
    if isinstance(sample_weight, Mapping):
        unknown = [str(key) for key in sample_weight if key not in names]
        if unknown:
            raise DataError(f"{call}: sample_weight", expected=f"keys among {names}", received=str(unknown))
        named = [(f"sample_weight['{name}']", sample_weight.get(name)) for name in names]
    elif _several(sample_weight):
        if len(sample_weight) != len(names):
            raise DataError(f"{call}: sample_weight", expected=f"{len(names)} arrays, for {', '.join(names)}",
                            received=f"{len(sample_weight)} entries")  # fmt: skip
        named = [(f"sample_weight[{n}]", part) for n, part in enumerate(sample_weight)]
    else:
        named = [("sample_weight", sample_weight)]
    return [None if part is None else (name, as_array(part, name)) for name, part in named]


def _several(sample_weight: Any) -> bool:
    return isinstance(sample_weight, (list, tuple)) and any(hasattr(w, "shape") or w is None for w in sample_weight)


def prepared_weights(array: np.ndarray, target: Target, name: str) -> tuple[np.ndarray, TensorType]:
    """Weights in the form that the losses take, and its type: a number for each sample, or for each value of the loss.

    Args:
        array: what the user gave, with the right number of rows.
        target: the output whose values are weighed.
        name: how messages call the array.
    """
    prediction = target.prediction
    if array.size == len(array):
        fixed = prediction.rank and isinstance(prediction.shape[0], int)
        type_ = TensorType(prediction.dtype, (prediction.shape[0] if fixed else BATCH,))
        return prepare(array.reshape(-1), type_, name), type_
    if array.shape[-1] == 1:
        array = array[..., 0]
    steps = prediction.shape[: array.ndim]
    fits = array.ndim <= prediction.rank and all(
        not isinstance(dim, int) or dim == size for dim, size in zip(steps[1:], array.shape[1:], strict=True)
    )
    if not fits:
        raise ShapeError(name, expected=f"a weight per sample, or per step of {shape_text(prediction)}",
                         received=str(array.shape))  # fmt: skip
    type_ = target_type(array, prediction, prediction.dtype)
    return prepare(array, type_, name), type_


def class_weights(class_weight: Any, targets: Sequence[Target], labels: Any, sample_weight: Any, call: str) -> Any:
    """A weight for each label: that of its class; `sample_weight` where there are no class weights.

    Args:
        class_weight: dict from class number to weight; None or an empty one for none.
        targets: the model's outputs; class weights need exactly one.
        labels: class numbers or one-hot rows, as the user gave them.
        sample_weight: what the user gave beside them.
        call: the method, for messages.

    Raises:
        DataError: a class in the labels has no weight.
    """
    if class_weight is None or class_weight == {}:
        return sample_weight
    if not isinstance(class_weight, Mapping):
        raise DTypeError(f"{call}: class_weight", expected="a dict from class to weight",
                         received=type(class_weight).__name__)  # fmt: skip
    if sample_weight is not None:
        raise ArgumentError(f"{call}: class_weight and sample_weight cannot be given both")
    if len(targets) != 1:
        raise ArgumentError(f"{call}: class_weight", expected="a model with one output", received=str(len(targets)))
    if isinstance(labels, Mapping):
        labels = labels.get(targets[0].name)
    elif isinstance(labels, (list, tuple)) and len(labels) == 1 and hasattr(labels[0], "shape"):
        labels = labels[0]
    classes = _classes(as_array(labels, "y"), targets[0])
    found, places, counts = np.unique(classes, return_inverse=True, return_counts=True)
    weights = {int(key): float(weight) for key, weight in class_weight.items()}
    for number, count in zip(found, counts, strict=True):
        if int(number) not in weights:
            samples = "1 sample" if count == 1 else f"{count} samples"
            raise DataError(f"{call}: class_weight: no weight for class {number} ({samples})")
    table = np.array([weights[int(number)] for number in found])
    return table[places.reshape(classes.shape)]


def _classes(labels: np.ndarray, target: Target) -> np.ndarray:
    """The class number of each label."""
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    elif labels.ndim > 1 and labels.ndim == target.prediction.rank:
        labels = labels.argmax(-1)
    return np.rint(labels).astype(np.int64)
