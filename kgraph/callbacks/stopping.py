"""Callbacks that end training: EarlyStopping, TerminateOnNaN."""

from __future__ import annotations

import math
from typing import Any

from kgraph.callbacks.callback import Callback, Logs
from kgraph.callbacks.monitoring import MonitorCallback
from kgraph.errors import StateError
from kgraph.progress import write_line


class EarlyStopping(MonitorCallback):
    """Ends training when a value has stopped getting better.

    Args:
        monitor: name of the value.
        min_delta: smallest change that counts as better.
        patience: epochs without a better value after which training ends.
        verbose: 1 to say so.
        mode: "min" or "max"; "auto" asks the metric.
        baseline: values that do not beat it count as no better, though the best of them is remembered.
        restore_best_weights: give the model back the weights of the best epoch when training ends.
        start_from_epoch: epochs at the beginning that are not looked at.

    Attributes:
        stopped_epoch: the epoch after which training ended; 0 if it was not ended here.
        best_epoch: number of the best epoch.
    """

    def __init__(
        self, monitor: str = "val_loss", min_delta: float = 0, patience: int = 0, verbose: int = 0, mode: str = "auto",
        baseline: float | None = None, restore_best_weights: bool = False, start_from_epoch: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(monitor, mode, min_delta=min_delta)
        self.patience = patience
        self.verbose = verbose
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = start_from_epoch
        self.best_weights: Any = None
        self.wait = self.stopped_epoch = self.best_epoch = 0

    def on_train_begin(self, logs: Logs = None) -> None:
        """Forget an earlier training."""
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best = self.best_weights = None

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Look at the value; Keras never ends training after epoch 0."""
        value = self.value(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self._keep(epoch)
        self.wait += 1
        if self.is_better(value, self.best):
            self.best = value
            self._keep(epoch)
            if self.is_better(value, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs = None) -> None:
        """Restore the best weights if asked to."""
        if self.stopped_epoch and self.verbose:
            write_line(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            if self.verbose:
                write_line(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)

    def _keep(self, epoch: int) -> None:
        self.best_epoch = epoch
        if self.restore_best_weights:
            self.best_weights = self.model.get_weights()


class TerminateOnNaN(Callback):
    """Ends training after the batch with which the running loss became NaN or infinite.

    Args:
        raise_error: raise a StateError instead, so that no callback sees the end of training.
    """

    adds = ()

    def __init__(self, raise_error: bool = False) -> None:
        super().__init__()
        self.raise_error = raise_error

    def on_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Look at the loss."""
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(loss):
            return
        if self.raise_error:
            raise StateError(f"TerminateOnNaN: loss at batch {batch}", expected="a finite number", received=f"{loss}")
        write_line(f"Batch {batch}: Invalid loss, terminating training")
        self.model.stop_training = True
