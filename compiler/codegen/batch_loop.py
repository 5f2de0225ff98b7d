"""A program's second entry point: it takes batch after batch from whole arrays, so that no Python runs in between."""

from __future__ import annotations

from collections.abc import Sequence

from kgraph.compiler.codegen.emitter import Function, Module
from kgraph.compiler.codegen.program import step_of
from kgraph.compiler.codegen.target import Target
from kgraph.compiler.codegen.thread_pool import BARRIER
from kgraph.ir.artifact import BatchRun, MemoryPlan, Place, Step, Team
from kgraph.ir.dims import DimExpr, symbols_of
from kgraph.ir.types import TensorType

_CHUNK = 32  # bytes that are copied at once


def takes_batches(arguments: Sequence[TensorType], outputs: Sequence[TensorType]) -> bool:
    """Whether a program can be fed with rows: all arguments have one and the same symbol as their first size only,
    and results depend on it in their first size or not at all."""
    first = {str(t.shape[0]) if t.rank and isinstance(t.shape[0], DimExpr) else "" for t in arguments}
    rows = next(iter(first), "")
    if len(first) != 1 or not rows.isidentifier():
        return False
    inside = [dim for t in (*arguments, *outputs) for dim in t.shape[1:]]
    inside += [t.shape[0] for t in outputs if t.rank and str(t.shape[0]) != rows]
    return not any(rows in symbols_of(dim) for dim in inside)


def emit_batches(
    module: Module, target: Target, plan: MemoryPlan, arguments: Sequence[TensorType], outputs: int, entry: str
) -> str:
    """Write `void @entry.batches(ptr run, ptr team, i64 tid)`, which runs the step of `entry` once for each batch of a
    `BatchRun`; returns its name.

    All threads of the team gather rows; thread 0 fills the table.

    Args:
        arguments: types of the program's arguments.
        outputs: number of its results.
        entry: its entry point.
    """
    name = f"{entry}.batches"
    params = [("ptr", "run"), ("ptr", "team"), ("i64", "tid")]
    f = Function(module, name, params, attributes=target.outer_attributes(), linkage="")

    def field(ty: str, number: int) -> str:
        return f.load(ty, f.gep("i64", "%run", str(number)), 8)

    step, order = (field("ptr", n) for n in (BatchRun.STEP, BatchRun.ORDER))
    table = f.load("ptr", f.gep("i64", step, str(Step.TABLE)), 8)
    threads = f.load("i64", f.gep("i64", "%team", str(Team.THREADS)), 8)
    leads = f.binary("icmp eq", "i64", "%tid", "0")
    first, rows, count, number = (
        field("i64", n) for n in (BatchRun.FIRST_ROW, BatchRun.ROWS, BatchRun.COUNT, BatchRun.FIRST_BATCH)
    )
    shuffled = f.binary("icmp ne", "ptr", order, "null")
    low, high = (
        f.binary("udiv", "i64", f.mul(rows, n), threads) for n in ("%tid", f.add("%tid", "1"))
    )
    with f.loop("0", count) as batch:
        start = f.add(first, f.mul(batch.index, rows))
        for n, type_ in enumerate(arguments):
            base, buffer = (field("ptr", BatchRun.argument(n) + part) for part in (0, 1))
            row_bytes = field("i64", BatchRun.argument(n) + 2)
            with f.when(shuffled):
                copy = _gather(module, target, type_.dtype.itemsize)
                chosen = f.gep("i64", order, f.add(start, low))
                to, count_here = f.gep("i8", buffer, f.mul(low, row_bytes)), f.binary("sub", "i64", high, low)
                f.line(f"call void @{copy}(ptr {to}, ptr {base}, ptr {chosen}, i64 {count_here}, i64 {row_bytes})")
            in_place = f.gep("i8", base, f.mul(start, row_bytes))
            pointer = f.select("i1", shuffled, "ptr", buffer, in_place)
            _fill(f, leads, table, pointer, _entries(plan.places, "input", n))
        for n in range(outputs):
            base, distance = (field(ty, BatchRun.output(len(arguments), n) + k) for k, ty in enumerate(("ptr", "i64")))
            to = f.gep("i8", base, f.mul(f.add(number, batch.index), distance))
            _fill(f, leads, table, to, _entries(plan.places, "output", n))
        f.line(f"call void @{BARRIER}(ptr %team)")
        f.line(f"call void @{step_of(entry)}(ptr {step}, ptr %team, i64 %tid)")
        f.line(f"call void @{BARRIER}(ptr %team)")
    f.finish()
    return name


def _fill(f: Function, leads: str, table: str, pointer: str, entries: Sequence[int]) -> None:
    with f.when(leads):
        for entry in entries:
            f.store("ptr", pointer, f.gep("ptr", table, str(entry)), 8)


def _entries(places: Sequence[Place], kind: str, number: int) -> list[int]:
    return [n for n, place in enumerate(places) if place.kind == kind and place.index == number]


def _gather(module: Module, target: Target, itemsize: int) -> str:
    """Name of a function that copies chosen rows: to[i] = base[chosen[i]]; written on first use."""
    name = f"gather_rows.{itemsize}"
    if any(f"@{name}(" in text.partition("\n")[0] for text in module.functions):
        return name
    params = [("ptr noalias", p) for p in ("to", "base", "chosen")] + [("i64", "rows"), ("i64", "row")]
    f = Function(module, name, params, attributes=target.function_attributes())
    whole = f.binary("and", "i64", "%row", str(-_CHUNK))
    with f.loop("0", "%rows") as i:
        source = f.gep("i8", "%base", f.mul(f.load("i64", f.gep("i64", "%chosen", i.index), 8), "%row"))
        to = f.gep("i8", "%to", f.mul(i.index, "%row"))
        pieces = (f"<{_CHUNK} x i8>", "0", whole, _CHUNK), (f"i{8 * itemsize}", whole, "%row", itemsize)
        for ty, start, stop, step in pieces:
            with f.loop(start, stop, str(step)) as at:
                f.store(ty, f.load(ty, f.gep("i8", source, at.index), 1), f.gep("i8", to, at.index), 1)
    f.finish()
    return name
