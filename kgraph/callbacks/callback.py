"""Callback: the base class, with a hook for every event of fit, evaluate and predict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

Logs: TypeAlias = "dict[str, Any] | None"


class Callback:
    """Base of callbacks: override the hooks wanted. `self.model` and `self.params` are set before the first one.

    `logs` is a dict of numbers by name; what a callback puts into it at the end of an epoch is seen by those after it
    and kept in the history. Hooks of batches cost time: a model whose callbacks have none runs many batches at once.

    Attributes:
        model: the model that runs.
        params: "epochs", "steps" and "verbose".
        adds: names that `on_epoch_end` puts into the logs; None if that is not known.
    """

    adds: Sequence[str] | None = None

    def __init__(self) -> None:
        self.model: Any = None
        self.params: dict[str, Any] = {}

    def set_model(self, model: Any) -> None:
        """Take the model that runs."""
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        """Take "epochs", "steps" and "verbose"."""
        self.params = params

    def check_names(self, names: Sequence[str], batch_names: Sequence[str]) -> None:
        """Before the first epoch: raise an error if the logs will lack what the callback asks for.

        Args:
            names: in the logs of epochs.
            batch_names: in the logs of batches.
        """

    def on_train_begin(self, logs: Logs = None) -> None:
        """Before the first epoch."""

    def on_train_end(self, logs: Logs = None) -> None:
        """After the last epoch; `logs` has its values."""

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Before epoch `epoch`, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """After an epoch and its validation; `logs` has the values of both."""

    def on_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Old name of `on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Old name of `on_train_batch_end`."""

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Before a training step; the learning rate may be set here."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """After a training step; `logs` has the running values."""
        self.on_batch_end(batch, logs)

    def on_test_begin(self, logs: Logs = None) -> None:
        """Before an evaluation, also that of `fit` after an epoch."""

    def on_test_end(self, logs: Logs = None) -> None:
        """After an evaluation; `logs` has its values, without "val_" before the names."""

    def on_test_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Before a batch of an evaluation."""

    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        """After a batch of an evaluation; `logs` has the running values."""

    def on_predict_begin(self, logs: Logs = None) -> None:
        """Before a prediction."""

    def on_predict_end(self, logs: Logs = None) -> None:
        """After a prediction."""

    def on_predict_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Before a batch of a prediction."""

    def on_predict_batch_end(self, batch: int, logs: Logs = None) -> None:
        """After a batch of a prediction; `logs["outputs"]` has what it gave."""
