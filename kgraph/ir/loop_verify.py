"""Checks that a kernel keeps the rules of the loop IR; faults are shown in the printed text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn, TypeAlias, assert_never

import numpy as np

from kgraph.errors import VerifyError
from kgraph.ir.dims import Dim, DimExpr, product, substitute, symbols_of
from kgraph.ir.dtypes import DType, bool_
from kgraph.ir.lexer import PLAIN_NAME, RESERVED
from kgraph.ir.loop_printer import COMBINES, kernel_lines
from kgraph.ir.loops import Accumulate, Contract, For, Init, Kernel, Let, Matrix, Ranges, Stmt, Store, Window
from kgraph.ir.scalar import FUNCTIONS, Buffer, Call, Const, Expr, IndexValue, Load, Local, names_in
from kgraph.record import record

SHOWN = 12  # lines shown before and after a fault
KEYWORDS = RESERVED | {"for", "parallel", "vector", "unroll", "let", "init", "store", "contract"}
KINDS = ("serial", "parallel", "vector", "unroll")
ROLES = ("in", "out", "scratch")


def verify_kernel(kernel: Kernel) -> None:
    """Check a kernel in time linear in its size.

    Buffers are known, distinct and used in their roles; indices have the buffers' ranks, name only sizes, loop
    variables and integer Lets in scope, and are not provably out of bounds; a local in an index does not vary between
    the iterations of a vector loop round it; names are not reused inside their scope; element types agree; iterations
    of parallel and vector loops do not write one place; vector loops and contractions hold only what
    `kgraph.ir.loops` allows.

    Raises:
        VerifyError: the first fault; a note shows the printed kernel with the fault under its line.
    """
    _KernelCheck(kernel).run()


@record
class _Name:
    """What a name in scope means: a local's element type, or the extent of a loop variable."""

    dtype: DType | None = None
    extent: Dim = 0
    mutable: bool = False
    region: int = 0  # number of parallel loops and contractions round it
    spread: int = 0  # number of variables that stores round it must differ with
    varies: bool = False  # between the iterations of the vector loop, or the elements of the contraction, round it

    @property
    def is_index(self) -> bool:
        """Whether it may stand in an index."""
        return self.dtype is None or (self.dtype.is_integer and not self.mutable)


Scope: TypeAlias = "dict[str, _Name]"


class _KernelCheck:
    """Checks one kernel, statement by statement."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.buffers = {b.name: b for b in kernel.buffers}
        self.sizes = frozenset(kernel.sizes)
        self.stmt: Stmt | None = None
        self.spread: list[tuple[str, Dim]] = []  # variables whose iterations must write to different places
        self.region = 0
        self.idle = 0  # number of loops of extent 0 round the statement: nothing in them runs

    def run(self) -> None:
        """All checks, in the order of the text."""
        for name in self.kernel.sizes:
            self.legal(name, "size")
        if len(self.sizes) != len(self.kernel.sizes):
            self.fail("sizes", expected="different names", received=", ".join(self.kernel.sizes))
        if len(self.buffers) != len(self.kernel.buffers):
            self.fail("buffers", expected="different names", received=", ".join(b.name for b in self.kernel.buffers))
        for buffer in self.kernel.buffers:
            if buffer.role not in ROLES:
                self.fail(f"role of %{buffer.name}", expected=" or ".join(ROLES), received=str(buffer.role))
            self.dims(buffer.shape, {}, f"shape of %{buffer.name}")
        self.block(self.kernel.body, {}, "kernel")

    def block(self, body: Sequence[Stmt], outer: Scope, inside: str) -> None:
        """The statements of one body; names that it starts end with it."""
        scope = dict(outer)
        for stmt in body:
            self.stmt = stmt
            if inside == "contract" and not isinstance(stmt, Let | Store):
                self.fail("body of a contraction", expected="let and store only", received=type(stmt).__name__)
            if inside == "vector" and (isinstance(stmt, Contract) or (isinstance(stmt, For) and stmt.kind != "serial")):
                received = f"{stmt.kind} loop" if isinstance(stmt, For) else "contraction"
                self.fail("inside a vector loop", expected="serial loops only", received=received)
            self.statement(stmt, scope, inside)

    def statement(self, stmt: Stmt, scope: Scope, inside: str) -> None:
        """One statement with what is inside it."""
        match stmt:
            case For():
                self.loop(stmt, scope, inside)
            case Let() | Init():
                mutable, region, spread = isinstance(stmt, Init), self.region, len(self.spread)
                varies = inside in ("vector", "contract") and (mutable or self.varies(stmt.value, scope))
                dtype = self.expr(stmt.value, scope)
                self.start(stmt.name, _Name(dtype, 0, mutable, region, spread, varies), scope)
            case Accumulate():
                self.accumulate(stmt, scope)
            case Store():
                self.store(stmt, scope)
            case Contract():
                self.contract(stmt, scope)
            case _:
                assert_never(stmt)

    def loop(self, stmt: For, scope: Scope, inside: str) -> None:
        """A loop: its kind, extent, variable and body."""
        if stmt.kind not in KINDS:
            self.fail("loop kind", expected=" or ".join(KINDS), received=str(stmt.kind))
        self.dims((stmt.extent,), scope, "extent")
        inner = dict(scope)
        self.start(stmt.var, _Name(extent=stmt.extent, varies=stmt.kind == "vector"), inner)
        spreads = stmt.kind in ("parallel", "vector")
        self.region += stmt.kind == "parallel"
        self.idle += stmt.extent == 0
        if spreads:
            self.spread.append((stmt.var, stmt.extent))
        self.block(stmt.body, inner, "vector" if "vector" in (inside, stmt.kind) else stmt.kind)
        if spreads:
            self.spread.pop()
        self.region -= stmt.kind == "parallel"
        self.idle -= stmt.extent == 0

    def accumulate(self, stmt: Accumulate, scope: Scope) -> None:
        """A combination into a mutable local of this parallel iteration."""
        dtype = self.expr(stmt.value, scope)
        local = scope.get(stmt.name)
        if local is None or not local.mutable:
            self.fail(f"accumulate into {stmt.name}", expected="a local started with init",
                      received="an unknown name" if local is None else "another name")  # fmt: skip
        if local.region != self.region:
            self.fail(f"accumulate into {stmt.name}", expected="a local started inside the parallel loop")
        if local.dtype is not dtype:
            self.fail(f"accumulate into {stmt.name}", expected=str(local.dtype), received=str(dtype))
        if stmt.combine not in COMBINES:
            self.fail("combine", expected=" or ".join(COMBINES), received=str(stmt.combine))
        if (stmt.combine in ("or", "and")) is not (dtype is bool_):
            self.fail(
                f"combine {stmt.combine}", expected="and, or for bool; the others for numbers", received=str(dtype)
            )

    def store(self, stmt: Store, scope: Scope) -> None:
        """A write: role, place, element type, and that parallel iterations write to different places."""
        dtype = self.expr(stmt.value, scope)
        buffer = self.known(stmt.buffer)
        if buffer.role == "in":
            self.fail(f"store to %{buffer.name}", expected="a buffer of role out or scratch", received="in")
        self.place(buffer, stmt.index, scope)
        if dtype is not buffer.dtype:
            self.fail(f"store to %{buffer.name}", expected=str(buffer.dtype), received=str(dtype))
        entries = [symbols_of(dim) for dim in stmt.index]
        for depth, (var, extent) in enumerate(self.spread):
            if buffer.role == "scratch" and not scope[var].varies:
                continue  # whoever runs iterations of a parallel loop has private memory of his own
            # Where a local of the loop's body is added to its variable, iterations may meet in one place.
            outside = [names for names in entries if all(scope[n].spread <= depth for n in names & scope.keys())]
            apart = any(var in names for names in outside)
            if not apart and extent != 1 and not self.idle:
                self.fail(f"store to %{buffer.name}", expected=f"an index that differs with {var}",
                          received="one place for all iterations")  # fmt: skip

    def contract(self, stmt: Contract, scope: Scope) -> None:
        """A matrix product: operands, scratch memory, names and body."""
        self.dims((stmt.m, stmt.n, stmt.k), scope, "sizes of the contraction")
        if isinstance(stmt.a, Matrix) and isinstance(stmt.b, Matrix) and not stmt.rows and not stmt.over:
            self.matrix(stmt.a, (stmt.m, stmt.k), scope)
            self.matrix(stmt.b, (stmt.k, stmt.n), scope)
        else:
            self.windows(stmt, scope)
        a, b = stmt.a.buffer.dtype, stmt.b.buffer.dtype
        if a is not b or not a.is_float:
            self.fail("operands of the contraction", expected="one float type", received=f"{a} and {b}")
        if self.known(stmt.scratch).role != "scratch":
            self.fail(f"memory %{stmt.scratch.name}", expected="role scratch", received=stmt.scratch.role)
        if stmt.packed is not None:
            self.packed(stmt, stmt.packed)
        inner = dict(scope)
        self.start(stmt.row, _Name(extent=stmt.m), inner)
        self.start(stmt.col, _Name(extent=stmt.n, varies=True), inner)
        self.start_all(stmt.rows, inner)
        self.region += 1
        self.idle += 0 in (stmt.m, stmt.n)
        self.start(stmt.acc, _Name(a, region=self.region, varies=True), inner)
        spread = [*(stmt.rows or ((stmt.row, stmt.m),)), (stmt.col, stmt.n)]
        self.spread += spread
        self.block(stmt.body, inner, "contract")
        del self.spread[-len(spread) :]
        self.region -= 1
        self.idle -= 0 in (stmt.m, stmt.n)

    def windows(self, stmt: Contract, scope: Scope) -> None:
        """The operands of a product over windows: names, and bounds of the second one."""
        for operand in (stmt.a, stmt.b):
            if not isinstance(operand, Window):
                self.fail(f"operand %{operand.buffer.name}", expected="a window", received="a matrix")
            if len(operand.index) != len(self.known(operand.buffer).shape):
                expected = f"{len(operand.buffer.shape)} entries"
                self.fail(f"window of %{operand.buffer.name}", expected=expected, received=str(len(operand.index)))
        for ranges, size, what in ((stmt.rows, stmt.m, "rows"), (stmt.over, stmt.k, "reduced variables")):
            if not ranges or product(tuple(extent for _, extent in ranges)) != size:
                self.fail(what, expected=f"extents with the product {size}", received=str(ranges))
        assert isinstance(stmt.a, Window)
        assert isinstance(stmt.b, Window)
        inner = dict(scope)
        self.start_all(stmt.over, inner)
        second = dict(inner)
        self.start_all(stmt.rows, inner)
        self.start(stmt.col, _Name(extent=stmt.n), second)
        self.dims(stmt.a.index, inner, f"index of %{stmt.a.buffer.name}")
        idle = 0 in (stmt.m, stmt.n, stmt.k)
        self.idle += idle
        self.inside(stmt.b.buffer, stmt.b.index, second)
        self.idle -= idle

    def packed(self, stmt: Contract, buffer: Buffer) -> None:
        """Memory with the second operand in panels: element type and sizes."""
        shape = self.known(buffer).shape
        panels = [-(-stmt.n // size) for size in shape[2:] if isinstance(size, int) and isinstance(stmt.n, int)]
        if buffer.dtype is not stmt.dtype or len(shape) != 3 or shape[:2] != (*panels, stmt.k):
            expected, found = f"panels of {stmt.k} x n columns", " x ".join(map(str, shape))
            self.fail(f"packed %{buffer.name}", expected=f"{stmt.dtype} in {expected}",
                      received=f"{buffer.dtype} in {found}")  # fmt: skip

    def start_all(self, ranges: Ranges, scope: Scope) -> None:
        """The variables of several ranges."""
        for var, extent in ranges:
            self.dims((extent,), scope, f"extent of {var}")
            self.start(var, _Name(extent=extent), scope)

    def matrix(self, matrix: Matrix, shape: tuple[Dim, Dim], scope: Scope) -> None:
        """An operand of a contraction: rank, batch index, and its last two sizes."""
        buffer = self.known(matrix.buffer)
        rank = len(buffer.shape)
        if rank < 2 or len(matrix.batch) != rank - 2:
            self.fail(f"%{buffer.name}", expected=f"a matrix: {len(matrix.batch) + 2} axes", received=f"{rank} axes")
        self.inside(buffer, matrix.batch, scope)
        expected = shape[::-1] if matrix.transposed else shape
        if buffer.shape[-2:] != expected:
            sizes, found = (" x ".join(map(str, s)) for s in (expected, buffer.shape[-2:]))
            self.fail(f"matrix %{buffer.name}", expected=sizes, received=found)

    def varies(self, expr: Expr, scope: Scope) -> bool:
        """Whether an expression reads a name that varies."""
        return any(scope[name].varies for name in names_in(expr) if name in scope)

    def start(self, name: str, meaning: _Name, scope: Scope) -> None:
        """A name that starts here and must not hide another."""
        self.legal(name, "name")
        if name in scope or name in self.sizes:
            self.fail(f"name {name}", expected="a name not in use", received="one that is in scope already")
        scope[name] = meaning

    def legal(self, name: str, what: str) -> None:
        """A name that can stand in the text."""
        if not PLAIN_NAME.fullmatch(name) or name in KEYWORDS:
            self.fail(f"{what} {name!r}", expected="an identifier that is no word of IR text")

    def known(self, buffer: Buffer) -> Buffer:
        """A buffer of this kernel."""
        if self.buffers.get(buffer.name) != buffer:
            self.fail(f"buffer %{buffer.name}", expected="a parameter of the kernel", received=f"unknown {buffer}")
        return buffer

    def place(self, buffer: Buffer, index: tuple[Dim, ...], scope: Scope) -> None:
        """An element of a buffer: rank, names and bounds."""
        if len(index) != len(buffer.shape):
            self.fail(f"index of %{buffer.name}", expected=f"{len(buffer.shape)} entries", received=str(len(index)))
        self.inside(buffer, index, scope)

    def inside(self, buffer: Buffer, index: tuple[Dim, ...], scope: Scope) -> None:
        """The first entries of an index: names and bounds."""
        for dim, size in zip(index, buffer.shape):
            self.dims((dim,), scope, f"index of %{buffer.name}")
            if isinstance(dim, int):
                outside = dim < 0 or (isinstance(size, int) and dim >= size)
            else:
                outside = _leaves(dim, size, scope)
            if outside and not self.idle:
                self.fail(f"index of %{buffer.name}", expected=f"0 <= index < {size}", received=str(dim))

    def dims(self, dims: tuple[Dim, ...], scope: Scope, what: str) -> None:
        """Sizes or indices that name only sizes of the kernel and loop variables in scope."""
        for dim in dims:
            if isinstance(dim, int):
                continue
            if not isinstance(dim, DimExpr):
                self.fail(what, expected="a size", received=repr(dim)[:60])
            for name in symbols_of(dim):
                if name in self.sizes:
                    continue
                if name not in scope or not scope[name].is_index:
                    self.fail(what, expected="sizes, loop variables and integer lets in scope", received=name)
                if scope[name].dtype is not None and scope[name].varies:
                    self.fail(what, expected="one value for all iterations of the vector loop", received=name)

    def expr(self, expr: Expr, scope: Scope) -> DType:
        """An expression; its element type."""
        match expr:
            case Load():
                self.place(self.known(expr.buffer), expr.index, scope)
            case Const():
                self.literal(expr)
            case IndexValue():
                self.dims((expr.index,), scope, "index value")
                if expr.dtype is bool_:
                    self.fail("index value", expected="an integer or float type", received="bool")
            case Local():
                found = scope.get(expr.name)
                if found is None or found.dtype is None:
                    self.fail(f"local {expr.name}", expected="a local in scope", received="an unknown name")
                if found.dtype is not expr.dtype:
                    self.fail(f"local {expr.name}", expected=str(found.dtype), received=str(expr.dtype))
            case Call():
                self.call(expr, [self.expr(arg, scope) for arg in expr.args])
            case _:
                assert_never(expr)
        return expr.dtype

    def literal(self, const: Const) -> None:
        """A constant that its type can hold."""
        value, dtype = const.value, const.dtype
        if dtype is bool_:
            fits = isinstance(value, bool | np.bool_)
        elif dtype.is_float:
            fits = isinstance(value, int | float | np.floating) and not isinstance(value, bool)
        else:
            limits = np.iinfo(dtype.numpy)
            whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
            fits = whole and limits.min <= value <= limits.max
        if not fits:
            self.fail("literal", expected=f"a value of {dtype}", received=repr(value)[:60])

    def call(self, call: Call, types: list[DType]) -> None:
        """A scalar function: known, with operands of one type, and the result type that follows."""
        if call.function == "cast":
            if len(types) != 1:
                self.fail("cast", expected="1 operand", received=str(len(types)))
            return
        if call.function not in FUNCTIONS:
            self.fail(f"function {call.function}", expected="a scalar function of kgraph.ir.scalar")
        entry = FUNCTIONS[call.function]
        if len(types) != entry.arity:
            self.fail(call.function, expected=f"{entry.arity} operands", received=str(len(types)))
        alike = types[1:] if entry.result == "second" else types
        if any(t is not alike[0] for t in alike) or (entry.result == "second" and types[0] is not bool_):
            wanted = "a bool condition and two operands of one type" if entry.result == "second" else "one operand type"
            self.fail(call.function, expected=wanted, received=", ".join(map(str, types)))
        result = bool_ if entry.result == "bool" else alike[0]
        if call.dtype is not result:
            self.fail(f"type of {call.function}", expected=str(result), received=str(call.dtype))

    def fail(self, what: str, *, expected: str = "", received: str = "") -> NoReturn:
        """Raise for the statement that is being checked."""
        lines, starts = kernel_lines(self.kernel)
        at = 0 if self.stmt is None else starts.get(id(self.stmt), 0)
        error = VerifyError(f"kernel @{self.kernel.name}, line {at + 1}: {what}", expected=expected, received=received)
        indent = " " * (len(lines[at]) - len(lines[at].lstrip()))
        lines.insert(at + 1, f"{indent}^ {str(error).split(': ', 1)[1]}")
        first, last = max(0, at - SHOWN), at + SHOWN + 2
        error.add_note("\n".join(["..."] * (first > 0) + lines[first:last] + ["..."] * (last < len(lines))))
        raise error


def _leaves(dim: DimExpr, size: Dim, scope: Scope) -> bool:
    """Whether an index leaves 0 .. size-1 in an iteration that runs.

    It is tried where all loop variables are first, where all are last, and where each is at the end that makes the
    terms with it small, or large: iterations that run if every extent is at least 1. So it is never true for an index
    that stays inside, but may be false for one that does not.
    """
    terms = dim.terms
    if len(terms) == 1 and terms[0][1] == 1 and len(terms[0][0]) == 1:
        name = terms[0][0][0]
        if isinstance(name, str) and name in scope and scope[name].extent == size:
            return False  # by far the most usual index
    extents = {n: scope[n].extent for n in sorted(symbols_of(dim)) if n in scope}
    if any(e < 1 if isinstance(e, int) else any(n in scope for n in symbols_of(e)) for e in extents.values()):
        return False
    first: dict[str, Dim] = dict.fromkeys(extents, 0)
    last: dict[str, Dim] = {n: e - 1 for n, e in extents.items()}
    rising = {n for monomial, factor in terms if factor > 0 for n in monomial if isinstance(n, str)}
    large = {n: last[n] if n in rising else 0 for n in extents}
    small = {n: 0 if n in rising else last[n] for n in extents}
    values = [substitute(dim, at) for at in (first, last, large, small)]
    return any(_negative(v) or _negative(size - 1 - v) for v in values)


def _negative(dim: Dim) -> bool:
    """Whether a size is below 0 for all values >= 1 of the names in it; False also where that is not obvious."""
    if isinstance(dim, int):
        return dim < 0
    plain = all(isinstance(atom, str) for monomial, _ in dim.terms for atom in monomial)
    return plain and all(f < 0 for m, f in dim.terms if m) and sum(f for _, f in dim.terms) < 0
