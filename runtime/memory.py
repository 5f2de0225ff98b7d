"""Memory for runs: asked of the system before it is taken, with one error that says what was too large; and memory that
starts where native code likes it to."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kgraph.errors import OutOfMemoryError
from kgraph.ir.artifact import MemoryPlan

Array: TypeAlias = "npt.NDArray[Any]"

# Linux grants more memory than there is, and ends the process once it is used: large pieces are compared with what is
# available. To ask takes some 50 microseconds, which does not matter beside making so many bytes.
ASKED_FROM = 2**28
_MEMINFO = Path("/proc/meminfo")

# The address of an array's elements is the first field after the head that every Python object has: this is part of
# NumPy's binary interface, and ten times as fast to read as `array.ctypes.data`.
_HEAD = object.__basicsize__
_pointer_at = ctypes.c_void_p.from_address


def address_of(array: Array) -> int:
    """Address of the first element of an `np.ndarray`; 0 may stand for that of an array without elements."""
    return _pointer_at(id(array) + _HEAD).value or 0


def aligned_empty(shape: Sequence[int], dtype: npt.DTypeLike) -> Array:
    """A new array, not filled, that starts at a cache line.

    NumPy's arrays start at multiples of 16 bytes. If vectors of 64 bytes cross from one line into the next, each of
    them is two accesses: products of 8 and 16 rows that read weights in place took half as long again.

    >>> address_of(aligned_empty((3, 5), "float32")) % 64
    0
    """
    nbytes = math.prod(shape) * np.dtype(dtype).itemsize
    return aligned_in(np.empty(nbytes + MemoryPlan.ALIGNMENT, np.uint8), shape, dtype)


def aligned_in(memory: Array, shape: Sequence[int], dtype: npt.DTypeLike) -> Array:
    """An array at the first cache line that starts in `memory`: bytes, `ALIGNMENT` of them more than it needs."""
    return np.ndarray(shape, dtype, memory, -address_of(memory) % MemoryPlan.ALIGNMENT)


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
