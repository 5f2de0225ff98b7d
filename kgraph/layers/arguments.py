"""Checks of constructor arguments that layers share."""

from __future__ import annotations

import operator
from typing import Any

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


def probability(label: str, argument: str, value: Any) -> float:
    """`value` as a float; an error unless it is a number in [0, 1]."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= 1:
        raise ArgumentError(f"{label}: {argument}", expected="a number in [0, 1]", received=repr(value))
    return float(value)


def unsupported(label: str, **arguments: Any) -> None:
    """An error if one of these Keras arguments is given: they are accepted only as None."""
    for name, value in arguments.items():
        if value is not None:
            raise ArgumentError(f"{label}: {name} is not supported", expected="None", received=repr(value))
