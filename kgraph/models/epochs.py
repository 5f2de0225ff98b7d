"""The epochs of fit: training steps, validation, callbacks, progress and interrupts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kgraph.callbacks import CallbackList, History, ProgbarLogger
from kgraph.callbacks.callback_list import separate
from kgraph.callbacks.logs import LogValues
from kgraph.data import warn_user
from kgraph.errors import ArgumentError, NumericError
from kgraph.models.steps import Steps
from kgraph.models.training_programs import TrainingSetup
from kgraph.numeric_guard import reported
from kgraph.progress import InterruptFlag, interrupts_between_steps


def check_epochs(epochs: Any, nb_epoch: Any, initial_epoch: int) -> int:
    """The number of epochs, which may be given by its old name; ArgumentError if it is none."""
    if nb_epoch is not None:
        warn_user("fit(nb_epoch=...) is the old name of epochs=")
        epochs = nb_epoch
    if isinstance(epochs, bool) or not isinstance(epochs, (int, np.integer)) or epochs < 0:
        raise ArgumentError("epochs must be an int >= 0", received=repr(epochs))
    if initial_epoch < 0:
        raise ArgumentError("initial_epoch must be >= 0", received=repr(initial_epoch))
    return int(epochs)


def check_steps(name: str, steps: Any) -> int | None:
    """A number of steps, or None for all; ArgumentError below 1. Older scripts divide, and give whole floats."""
    if steps is None:
        return None
    if isinstance(steps, bool) or not isinstance(steps, (int, float, np.integer)) or steps < 1 or int(steps) != steps:
        raise ArgumentError(f"{name} must be an int >= 1", received=repr(steps))
    return int(steps)


def validation_epochs(frequency: Any) -> Callable[[int], bool]:
    """Whether epoch number n, from 0, is followed by a validation: every so many, or the listed ones, from 1."""
    if isinstance(frequency, (int, np.integer)) and not isinstance(frequency, bool) and frequency >= 1:
        return lambda epoch: (epoch + 1) % frequency == 0
    if isinstance(frequency, Sequence) and not isinstance(frequency, str):
        return lambda epoch: epoch + 1 in frequency
    raise ArgumentError("validation_freq", expected="an int >= 1 or a list of epochs", received=repr(frequency))


def fit_callbacks(callbacks: Any, verbose: Any) -> tuple[list[Any], list[ProgbarLogger], History]:
    """The user's callbacks, those that draw unless `fit` is silent, and one that keeps the record.

    Returns:
        All, those that draw, and the record. Callbacks of the user's that do this take the place of new ones.
    """
    if verbose not in ("auto", 0, 1, 2):
        raise ArgumentError("verbose", expected="'auto', 0, 1 or 2", received=repr(verbose))
    given = separate(callbacks)
    progress = [callback for callback in given if isinstance(callback, ProgbarLogger)]
    histories = [callback for callback in given if isinstance(callback, History)]
    added: list[Any] = [] if progress or not verbose else [ProgbarLogger()]
    record = histories[0] if histories else History()
    return [*given, *added, *([] if histories else [record])], [*progress, *added], record


class Validation:
    """Evaluates after the epochs that `due` names.

    Args:
        steps: of the program "evaluate".
        due: of `validation_epochs`.
    """

    def __init__(self, steps: Steps, due: Callable[[int], bool]) -> None:
        self.steps, self.due = steps, due


def run_evaluation(
    setup: TrainingSetup, steps: Steps, hooks: CallbackList, interrupt: InterruptFlag | None = None,
    call: str = "evaluate", epoch: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Loss and metrics over one round of `steps`, empty if there are no data; `call` and `epoch` are for messages."""
    interrupt = interrupt or InterruptFlag()
    hooks.model.stop_evaluating = False
    hooks.on_test_begin()
    setup.reset()
    steps.begin()
    while interrupt.ask(lambda: steps.unfinished):
        first = steps.done
        if hooks.watches_test:
            hooks.on_test_batch_begin(first)
        with reported(call, epoch):
            steps.advance(1 if hooks.watches_test else None)
        if hooks.watches_test:
            hooks.on_test_batch_end(first, setup.logs("evaluate"))
        if hooks.model.stop_evaluating:
            break
    with reported(call, epoch):
        steps.look()
    if not hooks.model.stop_evaluating:
        steps.finish()
    logs = setup.logs("evaluate") if steps.done else {}
    hooks.on_test_end(logs)
    return logs


class EpochLoop:
    """Trains a model for some epochs.

    Args:
        model: whose `stop_training` ends the loop.
        setup: of `compile`.
        steps: of the program "train".
        validation: None for none.
        hooks: all callbacks.
        progress: the one of them that draws, if any.
    """

    def __init__(
        self, model: Any, setup: TrainingSetup, steps: Steps, validation: Validation | None, hooks: CallbackList,
        progress: list[ProgbarLogger],
    ) -> None:  # fmt: skip
        self._model, self._setup, self._steps, self._validation = model, setup, steps, validation
        self._hooks, self._progress = hooks, progress
        self._diverged = False

    def run(self, epochs: range) -> None:
        """Train for these epochs, or until a callback, Ctrl-C or the end of the data stops it."""
        names = [name for name, _ in self._setup.trackers()]
        measured = [] if self._validation is None else self._setup.trackers("evaluate")
        evaluated = [f"val_{name}" for name, _ in measured]
        self._hooks.check_names([*names, *evaluated], names)
        outer, self._model._running, self._model._resumed_epoch = self._model._running, self._steps, epochs.start
        try:
            self._run(epochs)
        finally:
            self._model._running = outer  # a model does not keep the data of a training that is over

    def _run(self, epochs: range) -> None:
        self._hooks.on_train_begin()
        epochs = range(max(epochs.start, self._model._resumed_epoch), epochs.stop)
        logs = LogValues()
        with interrupts_between_steps() as interrupt:
            for number, epoch in enumerate(epochs):
                self._steps.begin()
                if not interrupt.ask(lambda: self._steps.unfinished):
                    self._steps.ended(number, len(epochs))
                    break
                self._hooks.on_epoch_begin(epoch)
                try:
                    logs = LogValues(self._epoch(epoch, interrupt))
                except (KeyboardInterrupt, NumericError):
                    for line in self._progress:
                        line.interrupted()
                    raise
                self._hooks.on_epoch_end(epoch, logs)
                if self._model.stop_training:
                    break
        self._setup.optimizer.finalize_variable_values(self._model.trainable_variables)
        self._hooks.on_train_end(logs)

    def _epoch(self, epoch: int, interrupt: InterruptFlag) -> dict[str, Any]:
        """Train and validate once; the values of both."""
        self._train(epoch, interrupt)
        logs = self._setup.logs()
        if self._validation is not None and self._validation.due(epoch):
            values = run_evaluation(
                self._setup, self._validation.steps, self._hooks, interrupt, "fit: validation", epoch + 1
            )
            if not values:
                warn_user(f"fit: validation_data: no data are left at epoch {epoch + 1}. "
                          "Give validation_steps, or data that can begin anew")  # fmt: skip
            logs |= {f"val_{name}": value for name, value in values.items()}
            logs = dict(sorted(logs.items()))
        return logs

    def _train(self, epoch: int, interrupt: InterruptFlag) -> None:
        """One round of steps, or until a callback stops; many run at a time unless a callback looks at each."""
        setup, steps, hooks = self._setup, self._steps, self._hooks
        if not steps.done:  # else a callback lets an epoch go on
            setup.reset()
        line = self._progress[0] if self._progress else None
        while interrupt.ask(lambda: steps.unfinished):
            first = steps.done
            if hooks.watches_train:
                hooks.on_train_batch_begin(first)
            with reported("fit", epoch + 1):
                losses = steps.advance(1 if hooks.watches_train else None)
            self._check_losses(losses, epoch, first)
            if hooks.watches_train:
                hooks.on_train_batch_end(first, setup.logs())
            if line is not None and line.due():
                line.show(steps.done - 1, setup.logs())
            if self._model.stop_training:
                break
        with reported("fit", epoch + 1):
            steps.look()
        if not self._model.stop_training:
            steps.finish()

    def _check_losses(self, losses: np.ndarray, epoch: int, first: int) -> None:
        """Warn once in a `fit` if a loss is not finite; the first of `losses` is that of batch number `first`."""
        if self._diverged:
            return
        finite = np.isfinite(losses)
        if not finite.all():
            self._diverged = True
            at = int(finite.argmin())
            what = "NaN" if np.isnan(losses[at]) else "Inf"
            hint = "compile(check='nan') stops there and names the op"
            warn_user(f"fit: loss became {what} at epoch {epoch + 1} batch {first + at}. {hint}")
