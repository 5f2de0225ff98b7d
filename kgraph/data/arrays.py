"""The user's data: checked and made into plain arrays once, before a loop; then handed out in batches."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kgraph.config import floatx
from kgraph.data.frames import columns_of, frame_array, is_frame
from kgraph.errors import ArgumentError, DataError, DTypeError, KgraphWarning, OutOfMemoryError, ShapeError
from kgraph.ir.dims import Dim, DimExpr
from kgraph.ir.dtypes import DType
from kgraph.ir.location import user_location
from kgraph.ir.types import TensorType
from kgraph.keras_tensor import BATCH, shape_text

Array: TypeAlias = "npt.NDArray[Any]"


_STRINGS = "string data. Use layers.StringLookup or TextVectorization, or encode it as numbers first"


def as_array(value: Any, name: str) -> Array:
    """An array of numbers, whatever byte order and layout; `name` is how messages call it.

    Raises:
        DataError: ragged rows, strings, Python objects.
    """
    try:
        array = frame_array(value, name) if is_frame(value) else np.asarray(value)
    except DataError:
        raise
    except ValueError:
        raise DataError(_ragged(value, name)) from None
    if array.dtype.kind in "US":
        raise DataError(f"{name}: {_STRINGS}")
    if array.dtype.kind == "O":
        numbers = _numbers_of(array)
        if numbers is None:
            if array.size and all(isinstance(item, (str, bytes)) for item in array.flat):
                raise DataError(f"{name}: {_STRINGS}")
            raise DataError(_ragged(value, name))
        array = numbers
    if array.dtype.kind not in "fiub":
        raise DTypeError(name, expected="numbers", received=str(array.dtype))
    return array


def _numbers_of(array: Array) -> Array | None:
    """An object array of equal rows or plain numbers as numbers; None if it is something else."""
    try:
        made = np.array(array.tolist())
    except ValueError:
        return None
    return made if made.dtype.kind in "fiub" else None


def _ragged(value: Any, name: str) -> str:
    if not isinstance(value, (list, tuple, np.ndarray)) or not np.ndim(np.asarray(value, object)):
        return f"{name}: expected numbers, received an object of type {type(value).__name__}"
    lengths = [len(row) if hasattr(row, "__len__") else None for row in value]
    other = next((n for n, length in enumerate(lengths) if length != lengths[0]), None)
    if other is not None:
        return f"{name}: rows have different lengths (row 0: {lengths[0]}, row {other}: {lengths[other]})"
    odd = [type(v).__name__ for v in np.asarray(value, object).reshape(-1) if not isinstance(v, (int, float))]
    return f"{name}: expected numbers, received {odd[0] if odd else 'other'} objects"


def named_arrays(data: Any, names: Sequence[str], argument: str) -> list[tuple[str, Array]]:
    """(what messages call it, array) for each input or output, from an array, or a list or dict of them.

    Args:
        data: with one name: an array, nested lists, or a list or dict of one array; with more: a list or dict, or a
            frame that has a column of each name.
        names: of the inputs or outputs, in order.
        argument: "x" or "y".
    """
    if is_frame(data) and len(names) > 1 and set(names) <= set(columns_of(data)):
        data = {name: column for name, column in columns_of(data).items() if name in names}
    if isinstance(data, dict):
        missing = [name for name in names if name not in data]
        extra = [str(name) for name in data if name not in names]
        if missing or extra:
            raise DataError(f"{argument}", expected=f"keys {list(names)}", received=str(sorted(map(str, data))))
        parts = [(f"{argument}['{name}']", data[name]) for name in names]
    elif len(names) == 1:
        alone = isinstance(data, (list, tuple)) and len(data) == 1 and isinstance(data[0], np.ndarray)
        parts = [(argument, data[0] if alone else data)]
    else:
        if not isinstance(data, (list, tuple)) or len(data) != len(names):
            received = f"{len(data)} entries" if isinstance(data, (list, tuple)) else type(data).__name__
            raise DataError(argument, expected=f"{len(names)} arrays, for {', '.join(names)}", received=received)
        parts = [(f"{argument}[{n}]", part) for n, part in enumerate(data)]
    return [(name, as_array(part, name)) for name, part in parts]


def prepare(array: Array, type_: TensorType, name: str) -> Array:
    """`array` in the element type and shape that a program takes; a copy only where it must be one.

    A last axis of size 1 may be missing or too much, as in Keras. Rows may be those of several batches of fixed size.

    Raises:
        ShapeError: a size that the model fixes differs.
        DTypeError: fractions where integers are wanted.
    """
    wanted = type_.shape
    if array.ndim == len(wanted) - 1 and wanted[-1] == 1:
        array = array[..., None]
    elif array.ndim == len(wanted) + 1 and array.shape[-1] == 1:
        array = array[..., 0]
    fits = array.ndim == len(wanted) and all(
        not isinstance(dim, int) or dim == size or (axis == 0 and size > dim)
        for axis, (dim, size) in enumerate(zip(wanted, array.shape, strict=True))
    )
    if not fits:
        raise ShapeError(name, expected=shape_text(type_), received=str(array.shape), fix=_hint(array, type_))
    dtype = type_.dtype.to_numpy()
    if type_.dtype.is_integer:
        _check_whole(array, dtype, name)
    try:
        return np.ascontiguousarray(array, dtype=dtype)
    except MemoryError:
        expected = f"{array.size * dtype.itemsize:,} bytes for a copy of {array.dtype} as {dtype}"
        fix = f"Give {dtype} in C order, which is not copied, or batches: a PyDataset or a generator"
        raise OutOfMemoryError(name, expected=expected, received="less", fix=fix) from None


def is_prepared(array: Any, type_: TensorType) -> bool:
    """Whether `prepare` would give `array` back as it is; quick enough to ask before a program of one row."""
    if type(array) is not np.ndarray or array.dtype != type_.dtype.to_numpy() or not array.flags.c_contiguous:
        return False
    shape = array.shape
    if len(shape) != len(type_.shape) or 0 in shape:
        return False
    for dim, size in zip(type_.shape, shape):  # noqa: SIM110 - both would take a third of the time of it all
        if isinstance(dim, int) and dim != size:
            return False
    return True


def quickly_prepared(array: Any, type_: TensorType) -> Array | None:
    """The same as `prepare` for an array that is prepared or has but another size of number; None for all others."""
    if is_prepared(array, type_):
        return array  # type: ignore[no-any-return]
    dtype = type_.dtype.to_numpy()
    if type(array) is not np.ndarray or array.dtype.kind != dtype.kind or dtype.kind not in "fi":
        return None
    made = np.ascontiguousarray(array, dtype)
    whole = dtype.kind == "f" or bool((made == array).all())
    return made if whole and is_prepared(made, type_) else None


def _check_whole(array: Array, dtype: np.dtype[Any], name: str) -> None:
    """DTypeError unless the integer type `dtype` can hold every number of `array`."""
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise DTypeError(name, expected=f"whole numbers, for {dtype}", received=f"{array.dtype} with NaN or Inf")
        if not np.array_equal(array, np.trunc(array)):
            raise DTypeError(name, expected=f"whole numbers, for {dtype}", received=f"{array.dtype} with fractions")
    if array.dtype.kind == "b" or dtype.kind == "b" or np.can_cast(array.dtype, dtype) or not array.size:
        return
    limits = np.iinfo(dtype)
    least, most = array.min(), array.max()
    if least < limits.min or most > limits.max:
        expected = f"numbers that {dtype} can hold"
        raise DataError(name, expected=expected, received=str(most if most > limits.max else least))


def _hint(array: Array, type_: TensorType) -> str:
    fixed = [dim for dim in type_.shape[1:] if isinstance(dim, int)]
    if len(fixed) != type_.rank - 1 or not array.ndim:
        return ""
    if array.ndim > 1 and math.prod(array.shape[1:]) == math.prod(fixed):
        return f"Reshape it: x.reshape({', '.join(map(str, (-1, *fixed)))})"
    if array.shape == tuple(fixed):
        return "Add a batch axis: x[None]"
    return f"Last axis must be {fixed[-1]}" if fixed and array.ndim == type_.rank else ""


def canonical(array: Array) -> Array:
    """`array` with an element type that the IR has: floats become `floatx`; byte order becomes the machine's."""
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "f":
        name = floatx()
    elif kind == "b" or (kind == "u" and size == 1):
        name = array.dtype.name
    else:
        name = "int64" if size == 8 or (kind == "u" and size == 4) else "int32"
    return np.ascontiguousarray(array, dtype=name).reshape(array.shape)


def target_type(array: Array, like: TensorType, dtype: DType) -> TensorType:
    """The type of targets: rows are those of the output `like`, and every size is free that is free there."""
    dims: list[Dim] = [BATCH, *array.shape[1:]]
    for axis, dim in enumerate(like.shape[: len(dims)]):
        if isinstance(dim, DimExpr) or not axis:
            dims[axis] = dim
    return TensorType(dtype, tuple(dims))


def check_rows(call: str, groups: Sequence[Sequence[tuple[str, Array]]], empty: bool = False) -> int:
    """Number of rows, which all arrays must share; DataError if they differ, or are 0 unless `empty`."""
    arrays = [pair for group in groups for pair in group]
    for name, array in arrays:
        if not array.ndim:
            raise DataError(f"{call}: {name}", expected="an array with a batch axis", received="a single number")
    first, rows = arrays[0][0], len(arrays[0][1])
    for name, array in arrays[1:]:
        if len(array) != rows:
            raise DataError(f"{call}: {first} has {rows} samples, {name} has {len(array)}")
    if not rows and not empty:
        raise DataError(f"{call}: {first} has 0 samples")
    return rows


# Up to so many elements BLAS computes a product in this thread.
_SMALL = 8192


def surely_finite(array: Array) -> bool:
    """Whether one number made of all elements tells that they are finite: several times cheaper than a mask. Large
    elements overflow it."""
    if array.dtype.kind != "f":
        return True
    if array.size == 1:
        return math.isfinite(array.item())
    if array.size <= _SMALL:  # half the time of a sum, and BLAS warns of nothing
        return math.isfinite(float(np.vdot(array, array)))
    with np.errstate(all="ignore"):
        return math.isfinite(float(np.add.reduce(array, axis=None)))


def warn_not_finite(call: str, name: str, array: Array, refuse: bool = False) -> bool:
    """Warn once if there is a NaN or an infinity in `array`, with the place of the first; whether there is.

    Args:
        call: the method, for the message.
        name: of the array.
        array: what is looked at.
        refuse: raise a DataError instead.
    """
    if surely_finite(array):
        return False
    bad = ~np.isfinite(array)
    count = int(bad.sum())
    if not count:
        return False
    place = np.unravel_index(int(bad.argmax()), array.shape)
    what = "NaN" if np.isnan(array[place]) else "Inf"
    at = ", ".join(f"{word} {n}" for word, n in zip(_axis_words(array.ndim), place, strict=True))
    text = f"{call}: {name} has {count} {what} (first at {at})"
    if refuse:
        raise DataError(text)
    warn_user(text)
    return True


def warn_user(text: str) -> None:
    """A warning that points to the user's line which called kgraph."""
    place = user_location()
    warnings.warn_explicit(text, KgraphWarning, place.file or "kgraph", place.line)


def _axis_words(rank: int) -> list[str]:
    return ["row", "col"][:rank] if rank <= 2 else ["row", *(f"axis {n}" for n in range(1, rank))]


def check_labels(loss: str, labels: Array, classes: int, ignored: int | None = None) -> None:
    """DataError unless all labels are in [0, classes), or `ignored`."""
    if not labels.size or (labels.min() >= 0 and labels.max() < classes):
        return
    wrong = (labels < 0) | (labels >= classes)
    if ignored is not None:
        wrong &= labels != ignored
    if wrong.any():
        place, row = _first(wrong)
        raise DataError(f"{loss}: label {labels[place]} at {row} not in [0, {classes})")


def check_shares(loss: str, labels: Array) -> None:
    """DataError unless all labels are in [0, 1]; NaN is reported elsewhere."""
    wrong = (labels < 0) | (labels > 1)
    if wrong.any():
        place, row = _first(wrong)
        raise DataError(f"{loss}: labels must be 0..1, found {labels[place]} at {row}")


def _first(wrong: Array) -> tuple[tuple[Any, ...], str]:
    """The place of the first true element, and the words for it."""
    place = np.unravel_index(int(wrong.argmax()), wrong.shape)
    return place, f"row {place[0]}" + (f", position {tuple(map(int, place[1:]))}" if any(place[1:]) else "")


def check_batch_size(batch_size: Any) -> int:
    """A batch size, 32 if None; ArgumentError below 1."""
    if batch_size is None:
        return 32
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)):
        raise DTypeError("batch_size", expected="an int", received=repr(batch_size))
    if batch_size < 1:
        raise ArgumentError("batch_size must be >= 1", received=str(batch_size))
    return int(batch_size)


def split_at(rows: int, validation_split: float) -> int:
    """Where the last share of the rows starts, which is kept for validation."""
    if not isinstance(validation_split, (int, float)) or not 0 < validation_split < 1:
        raise ArgumentError("validation_split", expected="a number between 0 and 1", received=repr(validation_split))
    at = math.floor(rows * (1.0 - validation_split))
    if at in (0, rows):
        raise ArgumentError(f"validation_split={validation_split}", expected="at least 1 sample in each part",
                            received=f"{rows} samples")  # fmt: skip
    return at
