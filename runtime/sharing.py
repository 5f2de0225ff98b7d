"""Which kernels of a run several threads share, and where they wait for each other; decided when sizes are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from kgraph.ir.artifact import KernelCall, Loop, MemoryPlan, Step, Team, kernel_calls
from kgraph.ir.dims import evaluate

# Less work than this (in 1/16 cycles: some 10 us at 3 GHz) is not worth a barrier's wait and the cold caches, nor is it
# worth a call of its own: a product of 8 rows took up to a third longer in pieces of a quarter of it.
LEAST_WORK = 16 * 30_000


Uses: TypeAlias = "dict[bool, set[tuple[str, int]]]"


def flags_of(plan: MemoryPlan, sizes: Mapping[str, int], threads: int) -> list[int]:
    """The flags of each call (see `Step`), in the order of `artifact.kernel_calls`.

    Kernels that are not shared all run in thread 0, one after another. A kernel waits for all threads if it uses
    memory that a shared kernel since the last barrier wrote, or writes what one of them uses; and if it is shared
    itself, if the same is true of any kernel since the last barrier. In loops that must hold for every step.
    """
    walk = _Walk(plan, sizes, threads)
    walk.calls(plan.calls)
    return walk.flags


class _Walk:
    """Follows the calls, and notes what was used since the last barrier."""

    def __init__(self, plan: MemoryPlan, sizes: Mapping[str, int], threads: int) -> None:
        self.plan, self.sizes, self.threads = plan, sizes, threads
        self.flags = [0] * sum(1 for _ in kernel_calls(plan.calls))
        self.number = 0  # of the next call
        self.read: Uses = {True: set(), False: set()}  # memory, by shared or not
        self.written: Uses = {True: set(), False: set()}
        self.carried: dict[int, int] = {}  # what the places of carries stand for now

    def calls(self, calls: Sequence[KernelCall | Loop]) -> None:
        for call in calls:
            if isinstance(call, Loop):
                self.loop(call)
            else:
                self.kernel(call)

    def kernel(self, call: KernelCall) -> None:
        work = evaluate(call.work, self.sizes)
        shared = work >= LEAST_WORK
        reads = set(map(self.memory, call.reads))
        writes = {self.memory(n) for n in call.writes if n not in call.private}
        others = (True, False) if shared else (True,)
        waits = bool(self.flags[self.number] & Step.AFTER_BARRIER) or any(
            not (self.written[s].isdisjoint(reads | writes) and self.read[s].isdisjoint(writes)) for s in others
        )
        if waits:
            self.forget()
        self.read[shared] |= reads
        self.written[shared] |= writes
        how = (Step.SHARED | self.least(work) << Step.LEAST) * shared
        self.flags[self.number] = how | Step.AFTER_BARRIER * waits
        self.number += 1

    def least(self, work: int) -> int:
        """How many parts a thread takes at least."""
        return min(Team.PARTS, LEAST_WORK * self.threads * Team.PARTS // max(work, 1) + 1)

    def forget(self) -> None:
        """Here is a barrier."""
        for sets in (self.read, self.written):
            sets.update({True: set(), False: set()})

    def memory(self, place: int) -> tuple[str, int]:
        """What a place is, or is a part of."""
        while (found := self.plan.places[place]).kind in ("piece", "carry"):
            place = self.carried[place] if found.kind == "carry" else found.index
        return found.kind, found.index

    def loop(self, loop: Loop) -> None:
        """Follow as many steps as there are, or some, until every barrier is found; all steps have the same ones."""
        length = evaluate(loop.length, self.sizes)
        self.turn(loop, length)
        self.calls(loop.start)
        # After two steps nothing new comes, for carries have two places; the number stays odd or even.
        length = length if length < 4 else 4 + length % 2
        first, before, known = self.number, (copied(self.read), copied(self.written)), None
        while known != self.flags[first:]:
            known = self.flags[first:]
            self.read, self.written = map(copied, before)
            for steps_left in range(length, 0, -1):
                if loop.conditional:
                    self.forget()
                self.number = first
                self.turn(loop, steps_left)
                self.calls(loop.calls)
        self.number = first + sum(1 for _ in kernel_calls(loop.calls))
        if loop.conditional:
            self.forget()  # before they read whether another step follows, threads wait for each other

    def turn(self, loop: Loop, steps_left: int) -> None:
        for carry in loop.carries:
            self.carried[carry.old], self.carried[carry.new] = loop.turn(carry, steps_left)


def copied(uses: Uses) -> Uses:
    """The same, to be changed apart."""
    return {shared: set(places) for shared, places in uses.items()}
