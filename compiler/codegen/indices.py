"""Index arithmetic: polynomials over loop variables and sizes as i64 instructions, each part as far out as possible."""

from __future__ import annotations

from kgraph.compiler.codegen.emitter import Function
from kgraph.compiler.codegen.scopes import Scope
from kgraph.ir.dims import Atom, Dim, DimExpr, FloorDiv, symbols_of
from kgraph.ir.scalar import Buffer


def _level(scope: Scope, atom: Atom) -> int | None:
    """Level at which an atom is known; None if it is not known here."""
    names = [atom] if isinstance(atom, str) else sorted(symbols_of(atom.numerator))
    levels = [scope.level_of(name) for name in names]
    return None if None in levels else max((n for n in levels if n is not None), default=0)


def split_constant(dim: DimExpr) -> tuple[Dim, int]:
    """`dim` without its constant term, and that term."""
    if dim.terms[0][0]:
        return dim, 0
    rest = dim.terms[1:]
    return DimExpr(rest), dim.terms[0][1]


class Indices:
    """Writes index arithmetic into one LLVM function."""

    def __init__(self, f: Function, bases: dict[str, str]) -> None:
        """`bases` are the pointers of the buffers by name."""
        self.f = f
        self.bases = bases

    def dim(self, scope: Scope, dim: Dim) -> str:
        """The value of a polynomial, as an i64 register or literal."""
        if isinstance(dim, int):
            return str(dim)
        found = scope.find_dim(dim)
        if found is None:
            found = scope.dims[dim] = self._dim(scope, dim)
        return found

    def _dim(self, scope: Scope, dim: DimExpr) -> str:
        variable, constant = split_constant(dim)
        if constant:
            return self.f.add(self.dim(scope, variable), str(constant))
        deepest, coefficient, rest = self._split(scope, dim)
        product = self.f.mul(self.dim(scope, coefficient), self._atom(scope, deepest))
        return self.f.add(self.dim(scope, rest), product)

    @staticmethod
    def _split(scope: Scope, dim: DimExpr) -> tuple[Atom, Dim, Dim]:
        """The atom known latest, what it is multiplied by, and the terms without it."""
        atoms = sorted({a for monomial, _ in dim.terms for a in monomial}, key=str)
        deepest = max(atoms, key=lambda a: _level(scope, a) or 0)
        coefficient: Dim = 0
        rest: list[tuple[tuple[Atom, ...], int]] = []
        for monomial, factor in dim.terms:
            if deepest not in monomial:
                rest.append((monomial, factor))
                continue
            left = list(monomial)
            left.remove(deepest)
            coefficient = coefficient + (DimExpr(((tuple(left), factor),)) if left else factor)
        return deepest, coefficient, DimExpr(tuple(rest)) if rest else 0

    def _atom(self, scope: Scope, atom: Atom) -> str:
        if isinstance(atom, str):
            return scope.variable(atom)
        key = DimExpr((((atom,), 1),))
        found = scope.find_dim(key)
        if found is None:
            found = scope.dims[key] = self._floor_division(self.dim(scope, atom.numerator), atom.divisor)
        return found

    def _floor_division(self, value: str, divisor: int) -> str:
        f = self.f
        if divisor & (divisor - 1) == 0:
            return f.binary("ashr", "i64", value, str(divisor.bit_length() - 1))
        quotient = f.binary("sdiv", "i64", value, str(divisor))
        rest = f.binary("sub", "i64", value, f.mul(quotient, str(divisor)))
        return f.binary("add", "i64", quotient, f.binary("ashr", "i64", rest, "63"))

    def address(self, scope: Scope, buffer: Buffer, flat: Dim) -> str:
        """Pointer to the element with flat index `flat`."""
        if flat == 0:
            return self.bases[buffer.name]
        key = (buffer.name, flat)
        found = scope.find_pointer(key)
        if found is None:
            found = scope.pointers[key] = self._address(scope, buffer, flat)
        return found

    def _address(self, scope: Scope, buffer: Buffer, flat: Dim) -> str:
        if isinstance(flat, int):
            return self.step(buffer, self.bases[buffer.name], str(flat))
        variable, constant = split_constant(flat)
        if constant:
            return self.step(buffer, self.address(scope, buffer, variable), str(constant))
        levels = {monomial: max(_level(scope, a) or 0 for a in monomial) for monomial, _ in flat.terms}
        deepest = max(levels.values())
        late = tuple(t for t in flat.terms if levels[t[0]] == deepest)
        early = tuple(t for t in flat.terms if levels[t[0]] != deepest)
        start = self.address(scope, buffer, DimExpr(early) if early else 0)
        return self.step(buffer, start, self.dim(scope, DimExpr(late)))

    def step(self, buffer: Buffer, pointer: str, elements: str) -> str:
        """`pointer` moved by a number of elements.

        Not "inbounds": the parts of an index may lead outside the buffer before they meet.
        """
        if elements == "0":
            return pointer
        return self.f.assign(f"getelementptr {buffer.dtype.llvm}, ptr {pointer}, i64 {elements}", "p")

    def prepare(self, scope: Scope, dim: Dim) -> None:
        """Compute here what is known of a polynomial that is needed further in."""
        if isinstance(dim, int):
            return
        parts: dict[tuple[Atom, ...], Dim] = {}
        for monomial, factor in dim.terms:
            unknown = tuple(a for a in monomial if _level(scope, a) is None)
            known = tuple(a for a in monomial if a not in unknown)
            for atom in unknown:
                if isinstance(atom, FloorDiv):
                    self.prepare(scope, atom.numerator)
            parts[unknown] = parts.get(unknown, 0) + (DimExpr(((known, factor),)) if known else factor)
        for part in parts.values():
            if isinstance(part, DimExpr):
                variable, _ = split_constant(part)
                self.dim(scope, variable)

    def prepare_address(self, scope: Scope, buffer: Buffer, flat: Dim) -> None:
        """Compute here what is known of an address that is needed further in."""
        if isinstance(flat, int):
            return
        known = tuple(
            (monomial, factor)
            for monomial, factor in flat.terms
            if monomial and all(_level(scope, a) is not None for a in monomial)
        )
        if known:
            self.address(scope, buffer, DimExpr(known))
        rest = tuple(term for term in flat.terms if term[0] and term not in known)
        if rest:
            self.prepare(scope, DimExpr(rest))
