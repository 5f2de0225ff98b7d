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
from kgraph.errors import DTypeError, KgraphError, ShapeError
from kgraph.ir.dims import Dim, DimExpr
from kgraph.ir.dtypes import BY_NAME, dtype_of, u32
from kgraph.ir.graph import Value
from kgraph.ir.opdef import current_emitter, emitting, is_tracing
from kgraph.ir.operators import Operators, lift
from kgraph.ir.types import TensorType
from kgraph.keras_tensor import BATCH, FunctionOperation, symbolic_tensors
from kgraph.nesting import flatten, map_structure, pack
from kgraph.primitives import composites
from kgraph.random_seed import next_seed
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


def inside_call() -> bool:
    """Whether a layer is being called: what is called now is a part of it."""
    return _training.get() is not None


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


def operation(*tensors: str, numbers: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function on tensors of a program take whatever a user has, wherever it is called.

    - Symbolic tensors of functional models among the arguments: the call becomes a node of the functional graph.
    - Inside a program: arrays, lists and sizes become tensors of it.
    - Otherwise, on arrays, lists, numbers and variables: the function runs in the interpreter, and gives arrays.

    Errors name the function first.

    Args:
        tensors: the parameters that are tensors; "*xs" stands for a sequence of tensors. None is left alone.
        numbers: whether Python numbers beside tensors reach the function as they are, so that they can take the element
            type of the tensors; otherwise they become tensors, too.

    >>> @operation("x")
    ... def cube(x):
    ...     return x * x * x
    >>> cube([1.0, 2.0])
    array([1., 8.], dtype=float32)
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        signature, name = inspect.signature(function), function.__name__.strip("_")
        single = [t for t in tensors if not t.startswith("*")]
        several = [t[1:] for t in tensors if t.startswith("*")]

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{name}: {error}") from None
            given = bound.arguments
            if symbolic_tensors([given[t] for t in (*single, *several) if t in given]):
                return FunctionOperation(wrapped, name)(*args, **kwargs)
            try:
                operands = _Operands(name)
                given |= {t: operands.prepare(given[t], t) for t in single if given.get(t) is not None}
                given |= {t: operands.each(given[t], t) for t in several if given.get(t) is not None}
                return operands.run(lambda found: function(*found.args, **found.kwargs), bound, numbers)
            except KgraphError as error:
                raise error.within(name) from error.__cause__

        return wrapped

    return decorate


def anywhere(function: Callable[..., Any]) -> Callable[..., Any]:
    """`operation` whose tensors are the parameters without a default."""
    parameters = inspect.signature(function).parameters.items()
    return operation(*(name for name, given in parameters if given.default is given.empty))(function)


class _CallTrace(Trace):
    """The program of one call on arrays: its random numbers are drawn from the seeds of the process."""

    def random_key(self) -> Value:
        """A key that no other call gets."""
        return self.constant([next_seed(), 0], u32)


class _Operand:
    """Stands for a tensor argument among the arguments of a call: an array, a Python number or a value of a program."""

    def __init__(self, value: Any) -> None:
        self.value = value


class _Operands:
    """The tensors among the arguments of one call of an operation."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.found: list[_Operand] = []

    def prepare(self, value: Any, what: str) -> Any:
        """One tensor argument: array-likes become arrays; numbers, sizes and values of a program stay."""
        if isinstance(value, Variable) and not is_tracing():
            value = value.value
        if isinstance(value, (list, tuple)) and is_tracing() and any(isinstance(v, Operators) for v in flatten(value)):
            value = _stacked([self.prepare(part, what).value for part in value])
        if not isinstance(value, (Operators, DimExpr, bool, int, float)):
            value = as_array(value, what)
        self.found.append(_Operand(value))
        return self.found[-1]

    def each(self, values: Any, what: str) -> Any:
        """A sequence of tensors; a single array counts as the sequence of its rows."""
        if isinstance(values, dict):
            return {key: self.prepare(value, f"{what}[{key!r}]") for key, value in values.items()}
        if isinstance(values, Operators) and not isinstance(values, Variable):
            raise DTypeError(what, expected="a list of tensors", received="one tensor")
        return [self.prepare(value, f"{what}[{n}]") for n, value in enumerate(values)]

    def run(self, function: Callable[..., Any], bound: inspect.BoundArguments, numbers: bool) -> Any:
        """Call `function` with the arguments, in the program being traced or in one of its own."""
        keep = numbers and not all(isinstance(operand.value, (bool, int, float)) for operand in self.found)
        if is_tracing():
            return function(self._filled(bound, functools.partial(self._traced, keep=keep)))
        trace, arrays = _CallTrace(self.name), []
        with emitting(trace):

            def argument(value: Any) -> Any:
                if keep and isinstance(value, (bool, int, float)):
                    return value
                array = as_array(value, self.name)
                arrays.append(array)
                return trace.argument(TensorType(dtype_of(array.dtype), array.shape), f"argument{len(arrays)}")

            out = function(self._filled(bound, argument))
            out = map_structure(lambda leaf: trace.lift(leaf) if isinstance(leaf, Operators) else leaf, out)
            results = [leaf for leaf in flatten(out) if isinstance(leaf, Value)]
            program = trace.program([(f"result{n}", value) for n, value in enumerate(results)])
        computed = iter(CompiledProgram(program).run(arrays, execution="interpreter"))
        return map_structure(lambda leaf: next(computed) if isinstance(leaf, Value) else leaf, out)

    @staticmethod
    def _filled(bound: inspect.BoundArguments, fill: Callable[[Any], Any]) -> inspect.BoundArguments:
        for name, value in bound.arguments.items():
            part = map_structure(lambda leaf: fill(leaf.value) if isinstance(leaf, _Operand) else leaf, value)
            bound.arguments[name] = part
        return bound

    def _traced(self, value: Any, keep: bool) -> Any:
        emitter = current_emitter()
        if isinstance(value, Operators) or (keep and isinstance(value, (bool, int, float))):
            return value
        if isinstance(value, DimExpr):
            return composites.size(value)
        array = as_array(value, self.name)
        # NumPy makes float64 of everything, and a model should not become slower by a constant.
        kinds = [emitter.type_of(o.value).dtype for o in self.found if isinstance(o.value, Operators)]
        like = next((kind for kind in kinds if kind.is_float), None)
        return emitter.constant(array, like if array.dtype.kind == "f" else None)


def _stacked(parts: list[Any]) -> Any:
    """Rows of tensors and numbers as one tensor."""
    like = next(current_emitter().type_of(p).dtype for p in parts if isinstance(p, Operators))
    return composites.concatenate([composites.expand_dims(lift(p, like), 0) for p in parts], 0)
