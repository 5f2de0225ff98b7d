"""Calls outside a program, of layers and functions: NumPy arrays in, a program, NumPy arrays out; the training flag."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kgraph.config import floatx
from kgraph.engine import CompiledProgram
from kgraph.errors import DTypeError, ShapeError
from kgraph.ir.dims import Dim
from kgraph.ir.dtypes import BY_NAME, dtype_of
from kgraph.ir.graph import Value
from kgraph.ir.opdef import emitting
from kgraph.ir.operators import Operators, lift
from kgraph.ir.types import TensorType
from kgraph.keras_tensor import BATCH, FunctionOperation, active_trace, symbolic_tensors
from kgraph.nesting import flatten, map_structure, pack
from kgraph.trace import Trace
from kgraph.variable import Variable

Array: TypeAlias = "npt.NDArray[Any]"

_training: ContextVar[bool | None] = ContextVar("kgraph_training", default=None)

# Element types that arrive in data and have no counterpart in the IR, with the one that holds them.
_HELD_BY = {"int8": "int32", "int16": "int32", "uint16": "int32", "uint64": "int64"}


@contextmanager
def training_scope(training: bool) -> Iterator[None]:
    """What layers called inside the block get as `training` unless they are told otherwise."""
    token = _training.set(training)
    try:
        yield
    finally:
        _training.reset(token)


def current_training(trace: Trace) -> bool:
    """The training flag of the enclosing call, or of the program."""
    inside = _training.get()
    return trace.training if inside is None else inside


def as_array(value: Any, what: str) -> Array:
    """A contiguous array of an element type that the IR has; `what` names it in errors."""
    given = isinstance(value, np.ndarray | np.generic) or hasattr(value, "__array__")
    try:
        array = np.asarray(value)
    except ValueError:
        received = "rows of different lengths"
        raise DTypeError(what, expected="a rectangular array", received=received) from None
    name = array.dtype.newbyteorder("=").name
    if array.dtype.kind == "f" and (not given or name not in BY_NAME):
        name = floatx()
    elif not given and name == "int64" and not (np.abs(array) > np.iinfo("int32").max).any():
        name = "int32"
    name = _HELD_BY.get(name, name)
    if name not in BY_NAME:
        kind = {"O": "Python objects", "U": "strings", "S": "strings"}.get(array.dtype.kind, f"{name} values")
        raise DTypeError(what, expected="numbers", received=f"an array of {kind}")
    return np.asarray(array, name, order="C")


def as_arrays(structure: Any, what: str) -> Any:
    """Arrays for array-likes and for lists of numbers, in the same nesting otherwise."""
    if isinstance(structure, (list, tuple)) and structure and all(isinstance(v, NUMBERS) for v in flatten(structure)):
        return as_array(structure, what)
    if isinstance(structure, dict):
        return {key: as_arrays(value, what) for key, value in structure.items()}
    if isinstance(structure, (list, tuple)):
        parts = [as_arrays(part, what) for part in structure]
        return parts if isinstance(structure, list) else tuple(parts)
    if isinstance(structure, Operators) or not hasattr(structure, "__array__"):
        return structure
    return as_array(structure, what)


NUMBERS = (int, float, np.integer, np.floating, np.bool_)


def array_types(arrays: list[Array], symbolic: bool) -> list[TensorType]:
    """Types of arrays; `symbolic` makes the first axis the batch size, if all arrays have rank >= 2 and agree on it."""
    batches = {a.shape[0] if a.ndim > 1 else None for a in arrays}
    shared = symbolic and len(batches) == 1 and None not in batches

    def type_of(array: Array) -> TensorType:
        first: tuple[Dim, ...] = (BATCH,) if shared else array.shape[:1]
        return TensorType(dtype_of(array.dtype), (*first, *array.shape[1:]))

    return [type_of(a) for a in arrays]


class EagerPrograms:
    """Programs of a layer or function called with arrays: one for each signature, dropped when the layer changes.

    Attributes:
        losses: (who added it, number) for the terms of a loss that the last run added.
    """

    def __init__(self) -> None:
        self._programs: dict[str, tuple[int, CompiledProgram, Any, list[Any]]] = {}
        self._fixed_batch: set[str] = set()
        self.losses: list[tuple[Any, Array]] = []

    def run(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        version: Callable[[], int],
        random_state: Variable | None,
    ) -> Any:
        """`function(*args, **kwargs)` on arrays, as a program; `version` tells whether an old one still holds."""
        leaves = flatten([args, kwargs])
        arrays = [leaf for leaf in leaves if isinstance(leaf, np.ndarray)]
        types = array_types(arrays, symbolic=True)
        key = self._key(args, kwargs, types)
        if key not in self._fixed_batch:
            try:
                return self._run(key, function, args, kwargs, types, arrays, version, random_state)
            except ShapeError:
                # Sizes that do not fit a free batch size may fit this one; if not, the message shows real sizes.
                self._fixed_batch.add(key)
        types = array_types(arrays, symbolic=False)
        key = self._key(args, kwargs, types)
        return self._run(key, function, args, kwargs, types, arrays, version, random_state)

    def _key(self, args: tuple[Any, ...], kwargs: dict[str, Any], types: list[TensorType]) -> str:
        return repr((replace_arrays([args, kwargs], list(types)), floatx()))

    def _run(
        self,
        key: str,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        types: list[TensorType],
        arrays: list[Array],
        version: Callable[[], int],
        random_state: Variable | None,
    ) -> Any:
        if key not in self._programs or self._programs[key][0] != version():
            trace = Trace("call", bool(kwargs.get("training")), random_state)
            with emitting(trace):
                values = [trace.argument(t, f"input_{n}") for n, t in enumerate(types)]
                new_args, new_kwargs = replace_arrays([args, kwargs], list(values))
                out = function(*new_args, **new_kwargs)
                out = map_structure(lambda leaf: trace.lift(leaf) if isinstance(leaf, Operators) else leaf, out)
            results = [leaf for leaf in flatten(out) if isinstance(leaf, Value)] + [loss for _, loss in trace.losses]
            program = trace.program([(f"output_{n}", value) for n, value in enumerate(results)])
            owners = [owner for owner, _ in trace.losses]
            self._programs[key] = (version(), CompiledProgram(program), out, owners)
        _, compiled, out, owners = self._programs[key]
        made = compiled.run(arrays)
        self.losses = list(zip(owners, made[len(made) - len(owners) :], strict=True))
        computed = iter(made)
        return map_structure(lambda leaf: next(computed) if isinstance(leaf, Operators) else leaf, out)


def replace_arrays(structure: Any, values: list[Any]) -> Any:
    """The nesting with its arrays replaced by `values`, in order; other leaves stay."""
    leaves = flatten(structure)
    remaining = iter(values)
    return pack(structure, [next(remaining) if isinstance(leaf, np.ndarray) else leaf for leaf in leaves])


def is_symbolic(*values: Any) -> bool:
    """Whether any value is a tensor of a graph being built."""
    return any(isinstance(value, Operators) for value in values)


def run_on_arrays(name: str, function: Callable[..., Any], *values: Any, floats: str = "") -> Array | None:
    """Run a symbolic function on arrays; None stays None.

    The interpreter does it: a native program made for one call would cost more than it gives.

    Args:
        name: what messages call the function.
        function: takes tensors; gives a tensor, or None if it only updates variables.
        values: arrays, numbers, nested lists or None.
        floats: element type that arrays of floats get; empty to leave them as they are.
    """
    arrays = [None if value is None else as_array(value, name) for value in values]
    if floats:
        arrays = [a.astype(floats) if a is not None and a.dtype.kind == "f" else a for a in arrays]
    trace = Trace(name)
    with emitting(trace):
        arguments = [
            None if a is None else trace.argument(TensorType(dtype_of(a.dtype), a.shape), f"argument{n}")
            for n, a in enumerate(arrays)
        ]
        result = function(*arguments)
        program = trace.program([] if result is None else [("result", result)])
    out = CompiledProgram(program).run([a for a in arrays if a is not None], execution="interpreter")
    return out[0] if out else None


def anywhere(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of tensors that also takes symbolic tensors of functional models, and arrays.

    Its tensors are the parameters without a default. In a program, arrays among them become constants.
    """
    signature = inspect.signature(function)
    tensors = [name for name, given in signature.parameters.items() if given.default is given.empty]

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if symbolic_tensors([args, kwargs]):
            return FunctionOperation(function, function.__name__)(*args, **kwargs)
        options = signature.bind(*args, **kwargs).arguments
        values = [options.pop(name) for name in tensors]
        if active_trace() is not None:
            return function(*map(lift, values), **options)
        return run_on_arrays(function.__name__, lambda *given: function(*given, **options), *values)

    return wrapped
