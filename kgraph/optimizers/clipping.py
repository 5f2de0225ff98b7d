"""Limits on gradients: by value, by the norm of each, by the norm of all together."""

from __future__ import annotations

from typing import Any

from kgraph.errors import ArgumentError
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import cast
from kgraph.primitives.composites import clip, maximum, minimum, sqrt, square
from kgraph.primitives.composites import sum as total


def check_limits(label: str, **limits: float | None) -> None:
    """ArgumentError unless at most one limit is given, and is a number > 0; `label` is how messages call its owner."""
    given = {name: limit for name, limit in limits.items() if limit is not None}
    for name, limit in given.items():
        if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not limit > 0:
            raise ArgumentError(f"{label}: {name}", expected="a number > 0", received=repr(limit))
    if len(given) > 1:
        raise ArgumentError(label, expected="one of " + ", ".join(limits), received=" and ".join(given))


def by_value(gradients: list[Any], limit: float) -> list[Any]:
    """Elements within [-limit, limit]."""
    return [clip(gradient, -limit, limit) for gradient in gradients]


def by_norm(gradients: list[Any], limit: float) -> list[Any]:
    """Each gradient scaled down to a Euclidean norm of at most `limit`."""
    norms = [sqrt(total(square(gradient), None)) for gradient in gradients]
    return [gradient * limit / maximum(norm, limit) for gradient, norm in zip(gradients, norms, strict=True)]


def by_global_norm(gradients: list[Any], limit: float) -> list[Any]:
    """All gradients times one factor, so that their norm together is at most `limit` (Pascanu et al., 2013).

    The factor is NaN if the norm is not finite: such a step shall not be taken for a small one.
    """
    emitter = current_emitter()
    squares = [total(square(gradient), None) for gradient in gradients]
    sum_of_squares = squares[0]
    for more in squares[1:]:
        sum_of_squares = sum_of_squares + more
    norm = sqrt(sum_of_squares)
    factor = limit * minimum(1.0 / norm, 1.0 / limit) + (norm - norm)
    return [gradient * cast(factor, emitter.type_of(gradient).dtype) for gradient in gradients]
