"""What every layer's `build`, `add_weight` and `compute_mask` do besides what their class wrote."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from kgraph.eager import as_arrays, run_on_arrays
from kgraph.keras_tensor import FunctionOperation, active_trace, symbolic_tensors
from kgraph.nesting import flatten, pack
from kgraph.variable import Variable


def building(build: Callable[..., None]) -> Callable[..., None]:
    """Run a class' `build` inside the layer's name scope; mark the layer built; undo weights of a failed build."""

    @functools.wraps(build)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> None:
        if self._in_build:
            build(self, *args, **kwargs)  # a subclass calls super().build()
            return
        kept = len(self._trainable_variables), len(self._non_trainable_variables)
        self._in_build = True
        try:
            with self._own_scope():
                build(self, *args, **kwargs)
        except BaseException:
            self.forget_build(*kept)
            raise
        finally:
            self._in_build = False
        self.built_with(*args, **kwargs)
        self.built = True
        if self._first_weights is not None:
            self.set_weights(self._first_weights)

    return wrapped


def names_may_come_first(add_weight: Callable[..., Variable]) -> Callable[..., Variable]:
    """Let `add_weight` take the positional arguments of older Keras."""
    older = ("name", "shape", "dtype", "initializer", "regularizer", "trainable", "constraint")

    @functools.wraps(add_weight)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Variable:
        if args and isinstance(args[0], str):
            return add_weight(self, **dict(zip(older, args)), **kwargs)
        return add_weight(self, *args, **kwargs)

    return wrapped


def on_any_tensors(compute_mask: Callable[..., Any]) -> Callable[..., Any]:
    """Let a class' `compute_mask`, written for values of a program, take symbolic tensors and arrays as well."""

    @functools.wraps(compute_mask)
    def wrapped(self: Any, inputs: Any, mask: Any = None) -> Any:
        function = functools.partial(compute_mask, self)
        if symbolic_tensors([inputs, mask]):
            return FunctionOperation(function, "compute_mask")(inputs, mask)
        if active_trace() is not None:
            return function(inputs, mask)
        given = [as_arrays(inputs, self.label), as_arrays(mask, self.label)]
        return run_on_arrays(self.label, lambda *leaves: function(*pack(given, leaves)), *flatten(given))

    return wrapped
