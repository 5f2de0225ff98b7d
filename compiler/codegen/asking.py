"""What a product will read later is asked for while tiles are computed: what their epilogue reads, and the next panel.

The lines of an epilogue (weights and slots of an optimizer behind a weight gradient, say) come from the third-level
cache or from memory, and a processor waits for few of them at a time. So they are spread over the steps of k: the
epilogue of one tile leaves a table of the rows that the one below will read, and the micro-kernel asks for one entry a
round. The table is the first part of the context through which extra parameters reach the epilogue.

Of the next panel of the second operand the first tiles of a panel ask for one line a round each, until they have asked
for all of it.
"""

from __future__ import annotations

from kgraph.compiler.codegen.emitter import Function
from kgraph.compiler.codegen.tiles import CACHE_LINE, UNROLL, Tiling, ask_for

# Slots of 64 bits: something that may always be asked for, the number of entries for one tile, and the table.
_IDLE, _COUNT, _TABLE = range(3)


def table_slots(t: Tiling) -> int:
    """Slots of the context before the extra parameters of a product whose epilogue says what it will read."""
    return _TABLE + t.depth // UNROLL


def most_places(t: Tiling) -> int:
    """How many places an epilogue may read for each row of a tile, if the table is to hold all of them."""
    return t.depth // UNROLL // t.rows


def start_table(f: Function, context: str, count: int) -> None:
    """Write that tiles have `count` entries."""
    f.store("ptr", context, _slot(f, context, _IDLE), 8)
    f.store("i64", str(count), _slot(f, context, _COUNT), 8)


def enter(f: Function, context: str, number: str, pointers: list[str]) -> None:
    """Write the entries of row `number` of a tile."""
    for n, pointer in enumerate(pointers):
        place = f.add(f.mul(number, str(len(pointers))), str(_TABLE + n))
        f.store("ptr", pointer, f.gep("i64", context, place), 8)


def fill_table(f: Function, step: str) -> None:
    """Make all entries that are counted, or read by a micro-kernel in `step` steps of k, some that may be asked for."""
    rounds = _rounds(f, step)
    entries = f.intrinsic("smax", "i64", rounds, f.load("i64", _slot(f, "%context", _COUNT), 8))
    with f.loop("0", entries) as entry:
        f.store("ptr", "%context", f.gep("i64", "%context", f.add(entry.index, str(_TABLE))), 8)


def ask_rest(f: Function, t: Tiling, steps: str) -> None:
    """Ask at once for the entries that `steps` steps of k do not come to."""
    with f.loop(_rounds(f, steps), f.load("i64", _slot(f, "%context", _COUNT), 8)) as entry:
        pointer = f.load("ptr", f.gep("i64", "%context", f.add(entry.index, str(_TABLE))), 8)
        ask_for(f, pointer, t.width * t.bytes)


def table_or_idle(f: Function, wanted: str) -> list[str]:
    """The parameters `ASKS` of a micro-kernel: the table if that is `wanted`, else one entry again and again."""
    table, idle = _slot(f, "%context", _TABLE), _slot(f, "%context", _IDLE)
    return [f.select("i1", wanted, "ptr", table, idle), f.select("i1", wanted, "i64", "8", "0")]


def lines_of_panel(f: Function, t: Tiling, panel: str, row: str, number: str, idle: str) -> list[str]:
    """The parameters `SOON` of the tile with that number: some lines of `panel`, whose rows are `row` bytes apart.

    If they are all asked for, or `panel` is null, it is `idle` again and again: what is nowhere takes long to look for.
    """
    lines = max(1, t.width * t.bytes // CACHE_LINE)
    down, across = (f.binary(op, "i64", number, str(lines)) for op in ("udiv", "urem"))
    start = f.gep("i8", panel, f.add(f.mul(down, row), f.mul(across, str(CACHE_LINE))))
    none, done = f.binary("icmp eq", "ptr", panel, "null"), f.binary("icmp uge", "i64", number, str(UNROLL * lines))
    over = f.binary("or", "i1", none, done)
    return [f.select("i1", over, "ptr", idle, start), f.select("i1", over, "i64", "0", f.mul(row, str(UNROLL)))]


def _rounds(f: Function, steps: str) -> str:
    return f.binary("udiv", "i64", f.add(steps, str(UNROLL - 1)), str(UNROLL))


def _slot(f: Function, context: str, slot: int) -> str:
    return f.gep("i64", context, str(slot))
