"""Settings and functions under the names of `keras.backend`."""

from __future__ import annotations

from typing import Any

import numpy as np

import kgraph.ops as ops
from kgraph.config import (
    epsilon,
    floatx,
    image_data_format,
    set_epsilon,
    set_floatx,
    set_image_data_format,
)
from kgraph.ir.operators import Operators
from kgraph.lookup import did_you_mean
from kgraph.naming import clear_session
from kgraph.variable import Variable

__all__ = [
    "backend",
    "clear_session",
    "count_params",
    "epsilon",
    "floatx",
    "get_value",
    "image_data_format",
    "int_shape",
    "is_keras_tensor",
    "ndim",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
    "set_value",
]

# Functions on tensors of older Keras that have another name in `kgraph.ops`.
_RENAMED = {
    "batch_dot": "matmul", "dot": "matmul", "permute_dimensions": "transpose", "pow": "power", "gather": "take",
    "constant": "convert_to_tensor",
}  # fmt: skip


def backend() -> str:
    """What computes: always "kgraph"."""
    return "kgraph"


def int_shape(x: Any) -> tuple[int | None, ...]:
    """Shape of a tensor or array; None for sizes that are known only at run time."""
    return tuple(x.shape)


def ndim(x: Any) -> int:
    """Number of axes of a tensor or array."""
    return len(x.shape)


def get_value(variable: Variable) -> Any:
    """A copy of a weight's value."""
    return variable.numpy()


def set_value(variable: Variable, value: Any) -> None:
    """Give a weight a value of its own shape."""
    variable.assign(value)


def count_params(variable: Variable) -> int:
    """Number of elements of a weight."""
    return int(np.prod(variable.shape, dtype=np.int64))


def is_keras_tensor(x: Any) -> bool:
    """Whether `x` is symbolic."""
    return isinstance(x, Operators) and not isinstance(x, Variable)


def __getattr__(name: str) -> Any:
    """Functions on tensors: those of `kgraph.ops`, also under older names."""
    wanted = _RENAMED.get(name, name)
    if name.startswith("__") or wanted not in ops.__all__:
        hint = "" if name.startswith("__") else f". {did_you_mean(name, [*__all__, *ops.__all__])}"
        raise AttributeError(f"module 'kgraph.backend' has no attribute {name!r}{hint if 'Did' in hint else ''}")
    return getattr(ops, wanted)
