"""How a function computes some parts of the work only: parameters, and the ranges that belong to them."""

from __future__ import annotations

from kgraph.compiler.codegen.emitter import Function

# Of `parts` parts, those from number `part` on up to `part_end`; all of the work is 0, 1, 1.
PARTS = [("i64", "part"), ("i64", "part_end"), ("i64", "parts")]
SOME = tuple(f"%{name}" for _, name in PARTS)
ALL = ("0", "1", "1")


def share(f: Function, extent: str, unit: int, numbers: tuple[str, ...] = SOME) -> tuple[str, str]:
    """Where these parts of a range start and end; it is cut at multiples of `unit`, the last part has the rest, too."""
    part, part_end, parts = numbers
    units = f.binary("udiv", "i64", extent, str(unit))
    first, end = (f.mul(f.binary("udiv", "i64", f.mul(units, n), parts), str(unit)) for n in (part, part_end))
    return first, f.select("i1", f.binary("icmp eq", "i64", part_end, parts), "i64", extent, end)
