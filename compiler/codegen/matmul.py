"""Matrix products as LLVM functions: packed, register tiled, with the caller's epilogue on every finished vector."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from kgraph.compiler.analysis.windows import gathered, transposed
from kgraph.compiler.codegen.asking import enter, start_table, table_slots
from kgraph.compiler.codegen.blocking import plan, product, scratch_elements
from kgraph.compiler.codegen.emitter import Function, Module
from kgraph.compiler.codegen.gathered_products import gathered_layout, gathered_plan, gathered_product
from kgraph.compiler.codegen.line_products import line_plan, line_product, lines_of
from kgraph.compiler.codegen.packing import lanes_below
from kgraph.compiler.codegen.parts import ALL, PARTS, SOME
from kgraph.compiler.codegen.product_writer import PRODUCT_PARAMS
from kgraph.compiler.codegen.target import Target
from kgraph.compiler.codegen.tiles import Tiling, tiling
from kgraph.compiler.codegen.windows import gather_function, pack_function
from kgraph.ir.dims import Dim
from kgraph.ir.loops import Contract
from kgraph.record import record

# epilogue(f, vector_type, [sum], row, column, mask): see `emit_matmul`.
Epilogue = Callable[[Function, str, list[str], str, str, str | None], None]



class Ahead(NamedTuple):
    """What an epilogue reads, so that it can be asked for before.

    Attributes:
        places: number of places where a row of a tile is read.
        addresses: addresses(f, row, column) gives these places for the columns from there on.
    """

    places: int
    addresses: Callable[[Function, str, str], list[str]]


# Types that fit one slot of the context through which extra parameters reach the epilogue.
_SLOT_TYPES = ("ptr", "i1", "i8", "i16", "i32", "i64", "half", "bfloat", "float", "double")


@record
class MatmulSpec:
    """One kind of matrix product C[m, n] = A[m, k] B[k, n].

    Attributes:
        element: "float" or "double".
        transpose_a: A is stored [k, m] instead of [m, k].
        transpose_b: B is stored [n, k] instead of [k, n].
        packed_b: B was packed before, into panels (see `blocking.product`).
    """

    element: str
    transpose_a: bool
    transpose_b: bool
    packed_b: bool = False


def scratch_bytes(target: Target, spec: MatmulSpec, m: Dim, n: Dim, k: Dim) -> int:
    """The scratch memory, 64-byte aligned, that the function of `emit_matmul` needs; symbolic sizes may be anything."""
    t = tiling(target, spec.element)
    known = [size if isinstance(size, int) else None for size in (m, n, k)]
    return scratch_elements(t, *known) * t.bytes


def window_scratch_bytes(target: Target, element: str) -> int:
    """The scratch memory that the function of `emit_window_product` needs."""
    t = tiling(target, element)
    return (gathered_layout(t).partial + t.window_block) * t.bytes


def emit_matmul(
    module: Module,
    target: Target,
    name: str,
    spec: MatmulSpec,
    extra_params: Sequence[tuple[str, str]],
    epilogue: Epilogue,
    columns: Dim | None = None,
    ahead: Ahead | None = None,
) -> None:
    """Write `void @name(ptr a, ptr b, ptr scratch, i64 m, i64 n, i64 k, i64 lda, i64 ldb, extra_params...)`.

    It computes C = A B (see `MatmulSpec`; lda and ldb are the elements between stored rows) and hands every finished
    vector of C to the epilogue, which must store it: the function itself writes only to `scratch`
    (`scratch_bytes`). Every element of C is handed over exactly once, also when k is zero (sums
    of zero); nothing happens when m or n is zero.

    `epilogue(f, vector_type, [sum], row, column, mask)` runs while code is written, a few times, each for one place
    where vectors are handed over: `sum` holds C[row, column : column + lanes], `row` and `column` are i64 registers;
    `mask` is None if all lanes are inside C, else a register of the lanes that are. On targets without masked
    instructions a vector on the edge is handed over as scalars (vector_type is then the element type).
    It may use the extra parameters (scalars and pointers) by name and open blocks of its own. `columns` is n, if the
    caller knows it: whole or masked vectors that there are none of are not written. `ahead` says what
    the epilogue reads.

    With the extra parameters `PARTS` the function computes some parts of the product: see `blocking.product`.

    Only the epilogue's loop is written per product; the kernels, packers and blocking loops that it needs are
    written into the module on first use and shared by all products.
    """
    shared = product(module, target, spec.element)
    t = tiling(target, spec.element)
    constant = plan(module, target, spec.element, spec.transpose_a, spec.transpose_b, spec.packed_b, ahead is not None)
    _emit_product(module, target, name, shared, constant, extra_params, t, ahead)
    _emit_finish(module, target, t, f"{name}.finish", extra_params, epilogue, columns, ahead)


def emit_window_product(
    module: Module,
    target: Target,
    name: str,
    stmt: Contract,
    extra_params: Sequence[tuple[str, str]],
    variables: Mapping[str, int],
    epilogue: Epilogue,
) -> None:
    """Write a function like that of `emit_matmul` for a product over windows; it ignores lda and ldb.

    `a` and `b` are the buffers of the windows; or `b` is the one with panels (`Contract.packed`). `variables` says
    which extra parameters are the sizes and outer variables that the windows use.
    """
    t = tiling(target, stmt.dtype.llvm, stmt.n)
    slots = sorted(variables.items())
    pack = None if stmt.packed else pack_function(module, target, t, stmt, slots)
    lines = lines_of(t, stmt)
    if lines is not None:
        gather = gather_function(module, target, t, lines.line, slots)
        constant = line_plan(module, target, t, stmt, lines, gather, pack)
        shared = line_product(module, target, t, lines.is_transposed)
    else:
        gather = gather_function(module, target, t, gathered(stmt), slots)
        constant = gathered_plan(module, target, t, transposed(stmt), gather, pack)
        shared = gathered_product(module, target, t)
    _emit_product(module, target, name, shared, constant, extra_params, t, None)
    _emit_finish(module, target, t, f"{name}.finish", extra_params, epilogue, stmt.n, None)


def _emit_product(
    module: Module, target: Target, name: str, shared: str, constant: str, extra_params: Sequence[tuple[str, str]],
    t: Tiling, ahead: Ahead | None,
) -> None:  # fmt: skip
    """Write the function that passes its extra parameters on to a shared function as a context."""
    f = Function(module, name, [*PRODUCT_PARAMS, *extra_params], attributes=target.outer_attributes())
    first = table_slots(t) if ahead else 0
    context = f.assign(f"alloca [{max(first + len(extra_params), 1)} x i64], align 8")
    if ahead:
        start_table(f, context, t.rows * ahead.places)
    for slot, (ty, param) in enumerate(extra_params, first):
        f.store(_slot_type(ty), f"%{param}", f.gep("i64", context, str(slot)), 8)
    arguments = [f"{ty.split()[0]} %{param}" for ty, param in PRODUCT_PARAMS]
    arguments += [f"ptr @{constant}", f"ptr @{name}.finish", f"ptr {context}"]
    arguments += [f"i64 {number}" for number in (SOME if PARTS[0] in extra_params else ALL)]
    f.line(f"call void @{shared}({', '.join(arguments)})")
    f.finish()


def _slot_type(ty: str) -> str:
    """The type of an extra parameter without its attributes."""
    bare = ty.split()[0]
    if bare not in _SLOT_TYPES:
        raise AssertionError(f"extra parameter of a matrix product: expected one of {_SLOT_TYPES}, received {ty!r}")
    return bare


def _emit_finish(
    module: Module,
    target: Target,
    t: Tiling,
    name: str,
    extra_params: Sequence[tuple[str, str]],
    epilogue: Epilogue,
    n: Dim | None,
    ahead: Ahead | None,
) -> None:
    """Write the function that applies the epilogue to a block of finished sums; see `blocking.product`.

    Blocks start at multiples of the lanes, so of `n` columns, if that is known, the last block alone may end inside a
    vector.
    """
    sizes = [("i64", size) for size in ("stride", "row", "rows", "column", "columns")]
    params = [("ptr noalias", "sums"), *sizes, ("ptr", "context")]
    f = Function(module, name, params, attributes=target.function_attributes())
    for slot, (ty, param) in enumerate(extra_params, table_slots(t) if ahead else 0):
        f.line(f"%{param} = load {_slot_type(ty)}, ptr {f.gep('i64', '%context', str(slot))}, align 8")
    has_whole, has_rest = not isinstance(n, int) or n >= t.lanes, not isinstance(n, int) or n % t.lanes != 0
    whole = "%columns" if not has_rest else "0" if not has_whole else f.binary("and", "i64", "%columns", str(-t.lanes))
    with f.loop("0", "%rows") as i:
        row = f.add("%row", i.index)
        sums = f.gep(t.element, "%sums", f.mul(i.index, "%stride"))
        if ahead:
            enter(f, "%context", i.index, ahead.addresses(f, f.add(row, str(t.rows)), "%column"))
        if has_whole:
            with f.loop("0", whole, str(t.lanes)) as j:
                value = f.load(t.vector, f.gep(t.element, sums, j.index), t.bytes)
                epilogue(f, t.vector, [value], row, f.add("%column", j.index), None)
        if has_rest and target.masked:
            with f.when(f.binary("icmp slt", "i64", whole, "%columns")):
                mask = lanes_below(f, t, f.binary("sub", "i64", "%columns", whole))
                value = f.load(t.vector, f.gep(t.element, sums, whole), t.bytes)
                epilogue(f, t.vector, [value], row, f.add("%column", whole), mask)
        elif has_rest:
            with f.loop(whole, "%columns") as j:
                value = f.load(t.element, f.gep(t.element, sums, j.index), t.bytes)
                epilogue(f, t.element, [value], row, f.add("%column", j.index), None)
    f.finish()
