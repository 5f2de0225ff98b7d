"""Data that layers learn their state from before training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kgraph.errors import DTypeError

Array: TypeAlias = "npt.NDArray[Any]"


def batches_of(data: Any, what: str, steps: int | None = None) -> Iterator[Array]:
    """The batches of an array or nested list (one batch), or of an iterable of batches or (inputs, targets) pairs.

    Args:
        data: what the user gave.
        what: how messages call it.
        steps: number of batches at most; None for all.
    """
    if hasattr(data, "__array__") or (isinstance(data, (list, tuple)) and not _holds_arrays(data)):
        yield np.asarray(data)
        return
    if not hasattr(data, "__iter__"):
        expected = "an array or an iterable of batches"
        raise DTypeError(what, expected=expected, received=type(data).__name__)
    for number, batch in enumerate(data):
        if number == steps:
            return
        yield np.asarray(batch[0] if isinstance(batch, tuple) else batch)


def _holds_arrays(data: Any) -> bool:
    return any(hasattr(item, "__array__") and np.ndim(item) for item in data)
