"""Checks and shape rules that many ops share."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from kgraph.errors import ArgumentError, DTypeError, ShapeError
from kgraph.ir.dims import Dim, DimExpr, Shape
from kgraph.ir.dtypes import DType
from kgraph.ir.opdef import Attrs, InferRule, Types
from kgraph.ir.types import TensorType
from kgraph.record import record


@record
class Kinds:
    """The element types that an operand may have, and their name in messages."""

    kinds: tuple[str, ...]
    text: str


FLOATS = Kinds(("float",), "a float")
NUMBERS = Kinds(("float", "signed", "unsigned"), "a number")
INTEGERS = Kinds(("signed", "unsigned"), "an integer")
BOOLS = Kinds(("bool",), "bool")
ANY = Kinds(("float", "signed", "unsigned", "bool"), "any")


def expect(op: str, types: Types, attrs: Attrs, operands: int, names: Sequence[str] = ()) -> None:
    """Check the number of operands and the names of the attributes of a call."""
    if len(types) != operands:
        raise ArgumentError(op, expected=f"{operands} operands", received=str(len(types)))
    if set(attrs) != set(names):
        wanted = ", ".join(names) or "none"
        raise ArgumentError(f"{op}, attributes", expected=wanted, received=", ".join(sorted(attrs)) or "none")


def expect_kind(op: str, type: TensorType, kinds: Kinds, operand: int = 0) -> None:
    """Check the element type of an operand."""
    if type.dtype.kind not in kinds.kinds:
        raise DTypeError(f"{op}, operand {operand}", expected=f"{kinds.text} element type",
                         received=type.dtype.numpy, fix="Use cast first")  # fmt: skip


def expect_same(op: str, types: Types) -> None:
    """Check that all operands have one type: primitives neither promote nor broadcast."""
    for type in types[1:]:
        if type.dtype is not types[0].dtype:
            raise DTypeError(op, expected="operands of one element type", received=f"{types[0]} and {type}")
        if type.shape != types[0].shape:
            raise ShapeError(op, expected="operands of one shape", received=f"{types[0]} and {type}")


def expect_dtype(op: str, value: object, kinds: Kinds) -> DType:
    """The attribute `dtype`, checked."""
    if not isinstance(value, DType) or value.kind not in kinds.kinds:
        raise DTypeError(f"{op}, attribute dtype", expected=f"{kinds.text} element type", received=repr(value))
    return value


def expect_dims(op: str, name: str, value: object, length: int | None = None) -> Shape:
    """An attribute that is a tuple of sizes (integers >= 0 or symbolic), checked."""
    good = isinstance(value, tuple) and all(isinstance(d, DimExpr) or _is_size(d) for d in value)
    if not good or not isinstance(value, tuple):
        raise ShapeError(f"{op}, attribute {name}", expected="a tuple of sizes >= 0", received=repr(value))
    if length is not None and len(value) != length:
        raise ShapeError(f"{op}, attribute {name}", expected=f"{length} entries", received=repr(value))
    return value


def expect_axes(op: str, value: object, rank: int) -> tuple[int, ...]:
    """The attribute `axes`: different axes below `rank`, in rising order, checked."""
    if isinstance(value, tuple) and all(_is_size(a) and a < rank for a in value) and _rising(value):
        return value
    raise ShapeError(f"{op}, attribute axes", expected=f"a rising tuple of axes in 0..{rank - 1}", received=repr(value))


def expect_axis(op: str, value: object, rank: int) -> int:
    """The attribute `axis`, an axis below `rank`, checked."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < rank:
        return value
    raise ShapeError(f"{op}, attribute axis", expected=f"an axis in 0..{rank - 1}", received=repr(value))


def expect_flag(op: str, name: str, value: object) -> bool:
    """An attribute that is True or False, checked."""
    if not isinstance(value, bool):
        raise ArgumentError(f"{op}, attribute {name}", expected="True or False", received=repr(value))
    return value


def expect_fraction(op: str, name: str, value: object) -> float:
    """An attribute that is a float in (0, 0.5), such as the clipping constant of losses, checked."""
    if not isinstance(value, float) or not 0.0 < value < 0.5:
        raise ArgumentError(f"{op}, attribute {name}", expected="a float in (0, 0.5)", received=repr(value))
    return value


def alike(op: str, operands: int, kinds: Kinds, result: DType | None = None) -> InferRule:
    """Shape rule of an elementwise op: operands of one type; the result too, or with element type `result`."""

    def infer(types: Types, attrs: Attrs) -> TensorType:
        expect(op, types, attrs, operands)
        for position, type in enumerate(types):
            expect_kind(op, type, kinds, position)
        expect_same(op, types)
        return types[0] if result is None else types[0].with_dtype(result)

    return infer


def reduced_shape(shape: Shape, axes: Sequence[int], keepdims: bool) -> Shape:
    """The shape that is left when `axes` are reduced."""
    if keepdims:
        return tuple(1 if a in axes else d for a, d in enumerate(shape))
    return tuple(d for a, d in enumerate(shape) if a not in axes)


def without_operands(op: str, names: Sequence[str], rule: Callable[[Attrs], TensorType]) -> InferRule:
    """Shape rule of an op that has attributes only."""

    def infer(types: Types, attrs: Attrs) -> TensorType:
        expect(op, types, attrs, 0, names)
        return rule(attrs)

    return infer


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _rising(values: tuple[Dim, ...]) -> bool:
    return all(isinstance(a, int) and isinstance(b, int) and a < b for a, b in itertools.pairwise(values))
