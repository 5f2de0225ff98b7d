"""The symbolic sizes of a program, read off the shapes of its arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from kgraph.errors import ShapeError
from kgraph.ir.dims import DimExpr, evaluate
from kgraph.ir.types import TensorType, keras_shape


def bind_sizes(
    types: Sequence[TensorType], arrays: Sequence[npt.NDArray[Any]], names: Sequence[str]
) -> tuple[int, ...]:
    """Values of the size `names`, from arrays of the given types; ShapeError if shapes do not fit the types."""
    sizes: dict[str, int] = {}
    for number, (type_, array) in enumerate(zip(types, arrays, strict=True)):
        shape = array.shape
        fits = len(shape) == type_.rank
        for dim, size in zip(type_.shape, shape, strict=False):
            if isinstance(dim, int):
                fits = fits and dim == size
            elif _is_symbol(dim):
                fits = fits and sizes.setdefault(str(dim), size) == size
            else:
                fits = fits and evaluate(dim, sizes) == size
        if not fits:
            raise ShapeError(f"argument {number}", expected=str(keras_shape(type_.shape)), received=str(shape),
                             fix=f"Sizes so far: {sizes}" if sizes else "")  # fmt: skip
    return tuple(sizes[name] for name in names)


def _is_symbol(dim: DimExpr) -> bool:
    return len(dim.terms) == 1 and dim.terms[0][1] == 1 and len(dim.terms[0][0]) == 1 and str(dim).isidentifier()
