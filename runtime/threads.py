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
import warnings
from array import array as numbers
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from kgraph.config import settings
from kgraph.errors import KgraphWarning
from kgraph.ir.artifact import Artifact, Team
from kgraph.ir.location import user_location
from kgraph.runtime.loader import LoadedCode

# How long a thread spins before it sleeps: ticks of the time-stamp counter, or rounds on ARM; about 50 us.
_SPIN_TICKS = 150_000 if platform.machine() in ("x86_64", "AMD64") else 5_000
# Seconds between two looks at the processors of the threads.
_BETWEEN_LOOKS = 0.1
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
    groups = _control_groups(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))
    return max(1, min(len(os.sched_getaffinity(process)), *map(_quota, groups)))


def _control_groups(root: Path, membership: Path) -> Iterator[Path]:
    """Folders of the control groups of this process, of either version; a quota holds for all groups in a group.

    Containers see their own group at the root, and may read of a path that exists outside only.
    """
    yield from (root, root / "cpu")
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for _, controllers, path in (line.split(":", 2) for line in lines):
        mounts = [root, root / "unified"] if not controllers else [root / "cpu", root / controllers]
        if not controllers or "cpu" in controllers.split(","):
            inner = PurePosixPath(path.lstrip("/"))
            yield from (mount / group for mount in mounts for group in (inner, *inner.parents))


def _quota(group: Path) -> int:
    """Processors that a control group may use, from the files of either version; very many without a quota."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        with contextlib.suppress(OSError, ValueError):
            quota, period = (int(word) for name in names for word in (group / name).read_text().split())
            if quota > 0 and period > 0:
                return max(1, math.ceil(quota / period))
    return sys.maxsize


def _aligned(fields: int) -> tuple[numbers[int], int]:
    """Zeroed 64-bit fields that start at a cache line, and their address."""
    memory = numbers("Q", bytes(8 * fields + _LINE))
    return memory, -(-memory.buffer_info()[0] // _LINE) * _LINE


def _new_team(threads: int) -> tuple[numbers[int], int]:
    memory, address = _aligned(Team.turn(threads))
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
        self._fields = (self._team - self._memory.buffer_info()[0]) // 8
        self._sleeps = self._fields + Team.SLEEPS
        self._next_look = 0.0
        atexit.register(self.stop)
        self._start()

    def _start(self) -> None:
        """Start the workers; where the system refuses some, the pool is as large as it can be, and says so once."""
        for started, thread in enumerate(self._workers):
            try:
                thread.start()
            except RuntimeError as error:
                del self._workers[started:]
                self._memory[self._fields + Team.THREADS] = started + 1
                text = f"expected {self.threads} threads, the system allows {started + 1}: {error}. "
                place = user_location()
                fix = "Set KGRAPH_NUM_THREADS to fewer, or raise the limit of processes"
                warnings.warn_explicit(text + fix, KgraphWarning, place.file or "kgraph", place.line)
                return

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
