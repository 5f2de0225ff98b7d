"""Weights in the order in which the tiles of a matrix product read them, for programs that only read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from kgraph.compiler.analysis.windows import is_stored_by_rows
from kgraph.compiler.codegen.target import Target
from kgraph.compiler.codegen.tiles import tiling
from kgraph.compiler.lower import Lowered, LoweredCall, LoweredLoop
from kgraph.compiler.passes.memory_plan import roots
from kgraph.ir.dims import evaluate, symbols_of
from kgraph.ir.graph import Graph, Value
from kgraph.ir.loops import Contract, Kernel
from kgraph.ir.scalar import Buffer
from kgraph.ir.types import TensorType

# Rows that one image gives, up to which a copy pays: to pack for more of them is a small part of the product.
MOST_ROWS = 256


def packed_states(
    graph: Graph, calls: Lowered, states: int, target: Target
) -> tuple[tuple[LoweredCall | LoweredLoop, ...], dict[Value, int]]:
    """Let convolutions whose weights are states that the program never writes read copies in panels.

    The copies are values that no call makes: the runtime does, whenever a state has changed (see `artifact.Place`).
    They come with the number of the state that each is a copy of.
    """
    first, results = len(graph.inputs) - states, len(graph.outputs) - states
    only_read = {old: n for n, old in enumerate(graph.inputs[first:]) if graph.outputs[results + n] is old}
    packing = _Packing(graph, only_read, target)
    changed = tuple(packing.call(c) if isinstance(c, LoweredCall) else c for c in calls) if only_read else tuple(calls)
    return changed, {value: number for (number, _), value in packing.copies.items()}


class _Packing:
    """Changes calls; `only_read` are the numbers of the states that nothing writes."""

    def __init__(self, graph: Graph, only_read: Mapping[Value, int], target: Target) -> None:
        self._root, self._only_read, self._target = roots(graph), only_read, target
        self.copies: dict[tuple[int, TensorType], Value] = {}  # by number of the state and type
        # Kernels by body and names of buffers with copies: those that differ in their names only keep sharing a body.
        self._known: dict[tuple[int, tuple[str, ...]], Kernel] = {}

    def call(self, call: LoweredCall) -> LoweredCall:
        """The call with copies as further inputs, if its products may have some."""
        kernel, count = call.kernel, len(call.inputs)
        state_of = {
            buffer.name: self._only_read[self._root[value]]
            for value, buffer in zip(call.inputs, kernel.buffers, strict=False)
            if self._root.get(value) in self._only_read
        }
        products = [s for s in kernel.body if isinstance(s, Contract) and s.b.buffer.name in state_of]
        types = {s: type_ for s in products if (type_ := _panels(s, self._target)) is not None}
        if not types:
            return call
        packed = {s: Buffer(f"p{s.b.buffer.name}", type_.dtype, type_.shape, "in") for s, type_ in types.items()}
        buffers = tuple(dict.fromkeys(packed.values()))
        values = {packed[s]: self._copy(state_of[s.b.buffer.name], type_) for s, type_ in types.items()}
        key = (id(kernel.body), tuple(buffer.name for buffer in buffers))
        if key not in self._known:
            body = tuple(replace(s, packed=packed[s]) if isinstance(s, Contract) and s in packed else s
                         for s in kernel.body)  # fmt: skip
            with_copies = (*kernel.buffers[:count], *buffers, *kernel.buffers[count:])
            self._known[key] = replace(kernel, buffers=with_copies, body=body)
        kernel = replace(self._known[key], name=kernel.name)
        return replace(call, kernel=kernel, inputs=(*call.inputs, *(values[buffer] for buffer in buffers)))

    def _copy(self, state: int, type_: TensorType) -> Value:
        return self.copies.setdefault((state, type_), Value(type_, f"packed{len(self.copies)}"))


def _panels(stmt: Contract, target: Target) -> TensorType | None:
    """Type of a copy of a product's second operand; None if it would not pay."""
    n, k = stmt.n, stmt.k
    if not (isinstance(n, int) and isinstance(k, int) and is_stored_by_rows(stmt)):
        return None
    t = tiling(target, stmt.dtype.llvm, n)
    rows_of_image = evaluate(stmt.m, dict.fromkeys(symbols_of(stmt.m), 1))
    # Few columns have tiles of one vector a row, but not where the product turns out to be one of plain matrices.
    if t.vectors == 1 or rows_of_image > MOST_ROWS:
        return None
    return TensorType(stmt.dtype, (-(-n // t.width), k, t.width))
