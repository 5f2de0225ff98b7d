"""How a vector loop is cut: lanes, how many vectors at once, and how the last few iterations run."""

from __future__ import annotations

from kgraph.compiler.analysis.kernels import statements
from kgraph.compiler.analysis.loop_facts import accesses, accumulated, cost, stride
from kgraph.compiler.analysis.sums import CHEAP, price_of_sums, vectors_of_sum, widest_float
from kgraph.compiler.codegen.memory import maskable
from kgraph.compiler.codegen.target import Target
from kgraph.ir.dims import symbols_of
from kgraph.ir.loops import Contract, For, Init
from kgraph.record import record

# From this cost on, a mask costs less than a second copy of the body takes to compile.
_COSTLY = 16
# Vectors at once where a wide array is walked down its columns: each row is another page of memory, and many rows are
# more pages than the processor remembers, so that fewer walks pay for a few sums that leave the registers.
_WIDE = 8


@record
class VectorPlan:
    """How one vector loop runs.

    Attributes:
        lanes: iterations of one vector; 1 for a loop that runs one by one.
        vectors: vectors of the main loop's round; a power of two.
        masked: the rest runs as masked vectors; else one by one.
        whole: all rounds run masked, so that a costly body is written only once.
    """

    lanes: int
    vectors: int
    masked: bool
    whole: bool = False

    @property
    def step(self) -> int:
        """Iterations of one round of the main loop."""
        return self.lanes * self.vectors


def plan_vector_loop(target: Target, loop: For) -> VectorPlan:
    """Choose how a vector loop runs."""
    serial = VectorPlan(1, 1, False)
    if loop.extent == 1 or any(
        isinstance(s, Contract) or (isinstance(s, For) and _depends(s, loop.var)) for s in statements(loop.body)
    ):
        return serial
    places = accesses(loop.body)
    lanes = target.lanes(widest_float(loop.body))
    masked = target.masked
    for buffer, flat in places:
        step = stride(flat, loop.var)
        masked = masked and (step == 0 or (step == 1 and maskable(target, buffer.dtype)))
    vectors = _vectors(loop, lanes)
    if masked and vectors == 1 and cost(loop.body) >= _COSTLY:
        divides = isinstance(loop.extent, int) and loop.extent % lanes == 0
        return VectorPlan(lanes, 1, True, not divides)
    if isinstance(loop.extent, int):
        while vectors > 1 and loop.extent < vectors * lanes:
            vectors //= 2
        if not masked and loop.extent < lanes:
            return serial
    return VectorPlan(lanes, vectors, masked)


def _depends(inner: For, var: str) -> bool:
    return var in symbols_of(inner.extent)


def _vectors(loop: For, lanes: int) -> int:
    """Vectors at once: several where sums would wait for each other."""
    inner = [s for s in loop.body if isinstance(s, For)]
    if not inner or not any(isinstance(s, Init) for s in loop.body):
        return vectors_of_sum(price_of_sums(loop.body)) if accumulated(loop.body) else 1
    # Loops beside each other, such as blocks and what is left of them, hold their registers one after the other.
    price = max(cost(s.body) for s in inner)
    if price <= CHEAP and isinstance(loop.extent, int) and loop.extent % (_WIDE * lanes) == 0:
        return _WIDE
    return vectors_of_sum(price)
