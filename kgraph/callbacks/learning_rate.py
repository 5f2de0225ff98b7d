"""Callbacks that set the learning rate: LearningRateScheduler, ReduceLROnPlateau."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kgraph.callbacks.callback import Callback, Logs
from kgraph.callbacks.monitoring import MonitorCallback
from kgraph.errors import ArgumentError, DTypeError
from kgraph.optimizers.base import Optimizer
from kgraph.optimizers.schedules import LearningRateSchedule
from kgraph.progress import write_line


def _check_rate_can_be_set(callback: Callback) -> None:
    """DTypeError, before the first epoch, if an optimizer follows a schedule of its own."""
    for optimizer in callback.model.optimizer.rate_owners().values():
        if optimizer.schedule is not None:
            raise DTypeError(f"{type(callback).__name__}: the optimizer has a learning-rate schedule",
                             expected="a number", fix="Make the optimizer with learning_rate=<number>")  # fmt: skip


def rates_of(model: Any) -> dict[str, float]:
    """The learning rate of the model's optimizer, or those of all that it is made of, by name."""
    return {name: float(own.learning_rate) for name, own in model.optimizer.rate_owners().items()}


def _label(name: str, optimizer: Optimizer) -> str:
    """How lines call a rate."""
    return "learning rate" if name == "learning_rate" else f"{optimizer.name} learning rate"


class LearningRateScheduler(Callback):
    """Sets the learning rate before every epoch; of a `MultiOptimizer` that of each optimizer.

    Args:
        schedule: ``schedule(epoch, rate)`` or ``schedule(epoch)``, with the number of the epoch from 0 and the rate so
            far, gives the new rate as a float. Or a schedule object such as `StepDecay`: it then counts epochs, where
            as `learning_rate=` of an optimizer it counts steps.
        verbose: 1 to write the rate.
    """

    def __init__(self, schedule: Callable[..., Any], verbose: int = 0) -> None:
        super().__init__()
        if not callable(schedule):
            raise DTypeError("LearningRateScheduler(schedule)", expected="a function", received=repr(schedule))
        self.schedule = schedule
        self.verbose = verbose
        self._takes_rate = _takes_two(schedule)

    def check_names(self, names: Sequence[str], batch_names: Sequence[str]) -> None:
        """The rates come into the logs; those of a `MultiOptimizer` may not be known yet."""
        super().check_names(names, batch_names)
        self.adds = tuple(self.model.optimizer.rate_owners()) or None

    def on_train_begin(self, logs: Logs = None) -> None:
        """The optimizer must have a rate that can be set."""
        _check_rate_can_be_set(self)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Set the rate."""
        for name, optimizer in self.model.optimizer.rate_owners().items():
            optimizer.learning_rate = rate = self._rate(epoch, optimizer)
            if self.verbose:
                line = f"Epoch {epoch + 1}: LearningRateScheduler setting {_label(name, optimizer)} to {rate}."
                write_line(f"\n{line}")

    def _rate(self, epoch: int, optimizer: Optimizer) -> float:
        """What the schedule says."""
        known = (float(optimizer.learning_rate),) if self._takes_rate else ()
        rate = self.schedule(epoch, *known)
        if isinstance(self.schedule, LearningRateSchedule):
            rate = float(rate)
        if not isinstance(rate, (float, np.floating)):
            raise DTypeError(f"LearningRateScheduler: schedule({epoch})", expected="a float", received=repr(rate))
        return float(rate)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Put the rate into the logs."""
        if logs is not None:
            logs.update(rates_of(self.model))


def _takes_two(function: Callable[..., Any]) -> bool:
    """Whether a function takes two arguments; one that does not say counts as if."""
    try:
        inspect.signature(function).bind(0, 0.0)
    except ValueError:  # a builtin without a signature
        return True
    except TypeError:
        return False
    return True


class ReduceLROnPlateau(MonitorCallback):
    """Multiplies the learning rate, of a `MultiOptimizer` all, by `factor` when a value has stopped getting better.

    Args:
        monitor: name of the value.
        factor: below 1.
        patience: epochs without a better value after which the rate falls.
        verbose: 1 to say so.
        mode: "min" or "max"; "auto" asks the metric.
        min_delta: smallest change that counts as better.
        cooldown: epochs after a fall that are not counted.
        min_lr: the rate does not fall below it.
        epsilon: old spelling of `min_delta`.
    """

    def __init__(
        self, monitor: str = "val_loss", factor: float = 0.1, patience: int = 10, verbose: int = 0, mode: str = "auto",
        min_delta: float = 1e-4, cooldown: int = 0, min_lr: float = 0.0, *, epsilon: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__(monitor, mode, min_delta=min_delta if epsilon is None else epsilon)
        if factor >= 1.0:
            raise ArgumentError("ReduceLROnPlateau(factor)", expected="a number < 1", received=repr(factor))
        self.factor = factor
        self.patience = patience
        self.verbose = verbose
        self.cooldown = cooldown
        self.min_lr = min_lr
        self.wait = self.cooldown_counter = 0

    def check_names(self, names: Sequence[str], batch_names: Sequence[str]) -> None:
        """The rates come into the logs; those of a `MultiOptimizer` may not be known yet."""
        super().check_names(names, batch_names)
        self.adds = tuple(self.model.optimizer.rate_owners()) or None

    def on_train_begin(self, logs: Logs = None) -> None:
        """Forget an earlier training; the optimizer must have a rate that can be set."""
        _check_rate_can_be_set(self)
        self.best = None
        self.wait = self.cooldown_counter = 0

    def in_cooldown(self) -> bool:
        """Whether epochs are not counted yet after a fall."""
        return self.cooldown_counter > 0

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Look at the value; put the rate of the epoch into the logs."""
        if logs is not None:
            logs.update(rates_of(self.model))
        value = self.value(logs)
        if value is None:
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if self.is_better(value, self.best):
            self.best = value
            self.wait = 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience and self._reduce(epoch):
                self.cooldown_counter = self.cooldown
                self.wait = 0

    def _reduce(self, epoch: int) -> bool:
        """Let the rates fall that may; whether one did."""
        falling = {
            name: own for name, own in self.model.optimizer.rate_owners().items()
            if float(own.learning_rate) > np.float32(self.min_lr)  # the rate is a float32
        }  # fmt: skip
        for name, optimizer in falling.items():
            rate = max(float(optimizer.learning_rate) * self.factor, self.min_lr)
            optimizer.learning_rate = rate
            if self.verbose:
                write_line(f"\nEpoch {epoch + 1}: ReduceLROnPlateau reducing {_label(name, optimizer)} to {rate}.")
        return bool(falling)
