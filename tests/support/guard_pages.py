"""Memory between inaccessible pages for compiled programs, and child processes that may die of touching them."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import mmap
import os
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from kgraph.ir.artifact import Artifact, MemoryPlan, Step, kernel_calls
from kgraph.ir.dims import evaluate
from kgraph.runtime.loader import LoadedCode, load
from kgraph.runtime.sizes import bind_sizes
from kgraph.runtime.threads import run_in_team

Array: TypeAlias = "npt.NDArray[np.generic]"
Side: TypeAlias = Literal["end", "start"]
SIDES: tuple[Side, Side] = ("end", "start")

PAGE = mmap.PAGESIZE
POISON = 0xFF  # NaN in floats, -1 or the largest number in integers
_NO_ACCESS = 0  # PROT_NONE

_mprotect = ctypes.CDLL(None, use_errno=True).mprotect
_mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class GuardedMemory:
    """Buffers of which each ends right before an inaccessible page, or starts right after one.

    All memory holds the byte `POISON` at first, also what lies between a buffer and the page at its other side.

    Args:
        side: "end" or "start": which side of a buffer touches the inaccessible page.
    """

    def __init__(self, side: Side) -> None:
        self.side = side
        self._maps: list[mmap.mmap] = []
        self._buffers: list[tuple[str, Array, int, int]] = []  # name, whole memory, start and length of the buffer

    def __enter__(self) -> GuardedMemory:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._buffers.clear()
        for memory in self._maps:
            with contextlib.suppress(BufferError):  # somebody still has a result: it stays until that goes
                memory.close()

    def buffer(self, name: str, nbytes: int, alignment: int) -> Array:
        """Bytes of a new buffer. Between it and the inaccessible page are at most alignment - 1 bytes."""
        pages = max(1, -(-nbytes // PAGE)) * PAGE
        memory = mmap.mmap(-1, pages + 2 * PAGE)
        self._maps.append(memory)
        everything = np.frombuffer(memory, np.uint8)
        inner = everything[PAGE : PAGE + pages]
        inner[:] = POISON
        for guard in (everything.ctypes.data, everything.ctypes.data + PAGE + pages):
            if _mprotect(guard, PAGE, _NO_ACCESS):
                raise OSError(ctypes.get_errno(), "mprotect")
        start = (pages - nbytes) // alignment * alignment if self.side == "end" else 0
        self._buffers.append((name, inner, start, nbytes))
        # Not a slice: an empty one would start where `inner` does, not at the inaccessible page.
        return np.frombuffer(memory, np.uint8, nbytes, PAGE + start)

    def overwritten(self) -> list[str]:
        """Names of buffers outside of which, up to the inaccessible pages, something was written."""
        return [
            name
            for name, memory, start, nbytes in self._buffers
            if (memory[:start] != POISON).any() or (memory[start + nbytes :] != POISON).any()
        ]


def loaded(artifact: Artifact) -> LoadedCode:
    """The code of an artifact, for `run_guarded`."""
    return load([file.code for file in artifact.objects], artifact.symbols)


def run_guarded(
    code: LoadedCode, artifact: Artifact, arguments: Sequence[Array], side: Side, threads: int = 1
) -> list[Array]:
    """Run a program without states once, every buffer in guarded memory; outputs and arena hold poison before.

    Several threads share every kernel that can be shared, however little work it is.

    Raises:
        AssertionError: the program wrote beside a buffer, or into an argument or a constant.
    """
    sizes = bind_sizes(artifact.inputs, arguments, artifact.size_names)
    by_name = dict(zip(artifact.size_names, sizes, strict=True))
    with GuardedMemory(side) as memory:
        slots = [
            memory.buffer(f"slot {n}", slot.size(by_name), MemoryPlan.ALIGNMENT)
            for n, slot in enumerate(artifact.plan.slots)
        ]
        given = {"input": arguments, "constant": artifact.constants}
        placed: list[tuple[str, Array, Array]] = []
        results: dict[int, Array] = {}
        table = []
        for place in artifact.plan.places:
            if place.kind == "slot":
                table.append(slots[place.index].ctypes.data)
                continue
            if place.kind in ("piece", "carry"):
                table.append(0)  # loops move these pointers themselves
                continue
            dtype, shape = place.type.dtype.to_numpy(), [evaluate(d, by_name) for d in place.type.shape]
            raw = memory.buffer(f"{place.kind} {place.index}", evaluate(place.type.nbytes, by_name), dtype.itemsize)
            array = raw.view(dtype).reshape(shape)
            if place.kind == "output":
                results[place.index] = array
            else:
                array[...] = given[place.kind][place.index]
                placed.append((f"{place.kind} {place.index}", array, given[place.kind][place.index]))
            table.append(raw.ctypes.data)
        if threads == 1:
            pointers, numbers = _fields(table), _fields(sizes)
            code.function(artifact.entry)(ctypes.addressof(pointers), ctypes.addressof(numbers))
        else:
            _run_in_team(code, artifact, table, sizes, memory, threads)
        assert not memory.overwritten(), f"wrote beside {', '.join(memory.overwritten())}"
        for name, array, before in placed:
            assert array.tobytes() == before.tobytes(), f"wrote into {name}"
        return [results[n].copy() for n in range(len(artifact.outputs))]


def _run_in_team(
    code: LoadedCode,
    artifact: Artifact,
    table: Sequence[int],
    sizes: Sequence[int],
    memory: GuardedMemory,
    threads: int,
) -> None:
    by_name = dict(zip(artifact.size_names, sizes, strict=True))
    offsets, private = artifact.plan.private_layout(by_name)
    shared = [bool(evaluate(call.work, by_name)) for call in kernel_calls(artifact.plan.calls)]
    fields = {
        Step.TABLE: _fields(table),
        Step.SIZES: _fields(sizes),
        Step.FLAGS: _fields([Step.AFTER_BARRIER | Step.SHARED * flag for flag in shared]),
        Step.OFFSETS: _fields([offsets.get(n, 0) for n in range(len(table))]),
    }
    step = _fields([0] * Step.FIELDS)
    for field, values in fields.items():
        step[field] = ctypes.addressof(values)
    step[Step.PRIVATE] = memory.buffer("private", private * threads, MemoryPlan.ALIGNMENT).ctypes.data
    step[Step.PRIVATE_BYTES] = private
    function, address = code.function(artifact.step, 3), code.address(artifact.step)
    run_in_team(threads, code, address, function, ctypes.addressof(step))


def _fields(values: Sequence[int]) -> ctypes.Array[ctypes.c_uint64]:
    """64-bit numbers in memory, and one more, so that there is memory."""
    return (ctypes.c_uint64 * (len(values) + 1))(*values)


def faults_in_child(steps: Callable[[], Iterator[tuple[str, Callable[[], None]]]]) -> list[str]:
    """What goes wrong in `steps`, run in a forked child: one line for each step that raises, and the deadly one.

    Args:
        steps: yields names and functions that raise AssertionError or others; also the generator runs in the child.
    """
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Other threads of this process, such as those of a BLAS library, do not matter to the child.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os.close(reading)
        _run_steps(steps, writing)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as stream:
        lines = stream.read().splitlines()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    faults = [line[1:] for line in lines if line.startswith("!")]
    if status:
        last = next((line[1:] for line in reversed(lines) if line.startswith(">")), "the first step")
        how = signal.Signals(-status).name if status < 0 else f"exit code {status}"
        faults.append(f"{last}: the process ended with {how}")
    return faults


def _run_steps(steps: Callable[[], Iterator[tuple[str, Callable[[], None]]]], writing: int) -> None:
    """The life of the child. It never returns into the test."""

    def say(text: str) -> None:
        os.write(writing, (text.replace("\n", " ") + "\n").encode())

    try:
        faulthandler.disable()  # its trace would end up between the lines of the test report
        for name, step in steps():
            say(f">{name}")
            try:
                step()
            except Exception as error:
                say(f"!{name}: {type(error).__name__}: {error}")
    except BaseException:
        say(f"!{traceback.format_exc()}")
        os._exit(1)
    os._exit(0)
