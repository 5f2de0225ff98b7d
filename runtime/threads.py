"""Worker threads of the process: how many there may be, the pool they form, and running a function in all of them."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import math
import os
import platform
import sys
import threading
import time
from array import array as numbers
from collections.abc import Callable, Iterator
from pathlib import Path

from kgraph.config import settings
from kgraph.ir.artifact import Artifact, Team
from kgraph.runtime.loader import LoadedCode

# How long a thread spins before it sleeps: ticks of the time-stamp counter, or rounds on ARM; about 50 us.
_SPIN_TICKS = 150_000 if platform.machine() in ("x86_64", "AMD64") else 5_000
# Seconds between two looks at the processors of the threads.
_BETWEEN_LOOKS = 0.01
_LINE = 64
_LINUX = sys.platform.startswith("linux")


def thread_count() -> int:
    """Threads that a program may use: `Settings.num_threads`, or as many as the machine lets this process run.

    1 on systems without futexes: other than Linux.
    """
    return settings().num_threads or _available(os.getpid()) if _LINUX else 1


@functools.cache
def _available(process: int) -> int:
    """Processors of the affinity mask, but no more than the control group's quota pays for."""
    return max(1, min(len(os.sched_getaffinity(process)), _quota(Path("/sys/fs/cgroup"))))


def _quota(root: Path) -> int:
    """Processors that the control group may use, from the files of either version; very many without a quota."""
    pairs = [("cpu.max", None), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")]
    for name, period_name in pairs:
        try:
            words = (root / name).read_text().split()
            words += (root / period_name).read_text().split() if period_name else []
            quota, period = int(words[0]), int(words[1])
        except (OSError, ValueError, IndexError):
            continue
        if quota > 0 and period > 0:
            return max(1, math.ceil(quota / period))
    return sys.maxsize


def _aligned(fields: int) -> tuple[numbers[int], int]:
    """Zeroed 64-bit fields that start at a cache line, and their address."""
    memory = numbers("Q", bytes(8 * fields + _LINE))
    return memory, -(-memory.buffer_info()[0] // _LINE) * _LINE


def _new_team(threads: int) -> tuple[numbers[int], int]:
    memory, address = _aligned(Team.FIELDS)
    at = (address - memory.buffer_info()[0]) // 8
    memory[at + Team.THREADS] = threads
    memory[at + Team.SPIN] = _SPIN_TICKS
    if _LINUX:
        syscall = ctypes.cast(ctypes.CDLL(None).syscall, ctypes.c_void_p).value
        memory[at + Team.SYSCALL] = syscall or 0
    return memory, address


def _processor_of(thread: int) -> int:
    """The processor on which a thread of this process runs, or ran last."""
    return int(Path(f"/proc/self/task/{thread}/stat").read_text().rpartition(")")[2].split()[36])


class Pool:
    """A caller and `threads` - 1 workers, which wait in native code without the interpreter lock.

    The workers run code of the first program that is loaded; the pool keeps it in memory. They are daemon threads
    that are stopped when the interpreter exits. A child process after `fork` has no workers: see `pool`.

    Args:
        threads: >= 2.
        code: with the symbols `Artifact.WORKER` and `Artifact.DISPATCH`.
    """

    def __init__(self, threads: int, code: LoadedCode) -> None:
        self.threads = threads
        self._lock = threading.Lock()
        self._memory, self._team = _new_team(threads)
        self._dispatch = code.function(Artifact.DISPATCH, 3)
        worker = code.function(Artifact.WORKER)
        self._workers = [
            threading.Thread(target=worker, args=(self._team, n), name=f"kgraph-worker-{n}", daemon=True)
            for n in range(1, threads)
        ]
        for thread in self._workers:
            thread.start()
        self._sleeps = (self._team - self._memory.buffer_info()[0]) // 8 + Team.SLEEPS
        self._next_look = 0.0
        atexit.register(self.stop)

    @contextlib.contextmanager
    def reserved(self) -> Iterator[bool]:
        """Take the pool inside a `with` block; False, at once, if another thread has it."""
        mine = self._lock.acquire(blocking=False)
        try:
            yield mine
        finally:
            if mine:
                self._lock.release()

    def run(self, function: int, argument: int) -> None:
        """Call the native function at an address as (argument, team, tid) in all threads; the pool is reserved."""
        before = self._memory[self._sleeps]
        self._dispatch(self._team, function, argument)
        if self._memory[self._sleeps] != before and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _BETWEEN_LOOKS
            with contextlib.suppress(OSError):  # where there is no /proc, or no leave to choose, all stays as it is
                self._spread()

    def _spread(self) -> None:
        """Move workers that have come to share a processor, if there are others.

        Threads that wait for each other are hardly ever ready to run at the same time, so that the system sees no
        reason to part them: once on one processor they would stay there and take twice as long. A worker that was
        moved stays away from the processors of the caller and of the workers before it.
        """
        free = os.sched_getaffinity(0) - {_processor_of(threading.get_native_id())}
        for thread in self._workers:
            worker = thread.native_id
            if worker is None or not free:
                return
            if _processor_of(worker) not in free:
                os.sched_setaffinity(worker, free)
            free.discard(_processor_of(worker))

    def stop(self) -> None:
        """End the workers, unless they are at work for another thread."""
        if self._lock.acquire(timeout=1):
            self._dispatch(self._team, 0, 0)
            for thread in self._workers:
                thread.join(timeout=1)


def pool(threads: int, code: LoadedCode) -> Pool:
    """The pool of this process with that many threads; made with `code` if there is none yet."""
    pools, lock = _pools(os.getpid())
    with lock:
        if threads not in pools:
            pools[threads] = Pool(threads, code)
        return pools[threads]


@functools.cache
def _pools(process: int) -> tuple[dict[int, Pool], threading.Lock]:
    """The pools of a process by number of threads, and the lock that guards them."""
    return {}, threading.Lock()


@functools.cache
def _alone() -> tuple[numbers[int], int]:
    """The team of one thread."""
    return _new_team(1)


def run_in_team(
    threads: int, code: LoadedCode, function: int, alone: Callable[..., None], argument: int
) -> None:
    """Call a native function as (argument, team, tid) in `threads` threads, or in this one if the others are busy.

    Args:
        threads: >= 1.
        code: of the program, with the symbols that a pool needs.
        function: its address.
        alone: the same function, to be called from Python.
        argument: its first argument.
    """
    if threads > 1:
        team = pool(threads, code)
        with team.reserved() as mine:
            if mine:
                team.run(function, argument)
                return
    alone(argument, _alone()[1], 0)
