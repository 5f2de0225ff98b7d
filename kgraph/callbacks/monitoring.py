"""What callbacks that watch one value have in common: its name, its direction, and what counts as better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kgraph.callbacks.callback import Callback
from kgraph.callbacks.logs import LogValues, hint_for, known_name
from kgraph.data import warn_user
from kgraph.errors import ArgumentError


class MonitorCallback(Callback):
    """Base of callbacks that watch a value.

    Args:
        monitor: name of the value in the logs of epochs.
        mode: "min" or "max"; "auto" asks the metric of that name.
        best: what the first value has to beat; None for nothing.
        min_delta: smallest change that counts as better.

    Attributes:
        best: the best value so far.
    """

    adds: Sequence[str] | None = ()

    def __init__(self, monitor: str, mode: str = "auto", best: float | None = None, min_delta: float = 0.0) -> None:
        super().__init__()
        if mode not in ("auto", "min", "max"):
            expected = "'auto', 'min' or 'max'"
            raise ArgumentError(f"{type(self).__name__}(mode)", expected=expected, received=repr(mode))
        self.monitor = monitor
        self.mode = mode
        self.best = best
        self.min_delta = abs(min_delta)
        self._rising: bool | None = None if mode == "auto" else mode == "max"

    def check_names(self, names: Sequence[str], batch_names: Sequence[str]) -> None:
        """The value must be among `names`, and its direction known."""
        if known_name(self.monitor, names) is None:
            what = f"{type(self).__name__}(monitor={self.monitor!r}): the logs have no such value"
            raise ArgumentError(what, fix=hint_for(self.monitor, names))
        self._rises()

    def value(self, logs: dict[str, Any] | None) -> Any:
        """The value in the logs; None, with a warning, if it is not there."""
        logs = LogValues(logs or {})
        if self.monitor not in logs:
            warn_user(f"{type(self).__name__}: no {self.monitor!r} in the logs of this epoch, only: {', '.join(logs)}")
        return logs.get(self.monitor)

    def is_better(self, value: Any, than: Any) -> bool:
        """Whether a value beats another by more than `min_delta`; every value beats None."""
        if than is None:
            return True
        reached = value - self.min_delta if self._rises() else value + self.min_delta
        left, right = np.float32(reached), np.float32(than)  # Keras compares in this precision, which decides ties
        return bool(left > right if self._rises() else left < right)

    def _rises(self) -> bool:
        """Whether more is better."""
        if self._rising is None:
            metrics = dict(zip(self.model.metrics_names, self.model.metrics, strict=True))
            name = known_name(self.monitor.removeprefix("val_"), metrics)
            direction = "down" if name is not None and name.endswith("loss") else None
            if name is not None and direction is None:
                direction = metrics[name]._direction
            if direction is None:
                raise ArgumentError(f"{type(self).__name__}(monitor={self.monitor!r}): more or less may be better",
                                    fix="Pass mode='max' or mode='min'")  # fmt: skip
            self._rising = direction == "up"
        return self._rising
