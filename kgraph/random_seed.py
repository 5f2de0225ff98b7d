"""The process' source of seeds: every initializer and every model draws its own from it."""

from __future__ import annotations

import random

import numpy as np

from kgraph.errors import ArgumentError


class SeedSource:
    """A stream of seeds; unpredictable until `restart` fixes it."""

    def __init__(self) -> None:
        # Made at the first draw: `import kgraph` does not need NumPy's generators.
        self._generator: np.random.Generator | None = None

    def restart(self, seed: int) -> None:
        """Make all later seeds follow from `seed`."""
        self._generator = np.random.default_rng(seed)

    def draw(self) -> int:
        """The next seed, in [0, 2^32)."""
        if self._generator is None:
            self._generator = np.random.default_rng()
        return int(self._generator.integers(1 << 32))


_source = SeedSource()


def next_seed() -> int:
    """A new seed, in [0, 2^32); the sequence is fixed by `set_random_seed`."""
    return _source.draw()


def set_random_seed(seed: int) -> None:
    """Fix the random numbers of Python, of NumPy's global generator, and of everything in kgraph.

    Args:
        seed: int in [0, 2^32), as NumPy wants it.

    >>> set_random_seed(7)
    >>> first = next_seed()
    >>> set_random_seed(7)
    >>> next_seed() == first
    True
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 1 << 32:
        raise ArgumentError("set_random_seed", expected="an int in [0, 2^32)", received=repr(seed))
    random.seed(int(seed))
    np.random.seed(int(seed))
    _source.restart(int(seed))
