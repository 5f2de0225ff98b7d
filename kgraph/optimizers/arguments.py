"""Checks of constructor arguments that optimizers share; `where` is how messages call the argument."""

from __future__ import annotations

from typing import Any

import numpy as np

from kgraph.errors import ArgumentError, DTypeError


def checked_rate(value: Any) -> float:
    """A learning rate as a float; an error unless it is a finite number >= 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number, np.ndarray)) or np.ndim(value):
        raise DTypeError("learning_rate", expected="a number or a LearningRateSchedule", received=repr(value))
    rate = float(value)
    if not rate >= 0 or rate == float("inf"):
        raise ArgumentError("learning_rate must be >= 0 and finite", received=repr(rate))
    return rate


def at_least_0(where: str, value: Any) -> float:
    """`value` as a float; ArgumentError unless it is a number >= 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise ArgumentError(where, expected="a number >= 0", received=repr(value))
    return float(value)


def share(where: str, value: Any) -> float:
    """`value` as a float; ArgumentError unless it is a number in [0, 1]."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ArgumentError(where, expected="a number in [0, 1]", received=repr(value))
    return float(value)


def count(where: str, value: Any, least: int) -> int | None:
    """`value`; ArgumentError unless it is None or an int of at least `least`."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
        raise ArgumentError(where, expected=f"an int >= {least} or None", received=repr(value))
    return value
