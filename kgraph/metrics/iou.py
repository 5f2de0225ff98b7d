"""Intersection over union of classes, for segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kgraph.config import epsilon
from kgraph.errors import ArgumentError
from kgraph.ir.dtypes import dtype_of, f32, i32
from kgraph.ir.operators import cast
from kgraph.losses.base import align, weights_for
from kgraph.metrics.base import Metric
from kgraph.metrics.counts import counted
from kgraph.primitives.composites import argmax, not_equal, reshape, where


class IoU(Metric):
    """Mean over classes of hits / (labels + predictions - hits), from a matrix of how often each meets each.

    Args:
        num_classes: of labels and predictions; others do not count.
        target_class_ids: the classes of the mean.
        name: as in `Metric`.
        dtype: of the matrix; int32 if None.
        ignore_class: labels of this class do not count.
        sparse_y_true, sparse_y_pred: whether they hold class numbers, not one-hot rows or scores.
        axis: of the classes where they do not.
    """

    _direction = "up"

    def __init__(
        self, num_classes: int, target_class_ids: Sequence[int], name: str | None = None, dtype: Any = None,
        ignore_class: int | None = None, sparse_y_true: bool = True, sparse_y_pred: bool = True, axis: int = -1,
    ) -> None:  # fmt: skip
        super().__init__(name, dtype or "int32")
        if not target_class_ids or not 0 <= min(target_class_ids) <= max(target_class_ids) < num_classes:
            expected = f"classes in [0, {num_classes})"
            raise ArgumentError(f"{type(self).__name__}: target_class_ids", expected=expected,
                                received=str(list(target_class_ids)))  # fmt: skip
        self.num_classes, self.target_class_ids = num_classes, list(target_class_ids)
        self.ignore_class, self.axis = ignore_class, axis
        self.sparse_y_true, self.sparse_y_pred = bool(sparse_y_true), bool(sparse_y_pred)
        self.total_cm = self.add_variable((num_classes, num_classes), name="total_confusion_matrix")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add to the matrix."""
        labels = cast(y_true, i32) if self.sparse_y_true else argmax(y_true, self.axis)
        guesses = cast(y_pred, i32) if self.sparse_y_pred else argmax(y_pred, self.axis)
        labels, guesses = align(self.name, labels, guesses)
        weights = None if sample_weight is None else cast(weights_for(labels, sample_weight), f32)
        known = self._is_class(labels) & self._is_class(guesses)
        if self.ignore_class is not None:
            known = known & not_equal(labels, self.ignore_class)
        met = counted(where(known, labels * self.num_classes + guesses, -1), self.num_classes**2, weights)
        self.total_cm.assign_add(cast(reshape(met, (self.num_classes, self.num_classes)), dtype_of(self.dtype)))

    def _is_class(self, numbers: Any) -> Any:
        return (numbers >= 0) & (numbers < self.num_classes)

    def result(self) -> Any:
        """The mean so far, over those of the classes that occur."""
        met = self.total_cm.array.astype("float32")
        hits = np.diag(met)[self.target_class_ids]
        union = (met.sum(0) + met.sum(1) - np.diag(met))[self.target_class_ids]
        small = np.float32(epsilon())
        occurs = union > 1e-9
        return np.where(occurs, hits / (union + small), np.float32(0)).sum() / (occurs.sum(dtype="float32") + small)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "target_class_ids": self.target_class_ids,
            "ignore_class": self.ignore_class,
            "sparse_y_true": self.sparse_y_true,
            "sparse_y_pred": self.sparse_y_pred,
            "axis": self.axis,
        }


class BinaryIoU(IoU):
    """`IoU` of two classes told apart by a threshold.

    Args:
        target_class_ids: classes of the mean, 0 or 1 or both.
        threshold: predictions of at least this are class 1.
        name, dtype: as in `IoU`.
    """

    def __init__(
        self, target_class_ids: Sequence[int] = (0, 1), threshold: float = 0.5, name: str | None = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(2, target_class_ids, name, dtype)
        self.threshold = threshold

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add to the matrix."""
        super().update_state(y_true, cast(y_pred >= self.threshold, i32), sample_weight)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"target_class_ids": self.target_class_ids, "threshold": self.threshold}
        return {**Metric.get_config(self), **own}


class MeanIoU(IoU):
    """`IoU` over all classes; arguments as there."""

    def __init__(
        self, num_classes: int, name: str | None = None, dtype: Any = None, ignore_class: int | None = None,
        sparse_y_true: bool = True, sparse_y_pred: bool = True, axis: int = -1,
    ) -> None:  # fmt: skip
        classes = range(num_classes)
        super().__init__(num_classes, classes, name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        del config["target_class_ids"]
        return config


class OneHotIoU(IoU):
    """`IoU` of one-hot labels and scores; arguments as there."""

    def __init__(
        self, num_classes: int, target_class_ids: Sequence[int], name: str | None = None, dtype: Any = None,
        ignore_class: int | None = None, sparse_y_pred: bool = False, axis: int = -1,
    ) -> None:  # fmt: skip
        super().__init__(num_classes, target_class_ids, name, dtype, ignore_class, False, sparse_y_pred, axis)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        del config["sparse_y_true"]
        return config


class OneHotMeanIoU(OneHotIoU):
    """`OneHotIoU` over all classes; arguments as there."""

    def __init__(
        self, num_classes: int, name: str | None = None, dtype: Any = None, ignore_class: int | None = None,
        sparse_y_pred: bool = False, axis: int = -1,
    ) -> None:  # fmt: skip
        super().__init__(num_classes, range(num_classes), name, dtype, ignore_class, sparse_y_pred, axis)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        del config["target_class_ids"]
        return config
