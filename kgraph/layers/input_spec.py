"""What a layer demands of its inputs: element type, rank and sizes, checked at every call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kgraph.eager import as_array, as_arrays
from kgraph.errors import ArgumentError, DTypeError, ShapeError
from kgraph.ir.dtypes import dtype_of
from kgraph.ir.operators import Operators
from kgraph.ir.types import TensorType, keras_shape
from kgraph.keras_tensor import shape_text
from kgraph.nesting import flatten

Sizes = tuple[int | None, ...]


class InputSpec:
    """What one input of a layer must be; set as the layer's attribute `input_spec`, for several inputs in a nesting.

    A size that is None, or not known before run time, fits every size.

    Args:
        dtype: element type. Floats are cast to the layer's type before, as the layer's `autocast` says.
        shape: sizes, the batch's included.
        ndim: rank; that of `shape` if there is one.
        max_ndim, min_ndim: bounds of the rank.
        axes: sizes of some axes, such as ``{-1: 4}``.
        allow_last_axis_squeeze: whether a last axis of size 1 may be missing in the input, or be there without being
            in `shape`.
        name: key of the input where a layer is called with a dict.
        optional: whether the input may be None.

    >>> InputSpec(shape=(None, 28, 28), dtype="float32")
    InputSpec(dtype=float32, shape=(None, 28, 28), ndim=3)
    """

    def __init__(
        self,
        dtype: Any = None,
        shape: Sequence[int | None] | None = None,
        ndim: int | None = None,
        max_ndim: int | None = None,
        min_ndim: int | None = None,
        axes: Mapping[int, int | None] | None = None,
        allow_last_axis_squeeze: bool = False,
        name: str | None = None,
        optional: bool = False,
    ) -> None:
        self.dtype = None if dtype is None else dtype_of(dtype).numpy
        self.shape = None if shape is None else _sizes(shape)
        self.ndim = ndim if self.shape is None else len(self.shape)
        self.max_ndim = max_ndim
        self.min_ndim = min_ndim
        self.axes = _axes(axes)
        self.allow_last_axis_squeeze = allow_last_axis_squeeze
        self.name = name
        self.optional = optional
        most = self.max_ndim if self.ndim is None else self.ndim
        if self.axes and most is not None and max(self.axes) >= most:
            raise ArgumentError("InputSpec: axes", expected=f"axes below {most}", received=str(max(self.axes)))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return dict(vars(self))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> InputSpec:
        """A specification with these arguments."""
        return cls(**config)

    def __repr__(self) -> str:
        given = [f"{key}={value}" for key, value in vars(self).items() if value or value == ()]
        return f"InputSpec({', '.join(given)})"

    def check(self, place: str, type_: TensorType | None) -> None:
        """An error that begins with `place` unless an input of that type fits; None is an input that is missing."""
        if type_ is None:
            if not self.optional:
                raise DTypeError(place, expected="a tensor", received="None")
            return
        wrong = self._expected_rank(type_.rank) or self._expected_sizes(keras_shape(type_.shape))
        if wrong:
            raise ShapeError(place, expected=wrong, received=shape_text(type_))
        if self.dtype is not None and type_.dtype.numpy != self.dtype:
            raise DTypeError(place, expected=self.dtype, received=type_.dtype.numpy, fix="Cast the input first")

    def _expected_rank(self, rank: int) -> str:
        """The rank that was expected; empty if this one fits."""
        if self.ndim not in (None, rank) and not self.allow_last_axis_squeeze:
            return f"rank {self.ndim}" if self.shape is None else f"shape {self.shape}"
        if self.max_ndim is not None and rank > self.max_ndim:
            return f"rank {self.max_ndim} or less"
        if self.min_ndim is not None and rank < self.min_ndim:
            return f"rank {self.min_ndim} or more"
        return ""

    def _expected_sizes(self, sizes: Sizes) -> str:
        """The sizes that were expected; empty if these fit."""
        for axis, size in self.axes.items():
            if not -len(sizes) <= axis < len(sizes):
                return f"an axis {axis}"
            if not _fit((size,), (sizes[axis],)):
                return f"size {size} of axis {axis}"
        if self.shape is None or _fit(self.shape, sizes):
            return ""
        if self.allow_last_axis_squeeze and _fit(_squeezed(self.shape), _squeezed(sizes)):
            return ""
        return f"shape {self.shape}"


def _sizes(shape: Any) -> Sizes:
    """A specification's shape as a tuple."""
    sizes = tuple(shape) if isinstance(shape, (list, tuple)) else None
    if sizes is None or not all(size is None or (isinstance(size, int) and size >= 0) for size in sizes):
        raise ArgumentError("InputSpec: shape", expected="sizes >= 0 and Nones", received=repr(shape))
    return sizes


def _axes(axes: Any) -> dict[int, int | None]:
    """A specification's axes as a dict of its own."""
    try:
        return {int(axis): axes[axis] for axis in axes or ()}
    except (TypeError, ValueError, IndexError):
        raise DTypeError("InputSpec: axes", expected="a dict with whole numbers as keys", received=repr(axes)) from None


def _fit(wanted: Sizes, sizes: Sizes) -> bool:
    return len(wanted) == len(sizes) and all(a == b or a is None or b is None for a, b in zip(wanted, sizes))


def _squeezed(sizes: Sizes) -> Sizes:
    return sizes[:-1] if sizes[-1:] == (1,) else sizes


def check_input_spec(layer: Any, inputs: Any) -> None:
    """Raise an error unless `inputs`, the first argument of a call, fit the layer's `input_spec`.

    A dict of inputs is matched by the names of the specifications if all have one; otherwise both are flattened.
    """
    label, specs = layer.label, flatten(layer.input_spec)
    inputs = as_arrays(inputs, label)
    names = [one.name for one in specs if isinstance(one, InputSpec)]
    named = len(names) == len(specs) and all(names)
    if named and isinstance(inputs, dict):
        missing = [name for name in names if name not in inputs]
        if missing:
            expected, received = f"inputs {', '.join(map(repr, names))}", ", ".join(map(repr, inputs)) or "none"
            raise ArgumentError(label, expected=expected, received=received)
        inputs = [inputs[name] for name in names]
    leaves = flatten(inputs)
    if len(leaves) != len(specs):
        which = f" named {', '.join(map(repr, names))}" if named else ""
        raise ArgumentError(label, expected=f"{len(specs)} input(s){which}", received=str(len(leaves)))
    for number, (one, leaf) in enumerate(zip(specs, leaves)):
        if isinstance(one, InputSpec):
            called = f"'{one.name}'" if one.name else str(number)
            one.check(f"{label}: input {called}" if len(specs) > 1 or one.name else label, _type_of(layer, leaf))
        elif one is not None:
            raise DTypeError(f"{label}: input_spec", expected="InputSpec or None", received=type(one).__name__)


def _type_of(layer: Any, leaf: Any) -> TensorType | None:
    """The type in which the layer's `call` gets a leaf of its inputs; None for None."""
    if leaf is None or isinstance(leaf, TensorType):
        return leaf
    if isinstance(leaf, Operators):
        kind: TensorType = leaf.type  # type: ignore[attr-defined]
    else:
        array = as_array(leaf, layer.label)
        kind = TensorType(dtype_of(array.dtype), array.shape)
    wanted = dtype_of(layer.dtype)
    return kind.with_dtype(wanted) if layer.autocast and kind.dtype.is_float and wanted.is_float else kind
