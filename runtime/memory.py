"""Memory for runs: asked of the system before it is taken, with one error that says what was too large."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kgraph.errors import OutOfMemoryError

Array: TypeAlias = "npt.NDArray[Any]"

# Linux grants more memory than there is, and ends the process once it is used: large pieces are compared with what is
# available. To ask takes some 50 microseconds, which does not matter beside making so many bytes.
ASKED_FROM = 2**28
_MEMINFO = Path("/proc/meminfo")


def available_bytes() -> int | None:
    """Bytes that can be used without ending processes, swap among them; None where the system does not say."""
    try:
        lines = [line.split() for line in _MEMINFO.read_text().splitlines()]
    except OSError:
        return None
    found = {fields[0]: 1024 * int(fields[1]) for fields in lines if fields[0] in ("MemAvailable:", "SwapFree:")}
    return sum(found.values()) if "MemAvailable:" in found else None


def allocate(
    what: str, shape: Sequence[int], dtype: Any, parts: Callable[[], str] = str, fix: str = "Use a smaller batch_size"
) -> Array:
    """A new array, not filled.

    Args:
        what: how a message calls it.
        shape, dtype: of the array.
        parts: tells a message more about it; asked only if there is one.
        fix: what the message advises.

    Raises:
        OutOfMemoryError: so much is not available.
    """
    nbytes = np.dtype(dtype).itemsize
    for size in shape:
        nbytes *= int(size)
    available = available_bytes() if nbytes >= ASKED_FROM else None
    if available is None or nbytes <= available:
        try:
            return np.empty(shape, dtype)
        except (MemoryError, ValueError):  # a ValueError where the number of bytes is beyond what an address can be
            available = available_bytes()
    less = available is not None and available < nbytes
    received = f"{available:,} available" if less else "a refusal: the process has a limit"
    raise OutOfMemoryError(what, expected=f"{nbytes:,} bytes{parts()}", received=received, fix=fix)
