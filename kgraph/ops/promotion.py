"""In which element type operands meet: Keras' rules; Python numbers take the type of the tensors beside them."""

from __future__ import annotations

from typing import Any

from kgraph.config import floatx
from kgraph.errors import DTypeError
from kgraph.ir.dtypes import DType, bool_, dtype_of, f32, i32, promote, u8, u32
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import broadcast_to
from kgraph.ir.operators import cast as convert
from kgraph.ir.types import TensorType, broadcast_shapes

Number = bool | int | float


def emit(op: str, *args: Any, **attrs: Any) -> Any:
    """Add a node to the graph being built."""
    return current_emitter().emit(op, *args, **attrs)


def type_of(x: Any) -> TensorType:
    """Element type and shape of a tensor of the graph being built."""
    return current_emitter().type_of(x)


def float_type() -> DType:
    """The element type that `floatx` names."""
    return dtype_of(floatx())


def number_type(number: Number) -> DType:
    """The element type of a Python number by itself."""
    return bool_ if isinstance(number, bool) else i32 if isinstance(number, int) else float_type()


def tensor(x: Any) -> Any:
    """`x` as a tensor; a Python number gets its own type."""
    return current_emitter().constant(x, number_type(x)) if isinstance(x, Number) else x


def floating(x: Any) -> Any:
    """`x` as a tensor of floats: integers and bools are cast to `floatx`."""
    x = tensor(x)
    return x if type_of(x).dtype.is_float else convert(x, float_type())


def counted(x: Any) -> Any:
    """`x` as a tensor of numbers: bools become int32."""
    x = tensor(x)
    return convert(x, i32) if type_of(x).dtype is bool_ else x


def summable(x: Any) -> Any:
    """`x` as its sums and products want it: as in Keras, those of bools and small integers are made in 32 bits."""
    wide = {bool_: i32, u8: u32}
    kind = type_of(x).dtype
    return convert(x, wide.get(kind, kind))


def common_dtype(*values: Any) -> DType:
    """The element type in which tensors and Python numbers meet."""
    tensors = [type_of(v).dtype for v in values if not isinstance(v, Number)]
    numbers = [number_type(v) for v in values if isinstance(v, Number)]
    meet = tensors[0] if tensors else numbers[0]
    for dtype in tensors:
        meet = promote(meet, dtype)
    for dtype in numbers:
        # A Python number only changes the kind: bool < integer < float.
        if (dtype.is_float and not meet.is_float) or meet is bool_:
            meet = dtype
    return meet


def together(*values: Any, dtype: DType | None = None) -> list[Any]:
    """Tensors of one element type (`dtype`, or where they meet) and one shape."""
    meet = dtype or common_dtype(*values)
    emitter = current_emitter()
    found = [emitter.constant(v, meet) if isinstance(v, Number) else convert(v, meet) for v in values]
    shape = broadcast_shapes(*(type_of(v).shape for v in found))
    return [broadcast_to(v, shape) for v in found]


def floats_together(*values: Any) -> list[Any]:
    """Float tensors of one element type and one shape."""
    meet = common_dtype(*values)
    return together(*values, dtype=meet if meet.is_float else float_type())


def numbers_together(*values: Any) -> list[Any]:
    """Tensors of one element type and one shape, where bools count as int32."""
    meet = common_dtype(*values)
    return together(*values, dtype=i32 if meet is bool_ else meet)


def binary(op: str, x1: Any, x2: Any, on_bools: str = "") -> Any:
    """An op of numbers; two bools go to the op `on_bools`, or count as int32."""
    if on_bools and common_dtype(x1, x2) is bool_:
        return emit(on_bools, *together(x1, x2))
    return emit(op, *numbers_together(x1, x2))


def integers_together(*values: Any) -> list[Any]:
    """Integer tensors of one element type and one shape; DTypeError for floats."""
    meet = common_dtype(*values)
    if meet.is_float:
        raise DTypeError("element type", expected="integers", received=meet.numpy, fix="Use cast first")
    return together(*values, dtype=i32 if meet is bool_ else meet)


def chosen(dtype: Any, otherwise: DType = f32) -> DType:
    """The element type that an argument `dtype` means; None is `otherwise`."""
    return otherwise if dtype is None else dtype_of(dtype)
