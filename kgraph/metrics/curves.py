"""Metrics of the curves that counts draw over many thresholds: areas, and the best point under a condition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kgraph.config import epsilon
from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dtypes import dtype_of
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import cast
from kgraph.keras_tensor import shape_text
from kgraph.lookup import find
from kgraph.losses.base import align, type_of, weights_for
from kgraph.metrics.base import Metric
from kgraph.metrics.confusion import KINDS, ConfusionMetric, listed_thresholds, ratio
from kgraph.metrics.counts import add_counts
from kgraph.primitives.composites import clip
from kgraph.variable import Variable


def even_thresholds(count: int) -> list[float]:
    """`count` numbers from 0 to 1 at equal distances; 0.5 for one."""
    return [0.5] if count == 1 else [n / (count - 1) for n in range(count)]


def _check_count(label: str, count: Any, least: int) -> None:
    """ArgumentError unless a number of thresholds is an int that is large enough."""
    if not isinstance(count, (int, np.integer)) or count < least:
        raise ArgumentError(f"{label}: num_thresholds", expected=f"an int > {least - 1}", received=repr(count))


class _BestUnderCondition(ConfusionMetric):
    """The largest value of one rate among the thresholds where another is at least what is wanted.

    Args:
        least: what is wanted, in [0, 1].
        num_thresholds: how many thresholds in [0, 1]; >= 1.
        class_id: look at this class alone.
        name, dtype: as in `Metric`.
    """

    _direction = "up"

    condition: str
    wanted: str
    argument: str

    def __init__(
        self, least: float, num_thresholds: int = 200, class_id: int | None = None, name: str | None = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        label = type(self).__name__
        if not 0 <= least <= 1:
            raise ArgumentError(f"{label}: {self.argument}", expected="a number in [0, 1]", received=repr(least))
        _check_count(label, num_thresholds, 1)
        super().__init__(even_thresholds(num_thresholds), KINDS, None, class_id, name, dtype)
        self.num_thresholds, self.least = num_thresholds, least

    def rate(self, which: str) -> Any:
        """A rate for each threshold."""
        right, wrong = {
            "sensitivity": ("true_positives", "false_negatives"),
            "specificity": ("true_negatives", "false_positives"),
            "precision": ("true_positives", "false_positives"),
        }[which]
        return ratio(self.of(right), self.of(wrong))

    def result(self) -> Any:
        """The best value so far; 0 if no threshold will do."""
        wanted = self.rate(self.wanted)
        return np.where(self.rate(self.condition) >= self.least, wanted, np.zeros_like(wanted)).max()

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {self.argument: self.least, "num_thresholds": self.num_thresholds, "class_id": self.class_id}
        return {**super().get_config(), **own}


class SensitivityAtSpecificity(_BestUnderCondition):
    """Largest sensitivity (recall) where the specificity is at least `specificity`."""

    condition, wanted, argument = "specificity", "sensitivity", "specificity"

    def __init__(self, specificity: float, *args: Any, **kwargs: Any) -> None:
        super().__init__(specificity, *args, **kwargs)


class SpecificityAtSensitivity(_BestUnderCondition):
    """Largest specificity where the sensitivity is at least `sensitivity`."""

    condition, wanted, argument = "sensitivity", "specificity", "sensitivity"

    def __init__(self, sensitivity: float, *args: Any, **kwargs: Any) -> None:
        super().__init__(sensitivity, *args, **kwargs)


class PrecisionAtRecall(_BestUnderCondition):
    """Largest precision where the recall is at least `recall`."""

    condition, wanted, argument = "sensitivity", "precision", "recall"

    def __init__(self, recall: float, *args: Any, **kwargs: Any) -> None:
        super().__init__(recall, *args, **kwargs)


class RecallAtPrecision(_BestUnderCondition):
    """Largest recall where the precision is at least `precision`."""

    condition, wanted, argument = "precision", "sensitivity", "precision"

    def __init__(self, precision: float, *args: Any, **kwargs: Any) -> None:
        super().__init__(precision, *args, **kwargs)


class AUC(Metric):
    """Area under a curve of rates over thresholds, by a sum over them.

    Args:
        num_thresholds: how many; > 1.
        curve: "ROC" (recall over the rate of false positives), "PR" (precision over recall) or "PRGAIN" (their gains
            over a random guess).
        summation_method: "interpolation" (trapezoids; for PR the interpolation of Davis and Goadrich, 2006), "minoring"
            or "majoring".
        name, dtype: as in `Metric`.
        thresholds: numbers in [0, 1] in the place of equal distances.
        multi_label: one area for each column of the predictions, and their mean.
        num_labels: number of columns; only with `multi_label`.
        label_weights: of the columns.
        from_logits: whether a sigmoid is still to come.

    >>> m = AUC(num_thresholds=3)
    >>> m.update_state([0, 0, 1, 1], [0, 0.5, 0.3, 0.9])
    >>> float(m.result())
    0.75
    """

    _direction = "up"

    def __init__(
        self, num_thresholds: int = 200, curve: str = "ROC", summation_method: str = "interpolation",
        name: str | None = None, dtype: Any = None, thresholds: Sequence[float] | None = None,
        multi_label: bool = False, num_labels: int | None = None, label_weights: Sequence[float] | None = None,
        from_logits: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(name or "auc", dtype)
        self.curve = find("AUC(curve=...)", str(curve).upper(), {c: c for c in ("ROC", "PR", "PRGAIN")})
        methods = {m: m for m in ("interpolation", "minoring", "majoring")}
        self.summation_method = find("AUC(summation_method=...)", str(summation_method).lower(), methods)
        self._given = None if thresholds is None else sorted(listed_thresholds("AUC", thresholds, 0.5))
        self.num_thresholds = num_thresholds if self._given is None else len(self._given) + 2
        _check_count("AUC", self.num_thresholds, 2)
        if num_labels and not multi_label:
            raise ArgumentError("AUC: num_labels", expected="multi_label=True with it", received=repr(num_labels))
        inner = even_thresholds(self.num_thresholds)[1:-1] if self._given is None else self._given
        # The first and the last let everything and nothing through, whatever the rounding.
        self.thresholds = [-epsilon(), *inner, 1.0 + epsilon()]
        self.multi_label, self.num_labels, self.from_logits = bool(multi_label), num_labels, bool(from_logits)
        self.label_weights = None if label_weights is None else np.asarray(label_weights, self.dtype)
        self.counts: dict[str, Variable] = {}
        if not self.multi_label or num_labels:
            self._make_counts(num_labels)

    def _make_counts(self, labels: int | None) -> None:
        shape = (self.num_thresholds,) if labels is None else (self.num_thresholds, labels)
        self.counts = {kind: self.add_variable(shape, name=kind) for kind in KINDS}

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count the values of each kind at each threshold."""
        dtype = dtype_of(self.dtype)
        y_true, y_pred = align("auc", cast(y_true, dtype), cast(y_pred, dtype))
        kind = type_of(y_pred)
        labels = kind.shape[1] if kind.rank == 2 else None
        if self.multi_label and not isinstance(labels, int):
            raise ShapeError("AUC(multi_label=True)", expected="(batch, labels)", received=shape_text(kind))
        if not self.counts:
            self._make_counts(labels if isinstance(labels, int) else None)
        self._check_labels(labels)
        if self.from_logits:
            y_pred = current_emitter().emit("sigmoid", y_pred)
        weights = None if sample_weight is None else weights_for(y_true, cast(sample_weight, dtype))
        if self.label_weights is not None and not self.multi_label:
            weights = self.label_weights + y_true * 0.0 if weights is None else weights * self.label_weights
        add_counts(self.counts, self.thresholds, y_true, clip(y_pred, 0.0, 1.0), weights, keep=int(self.multi_label))

    def _check_labels(self, labels: Any) -> None:
        """ShapeError unless so many columns are those counted so far, and those with weights."""
        known = self.counts[KINDS[0]].shape[1:]
        if known and labels != known[0]:
            raise ShapeError("AUC(multi_label=True)", expected=f"{known[0]} labels", received=str(labels))
        if isinstance(labels, int) and self.label_weights is not None and self.label_weights.shape != (labels,):
            raise ShapeError("AUC(label_weights)", expected=f"{labels} weights, as there are labels",
                             received=str(self.label_weights.tolist()))  # fmt: skip

    def result(self) -> Any:
        """The area so far."""
        if not self.counts:
            return np.zeros((), self.dtype)[()]
        with np.errstate(all="ignore"):
            pieces = self._pieces().sum(0)
        if not self.multi_label or self.label_weights is None:
            return pieces.mean()
        return (pieces * self.label_weights).sum() / self.label_weights.sum()

    def _pieces(self) -> Any:
        """The parts of the area between neighbouring thresholds."""
        tp, fp, tn, fn = (self.counts[kind].array for kind in KINDS)
        if self.curve == "PR" and self.summation_method == "interpolation":
            return _interpolated(tp, fp, fn)
        if self.curve == "ROC":
            x, y = ratio(fp, tn), ratio(tp, fn)
        elif self.curve == "PR":
            x, y = ratio(tp, fn), ratio(tp, fp)
        else:
            odds = _quotient(tp + fn, tn + fp)
            x = np.maximum(np.where(tp == 0, 0, 1 - odds * _quotient(fn, tp)), 0)
            y = np.where(tp == 0, 1, 1 - odds * _quotient(fp, tp))
        first, second = y[:-1], y[1:]
        heights = {
            "interpolation": (first + second) / 2, "minoring": np.minimum(first, second),
            "majoring": np.maximum(first, second),
        }[self.summation_method]  # fmt: skip
        return (x[:-1] - x[1:]) * heights

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = {
            **super().get_config(),
            "num_thresholds": self.num_thresholds,
            "curve": self.curve,
            "summation_method": self.summation_method,
            "multi_label": self.multi_label,
            "num_labels": self.num_labels,
            "label_weights": None if self.label_weights is None else self.label_weights.tolist(),
            "from_logits": self.from_logits,
        }
        return config if self._given is None else {**config, "thresholds": self._given}


def _quotient(a: Any, b: Any) -> Any:
    """a / b, and 0 where b is 0."""
    return np.divide(a, b, out=np.zeros_like(a), where=b != 0)


def _interpolated(tp: Any, fp: Any, fn: Any) -> Any:
    """Areas under precision over recall, with true positives linear in positives between two thresholds."""
    found = tp + fp
    steps = tp[:-1] - tp[1:]
    slope = _quotient(steps, np.maximum(found[:-1] - found[1:], 0))
    intercept = tp[1:] - slope * found[1:]
    both = (found[:-1] > 0) & (found[1:] > 0)
    growth = np.where(both, _quotient(found[:-1], np.maximum(found[1:], 0)), np.ones_like(tp[1:]))
    return _quotient(slope * (steps + intercept * np.log(growth)), np.maximum(tp[1:] + fn[1:], 0))
