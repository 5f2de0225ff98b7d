"""Kernels as LLVM functions: loops, locals carried round them, stores and matrix products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from kgraph.compiler.analysis.kernels import expressions, statements
from kgraph.compiler.analysis.loop_facts import Uses, accumulated, changed, flat_index, stride
from kgraph.compiler.analysis.partition import UNDIVIDED, Division, divide
from kgraph.compiler.analysis.windows import Plain, as_plain
from kgraph.compiler.codegen.asking import most_places
from kgraph.compiler.codegen.blocking import LEAST_ROWS, fits_ahead, pack_ahead, packed_at
from kgraph.compiler.codegen.emitter import Function, Module, lanes_of, splat, vector_of
from kgraph.compiler.codegen.expressions import Expressions
from kgraph.compiler.codegen.matmul import Ahead, MatmulSpec, emit_matmul, emit_window_product, scratch_bytes
from kgraph.compiler.codegen.parts import PARTS, SOME, share
from kgraph.compiler.codegen.scalar_functions import register_type
from kgraph.compiler.codegen.scopes import Scope, Value, VectorLoop
from kgraph.compiler.codegen.target import Target
from kgraph.compiler.codegen.tiles import tiling
from kgraph.compiler.codegen.vector_loops import VectorPlan, plan_vector_loop
from kgraph.compiler.codegen.windows import body_of_flat_row, row_digits, window_names
from kgraph.ir.dims import Dim, exact_quotient, symbols_of
from kgraph.ir.dtypes import DType, i64
from kgraph.ir.loops import Accumulate, Combine, Contract, For, Init, Kernel, Let, Matrix, Stmt, Store, Window
from kgraph.ir.scalar import Buffer, Call, Expr, IndexValue, Load, Local

# Vector loops are cut at multiples of this many elements: no two parts write into one cache line, and each element is
# computed by the same instructions in whatever part it is.
_GRAIN = 64

Sums = Mapping[str, tuple[Combine, DType]]


def emit_kernel(module: Module, target: Target, kernel: Kernel, numbers: Mapping[str, int]) -> None:
    """Write `define internal void @name(ptr buffers, ptr sizes, i64 part, i64 part_end, i64 parts)`: pointers to the
    buffers, in the kernel's order; the sizes of the program, of which `numbers` has the positions; and which of how
    many parts of the work to do, those from `part` on up to `part_end`: all of it is 0, 1, 1 (see `divide`).

    A buffer that is only read may be the same memory as one that is written if both are used at the same index:
    every round of a loop loads before it stores.
    """
    params = [("ptr", "buffers"), ("ptr", "sizes"), *PARTS]
    f = Function(module, kernel.name, params, attributes=target.function_attributes())
    bases = {b.name: f.load("ptr", f.gep("ptr", "%buffers", str(n)), 8) for n, b in enumerate(kernel.buffers)}
    sizes = {name: f.load("i64", f.gep("i64", "%sizes", str(numbers[name])), 8) for name in kernel.sizes}
    writer = KernelWriter(f, target, bases, Uses(), divide(kernel))
    outermost = Scope(variables=sizes)
    writer.expressions.hoist(outermost, kernel.body, changed(kernel.body), 1)
    writer.take_rows(outermost)
    writer.body(outermost.inside(), kernel.body)
    f.finish()


class KernelWriter:
    """Writes statements into one LLVM function."""

    def __init__(
        self, f: Function, target: Target, bases: Mapping[str, str], uses: Uses, division: Division = UNDIVIDED
    ) -> None:
        """`bases` are the pointers of the buffers by name; `division` says which statements run in parts."""
        self.f = f
        self.target = target
        self.bases = dict(bases)
        self.uses = uses
        self.division = division
        self.rows: tuple[str, str] | None = None  # first and end of this part's rows, if all statements divide them
        self.expressions = Expressions(f, target, self.bases, uses)
        self.functions = self.expressions.functions
        self.products = 0
        self.ahead: set[Contract] = set()  # products whose second operand is packed before a loop

    def take_rows(self, scope: Scope) -> None:
        """Compute which rows are this part's, if all statements divide the same ones."""
        if self.division.rows is not None:
            # A product of fewer rows might be computed by other instructions.
            self.rows = share(self.f, self.expressions.indices.dim(scope, self.division.rows), LEAST_ROWS)

    def body(self, scope: Scope, body: Sequence[Stmt]) -> None:
        """Write statements in order."""
        self.expressions.load_early(scope, body)
        for stmt in body:
            self._statement(scope, stmt)

    def _statement(self, scope: Scope, stmt: Stmt) -> None:
        if isinstance(stmt, Let):
            self._let(scope, stmt)
        elif isinstance(stmt, Init):
            lanes = scope.vector.lanes if scope.vector else 1
            value = self.expressions.value(scope, stmt.value)
            scope.locals[stmt.name] = Value(self.expressions.spread(scope, value, stmt.value.dtype, lanes), lanes)
            scope.forget(frozenset(("%" + stmt.name,)))
        elif isinstance(stmt, Accumulate):
            self._accumulate(scope, stmt)
        elif isinstance(stmt, Store):
            self.expressions.store(scope, stmt)
            scope.forget(frozenset(("@" + stmt.buffer.name,)))
        elif isinstance(stmt, Contract):
            self._contract(scope, stmt)
        elif stmt.kind == "vector" and scope.vector is None:
            self._vector_loop(scope, stmt)
        else:
            self._serial_loop(scope, stmt)

    def _let(self, scope: Scope, stmt: Let) -> None:
        """Name a value; an integer that all lanes share may also stand in indices from here on."""
        value = scope.locals[stmt.name] = self.expressions.value(scope, stmt.value)
        if stmt.value.dtype.is_integer and value.lanes == 1:
            scope.variables[stmt.name] = self.functions.convert(value.text, stmt.value.dtype, i64, 1)

    def _accumulate(self, scope: Scope, stmt: Accumulate) -> None:
        old = scope.local(stmt.name)
        dtype, vector = stmt.value.dtype, scope.vector
        ty = register_type(dtype, old.lanes)
        mask = vector.mask if vector and stmt.name in vector.partial else None

        def spread(expr: Expr) -> str:
            return self.expressions.spread(scope, self.expressions.value(scope, expr), dtype, old.lanes)

        product = stmt.value if isinstance(stmt.value, Call) and stmt.value.function == "mul" else None
        if product and dtype.is_float and stmt.combine == "add" and not mask:  # however many others read the product
            a, b = map(spread, product.args)
            combined = self.f.multiply_add(ty, a, b, old.text, fused=self.target.has_fma)
        else:
            new = spread(stmt.value)
            if mask:
                neutral = splat(ty, self.functions.identity(stmt.combine, dtype))
                new = self.f.select(vector_of("i1", old.lanes), mask, ty, new, neutral)
            combined = self.functions.combine(stmt.combine, dtype, ty, old.text, new)
        scope.set_local(stmt.name, Value(combined, old.lanes))
        scope.forget(frozenset(("%" + stmt.name,)))

    # --- loops ------------------------------------------------------------------------------------------------
    def _serial_loop(self, scope: Scope, stmt: For) -> None:
        if stmt.extent == 0:
            return
        sums, before = self._enter(scope, stmt, 1)
        self._pack_ahead(before, stmt)
        start, stop = self._bounds(before, stmt, 1 if stmt.kind == "parallel" else _GRAIN)
        self._rounds(before, stmt, (start, stop, 1), sums, None)
        for name in sums:
            scope.set_local(name, before.local(name))

    def _bounds(self, before: Scope, stmt: For, grain: int) -> tuple[str, str]:
        """First and end of a loop's index: of this part of the work, cut at multiples of `grain`, if it is split."""
        if stmt not in self.division.statements:
            return "0", self.expressions.indices.dim(before, stmt.extent)
        return self.rows or share(self.f, self.expressions.indices.dim(before, stmt.extent), grain)

    def _enter(self, scope: Scope, stmt: For, lanes: int) -> tuple[Sums, Scope]:
        """Prepare for a loop: the locals it carries, and a scope for what is computed before it."""
        names = changed(stmt.body)
        scope.forget(names)
        before = scope.inside()
        self.expressions.hoist(before, stmt.body, names, lanes, stmt.extent)
        self.expressions.indices.prepare(before, stmt.extent)
        sums = accumulated(stmt.body)
        for name in sums:
            before.locals[name] = scope.local(name)
        return sums, before

    def _rounds(
        self, before: Scope, stmt: For, bounds: tuple[str, str, int], sums: Sums, vector: VectorLoop | None
    ) -> None:
        """Write the rounds start, start + step, ... below stop; `before` holds the carried locals."""
        start, stop, step = bounds
        if start.isdigit() and stop.isdigit() and int(stop) - int(start) <= step:
            if int(stop) > int(start):
                self._round(before, stmt, start, stop, sums, vector)
            return
        first = [(register_type(d, before.local(n).lanes), before.local(n).text) for n, (_, d) in sums.items()]
        lanes = [before.local(n).lanes for n in sums]
        with self.f.loop(start, stop, str(step), first) as loop:
            for name, text, width in zip(sums, loop.carried, lanes, strict=True):
                before.locals[name] = Value(text, width)
            self._round(before, stmt, loop.index, stop, sums, vector)
            loop.next = [before.local(n).text for n in sums]
        for name, text, width in zip(sums, loop.results, lanes, strict=True):
            before.locals[name] = Value(text, width)

    def _round(
        self, before: Scope, stmt: For, index: str, stop: str, sums: Sums, vector: VectorLoop | None
    ) -> None:
        if vector and vector.mask is not None:
            mask = self._mask(vector.lanes, index, stop)
            full = None
            if vector.full is not None and not index.isdigit():
                full = self.f.binary("icmp sle", "i64", self.f.add(index, str(vector.lanes)), stop)
            vector = VectorLoop(vector.var, vector.lanes, mask, vector.partial, full)
        inner = before.inside({stmt.var: index}, vector)
        inner.locals.update({name: before.local(name) for name in sums})
        self.body(inner, stmt.body)
        before.locals.update({name: inner.local(name) for name in sums})

    def _mask(self, lanes: int, index: str, stop: str) -> str:
        """The lanes whose index is below `stop`."""
        if index.isdigit() and stop.isdigit():
            return "<" + ", ".join(f"i1 {int(int(index) + n < int(stop))}" for n in range(lanes)) + ">"
        element = "i32" if self.target.lanes(32) == lanes else "i64"
        left = self.f.binary("sub", "i64", stop, index)
        if element == "i32":
            left = self.f.cast("trunc", "i64", left, "i32")
        ty = vector_of(element, lanes)
        numbers = "<" + ", ".join(f"{element} {n}" for n in range(lanes)) + ">"
        return self.f.binary("icmp slt", ty, numbers, self.f.splat_value(ty, left))

    def _vector_loop(self, scope: Scope, stmt: For) -> None:
        plan = plan_vector_loop(self.target, stmt)
        if plan.lanes == 1:
            self._serial_loop(scope, stmt)
            return
        sums, before = self._enter(scope, stmt, plan.step)
        scalars = {name: before.local(name) for name in sums}
        start, stop = self._bounds(before, stmt, max(plan.step, _GRAIN))
        middle = start if plan.whole else self._end_of_main(stmt, stop, plan.step)
        for name, (how, dtype) in sums.items():
            neutral = splat(register_type(dtype, plan.step), self.functions.identity(how, dtype))
            before.locals[name] = Value(neutral, plan.step)
        main = VectorLoop(stmt.var, plan.step, None, frozenset(sums))
        if middle != start:
            self._rounds(before, stmt, (start, middle, plan.step), sums, main)
        if plan.masked and middle != stop:
            self._narrow(before, sums, plan.step, plan.lanes)
            rest = VectorLoop(stmt.var, plan.lanes, "", frozenset(sums), "" if plan.whole else None)
            self._rounds(before, stmt, (middle, stop, plan.lanes), sums, rest)
        self._total(before, sums, scalars)
        if not plan.masked and middle != stop:
            self._rounds(before, stmt, (middle, stop, 1), sums, None)
        for name in sums:
            scope.set_local(name, before.local(name))

    def _end_of_main(self, stmt: For, stop: str, step: int) -> str:
        """Where the rounds of `step` iterations end. Parts of a vector loop are cut at multiples of it (loops over rows
        that are divided alike are parallel ones): if the extent is one, too, nothing is left to write code for."""
        if stop.isdigit():
            return str(int(stop) // step * step)
        if exact_quotient(stmt.extent, step) is not None:
            return stop
        return self.f.binary("and", "i64", stop, str(-step))

    def _narrow(self, before: Scope, sums: Sums, lanes: int, to: int) -> None:
        """Combine halves of the partial sums until `to` lanes are left."""
        for name, (how, dtype) in sums.items():
            text, width = before.local(name).text, lanes
            while width > to:
                text = self._halves(text, how, dtype, width)
                width //= 2
            before.locals[name] = Value(text, to)

    def _halves(self, text: str, how: Combine, dtype: DType, lanes: int) -> str:
        ty, half = register_type(dtype, lanes), lanes // 2
        if half == 1:
            parts = [self.f.assign(f"extractelement {ty} {text}, i64 {n}") for n in (0, 1)]
        else:
            picks = [", ".join(f"i32 {start + n}" for n in range(half)) for start in (0, half)]
            parts = [
                self.f.assign(f"shufflevector {ty} {text}, {ty} poison, <{half} x i32> <{pick}>") for pick in picks
            ]
        return self.functions.combine(how, dtype, register_type(dtype, half), *parts)

    def _total(self, before: Scope, sums: Sums, scalars: Mapping[str, Value]) -> None:
        """Join the lanes' partial sums with the value from before the loop."""
        for name, (how, dtype) in sums.items():
            self._narrow(before, {name: (how, dtype)}, before.local(name).lanes, 1)
            ty = register_type(dtype, 1)
            text = self.functions.combine(how, dtype, ty, scalars[name].text, before.local(name).text)
            before.locals[name] = Value(text, 1)

    # --- matrix products --------------------------------------------------------------------------------------
    def _contract(self, scope: Scope, stmt: Contract) -> None:
        """Call a function of its own for the product; its epilogue is the body."""
        names = changed(stmt.body) | {"@" + stmt.scratch.name}
        scope.forget(names)
        name = f"{self.f.name}.product{self.products}"
        self.products += 1
        plain = self._plain(stmt)
        body = body_of_flat_row(stmt)
        buffers, variables, outer = self._captured(scope, replace(stmt, body=body))
        captured = [("i64", scope.variable(v)) for v in variables]
        captured += [("ptr", self.bases[b]) for b in buffers]
        captured += [(register_type(d, 1), scope.local(n).text) for n, d in outer.items()]
        params = [(ty, f"x.{n}") for n, (ty, _) in enumerate(captured)]
        rows = self.rows if stmt in self.division.statements else None
        if rows is not None:
            captured.append(("i64", rows[0]))
            params.append(("i64", "first"))
        elif stmt in self.division.statements:
            captured += [("i64", number) for number in SOME]
            params += PARTS
        texts = iter([f"%{param}" for _, param in params])
        sizes = {v: next(texts) for v in variables}
        bases = {b: next(texts) for b in buffers}
        locals_ = {n: Value(next(texts), 1) for n in outer}

        def epilogue(f: Function, ty: str, sums: list[str], row: str, col: str, mask: str | None) -> None:
            writer = KernelWriter(f, self.target, bases, self.uses)
            lanes = lanes_of(ty)
            vector = VectorLoop(stmt.col, lanes, mask, frozenset()) if lanes > 1 else None
            if rows is not None:
                row = f.add("%first", row)
            digits = row_digits(f, stmt, body, row, sizes)
            inside = Scope(variables=sizes, locals=dict(locals_)).inside({stmt.row: row, **digits})
            inside = inside.inside({stmt.col: col}, vector)
            inside.locals[stmt.acc] = Value(sums[0], lanes)
            writer.body(inside, body)

        spec = _spec(stmt, plain, stmt in self.ahead or stmt.packed is not None)
        if spec is None:
            slots = {v: n for n, v in enumerate(variables) if v in window_names(stmt)}
            emit_window_product(self.f.module, self.target, name, stmt, params, slots, epilogue)
        else:
            assert self._suffices(stmt, spec), "a product without enough scratch memory"
            ahead = self._read_ahead(stmt, bases, sizes, "%first" if rows else "0")
            emit_matmul(self.f.module, self.target, name, spec, params, epilogue, stmt.n, ahead)
        dim, scratch = self.expressions.indices.dim, self.bases[stmt.scratch.name]
        args = [("ptr", text) for text in (*self._operands(scope, stmt, plain), scratch)]
        args += [("i64", dim(scope, d)) for d in (stmt.m, stmt.n, stmt.k, *_distances(stmt, plain))]
        if rows is not None:
            args[0] = ("ptr", self._row_start(stmt, args[0][1], rows[0], args[6][1]))
            args[3] = ("i64", self.f.binary("sub", "i64", rows[1], rows[0]))
        args[1] = ("ptr", self._in_panels(stmt, spec, args[1][1], args[3][1]))
        listed = ", ".join(f"{ty} {text}" for ty, text in args + captured)
        self.f.line(f"call void @{name}({listed})")
        scope.forget(names)

    def _read_ahead(self, stmt: Contract, bases: dict[str, str], sizes: dict[str, str], first: str) -> Ahead | None:
        """What the epilogue reads along the rows of the result, which start at `first`."""
        read = _read_by_rows(stmt)[: most_places(tiling(self.target, stmt.dtype.llvm))]

        def addresses(f: Function, row: str, col: str) -> list[str]:
            indices = KernelWriter(f, self.target, bases, self.uses).expressions.indices
            inside = Scope(variables=sizes).inside({stmt.row: f.add(first, row), stmt.col: col})
            return [indices.address(inside, buffer, flat) for buffer, flat in read]

        return Ahead(len(read), addresses) if read else None

    def _in_panels(self, stmt: Contract, spec: MatmulSpec | None, b: str, rows: str) -> str:
        """Address of the second operand as the product reads it: in panels, where it was packed before."""
        if stmt.packed is not None:
            panels = self.bases[stmt.packed.name]
        elif stmt in self.ahead:
            panels = self._packed_to(stmt)
        else:
            return b
        if spec is None:
            return panels
        return self.f.select("i1", self.f.binary("icmp sge", "i64", rows, str(LEAST_ROWS)), "ptr", panels, b)

    def _packed_to(self, stmt: Contract) -> str:
        """Where the second operand is packed before a loop."""
        t = tiling(self.target, stmt.dtype.llvm)
        return self.f.gep(t.element, self.bases[stmt.scratch.name], str(packed_at(t)))

    def _pack_ahead(self, before: Scope, loop: For) -> None:
        """Pack, before a loop, the second operands of its products that are the same in all rounds."""
        products = [s for s in statements(loop.body) if isinstance(s, Contract)]
        kept = changed(loop.body)
        for stmt in products:
            b, t = stmt.b, tiling(self.target, stmt.dtype.llvm)
            if not (isinstance(stmt.a, Matrix) and isinstance(b, Matrix)) or stmt in self.ahead:
                continue
            if not fits_ahead(t, stmt.n, stmt.k):
                continue
            names = set().union(*map(symbols_of, b.batch))
            shared = sum(other.scratch == stmt.scratch for other in products) > 1
            if shared or "@" + b.buffer.name in kept or any(before.level_of(name) is None for name in names):
                continue
            self.ahead.add(stmt)
            corner = self._corner(before, b)
            rows, ldb = (self.expressions.indices.dim(before, d) for d in (stmt.m, b.buffer.shape[-1]))
            with self.f.when(self.f.binary("icmp sge", "i64", rows, str(LEAST_ROWS))):
                sizes = (str(stmt.n), str(stmt.k), ldb)
                pack_ahead(self.f, self.target, t, b.transposed, corner, self._packed_to(stmt), sizes)

    def _plain(self, stmt: Contract) -> Plain | None:
        """A product over windows as one of plain matrices, if it is one and has the memory for it."""
        plain = as_plain(stmt) if isinstance(stmt.a, Window) else None
        return plain if plain is None or self._suffices(stmt, _spec(stmt, plain, False)) else None

    def _suffices(self, stmt: Contract, spec: MatmulSpec | None) -> bool:
        """Whether the statement's scratch memory is large enough for a product of plain matrices."""
        have = stmt.scratch.shape[0]
        assert isinstance(have, int)
        return spec is None or have >= scratch_bytes(self.target, spec, stmt.m, stmt.n, stmt.k)

    def _operands(self, scope: Scope, stmt: Contract, plain: Plain | None) -> list[str]:
        """Addresses that a product gets for its operands: first elements, or whole buffers of windows."""
        if plain is not None:
            starts = ((stmt.a.buffer, plain.start_a), (stmt.b.buffer, plain.start_b))
            return [self.expressions.indices.address(scope, buffer, flat) for buffer, flat in starts]
        return [
            self._corner(scope, operand) if isinstance(operand, Matrix) else self.bases[operand.buffer.name]
            for operand in (stmt.a, stmt.b)
        ]

    def _row_start(self, stmt: Contract, corner: str, row: str, distance: str) -> str:
        """Address of a row of the first operand, whose stored rows are `distance` elements apart."""
        assert isinstance(stmt.a, Matrix)
        return self.f.gep(stmt.dtype.llvm, corner, row if stmt.a.transposed else self.f.mul(row, distance))

    def _corner(self, scope: Scope, matrix: Matrix) -> str:
        """Address of the first element of a matrix operand."""
        index = (*matrix.batch, 0, 0)
        return self.expressions.indices.address(scope, matrix.buffer, flat_index(matrix.buffer, index))

    def _captured(self, scope: Scope, stmt: Contract) -> tuple[list[str], list[str], dict[str, DType]]:
        """Buffers, variables and locals from outside that the body of a product uses."""
        buffers: dict[str, Buffer] = {}
        indices: set[str] = set()
        outer: dict[str, DType] = {}
        for expr in expressions(stmt.body):
            if isinstance(expr, Load):
                buffers[expr.buffer.name] = expr.buffer
                indices |= symbols_of(flat_index(expr.buffer, expr.index))
            elif isinstance(expr, IndexValue):
                indices |= symbols_of(expr.index)
            elif isinstance(expr, Local) and scope.has_local(expr.name):
                outer[expr.name] = expr.dtype
        for inner in statements(stmt.body):
            if isinstance(inner, Store):
                buffers[inner.buffer.name] = inner.buffer
                indices |= symbols_of(flat_index(inner.buffer, inner.index))
        indices |= window_names(stmt)
        own = {stmt.row, stmt.col, *(var for var, _ in (*stmt.rows, *stmt.over))}
        return sorted(buffers), sorted(indices - own), dict(sorted(outer.items()))


def _read_by_rows(stmt: Contract) -> list[tuple[Buffer, Dim]]:
    """What the epilogue of a product of plain matrices reads along the rows of its result: buffers and flat indices."""
    if not isinstance(stmt.a, Matrix):
        return []
    loads = {(e.buffer, flat_index(e.buffer, e.index)) for e in expressions(stmt.body) if isinstance(e, Load)}
    return [
        (buffer, flat)
        for buffer, flat in sorted(loads, key=lambda load: (load[0].name, str(load[1])))
        if isinstance(down := stride(flat, stmt.row), int) and down and stride(flat, stmt.col) == 1
    ]


def _spec(stmt: Contract, plain: Plain | None, packed: bool) -> MatmulSpec | None:
    """The kind of a product of plain matrices; None for one over windows."""
    if isinstance(stmt.a, Matrix) and isinstance(stmt.b, Matrix):
        return MatmulSpec(stmt.dtype.llvm, stmt.a.transposed, stmt.b.transposed, packed)
    return None if plain is None else MatmulSpec(stmt.dtype.llvm, plain.transpose_a, plain.transpose_b, packed)


def _distances(stmt: Contract, plain: Plain | None) -> tuple[Dim, Dim]:
    """Elements between the stored rows of both operands; nothing for windows."""
    if plain is not None:
        return plain.lda, plain.ldb
    if isinstance(stmt.a, Matrix) and isinstance(stmt.b, Matrix):
        return stmt.a.buffer.shape[-1], stmt.b.buffer.shape[-1]
    return 0, 0


__all__ = ["KernelWriter", "VectorPlan", "emit_kernel"]
