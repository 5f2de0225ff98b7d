"""Long float32 sums: made of partial sums, so that they do not drift; columns run on several vectors at once."""

from __future__ import annotations

import numpy as np
import pytest

from kgraph.compiler.codegen.target import host
from kgraph.compiler.codegen.vector_loops import plan_vector_loop
from kgraph.compiler.lower import lower
from kgraph.compiler.native import compile_native
from kgraph.ir.dims import symbol
from kgraph.ir.dtypes import f32
from kgraph.ir.graph import Graph, GraphBuilder
from kgraph.ir.loops import For, Init
from kgraph.ir.types import TensorType
from kgraph.primitives import REGISTRY
from kgraph.runtime.executable import Executable


def sum_of(shape, axes) -> Graph:
    """A graph that sums its input."""
    builder = GraphBuilder("sum", REGISTRY)
    return builder.build([builder.emit("sum", builder.input(TensorType(f32, shape)), axes=axes, keepdims=False)])


@pytest.mark.parametrize(
    "shape, sizes, axes",
    [
        ((symbol("batch"), 4), (400_003, 4), (0,)),
        ((symbol("batch"), 20, 21, 3), (900, 20, 21, 3), (0, 1, 2)),
        ((400_003, 4), (400_003, 4), (0,)),
        ((9, 2, 300, 67, 3), (9, 2, 300, 67, 3), (0, 2, 3)),
        ((symbol("batch"), 1200), (3000, 1200), (0, 1)),
    ],
)
def test_sums_of_many_rows_do_not_drift(shape, sizes, axes, rng):
    x = rng.random(sizes, dtype="float32")
    (got,) = Executable(compile_native(sum_of(shape, axes), 0, check=True).artifact, []).run([x])
    np.testing.assert_allclose(got, x.sum(axes, dtype="float64"), rtol=2e-6)


@pytest.mark.parametrize("rows", [0, 1, 255, 256, 257, 1100])
def test_every_row_is_counted_once(rows):
    x = np.arange(3.0 * rows, dtype="float32").reshape(rows, 3)
    (got,) = Executable(compile_native(sum_of((symbol("batch"), 3), (0,)), 0, check=True).artifact, []).run([x])
    np.testing.assert_array_equal(got, x.sum(0))


def column_loop(shape) -> For:
    (call,) = lower(sum_of(shape, (0,)), lambda kind, dtype, sizes: 0)
    (loop,) = call.kernel.body
    assert isinstance(loop, For)
    return loop


@pytest.mark.parametrize("rows", [symbol("batch"), 200, 2000])
def test_columns_run_on_several_vectors_whether_in_blocks_or_not(rows):
    lanes = plan_vector_loop(host(), column_loop((rows, 64))).lanes
    for columns, vectors in ((4 * lanes, 4), (9 * lanes, 4), (8 * lanes, 8), (64 * lanes, 8), (2 * lanes, 2)):
        assert plan_vector_loop(host(), column_loop((rows, columns))).vectors == vectors


def test_short_sums_have_no_blocks():
    assert sum(isinstance(s, Init) for s in column_loop((200, 64)).body) == 1
    assert not any(isinstance(s, For) and isinstance(s.body[0], Init) for s in column_loop((200, 64)).body)
    assert any(isinstance(s, For) and isinstance(s.body[0], Init) for s in column_loop((2000, 64)).body)
