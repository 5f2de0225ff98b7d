"""Array conversions for data sets: one-hot labels, unit vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kgraph.errors import DataError


def to_categorical(x: npt.ArrayLike, num_classes: int | None = None) -> npt.NDArray[np.float64]:
    """Integer class labels as one-hot rows.

    Args:
        x: labels, any shape, whole numbers in [0, num_classes); a last axis of size 1 is dropped.
        num_classes: size of the new last axis; None means the largest label plus 1.

    Returns: float64 array of shape ``x.shape + (num_classes,)``.
    Raises: DataError for labels outside the range.

    >>> to_categorical([0, 2], 3)
    array([[1., 0., 0.],
           [0., 0., 1.]])
    """
    labels = np.array(x, dtype="int64")
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels.reshape(labels.shape[:-1])
    flat = labels.reshape(-1)
    classes = int(num_classes) if num_classes else (int(flat.max()) + 1 if flat.size else 0)
    outside = np.flatnonzero((flat < 0) | (flat >= classes))
    if outside.size:
        where, label = int(outside[0]), int(flat[outside[0]])
        raise DataError(f"to_categorical: label {label} at position {where}", expected=f"labels in [0, {classes})")
    result = np.zeros((flat.size, classes))
    result[np.arange(flat.size), flat] = 1
    return result.reshape((*labels.shape, classes))


def normalize(x: npt.ArrayLike, axis: int = -1, order: float = 2) -> npt.NDArray[Any]:
    """`x` divided by its norm of that order along `axis`; zero vectors stay zero.

    >>> normalize([[3.0, 4.0]])
    array([[0.6, 0.8]])
    """
    array = np.asarray(x)
    norm = np.atleast_1d(np.linalg.norm(array, order, axis))
    norm[norm == 0] = 1
    return array / np.expand_dims(norm, axis)
