"""Metric: state in variables that the compiled program itself updates, and a result computed from them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kgraph.config import floatx
from kgraph.eager import run_on_arrays
from kgraph.errors import SymbolicError
from kgraph.initializers import get as get_initializer
from kgraph.ir.dtypes import dtype_of
from kgraph.ir.operators import Operators
from kgraph.keras_tensor import active_trace
from kgraph.naming import snake_case
from kgraph.variable import Variable


def _on_arrays_too(update_state: Callable[..., None]) -> Callable[..., None]:
    """Let a class' `update_state`, written for tensors of a program, take arrays as well."""
    signature = inspect.signature(update_state)

    @functools.wraps(update_state)
    def wrapped(self: Metric, *args: Any, **kwargs: Any) -> None:
        if active_trace() is not None:
            update_state(self, *args, **kwargs)
            return
        bound = signature.bind(self, *args, **kwargs).arguments
        names = [name for name in bound if name != "self"]

        def symbolic(*tensors: Any) -> None:
            update_state(self, **dict(zip(names, tensors, strict=True)))

        floats = self.dtype if dtype_of(self.dtype).is_float else floatx()
        run_on_arrays(self.name, symbolic, *(bound[name] for name in names), floats=floats)

    return wrapped


class PendingResult(Operators):
    """The result of a metric inside a program: known after each run, so it can be returned for the logs only.

    Python's operators work with numbers and with other such results: the logs get what they make of the numbers.
    """

    def __init__(self, metric: Metric) -> None:
        self.metric = metric

    def operate(self, name: str, *operands: Any) -> PendingResult:
        """What NumPy makes of the results, once they are known."""
        wrong = next((v for v in operands if isinstance(v, Operators) and not isinstance(v, PendingResult)), None)
        if wrong is not None:
            raise SymbolicError(f"{name} of a tensor and {self!r}", expected="numbers and results of metrics",
                                fix="Compute with the tensors that the metric takes in")  # fmt: skip
        return PendingResult(_OfResults(name, operands))

    def __repr__(self) -> str:
        return f"result of metric '{self.metric.name}', known after the step"


def _pending_in_programs(result: Callable[[Metric], Any]) -> Callable[[Metric], Any]:
    """Let a class' `result`, written for numbers, be asked for inside a step as well."""

    @functools.wraps(result)
    def wrapped(self: Metric) -> Any:
        return result(self) if active_trace() is None else PendingResult(self)

    return wrapped


class Metric:
    """Base of metrics. A subclass makes variables, and writes `update_state` with tensors and `result` with numbers.

    Args:
        name: shown in logs; the class name in snake case if None.
        dtype: element type of the state; `floatx` if None.

    >>> class Largest(Metric):
    ...     def __init__(self, name="largest"):
    ...         super().__init__(name=name)
    ...         self.seen = self.add_weight(name="seen")
    ...
    ...     def update_state(self, y_true, y_pred, sample_weight=None):
    ...         self.seen.assign(kgraph.ops.maximum(self.seen, kgraph.ops.max(y_pred)))
    ...
    ...     def result(self):
    ...         return self.seen * 1.0
    >>> import kgraph
    >>> metric = Largest()
    >>> metric.update_state([0, 0], [0.5, 2.0])
    >>> float(metric.result())
    2.0
    """

    _direction: str | None = None  # "up" or "down": which way is better, for callbacks; None if it is not known

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "update_state" in cls.__dict__:
            cls.update_state = _on_arrays_too(cls.__dict__["update_state"])  # type: ignore[method-assign]
        if "result" in cls.__dict__:
            cls.result = _pending_in_programs(cls.__dict__["result"])  # type: ignore[method-assign, assignment]

    def __init__(self, name: str | None = None, dtype: Any = None) -> None:
        self.name = name or snake_case(type(self).__name__)
        self.dtype = dtype_of(dtype or floatx()).numpy
        self.variables: list[Variable] = []

    def add_variable(
        self, shape: Sequence[int] = (), initializer: Any = "zeros", dtype: Any = None, name: str | None = None
    ) -> Variable:
        """A variable of the state; `reset_state` makes all of them 0."""
        value = get_initializer(initializer or "zeros")(tuple(shape), dtype=dtype_of(dtype or self.dtype).numpy)
        name = name or f"variable_{len(self.variables)}"
        variable = Variable(value, name, trainable=False, path=f"{self.name}/{name}")
        self.variables.append(variable)
        return variable

    def add_weight(
        self, shape: Sequence[int] = (), initializer: Any = None, dtype: Any = None, name: str | None = None
    ) -> Variable:
        """The same as `add_variable`."""
        return self.add_variable(shape, initializer, dtype, name)

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Take in values: part of the program being traced; outside of one arrays are taken in at once."""
        raise NotImplementedError(f"{type(self).__name__}.update_state")

    def result(self) -> Any:
        """The value so far."""
        raise NotImplementedError(f"{type(self).__name__}.result")

    def reset_state(self) -> None:
        """Forget all values."""
        for variable in self.variables:
            variable.clear()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Take in values and give the result so far."""
        self.update_state(*args, **kwargs)
        return self.result()

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"name": self.name, "dtype": self.dtype}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Metric:
        """A metric with these constructor arguments."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


class _OfResults(Metric):
    """A number computed from results of metrics.

    Args:
        operation: NumPy's name of it.
        operands: numbers, and results that are pending.
    """

    def __init__(self, operation: str, operands: Sequence[Any]) -> None:
        super().__init__(operation)
        self._operands = operands

    def result(self) -> Any:
        """What it is for the results so far."""
        numbers = [v.metric.result() if isinstance(v, PendingResult) else v for v in self._operands]
        return getattr(np, self.name)(*numbers)
