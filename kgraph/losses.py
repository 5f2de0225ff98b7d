"""Losses: one function and one class each, with Keras' names, defaults and numerics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kgraph.config import epsilon, floatx
from kgraph.eager import anywhere, is_symbolic, run_on_arrays
from kgraph.errors import ArgumentError, DTypeError, ShapeError
from kgraph.ir.dtypes import i32
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import broadcast_to, cast
from kgraph.ir.types import TensorType
from kgraph.keras_tensor import shape_text
from kgraph.lookup import did_you_mean
from kgraph.masks import mask_of, masked_weights
from kgraph.naming import snake_case
from kgraph.primitives.composites import mean, one_hot, reshape, size, square
from kgraph.primitives.composites import sum as total

REDUCTIONS = ("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none", None)


def type_of(value: Any) -> TensorType:
    """Element type and shape of a symbolic tensor."""
    return current_emitter().type_of(value)


def align(where: str, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """`y_true` and `y_pred` with one element type (that of `y_pred`) and one shape.

    As in Keras, a last axis of size 1 that only one of them has is added or dropped. Nothing else is broadcast:
    ShapeError, where other libraries would quietly compare every row with every row.
    """
    true, pred = type_of(y_true), type_of(y_pred)
    if true.rank == pred.rank + 1 and true.shape[-1] == 1:
        if pred.rank == 1:
            y_pred = reshape(y_pred, (*pred.shape, 1))
        else:
            y_true = reshape(y_true, true.shape[:-1])
    elif pred.rank == true.rank + 1 and pred.shape[-1] == 1:
        if true.rank == 1:
            y_true = reshape(y_true, (*true.shape, 1))
        else:
            y_pred = reshape(y_pred, pred.shape[:-1])
    if type_of(y_true).shape != type_of(y_pred).shape:
        expected = f"the shape of y_pred, {shape_text(pred)}"
        raise ShapeError(f"{where}: y_true", expected=expected, received=shape_text(true),
                         fix="Only a last axis of size 1 may be missing")  # fmt: skip
    return cast(y_true, pred.dtype), y_pred


@anywhere
def mean_squared_error(y_true: Any, y_pred: Any) -> Any:
    """mean((y_true - y_pred)^2) over the last axis.

    >>> mean_squared_error([[0.0, 1.0]], [[0.0, 3.0]])
    array([2.], dtype=float32)
    """
    y_true, y_pred = align("mean_squared_error", y_true, y_pred)
    return mean(square(y_true - y_pred), -1)


@anywhere
def mean_absolute_error(y_true: Any, y_pred: Any) -> Any:
    """mean(|y_true - y_pred|) over the last axis.

    >>> mean_absolute_error([[0.0, 1.0]], [[0.0, 3.0]])
    array([1.], dtype=float32)
    """
    y_true, y_pred = align("mean_absolute_error", y_true, y_pred)
    return mean(abs(y_true - y_pred), -1)


@anywhere
def binary_crossentropy(y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0) -> Any:
    """-(t log p + (1 - t) log(1 - p)), averaged over the last axis.

    Args:
        y_true: labels t in [0, 1].
        y_pred: probabilities p, clipped to [epsilon, 1 - epsilon]; logits if `from_logits`.
        from_logits: whether a sigmoid is still to come.
        label_smoothing: in [0, 1]; moves labels towards 0.5.
    """
    y_true, y_pred = align("binary_crossentropy", y_true, y_pred)
    if label_smoothing:
        y_true = y_true * (1.0 - label_smoothing) + 0.5 * label_smoothing
    if from_logits:
        losses = current_emitter().emit("sigmoid_crossentropy", y_pred, y_true)
    else:
        losses = current_emitter().emit("binary_crossentropy", y_pred, y_true, epsilon=epsilon())
    return mean(losses, -1)


@anywhere
def categorical_crossentropy(y_true: Any, y_pred: Any, from_logits: bool = False, label_smoothing: float = 0.0) -> Any:
    """-sum(t log p) over the last axis, for one-hot (or soft) labels.

    Args:
        y_true: labels t of the shape of `y_pred`.
        y_pred: probabilities p, divided by their sum and clipped to [epsilon, 1 - epsilon]; logits if `from_logits`.
        from_logits: whether a softmax is still to come.
        label_smoothing: in [0, 1]; mixes labels with the uniform distribution.
    """
    true, pred = type_of(y_true), type_of(y_pred)
    if true.shape != pred.shape:
        labels = true.rank == pred.rank - 1 or (true.rank == pred.rank and true.shape[-1] == 1)
        fix = "Use sparse_categorical_crossentropy for integer labels, or to_categorical" if labels else ""
        raise ShapeError("categorical_crossentropy: y_true", expected=f"one-hot rows {shape_text(pred)}",
                         received=shape_text(true), fix=fix)  # fmt: skip
    y_true = cast(y_true, pred.dtype)
    if label_smoothing:
        classes = pred.shape[-1]
        if not isinstance(classes, int):
            raise ShapeError("label_smoothing", expected="a known number of classes", received=shape_text(pred))
        y_true = y_true * (1.0 - label_smoothing) + label_smoothing / classes
    return _crossentropy(y_true, y_pred, from_logits)


@anywhere
def sparse_categorical_crossentropy(y_true: Any, y_pred: Any, from_logits: bool = False) -> Any:
    """-log p[label], for integer labels.

    Args:
        y_true: labels in [0, classes), of the shape of `y_pred` without its last axis, or with 1 there.
        y_pred: probabilities as in `categorical_crossentropy`; logits if `from_logits`.
        from_logits: whether a softmax is still to come.
    """
    true, pred = type_of(y_true), type_of(y_pred)
    labels = pred.shape[:-1]
    if true.shape not in (labels, (*labels, 1)):
        fix = "Use categorical_crossentropy for one-hot labels, or argmax" if true.shape == pred.shape else ""
        raise ShapeError("sparse_categorical_crossentropy: y_true",
                         expected=f"integer labels {shape_text(TensorType(pred.dtype, labels))}",
                         received=shape_text(true), fix=fix)  # fmt: skip
    whole = y_true if true.dtype.is_integer else cast(y_true, i32)
    targets = one_hot(reshape(whole, labels), pred.shape[-1], pred.dtype)
    return _crossentropy(targets, y_pred, from_logits)


def _crossentropy(targets: Any, y_pred: Any, from_logits: bool) -> Any:
    emitter = current_emitter()
    if from_logits:
        return emitter.emit("softmax_crossentropy", y_pred, targets)[0]
    return emitter.emit("categorical_crossentropy", y_pred, targets, epsilon=epsilon())


class Loss:
    """Base of losses. Subclasses write `call(y_true, y_pred)`, which gives a value per sample.

    Args:
        name: shown in logs; the class name in snake case if None.
        reduction: "sum_over_batch_size" (or "mean"): mean over all values; "sum"; "mean_with_sample_weight": sum
            divided by the sum of the weights; "none" or None: a value per sample.
    """

    def __init__(self, name: str | None = None, reduction: str | None = "sum_over_batch_size") -> None:
        if reduction not in REDUCTIONS:
            known = ", ".join(map(repr, REDUCTIONS))
            raise ArgumentError("reduction", expected=f"one of {known}", received=repr(reduction))
        self.name = name or snake_case(type(self).__name__)
        self.reduction = reduction

    @property
    def takes_labels(self) -> bool:
        """Whether `y_true` holds class numbers instead of values."""
        return False

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        raise NotImplementedError(f"{type(self).__name__}.call")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The reduced loss, of tensors in a program or of arrays."""
        if is_symbolic(y_true, y_pred):
            return self._reduced(y_true, y_pred, sample_weight)
        return run_on_arrays(self.name, self._reduced, y_true, y_pred, sample_weight, floats=floatx())

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal loss."""
        return {"name": self.name, "reduction": self.reduction}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Loss:
        """The loss that `get_config` described."""
        return cls(**config)

    def _reduced(self, y_true: Any, y_pred: Any, sample_weight: Any) -> Any:
        values = self.call(y_true, y_pred)
        kind = type_of(values)
        average = self.reduction in ("mean", "sum_over_batch_size")
        sample_weight = masked_weights(sample_weight, mask_of(y_pred), kind.dtype, average)
        if sample_weight is not None:
            values = values * weights_for(values, sample_weight)
        if self.reduction in ("none", None) or kind.rank == 0:
            return values
        reduced = total(values, None)
        if self.reduction == "sum":
            return reduced
        if self.reduction == "mean_with_sample_weight" and sample_weight is not None:
            return reduced / total(cast(sample_weight, kind.dtype), None)
        return reduced / size(kind.size, kind.dtype)


def weights_for(values: Any, sample_weight: Any) -> Any:
    """One weight per sample, repeated over the other axes of `values`."""
    kind, given = type_of(values), type_of(sample_weight)
    if given.shape not in (kind.shape[:1], (*kind.shape[:1], 1), kind.shape):
        raise ShapeError("sample_weight", expected="one weight per sample", received=shape_text(given))
    weights = cast(sample_weight, kind.dtype)
    if given.shape != kind.shape:
        weights = reshape(weights, (*kind.shape[:1], *[1] * (kind.rank - 1)))
    return broadcast_to(weights, kind.shape)


class LossFunctionWrapper(Loss):
    """A loss made of a function of (y_true, y_pred, **options)."""

    def __init__(
        self, fn: Callable[..., Any], reduction: str | None = "sum_over_batch_size", name: str | None = None,
        **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(name or getattr(fn, "__name__", None), reduction)
        self.fn = fn
        self.options = options

    @property
    def takes_labels(self) -> bool:
        """Whether `y_true` holds class numbers instead of values."""
        return self.fn is sparse_categorical_crossentropy

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        return self.fn(y_true, y_pred, **self.options)

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal loss."""
        return {**super().get_config(), **self.options}


class MeanSquaredError(LossFunctionWrapper):
    """Mean of (y_true - y_pred)^2."""

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str | None = "mean_squared_error") -> None:
        super().__init__(mean_squared_error, reduction, name)


class MeanAbsoluteError(LossFunctionWrapper):
    """Mean of |y_true - y_pred|."""

    def __init__(self, reduction: str | None = "sum_over_batch_size", name: str | None = "mean_absolute_error") -> None:
        super().__init__(mean_absolute_error, reduction, name)


class BinaryCrossentropy(LossFunctionWrapper):
    """Cross-entropy of labels 0 and 1; arguments as in `binary_crossentropy`."""

    def __init__(
        self, from_logits: bool = False, label_smoothing: float = 0.0,
        reduction: str | None = "sum_over_batch_size", name: str | None = "binary_crossentropy",
    ) -> None:  # fmt: skip
        super().__init__(binary_crossentropy, reduction, name, from_logits=from_logits, label_smoothing=label_smoothing)


class CategoricalCrossentropy(LossFunctionWrapper):
    """Cross-entropy of one-hot labels; arguments as in `categorical_crossentropy`."""

    def __init__(
        self, from_logits: bool = False, label_smoothing: float = 0.0,
        reduction: str | None = "sum_over_batch_size", name: str | None = "categorical_crossentropy",
    ) -> None:  # fmt: skip
        super().__init__(
            categorical_crossentropy, reduction, name, from_logits=from_logits, label_smoothing=label_smoothing
        )


class SparseCategoricalCrossentropy(LossFunctionWrapper):
    """Cross-entropy of integer labels; arguments as in `sparse_categorical_crossentropy`."""

    def __init__(
        self, from_logits: bool = False, reduction: str | None = "sum_over_batch_size",
        name: str | None = "sparse_categorical_crossentropy",
    ) -> None:  # fmt: skip
        super().__init__(sparse_categorical_crossentropy, reduction, name, from_logits=from_logits)


CLASSES: tuple[type[LossFunctionWrapper], ...] = (
    MeanSquaredError,
    MeanAbsoluteError,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
    BinaryCrossentropy,
)
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "mean_squared_error": mean_squared_error,
    "mean_absolute_error": mean_absolute_error,
    "categorical_crossentropy": categorical_crossentropy,
    "sparse_categorical_crossentropy": sparse_categorical_crossentropy,
    "binary_crossentropy": binary_crossentropy,
    "mse": mean_squared_error,
    "MSE": mean_squared_error,
    "mae": mean_absolute_error,
    "MAE": mean_absolute_error,
    "bce": binary_crossentropy,
    "BCE": binary_crossentropy,
}
mse = MSE = mean_squared_error
mae = MAE = mean_absolute_error
bce = BCE = binary_crossentropy


def get(identifier: Any) -> Any:
    """The loss that a name, function, class or instance means; None stays None.

    >>> get("mse").__name__, get("MeanSquaredError").name
    ('mean_squared_error', 'mean_squared_error')
    """
    if isinstance(identifier, str):
        known = {**FUNCTIONS, **{cls.__name__: cls for cls in CLASSES}}
        if identifier not in known:
            # Part of a name is the commonest slip: the first that contains it is the likeliest.
            within = [name for name in known if identifier.lower() in name]
            fix = f"Did you mean '{within[0]}'?" if within and identifier else did_you_mean(identifier, known)
            raise ArgumentError(f"compile(loss={identifier!r}): unknown", fix=fix)
        identifier = known[identifier]
    if isinstance(identifier, type) and issubclass(identifier, Loss):
        return identifier()
    if identifier is not None and not callable(identifier):
        raise DTypeError("loss", expected="a name, a function or a Loss", received=repr(identifier))
    return identifier


def as_loss(identifier: Any) -> Loss | None:
    """The `Loss` object that `identifier` means; functions are wrapped."""
    found = get(identifier)
    if found is None or isinstance(found, Loss):
        return found
    name = identifier if isinstance(identifier, str) else None
    return LossFunctionWrapper(found, name=name)
