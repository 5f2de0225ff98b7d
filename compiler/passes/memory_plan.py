"""Memory planning: which buffer lives where, for every batch size at once.

Sizes are polynomials of the symbolic sizes, so lifetimes and slots are decided here, once, and only the offsets are
computed when sizes are known. Values that are results are written straight into the caller's memory, new values of
states straight into the states; everything else shares slots of one arena with values that are not alive at the
same time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from kgraph.compiler.analysis.kernels import expressions, statements
from kgraph.compiler.analysis.partition import work
from kgraph.compiler.lower import Lowered, LoweredCall, LoweredLoop, constants, copied
from kgraph.compiler.nested import with_bodies
from kgraph.ir.artifact import Carry, KernelCall, Loop, MemoryPlan, Place, PlaceKind, Slot
from kgraph.ir.dims import Dim, evaluate, symbols_of
from kgraph.ir.graph import Graph, Node, Value
from kgraph.ir.loops import Contract, For, Kernel, Let, Store
from kgraph.ir.opdef import Alias, Scalar
from kgraph.ir.scalar import Buffer, Load
from kgraph.ir.types import TensorType
from kgraph.primitives.control_flow import roles

# Symbolic sizes are taken to be this when buffers are ordered by size; any number gives a valid plan.
TYPICAL_SIZE = 64


def roots(graph: Graph) -> dict[Value, Value]:
    """The value whose memory each value of `graph` is: itself, but for results of aliasing ops."""
    found: dict[Value, Value] = {v: v for v in graph.inputs}
    for node in graph.nodes:
        for value in node.outputs:
            found[value] = found[node.inputs[0]] if isinstance(node.op.lower, Alias) else value
    return found


def copy_outputs(graph: Graph, states: int) -> Graph:
    """Give every output memory of its own: add a `copy` node where two outputs would share, or where an output is
    an input, a constant, or a new state that is made before the old one is read for the last time.

    So it is in the bodies of loops, where results of each step and new carries are outputs.
    """
    graph = with_bodies(graph, lambda body: copy_outputs(body, 0))
    root = roots(graph)
    constant = {n.output for n in graph.nodes if n.op.name == "constant"}
    made_at = {v: n for n, node in enumerate(graph.nodes) for v in node.outputs}
    read_last: dict[Value, int] = {}
    for n, node in enumerate(graph.nodes):
        if not isinstance(node.op.lower, Alias):
            read_last.update({root[v]: n for v in node.inputs})
    results = len(graph.outputs) - states
    olds = graph.inputs[len(graph.inputs) - states :]
    # Old states that are results or new values of others: they are copied after the last node, so they stay until then.
    kept = {root[v] for n, v in enumerate(graph.outputs) if n < results or v is not olds[n - results]} & set(olds)
    taken: set[Value] = set()
    outputs, first, last = list(graph.outputs), list[Node](), list[Node]()
    for n, value in enumerate(graph.outputs):
        source = root[value]
        old = olds[n - results] if n >= results else None
        if value is old:
            continue
        late = old is not None and (
            old in kept or not _may_overwrite(graph, old, made_at.get(source, -1), read_last.get(old, -1))
        )
        if source in taken or source in graph.inputs or source in constant or late:
            if old is not None and source in kept:  # another copy may overwrite it
                value = _copied(value, first)
            outputs[n] = _copied(value, last if old is not None else first)
        else:
            taken.add(source)
    if not first and not last:
        return graph
    return Graph(graph.name, graph.inputs, (*graph.nodes, *first, *last), tuple(outputs))


def _copied(value: Value, nodes: list[Node]) -> Value:
    """The result of a new `copy` node, added to `nodes`."""
    nodes.append(copied(value))
    return nodes[-1].output


def _may_overwrite(graph: Graph, old: Value, made: int, read: int) -> bool:
    """Whether the new value of a state, made by node number `made`, may be written over the old one, last read by
    node number `read`."""
    if read != made or made < 0:
        return read < made
    node = graph.nodes[made]
    body = node.attrs["body"].nodes if node.op.name == "fusion" else (node,)
    elsewhere: set[Value] = set()  # values that are read at other indices than the results are written at
    for inner in body:
        if not isinstance(inner.op.lower, Scalar):
            elsewhere.update(inner.inputs)
    for inner in reversed(body):
        if isinstance(inner.op.lower, Scalar) and not elsewhere.isdisjoint(inner.outputs):
            elsewhere.update(inner.inputs)
    return old not in elsewhere


@dataclass(eq=False)
class _Block:
    """Memory that needs a slot: from the time when it is written first to the time when it is read last."""

    type: TensorType
    first: int
    last: int
    place: int
    shares: list[_Block] = field(default_factory=list)  # may take their memory although they end at our first call

    def conflicts(self, other: _Block) -> bool:
        if self.first > other.last or other.first > self.last:
            return False
        if other in self.shares and other.last == self.first:
            return False
        return not (self in other.shares and self.last == other.first)


class _Times:
    """When kernels run, and until when values are needed.

    Kernels are numbered in the order of the program's text. A loop has a number at its begin and one at its end: what
    comes from outside is needed until the end, for the next step reads it again; results are written from the begin on.
    """

    def __init__(self, graph: Graph, calls: Lowered, copies: Iterable[Value]) -> None:
        self.root = {**roots(graph), **{v: v for v in copies}}
        self.span: dict[LoweredCall | LoweredLoop, tuple[int, int]] = {}
        self.maker: dict[Value, LoweredCall | LoweredLoop] = {}
        self.last: dict[Value, int] = {}
        self._now = 0
        self._walk(calls)

    def _tick(self) -> int:
        self._now += 1
        return self._now

    def _walk(self, calls: Lowered) -> None:
        for call in calls:
            begin = self._tick()
            if isinstance(call, LoweredCall):
                self.root.update((v, v) for v in call.outputs if v not in self.root)
                self._read(call.inputs, begin)
                end, outputs = begin, call.outputs
            else:
                self.root.update(self._roots_of_body(call))
                self._walk((*call.start, *call.calls, *call.end))
                end, outputs = self._tick(), call.node.outputs
                self._read(call.node.inputs, end)
            self.span[call] = begin, end
            self.maker.update(dict.fromkeys(outputs, call))

    def _roots_of_body(self, loop: LoweredLoop) -> dict[Value, Value]:
        """Constants of a loop are memory outside."""
        inside, outside = (roles(values, loop.node.attrs).constants for values in (loop.body.inputs, loop.node.inputs))
        outer = {a: self.root[b] for a, b in zip(inside, outside, strict=True)}
        return {value: outer.get(root, root) for value, root in roots(loop.body).items()}

    def _read(self, values: Sequence[Value], when: int) -> None:
        for value in values:
            self.last[self.root[value]] = max(when, self.last.get(self.root[value], 0))


class _Facts:
    """What the plan asks about kernels, found once for those with one body: a residual network has three times as many
    kernels as bodies (see `native.compile_native`)."""

    def __init__(self) -> None:
        self._work: dict[int, Dim] = {}
        self._same_index: dict[tuple[int, str, str], bool] = {}

    def work(self, kernel: Kernel) -> Dim:
        key = id(kernel.body)
        if key not in self._work:
            self._work[key] = work(kernel)
        return self._work[key]

    def same_index(self, kernel: Kernel, source: Buffer, out: Buffer) -> bool:
        key = id(kernel.body), source.name, out.name
        if key not in self._same_index:
            self._same_index[key] = same_index(kernel, source, out)
        return self._same_index[key]


class _Planner:
    def __init__(self, graph: Graph, calls: Lowered, states: int, copies: Mapping[Value, int]) -> None:
        self.graph, self.calls, self.states, self.copies = graph, calls, states, copies
        self.times = _Times(graph, calls, copies)
        self.root = self.times.root
        self.places: list[Place] = []
        self.place_of: dict[Value, int] = {}
        self.blocks: dict[Value, _Block] = {}
        self.others: list[_Block] = []  # memory of no value: private memory, second places of carries
        self.facts = _Facts()

    def plan(self) -> MemoryPlan:
        self._fixed_places()
        calls = tuple(map(self._call, self.calls))
        slots = self._assign_slots([*self.blocks.values(), *self.others])
        return MemoryPlan(tuple(self.places), slots, calls)

    def _add(self, name: str, type_: TensorType, kind: PlaceKind, index: int) -> int:
        self.places.append(Place(name, type_, kind, index))
        return len(self.places) - 1

    def _fixed_places(self) -> None:
        graph = self.graph
        for n, value in enumerate(graph.inputs):
            self.place_of[value] = self._add(value.name or f"in{n}", value.type, "input", n)
        for n, node in enumerate(constants(graph, self.calls)):
            self.place_of[node.output] = self._add(f"const{n}", node.output.type, "constant", n)
        for value, state in self.copies.items():
            self.place_of[value] = self._add(value.name, value.type, "packed", state)
        results = len(graph.outputs) - self.states
        for n, value in enumerate(graph.outputs):
            source = self.root[value]
            if n < results:
                self.place_of[source] = self._add(f"out{n}", value.type, "output", n)
            else:
                self.place_of[source] = self.place_of[graph.inputs[len(graph.inputs) - self.states + n - results]]

    def _place(self, value: Value) -> int:
        return self.place_of[self.root[value]]

    # --- kernels --------------------------------------------------------------------------------------------------
    def _call(self, call: LoweredCall | LoweredLoop) -> KernelCall | Loop:
        return self._loop(call) if isinstance(call, LoweredLoop) else self._kernel(call)

    def _kernel(self, call: LoweredCall) -> KernelCall:
        for value, buffer in zip(call.outputs, call.kernel.buffers[len(call.inputs) :], strict=False):
            block = self._result(call, value)
            if block is not None:
                block.shares = [self.blocks[self.root[v]] for v in call.inputs if self._in_place(call, v, buffer)]
        when = self.times.span[call]
        scratch = [TensorType(b.dtype, b.shape) for b in call.kernel.buffers if b.role == "scratch"]
        private = tuple(self._other(f"s{when[0]}", type_, when) for type_ in scratch)
        reads, writes = tuple(map(self._place, call.inputs)), tuple(map(self._place, call.outputs))
        args, written = (*reads, *writes, *private), (*writes, *private)
        return KernelCall(call.kernel.name, args, reads, written, private, self.facts.work(call.kernel))

    def _result(self, maker: LoweredCall | LoweredLoop, value: Value) -> _Block | None:
        """Memory for what a kernel or a loop makes; None if it has a place."""
        if value in self.place_of:
            return None
        begin, end = self.times.span[maker]
        place = self._add(f"t{len(self.blocks)}", value.type, "slot", -1)
        block = _Block(value.type, begin, max(end, self.times.last.get(value, end)), place)
        self.blocks[value], self.place_of[value] = block, place
        return block

    def _other(self, name: str, type_: TensorType, when: tuple[int, int]) -> int:
        place = self._add(name, type_, "slot", -1)
        self.others.append(_Block(type_, *when, place))
        return place

    def _in_place(self, call: LoweredCall, value: Value, out: Buffer) -> bool:
        return self.root[value] in self.blocks and self._may_share(call, self.root[value], out)

    def _may_share(self, call: LoweredCall, source: Value, out: Buffer) -> bool:
        """Whether a kernel may write buffer `out` over the memory of a value that it reads."""
        read = [b for v, b in zip(call.inputs, call.kernel.buffers, strict=False) if self.root[v] is source]
        return all(b.dtype.bits == out.dtype.bits and self.facts.same_index(call.kernel, b, out) for b in read)

    # --- loops ----------------------------------------------------------------------------------------------------
    def _loop(self, loop: LoweredLoop) -> Loop:
        node, body = loop.node, loop.body
        count = node.attrs["carries"]
        for value in node.outputs:
            self._result(loop, value)
        inside = roles(body.inputs, node.attrs)
        carries = [self._carry(loop, n, old) for n, old in enumerate(inside.carries)]
        wholes = zip(inside.sequences, roles(node.inputs, node.attrs).sequences, strict=True)
        stacks = zip(body.outputs[count:], node.outputs[count:], strict=True)
        pieces = []
        for piece, whole in (*wholes, *stacks):
            place = self._add(f"p{len(self.places)}", piece.type, "piece", self._place(whole))
            self.place_of[self.root[piece]] = place
            pieces.append(place)
        start = tuple(map(self._kernel, loop.start))
        for copy, carry in zip(loop.end, carries, strict=False):
            self.place_of[copy.outputs[0]] = carry.old
        calls = (*map(self._call, loop.calls), *map(self._kernel, loop.end))
        length, reverse, conditional = (node.attrs[name] for name in ("length", "reverse", "conditional"))
        return Loop(length, reverse, start, calls, tuple(carries), tuple(pieces), conditional)

    def _carry(self, loop: LoweredLoop, number: int, old: Value) -> Carry:
        """Places of a carry, the input `old` of the body."""
        new, last = self.root[loop.body.outputs[number]], self._place(loop.node.outputs[number])
        other = last
        if loop.node.attrs["conditional"] or not self._updates(old, new):
            other = self._other(f"c{len(self.places)}", old.type, self.times.span[loop])
        before, after = (self._add(f"c{len(self.places)}", old.type, "carry", last) for _ in range(2))
        self.place_of[old], self.place_of[new] = before, after
        self.place_of[loop.start[number].outputs[0]] = before
        return Carry(before, after, last, other)

    def _updates(self, old: Value, new: Value) -> bool:
        """Whether the new value of a carry may be written over the old one."""
        maker, read = self.times.maker[new], self.times.last.get(old, 0)
        begin, _ = self.times.span[maker]
        if read != begin or not isinstance(maker, LoweredCall):
            return read < begin
        out = maker.kernel.buffers[len(maker.inputs) + maker.outputs.index(new)]
        return self._may_share(maker, old, out)

    def _assign_slots(self, blocks: list[_Block]) -> tuple[Slot, ...]:
        """Largest first, each into the first slot whose blocks it does not meet: greedy interval colouring.

        Slots where a block takes the place of what it is made of come first: that memory is in the cache.
        """
        slots: list[list[_Block]] = []
        number_of: dict[_Block, int] = {}
        for block in sorted(blocks, key=lambda b: (-_typical(b.type.nbytes), b.first)):
            cached = sorted({number_of[other] for other in block.shares if other in number_of})
            free = (n for n in (*cached, *range(len(slots))) if not any(map(block.conflicts, slots[n])))
            number = number_of[block] = next(free, len(slots))
            if number == len(slots):
                slots.append([])
            slots[number].append(block)
            place = self.places[block.place]
            self.places[block.place] = Place(place.name, place.type, "slot", number)
        return tuple(Slot(tuple(dict.fromkeys(b.type.nbytes for b in slot))) for slot in slots)


def memory_plan(
    graph: Graph, calls: Lowered, states: int, copies: Mapping[Value, int] = MappingProxyType({})
) -> MemoryPlan:
    """Places of all buffers of the lowered `graph`, whose last `states` inputs are updated in place.

    Every output must have memory of its own: see `copy_outputs`. `copies` are values of calls that no call makes, for
    the runtime packs them, with the number of the state that each is a copy of.
    """
    return _Planner(graph, calls, states, copies).plan()


def same_index(kernel: Kernel, source: Buffer, out: Buffer) -> bool:
    """Whether `out` may be the same memory as `source`: each element of `source` is read only in the loop body that
    writes that element of `out`, at the very same index and not after the write.

    A kernel writes each element of `out` once. So a body may read and write at several indices, such as those of the
    gates of a cell: what it reads no other round has written. An index that is data may come more than once: the
    second time it would read what the first time wrote.
    """
    if source.shape != out.shape:
        return False
    found = list(statements(kernel.body))
    if any(isinstance(s, Contract) and source in (s.a.buffer, s.b.buffer, s.packed) for s in found):
        return False
    lets = {s.name for s in found if isinstance(s, Let)}
    for body in [kernel.body, *(s.body for s in found if isinstance(s, For | Contract))]:
        plain = [s for s in body if not isinstance(s, For | Contract)]
        loads = [e for e in expressions(plain) if isinstance(e, Load) and e.buffer == source]
        stores = [s for s in plain if isinstance(s, Store) and s.buffer == out]
        if loads and not stores:
            return False
        if not {load.index for load in loads} <= {store.index for store in stores}:
            return False
        indices = [*(load.index for load in loads), *(store.index for store in stores)] if loads else []
        if any(not lets.isdisjoint(symbols_of(dim)) for index in indices for dim in index):
            return False
        first = next((n for n, s in enumerate(plain) if isinstance(s, Store) and s.buffer == out), len(plain))
        if any(isinstance(e, Load) and e.buffer == source for e in expressions(plain[first + 1 :])):
            return False
    return True


def _typical(nbytes: Dim) -> int:
    return evaluate(nbytes, dict.fromkeys(symbols_of(nbytes), TYPICAL_SIZE))
