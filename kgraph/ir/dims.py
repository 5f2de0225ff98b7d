"""Symbolic sizes: polynomials over size names, with floor division, kept in one canonical form.

A size is an `int` or a `DimExpr`. Equal sizes compare equal, so types compare by value. Division by a size that
divides every term is exact and needs no floor.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TypeAlias

from kgraph.errors import ShapeError
from kgraph.record import record


@record
class FloorDiv:
    """The atom `numerator // divisor` where the division is not exact term by term."""

    numerator: DimExpr
    divisor: int

    def __str__(self) -> str:
        return f"({self.numerator})//{self.divisor}"


Atom: TypeAlias = "str | FloorDiv"
# A product of atoms, sorted; the empty product is 1.
Monomial: TypeAlias = "tuple[Atom, ...]"


@record
class DimExpr:
    """A sum of integer multiples of products of size names; never a plain integer.

    Attributes:
        terms: (product, coefficient) pairs, sorted, no coefficient 0.
    """

    terms: tuple[tuple[Monomial, int], ...]

    def __str__(self) -> str:
        return "+".join(_term(monomial, factor) for monomial, factor in self.terms).replace("+-", "-")

    def __repr__(self) -> str:
        return str(self)

    def __lt__(self, other: DimExpr) -> bool:
        return str(self) < str(other)

    def __add__(self, other: Dim) -> Dim:
        return _combine(self, other, 1)

    __radd__ = __add__

    def __sub__(self, other: Dim) -> Dim:
        return _combine(self, other, -1)

    def __rsub__(self, other: Dim) -> Dim:
        return (-1 * self) + other

    def __mul__(self, other: Dim) -> Dim:
        if isinstance(other, int):
            if other in (0, 1):
                return other and self
            return DimExpr(tuple((monomial, factor * other) for monomial, factor in self.terms))
        out: dict[Monomial, int] = {}
        for ma, ca in self.terms:
            for mb, cb in _terms(other):
                key = tuple(sorted(ma + mb, key=str))
                out[key] = out.get(key, 0) + ca * cb
        return _canonical(out)

    __rmul__ = __mul__

    def __floordiv__(self, other: Dim) -> Dim:
        exact = exact_quotient(self, other)
        if exact is not None:
            return exact
        if not isinstance(other, int) or other < 1:
            raise ShapeError(f"size {self} // {other}", expected="a positive integer divisor", received=str(other))
        return DimExpr((((FloorDiv(self, other),), 1),))

    def __bool__(self) -> bool:
        raise TypeError(f"the size {self} is not known before run time: no truth value")


Dim: TypeAlias = "int | DimExpr"
Shape: TypeAlias = "tuple[Dim, ...]"


def symbol(name: str) -> DimExpr:
    """The size called `name`, known at run time.

    >>> symbol("batch") * 3 + 2
    2+3*batch
    """
    if not name.isidentifier():
        raise ShapeError("size name", expected="an identifier", received=repr(name))
    return DimExpr((((name,), 1),))


def _term(monomial: Monomial, factor: int) -> str:
    if not monomial:
        return str(factor)
    if len(monomial) == 1 and factor == 1:
        return str(monomial[0])
    # A quotient inside a product needs its own parentheses: 3*((n+1)//2) is not (3*(n+1))//2.
    text = "*".join(atom if isinstance(atom, str) else f"({atom})" for atom in monomial)
    return text if factor == 1 else f"-{text}" if factor == -1 else f"{factor}*{text}"


def _terms(dim: Dim) -> tuple[tuple[Monomial, int], ...]:
    if isinstance(dim, DimExpr):
        return dim.terms
    return (((), dim),) if dim else ()


def _canonical(terms: Mapping[Monomial, int]) -> Dim:
    kept = [(monomial, factor) for monomial, factor in terms.items() if factor]
    if not kept:
        return 0
    if len(kept) > 1:
        kept.sort(key=lambda term: _rank(term[0]))
    elif not kept[0][0]:
        return kept[0][1]
    return DimExpr(tuple(kept))


@functools.lru_cache(4096)
def _rank(monomial: Monomial) -> tuple[int, str]:
    """The place of a product among the terms of a sum; asked again and again for few products."""
    return len(monomial), str(monomial)


def _combine(a: DimExpr, b: Dim, sign: int) -> Dim:
    if b == 0:
        return a
    out = dict(_terms(a))
    for monomial, factor in _terms(b):
        out[monomial] = out.get(monomial, 0) + sign * factor
    return _canonical(out)


def exact_quotient(a: Dim, b: Dim) -> Dim | None:
    """`a / b` if `b` is a single term that divides every term of `a`, else None.

    >>> exact_quotient(symbol("batch") * 12, symbol("batch") * 3)
    4
    """
    divisor = _terms(b)
    if isinstance(a, int) and isinstance(b, int):
        return a // b if b and a % b == 0 else None
    if a == b:
        return 1
    if len(divisor) != 1:
        return None
    atoms, factor = divisor[0]
    out: dict[Monomial, int] = {}
    for monomial, c in _terms(a):
        rest = list(monomial)
        for atom in atoms:
            if atom not in rest:
                return None
            rest.remove(atom)
        if c % factor:
            return None
        out[tuple(rest)] = c // factor
    return _canonical(out)


def product(shape: Shape) -> Dim:
    """Number of elements of a shape."""
    total: Dim = 1
    for dim in shape:
        total = total * dim
    return total


def symbols_of(dim: Dim) -> set[str]:
    """Names of the symbolic sizes inside `dim`."""
    names: set[str] = set()
    if isinstance(dim, int):
        return names
    for monomial, _ in dim.terms:
        for atom in monomial:
            if isinstance(atom, str):
                names.add(atom)
            else:
                names |= symbols_of(atom.numerator)
    return names


def evaluate(dim: Dim, sizes: Mapping[str, int]) -> int:
    """The value of `dim` where each size name has the value in `sizes`."""
    if isinstance(dim, int):
        return dim
    total = 0
    for monomial, factor in dim.terms:
        for atom in monomial:
            if isinstance(atom, str):
                factor *= sizes[atom]
            else:
                factor *= evaluate(atom.numerator, sizes) // atom.divisor
        total += factor
    return total


def substitute(dim: Dim, sizes: Mapping[str, Dim]) -> Dim:
    """`dim` with size names replaced by other sizes; names not in `sizes` stay."""
    total: Dim = 0
    for monomial, factor in _terms(dim):
        value: Dim = factor
        for atom in monomial:
            if isinstance(atom, str):
                value = value * sizes.get(atom, symbol(atom))
            else:
                value = value * (substitute(atom.numerator, sizes) // atom.divisor)
        total = total + value
    return total
