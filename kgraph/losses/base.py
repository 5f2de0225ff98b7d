"""What all losses share: labels and predictions of one shape, weights, masks and reductions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from kgraph.config import floatx
from kgraph.eager import is_symbolic, run_on_arrays
from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dtypes import dtype_of
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import broadcast_to, cast
from kgraph.ir.types import TensorType
from kgraph.keras_tensor import shape_text
from kgraph.masks import both_masks, carry_mask, mask_of, masked_weights
from kgraph.naming import snake_case
from kgraph.primitives.composites import reshape, size
from kgraph.primitives.composites import sum as total

F = TypeVar("F", bound=Callable[..., Any])

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


class Loss:
    """Base of losses. Subclasses write `call(y_true, y_pred)`, which gives a value per sample.

    Args:
        name: shown in logs; the class name in snake case if None.
        reduction: "sum_over_batch_size" (or "mean"): mean over all values; "sum"; "mean_with_sample_weight": sum
            divided by the sum of the weights; "none" or None: a value per sample.
        dtype: element type that predictions are cast to; None leaves them as they are.
    """

    def __init__(
        self, name: str | None = None, reduction: str | None = "sum_over_batch_size", dtype: Any = None
    ) -> None:
        if reduction not in REDUCTIONS:
            known = ", ".join(map(repr, REDUCTIONS))
            raise ArgumentError("reduction", expected=f"one of {known}", received=repr(reduction))
        self.name = name or snake_case(type(self).__name__)
        self.reduction = reduction
        self.dtype = None if dtype is None else dtype_of(dtype).numpy

    @property
    def takes_labels(self) -> bool:
        """Whether `y_true` holds class numbers instead of values."""
        return False

    @property
    def takes_shares(self) -> bool:
        """Whether `y_true` must lie in [0, 1]."""
        return False

    @property
    def class_axis(self) -> int:
        """The axis of the classes in predictions."""
        return -1

    @property
    def ignore_class(self) -> int | None:
        """The class number that stands for a missing label; None for none."""
        return None

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
        if self.dtype is not None:
            y_pred = carry_mask(y_pred, cast(y_pred, dtype_of(self.dtype)))
        values = self.call(y_true, y_pred)
        kind = type_of(values)
        average = self.reduction in ("mean", "sum_over_batch_size")
        mask = both_masks(mask_of(y_pred), mask_of(values))
        sample_weight = masked_weights(sample_weight, mask, kind.dtype, average)
        if sample_weight is not None:
            if not kind.rank:  # one value for the whole batch, such as an overlap: it counts once for each sample
                values = broadcast_to(values, type_of(sample_weight).shape)
            kind = type_of(values)
            values = values * weights_for(values, sample_weight)
        if self.reduction in ("none", None) or kind.rank == 0:
            return values
        reduced = total(values, None)
        if self.reduction == "sum":
            return reduced
        if self.reduction == "mean_with_sample_weight" and sample_weight is not None:
            return reduced / total(cast(sample_weight, kind.dtype), None)
        return reduced / size(kind.size, kind.dtype)


def takes_labels(function: F) -> F:
    """Mark a loss function whose `y_true` holds class numbers instead of values."""
    function.takes_labels = True  # type: ignore[attr-defined]
    return function


def takes_shares(function: F) -> F:
    """Mark a loss function whose `y_true` must lie in [0, 1]."""
    function.takes_shares = True  # type: ignore[attr-defined]
    return function


def weights_for(values: Any, sample_weight: Any) -> Any:
    """One weight per sample, or one for all, repeated over the other axes of `values`."""
    kind, given = type_of(values), type_of(sample_weight)
    if given.shape not in ((), kind.shape[:1], (*kind.shape[:1], 1), kind.shape):
        raise ShapeError("sample_weight", expected="one weight per sample, or one for all", received=shape_text(given))
    weights = cast(sample_weight, kind.dtype)
    if given.rank and given.shape != kind.shape:
        weights = reshape(weights, (*kind.shape[:1], *[1] * (kind.rank - 1)))
    return broadcast_to(weights, kind.shape)


class LossFunctionWrapper(Loss):
    """A loss made of a function of (y_true, y_pred, **options)."""

    def __init__(
        self, fn: Callable[..., Any], reduction: str | None = "sum_over_batch_size", name: str | None = None,
        dtype: Any = None, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(name or getattr(fn, "__name__", None), reduction, dtype)
        self.fn = fn
        self.options = options

    @property
    def takes_labels(self) -> bool:
        """Whether `y_true` holds class numbers instead of values."""
        return bool(getattr(self.fn, "takes_labels", False))

    @property
    def takes_shares(self) -> bool:
        """Whether `y_true` must lie in [0, 1]."""
        return bool(getattr(self.fn, "takes_shares", False))

    @property
    def class_axis(self) -> int:
        """The axis of the classes in predictions."""
        return int(self.options.get("axis", -1)) if self.takes_labels else -1

    @property
    def ignore_class(self) -> int | None:
        """The class number that stands for a missing label; None for none."""
        return self.options.get("ignore_class")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        return self.fn(y_true, y_pred, **self.options)

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal loss."""
        return {**super().get_config(), **self.options}
