"""Expressions as LLVM instructions: one scalar where all lanes agree, a vector otherwise; each computed once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kgraph.compiler.analysis.loop_facts import Uses, accesses, flat_index, stride
from kgraph.compiler.codegen.emitter import Function, splat
from kgraph.compiler.codegen.indices import Indices
from kgraph.compiler.codegen.memory import Memory
from kgraph.compiler.codegen.scalar_functions import ScalarFunctions, literal, register_type
from kgraph.compiler.codegen.scopes import Scope, Value
from kgraph.compiler.codegen.target import Target
from kgraph.ir.dims import Dim, symbols_of
from kgraph.ir.dtypes import DType, bool_
from kgraph.ir.loops import Accumulate, Contract, For, Init, Let, Stmt, Store
from kgraph.ir.scalar import Call, Const, Expr, IndexValue, Load, Local

# Functions whose value is never NaN if their operands are not.
_STEADY = frozenset({"neg", "abs", "min", "max", "floor", "ceil", "round", "sign", "tanh", "sigmoid", "erf"})


class Expressions:
    """Writes expressions into one LLVM function."""

    def __init__(self, f: Function, target: Target, bases: dict[str, str], uses: Uses) -> None:
        """`bases` are the pointers of the buffers by name."""
        self.f = f
        self.uses = uses
        self.functions = ScalarFunctions(f, target)
        self.indices = Indices(f, bases)
        self.memory = Memory(f, target, self.indices)

    # --- values -----------------------------------------------------------------------------------------------
    def value(self, scope: Scope, expr: Expr) -> Value:
        """The value of an expression."""
        if isinstance(expr, Const):
            return Value(literal(expr.value, expr.dtype), 1, literal=True, steady=expr.value == expr.value)
        if isinstance(expr, Local):
            return scope.local(expr.name)
        found = scope.find_value(id(expr))
        if found is None:
            found = self._compute(scope, expr)
            scope.values[id(expr)] = (self.uses.of(expr), found)
        return found

    def _compute(self, scope: Scope, expr: Load | IndexValue | Call) -> Value:
        if isinstance(expr, Load):
            return self.load(scope, expr)
        if isinstance(expr, IndexValue):
            return self._index_value(scope, expr)
        args = [self.value(scope, a) for a in expr.args]
        lanes = max(a.lanes for a in args)
        texts = [self.spread(scope, v, a.dtype, lanes) for v, a in zip(args, expr.args, strict=True)]
        if expr.function == "cast":
            text = self.functions.convert(texts[0], expr.args[0].dtype, expr.dtype, lanes)
            return Value(text, lanes, steady=not expr.args[0].dtype.is_float)
        operand = expr.args[-1].dtype
        steady = [a.steady for a in args]
        text = self.functions.apply(expr.function, operand, register_type(operand, lanes), texts, steady)
        return Value(text, lanes, steady=expr.function in _STEADY and all(steady))

    def spread(self, scope: Scope, value: Value, dtype: DType, lanes: int) -> str:
        """A value as a register of `lanes` lanes."""
        if value.lanes == lanes:
            return value.text
        if value.lanes != 1:
            raise AssertionError(f"a value of {value.lanes} lanes used where {lanes} run")
        ty = register_type(dtype, lanes)
        if value.literal:
            return splat(ty, value.text)
        key = (value.text, ty)
        found = scope.find_splat(key)
        if found is None:
            found = scope.splats[key] = self.f.splat_value(ty, value.text)
        return found

    def load(self, scope: Scope, load: Load) -> Value:
        """The element of a buffer; loaded once while it does not change."""
        key = (load.buffer.name, flat_index(load.buffer, load.index))
        found = scope.find_load(key)
        if found is None:
            found = scope.loads[key] = self.memory.load(scope, load.buffer, key[1])
        return found

    def store(self, scope: Scope, store: Store) -> None:
        """Write one element, or one for each lane."""
        flat = flat_index(store.buffer, store.index)
        value = self.value(scope, store.value)
        lanes = scope.vector.lanes if scope.vector and stride(flat, scope.vector.var) != 0 else 1
        self.memory.store(scope, store.buffer, flat, self.spread(scope, value, store.buffer.dtype, lanes), lanes)

    def _index_value(self, scope: Scope, expr: IndexValue) -> Value:
        vector = scope.vector
        step = stride(expr.index, vector.var) if vector else 0
        if vector is None or step == 0:
            return Value(self._from_index(self.indices.dim(scope, expr.index), expr.dtype, 1), 1, steady=True)
        lanes = vector.lanes
        if step is None:
            text = self.memory.lane_indices(scope, expr.index)
            return Value(self._from_index(text, expr.dtype, lanes), lanes, steady=True)
        # Integers of the result's own width wrap as they must; floats need the whole index.
        element = "i64" if expr.dtype.is_float or expr.dtype is bool_ else expr.dtype.llvm
        ty = f"<{lanes} x {element}>"
        start = self.f.splat_value(ty, self._narrow(self.indices.dim(scope, expr.index), element))
        if isinstance(step, int):
            across = "<" + ", ".join(f"{element} {_wrapped(step * n, element)}" for n in range(lanes)) + ">"
        else:
            numbers = "<" + ", ".join(f"{element} {n}" for n in range(lanes)) + ">"
            steps = self.f.splat_value(ty, self._narrow(self.indices.dim(scope, step), element))
            across = self.f.binary("mul", ty, steps, numbers)
        text = self.f.binary("add", ty, start, across)
        if element == "i64":
            text = self._from_index(text, expr.dtype, lanes)
        return Value(text, lanes, steady=True)

    def _narrow(self, index: str, element: str) -> str:
        return index if element == "i64" else self.f.cast("trunc", "i64", index, element)

    def _from_index(self, index: str, dtype: DType, lanes: int) -> str:
        ty = f"<{lanes} x i64>" if lanes > 1 else "i64"
        if dtype is bool_:
            return self.f.binary("icmp ne", ty, index, "zeroinitializer" if lanes > 1 else "0")
        if dtype.is_float:
            return self.f.cast("sitofp", ty, index, register_type(dtype, lanes))
        return index if dtype.bits == 64 else self.f.cast("trunc", ty, index, register_type(dtype, lanes))

    # --- what a loop can have computed before it --------------------------------------------------------------
    def hoist(
        self, scope: Scope, body: Sequence[Stmt], changed: frozenset[str], lanes: int, rounds: Dim = 1
    ) -> None:
        """Compute in `scope`, before a loop of so many `rounds`, all that its body needs and never changes.

        `lanes` is the vector width of the loop if it is a vector loop, else 1. Nothing is loaded before a loop whose
        number of rounds is data: none of them may mean that there is nothing to load.
        """
        self._hoist_body(scope, body, changed | self._unsafe(scope, body, rounds), lanes, set())

    def _unsafe(self, scope: Scope, body: Sequence[Stmt], rounds: Dim) -> frozenset[str]:
        """The buffers that a loop of so many rounds reads, if that number is known only where data are."""
        if all(scope.level_of(name) is not None and not scope.has_local(name) for name in symbols_of(rounds)):
            return frozenset()
        return frozenset("@" + buffer.name for buffer, _ in accesses(body))

    def _hoist_body(
        self, scope: Scope, body: Sequence[Stmt], changed: frozenset[str], lanes: int, seen: set[int]
    ) -> None:
        for stmt in body:
            if isinstance(stmt, For):
                self.indices.prepare(scope, stmt.extent)
                unsafe = self._unsafe(scope, stmt.body, stmt.extent)
                self._hoist_body(scope, stmt.body, changed | unsafe, lanes, seen)
            elif isinstance(stmt, Contract):
                # Its body is written in a function of its own.
                for size in (stmt.m, stmt.n, stmt.k):
                    self.indices.prepare(scope, size)
            else:
                steady = self._hoist(scope, stmt.value, changed, lanes, seen)
                if steady and isinstance(stmt, Let):
                    scope.locals[stmt.name] = self.value(scope, stmt.value)
                    changed = changed - {"%" + stmt.name}
                if steady and lanes > 1 and isinstance(stmt, Store | Init | Accumulate):
                    self.spread(scope, self.value(scope, stmt.value), stmt.value.dtype, lanes)
                if isinstance(stmt, Store):
                    flat = flat_index(stmt.buffer, stmt.index)
                    self.indices.prepare_address(scope, stmt.buffer, flat)

    def _hoist(self, scope: Scope, expr: Expr, changed: frozenset[str], lanes: int, seen: set[int]) -> bool:
        """Compute what is steady of an expression; whether all of it is."""
        if self._is_steady(scope, expr, changed):
            self.value(scope, expr)
            return True
        if id(expr) not in seen:
            seen.add(id(expr))
            for child in _operands(expr):
                if self._hoist(scope, child, changed, lanes, seen) and lanes > 1:
                    self.spread(scope, self.value(scope, child), child.dtype, lanes)
            if isinstance(expr, Load):
                self.indices.prepare_address(scope, expr.buffer, flat_index(expr.buffer, expr.index))
            elif isinstance(expr, IndexValue):
                self.indices.prepare(scope, expr.index)
        return False

    def _is_steady(self, scope: Scope, expr: Expr, changed: frozenset[str]) -> bool:
        for name in self.uses.of(expr):
            if name in changed:
                return False
            if name[0] == "%":
                if not scope.has_local(name[1:]):
                    return False
            elif name[0] != "@" and scope.level_of(name) is None:
                return False
        return True

    def load_early(self, scope: Scope, body: Iterable[Stmt]) -> None:
        """Load, before the first store of a body, what its later statements read.

        A buffer that is only read may be the memory of one that is written, at the same index.
        """
        stored, defined = False, set[str]()
        for stmt in body:
            if isinstance(stmt, Let | Init):
                defined.add("%" + stmt.name)
            if isinstance(stmt, Let | Init | Accumulate | Store) and stored:
                self._load_all(scope, stmt.value)
            stored = stored or isinstance(stmt, Store)

    def _load_all(self, scope: Scope, expr: Expr) -> None:
        if isinstance(expr, Load):
            names = set().union(*(symbols_of(d) for d in expr.index)) if expr.index else set[str]()
            if expr.buffer.role == "in" and all(scope.level_of(n) is not None for n in names):
                self.value(scope, expr)
        for child in _operands(expr):
            self._load_all(scope, child)


def _operands(expr: Expr) -> tuple[Expr, ...]:
    return expr.args if isinstance(expr, Call) else ()


def _wrapped(value: int, element: str) -> int:
    bits = int(element[1:])
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value

