"""Names that layers get when the user gives none: dense, dense_1, dense_2 ..."""

from __future__ import annotations

import re
from collections import Counter


class Namer:
    """Counts how often each base name was handed out."""

    def __init__(self) -> None:
        self._used: Counter[str] = Counter()

    def unique(self, base: str) -> str:
        """`base` the first time, then `base_1`, `base_2` ...

        >>> namer = Namer()
        >>> namer.unique("dense"), namer.unique("dense")
        ('dense', 'dense_1')
        """
        count = self._used[base]
        self._used[base] += 1
        return f"{base}_{count}" if count else base

    def forget(self) -> None:
        """Start every count again."""
        self._used.clear()


_namer = Namer()


def auto_name(base: str) -> str:
    """A name not handed out before in this process (or since `clear_session`)."""
    return _namer.unique(base)


def clear_session() -> None:
    """Let the automatic names of layers and models start again, as in Keras."""
    _namer.forget()


def snake_case(name: str) -> str:
    """A class name as Keras writes it in layer names.

    >>> snake_case("InputLayer"), snake_case("LeakyReLU")
    ('input_layer', 'leaky_re_lu')
    """
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
