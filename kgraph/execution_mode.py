"""Choosing how models run: native code, or the reference interpreter."""

from __future__ import annotations

from contextlib import AbstractContextManager

from kgraph.config import Settings, override


def execution(way: str) -> AbstractContextManager[Settings]:
    """Run everything inside a `with` block in one way.

    Args:
        way: "native" or "interpreter"; both give the same results up to rounding, and the same random numbers.

    >>> with execution("interpreter") as settings:
    ...     settings.execution
    'interpreter'
    """
    return override(execution=way)
