"""What an op is: one object with its shape rule, reference, gradient, lowering and samples."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import field
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from kgraph.errors import GraphError
from kgraph.ir.dims import Dim, Shape
from kgraph.ir.dtypes import DType
from kgraph.ir.loops import Stmt
from kgraph.ir.scalar import Buffer, Expr
from kgraph.ir.types import TensorType
from kgraph.record import record

Array: TypeAlias = "npt.NDArray[Any]"
# int, float, bool, str, DType, DimExpr, Array, Graph, or a tuple of those.
Attr: TypeAlias = Any
Attrs: TypeAlias = Mapping[str, Attr]
Types: TypeAlias = "Sequence[TensorType]"


class Emitter(Protocol):
    """What gradient rules and composites build nodes with; `GraphBuilder` implements it."""

    @property
    def registry(self) -> Mapping[str, OpDef]:
        """The ops that `emit` knows by name; builders of bodies need them, too."""

    def emit(self, op: str | OpDef, *args: Any, **attrs: Attr) -> Any:
        """Add a node; its one result, or the tuple of its results."""

    def constant(self, value: Any, dtype: DType | None = None) -> Any:
        """A constant tensor."""

    def type_of(self, value: Any) -> TensorType:
        """Type of a value."""


_emitter: ContextVar[Emitter | None] = ContextVar("kgraph_emitter", default=None)


def current_emitter() -> Emitter:
    """The builder in force; an error outside tracing."""
    emitter = _emitter.get()
    if emitter is None:
        raise GraphError("operation on a symbolic tensor outside tracing", fix="Use the tensor inside a layer's call")
    return emitter


def is_tracing() -> bool:
    """Whether a builder is in force."""
    return _emitter.get() is not None


@contextmanager
def emitting(emitter: Emitter) -> Iterator[None]:
    """Make `emitter` the builder in force inside the block."""
    token = _emitter.set(emitter)
    try:
        yield
    finally:
        _emitter.reset(token)


class Trait(enum.Flag):
    """Properties of an op that passes ask for."""

    NONE = 0
    ELEMENTWISE = enum.auto()  # every result element depends on the operands' elements at the same index only
    COMMUTATIVE = enum.auto()
    REDUCTION = enum.auto()
    STRUCTURAL = enum.auto()  # made or expanded by a pass; has no gradient, samples or lowering of its own


@record
class NoGrad:
    """States why an op has no gradient."""

    why: str


@record
class Composed:
    """The gradient of an op is that of `parts(*inputs, **attrs)`: the same results, made of ops that have gradients.

    For the slopes of fused slopes, which are wanted seldom: the fused op itself stays as it is.
    """

    parts: Callable[..., Any]


class LoopContext(Protocol):
    """What a `Loops` or `Pointwise` lowering sees of its node; the fuser may put other nodes behind it."""

    in_types: tuple[TensorType, ...]
    out_types: tuple[TensorType, ...]

    def read(self, operand: int, index: Sequence[Dim]) -> Expr:
        """The element of an operand at `index`: a load, or what a fused producer computes there."""

    def write(self, result: int, index: Sequence[Dim], value: Expr) -> tuple[Stmt, ...]:
        """Statements that hand over an element of a result: fused consumers, and a store where it is needed."""

    def matrix(self, operand: int) -> Buffer:
        """The buffer of an operand that must be in memory (operands of a matrix product)."""

    def scratch(self, kind: str, dtype: DType, *sizes: Dim) -> Buffer:
        """Private memory that code generation asks for, for a product of sizes m, n, k; `kind` is "matmul",
        "transposed matmul" if the first operand is transposed, or "windows"."""

    def private(self, dtype: DType, shape: Shape) -> Buffer:
        """Private memory of each thread, for elements that no other kernel sees; one iteration of a parallel loop after
        the other uses it."""

    def fresh(self, hint: str) -> str:
        """A name not used in this kernel, for a loop variable or local."""


@record
class Scalar:
    """Lowering of an elementwise op: `fn(*operands, **attrs)` gives the expression of one element."""

    fn: Callable[..., Expr]


@record
class Pointwise:
    """Lowering of an op whose element at `index` is an expression of operands at any index.

    `fn(context, index, **attrs)`: views, broadcasts, generators.
    """

    fn: Callable[..., Expr]


@record
class Loops:
    """Lowering to a loop nest of its own: `build(context, **attrs)` gives the statements.

    Attributes:
        build: the rule; reads operands with `context.read`, hands results to `context.write`.
        reads_once: each element of each operand is read at most once, so that costly producers may be fused in.
        in_memory: operand positions that must be buffers (no producer may be fused in).
    """

    build: Callable[..., tuple[Stmt, ...]]
    reads_once: bool = True
    in_memory: tuple[int, ...] = ()


@record(kw_only=True)
class Rows(Loops):
    """Lowering to loops over the rows of the first operand (`kgraph.primitives.nests`), which other nodes with the same
    rows may share.

    Operands of the shape of the first one are read at an element's own index, results are written once for each row.

    Attributes:
        axes: `axes(type, **attrs)` gives the axes along which rows of a first operand of that type run.
        row: `row(context, **attrs)` gives the statements of a row, as `over_rows` takes them.
    """

    axes: Callable[..., tuple[int, ...]]
    row: Callable[..., Callable[..., tuple[Stmt, ...]]]


@record
class Alias:
    """The result is the operand's memory under another shape."""


@record
class Expanded:
    """A pass of that name replaces the op before lowering, or makes its gradient."""

    by: str


@record
class Nested:
    """The op runs the graphs among its attributes: their nodes become kernels, called by the program's step."""


Lowering: TypeAlias = "Scalar | Pointwise | Loops | Alias | Expanded | Nested"


@record
class Sample:
    """A valid call: arrays (or TensorTypes to fill with random numbers by the caller) and attributes."""

    args: tuple[Array, ...]
    attrs: Attrs = field(default_factory=dict)


@record
class BadCall:
    """A wrong call and words that its error must contain."""

    types: tuple[TensorType, ...]
    attrs: Attrs
    words: str


InferRule: TypeAlias = "Callable[[Types, Attrs], TensorType | tuple[TensorType, ...]]"
GradRule: TypeAlias = "Callable[..., Sequence[Any]]"


@record(eq=False)
class OpDef:
    """One op: every rule about it in one object. All ops are pure.

    Attributes:
        name: as in IR text.
        doc: what it computes; the docstring of the reference.
        reference: NumPy meaning, `reference(*arrays, **attrs)`; symbolic sizes in attrs arrive as integers, graphs as
            functions of arrays that give lists of arrays.
        infer: `infer(types, attrs)` gives the result type, or a tuple of them; raises ShapeError or DTypeError.
        grad: `grad(dy, y, *inputs, **attrs)` gives a cotangent (or None) per input; with several results, `dy` and
            `y` are tuples and entries of `dy` may be None. `Expanded` where it takes a transformation of graphs,
            `Composed` where the op is written out first.
        lower: how it becomes loops; None if it runs in the interpreter only.
        samples: `samples(rng)` gives valid calls, for the tests every op gets.
        errors: wrong calls and the words they must raise.
        traits: properties for passes.
        source: formula, paper or NumPy function.
    """

    name: str
    doc: str
    reference: Callable[..., Any]
    infer: InferRule
    grad: GradRule | NoGrad | Expanded | Composed
    lower: Lowering | None
    samples: Callable[[np.random.Generator], Iterable[Sample]]
    errors: tuple[BadCall, ...] = ()
    traits: Trait = Trait.NONE
    source: str = ""

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __call__(self, *args: Any, **attrs: Attr) -> Any:
        """Add a node to the graph being built."""
        return current_emitter().emit(self, *args, **attrs)

    def result_types(self, types: Types, attrs: Attrs) -> tuple[TensorType, ...]:
        """Types of all results of a call."""
        out = self.infer(types, attrs)
        return out if isinstance(out, tuple) else (out,)


def primitive(
    *,
    infer: InferRule,
    grad: GradRule | NoGrad | Expanded | Composed,
    lower: Lowering | None = None,
    samples: Callable[[np.random.Generator], Iterable[Sample]] = lambda rng: (),
    errors: Sequence[BadCall] = (),
    traits: Trait = Trait.NONE,
    source: str = "",
    name: str = "",
) -> Callable[[Callable[..., Any]], OpDef]:
    """Make an op of a NumPy function: the body is the reference, the docstring the documentation."""

    def make(reference: Callable[..., Any]) -> OpDef:
        op_name = name or reference.__name__.rstrip("_")
        doc = (reference.__doc__ or "").strip()
        return OpDef(op_name, doc, reference, infer, grad, lower, samples, tuple(errors), traits, source)

    return make
