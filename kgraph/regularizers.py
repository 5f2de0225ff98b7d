"""Regularizers: penalties on weights or outputs, added to the loss of the compiled step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

import kgraph.ops as ops
from kgraph.eager import anywhere
from kgraph.errors import ArgumentError, ShapeError
from kgraph.families import Family
from kgraph.ir.opdef import current_emitter
from kgraph.keras_tensor import shape_text
from kgraph.lookup import find
from kgraph.primitives.composites import square, transpose
from kgraph.primitives.composites import sum as total


@anywhere
def _norm_penalty(x: Any, l1: float = 0.0, l2: float = 0.0) -> Any:
    """l1 sum |x| + l2 sum x^2, without the parts that are zero."""
    parts = [total(abs(x), None) * l1] if l1 else []
    parts += [total(square(x), None) * l2] if l2 else []
    if not parts:
        return current_emitter().constant(0.0, current_emitter().type_of(x).dtype)
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


@anywhere
def _mean_overlap(x: Any, mode: str = "rows") -> Any:
    """Mean of |cosine of the angle| over all pairs of different rows or columns; 0 if there is only one."""
    emitter = current_emitter()
    kind = emitter.type_of(x)
    count = kind.shape[0 if mode == "rows" else -1] if kind.rank == 2 else None
    if not isinstance(count, int):
        raise ShapeError("OrthogonalRegularizer", expected="a matrix of known size", received=shape_text(kind))
    rows = x if mode == "rows" else transpose(x)
    unit = ops.normalize(rows, 1)
    different = total(abs(unit @ transpose(unit)) * (1.0 - np.eye(count)), None)
    return different / max(count * (count - 1.0), 1.0)


class Regularizer:
    """Base of regularizers: called with a weight or an output, gives a number that is added to the loss.

    A subclass of the user's own defines ``__call__(x)`` with tensors and, to be saved, ``get_config``.
    """

    def __call__(self, x: Any) -> Any:
        """The penalty: a tensor of rank 0 in a program, a number for arrays."""
        raise NotImplementedError(f"{type(self).__name__}.__call__(x)")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Regularizer:
        """A regularizer with these constructor arguments."""
        return cls(**config)


class L1L2(Regularizer):
    """``l1 * sum(|x|) + l2 * sum(x^2)``.

    Args:
        l1, l2: factors >= 0; None is 0.

    >>> float(L1L2(l1=0.5, l2=0.25)([1.0, -2.0]))
    2.75
    """

    def __init__(self, l1: float | None = 0.0, l2: float | None = 0.0) -> None:
        self.l1 = _factor("L1L2(l1=...)", 0.0 if l1 is None else l1)
        self.l2 = _factor("L1L2(l2=...)", 0.0 if l2 is None else l2)

    def __call__(self, x: Any) -> Any:
        """The penalty of `x`."""
        return _norm_penalty(x, l1=self.l1, l2=self.l2)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"l1": self.l1, "l2": self.l2}


class L1(Regularizer):
    """``l1 * sum(|x|)``.

    Args:
        l1: factor >= 0.
    """

    def __init__(self, l1: float = 0.01) -> None:
        self.l1 = _factor("L1(l1=...)", l1)

    def __call__(self, x: Any) -> Any:
        """The penalty of `x`."""
        return _norm_penalty(x, l1=self.l1)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"l1": self.l1}


class L2(Regularizer):
    """``l2 * sum(x^2)``.

    Args:
        l2: factor >= 0.
    """

    def __init__(self, l2: float = 0.01) -> None:
        self.l2 = _factor("L2(l2=...)", l2)

    def __call__(self, x: Any) -> Any:
        """The penalty of `x`."""
        return _norm_penalty(x, l2=self.l2)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"l2": self.l2}


class OrthogonalRegularizer(Regularizer):
    """``factor`` times the mean of |cosine of the angle| over all pairs of rows (or columns) of a matrix.

    Args:
        factor: >= 0.
        mode: "rows" or "columns".

    >>> float(OrthogonalRegularizer(1.0)([[3.0, 0.0], [0.0, 2.0]]))
    0.0
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        self.factor = _factor("OrthogonalRegularizer(factor=...)", factor)
        self.mode = find("OrthogonalRegularizer(mode=...)", mode, {name: name for name in ("rows", "columns")})

    def __call__(self, x: Any) -> Any:
        """The penalty of the matrix `x`."""
        return _mean_overlap(x, mode=self.mode) * self.factor

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"factor": self.factor, "mode": self.mode}


def _factor(argument: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ArgumentError(argument, expected="a number >= 0", received=repr(value))
    return float(value)


# The spellings of `keras.regularizers.<name>`.
l1, l2, l1_l2, orthogonal_regularizer = L1, L2, L1L2, OrthogonalRegularizer

FAMILY = Family("regularizer", (L1, L2, L1L2, OrthogonalRegularizer), {"l1_l2": L1L2})


def get(identifier: Any, argument: str = "regularizer") -> Any:
    """The regularizer that a name, class, configuration, instance or function means; None stays None.

    >>> get("l2").get_config()
    {'l2': 0.01}
    """
    return FAMILY.get(identifier, argument)


def serialize(regularizer: Any) -> Any:
    """The regularizer as Keras writes it into a layer's configuration."""
    return FAMILY.serialize(regularizer)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The regularizer that `serialize` described; a plain name works too."""
    return FAMILY.deserialize(config, custom_objects)
