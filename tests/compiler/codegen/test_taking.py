"""How threads come to their parts: each part of each kernel is taken once, in whatever order threads ask."""

from __future__ import annotations

import ctypes
import functools
import itertools
import threading

import numpy as np
import pytest

from kgraph.compiler.codegen.emit import to_object
from kgraph.compiler.codegen.emitter import Module
from kgraph.compiler.codegen.taking import TAKE, emit_take
from kgraph.compiler.codegen.target import named
from kgraph.ir.artifact import Team
from kgraph.runtime.loader import load


@functools.cache
def native():
    """`pool.take`, to be called from Python, and the code that it is in."""
    target = named("host")
    module = Module(target.triple)
    emit_take(module, target)
    text = module.text().replace("define internal", "define")
    code = load([to_object(text, target)], [TAKE])
    types = [ctypes.c_int64, ctypes.c_void_p, *[ctypes.c_int64] * 3]
    return ctypes.CFUNCTYPE(*types)(code.address(TAKE)), code


class Sharing:
    """A team whose threads take parts of one kernel after another."""

    def __init__(self, threads, least=1):
        self.fields = (ctypes.c_int64 * Team.turn(threads))()
        self.fields[Team.THREADS] = threads
        self.least = least

    def take(self, thread, turn):
        """Numbers of the parts that a thread gets; none if there are none left."""
        found = native()[0](ctypes.addressof(self.fields), thread, turn, self.least)
        return range(found & 0xFFFFFFFF, found >> 32)


def test_own_parts_come_first_in_few_pieces():
    sharing = Sharing(2)
    assert [sharing.take(1, 1) for _ in range(3)] == [range(8, 13), range(13, 15), range(15, 16)]


def test_parts_of_a_thread_that_is_away_are_taken_one_by_one():
    sharing = Sharing(3)
    while sharing.take(1, 1).start in range(8, 16):
        pass  # the last one taken is the first part of thread 2
    assert sharing.take(1, 1) == range(17, 18)
    assert sharing.take(2, 1) == range(18, 22)  # five eighths of what is left of its own


@pytest.mark.parametrize("least, pieces", [(3, [5, 3]), (8, [8])])
def test_at_least_so_many_parts_are_taken(least, pieces):
    sharing = Sharing(1, least)
    assert [len(sharing.take(0, 1)) for _ in range(len(pieces) + 1)] == [*pieces, 0]


@pytest.mark.parametrize("seed", range(40))
def test_each_part_is_taken_once_in_any_order(seed):
    """Threads go on to the next kernel when they find nothing left, while others are still at the last one."""
    rng = np.random.default_rng(seed)
    threads, kernels = int(rng.integers(1, 5)), 6
    sharing = Sharing(threads, int(rng.integers(1, Team.PARTS + 1)))
    turns, taken = [1] * threads, {turn: [] for turn in range(1, kernels + 1)}
    while busy := [n for n in range(threads) if turns[n] <= kernels]:
        thread = int(rng.choice(busy))
        parts = sharing.take(thread, turns[thread])
        if parts:
            taken[turns[thread]] += parts
        else:
            turns[thread] += 1
    for parts in taken.values():
        assert sorted(parts) == list(range(threads * Team.PARTS))


def test_each_part_is_taken_once_by_threads_at_the_same_time():
    threads, kernels = 3, 300
    sharing = Sharing(threads)
    taken = [[list[int]() for _ in range(kernels)] for _ in range(threads)]

    def work(thread):
        for turn in range(1, kernels + 1):
            while parts := sharing.take(thread, turn):
                taken[thread][turn - 1] += parts

    workers = [threading.Thread(target=work, args=(n,)) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for parts in zip(*taken, strict=True):
        assert sorted(itertools.chain(*parts)) == list(range(threads * Team.PARTS))
