"""A program's second entry point: it takes batch after batch from whole arrays, so that no Python runs in between."""

from __future__ import annotations

from collections.abc import Sequence

from kgraph.compiler.codegen.emitter import Function, Module
from kgraph.compiler.codegen.target import Target
from kgraph.ir.artifact import BatchRun, MemoryPlan, Place
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
    """Write `void @entry.batches(ptr run)`, which runs `entry` once for each batch of a `BatchRun`; its name.

    Args:
        arguments: types of the program's arguments.
        outputs: number of its results.
        entry: its entry point.
    """
    name = f"{entry}.batches"
    f = Function(module, name, [("ptr", "run")], attributes=target.function_attributes(), linkage="")

    def field(ty: str, number: int) -> str:
        return f.load(ty, f.gep("i64", "%run", str(number)), 8)

    table, sizes, order = (field("ptr", n) for n in (BatchRun.TABLE, BatchRun.SIZES, BatchRun.ORDER))
    first, rows, count, number = (
        field("i64", n) for n in (BatchRun.FIRST_ROW, BatchRun.ROWS, BatchRun.COUNT, BatchRun.FIRST_BATCH)
    )
    shuffled = f.binary("icmp ne", "ptr", order, "null")
    with f.loop("0", count) as batch:
        start = f.add(first, f.mul(batch.index, rows))
        for n, type_ in enumerate(arguments):
            base, buffer = (field("ptr", BatchRun.argument(n) + part) for part in (0, 1))
            row_bytes = field("i64", BatchRun.argument(n) + 2)
            with f.when(shuffled):
                copy = _gather(module, target, type_.dtype.itemsize)
                chosen = f.gep("i64", order, start)
                f.line(f"call void @{copy}(ptr {buffer}, ptr {base}, ptr {chosen}, i64 {rows}, i64 {row_bytes})")
            in_place = f.gep("i8", base, f.mul(start, row_bytes))
            pointer = f.select("i1", shuffled, "ptr", buffer, in_place)
            for entry_number in _entries(plan.places, "input", n):
                f.store("ptr", pointer, f.gep("ptr", table, str(entry_number)), 8)
        for n in range(outputs):
            base, distance = (field(ty, BatchRun.output(len(arguments), n) + k) for k, ty in enumerate(("ptr", "i64")))
            to = f.gep("i8", base, f.mul(f.add(number, batch.index), distance))
            for entry_number in _entries(plan.places, "output", n):
                f.store("ptr", to, f.gep("ptr", table, str(entry_number)), 8)
        f.line(f"call void @{entry}(ptr {table}, ptr {sizes})")
    f.finish()
    return name


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
