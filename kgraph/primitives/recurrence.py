"""What the ops over whole sequences share: operands, the loop over time, and its slopes for the recurrent weights.

Every op runs as one loop over time inside one kernel. All statements of a step handle each row of the batch for
itself, so that threads can divide the rows once for the whole sequence.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from kgraph.errors import ArgumentError, DTypeError, ShapeError
from kgraph.ir.dims import Dim, Shape, symbol
from kgraph.ir.dtypes import DType, bool_
from kgraph.ir.graph import GraphBuilder
from kgraph.ir.loops import Contract, For, Let, Matrix, Stmt, Store
from kgraph.ir.opdef import Array, Attrs, LoopContext, Types, current_emitter, emitting
from kgraph.ir.scalar import Buffer, Expr, Load, Local, call, const
from kgraph.ir.types import TensorType
from kgraph.primitives.composites import expand_dims, part, swapaxes, where
from kgraph.primitives.nests import Index
from kgraph.primitives.signatures import FLOATS, expect_flag, expect_kind

# Batch, time and units of samples.
SIZES = ((2, 3, 4), (1, 1, 1), (3, 2, 5), (0, 2, 3), (2, 0, 3), (13, 4, 9), (5, 3, 16), (4, 2, 1))

# Which statements run for an element (row, unit) of a state.
Cell: TypeAlias = Callable[[Index], Sequence[Stmt]]

# What one step computes of symbolic tensors: see `scanned`.
Step: TypeAlias = Callable[[Sequence[Any], Mapping[str, Any], Any], tuple[Sequence[Any], Sequence[Any]]]


# --- shape rules ------------------------------------------------------------------------------------------------------
def expect_sequence(op: str, types: Types, attrs: Attrs, operands: int, names: Sequence[str]) -> bool:
    """Check the number of operands, the attributes' names and `reverse`; whether a mask follows the operands."""
    if len(types) not in (operands, operands + 1):
        raise ArgumentError(op, expected=f"{operands} operands, and maybe a mask", received=str(len(types)))
    if set(attrs) != set(names):
        received = ", ".join(sorted(attrs)) or "none"
        raise ArgumentError(f"{op}, attributes", expected=", ".join(names), received=received)
    expect_flag(op, "reverse", attrs["reverse"])
    return len(types) > operands


def expect_steps(op: str, type: TensorType, gates: int) -> tuple[Dim, Dim, int]:
    """Batch, time and units of the operand `[batch, time, gates * units]`, the first one of an op."""
    expect_kind(op, type, FLOATS)
    width = type.shape[-1] if type.rank == 3 else 0
    if not isinstance(width, int) or width == 0 or width % gates:
        raise ShapeError(f"{op}, operand 0", expected=f"[batch, time, {gates} * units]", received=str(type))
    return type.shape[0], type.shape[1], width // gates


def expect_operands(op: str, types: Types, shapes: Sequence[Shape], first: int) -> None:
    """Check the shapes of the operands from number `first` on, and that they have the first operand's element type."""
    for position, (type, shape) in enumerate(zip(types[first:], shapes, strict=True), first):
        if type.shape != shape:
            raise ShapeError(f"{op}, operand {position}", expected=f"{types[0].with_shape(shape)}", received=str(type))
        if type.dtype is not types[0].dtype:
            raise DTypeError(f"{op}, operand {position}", expected=str(types[0].dtype), received=str(type.dtype))


def expect_mask(op: str, type: TensorType, shape: Shape) -> None:
    """Check a mask, the last operand."""
    if type != TensorType(bool_, shape):
        raise ShapeError(f"{op}, mask", expected=str(TensorType(bool_, shape)), received=str(type))


def expect_given(op: str, attrs: Attrs, results: int) -> tuple[bool, ...]:
    """The attribute `given` of an adjoint: for each result of the op whether its cotangent is an operand."""
    value = attrs.get("given", (False,) * results)
    if isinstance(value, tuple) and len(value) == results and all(isinstance(v, bool) for v in value):
        return value
    raise ArgumentError(f"{op}, attribute given", expected=f"{results} flags", received=repr(value))


# --- references and samples ------------------------------------------------------------------------------------------
def times(steps: int, backwards: bool) -> range:
    """The steps of a sequence in the order in which they are computed."""
    return range(steps - 1, -1, -1) if backwards else range(steps)


def alive(mask: Sequence[Array], step: int) -> Any:
    """Which rows change their state at a step, as a column: all of them without a mask."""
    return mask[0][:, step, np.newaxis] if mask else True


def masks(rng: np.random.Generator, batch: int, time: int, number: int) -> tuple[Array, ...]:
    """A random mask for every second sample, as a tuple of none or one."""
    return (rng.random((batch, time)) < 0.6,) if number % 2 else ()


def given_flags(number: int, results: int) -> tuple[bool, ...]:
    """For each result of an op whether its cotangent is given, in a sample of this number: each comes now and then."""
    return tuple(bool((21 * number + 5) >> bit & 1) for bit in range(results))


def cotangents_of(rest: Sequence[Any], given: tuple[bool, ...]) -> tuple[dict[int, Any], Sequence[Any]]:
    """The last operands of an adjoint: the cotangents by number of the result, and the mask."""
    return dict(zip(itertools.compress(itertools.count(), given), rest)), rest[sum(given) :]


# --- gradients --------------------------------------------------------------------------------------------------------
def weight_slope(before: Any, slopes: Any) -> Any:
    """Slope for the weights U of `before @ U`, from all rows and steps at once: one large product."""
    emitter = current_emitter()
    flat = []
    for value in (before, slopes):
        batch, time, width = emitter.type_of(value).shape
        flat.append(emitter.emit("reshape", value, shape=(batch * time, width)))
    return emitter.emit("matmul", *flat, transpose_a=True, transpose_b=False)


def scanned(
    name: str, step: Step, carries: Sequence[Any], sequences: Mapping[str, Any], kernel: Any, reverse: bool
) -> tuple[Any, ...]:
    """An op over whole sequences written with `scan`: the last carries, then the stacked results of the steps.

    Args:
        name: of the body in dumps.
        step: from carries, pieces of the sequences by name, and the kernel: new carries, and the step's results.
        carries: before the first step.
        sequences: tensors [batch, time, ...]; results stand in this order, too.
        kernel: the weights, the same at each step.
        reverse: whether the last step comes first.
    """
    emitter = current_emitter()
    stacks = [swapaxes(value, 0, 1) for value in sequences.values()]
    body = GraphBuilder(name, emitter.registry)
    inner = [body.input(emitter.type_of(value)) for value in carries]
    slices = [emitter.type_of(value) for value in stacks]
    pieces = [body.input(type.with_shape(type.shape[1:]), key) for type, key in zip(slices, sequences, strict=True)]
    weights = body.input(emitter.type_of(kernel))
    with emitting(body):
        new, results = step(inner, dict(zip(sequences, pieces, strict=True)), weights)
    out = emitter.emit(
        "scan", *carries, *stacks, kernel, body=body.build([*new, *results]), carries=len(carries),
        sequences=len(stacks), length=slices[0].shape[0], reverse=reverse, conditional=False,
    )  # fmt: skip
    return *out[: len(carries)], *(swapaxes(value, 0, 1) for value in out[len(carries) :])


def parts_of(gates: Any, units: int) -> list[Any]:
    """The numbers of each of four gates, which follow each other along the last axis."""
    return [part(gates, -1, n * units, (n + 1) * units) for n in range(4)]


def live_and_idle(mask: Any, value: Any) -> tuple[Any, Any]:
    """`value` in rows that change their state at this step, and in the others; zeros elsewhere. None: all change."""
    if mask is None:
        return value, 0.0
    lives = expand_dims(mask, -1)
    return where(lives, value, 0.0), where(lives, 0.0, value)


# --- loops ------------------------------------------------------------------------------------------------------------
class Recurrence:
    """The loops of one op: states of each row in private memory, and for every step one product with the weights."""

    def __init__(self, context: LoopContext, units: Dim, backwards: bool) -> None:
        """`backwards`: the last step is the first one that is computed."""
        self.context, self.units, self.backwards = context, units, backwards
        self.batch, self.time = context.in_types[0].shape[:2]
        self.dtype: DType = context.in_types[0].dtype
        self.zero: Expr = const(0, self.dtype)
        self.one: Expr = const(1, self.dtype)

    def memory(self, gates: int = 1) -> Buffer:
        """Private memory of `gates` numbers for each unit of each row."""
        return self.context.private(self.dtype, (self.batch, gates * self.units))

    def cells(self, statements: Cell) -> tuple[Stmt, ...]:
        """Run the statements for all (row, unit), if there are any."""
        row, unit = self.context.fresh("row"), self.context.fresh("unit")
        body = tuple(statements((symbol(row), symbol(unit))))
        return (For(row, self.batch, "parallel", (For(unit, self.units, "vector", body),)),) if body else ()

    def steps(self, statements: Callable[[Dim], Sequence[Stmt]]) -> Stmt:
        """Run the statements for the index of each step, one step after the other."""
        var = self.context.fresh("step")
        step = self.time - 1 - symbol(var) if self.backwards else symbol(var)
        return For(var, self.time, "serial", tuple(statements(step)))

    def product(self, state: Buffer, weights: int, transposed: bool, out: Buffer, plus: Buffer | None = None) -> Stmt:
        """out = state @ weights (+ plus), where `weights` is the number of an operand that may be transposed."""
        context = self.context
        matrix = context.matrix(weights)
        (m, k), n = state.shape, out.shape[1]
        row, col, acc = context.fresh("row"), context.fresh("col"), context.fresh("acc")
        index = (symbol(row), symbol(col))
        value: Expr = Local(acc, self.dtype)
        if plus is not None:
            value = call("add", value, Load(plus, index))
        left, right = Matrix(state, (), False), Matrix(matrix, (), transposed)
        scratch = context.scratch("matmul", self.dtype, m, n, k)
        return Contract(row, col, m, n, k, left, right, acc, scratch, (Store(out, index, value),))

    def gate(self, at: Index, number: int) -> Index:
        """Index of a unit's number for one gate; the gates of a row follow each other."""
        return (*at[:-1], at[-1] + number * self.units)

    def slope_of_sigmoid(self, value: Expr) -> Expr:
        """value * (1 - value)."""
        return call("mul", value, call("sub", self.one, value))

    def slope_of_tanh(self, value: Expr) -> Expr:
        """1 - value * value."""
        return call("sub", self.one, call("mul", value, value))


class Names:
    """Lets with fresh names, in order."""

    def __init__(self, context: LoopContext) -> None:
        self.context = context
        self.statements: list[Stmt] = []

    def let(self, hint: str, value: Expr) -> Expr:
        """Name a value."""
        name = self.context.fresh(hint)
        self.statements.append(Let(name, value))
        return Local(name, value.dtype)
