"""Constraints: what a weight is replaced by after each update, in the same compiled step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kgraph.config import epsilon
from kgraph.eager import anywhere
from kgraph.errors import ArgumentError
from kgraph.families import Family
from kgraph.primitives.composites import clip, maximum, sqrt, square
from kgraph.primitives.composites import sum as total

Axes = int | Sequence[int]


def _norms(w: Any, axis: Axes) -> Any:
    return sqrt(total(square(w), axis, keepdims=True))


@anywhere
def _non_negative(w: Any) -> Any:
    return maximum(w, 0.0)


@anywhere
def _of_unit_norm(w: Any, axis: Axes = 0) -> Any:
    return w / (_norms(w, axis) + epsilon())


@anywhere
def _with_norm_within(w: Any, low: float = 0.0, high: float = 1.0, rate: float = 1.0, axis: Axes = 0) -> Any:
    """`w` with norms moved to [low, high], by the share `rate` of the way."""
    norms = _norms(w, axis)
    wanted = clip(norms, low, high)
    if rate != 1:
        wanted = wanted * rate + norms * (1 - rate)
    return w * (wanted / (norms + epsilon()))


class Constraint:
    """Base of constraints: called with a weight after its update, gives what it becomes.

    A subclass of the user's own defines ``__call__(w)`` with tensors and, to be saved, ``get_config``.
    """

    def __call__(self, w: Any) -> Any:
        """The value that the weight `w` gets, of the same shape: a tensor in a program, an array for arrays."""
        raise NotImplementedError(f"{type(self).__name__}.__call__(w)")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Constraint:
        """A constraint with these constructor arguments."""
        return cls(**config)


class MaxNorm(Constraint):
    """Scales vectors of a weight down to a Euclidean norm of at most `max_value`.

    Args:
        max_value: largest norm, >= 0.
        axis: axis or axes of the vectors: 0 for the inputs of each unit of Dense, ``[0, 1, 2]`` for the filters of
            Conv2D.

    Source: Srivastava et al. (2014).
    """

    def __init__(self, max_value: float = 2, axis: Axes = 0) -> None:
        self.max_value = max_value
        self.axis = axis

    def __call__(self, w: Any) -> Any:
        """`w` with norms of at most `max_value`."""
        return _with_norm_within(w, high=self.max_value, axis=self.axis)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"max_value": self.max_value, "axis": self.axis}


class MinMaxNorm(Constraint):
    """Moves the Euclidean norm of vectors of a weight into ``[min_value, max_value]``.

    Args:
        min_value, max_value: limits, 0 <= min_value <= max_value.
        rate: share of the way that is gone at each update: 1 for all of it.
        axis: as in `MaxNorm`.
    """

    def __init__(self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Axes = 0) -> None:
        if not 0 <= min_value <= max_value:
            expected, received = "0 <= min_value <= max_value", f"{min_value!r}, {max_value!r}"
            raise ArgumentError("MinMaxNorm", expected=expected, received=received)
        self.min_value, self.max_value = min_value, max_value
        self.rate = rate
        self.axis = axis

    def __call__(self, w: Any) -> Any:
        """`w` with norms inside the limits, or nearer to them."""
        return _with_norm_within(w, low=self.min_value, high=self.max_value, rate=self.rate, axis=self.axis)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"min_value": self.min_value, "max_value": self.max_value, "rate": self.rate, "axis": self.axis}


class NonNeg(Constraint):
    """Replaces negative elements by 0.

    >>> NonNeg()([-1.0, 2.0])
    array([0., 2.], dtype=float32)
    """

    def __call__(self, w: Any) -> Any:
        """max(w, 0)."""
        return _non_negative(w)


class UnitNorm(Constraint):
    """Scales vectors of a weight to a Euclidean norm of 1; `axis` as in `MaxNorm`."""

    def __init__(self, axis: Axes = 0) -> None:
        self.axis = axis

    def __call__(self, w: Any) -> Any:
        """`w` with norms of 1."""
        return _of_unit_norm(w, axis=self.axis)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"axis": self.axis}


# The spellings of `keras.constraints.<name>`.
max_norm, min_max_norm, non_neg, unit_norm = MaxNorm, MinMaxNorm, NonNeg, UnitNorm

FAMILY = Family("constraint", (MaxNorm, MinMaxNorm, NonNeg, UnitNorm))


def get(identifier: Any, argument: str = "constraint") -> Any:
    """The constraint that a name, class, configuration, instance or function means; None stays None.

    >>> get("max_norm").get_config()
    {'max_value': 2, 'axis': 0}
    """
    return FAMILY.get(identifier, argument)


def serialize(constraint: Any) -> Any:
    """The constraint as Keras writes it into a layer's configuration."""
    return FAMILY.serialize(constraint)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The constraint that `serialize` described; a plain name works too."""
    return FAMILY.deserialize(config, custom_objects)
