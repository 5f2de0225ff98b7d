"""Philox2x32-10: counter-based random bits (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011)."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = "npt.NDArray[Any]"

MULTIPLIER = 0xD256D193
WEYL = 0x9E3779B9
ROUNDS = 10


def philox2x32(low: Array, high: Array, key: Array) -> tuple[Array, Array]:
    """Both output words for counters (low, high) and keys; u32 arrays that broadcast."""
    low, high, key = np.broadcast_arrays(*(np.asarray(a, np.uint64) for a in (low, high, key)))
    mask = np.uint64(0xFFFFFFFF)
    for _ in range(ROUNDS):
        wide = low * np.uint64(MULTIPLIER)
        low, high = (wide >> np.uint64(32)) ^ key ^ high, wide & mask
        key = (key + np.uint64(WEYL)) & mask
    return low.astype(np.uint32), high.astype(np.uint32)
