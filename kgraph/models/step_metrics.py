"""Running values that steps of a model's own update and show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kgraph.errors import ArgumentError, DTypeError, StateError
from kgraph.ir.dtypes import dtype_of
from kgraph.ir.operators import Operators, cast, lift
from kgraph.metrics import Metric
from kgraph.metrics.base import PendingResult
from kgraph.nesting import flatten
from kgraph.trace import current_trace

NUMBERS = (int, float, np.integer, np.floating)


class CompiledMetrics:
    """The metrics given to `compile`, as one: inside a step, whose labels say what they are, they are not made yet.

    Args:
        model: with `compute_metrics` and the `TrainingSetup` of its `compile`.
    """

    name = "compile_metrics"

    def __init__(self, model: Any) -> None:
        self._model = model

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Let each take in the labels and predictions of its output; those that are not weighted leave out the weights.

        Args:
            y_true, y_pred: in the nesting of the model's outputs.
            sample_weight: for all outputs, or one for each.
        """
        self._model.update_compiled_metrics(y_true, y_pred, sample_weight)

    def result(self) -> dict[str, Any]:
        """The result of each by its name in the logs, those of the outputs' losses among them."""
        setup = self._model._compiled("metrics")
        return {name: metric.result() for name, metric in setup.own_trackers() if metric is not setup.loss_tracker}


def held_metrics(model: Any) -> list[Metric]:
    """The metrics that attributes of a model and of its layers hold; not those of models inside."""
    owners = [model, *(layer for layer in model.all_layers()[1:] if not hasattr(layer, "train_step"))]
    found = (leaf for owner in owners for value in vars(owner).values() for leaf in flatten(value))
    return list(dict.fromkeys(leaf for leaf in found if isinstance(leaf, Metric)))


class LastValue(Metric):
    """The number that a step gave last."""

    def __init__(self, name: str, dtype: Any = None) -> None:
        super().__init__(name, dtype)
        self.last = self.add_variable(name="last")

    def update_state(self, value: Any) -> None:
        """Take the place of the number before."""
        self.last.assign(value)

    def result(self) -> Any:
        """The last number; 0 before any."""
        return self.last.array[()]


def logged(method: str, logs: Any) -> list[tuple[str, Metric]]:
    """(name, running value) for each entry of what a step returned; numbers of the program are kept in states.

    Raises: DTypeError or ArgumentError if it is no dict of results of metrics and numbers.
    """
    if not isinstance(logs, Mapping):
        raise DTypeError(f"{method}: what it returns", expected="a dict of numbers for the logs",
                         received=type(logs).__name__)  # fmt: skip
    found = [(name, _tracker(method, name, value)) for name, value in _entries(logs)]
    if not found:
        raise StateError(f"{method}: what it returns", expected="at least one entry", received="an empty dict")
    return found


def _entries(logs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The entries; those of a dict among them in its place, as metrics with several results give one."""
    for name, value in logs.items():
        yield from value.items() if isinstance(value, Mapping) else [(name, value)]


def _tracker(method: str, name: str, value: Any) -> Metric:
    if isinstance(value, PendingResult):
        return value.metric
    if not isinstance(value, (Operators, *NUMBERS)):
        raise DTypeError(f"{method}: entry '{name}'", expected="a tensor or the result of a metric",
                         received=type(value).__name__)  # fmt: skip
    number = current_trace().lift(lift(value, dtype_of("float32")))
    if number.type.rank:
        raise ArgumentError(f"{method}: entry '{name}'", expected="one number", received=str(number.type),
                            fix="Take its mean: ops.mean(...)")  # fmt: skip
    dtype = number.type.dtype if number.type.dtype.is_float else dtype_of("float32")
    keeper = LastValue(name, dtype.numpy)
    keeper.update_state(cast(number, dtype))
    return keeper


def touched(metrics: Sequence[Metric], variables: Sequence[Any]) -> list[tuple[str, Metric]]:
    """(name, metric) of those whose states are among the variables of a program."""
    known = set(variables)
    return [(metric.name, metric) for metric in metrics if not known.isdisjoint(metric.variables)]
