"""History: what `fit` returns."""

from __future__ import annotations

from typing import Any

from kgraph.callbacks.callback import Callback, Logs
from kgraph.callbacks.logs import LogValues


class History(Callback):
    """Records the values of every epoch; `fit` returns it.

    Attributes:
        history: a list for each value: "loss", the metrics, and the same with "val_" before. "acc" and "val_acc" find
            the accuracy, too.
        epoch: numbers of the epochs.
    """

    adds = ()

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[Any]] = LogValues()
        self.epoch: list[int] = []

    def on_train_begin(self, logs: Logs = None) -> None:
        """Start a new record of epochs."""
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Append the values of the epoch."""
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
