"""Counts of right and wrong positives and negatives at thresholds; precision and recall."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dtypes import dtype_of, i32
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import cast
from kgraph.keras_tensor import shape_text
from kgraph.losses.base import align, type_of, weights_for
from kgraph.metrics.base import Metric
from kgraph.metrics.counts import add_counts
from kgraph.primitives.composites import argmax, one_hot, part, where
from kgraph.variable import Variable

KINDS = ("true_positives", "false_positives", "true_negatives", "false_negatives")

# What scores outside the first k become: below every threshold.
_LOWEST = -1e10


def listed_thresholds(label: str, thresholds: Any, usual: float) -> list[float]:
    """The thresholds as a list; ArgumentError unless those given are in [0, 1]."""
    if thresholds is None:
        return [usual]
    found = list(thresholds) if isinstance(thresholds, (list, tuple, np.ndarray)) else [thresholds]
    wrong = [t for t in found if not isinstance(t, (int, float, np.number)) or not 0 <= t <= 1]
    if wrong or not found:
        raise ArgumentError(f"{label}: thresholds", expected="numbers in [0, 1]", received=repr(thresholds))
    return [float(t) for t in found]


def ratio(part_: Any, rest: Any) -> Any:
    """part / (part + rest), and 0 where both are 0."""
    whole = part_ + rest
    return np.divide(part_, whole, out=np.zeros_like(whole), where=whole != 0)


class ConfusionMetric(Metric):
    """Base of metrics made of counts at thresholds.

    Args:
        thresholds: a score above one is a positive there.
        counts: those of `KINDS` that are kept, as variables of these names.
        top_k: only the so many largest scores of a sample can be positives.
        class_id: look at this class alone.
        name, dtype: as in `Metric`.
    """

    def __init__(
        self, thresholds: Sequence[float], counts: Sequence[str], top_k: int | None = None,
        class_id: int | None = None, name: str | None = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(name, dtype)
        self.thresholds = list(thresholds)
        self.top_k, self.class_id = top_k, class_id
        self.counts: dict[str, Variable] = {kind: self.add_variable((len(self.thresholds),), name=kind)
                                            for kind in counts}  # fmt: skip

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count the values of each kind at each threshold."""
        dtype = dtype_of(self.dtype)
        y_true, y_pred = align(self.name, cast(y_true, dtype), cast(y_pred, dtype))
        weights = None if sample_weight is None else weights_for(y_true, cast(sample_weight, dtype))
        if self.top_k is not None:
            y_pred = _only_first(y_pred, self.top_k)
        if self.class_id is not None:
            y_true, y_pred, weights = (self._of_class(x) for x in (y_true, y_pred, weights))
        add_counts(self.counts, self.thresholds, y_true, y_pred, weights)

    def _of_class(self, x: Any) -> Any:
        if x is None or self.class_id is None:
            return x
        kind = type_of(x)
        if kind.rank < 2:
            raise ShapeError(f"{self.name}(class_id=...)", expected="(batch, classes)", received=shape_text(kind))
        return part(x, kind.rank - 1, self.class_id, self.class_id + 1)

    def of(self, kind: str) -> Any:
        """One kind's counts so far, for each threshold."""
        return self.counts[kind].array

    def each(self, values: Any) -> Any:
        """The value for the only threshold, or a copy of those for all."""
        return values[0] if len(self.thresholds) == 1 else np.array(values)


def _only_first(scores: Any, k: int) -> Any:
    """Scores where they are among the first k of the last axis, else a number below every threshold."""
    kind = type_of(scores)
    chosen, left = None, scores
    for _ in range(k):
        hit = one_hot(argmax(left, -1), kind.shape[-1], i32) > 0
        chosen = hit if chosen is None else current_emitter().emit("logical_or", chosen, hit)
        left = where(hit, float("-inf"), left)
    return scores if chosen is None else where(chosen, scores, _LOWEST)


class _Count(ConfusionMetric):
    """One kind of counts.

    Args:
        thresholds: one in [0, 1], or several; 0.5 if None.
        name, dtype: as in `Metric`.
    """

    kind: str

    def __init__(self, thresholds: Any = None, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(listed_thresholds(type(self).__name__, thresholds, 0.5), [self.kind], name=name, dtype=dtype)
        self.init_thresholds = thresholds

    def result(self) -> Any:
        """The count so far, or one for each threshold."""
        return self.each(self.of(self.kind))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "thresholds": self.init_thresholds}


class TruePositives(_Count):
    """Positives among the predictions that are right."""

    kind = "true_positives"


class FalsePositives(_Count):
    """Positives among the predictions that are wrong."""

    kind = "false_positives"


class TrueNegatives(_Count):
    """Negatives among the predictions that are right."""

    kind = "true_negatives"


class FalseNegatives(_Count):
    """Negatives among the predictions that are wrong."""

    kind = "false_negatives"


class _Share(ConfusionMetric):
    """True positives as a share of them and another kind.

    Args:
        thresholds: one in [0, 1], or several; 0.5 if None.
        top_k: only the so many largest scores of a sample can be positives; without thresholds they all are.
        class_id: look at this class alone.
        name, dtype: as in `Metric`.
    """

    _direction = "up"

    other: str

    def __init__(
        self, thresholds: Any = None, top_k: int | None = None, class_id: int | None = None, name: str | None = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        usual = 0.5 if top_k is None else _LOWEST
        found = listed_thresholds(type(self).__name__, thresholds, usual)
        super().__init__(found, ["true_positives", self.other], top_k, class_id, name, dtype)
        self.init_thresholds = thresholds

    def result(self) -> Any:
        """The share so far, or one for each threshold; 0 of nothing."""
        return self.each(ratio(self.of("true_positives"), self.of(self.other)))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"thresholds": self.init_thresholds, "top_k": self.top_k, "class_id": self.class_id}
        return {**super().get_config(), **own}


class Precision(_Share):
    """Share of the positives among the predictions that are right.

    >>> m = Precision()
    >>> m.update_state([0, 1, 1, 1], [1, 0, 1, 1])
    >>> round(float(m.result()), 4)
    0.6667
    """

    other = "false_positives"


class Recall(_Share):
    """Share of the positive labels that are found."""

    other = "false_negatives"
