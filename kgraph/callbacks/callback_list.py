"""CallbackList: several callbacks as one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from kgraph.callbacks.callback import Callback, Logs
from kgraph.callbacks.history import History
from kgraph.callbacks.learning_rate import LearningRateScheduler
from kgraph.callbacks.logs import LogValues
from kgraph.callbacks.progress_bar import ProgbarLogger
from kgraph.errors import DTypeError
from kgraph.optimizers.schedules import LearningRateSchedule


class CallbackList(Callback):
    """Calls the same hook of several callbacks, in order, all with the same logs.

    Args:
        callbacks: what the user gave: None, one callback, several, or a list of this kind. A learning-rate schedule
            counts as a `LearningRateScheduler` of it.
        add_history, add_progbar: whether a `History` and a `ProgbarLogger` are put at the end if there is none.
        model: that runs.
        params: "epochs", "steps" and "verbose", for all.

    Attributes:
        callbacks: the callbacks as a list.
        watches_train, watches_test, watches_predict: whether a callback looks at the batches of that loop. Most do
            not; then many batches may run at once, and no logs are made for each.
    """

    def __init__(
        self, callbacks: Any = None, add_history: bool = False, add_progbar: bool = False, model: Any = None,
        **params: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        self.callbacks = [_as_callback(callback) for callback in separate(callbacks)]
        for wanted, kind in ((add_history, History), (add_progbar, ProgbarLogger)):
            if wanted and not any(isinstance(callback, kind) for callback in self.callbacks):
                self.callbacks.append(kind())
        self.set_model(model)
        self.set_params(params)
        old = ("on_batch_begin", "on_batch_end")
        self.watches_train = self._watches("on_train_batch_begin", "on_train_batch_end", *old)
        self.watches_test = self._watches("on_test_batch_begin", "on_test_batch_end")
        self.watches_predict = self._watches("on_predict_batch_begin", "on_predict_batch_end")

    def _watches(self, *hooks: str) -> bool:
        return any(_defines(callback, hook) for callback in self.callbacks for hook in hooks)

    def set_model(self, model: Any) -> None:
        """Hand the model to all."""
        super().set_model(model)
        for callback in self.callbacks:
            callback.set_model(model)

    def set_params(self, params: dict[str, Any]) -> None:
        """Hand the parameters to all."""
        super().set_params(params)
        for callback in self.callbacks:
            callback.set_params(params)

    def check_names(self, names: Sequence[str], batch_names: Sequence[str]) -> None:
        """Let each callback check the names, with those that the callbacks before it add.

        After a callback of the user's that may add names of its own, nothing can be said before the first epoch.
        """
        known = list(names)
        for callback in self.callbacks:
            callback.check_names(known, batch_names)
            if callback.adds is None and _defines(callback, "on_epoch_end"):
                return
            known += callback.adds or ()

    def _call(self, hook: str, *position: int, logs: Logs) -> None:
        shared = logs if isinstance(logs, LogValues) else LogValues(logs or {})
        for callback in self.callbacks:
            getattr(callback, hook)(*position, shared)

    def on_train_begin(self, logs: Logs = None) -> None:
        """Before the first epoch."""
        self._call("on_train_begin", logs=logs)

    def on_train_end(self, logs: Logs = None) -> None:
        """After the last epoch."""
        self._call("on_train_end", logs=logs)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Before an epoch."""
        self._call("on_epoch_begin", epoch, logs=logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """After an epoch."""
        self._call("on_epoch_end", epoch, logs=logs)

    def on_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Before a training step, for loops of one's own in the style of older Keras."""
        self._call("on_batch_begin", batch, logs=logs)

    def on_batch_end(self, batch: int, logs: Logs = None) -> None:
        """After a training step, for loops of one's own in the style of older Keras."""
        self._call("on_batch_end", batch, logs=logs)

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Before a training step."""
        self._call("on_train_batch_begin", batch, logs=logs)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """After a training step."""
        self._call("on_train_batch_end", batch, logs=logs)

    def on_test_begin(self, logs: Logs = None) -> None:
        """Before an evaluation."""
        self._call("on_test_begin", logs=logs)

    def on_test_end(self, logs: Logs = None) -> None:
        """After an evaluation."""
        self._call("on_test_end", logs=logs)

    def on_test_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Before a batch of an evaluation."""
        self._call("on_test_batch_begin", batch, logs=logs)

    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        """After a batch of an evaluation."""
        self._call("on_test_batch_end", batch, logs=logs)

    def on_predict_begin(self, logs: Logs = None) -> None:
        """Before a prediction."""
        self._call("on_predict_begin", logs=logs)

    def on_predict_end(self, logs: Logs = None) -> None:
        """After a prediction."""
        self._call("on_predict_end", logs=logs)

    def on_predict_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Before a batch of a prediction."""
        self._call("on_predict_batch_begin", batch, logs=logs)

    def on_predict_batch_end(self, batch: int, logs: Logs = None) -> None:
        """After a batch of a prediction."""
        self._call("on_predict_batch_end", batch, logs=logs)


def separate(callbacks: Any) -> list[Any]:
    """What the user gave for callbacks, one by one."""
    if isinstance(callbacks, CallbackList):
        return list(callbacks.callbacks)
    return list(callbacks) if isinstance(callbacks, Iterable) else [callbacks] if callbacks is not None else []


def _as_callback(given: Any) -> Callback:
    if isinstance(given, LearningRateSchedule):
        return LearningRateScheduler(given)
    if not isinstance(given, Callback):
        raise DTypeError("callbacks", expected="instances of Callback", received=repr(given))
    return given


def _defines(callback: Callback, hook: str) -> bool:
    """Whether a callback has a hook of its own, in its class or, as a `LambdaCallback` has, in the object."""
    return getattr(getattr(callback, hook), "__func__", None) is not getattr(Callback, hook)
