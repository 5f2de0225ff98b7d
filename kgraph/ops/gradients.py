"""What gradients see: values that are constants for them, and functions with gradients of their own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from kgraph.eager import operation
from kgraph.errors import ArgumentError, GraphError, ShapeError
from kgraph.ir.graph import Value
from kgraph.ir.opdef import emitting, is_tracing
from kgraph.ir.operators import Operators
from kgraph.ir.types import TensorType
from kgraph.keras_tensor import FunctionOperation, symbolic_tensors
from kgraph.nesting import flatten, map_structure, pack
from kgraph.ops.promotion import emit
from kgraph.trace import Trace, current_trace
from kgraph.variable import Variable


@operation("variable")
def stop_gradient(variable: Any) -> Any:
    """The tensor itself, but a constant for gradients."""
    return emit("stop_gradient", variable)


class _Body(Trace):
    """The graph of a function that uses tensors of the program around it: each becomes one more input."""

    def __init__(self, name: str, outer: Trace) -> None:
        super().__init__(name)
        self._outer = outer
        self.captured: dict[Value, Value] = {}

    def lift(self, value: Any, what: str = "operand") -> Value:
        """The tensor of this graph for one of this graph or of the program around it."""
        if isinstance(value, Variable):
            value = self._outer.lift(value)
        if isinstance(value, Value) and value not in self._known:
            outside = self._outer.lift(value, what)
            if outside not in self.captured:
                self.captured[outside] = self.input(outside.type, outside.name)
            return self.captured[outside]
        return super().lift(value, what)


def custom_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: a function that states its own gradient.

    Args:
        f: ``f(*args)`` gives (result, gradient). ``gradient(*upstream)`` takes the gradient of each result and gives
            that of each argument, in order; None for one that has none.

    Inside a program the gradient function may use whatever `f` computed. Keyword arguments are options of `f`, not
    tensors. On arrays only the result is computed.

    >>> @custom_gradient
    ... def reversed_gradient(x):
    ...     return x, lambda upstream: -upstream
    """

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if symbolic_tensors([args, kwargs]):
            return FunctionOperation(wrapped, f.__name__)(*args, **kwargs)
        out, gradient = f(*args, **kwargs)
        return _with_gradient(f.__name__, args, out, gradient) if is_tracing() else out

    return wrapped


def _with_gradient(name: str, args: tuple[Any, ...], out: Any, gradient: Callable[..., Any]) -> Any:
    trace = current_trace()
    xs = [trace.lift(x) if isinstance(x, Operators) else x for x in args]
    smooth = [n for n, x in enumerate(xs) if isinstance(x, Value) and x.dtype.is_float]
    results = [trace.lift(y) for y in flatten(out)]
    for y in results:
        if not y.dtype.is_float:
            raise GraphError(f"custom_gradient of {name}", expected="results that are floats", received=str(y.type))
    body = _Body(f"{name}_gradient", trace)
    with emitting(body):
        upstream = [body.input(y.type, "dy") for y in results]
        found = gradient(*pack(list(results), upstream))
        slopes = list(found) if isinstance(found, (tuple, list)) else [found]
        if len(slopes) != len(xs):
            raise ArgumentError(f"custom_gradient of {name}", expected=f"gradients of {len(xs)} arguments",
                                received=str(len(slopes)))  # fmt: skip
        outputs = [_fitting(name, body, slopes[n], xs[n].type) for n in smooth]
        graph = body.build(outputs)
    made = emit("custom_gradient", *results, *(xs[n] for n in smooth), *body.captured, rule=graph, results=len(results))
    given = iter(made if isinstance(made, tuple) else (made,))
    return map_structure(lambda _: next(given), out)


def _fitting(name: str, body: _Body, slope: Any, type: TensorType) -> Value:
    """The gradient of one argument as a tensor of that argument's type."""
    if slope is None:
        slope = emit("broadcast", body.constant(0, type.dtype), shape=type.shape, axes=())
    value = body.lift(slope) if isinstance(slope, Operators) else body.constant(slope, type.dtype)
    if value.type != type:
        raise ShapeError(f"custom_gradient of {name}: gradient", expected=str(type), received=str(value.type))
    return value
