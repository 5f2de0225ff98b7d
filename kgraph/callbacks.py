"""Callbacks: hooks of the training loop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from kgraph.errors import DTypeError
from kgraph.progress import ProgressLine

Logs: TypeAlias = "Mapping[str, Any] | None"


class Callback:
    """Base of callbacks: override the hooks wanted. `self.model` and `self.params` are set before the first one."""

    def __init__(self) -> None:
        self.model: Any = None
        self.params: dict[str, Any] = {}

    def set_model(self, model: Any) -> None:
        """Take the model that is trained."""
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        """Take "epochs", "steps" and "verbose"."""
        self.params = params

    def on_train_begin(self, logs: Logs = None) -> None:
        """Before the first epoch."""

    def on_train_end(self, logs: Logs = None) -> None:
        """After the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Before epoch `epoch`, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """After an epoch and its validation; `logs` has the values of both."""

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Before a training step."""

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """After a training step; `logs` has the running values."""

    def on_test_begin(self, logs: Logs = None) -> None:
        """Before an evaluation."""

    def on_test_end(self, logs: Logs = None) -> None:
        """After an evaluation; `logs` has its values."""

    def on_predict_begin(self, logs: Logs = None) -> None:
        """Before a prediction."""

    def on_predict_end(self, logs: Logs = None) -> None:
        """After a prediction."""


class History(Callback):
    """Records the values of every epoch; `fit` returns it.

    Attributes:
        history: a list for each value: "loss", the metrics, and the same with "val_" before.
        epoch: numbers of the epochs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []

    def on_train_begin(self, logs: Logs = None) -> None:
        """Start a new record."""
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Append the values of the epoch."""
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


class ProgbarLogger(Callback):
    """Shows progress: a line that moves on a terminal, one line an epoch elsewhere.

    Args:
        moving: whether to draw while an epoch runs.
    """

    def __init__(self, moving: bool) -> None:
        super().__init__()
        self._line = ProgressLine(moving)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Start the line of the epoch."""
        self._line.start(f"Epoch {epoch + 1}/{self.params.get('epochs', '?')}", self.params.get("steps") or 0)

    def due(self) -> bool:
        """Whether it is time to draw again."""
        return self._line.due()

    def show(self, batch: int, logs: Mapping[str, Any]) -> None:
        """Draw the line of the running epoch."""
        self._line.show(batch + 1, logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Finish the line of the epoch."""
        self._line.finish(logs or {})

    def interrupted(self) -> None:
        """End a line that was drawn in part."""
        self._line.abandon()


class CallbackList(Callback):
    """Calls the same hook of several callbacks.

    Args:
        callbacks: what the user gave: None, one callback or several.
        model: that is trained.
        params: "epochs", "steps" and "verbose".
    """

    def __init__(self, callbacks: Any, model: Any, params: dict[str, Any]) -> None:
        super().__init__()
        found = list(callbacks) if isinstance(callbacks, Iterable) else [callbacks] if callbacks is not None else []
        for callback in found:
            if not isinstance(callback, Callback):
                raise DTypeError("callbacks", expected="instances of Callback", received=repr(callback))
        self.callbacks: list[Callback] = found
        for callback in found:
            callback.set_model(model)
            callback.set_params(params)
        # Most callbacks do not look at batches; then the loop need not make logs for each.
        self.wants_batches = any(self._looks_at_batches(c) for c in found)

    @staticmethod
    def _looks_at_batches(callback: Callback) -> bool:
        hooks = ("on_train_batch_begin", "on_train_batch_end")
        return any(getattr(type(callback), hook) is not getattr(Callback, hook) for hook in hooks)

    def on_train_begin(self, logs: Logs = None) -> None:
        """Before the first epoch."""
        for callback in self.callbacks:
            callback.on_train_begin(logs)

    def on_train_end(self, logs: Logs = None) -> None:
        """After the last epoch."""
        for callback in self.callbacks:
            callback.on_train_end(logs)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Before an epoch."""
        for callback in self.callbacks:
            callback.on_epoch_begin(epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """After an epoch."""
        for callback in self.callbacks:
            callback.on_epoch_end(epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Before a training step."""
        for callback in self.callbacks:
            callback.on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """After a training step."""
        for callback in self.callbacks:
            callback.on_train_batch_end(batch, logs)

    def on_test_begin(self, logs: Logs = None) -> None:
        """Before an evaluation."""
        for callback in self.callbacks:
            callback.on_test_begin(logs)

    def on_test_end(self, logs: Logs = None) -> None:
        """After an evaluation."""
        for callback in self.callbacks:
            callback.on_test_end(logs)

    def on_predict_begin(self, logs: Logs = None) -> None:
        """Before a prediction."""
        for callback in self.callbacks:
            callback.on_predict_begin(logs)

    def on_predict_end(self, logs: Logs = None) -> None:
        """After a prediction."""
        for callback in self.callbacks:
            callback.on_predict_end(logs)
