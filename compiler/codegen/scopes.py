"""What has been computed so far at one point of a kernel: each loop level remembers its own registers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from kgraph.ir.dims import Dim
from kgraph.record import record


class Value(NamedTuple):
    """The value of an expression.

    Attributes:
        text: register or literal.
        lanes: 1 if one scalar serves all lanes, else the number of lanes.
        literal: `text` is a literal.
        steady: never NaN.
    """

    text: str
    lanes: int
    literal: bool = False
    steady: bool = False


@record
class VectorLoop:
    """The vector loop whose body is being written.

    Attributes:
        var: its variable; the register of that name is the index of lane 0.
        lanes: iterations run at once.
        mask: register of the lanes that run, None if all do.
        partial: locals of outer scopes that each lane accumulates for itself.
        full: register that tells whether all lanes run in spite of the mask; None if that is not known.
    """

    var: str
    lanes: int
    mask: str | None
    partial: frozenset[str]
    full: str | None = None


@dataclass(eq=False, repr=False)
class Scope:
    """Registers that may be used here; what is not found is looked for in the scope outside.

    Attributes:
        outer: scope outside.
        level: number of loops round this scope.
        vector: the vector loop that this scope is in.
        variables: registers of loop variables and sizes.
        dims: registers of polynomials.
        pointers: addresses by buffer and flat index.
        values: by id of the expression: what it depends on, and its value.
        loads: by buffer and flat index.
        splats: vectors of one repeated scalar, by scalar and vector type.
        locals: values of locals.
    """

    outer: Scope | None = None
    level: int = 0
    vector: VectorLoop | None = None
    variables: dict[str, str] = field(default_factory=dict)
    dims: dict[Dim, str] = field(default_factory=dict)
    pointers: dict[tuple[str, Dim], str] = field(default_factory=dict)
    values: dict[int, tuple[frozenset[str], Value]] = field(default_factory=dict)
    loads: dict[tuple[str, Dim], Value] = field(default_factory=dict)
    splats: dict[tuple[str, str], str] = field(default_factory=dict)
    locals: dict[str, Value] = field(default_factory=dict)

    def inside(self, variables: dict[str, str] | None = None, vector: VectorLoop | None = None) -> Scope:
        """A scope in this one; a level deeper if it has variables."""
        deeper = 1 if variables else 0
        return Scope(self, self.level + deeper, vector or self.vector, variables or {})

    def chain(self) -> Iterator[Scope]:
        """This scope and those outside, innermost first."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.outer

    def level_of(self, name: str) -> int | None:
        """Number of loops round the definition of a loop variable or size; None if it has no value here."""
        return next((s.level for s in self.chain() if name in s.variables), None)

    def variable(self, name: str) -> str:
        """Register of a loop variable or size."""
        return next(s.variables[name] for s in self.chain() if name in s.variables)

    def find_dim(self, dim: Dim) -> str | None:
        """Register of a polynomial computed before."""
        return next((s.dims[dim] for s in self.chain() if dim in s.dims), None)

    def find_pointer(self, key: tuple[str, Dim]) -> str | None:
        """An address computed before."""
        return next((s.pointers[key] for s in self.chain() if key in s.pointers), None)

    def find_value(self, key: int) -> Value | None:
        """The value of an expression computed before."""
        return next((s.values[key][1] for s in self.chain() if key in s.values), None)

    def find_load(self, key: tuple[str, Dim]) -> Value | None:
        """An element loaded before and not changed since."""
        return next((s.loads[key] for s in self.chain() if key in s.loads), None)

    def find_splat(self, key: tuple[str, str]) -> str | None:
        """A repeated scalar."""
        return next((s.splats[key] for s in self.chain() if key in s.splats), None)

    def has_local(self, name: str) -> bool:
        """Whether a local has a value here."""
        return any(name in s.locals for s in self.chain())

    def local(self, name: str) -> Value:
        """The present value of a local."""
        return next(s.locals[name] for s in self.chain() if name in s.locals)

    def set_local(self, name: str, value: Value) -> None:
        """Change a local in the scope that holds it."""
        next(s for s in self.chain() if name in s.locals).locals[name] = value

    def forget(self, changed: frozenset[str]) -> None:
        """Drop what depends on changed locals ("%name") and buffers ("@name")."""
        for scope in self.chain():
            stale = [key for key, (uses, _) in scope.values.items() if uses & changed]
            for key in stale:
                del scope.values[key]
            for place in [place for place in scope.loads if "@" + place[0] in changed]:
                del scope.loads[place]
