"""Finding things by name, with a suggestion when the name is misspelt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from kgraph.errors import ArgumentError

T = TypeVar("T")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint with the nearest known name, or with all of them if none is near.

    >>> did_you_mean("rleu", ["relu", "elu", "tanh"])
    "Did you mean 'relu'?"
    """
    import difflib

    names = list(dict.fromkeys(known))
    near = difflib.get_close_matches(name, names, n=1) or difflib.get_close_matches(name.lower(), names, n=1)
    return f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(names)}"


def find(argument: str, name: str, known: Mapping[str, T]) -> T:
    """`known[name]`; an error that names the argument and suggests a name if there is none."""
    if name not in known:
        raise ArgumentError(f"{argument}={name!r}: unknown", fix=did_you_mean(name, known))
    return known[name]
