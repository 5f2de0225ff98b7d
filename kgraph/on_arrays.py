"""Losses and metrics called with arrays: the symbolic function is traced and the interpreter runs it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeAlias

import numpy.typing as npt

from kgraph.config import floatx
from kgraph.eager import as_array
from kgraph.engine import CompiledProgram
from kgraph.ir.dtypes import dtype_of
from kgraph.ir.opdef import emitting
from kgraph.ir.operators import Operators
from kgraph.ir.types import TensorType
from kgraph.trace import Trace

Array: TypeAlias = "npt.NDArray[Any]"


def is_symbolic(*values: Any) -> bool:
    """Whether any value is a tensor of a graph being built."""
    return any(isinstance(value, Operators) for value in values)


def as_tensor_data(value: Any) -> Array:
    """An array that a graph can take: floats get the element type `floatx`."""
    array: Array = as_array(value, "argument")
    return array.astype(floatx()) if array.dtype.kind == "f" else array


def run_on_arrays(name: str, function: Callable[..., Any], *values: Any) -> Array | None:
    """Run a symbolic function on arrays; None stays None.

    The interpreter does it: a native program made for one call would cost more than it gives.

    Args:
        name: what messages call the function.
        function: takes tensors; gives a tensor, or None if it only updates variables.
        values: arrays, numbers, nested lists or None.
    """
    arrays = [None if value is None else as_tensor_data(value) for value in values]
    trace = Trace(name)
    with emitting(trace):
        arguments = [
            None if a is None else trace.argument(TensorType(dtype_of(a.dtype), a.shape), f"argument{n}")
            for n, a in enumerate(arrays)
        ]
        result = function(*arguments)
        results = [] if result is None else [("result", result)]
        program = trace.program(results)
    out = CompiledProgram(program).run([a for a in arrays if a is not None], execution="interpreter")
    return out[0] if out else None


def works_on_arrays(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function of (y_true, y_pred, **options) take arrays as well: arrays in, array out."""

    @wraps(function)
    def call(y_true: Any, y_pred: Any, **options: Any) -> Any:
        if is_symbolic(y_true, y_pred):
            return function(y_true, y_pred, **options)
        return run_on_arrays(function.__name__, lambda t, p: function(t, p, **options), y_true, y_pred)

    return call
