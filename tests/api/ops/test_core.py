"""Conversion and inspection of tensors."""

from __future__ import annotations

import numpy as np
import pytest
from ops_cases import assert_like_numpy, assert_native_like_interpreter, assert_slopes, cases

import kgraph
import kgraph.ops as ops
from kgraph.errors import ArgumentError, DTypeError

CASES = cases(
    ("cast(x, 'int32')", "x.astype(int)"), ("cast(k, 'bool')", "k != 0"), ("cast(i, 'float32')", "i + 0.0"),
    ("saturate_cast([-5, 300, 7], 'uint8')", "np.array([0, 255, 7])"),
    ("saturate_cast([-5.5, 300.0], 'uint8')", "np.array([0, 255])"), ("convert_to_tensor(x)", "x"),
    ("convert_to_tensor([1, 2], dtype='float32')", "np.array([1.0, 2.0])"), ("array([1, 2])", "np.array([1, 2])"),
    ("copy(x)", "x"), ("size(t)", "np.array(24)"), ("stop_gradient(i)", "i"),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.call)
def test_on_arrays_it_is_what_numpy_computes(case):
    assert_like_numpy(case)


def test_native_code_agrees_with_the_interpreter():
    assert_native_like_interpreter(CASES)


def test_gradients_are_slopes():
    assert_slopes(CASES)


def test_shapes_and_element_types_are_python_values():
    x = kgraph.Input((3,))
    assert (ops.shape(x), ops.ndim(x), ops.dtype(x)) == ((None, 3), 2, "float32")
    assert (ops.shape([[1, 2]]), ops.ndim(1.0), ops.dtype([1])) == ((1, 2), 0, "int32")
    weight = kgraph.Variable(np.ones((2, 3)), "w")
    assert (ops.shape(weight), ops.dtype(weight)) == ((2, 3), "float64")


def test_tensors_are_told_from_other_things():
    found = [ops.is_tensor(x) for x in (np.ones(2), kgraph.Input((2,)), [1.0], 1.0, "a")]
    assert found == [True, True, False, False, False]


def test_values_leave_as_numpy_arrays():
    assert isinstance(ops.convert_to_numpy([1, 2]), np.ndarray)
    np.testing.assert_array_equal(ops.convert_to_numpy(kgraph.Variable(np.ones(2), "v")), np.ones(2))
    with pytest.raises(DTypeError, match=r"^convert_to_numpy: x: expected a tensor that has values"):
        ops.convert_to_numpy(kgraph.Input((2,)))


def test_sparse_tensors_are_refused():
    with pytest.raises(ArgumentError, match=r"^convert_to_tensor: sparse and ragged: expected None or False"):
        ops.convert_to_tensor([1.0], sparse=True)
