"""Comparisons, predicates and choice, element by element."""

from __future__ import annotations

from typing import Any

from kgraph.eager import operation
from kgraph.errors import ArgumentError
from kgraph.ir.dtypes import bool_, f32, i32
from kgraph.ir.operators import cast as convert
from kgraph.ops.promotion import emit, numbers_together, tensor, together, type_of
from kgraph.primitives import composites

_INFINITY = float("inf")


def _full(like: Any, value: bool) -> Any:
    return composites.full(type_of(like).shape, value, bool_)


@operation("x1", "x2", numbers=True)
def equal(x1: Any, x2: Any) -> Any:
    """Whether ``x1 == x2``; NaN equals nothing."""
    return emit("eq", *together(x1, x2))


@operation("x1", "x2", numbers=True)
def not_equal(x1: Any, x2: Any) -> Any:
    """Whether ``x1 != x2``."""
    return emit("ne", *together(x1, x2))


@operation("x1", "x2", numbers=True)
def less(x1: Any, x2: Any) -> Any:
    """Whether ``x1 < x2``."""
    return emit("lt", *numbers_together(x1, x2))


@operation("x1", "x2", numbers=True)
def less_equal(x1: Any, x2: Any) -> Any:
    """Whether ``x1 <= x2``."""
    return emit("le", *numbers_together(x1, x2))


@operation("x1", "x2", numbers=True)
def greater(x1: Any, x2: Any) -> Any:
    """Whether ``x1 > x2``."""
    return emit("gt", *numbers_together(x1, x2))


@operation("x1", "x2", numbers=True)
def greater_equal(x1: Any, x2: Any) -> Any:
    """Whether ``x1 >= x2``."""
    return emit("ge", *numbers_together(x1, x2))


@operation("x1", "x2")
def logical_and(x1: Any, x2: Any) -> Any:
    """Whether both hold; numbers hold where they are not 0."""
    return emit("logical_and", *together(x1, x2, dtype=bool_))


@operation("x1", "x2")
def logical_or(x1: Any, x2: Any) -> Any:
    """Whether either holds; numbers hold where they are not 0."""
    return emit("logical_or", *together(x1, x2, dtype=bool_))


@operation("x1", "x2")
def logical_xor(x1: Any, x2: Any) -> Any:
    """Whether exactly one holds; numbers hold where they are not 0."""
    return emit("ne", *together(x1, x2, dtype=bool_))


@operation("x")
def logical_not(x: Any) -> Any:
    """Whether it does not hold; numbers hold where they are not 0."""
    return emit("logical_not", convert(x, bool_))


@operation("x")
def isfinite(x: Any) -> Any:
    """Whether neither NaN nor infinite."""
    return emit("isfinite", x) if type_of(x).dtype.is_float else _full(x, True)


@operation("x")
def isinf(x: Any) -> Any:
    """Whether infinite."""
    return emit("eq", *together(abs(x), _INFINITY)) if type_of(x).dtype.is_float else _full(x, False)


@operation("x")
def isnan(x: Any) -> Any:
    """Whether NaN."""
    return emit("ne", x, x)


@operation("x")
def isposinf(x: Any) -> Any:
    """Whether +infinity."""
    return emit("eq", *together(x, _INFINITY)) if type_of(x).dtype.is_float else _full(x, False)


@operation("x")
def isneginf(x: Any) -> Any:
    """Whether -infinity."""
    return emit("eq", *together(x, -_INFINITY)) if type_of(x).dtype.is_float else _full(x, False)


@operation("x")
def isreal(x: Any) -> Any:
    """True everywhere: there are no complex tensors."""
    return _full(x, True)


@operation("x")
def signbit(x: Any) -> Any:
    """Whether the sign is negative, also of -0.0."""
    kind = type_of(x).dtype
    if not kind.is_float:
        return convert(composites.full(type_of(x).shape, False, bool_), bool_) if kind is bool_ else x < 0
    return emit("logical_or", x < 0, emit("lt", *together(1.0 / x, 0.0)))


@operation("x1", "x2", numbers=True)
def isclose(x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Whether ``|x1 - x2| <= atol + rtol |x2|``; equal infinities are close, NaN only with `equal_nan`."""
    return _isclose(x1, x2, rtol, atol, equal_nan)


def _isclose(x1: Any, x2: Any, rtol: float, atol: float, equal_nan: bool) -> Any:
    x1, x2 = numbers_together(x1, x2)
    if not type_of(x1).dtype.is_float:
        x1, x2 = convert(x1, f32), convert(x2, f32)
    near = emit("le", *together(abs(x1 - x2), abs(x2) * rtol + atol))
    finite = emit("logical_and", emit("isfinite", x1), emit("isfinite", x2))
    close = emit("logical_or", emit("logical_and", near, finite), emit("eq", x1, x2))
    if equal_nan:
        close = emit("logical_or", close, emit("logical_and", emit("ne", x1, x1), emit("ne", x2, x2)))
    return close


@operation("x1", "x2", numbers=True)
def allclose(x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Whether all elements are close, as `isclose` says."""
    close = convert(_isclose(x1, x2, rtol, atol, equal_nan), i32)
    return convert(composites.min(close), bool_)


@operation("condition", "x1", "x2", numbers=True)
def where(condition: Any, x1: Any = None, x2: Any = None) -> Any:
    """``x1`` where the condition holds, ``x2`` elsewhere; what is not chosen has no influence on gradients.

    Args:
        condition: bools; numbers hold where they are not 0.
        x1, x2: tensors or numbers. Keras' form without them gives indices: use `nonzero`.

    >>> where([True, False], [1, 2], 0)
    array([1, 0], dtype=int32)
    """
    if x1 is None or x2 is None:
        raise ArgumentError("x1 and x2", expected="two tensors", received="None", fix="Use nonzero for indices")
    condition = convert(tensor(condition), bool_)
    return composites.where(condition, *together(x1, x2))


@operation("*condlist", "*choicelist", "default", numbers=True)
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """The choice of the first condition that holds, `default` where none does."""
    if len(condlist) != len(choicelist):
        raise ArgumentError("choicelist", expected=f"{len(condlist)} choices", received=str(len(choicelist)))
    *choices, found = together(*choicelist, default)
    for condition, choice in reversed(list(zip(condlist, choices, strict=True))):
        found = composites.where(convert(tensor(condition), bool_), choice, found)
    return found
