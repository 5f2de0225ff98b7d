"""Which kernels of a run several threads share, and where they wait for each other; decided when sizes are known."""

from __future__ import annotations

from collections.abc import Mapping

from kgraph.ir.artifact import MemoryPlan, Step
from kgraph.ir.dims import evaluate

# Less work than this (in 1/16 cycles: about 10 us at 3 GHz) is not worth a barrier's wait and the cold caches.
LEAST_WORK = 16 * 30_000


def flags_of(plan: MemoryPlan, sizes: Mapping[str, int]) -> list[int]:
    """The flags of each call (see `Step`).

    Kernels that are not shared all run in thread 0, one after another. A kernel waits for all threads if it uses
    memory that a shared kernel since the last barrier wrote, or writes what one of them uses; and if it is shared
    itself, if the same is true of any kernel since the last barrier.
    """
    flags = []
    read: dict[bool, set[tuple[str, int]]] = {True: set(), False: set()}  # by shared or not, since the last barrier
    written: dict[bool, set[tuple[str, int]]] = {True: set(), False: set()}
    for call in plan.calls:
        shared = evaluate(call.work, sizes) >= LEAST_WORK
        reads = {(plan.places[n].kind, plan.places[n].index) for n in call.reads}
        writes = {(plan.places[n].kind, plan.places[n].index) for n in call.writes if n not in call.private}
        others = (True, False) if shared else (True,)
        waits = any(not (written[s].isdisjoint(reads | writes) and read[s].isdisjoint(writes)) for s in others)
        if waits:
            for sets in (read, written):
                sets.update({True: set(), False: set()})
        read[shared] |= reads
        written[shared] |= writes
        flags.append(Step.SHARED * shared | Step.AFTER_BARRIER * waits)
    return flags
