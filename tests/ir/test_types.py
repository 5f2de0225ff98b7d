"""Element types, tensor types and broadcasting."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from kgraph.errors import DTypeError, ShapeError
from kgraph.ir.dims import symbol
from kgraph.ir.dtypes import ALL, bool_, dtype_of, f32, f64, i32, i64, promote, u8, u32
from kgraph.ir.types import TensorType, broadcast_shapes, keras_shape

N = symbol("n")


@pytest.mark.parametrize("dtype", ALL)
def test_every_way_to_name_a_dtype_gives_the_same_object(dtype):
    for name in (dtype, dtype.name, dtype.numpy, dtype.to_numpy(), dtype.to_numpy().type):
        assert dtype_of(name) is dtype
    assert dtype_of(dtype.to_numpy().newbyteorder(">")) is dtype


@pytest.mark.parametrize("dtype", ALL)
def test_sizes_are_numpys(dtype):
    assert dtype.itemsize == dtype.to_numpy().itemsize


@pytest.mark.parametrize("name", ["float16", "complex64", "string", np.int16, object, "f33"])
def test_unknown_dtypes_are_refused_with_the_known_ones(name):
    with pytest.raises(DTypeError, match="expected one of float32"):
        dtype_of(name)


def test_promotion_is_commutative_and_keeps_equal_types():
    for a, b in itertools.product(ALL, ALL):
        assert promote(a, b) is promote(b, a)
    assert all(promote(d, d) is d for d in ALL)


@pytest.mark.parametrize(
    "a, b, meet",
    [(i64, f32, f32), (f32, f64, f64), (i32, u32, i64), (bool_, u8, u8), (u8, i32, i32), (u32, i64, i64)],
)
def test_promotion_follows_keras(a, b, meet):
    assert promote(a, b) is meet


def test_types_print_as_in_text_and_compare_by_value():
    assert str(TensorType(f32, (N, 10))) == "f32[n, 10]"
    assert str(TensorType(bool_)) == "bool[]"
    assert TensorType(f32, (N + 1,)) == TensorType(f32, (1 + N,))
    assert TensorType(f32, (2,)) != TensorType(f64, (2,))


def test_bytes_of_symbolic_types_are_polynomials():
    assert TensorType(f64, (N, 3)).nbytes == 24 * N
    assert TensorType(f32).nbytes == 4
    assert TensorType(f32, (N, 3)).concrete({"n": 5}) == (5, 3)


def test_keras_shows_unknown_sizes_as_none():
    assert keras_shape((N, 3, 2 * N)) == (None, 3, None)


@pytest.mark.parametrize(
    "shapes, result",
    [
        (((), (3,)), (3,)),
        (((2, 1), (3,)), (2, 3)),
        (((N, 1), (1, 4)), (N, 4)),
        (((1,), (0,)), (0,)),
        (((N, 3), (N, 3)), (N, 3)),
        ((), ()),
    ],
)
def test_shapes_broadcast_as_in_numpy(shapes, result):
    assert broadcast_shapes(*shapes) == result


@pytest.mark.parametrize("shapes", [((2,), (3,)), ((N,), (2,)), ((N,), (symbol("m"),)), ((2, 3), (3, 2))])
def test_shapes_that_do_not_broadcast_are_named(shapes):
    with pytest.raises(ShapeError, match="do not broadcast: expected equal sizes or 1"):
        broadcast_shapes(*shapes)
