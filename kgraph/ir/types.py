"""Tensor types, and how shapes broadcast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kgraph.errors import ShapeError
from kgraph.ir.dims import Dim, Shape, evaluate, product
from kgraph.ir.dtypes import DType
from kgraph.record import record


@record
class TensorType:
    """Element type and shape; sizes may be symbolic.

    >>> from kgraph.ir.dims import symbol
    >>> from kgraph.ir.dtypes import f32
    >>> TensorType(f32, (symbol("batch"), 10))
    f32[batch, 10]
    """

    dtype: DType
    shape: Shape = ()

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"

    def __repr__(self) -> str:
        return str(self)

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> Dim:
        """Number of elements."""
        return product(self.shape)

    @property
    def nbytes(self) -> Dim:
        """Bytes of a contiguous array of this type."""
        return self.size * self.dtype.itemsize

    def with_shape(self, shape: Sequence[Dim]) -> TensorType:
        """The same element type with another shape."""
        return TensorType(self.dtype, tuple(shape))

    def with_dtype(self, dtype: DType) -> TensorType:
        """The same shape with another element type."""
        return TensorType(dtype, self.shape)

    def concrete(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape where each size name has the value in `sizes`."""
        return tuple(evaluate(d, sizes) for d in self.shape)


def keras_shape(shape: Shape) -> tuple[int | None, ...]:
    """A shape as Keras shows it: None where the size is not known before run time."""
    return tuple(d if isinstance(d, int) else None for d in shape)


def broadcast_shapes(*shapes: Shape) -> Shape:
    """The shape that all `shapes` broadcast to, by NumPy's rules; ShapeError if they do not.

    A symbolic size broadcasts only with itself and with 1: it is never assumed to be 1.
    """
    rank = max((len(s) for s in shapes), default=0)
    out: list[Dim] = []
    for axis in range(rank):
        dim: Dim = 1
        for shape in shapes:
            at = axis - (rank - len(shape))
            size: Dim = 1 if at < 0 else shape[at]
            if dim == 1:
                dim = size
            elif size != 1 and size != dim:
                shown = " and ".join(str(keras_shape(s)) for s in shapes)
                raise ShapeError(f"shapes {shown} do not broadcast", expected="equal sizes or 1 on each axis")
        out.append(dim)
    return tuple(out)
