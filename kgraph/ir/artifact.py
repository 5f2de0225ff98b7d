"""What the compiler hands to the runtime; nothing else crosses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Literal, TypeAlias

import numpy.typing as npt

from kgraph.ir.dims import Dim, evaluate
from kgraph.ir.types import TensorType
from kgraph.record import record

PlaceKind: TypeAlias = Literal["input", "output", "constant", "slot", "piece", "carry", "packed"]


@record
class Place:
    """Where a buffer lives.

    Attributes:
        name: unique in the plan.
        type: element type and shape.
        kind: "input" n, "output" n, "constant" n, or "slot" n of the arena; `index` is that n.
            An input that is a state is updated in place. Two kinds move with the steps of the loop that they are used
            in (see `Loop`): "piece" of place n, and "carry" whose last value stands in place n. "packed" is state n,
            counted from 0, as a matrix in panels (see `loops.Contract`): memory that the runtime fills and keeps.
    """

    name: str
    type: TensorType
    kind: PlaceKind
    index: int


@record
class Slot:
    """A piece of the arena that several buffers use one after another; as large as the largest of them."""

    nbytes: tuple[Dim, ...]

    def size(self, sizes: Mapping[str, int]) -> int:
        """Bytes needed where each size name has the value in `sizes`."""
        return max(evaluate(n, sizes) for n in self.nbytes)


@record
class KernelCall:
    """One call of a kernel with the places (positions in the plan) that its buffers are bound to.

    Attributes:
        kernel: symbol.
        args: places of its buffers, in order.
        reads, writes: places it reads and writes, private memory among the latter.
        private: places of its private memory.
        work: rough cost in 1/16 cycles of a core if several threads can share it; 0 if it runs in one piece.
    """

    kernel: str
    args: tuple[int, ...]
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    private: tuple[int, ...] = ()
    work: Dim = 0


@record
class Carry:
    """Memory of a value that a loop carries from step to step.

    Attributes:
        old, new: places of kind "carry": in each step the value before it, and after it.
        last: the place where the value stands after the last step.
        other: the place that takes turns with `last`; the same place if the new value may be written over the old one.
    """

    old: int
    new: int
    last: int
    other: int


@record
class Loop:
    """Kernels that run once for each step.

    Attributes:
        length: number of steps.
        reverse: the last step comes first.
        start: calls before the first step: they write the first values to the `old` places of the carries.
        calls: what each step runs.
        carries: memory of values that go from step to step.
        pieces: places of kind "piece": step n uses number n of the equal pieces of the place that it is a piece of.
        conditional: no step follows once the first carry, a bool, is False; `length` is a limit.
    """

    length: Dim
    reverse: bool
    start: tuple[KernelCall, ...]
    calls: tuple[KernelCall | Loop, ...]
    carries: tuple[Carry, ...]
    pieces: tuple[int, ...]
    conditional: bool = False

    def turn(self, carry: Carry, steps_left: int) -> tuple[int, int]:
        """The places that `old` and `new` stand for when so many steps are left, this one included.

        They take turns so that the last step writes to `last`. Where nobody knows which step is the last one, they
        stay, and each step ends with a copy of the new value to the old one.
        """
        last_is_new = not self.conditional and steps_left % 2
        return (carry.other, carry.last) if last_is_new else (carry.last, carry.other)


def kernel_calls(calls: Iterable[KernelCall | Loop]) -> Iterator[KernelCall]:
    """All calls, also those in loops, in the order of the program's text."""
    for call in calls:
        if isinstance(call, Loop):
            yield from call.start
            yield from kernel_calls(call.calls)
        else:
            yield call


@record
class MemoryPlan:
    """Every buffer of a program, and the slots of the arena; sizes are polynomials, so one plan serves all shapes."""

    places: tuple[Place, ...]
    slots: tuple[Slot, ...]
    calls: tuple[KernelCall | Loop, ...]

    def whole(self, place: int) -> int:
        """The place in memory that a place stands for, or is a piece of."""
        while (found := self.places[place]).kind in ("piece", "carry"):
            place = found.index
        return place

    def updated_inputs(self) -> set[int]:
        """Numbers of the inputs that kernels write to."""
        written = (self.places[self.whole(place)] for call in kernel_calls(self.calls) for place in call.writes)
        return {place.index for place in written if place.kind == "input"}

    ALIGNMENT = 64  # a cache line: no two buffers share one, and aligned vector loads never fault

    def layout(self, sizes: Mapping[str, int]) -> tuple[list[int], int]:
        """Offset of each slot, and bytes of the whole arena, for given sizes."""
        offsets, end = [], 0
        for slot in self.slots:
            offsets.append(end)
            end += -(-max(slot.size(sizes), 1) // self.ALIGNMENT) * self.ALIGNMENT
        return offsets, end

    def private_layout(self, sizes: Mapping[str, int]) -> tuple[dict[int, int], int]:
        """Where each private place starts in a thread's private memory, and bytes of that: kernels run one after
        another, so it is as much as the most demanding one needs."""
        offsets, most = {}, 0
        for call in kernel_calls(self.calls):
            end = 0
            for n in call.private:
                offsets[n] = end
                end += -(-evaluate(self.places[n].type.nbytes, sizes) // self.ALIGNMENT) * self.ALIGNMENT
            most = max(most, end)
        return offsets, most


class Step:
    """Layout of the argument of an artifact's `step` entry point: an array of 64-bit fields.

    TABLE and SIZES are those of the entry point. FLAGS holds a number for each call of the plan (`kernel_calls`): bit 0
    says that all threads share it, bit 1 that they wait for each other before it; the bits from LEAST on are how many
    parts of it a thread takes at least (see `Team`). Thread n of several has
    PRIVATE_BYTES of private memory for kernels from PRIVATE + n * PRIVATE_BYTES on; OFFSETS holds for each entry of the
    table where it starts there, if it is a private place.
    """

    TABLE, SIZES, FLAGS, PRIVATE, PRIVATE_BYTES, OFFSETS, FIELDS = range(7)
    SHARED, AFTER_BARRIER, LEAST = 1, 2, 2


class Team:
    """Layout of what the threads of a pool share: 64-bit fields; words that threads wait on have cache lines alone.

    GENERATION counts the calls that were started, FINISHED the workers that are done with the last one; ARRIVED and
    PHASE belong to the barrier, SLEEPERS counts the threads that sleep in the kernel, SLEEPS how often one began to.

    Of a kernel that they share each thread owns PARTS parts. The fields from `turn` of the thread on count the kernels
    that it has shared, and say (TAKEN) how many parts of the last one were taken, in the lowest 16 bits, the number of
    that kernel above them.
    """

    THREADS, FUNCTION, ARGUMENT, SYSCALL, SPIN = range(5)
    GENERATION, FINISHED, ARRIVED, PHASE, SLEEPERS = range(8, 48, 8)
    SLEEPS = SLEEPERS + 1
    PARTS = 8
    TAKEN = 1

    @classmethod
    def turn(cls, thread: int) -> int:
        """The first of the fields of a thread; for the number of threads, the number of all fields."""
        return 48 + 8 * thread


class BatchRun:
    """Layout of the argument of an artifact's `batches` entry point: an array of 64-bit fields.

    The entry point runs COUNT batches of ROWS rows each, from row FIRST_ROW on: it writes the pointers of arguments
    and results into the table of a STEP, and runs that. If ORDER is not null, row i of a batch
    is row ORDER[i] of the arguments. FIRST_BATCH is the number of the first batch, for the places of results.
    """

    STEP, ORDER, FIRST_ROW, ROWS, COUNT, FIRST_BATCH, _FIELDS = range(7)

    @classmethod
    def argument(cls, number: int) -> int:
        """First of three fields of an argument: address of its rows, of memory for a batch of them, bytes of a row."""
        return cls._FIELDS + 3 * number

    @classmethod
    def output(cls, arguments: int, number: int) -> int:
        """First of two fields of a result: address for batch 0, and bytes from one batch to the next."""
        return cls.argument(arguments) + 2 * number


@record
class ObjectFile:
    """Relocatable machine code.

    Attributes:
        key: digest of everything that decides the code, in hexadecimal digits.
        code: the file.
    """

    key: str
    code: bytes


@record(eq=False)
class Artifact:
    """A compiled program.

    The entry point is ``void entry(void **table, const int64_t *sizes)``: `table` holds one pointer per place of the
    plan, `sizes` the symbolic sizes in the order of `size_names`. Two more are called by each thread of a team:
    ``void step(int64_t *step, void *team, int64_t tid)`` with a `Step`, and ``void batches(int64_t *run, void *team,
    int64_t tid)`` with a `BatchRun`. ``void worker(void *team, int64_t tid)`` is what threads run while they wait for
    work, ``void dispatch(void *team, void *function, void *argument)`` has a team run one of the two.

    Attributes:
        name: what it is, for messages and dumps.
        inputs: types of the inputs, in order; the last `states` of them are states.
        outputs: types of the outputs that are not states.
        states: number of states; each is updated in place.
        size_names: symbolic sizes, in the order of the second argument of the entry point.
        constants: arrays of the "constant" places.
        plan: places, slots and calls.
        entry: symbol of the entry point.
        step: symbol of the entry point for teams.
        batches: symbol of the entry point that takes batches; empty if the arguments are not rows of batches.
        objects: object files that are linked together.
        target: triple and features it was made for.
        kernels: number of kernels after fusion.
    """

    name: str
    inputs: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]
    states: int
    size_names: tuple[str, ...]
    constants: tuple[npt.NDArray[Any], ...]
    plan: MemoryPlan
    entry: str
    step: str
    batches: str
    objects: tuple[ObjectFile, ...]
    target: str
    kernels: int

    WORKER: ClassVar[str] = "kgraph_worker"
    DISPATCH: ClassVar[str] = "kgraph_dispatch"

    @property
    def symbols(self) -> list[str]:
        """Everything that the runtime calls."""
        return [s for s in (self.entry, self.step, self.batches, self.WORKER, self.DISPATCH) if s]

    @property
    def code_bytes(self) -> int:
        """Size of the object files."""
        return sum(len(file.code) for file in self.objects)
