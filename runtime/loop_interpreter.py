"""Loop nests in plain Python, one element after another: the reference for generated code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kgraph.ir.dims import Dim, evaluate
from kgraph.ir.dtypes import DType
from kgraph.ir.loops import Accumulate, Contract, For, Init, Kernel, Let, Matrix, Ranges, Stmt, Store, Window
from kgraph.ir.scalar import FUNCTIONS, Buffer, Const, Expr, IndexValue, Load, Local

Array = npt.NDArray[Any]

_COMBINE = {"add": "add", "mul": "mul", "max": "max", "min": "min", "or": "or", "and": "and"}


def run_kernel(
    kernel: Kernel, buffers: Mapping[str, Array] | Sequence[Array], sizes: Mapping[str, int] | None = None
) -> None:
    """Run a kernel on arrays, given by buffer name or in the kernel's order, each with its buffer's element count.

    Arrays of "out" and "scratch" buffers are written in place and must be contiguous; scratch may be left out of a
    mapping. `sizes` gives the symbolic sizes.
    """
    sizes = dict(sizes or {})
    if not isinstance(buffers, Mapping):
        buffers = {b.name: array for b, array in zip(kernel.buffers, buffers, strict=True)}
    views = {}
    for buffer in kernel.buffers:
        shape = tuple(evaluate(d, sizes) for d in buffer.shape)
        array = buffers[buffer.name] if buffer.name in buffers else np.zeros(shape, buffer.dtype.to_numpy())
        view = array.view()
        view.shape = shape
        views[buffer.name] = view
    with np.errstate(all="ignore"):
        _Run(views).body(kernel.body, sizes, {})


class _Run:
    """One run of a kernel."""

    def __init__(self, arrays: dict[str, Array]) -> None:
        self.arrays = arrays

    def body(self, body: Sequence[Stmt], at: dict[str, int], local: dict[str, Any]) -> None:
        """Run statements; `at` holds what indices name (loop variables, sizes, integer Lets), `local` the locals."""
        for stmt in body:
            if isinstance(stmt, For):
                for n in range(evaluate(stmt.extent, at)):
                    self.body(stmt.body, {**at, stmt.var: n}, local)
            elif isinstance(stmt, Contract):
                self._contract(stmt, at, local)
            else:
                self._simple(stmt, at, local)

    def _simple(self, stmt: Let | Init | Accumulate | Store, at: dict[str, int], local: dict[str, Any]) -> None:
        value = self.value(stmt.value, at, local)
        if isinstance(stmt, Store):
            self.arrays[stmt.buffer.name][self._index(stmt.buffer, stmt.index, at)] = value
        elif isinstance(stmt, Accumulate):
            combined = FUNCTIONS[_COMBINE[stmt.combine]].numpy(local[stmt.name], value)
            local[stmt.name] = np.asarray(combined, stmt.value.dtype.to_numpy())[()]
        else:
            local[stmt.name] = value
            if isinstance(stmt, Let) and stmt.value.dtype.is_integer:
                at[stmt.name] = int(value)

    def _contract(self, stmt: Contract, at: dict[str, int], local: dict[str, Any]) -> None:
        m, n, k = (evaluate(d, at) for d in (stmt.m, stmt.n, stmt.k))
        a, b = self._operand(stmt.a, stmt, at), self._operand(stmt.b, stmt, at)
        if a.shape != (m, k) or b.shape != (k, n):
            raise AssertionError(f"product of {a.shape} and {b.shape} where sizes are {(m, k, n)}")
        # Copies, for the body may write where the operands stand.
        product = np.matmul(a.copy(), b.copy())
        for row in range(m):
            for col in range(n):
                local[stmt.acc] = product[row, col]
                parts = _parts(row, stmt.rows, at)
                self.body(stmt.body, {**at, **parts, stmt.row: row, stmt.col: col}, local)

    def _operand(self, operand: Matrix | Window, stmt: Contract, at: dict[str, int]) -> Array:
        if isinstance(operand, Matrix):
            return self._matrix(operand, at)
        first = operand is stmt.a
        rows, columns = (stmt.rows, stmt.over) if first else (stmt.over, ((stmt.col, stmt.n),))
        m, n = (evaluate(d, at) for d in ((stmt.m, stmt.k) if first else (stmt.k, stmt.n)))
        array = self.arrays[operand.buffer.name]
        out = np.zeros((m, n), array.dtype)
        for i in range(m):
            for j in range(n):
                here = {**at, **_parts(i, rows, at), **_parts(j, columns, at)}
                place = tuple(evaluate(d, here) for d in operand.index)
                if all(0 <= p < size for p, size in zip(place, array.shape, strict=True)):
                    out[i, j] = array[place]
                elif not first:
                    raise AssertionError(f"index {place} outside buffer {operand.buffer.name} of shape {array.shape}")
        return out

    def _matrix(self, matrix: Matrix, at: dict[str, int]) -> Array:
        found: Array = self.arrays[matrix.buffer.name][tuple(evaluate(d, at) for d in matrix.batch)]
        return found.T if matrix.transposed else found

    def value(self, expr: Expr, at: dict[str, int], local: dict[str, Any]) -> Any:
        """The value of an expression, a NumPy scalar of its type."""
        if isinstance(expr, Load):
            return self.arrays[expr.buffer.name][self._index(expr.buffer, expr.index, at)]
        if isinstance(expr, Const):
            return expr.dtype.to_numpy().type(expr.value)
        if isinstance(expr, IndexValue):
            return _convert(np.int64(evaluate(expr.index, at)), expr.dtype)
        if isinstance(expr, Local):
            return local[expr.name]
        args = [self.value(a, at, local) for a in expr.args]
        if expr.function == "cast":
            return _convert(args[0], expr.dtype)
        result = FUNCTIONS[expr.function].numpy(*(np.asarray(a) for a in args))
        return np.asarray(result).astype(expr.dtype.to_numpy())[()]

    @staticmethod
    def _index(buffer: Buffer, index: Sequence[Dim], at: Mapping[str, int]) -> tuple[int, ...]:
        place = tuple(evaluate(d, at) for d in index)
        size = tuple(evaluate(d, at) for d in buffer.shape)
        if len(place) != len(size) or any(not 0 <= p < s for p, s in zip(place, size, strict=True)):
            raise AssertionError(f"index {place} outside buffer {buffer.name} of shape {size}")
        return place


def _parts(number: int, ranges: Ranges, at: Mapping[str, int]) -> dict[str, int]:
    """The digits of a mixed-radix number, the last variable the fastest."""
    parts: dict[str, int] = {}
    for var, extent in reversed(ranges):
        number, parts[var] = divmod(number, evaluate(extent, at))
    return parts


def _convert(value: Any, dtype: DType) -> Any:
    """`value` as another type; floats outside an integer type's range go to its nearest end, NaN to 0."""
    to = dtype.to_numpy()
    if np.asarray(value).dtype.kind == "f" and dtype.is_integer:
        if np.isnan(value):
            return to.type(0)
        low = -(1 << (dtype.bits - 1)) if dtype.kind == "signed" else 0
        high = low + (1 << dtype.bits) - 1
        return to.type(min(max(int(np.clip(value, -(2.0**100), 2.0**100)), low), high))
    return np.asarray(value).astype(to)[()]
