"""Metrics: running values over batches; their state is updated by the compiled program itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kgraph.config import floatx
from kgraph.eager import anywhere, is_symbolic, run_on_arrays
from kgraph.errors import ArgumentError, DTypeError
from kgraph.ir.dtypes import dtype_of, i32
from kgraph.ir.operators import cast
from kgraph.ir.types import TensorType
from kgraph.lookup import did_you_mean
from kgraph.losses import (
    binary_crossentropy,
    categorical_crossentropy,
    mean_absolute_error,
    mean_squared_error,
    sparse_categorical_crossentropy,
)
from kgraph.losses.base import align, type_of, weights_for
from kgraph.masks import mask_of, masked_weights
from kgraph.naming import snake_case
from kgraph.primitives.composites import argmax, equal, mean, reshape, size
from kgraph.primitives.composites import sum as total
from kgraph.trace import current_trace
from kgraph.variable import Variable

Array: TypeAlias = "npt.NDArray[Any]"


def _matches(a: Any, b: Any) -> Any:
    return cast(equal(a, b), dtype_of(floatx()))


def _argmax(value: Any) -> Any:
    return argmax(value, -1)


@anywhere
def accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where `y_true` equals `y_pred`, else 0."""
    return _matches(*align("accuracy", y_true, y_pred))


@anywhere
def binary_accuracy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Any:
    """1 where `y_pred > threshold` agrees with the label 0 or 1, else 0."""
    y_true, y_pred = align("binary_accuracy", y_true, y_pred)
    return _matches(y_true, cast(y_pred > threshold, type_of(y_true).dtype))


@anywhere
def categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where the largest of the probabilities is that of the one-hot label, else 0."""
    return _matches(_argmax(y_true), _argmax(y_pred))


@anywhere
def sparse_categorical_accuracy(y_true: Any, y_pred: Any) -> Any:
    """1 where the largest of the probabilities is that of the label, else 0.

    >>> sparse_categorical_accuracy([1, 0], [[0.1, 0.9], [0.2, 0.8]])
    array([1., 0.], dtype=float32)
    """
    labels = type_of(y_pred).shape[:-1]
    return _matches(cast(reshape(y_true, labels), i32), _argmax(y_pred))


class Metric:
    """Base of metrics. Subclasses add variables and write `update` with tensors and `result` with NumPy.

    Args:
        name: shown in logs; the class name in snake case if None.
        dtype: element type of the state; `floatx` if None.
    """

    def __init__(self, name: str | None = None, dtype: str | None = None) -> None:
        self.name = name or snake_case(type(self).__name__)
        self.dtype = dtype or floatx()
        self.variables: list[Variable] = []

    def add_variable(self, name: str, shape: tuple[int, ...] = ()) -> Variable:
        """A state variable that starts at 0, and again at every `reset_state`."""
        variable = Variable(np.zeros(shape, self.dtype), name, trainable=False, path=f"{self.name}/{name}")
        self.variables.append(variable)
        return variable

    def update(self, *values: Any, sample_weight: Any = None) -> None:
        """Add nodes that update the variables to the program being traced."""
        raise NotImplementedError(f"{type(self).__name__}.update")

    def update_state(self, *values: Any, sample_weight: Any = None) -> None:
        """Take in values: tensors while a program is traced, arrays otherwise."""
        if is_symbolic(*values):
            self.update(*values, sample_weight=sample_weight)
            return

        def symbolic(weights: Any, *tensors: Any) -> None:
            self.update(*tensors, sample_weight=weights)

        run_on_arrays(self.name, symbolic, sample_weight, *values, floats=self.dtype)

    def result(self) -> Any:
        """The value so far."""
        raise NotImplementedError(f"{type(self).__name__}.result")

    def reset_state(self) -> None:
        """Forget all values."""
        for variable in self.variables:
            variable.array[...] = 0

    def __call__(self, *values: Any, sample_weight: Any = None) -> Any:
        """Take in values and give the result so far."""
        self.update_state(*values, sample_weight=sample_weight)
        return self.result()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


class Mean(Metric):
    """(Weighted) mean of all values.

    >>> m = Mean()
    >>> m.update_state([1.0, 3.0, 5.0, 7.0])
    >>> float(m.result())
    4.0
    """

    def __init__(self, name: str | None = "mean", dtype: str | None = None) -> None:
        super().__init__(name, dtype)
        self.total = self.add_variable("total")
        self.count = self.add_variable("count")

    def update(self, *values: Any, sample_weight: Any = None) -> None:
        """Add the sum of the samples' means, and their number or weight."""
        (samples,) = values
        trace = current_trace()
        samples = cast(trace.lift(samples), dtype_of(self.dtype))
        kind = type_of(samples)
        if sample_weight is None:
            number = size(kind.shape[0], kind.dtype) if kind.rank else 1.0
        elif kind.rank == 0:
            number = cast(sample_weight, kind.dtype)
            samples = samples * number
        else:
            weights = weights_for(samples, sample_weight)
            samples = samples * weights
            number = total(_per_sample(weights), None)
        trace.assign(self.total, trace.read(self.total) + total(_per_sample(samples), None))
        trace.assign(self.count, trace.read(self.count) + number)

    def result(self) -> Any:
        """The mean; 0 before any value, as in Keras."""
        count = self.count.array
        return self.total.array / count if count else np.zeros_like(count)[()]


def _per_sample(values: Any) -> Any:
    """The mean of each sample, over all axes but the first."""
    rank = type_of(values).rank
    return mean(values, tuple(range(1, rank))) if rank > 1 else values


class Sum(Metric):
    """(Weighted) sum of all values."""

    def __init__(self, name: str | None = "sum", dtype: str | None = None) -> None:
        super().__init__(name, dtype)
        self.total = self.add_variable("total")

    def update(self, *values: Any, sample_weight: Any = None) -> None:
        """Add the sum of the values."""
        (samples,) = values
        trace = current_trace()
        samples = cast(trace.lift(samples), dtype_of(self.dtype))
        if sample_weight is not None:
            samples = samples * weights_for(samples, sample_weight)
        trace.assign(self.total, trace.read(self.total) + total(samples, None))

    def result(self) -> Any:
        """The sum."""
        return self.total.array[()]


class MeanMetricWrapper(Mean):
    """Mean of a function `fn(y_true, y_pred, **options)` that gives a value per sample."""

    def __init__(
        self, fn: Callable[..., Any], name: str | None = None, dtype: str | None = None, **options: Any
    ) -> None:
        super().__init__(name or getattr(fn, "__name__", None) or snake_case(type(fn).__name__), dtype)
        self.fn = fn
        self.options = options

    def update(self, *values: Any, sample_weight: Any = None) -> None:
        """Add the function's values for (y_true, y_pred)."""
        y_true, y_pred = values
        weights = masked_weights(sample_weight, mask_of(y_pred), dtype_of(self.dtype), average=False)
        super().update(self.fn(y_true, y_pred, **self.options), sample_weight=weights)


class Accuracy(MeanMetricWrapper):
    """How often `y_true` equals `y_pred`."""

    def __init__(self, name: str | None = "accuracy", dtype: str | None = None) -> None:
        super().__init__(accuracy, name, dtype)


class BinaryAccuracy(MeanMetricWrapper):
    """How often `y_pred > threshold` agrees with the label.

    >>> m = BinaryAccuracy()
    >>> m.update_state([1, 1, 0, 0], [0.98, 1.0, 0.0, 0.6])
    >>> float(m.result())
    0.75
    """

    def __init__(
        self, name: str | None = "binary_accuracy", dtype: str | None = None, threshold: float = 0.5
    ) -> None:
        super().__init__(binary_accuracy, name, dtype, threshold=threshold)


class CategoricalAccuracy(MeanMetricWrapper):
    """How often the likeliest class is that of the one-hot label."""

    def __init__(self, name: str | None = "categorical_accuracy", dtype: str | None = None) -> None:
        super().__init__(categorical_accuracy, name, dtype)


class SparseCategoricalAccuracy(MeanMetricWrapper):
    """How often the likeliest class is the label."""

    def __init__(self, name: str | None = "sparse_categorical_accuracy", dtype: str | None = None) -> None:
        super().__init__(sparse_categorical_accuracy, name, dtype)


class MeanSquaredError(MeanMetricWrapper):
    """Mean of (y_true - y_pred)^2."""

    def __init__(self, name: str | None = "mean_squared_error", dtype: str | None = None) -> None:
        super().__init__(mean_squared_error, name, dtype)


class RootMeanSquaredError(MeanMetricWrapper):
    """Square root of the mean of (y_true - y_pred)^2."""

    def __init__(self, name: str | None = "root_mean_squared_error", dtype: str | None = None) -> None:
        super().__init__(mean_squared_error, name, dtype)

    def result(self) -> Any:
        """The root of the mean so far."""
        return np.sqrt(super().result())


class MeanAbsoluteError(MeanMetricWrapper):
    """Mean of |y_true - y_pred|."""

    def __init__(self, name: str | None = "mean_absolute_error", dtype: str | None = None) -> None:
        super().__init__(mean_absolute_error, name, dtype)


class BinaryCrossentropy(MeanMetricWrapper):
    """Mean cross-entropy of labels 0 and 1."""

    def __init__(
        self, name: str | None = "binary_crossentropy", dtype: str | None = None, from_logits: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(
            binary_crossentropy, name, dtype, from_logits=from_logits, label_smoothing=label_smoothing
        )


class CategoricalCrossentropy(MeanMetricWrapper):
    """Mean cross-entropy of one-hot labels."""

    def __init__(
        self, name: str | None = "categorical_crossentropy", dtype: str | None = None, from_logits: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(
            categorical_crossentropy, name, dtype, from_logits=from_logits, label_smoothing=label_smoothing
        )


class SparseCategoricalCrossentropy(MeanMetricWrapper):
    """Mean cross-entropy of integer labels."""

    def __init__(
        self, name: str | None = "sparse_categorical_crossentropy", dtype: str | None = None, from_logits: bool = False
    ) -> None:
        super().__init__(sparse_categorical_crossentropy, name, dtype, from_logits=from_logits)


CLASSES: tuple[Callable[..., Metric], ...] = (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    MeanSquaredError,
    RootMeanSquaredError,
    MeanAbsoluteError,
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
)
SHORT_NAMES: dict[str, Callable[..., Metric]] = {
    "mse": MeanSquaredError,
    "MSE": MeanSquaredError,
    "mae": MeanAbsoluteError,
    "MAE": MeanAbsoluteError,
    "bce": BinaryCrossentropy,
    "BCE": BinaryCrossentropy,
}
# Which accuracy is meant follows from the shapes, once they are known.
ACCURACY = ("accuracy", "acc")


def get(identifier: Any) -> Any:
    """The metric that a name, function, class or instance means.

    >>> get("mse").name
    'mean_squared_error'
    """
    if isinstance(identifier, str):
        known = _table()
        if identifier not in known:
            raise ArgumentError(f"compile(metrics=[{identifier!r}]): unknown", fix=did_you_mean(identifier, known))
        identifier = known[identifier]
    if isinstance(identifier, type) and issubclass(identifier, Metric):
        return identifier()
    if not isinstance(identifier, Metric) and not callable(identifier):
        raise DTypeError("metric", expected="a name, a function or a Metric", received=repr(identifier))
    return identifier


def check_name(identifier: Any) -> None:
    """Raise what `get` would raise, before the shapes are known."""
    if identifier not in ACCURACY:
        get(identifier)


def as_metric(identifier: Any, y_true: TensorType, y_pred: TensorType) -> Metric:
    """The `Metric` object that `identifier` means for labels and predictions of these types.

    "accuracy" becomes binary accuracy where the output has one unit, sparse categorical accuracy where the labels are
    class numbers, else categorical accuracy. A metric given by name keeps that name in the logs, as in Keras.
    """
    if identifier in ACCURACY:
        metric: Metric
        if y_pred.shape[-1:] == (1,):
            metric = BinaryAccuracy()
        elif y_true.rank < y_pred.rank or y_true.shape[-1] == 1:
            metric = SparseCategoricalAccuracy()
        else:
            metric = CategoricalAccuracy()
    else:
        found = get(identifier)
        metric = found if isinstance(found, Metric) else MeanMetricWrapper(found)
    if isinstance(identifier, str):
        metric.name = identifier
    return metric


def _table() -> dict[str, Callable[..., Metric]]:
    classes = {getattr(cls, "__name__", ""): cls for cls in CLASSES}
    return {**{snake_case(name): cls for name, cls in classes.items()}, **SHORT_NAMES, **classes}
