"""What the sums of a loop cost, each for itself: how many partial sums one has must not depend on those beside it."""

from __future__ import annotations

from collections.abc import Sequence

from kgraph.compiler.analysis.kernels import expressions, statements, subexpressions
from kgraph.compiler.analysis.loop_facts import accesses, accumulated, stride
from kgraph.ir.loops import Accumulate, For, Let, Stmt
from kgraph.ir.scalar import FUNCTIONS, Call, Expr, Local

# Sums up to these costs are made of four or two vectors at once, so that the next round need not wait for this one.
CHEAP, MODERATE = 8, 15


def vectors_of_sum(price: int) -> int:
    """How many vectors a sum is made of, from the cost of what it adds up."""
    return 4 if price <= CHEAP else 2 if price <= MODERATE else 1


def price_of_sums(body: Sequence[Stmt]) -> int:
    """Rough number of instructions for what the costliest sum of a loop adds up in a round."""
    lets = {stmt.name: stmt.value for stmt in statements(body) if isinstance(stmt, Let)}
    sums = accumulated(body)
    found = [s.value for s in statements(body) if isinstance(s, Accumulate) and s.name in sums]
    return max((_price(value, lets) for value in found), default=0)


def _price(value: Expr, lets: dict[str, Expr]) -> int:
    total, pending, named = 0, [value], set[str]()
    while pending:
        for expr in subexpressions([pending.pop()]):
            if isinstance(expr, Call):
                total += FUNCTIONS[expr.function].cost if expr.function in FUNCTIONS else 1
            elif isinstance(expr, Local) and expr.name in lets and expr.name not in named:
                named.add(expr.name)
                pending.append(lets[expr.name])
    return total


def widest_float(body: Sequence[Stmt]) -> int:
    """Bits of the widest float that a body computes with; 32 if there is none."""
    widths = [e.dtype.bits for e in expressions(body) if e.dtype.is_float]
    widths += [buffer.dtype.bits for buffer, _ in accesses(body) if buffer.dtype.is_float]
    return max(widths, default=32)


def order_of_sums(loop: For) -> tuple[int, int, bool]:
    """What decides in which order a vector loop adds up: width of its numbers, vectors at once, and whether its last
    round may be a masked one."""
    plain = all(
        stride(flat, loop.var) in (0, 1) and (stride(flat, loop.var) == 0 or buffer.dtype.bits >= 32)
        for buffer, flat in accesses(loop.body)
    )
    return widest_float(loop.body), vectors_of_sum(price_of_sums(loop.body)), plain
