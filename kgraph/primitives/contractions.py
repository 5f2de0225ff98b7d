"""The matrix product."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from kgraph.errors import ShapeError
from kgraph.ir.dims import Dim, Shape, symbol
from kgraph.ir.dtypes import f32, f64, i32
from kgraph.ir.loops import Contract, Matrix, Stmt
from kgraph.ir.opdef import Array, Attrs, LoopContext, Loops, Sample, Types, current_emitter, primitive
from kgraph.ir.scalar import Local
from kgraph.ir.types import TensorType
from kgraph.primitives.nests import Index, every_batch
from kgraph.primitives.sampling import bad, numbers, of
from kgraph.primitives.signatures import FLOATS, expect, expect_flag, expect_kind


def _sides(shape: Shape, transposed: bool) -> tuple[Dim, Dim]:
    """Rows and columns of the last two axes, after the transposition."""
    rows, columns = shape[-2:]
    return (columns, rows) if transposed else (rows, columns)


def _infer_matmul(types: Types, attrs: Attrs) -> TensorType:
    expect("matmul", types, attrs, 2, ("transpose_a", "transpose_b"))
    a, b = types
    for position, type in enumerate(types):
        expect_kind("matmul", type, FLOATS, position)
        if type.rank < 2:
            raise ShapeError(f"matmul, operand {position}", expected="rank >= 2", received=str(type))
    if a.dtype is not b.dtype or a.shape[:-2] != b.shape[:-2]:
        raise ShapeError("matmul", expected="operands of one element type and equal leading axes",
                         received=f"{a} and {b}")  # fmt: skip
    m, k = _sides(a.shape, expect_flag("matmul", "transpose_a", attrs["transpose_a"]))
    other, n = _sides(b.shape, expect_flag("matmul", "transpose_b", attrs["transpose_b"]))
    if k != other:
        raise ShapeError("matmul", expected=f"an inner size {k} on both sides", received=f"{a} and {b}")
    return a.with_shape((*a.shape[:-2], m, n))


def _matmul_grad(dy: Any, y: Any, a: Any, b: Any, transpose_a: bool, transpose_b: bool) -> tuple[Any, Any]:
    def product(left: Any, right: Any, turn_left: bool, turn_right: bool) -> Any:
        return current_emitter().emit("matmul", left, right, transpose_a=turn_left, transpose_b=turn_right)

    da = product(b, dy, transpose_b, True) if transpose_a else product(dy, b, False, not transpose_b)
    db = product(dy, a, True, transpose_a) if transpose_b else product(a, dy, not transpose_a, False)
    return da, db


def _matmul_loops(context: LoopContext, transpose_a: bool, transpose_b: bool) -> tuple[Stmt, ...]:
    a, b = context.in_types
    m, k = _sides(a.shape, transpose_a)
    _, n = _sides(b.shape, transpose_b)
    row, col, acc = context.fresh("row"), context.fresh("col"), context.fresh("acc")

    def product(batch: Index) -> tuple[Stmt, ...]:
        body = context.write(0, (*batch, symbol(row), symbol(col)), Local(acc, a.dtype))
        left = Matrix(context.matrix(0), batch, transpose_a)
        right = Matrix(context.matrix(1), batch, transpose_b)
        scratch = context.scratch("transposed matmul" if transpose_a else "matmul", a.dtype, m, n, k)
        return (Contract(row, col, m, n, k, left, right, acc, scratch, body),)

    return every_batch(context, a.shape[:-2], product)


def _samples(rng: np.random.Generator) -> Iterator[Sample]:
    sizes: tuple[tuple[tuple[int, ...], int, int, int], ...] = (
        ((), 3, 4, 5), ((), 1, 1, 1), ((), 0, 3, 2), ((), 3, 0, 2), ((), 3, 2, 0), ((2,), 3, 4, 5), ((2, 3), 2, 1, 4),
        ((0,), 2, 3, 4), ((), 17, 33, 9), ((), 65, 18, 40), ((), 1, 70, 31), ((3,), 8, 16, 1),
    )  # fmt: skip
    for n, (batch, rows, columns, inner) in enumerate(sizes):
        for turn in range(4):
            turn_a, turn_b = bool(turn & 1), bool(turn & 2)
            dtype = (f32, f64)[(n + turn) % 2]
            a = (*batch, inner, rows) if turn_a else (*batch, rows, inner)
            b = (*batch, columns, inner) if turn_b else (*batch, inner, columns)
            args = numbers(rng, a, dtype, -1, 1), numbers(rng, b, dtype, -1, 1)
            yield Sample(args, {"transpose_a": turn_a, "transpose_b": turn_b})


PLAIN = {"transpose_a": False, "transpose_b": False}


@primitive(
    infer=_infer_matmul,
    grad=_matmul_grad,
    lower=Loops(_matmul_loops, in_memory=(0, 1)),
    samples=_samples,
    errors=(
        bad("2 operands", of((2, 3)), **PLAIN),
        bad("inner size 3", of((2, 3)), of((4, 2)), **PLAIN),
        bad("rank >= 2", of((3,)), of((3, 2)), **PLAIN),
        bad("leading axes", of((5, 2, 3)), of((3, 2)), **PLAIN),
        bad("a float", of((2, 3), i32), of((3, 2), i32), **PLAIN),
        bad("True or False", of((2, 3)), of((3, 2)), transpose_a=0, transpose_b=False),
    ),
    source="y[.., i, j] = sum over p of a[.., i, p] * b[.., p, j]",
)
def matmul(a: Array, b: Array, transpose_a: bool, transpose_b: bool) -> Any:
    """Matrix product over the last two axes, equal leading axes; an operand may be given transposed."""
    left = np.swapaxes(a, -1, -2) if transpose_a else a
    right = np.swapaxes(b, -1, -2) if transpose_b else b
    return np.matmul(left, right)


OPS = (matmul,)
