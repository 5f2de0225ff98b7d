"""Ops without operands: constants, sizes and index ramps."""

from __future__ import annotations

from typing import Any

import numpy as np

from kgraph.errors import DTypeError, ShapeError
from kgraph.ir.dims import Dim, DimExpr, Shape
from kgraph.ir.dtypes import DType, dtype_of, f32, f64, i32, i64, u8, u32
from kgraph.ir.opdef import Array, Attrs, LoopContext, NoGrad, Pointwise, primitive
from kgraph.ir.scalar import Const, Expr, IndexValue
from kgraph.ir.types import TensorType
from kgraph.primitives.nests import Index
from kgraph.primitives.sampling import attrs_only, bad, of
from kgraph.primitives.signatures import NUMBERS, expect_axis, expect_dims, expect_dtype, without_operands

NO_OPERANDS = NoGrad("it has no operands")


def _infer_iota(attrs: Attrs) -> TensorType:
    shape = expect_dims("iota", "shape", attrs["shape"])
    expect_axis("iota", attrs["axis"], len(shape))
    return TensorType(expect_dtype("iota", attrs["dtype"], NUMBERS), shape)


def _iota_element(context: LoopContext, index: Index, shape: Shape, axis: int, dtype: DType) -> Expr:
    return IndexValue(index[axis], dtype)


@primitive(
    infer=without_operands("iota", ("shape", "axis", "dtype"), _infer_iota),
    grad=NO_OPERANDS,
    lower=Pointwise(_iota_element),
    samples=attrs_only(
        {"shape": (5,), "axis": 0, "dtype": i32},
        {"shape": (3, 4), "axis": 1, "dtype": f32},
        {"shape": (3, 4), "axis": 0, "dtype": f64},
        {"shape": (0,), "axis": 0, "dtype": i64},
        {"shape": (1,), "axis": 0, "dtype": u32},
        {"shape": (2, 0), "axis": 0, "dtype": i32},
        {"shape": (2, 3, 4), "axis": 1, "dtype": u8},
        {"shape": (37,), "axis": 0, "dtype": f32},
    ),
    errors=(
        bad("0 operands", of((2,)), shape=(2,), axis=0, dtype=i32),
        bad("an axis in", shape=(2,), axis=1, dtype=i32),
        bad("element type", shape=(2,), axis=0, dtype="int32"),
        bad("attributes", shape=(2,)),
    ),
)
def iota(shape: tuple[int, ...], axis: int, dtype: DType) -> Any:
    """Each element is its own index along `axis`: 0, 1, 2, ..."""
    ramp = np.arange(shape[axis]).astype(dtype.to_numpy())
    return np.broadcast_to(ramp.reshape([-1 if a == axis else 1 for a in range(len(shape))]), shape)


def _infer_size(attrs: Attrs) -> TensorType:
    dim = attrs["dim"]
    if isinstance(dim, bool) or not isinstance(dim, (int, DimExpr)):
        raise ShapeError("size, attribute dim", expected="a size", received=repr(dim))
    return TensorType(expect_dtype("size", attrs["dtype"], NUMBERS))


def _size_element(context: LoopContext, index: Index, dim: Dim, dtype: DType) -> Expr:
    return IndexValue(dim, dtype)


@primitive(
    infer=without_operands("size", ("dim", "dtype"), _infer_size),
    grad=NO_OPERANDS,
    lower=Pointwise(_size_element),
    samples=attrs_only(*({"dim": n, "dtype": d} for n in (0, 1, 7, 32) for d in (f32, i32, f64, i64))),
    errors=(
        bad("0 operands", of((2,)), dim=2, dtype=i32),
        bad("a size", dim="batch", dtype=i32),
        bad("element type", dim=3, dtype=None),
    ),
)
def size(dim: int, dtype: DType) -> Any:
    """A size as a value of rank 0; a symbolic one is known at run time."""
    return np.asarray(dim, dtype.to_numpy())


def _infer_constant(attrs: Attrs) -> TensorType:
    value = attrs["value"]
    if not isinstance(value, np.ndarray):
        raise DTypeError("constant, attribute value", expected="a NumPy array", received=repr(value)[:60])
    return TensorType(dtype_of(value.dtype), value.shape)


def _constant_element(context: LoopContext, index: Index, value: Array) -> Expr:
    flat = value.reshape(-1)
    if flat.size and flat.tobytes() != flat[:1].tobytes() * flat.size:
        raise AssertionError("a constant of different elements is data of the program, not an expression")
    return Const(flat[0].item() if flat.size else 0, dtype_of(value.dtype))


@primitive(
    infer=without_operands("constant", ("value",), _infer_constant),
    grad=NO_OPERANDS,
    lower=Pointwise(_constant_element),
    samples=attrs_only(
        {"value": np.array(1.5, np.float32)},
        {"value": np.full((2, 3), 7, np.int32)},
        {"value": np.zeros((0,), np.float32)},
        {"value": np.ones((1,), np.float64)},
        {"value": np.full((2, 0, 3), 1, np.uint8)},
        {"value": np.full((5,), True)},
        {"value": np.full((3, 4), -(2**40), np.int64)},
        {"value": np.full((2,), 2**32 - 1, np.uint32)},
        {"value": np.arange(12, dtype=np.float32).reshape(3, 4)},
        {"value": np.array([np.nan, np.inf, -np.inf, -0.0], np.float32)},
    ),
    errors=(
        bad("0 operands", of((2,)), value=np.zeros(2, np.float32)),
        bad("a NumPy array", value=1.0),
        bad("dtype", value=np.zeros(2, np.complex64)),
    ),
)
def constant(value: Array) -> Any:
    """A fixed array. Equal elements become literals in kernels, others data beside the program."""
    return value


OPS = (iota, size, constant)
