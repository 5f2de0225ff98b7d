"""Checks a memory plan without the planner's notion of lifetimes: it follows, byte by byte, whose value stands where.

Kernels are taken in the order of the plan. A kernel may read a buffer only if every byte of it still holds the graph
value that the kernel was made for; what it writes takes the place of whatever was there.
"""

from __future__ import annotations

import itertools

import numpy as np

from kgraph.compiler.lower import LoweredCall, LoweredLoop, constants
from kgraph.ir.artifact import Loop
from kgraph.ir.dims import evaluate
from kgraph.ir.loops import Contract, For
from kgraph.ir.opdef import Alias
from kgraph.primitives.control_flow import roles
from kgraph.runtime.loop_interpreter import run_kernel

GARBAGE = -1  # owner of bytes that hold nothing


def check_plan(graph, calls, plan, states, sizes):
    """Faults of the plan of the lowered `graph` for these sizes, as texts; none if it is right."""
    checker = _Checker(graph, calls, plan, states, sizes)
    checker.check_layout()
    if not checker.faults:
        checker.run()
    return checker.faults


class _Checker:
    def __init__(self, graph, calls, plan, states, sizes):
        self.graph, self.calls, self.plan, self.states, self.sizes = graph, calls, plan, states, sizes
        self.faults = []
        self.offsets, self.total = plan.layout(sizes)
        self.value_of = _memory_of_values(graph)
        self.own = {}  # values that each step of a loop makes anew
        self.enter_loops(calls)
        self.numbers, self.fresh = {}, itertools.count()
        self.memory = {}
        self.moving = {}  # what pieces and carries stand for in this step
        self.arguments = len(graph.inputs) - states

    def nbytes(self, place):
        return evaluate(place.type.nbytes, self.sizes)

    def number(self, value):
        """A number for the value whose memory this value is."""
        root = self.value_of[value]
        if root not in self.numbers:
            self.numbers[root] = next(self.fresh)
        return self.numbers[root]

    def span(self, number):
        """Owners of the bytes of a place, as a view; and where it begins, to compare places."""
        place = self.plan.places[number]
        length = self.nbytes(place)
        if place.kind == "carry":
            return self.span(self.moving[number])
        if place.kind == "piece":
            owners, (region, start, _) = self.span(place.index)
            at = self.moving[number] * length
            return owners[at : at + length], (region, start + at, start + at + length)
        if place.kind == "slot":
            at = self.offsets[place.index]
            owners = self.memory.setdefault("arena", np.full(self.total, GARBAGE))
            return owners[at : at + length], ("arena", at, at + length)
        region = (place.kind, place.index)
        owners = self.memory.setdefault(region, np.full(length, GARBAGE))
        if len(owners) != length:
            self.faults.append(f"{place.name}: {length} bytes, where {len(owners)} stand")
        return owners, (region, 0, length)

    # --- layout -------------------------------------------------------------------------------------------------------

    def check_layout(self):
        """Slots are aligned, apart from each other, inside the arena, and large enough."""
        ends = sorted((at, at + slot.size(self.sizes), n) for n, (at, slot) in
                      enumerate(zip(self.offsets, self.plan.slots, strict=True)))  # fmt: skip
        for at, end, n in ends:
            if at % 64:
                self.faults.append(f"slot {n} is at {at}: not aligned")
            if at < 0 or end > self.total:
                self.faults.append(f"slot {n} reaches to {end}, the arena to {self.total}")
        for (_, end, one), (at, _, other) in itertools.pairwise(ends):
            if at < end:
                self.faults.append(f"slots {one} and {other} meet")
        for place in self.plan.places:
            if place.kind == "slot":
                slot = self.plan.slots[place.index]
                if self.nbytes(place) > slot.size(self.sizes):
                    self.faults.append(f"{place.name} has {self.nbytes(place)} bytes, its slot {slot.size(self.sizes)}")

    # --- values -------------------------------------------------------------------------------------------------------

    def run(self):
        """Follow the values through the kernels."""
        for n, place in enumerate(self.plan.places):
            if place.kind == "input":
                self.span(n)[0][...] = self.number(self.graph.inputs[place.index])
            elif place.kind == "constant":
                made = [node.output for node in constants(self.graph, self.calls)]
                self.span(n)[0][...] = self.number(made[place.index])
        self.follow(self.calls, self.plan.calls)
        self.results()

    def follow(self, calls, planned_calls):
        """The calls of the program, or of one step of a loop."""
        if len(planned_calls) != len(calls):
            self.faults.append("the number of calls differs from that of the kernels")
        by_name = {call.kernel.name: call for call in calls if isinstance(call, LoweredCall)}
        loops = iter([call for call in calls if isinstance(call, LoweredLoop)])
        for planned in planned_calls:
            if isinstance(planned, Loop):
                self.loop(next(loops), planned)
            else:
                self.call(by_name[planned.kernel], planned)

    def enter_loops(self, calls):
        """Note whose memory the values in loops are: pieces, stacked results and constants are the values outside."""
        for loop in calls:
            if isinstance(loop, LoweredLoop):
                inside, outside = (roles(values, loop.node.attrs) for values in (loop.body.inputs, loop.node.inputs))
                count = len(inside.carries)
                memory = _memory_of_values(loop.body)
                stacks = zip((memory[v] for v in loop.body.outputs[count:]), loop.node.outputs[count:], strict=True)
                pairs = zip(inside.sequences + inside.constants, outside.sequences + outside.constants, strict=True)
                outer = {value: self.value_of[whole] for value, whole in (*pairs, *stacks)}
                self.value_of.update({value: outer.get(root, root) for value, root in memory.items()})
                self.value_of.update((c.outputs[0], old) for c, old in zip(loop.start, inside.carries, strict=True))
                made = [v for node in loop.body.nodes if node.op.name != "constant" for v in node.outputs]
                self.own[loop] = {self.value_of[v] for v in made} - set(outer.values())
                self.enter_loops(loop.calls)

    def loop(self, loop, planned):
        """All steps of a loop; each makes new values."""
        olds, length = roles(loop.body.inputs, loop.node.attrs).carries, evaluate(planned.length, self.sizes)
        length = min(length, 3) if planned.conditional else length  # there may be any number of steps
        self.moving.update({c.old: planned.turn(c, length)[0] for c in planned.carries})
        self.follow(loop.start, planned.start)
        for done in range(length):
            for value in self.own[loop]:
                self.numbers.pop(value, None)
            for carry in planned.carries:
                self.moving[carry.old], self.moving[carry.new] = planned.turn(carry, length - done)
            self.moving.update(dict.fromkeys(planned.pieces, length - 1 - done if planned.reverse else done))
            self.value_of.update((copy.outputs[0], self.value_of[copy.inputs[0]]) for copy in loop.end)
            self.follow((*loop.calls, *loop.end), planned.calls)
            self.numbers.update({old: self.number(new) for old, new in zip(olds, loop.body.outputs, strict=False)})
        for old, result in zip(olds, loop.node.outputs, strict=False):
            self.numbers[self.value_of[result]] = self.number(old)

    def call(self, call, planned):
        """One kernel: what it reads must be there, what it writes may be written."""
        reads, writes = planned.args[: len(call.inputs)], planned.args[len(call.inputs) :]
        if planned.reads != reads or planned.writes != writes:
            self.faults.append(f"{planned.kernel}: reads and writes do not fit its arguments")
        if planned.private != writes[len(call.outputs) :]:
            self.faults.append(f"{planned.kernel}: private memory does not fit its arguments")
        for number, buffer in zip(planned.args, call.kernel.buffers, strict=True):
            wanted = np.prod([evaluate(d, self.sizes) for d in buffer.shape], dtype=int) * buffer.dtype.itemsize
            if self.nbytes(self.plan.places[number]) != wanted:
                self.faults.append(f"{planned.kernel}: {buffer.name} has {wanted} bytes, its place another number")
        for number, value in zip(reads, call.inputs, strict=True):
            owners, _ = self.span(number)
            if (owners != self.number(value)).any():
                name = self.plan.places[number].name
                self.faults.append(f"{planned.kernel} reads {name}, which holds something else")
        self.check_writes(call, planned, reads, writes)
        for number, value in zip(writes, [*call.outputs, *[None] * len(planned.private)], strict=True):
            self.span(number)[0][...] = GARBAGE if value is None else self.number(value)

    def check_writes(self, call, planned, reads, writes):
        """What is written is not the caller's, and meets nothing else that the kernel uses, but element for element."""
        for k, number in enumerate(writes):
            place = self.plan.places[number]
            if place.kind == "constant" or (place.kind == "input" and place.index < self.arguments):
                self.faults.append(f"{planned.kernel} writes {place.name}, which is the caller's")
            for other in writes[k + 1 :]:
                if self.meet(number, other):
                    name = self.plan.places[other].name
                    self.faults.append(f"{planned.kernel} writes {place.name} and {name} at once")
            for r, other in enumerate(reads):
                if self.meet(number, other) and not self.in_place(call.kernel, r, len(reads) + k, other, number):
                    name = self.plan.places[other].name
                    self.faults.append(f"{planned.kernel} writes {place.name} over {name} while it reads it")

    def meet(self, one, other):
        (region, start, end), (second, begin, stop) = self.span(one)[1], self.span(other)[1]
        return region == second and max(start, begin) < min(end, stop)

    def in_place(self, kernel, source, out, *places):
        """Whether elements of buffer `source` are read only right before the same elements of `out` are stored."""
        (_, start, end), (_, begin, stop) = (self.span(n)[1] for n in places)
        buffers = kernel.buffers
        if (start, end) != (begin, stop) or buffers[source].dtype.bits != buffers[out].dtype.bits:
            return False
        if buffers[source] in _product_operands(kernel.body):
            return False  # elements of a product are read many times, in no particular order
        waiting, stored, before = set(), set(), ""
        for kind, element in _events(kernel, source, out, self.sizes):
            if kind == "load":
                if element in stored or (before == "store" and waiting):
                    return False
                waiting.add(element)
            elif waiting and element not in waiting:
                return False
            else:
                waiting.discard(element)
                stored.add(element)
            before = kind
        return not waiting

    def results(self):
        """At the end every result and every state must be in its place."""
        count = len(self.graph.outputs) - self.states
        for n, place in enumerate(self.plan.places):
            if place.kind == "output":
                value = self.graph.outputs[place.index]
            elif place.kind == "input" and place.index >= self.arguments:
                value = self.graph.outputs[count + place.index - self.arguments]
            else:
                continue
            if (self.span(n)[0] != self.number(value)).any():
                self.faults.append(f"{place.name} does not hold its value at the end")
        outputs = {place.index for place in self.plan.places if place.kind == "output"}
        self.faults += [f"result {n} has no place" for n in range(count) if n not in outputs]


def _memory_of_values(graph):
    """The value that is computed into the memory of each value: aliases share that of their operand."""
    found = {v: v for v in graph.inputs}
    for node in graph.nodes:
        for value in node.outputs:
            found[value] = found[node.inputs[0]] if isinstance(node.op.lower, Alias) else value
    return found


def _product_operands(body):
    found = set()
    for stmt in body:
        if isinstance(stmt, Contract):
            found |= {stmt.a.buffer, stmt.b.buffer}
        if isinstance(stmt, For | Contract):
            found |= _product_operands(stmt.body)
    return found


class _Recording(np.ndarray):
    """An array that notes which elements are read and written, one by one."""

    def __array_finalize__(self, parent):
        self.note = getattr(parent, "note", None)

    def __getitem__(self, index):
        self.note("load", index, self.shape)
        return np.asarray(self)[index]

    def __setitem__(self, index, value):
        self.note("store", index, self.shape)
        np.asarray(self)[index] = value


def _events(kernel, source, out, sizes):
    """("load", element of buffer `source`) and ("store", element of `out`), in the order in which they happen."""
    events = []

    def recorder(wanted):
        def note(kind, index, shape):
            if kind == wanted:
                events.append((kind, int(np.ravel_multi_index(index, shape)) if shape else 0))

        return note

    arrays = []
    for n, buffer in enumerate(kernel.buffers):
        array = np.ones([evaluate(d, sizes) for d in buffer.shape], buffer.dtype.to_numpy()).reshape(-1)
        if n in (source, out):
            array = array.view(_Recording)
            array.note = recorder("load" if n == source else "store")
        arrays.append(array)
    run_kernel(kernel, arrays, sizes)
    return events
