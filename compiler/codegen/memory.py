"""Loads and stores of a lane or of a vector of lanes: neighbouring elements at once, others one by one."""

from __future__ import annotations

from kgraph.compiler.analysis.loop_facts import stride
from kgraph.compiler.codegen.emitter import Function, vector_of
from kgraph.compiler.codegen.indices import Indices
from kgraph.compiler.codegen.scopes import Scope, Value, VectorLoop
from kgraph.compiler.codegen.target import Target
from kgraph.ir.dims import Dim, DimExpr, substitute
from kgraph.ir.dtypes import DType, bool_
from kgraph.ir.scalar import Buffer


def maskable(target: Target, dtype: DType) -> bool:
    """Whether lanes of a type can be loaded and stored under a mask by one instruction."""
    return target.masked and dtype.bits >= 32


class Memory:
    """Writes memory accesses into one LLVM function."""

    def __init__(self, f: Function, target: Target, indices: Indices) -> None:
        self.f = f
        self.target = target
        self.indices = indices

    def load(self, scope: Scope, buffer: Buffer, flat: Dim) -> Value:
        """The element at `flat`; one for each lane if it depends on the vector loop's variable."""
        f, vector, dtype = self.f, scope.vector, buffer.dtype
        step = stride(flat, vector.var) if vector else 0
        if vector is None or step == 0:
            raw = f.load(dtype.llvm, self.indices.address(scope, buffer, flat), dtype.itemsize)
            return Value(self._from_memory(raw, dtype, 1), 1)
        ty = vector_of(dtype.llvm, vector.lanes)
        if step != 1 or (vector.mask and not maskable(self.target, dtype)):
            raw = self._gather(scope, vector, buffer, flat)
        elif vector.mask:
            raw = f.masked_load(ty, self.indices.address(scope, buffer, flat), dtype.itemsize, vector.mask)
        else:
            raw = f.load(ty, self.indices.address(scope, buffer, flat), dtype.itemsize)
        return Value(self._from_memory(raw, dtype, vector.lanes), vector.lanes)

    def store(self, scope: Scope, buffer: Buffer, flat: Dim, value: str, lanes: int) -> None:
        """Write the register `value` of `lanes` lanes, of which one means that no lane has an index of its own."""
        f, vector, dtype = self.f, scope.vector, buffer.dtype
        if dtype is bool_:
            value = f.cast("zext", vector_of("i1", lanes), value, vector_of("i8", lanes))
        if vector is None or lanes == 1:
            f.store(dtype.llvm, value, self.indices.address(scope, buffer, flat), dtype.itemsize)
            return
        ty = vector_of(dtype.llvm, lanes)
        if stride(flat, vector.var) != 1 or (vector.mask and not maskable(self.target, dtype)):
            self._scatter(scope, vector, buffer, flat, value)
            return
        pointer = self.indices.address(scope, buffer, flat)
        if vector.mask is None:
            f.store(ty, value, pointer, dtype.itemsize)
        elif vector.full is None:
            f.masked_store(ty, value, pointer, dtype.itemsize, vector.mask)
        else:
            # Masked stores are slow on some machines, masked loads are not.
            with f.when(vector.full):
                f.store(ty, value, pointer, dtype.itemsize)
            with f.when(f.binary("xor", "i1", vector.full, "true")):
                f.masked_store(ty, value, pointer, dtype.itemsize, vector.mask)

    def lane_indices(self, scope: Scope, index: Dim) -> str:
        """A vector of i64: the polynomial for every lane of the vector loop."""
        vector = _needed(scope)
        ty = f"<{vector.lanes} x i64>"
        out = "poison"
        for lane in range(vector.lanes):
            one = self.indices.dim(scope, self._of_lane(scope, vector, index, lane))
            out = self.f.assign(f"insertelement {ty} {out}, i64 {one}, i64 {lane}")
        return out

    def _from_memory(self, raw: str, dtype: DType, lanes: int) -> str:
        if dtype is not bool_:
            return raw
        return self.f.binary("icmp ne", vector_of("i8", lanes), raw, "0" if lanes == 1 else "zeroinitializer")

    def _of_lane(self, scope: Scope, vector: VectorLoop, flat: Dim, lane: int) -> Dim:
        """`flat` for one lane, in terms of a variable that holds the lane's own index."""
        if lane == 0:
            return flat
        name = f"{vector.var}@{lane}"
        if scope.level_of(name) is None:
            scope.variables[name] = self.f.add(scope.variable(vector.var), str(lane))
        return substitute(flat, {vector.var: DimExpr((((name,), 1),))})

    def _addresses(self, scope: Scope, vector: VectorLoop, buffer: Buffer, flat: Dim) -> list[str]:
        step = stride(flat, vector.var)
        first = self.indices.address(scope, buffer, flat)
        if step is not None:
            steps = [self.indices.dim(scope, step * n) for n in range(vector.lanes)]
            return [self.indices.step(buffer, first, s) for s in steps]
        lanes = range(1, vector.lanes)
        return [first] + [
            self.indices.address(scope, buffer, self._of_lane(scope, vector, flat, n)) for n in lanes
        ]

    def _gather(self, scope: Scope, vector: VectorLoop, buffer: Buffer, flat: Dim) -> str:
        element, ty = buffer.dtype.llvm, vector_of(buffer.dtype.llvm, vector.lanes)
        addresses = self._addresses(scope, vector, buffer, flat)
        out = "poison"
        for lane, pointer in enumerate(addresses):
            if vector.mask and lane:
                # Lanes that do not run read what lane 0 reads: it always runs.
                pointer = self.f.select("i1", self._lane_runs(vector, lane), "ptr", pointer, addresses[0])
            one = self.f.load(element, pointer, buffer.dtype.itemsize)
            out = self.f.assign(f"insertelement {ty} {out}, {element} {one}, i64 {lane}")
        return out

    def _scatter(self, scope: Scope, vector: VectorLoop, buffer: Buffer, flat: Dim, value: str) -> None:
        element, ty = buffer.dtype.llvm, vector_of(buffer.dtype.llvm, vector.lanes)
        for lane, pointer in enumerate(self._addresses(scope, vector, buffer, flat)):
            one = self.f.assign(f"extractelement {ty} {value}, i64 {lane}")
            if vector.mask and lane:
                with self.f.when(self._lane_runs(vector, lane)):
                    self.f.store(element, one, pointer, buffer.dtype.itemsize)
            else:
                self.f.store(element, one, pointer, buffer.dtype.itemsize)

    def _lane_runs(self, vector: VectorLoop, lane: int) -> str:
        return self.f.assign(f"extractelement {vector_of('i1', vector.lanes)} {vector.mask}, i64 {lane}")


def _needed(scope: Scope) -> VectorLoop:
    if scope.vector is None:
        raise AssertionError("lanes outside a vector loop")
    return scope.vector

