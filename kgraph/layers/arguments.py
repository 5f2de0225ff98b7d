"""Checks of constructor arguments that layers share."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from kgraph.errors import ArgumentError


def whole_number(label: str, argument: str, value: Any, least: int = 1) -> int:
    """`value` as an int; an error unless it is a whole number of at least `least`.

    >>> whole_number("layer 'd'", "units", 3)
    3
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < least:
        raise ArgumentError(f"{label}: {argument}", expected=f"an int >= {least}", received=repr(value))
    return number


def axis_argument(label: str, axis: Any) -> int | list[int]:
    """`axis` as an int, or as a list if there are several; negative ones count from the end."""
    if isinstance(axis, (list, tuple)):
        return [whole_number(label, "axis", a, -(2**31)) for a in axis]
    return whole_number(label, "axis", axis, -(2**31))


def number(label: str, argument: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """`value` as a float; an error unless it is a number in [low, high]."""
    is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:
        ends = {(False, False): "a number", (True, False): f"a number >= {low:g}"}
        expected = ends.get((math.isfinite(low), math.isfinite(high)), f"a number in [{low:g}, {high:g}]")
        raise ArgumentError(f"{label}: {argument}", expected=expected, received=repr(value))
    return float(value)


def at_least_0(label: str, argument: str, value: Any) -> float:
    """`value` as a float; an error unless it is a number >= 0."""
    return number(label, argument, value, 0)


def probability(label: str, argument: str, value: Any) -> float:
    """`value` as a float; an error unless it is a number in [0, 1]."""
    return number(label, argument, value, 0, 1)


def unsupported(label: str, **arguments: Any) -> None:
    """An error if one of these Keras arguments is given: they are accepted only as None."""
    for name, value in arguments.items():
        if value is not None:
            raise ArgumentError(f"{label}: {name} is not supported", expected="None", received=repr(value))
