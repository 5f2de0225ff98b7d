"""Tables with named columns, such as those of pandas and polars, known by what they can do."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kgraph.errors import DataError

Array: TypeAlias = "npt.NDArray[Any]"


def is_frame(value: Any) -> bool:
    """Whether a value has columns with names, and can be made an array."""
    return hasattr(value, "columns") and (hasattr(value, "to_numpy") or hasattr(value, "collect"))


def columns_of(frame: Any) -> dict[str, Any]:
    """The columns of a frame by name."""
    return {str(name): frame[name] for name in frame.columns}


def frame_array(frame: Any, name: str) -> Array:
    """The numbers of a frame, (rows, columns); missing values are NaN.

    Args:
        frame: for which `is_frame` holds.
        name: how messages call it.

    Raises: DataError that names the first column without numbers.
    """
    if not hasattr(frame, "to_numpy"):
        raise DataError(f"{name}: expected a table of numbers, received a {type(frame).__name__}",
                        fix="Call its collect() first")  # fmt: skip
    array = np.asarray(frame)
    if array.dtype.kind in "fiub" and not any(map(_is_time, columns_of(frame).values())):
        return array
    found = []
    for label, column in columns_of(frame).items():
        numbers = _numbers(column)
        if numbers is None:
            raise DataError(f"{name}: column '{label}' has no numbers but {_kind(column)}",
                            fix="Encode it first, or leave it out")  # fmt: skip
        found.append(numbers)
    return np.stack(found, axis=1)


def _numbers(column: Any) -> Array | None:
    """A column as numbers, NaN where one is missing; None if it holds something else."""
    array = np.asarray(column)
    if array.dtype.kind in "fiub" and not _is_time(column):
        return array
    if array.dtype.kind != "O":
        return None
    missing = [item is None or str(item) == "<NA>" for item in array]  # as polars and pandas say it
    if not all(none or isinstance(item, (int, float, np.number)) for item, none in zip(array, missing, strict=True)):
        return None
    return np.array([np.nan if none else float(item) for item, none in zip(array, missing, strict=True)])


def _is_time(column: Any) -> bool:
    """Whether a column holds times, which some frames make numbers of without being asked."""
    return any(word in str(column.dtype).lower() for word in ("date", "time", "duration"))


def _kind(column: Any) -> str:
    """What a column holds, in a word."""
    words = {type(item).__name__ for item in np.asarray(column) if not isinstance(item, (int, float))}
    return sorted(words)[0] if words else str(column.dtype)
