"""Layers that join several tensors: elementwise, side by side, or by sums of products."""

from __future__ import annotations

import functools
from typing import Any

from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dims import product
from kgraph.ir.dtypes import bool_
from kgraph.ir.operators import binary, broadcast_to
from kgraph.ir.types import broadcast_shapes
from kgraph.layers.arguments import whole_number
from kgraph.layers.base import Layer
from kgraph.layers.history import described
from kgraph.layers.normalization import unit_length
from kgraph.primitives import composites


class Merge(Layer):
    """Base of the layers that take a list of tensors."""

    def check_inputs(self, inputs: Any) -> None:
        """There must be a list of at least one tensor."""
        if not isinstance(inputs, (list, tuple)) or not inputs:
            received = "one tensor" if hasattr(inputs, "type") else repr(inputs)
            raise ArgumentError(self.label, expected="a list of tensors", received=received, fix="Write layer([a, b])")


class Elementwise(Merge):
    """Base of the layers that combine tensors whose shapes broadcast; a lower rank gets axes of size 1 after the batch.

    Input: list of tensors. Output shape: what they broadcast to.
    """

    def check_inputs(self, inputs: Any) -> None:
        """The shapes must broadcast."""
        super().check_inputs(inputs)
        rank = max(t.type.rank for t in inputs)
        try:
            broadcast_shapes(*(_raised(t.type.shape, rank) for t in inputs))
        except ShapeError:
            listed = " and ".join(described(t) for t in inputs)
            raise ShapeError(f"{self.label}: inputs {listed} do not broadcast") from None

    def combine(self, a: Any, b: Any) -> Any:
        """Two tensors as one; subclasses define it."""
        raise NotImplementedError(f"{type(self).__name__}.combine is not defined")

    def call(self, inputs: Any) -> Any:
        """All tensors as one, from left to right."""
        rank = max(x.type.rank for x in inputs)
        return functools.reduce(self.combine, [composites.reshape(x, _raised(x.type.shape, rank)) for x in inputs])

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """A step counts if it does in any input; no mask unless all inputs have one."""
        if mask is None or any(each is None for each in mask):
            return None
        return functools.reduce(functools.partial(binary, "logical_or"), mask)


class Add(Elementwise):
    """The sum of tensors."""

    def combine(self, a: Any, b: Any) -> Any:
        """The sum of two."""
        return a + b


class Subtract(Elementwise):
    """The first of two tensors minus the second one."""

    def check_inputs(self, inputs: Any) -> None:
        """There must be two tensors."""
        super().check_inputs(inputs)
        if len(inputs) != 2:
            raise ArgumentError(self.label, expected="a list of 2 tensors", received=str(len(inputs)))

    def combine(self, a: Any, b: Any) -> Any:
        """The difference."""
        return a - b


class Multiply(Elementwise):
    """The product of tensors."""

    def combine(self, a: Any, b: Any) -> Any:
        """The product of two."""
        return a * b


class Average(Add):
    """The mean of tensors."""

    def call(self, inputs: Any) -> Any:
        """The sum divided by the number of tensors."""
        return super().call(inputs) / float(len(inputs))


class Maximum(Elementwise):
    """The largest of the tensors' elements at each place."""

    def combine(self, a: Any, b: Any) -> Any:
        """The larger one."""
        return composites.maximum(a, b)


class Minimum(Elementwise):
    """The smallest of the tensors' elements at each place."""

    def combine(self, a: Any, b: Any) -> Any:
        """The smaller one."""
        return composites.minimum(a, b)


class Concatenate(Merge):
    """Tensors joined along an axis.

    Args:
        axis: counts the batch as 0; negative counts from the end.

    Input: list of tensors, equal in all other axes. Output shape: sizes along `axis` added up.
    """

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis if isinstance(axis, int) else whole_number(self.label, "axis", axis, -(2**31))

    def check_inputs(self, inputs: Any) -> None:
        """Ranks and all axes but one must agree."""
        super().check_inputs(inputs)
        first = inputs[0].type
        if not -first.rank <= self.axis < first.rank:
            expected = f"an axis in {-first.rank}..{first.rank - 1}"
            raise ArgumentError(f"{self.label}: axis", expected=expected, received=str(self.axis))
        axis = self.axis % first.rank
        for other in inputs[1:]:
            agree = other.type.rank == first.rank and all(
                a == b for n, (a, b) in enumerate(zip(first.shape, other.type.shape)) if n != axis
            )
            if not agree:
                listed = f"{described(inputs[0])} and {described(other)}"
                fix = f"All axes but axis {self.axis} must agree"
                raise ShapeError(f"{self.label}: inputs {listed} cannot be joined along axis {self.axis}", fix=fix)

    def call(self, inputs: Any) -> Any:
        """The tensors, joined."""
        return composites.concatenate(inputs, self.axis)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The masks, joined along the same axis; along the last one a step counts if it does in any input."""
        if mask is None or all(each is None for each in mask):
            return None
        joined = composites.concatenate([_spread_mask(x, each) for x, each in zip(inputs, mask)], self.axis)
        return composites.sum(joined, -1) > 0

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "axis": self.axis}


class Dot(Merge):
    """Sums of products of two tensors along an axis of each, for each sample.

    Args:
        axes: the axis of both, or a pair with the axis of each; the batch counts as 0 and cannot be chosen.
        normalize: divide by the norms along these axes first: the result is the cosine of the angle.

    Input: list of two tensors ``(batch, ...)`` of rank >= 2. Output shape: the other axes of the first one, then those
    of the second one without the batch; ``(batch, 1)`` if there are none.
    """

    def __init__(self, axes: Any, normalize: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        pair = axes if isinstance(axes, (list, tuple)) else (axes, axes)
        if len(pair) != 2:
            raise ArgumentError(f"{self.label}: axes", expected="an int or two", received=repr(axes))
        self.axes = tuple(whole_number(self.label, "axes", a, -(2**31)) for a in pair)
        self.normalize = bool(normalize)

    def check_inputs(self, inputs: Any) -> None:
        """There must be two tensors with equal sizes along the axes."""
        super().check_inputs(inputs)
        if len(inputs) != 2:
            raise ArgumentError(self.label, expected="a list of 2 tensors", received=str(len(inputs)))
        for axis, tensor in zip(self.axes, inputs):
            rank = tensor.type.rank
            if rank < 2 or not -rank <= axis < rank or axis % rank == 0:
                expected = f"an axis in 1..{rank - 1} of {described(tensor)}"
                raise ArgumentError(f"{self.label}: axes", expected=expected, received=str(axis))
        sizes = [t.type.shape[a] for a, t in zip(self.axes, inputs)]
        if sizes[0] != sizes[1]:
            listed = " and ".join(described(t) for t in inputs)
            raise ShapeError(f"{self.label}: inputs {listed} have sizes {sizes[0]} and {sizes[1]} along {self.axes}")

    def call(self, inputs: Any) -> Any:
        """The sums of products."""
        (x, y), axes = inputs, [a % t.type.rank for a, t in zip(self.axes, inputs)]
        if self.normalize:
            x, y = unit_length(x, axes[:1]), unit_length(y, axes[1:])
        shape = x.type.shape
        left, right = ([d for a, d in enumerate(t.type.shape) if a not in (0, axis)] for t, axis in zip((x, y), axes))
        # As matrices: (batch, others of x, axis) times (batch, axis, others of y).
        rows = composites.transpose(x, [a for a in range(x.type.rank) if a != axes[0]] + [axes[0]])
        columns = composites.transpose(y, [0, axes[1]] + [a for a in range(1, y.type.rank) if a != axes[1]])
        size = shape[axes[0]]
        a = composites.reshape(rows, (shape[0], product(tuple(left)), size))
        b = composites.reshape(columns, (shape[0], size, product(tuple(right))))
        return composites.reshape(composites.matmul(a, b), (shape[0], *([*left, *right] or [1])))

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """None: the products have none."""

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "axes": self.axes, "normalize": self.normalize}


def add(inputs: Any, **kwargs: Any) -> Any:
    """The sum of a list of tensors: an `Add` layer, made and called."""
    return Add(**kwargs)(inputs)


def subtract(inputs: Any, **kwargs: Any) -> Any:
    """The first of two tensors minus the second one: a `Subtract` layer, made and called."""
    return Subtract(**kwargs)(inputs)


def multiply(inputs: Any, **kwargs: Any) -> Any:
    """The product of a list of tensors: a `Multiply` layer, made and called."""
    return Multiply(**kwargs)(inputs)


def average(inputs: Any, **kwargs: Any) -> Any:
    """The mean of a list of tensors: an `Average` layer, made and called."""
    return Average(**kwargs)(inputs)


def maximum(inputs: Any, **kwargs: Any) -> Any:
    """The largest elements of a list of tensors: a `Maximum` layer, made and called."""
    return Maximum(**kwargs)(inputs)


def minimum(inputs: Any, **kwargs: Any) -> Any:
    """The smallest elements of a list of tensors: a `Minimum` layer, made and called."""
    return Minimum(**kwargs)(inputs)


def dot(inputs: Any, axes: Any = -1, normalize: bool = False, **kwargs: Any) -> Any:
    """Sums of products of two tensors: a `Dot` layer, made and called."""
    return Dot(axes, normalize, **kwargs)(inputs)


def concatenate(inputs: Any, axis: int = -1, **kwargs: Any) -> Any:
    """A list of tensors joined along an axis: a `Concatenate` layer, made and called."""
    return Concatenate(axis, **kwargs)(inputs)


def _spread_mask(x: Any, mask: Any) -> Any:
    """The mask of a tensor as bools of its shape; all true for None."""
    if mask is None:
        return composites.full(x.type.shape, True, bool_)
    shape = mask.type.shape
    return broadcast_to(composites.reshape(mask, (*shape, *[1] * (x.type.rank - len(shape)))), x.type.shape)


def _raised(shape: tuple[Any, ...], rank: int) -> tuple[Any, ...]:
    """The shape with axes of size 1 after the first, up to `rank`."""
    return (*shape[:1], *[1] * (rank - len(shape)), *shape[1:])
