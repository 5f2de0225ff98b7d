"""F scores: precision and recall in one number."""

from __future__ import annotations

from typing import Any

import numpy as np

from kgraph.config import epsilon
from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dtypes import dtype_of
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import cast
from kgraph.keras_tensor import shape_text
from kgraph.losses.base import align, type_of, weights_for
from kgraph.metrics.base import Metric
from kgraph.primitives.composites import max as largest
from kgraph.primitives.composites import sum as total
from kgraph.variable import Variable

_KINDS = ("true_positives", "false_positives", "false_negatives", "intermediate_weights")


class FBetaScore(Metric):
    """(1 + beta^2) precision recall / (beta^2 precision + recall), for each class.

    Args:
        average: None for a score for each class; "micro" for that of all classes together, "macro" for their mean,
            "weighted" for their mean by numbers of labels.
        beta: how much more recall counts than precision; > 0.
        threshold: scores above it are positives, in (0, 1]; None: the largest score of a sample is.
        name, dtype: as in `Metric`.
    """

    _direction = "up"

    def __init__(
        self, average: str | None = None, beta: float = 1.0, threshold: float | None = None,
        name: str | None = "fbeta_score", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(name, dtype)
        label = type(self).__name__
        if average not in (None, "micro", "macro", "weighted"):
            expected = "None, 'micro', 'macro' or 'weighted'"
            raise ArgumentError(f"{label}: average", expected=expected, received=repr(average))
        if not beta > 0:
            raise ArgumentError(f"{label}: beta", expected="a number > 0", received=repr(beta))
        if threshold is not None and not 0 < threshold <= 1:
            raise ArgumentError(f"{label}: threshold", expected="a number in (0, 1]", received=repr(threshold))
        self.average, self.beta, self.threshold = average, beta, threshold
        self._counts: dict[str, Variable] = {}

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count right and wrong positives and negatives of each class."""
        dtype = dtype_of(self.dtype)
        y_true, y_pred = align(self.name, cast(y_true, dtype), cast(y_pred, dtype))
        kind = type_of(y_pred)
        classes = kind.shape[1] if kind.rank == 2 else None
        if not isinstance(classes, int):
            raise ShapeError(self.name, expected="(batch, classes)", received=shape_text(kind))
        if not self._counts:
            shape = () if self.average == "micro" else (classes,)
            self._counts = {name: self.add_variable(shape, name=name) for name in _KINDS}
        if self.threshold is None:
            first = y_pred >= largest(y_pred, -1, keepdims=True)
            positive = current_emitter().emit("logical_and", first, abs(y_pred) > 1e-9)
        else:
            positive = y_pred > self.threshold
        found = cast(positive, dtype)
        values = (found * y_true, found * (1.0 - y_true), (1.0 - found) * y_true, y_true)
        for variable, value in zip(self._counts.values(), values, strict=True):
            weighted = value if sample_weight is None else value * weights_for(value, sample_weight)
            variable.assign_add(total(weighted, None if self.average == "micro" else 0))

    def result(self) -> Any:
        """The score so far, or one for each class."""
        if not self._counts:
            return np.zeros((), self.dtype)[()]
        tp, fp, fn, weights = (variable.array for variable in self._counts.values())
        small = np.asarray(epsilon(), self.dtype)
        precision, recall = tp / (tp + fp + small), tp / (tp + fn + small)
        scores = precision * recall / (self.beta**2 * precision + recall + small) * (1 + self.beta**2)
        if self.average == "weighted":
            return (scores * (weights / (weights.sum() + small))).sum()
        return scores if self.average is None else scores.mean()

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"average": self.average, "beta": self.beta, "threshold": self.threshold}
        return {**super().get_config(), **own}


class F1Score(FBetaScore):
    """Harmonic mean of precision and recall; arguments as in `FBetaScore`.

    >>> m = F1Score(average="macro")
    >>> m.update_state([[1, 0], [0, 1]], [[0.9, 0.1], [0.3, 0.7]])
    >>> round(float(m.result()), 4)
    1.0
    """

    def __init__(
        self, average: str | None = None, threshold: float | None = None, name: str | None = "f1_score",
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(average, 1.0, threshold, name, dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        del config["beta"]
        return config
