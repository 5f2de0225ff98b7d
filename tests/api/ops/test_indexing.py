"""Elements by their places: `kgraph.ops` against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from ops_cases import Case, assert_like_numpy, assert_native_like_interpreter, assert_slopes, cases

import kgraph
import kgraph.ops as ops
from kgraph.engine import CompiledProgram
from kgraph.errors import ArgumentError, DTypeError, ShapeError
from kgraph.ir.dtypes import f32, i32
from kgraph.ir.opdef import emitting
from kgraph.ir.types import TensorType
from kgraph.trace import Trace

CASES = cases(
    "take(x, [2, 0, -1], axis=1)", "take(x, k)", "take(t, k, axis=-1)", "take(v, 1)", "take_along_axis(x, k, axis=1)",
    ("take_along_axis(x, k, axis=None)", "x.ravel()[k.ravel()]"),
    ("take_along_axis(t, reshape(k, (1, 3, 4)), axis=2)", "np.take_along_axis(t, k.reshape(1, 3, 4), 2)"),
    ("take_along_axis(x, [[-1], [0], [2]], axis=1)", "x[[0, 1, 2], [-1, 0, 2]][:, None]"), ("get_item(x, 1)", "x[1]"),
    ("get_item(t, np.s_[..., ::-2, None])", "t[..., ::-2, None]"),
    ("get_item(x, np.s_[1:3, [0, -1]])", "x[1:3, [0, -1]]"), ("get_item(t, (0, ..., [1, 2]))", "t[0, ..., [1, 2]]"),
    ("get_item(t, np.s_[0, [2, 0]])", "t[0, [2, 0]]"), ("get_item(t, np.s_[[1, 0], :, 2])", "t[[1, 0], :, 2]"),
    ("get_item(t, np.s_[..., [0, 2], 1:])", "t[..., [0, 2], 1:]"),
    ("slice(t, (1, 0, 2), (1, 3, 2))", "t[1:2, 0:3, 2:4]"), ("slice(x, (1, 1), (-1, 2))", "x[1:, 1:3]"),
    ("slice(x, [1, 2], (2, 2))", "x[1:3, 2:4]"),
    ("slice_update(x, (1, 2), ones((2, 1)))", "np.where(np.pad(np.ones((2, 1)), ((1, 0), (2, 1))), 1, x)"),
    ("slice_update(i, [0, 1], [[7, 8]])",
     "np.concatenate([np.stack([i[0, 0], np.int64(7), np.int64(8), i[0, 3]])[None], i[1:]])"),
    ("scatter([[1], [3], [1]], stack([v, v, v]), (5, 4))", "np.stack([0 * v, 2 * v, 0 * v, v, 0 * v])"),
    ("scatter([[0, 1], [2, -1], [9, 0]], [1, 2, 3], (3, 4))", "np.array([[0, 1, 0, 0], [0] * 4, [0, 0, 0, 2]])"),
    ("scatter_update(x, [[0, 1], [2, 3], [0, 1]], [7.0, 8.0, 9.0])",
     "np.where(np.arange(12).reshape(3, 4) == 1, 9, np.where(np.arange(12).reshape(3, 4) == 11, 8, x))"),
    ("scatter_update(x, [[2], [0]], stack([v, v]))", "np.stack([v, x[1], v])"),
    ("scatter_update(x, [[2], [2]], stack([v, v]), 'add')", "np.stack([x[0], x[1], x[2] + 2 * v])"),
    ("scatter_update(x, [[2], [2]], stack([v, negative(v)]), 'max')",
     "np.stack([x[0], x[1], np.maximum(x[2], np.abs(v))])"),
    ("scatter_update(x, [[1]], reshape(v, (1, 4)), 'min')", "np.stack([x[0], np.minimum(x[1], v), x[2]])"),
    ("segment_sum(x, [2, 0, 2])", "np.stack([x[1], 0 * v, x[0] + x[2]])"),
    ("segment_sum(t, [1, 7], num_segments=2)", "np.stack([0 * t[0], t[0]])"),
    Case("segment_max(x, [1, 1, 1], 2)", "np.stack([np.full(4, -np.inf), x.max(0)])", smooth=False),
    ("segment_max(x, [1, 0, 1])", "np.stack([x[1], np.maximum(x[0], x[2])])"),
    ("segment_min(i, [0, 1, 0])", "np.stack([np.minimum(i[0], i[2]), i[1]])"), "argmax(x)", "argmax(x, axis=0)",
    "argmax(t, axis=-1, keepdims=True)", "argmax(b, axis=1)", "argmin(i, axis=1)",
    "argmin(x, axis=None, keepdims=True)", "unravel_index(k, (2, 2))",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.call)
def test_on_arrays_it_is_what_numpy_computes(case):
    assert_like_numpy(case)


def test_native_code_agrees_with_the_interpreter():
    assert_native_like_interpreter(CASES)


def test_gradients_are_slopes():
    assert_slopes(CASES)


def test_a_start_known_at_run_time_is_moved_inside():
    x = np.arange(20.0, dtype="float32").reshape(4, 5)
    trace = Trace("t")
    with emitting(trace):
        value, start = (trace.argument(t, n) for n, t in (("x", TensorType(f32, (4, 5))), ("s", TensorType(i32, (2,)))))
        part = ops.slice(value, start, (2, 3))
        program = trace.program([("part", part), ("put", ops.slice_update(value, start, -part))])
    compiled = CompiledProgram(program)
    for first, inside in (((1, 2), (1, 2)), ((3, 9), (2, 2)), ((-1, 0), (0, 0))):
        row, column = inside
        wanted = x.copy()
        wanted[row : row + 2, column : column + 3] *= -1
        for execution in ("native", "interpreter"):
            cut, put = compiled.run([x, np.array(first, "int32")], execution=execution)
            np.testing.assert_array_equal(cut, x[row : row + 2, column : column + 3])
            np.testing.assert_array_equal(put, wanted)


def test_what_decides_a_shape_must_be_known():
    x = np.array([3, 0, 3, 1])
    np.testing.assert_array_equal(ops.nonzero(x)[0], [0, 2, 3])
    values, first, inverse, counts = ops.unique(x, return_index=True, return_inverse=True, return_counts=True)
    assert [a.tolist() for a in (values, first, inverse, counts)] == [[0, 1, 3], [1, 3, 0], [2, 0, 2, 1], [1, 1, 2]]
    assert ops.unique(x, size=5, fill_value=-1).tolist() == [0, 1, 3, -1, -1]
    for function in (ops.nonzero, ops.unique):
        with pytest.raises(ArgumentError, match=r"x: expected values known now: they decide the result's shape"):
            function(kgraph.Input((3,)))


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda x: ops.take(x, [0.5]), DTypeError, "take: indices: expected integers, received float32"),
        (lambda x: ops.take(x, [0], axis=3), ShapeError, "take: axis: expected an axis in -2..1, received 3"),
        (lambda x: ops.get_item(x, ([0], [1])), ArgumentError, "get_item: key: expected at most one array of places"),
        (lambda x: ops.slice(x, (0,), (1, 1)), ShapeError, "slice: start_indices: expected 2 indices, received 1"),
        (lambda x: ops.scatter([[0]], [1.0, 2.0], (3,)), ShapeError, "scatter: updates: expected (1,), received (2,)"),
        (lambda x: ops.scatter_update(x, [[0]], x[:1], "mul"), ArgumentError, "scatter_update: reduction: expected"),
        (lambda x: ops.bincount(kgraph.Input((), dtype="int32")), ArgumentError, "bincount: minlength: expected"),
    ],
)
def test_a_wrong_call_names_function_and_argument(call, error, words):
    with pytest.raises(error) as caught:
        call(np.ones((2, 3), "float32"))
    assert str(caught.value).startswith(words)
