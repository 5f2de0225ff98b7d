"""Tracing the body of a loop: a graph inside the program being traced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from kgraph.errors import GraphError
from kgraph.ir.dims import Dim
from kgraph.ir.dtypes import bool_
from kgraph.ir.graph import Graph, Value
from kgraph.ir.opdef import Array, emitting
from kgraph.ir.types import TensorType
from kgraph.trace import Trace, current_trace
from kgraph.variable import Variable

# From the carries and the pieces of the sequences of a step: the new carries, and results of the step.
StepFunction: TypeAlias = "Callable[[list[Any], list[Any]], tuple[Sequence[Any], Sequence[Any]]]"


class BodyTrace(Trace):
    """Builds a graph inside the program being traced. What it uses of that program becomes a constant of the loop.

    Args:
        name: of the graph.
        outer: the program, or the body round this one.
        length: number of steps; None if only data know it.
        variables: those that steps may change; each is an input, and the value assigned last is the next step's.

    Attributes:
        pieces: inputs that are pieces of sequences of the program, with those sequences.
        captured: values of the program, with the inputs that stand for them.
    """

    def __init__(self, name: str, outer: Trace, length: Dim | None, variables: Sequence[Variable] = ()) -> None:
        super().__init__(name, outer.training)
        self.outer, self.length = outer, length
        self.carried = {variable: super(BodyTrace, self).read(variable) for variable in variables}
        self.pieces: dict[Value, Value] = {}
        self.captured: dict[Value, Value] = {}

    def piece(self, sequence: Value) -> Value:
        """A new input: the piece of a sequence of the program that a step works on."""
        value = self.input(sequence.type.with_shape(sequence.type.shape[1:]), sequence.name)
        self.pieces[value] = sequence
        return value

    def lift(self, value: Any, what: str = "operand") -> Value:
        """Values of this body as they are; values and variables of the program by way of an input."""
        if isinstance(value, Variable):
            return self.read(value)
        if isinstance(value, Value) and value in self._known:
            return value
        return self._capture(self.outer.lift(value, what))

    def read(self, variable: Variable) -> Value:
        """The value of a variable that steps may change; of others that in the program before the loop."""
        return super().read(variable) if variable in self.carried else self._capture(self.outer.read(variable))

    def _capture(self, value: Value) -> Value:
        if value not in self.captured:
            self.captured[value] = self.input(value.type, value.name)
        return self.captured[value]

    def assign(self, variable: Variable, value: Any) -> None:
        """Steps cannot change variables but those that are carried."""
        if variable in self.carried:
            return super().assign(variable, value)
        raise GraphError(f"variable '{variable.path}'", expected="no assignment inside a loop",
                         fix="Carry the value from step to step and assign it after the loop")  # fmt: skip

    def demand(self, value: Value, test: Callable[[Array], None]) -> None:
        """Pass on what is demanded of a piece of a sequence, or of a value of the program."""
        outside = {inside: outside for outside, inside in self.captured.items()}
        source = self.pieces.get(value, outside.get(value))
        if source is not None:
            self.outer.demand(source, test)

    def random_key(self) -> Value:
        """A key that differs from step to step: random bits of a key of the program."""
        if self.length is None:
            raise GraphError("while_loop", expected="no random ops inside", fix="Use scan or fori_loop")
        with emitting(self.outer):
            keys = self.outer.emit("random_bits", self.outer.random_key(), shape=(self.length, 2))
        return self.piece(keys)

    def body(self, inputs: Sequence[Value], outputs: Sequence[Value]) -> tuple[Graph, list[Value]]:
        """The graph with these inputs first, then the captured values that are used; and those values outside."""
        used = {value for node in self.nodes for value in node.inputs}.union(outputs)
        captured = {outside: inside for outside, inside in self.captured.items() if inside in used}
        graph = Graph(self.name, (*inputs, *captured.values()), tuple(self.nodes), tuple(outputs))
        return graph, list(captured)


def scan(
    step: StepFunction, carries: Sequence[Any], sequences: Sequence[Any], length: Dim, reverse: bool = False,
    name: str = "step", variables: Sequence[Variable] = (),
) -> tuple[list[Value], list[Value]]:  # fmt: skip
    """Trace `step` once and run it for each of `length` steps, with carries that go from step to step.

    Args:
        step: may use tensors and variables of the program round it, layers, and random numbers.
        carries: tensors before the first step.
        sequences: tensors whose axis 0 is the step.
        length: number of steps.
        reverse: the last step comes first.
        name: of the body in dumps.
        variables: those that steps may change, one after the other.

    Returns: The carries after the last step, and the results of all steps, stacked along a new axis 0.
    """
    outer = current_trace()
    first = [outer.lift(value) for value in carries]
    body = BodyTrace(name, outer, length, variables)
    given = [body.input(value.type, value.name) for value in first]
    pieces = [body.piece(outer.lift(value)) for value in sequences]
    with emitting(body):
        new, results = (list(map(body.lift, values)) for values in step(list(given), pieces))
        new += [body.read(variable) for variable in variables]
    inputs = [*given, *body.carried.values()]
    first += [outer.read(variable) for variable in variables]
    _check_carries(name, [value.type for value in inputs], [value.type for value in new])
    losses = [value for _, value in body.losses]
    graph, captured = body.body([*inputs, *body.pieces], [*new, *results, *losses])
    operands = [*first, *body.pieces.values(), *captured]
    found = outer.emit("scan", *operands, body=graph, carries=len(first), sequences=len(body.pieces), length=length,
                       reverse=reverse, conditional=False)  # fmt: skip
    found = list(found) if isinstance(found, tuple) else [found]
    for variable, value in zip(variables, found[len(given) : len(first)], strict=True):
        outer.assign(variable, value)
    for (owner, _), values in zip(body.losses, found[len(found) - len(losses) :], strict=True):
        outer.add_loss(owner, outer.emit("sum", values, axes=(0,), keepdims=False))
    return found[: len(given)], found[len(first) : len(found) - len(losses)]


def repeat_while(
    condition: Callable[[list[Any]], Any], step: Callable[[list[Any]], Sequence[Any]], values: Sequence[Any], limit: int
) -> list[Value]:
    """Trace `step` once and run it on the values as long as `condition` of them holds; the last values.

    Args:
        condition: gives a bool of rank 0; traced twice, before the loop and at the end of a step.
        step: from the values to the new values; may use tensors and variables of the program round it, and layers.
        values: tensors before the first step.
        limit: no more steps than that.
    """
    outer = current_trace()
    first = [outer.lift(value) for value in values]
    first.insert(0, _flag(outer, condition(list(first))))
    body = BodyTrace("while_body", outer, None)
    inputs = [body.input(value.type, value.name) for value in first]
    with emitting(body):
        new = list(map(body.lift, step(list(inputs[1:]))))
        _check_carries("while_loop", [value.type for value in inputs[1:]], [value.type for value in new])
        new.insert(0, _flag(body, condition(list(new))))
    if body.losses:
        raise GraphError("while_loop", expected="no add_loss inside", fix="Use scan or fori_loop")
    graph, captured = body.body(inputs, new)
    found = outer.emit("scan", *first, *captured, body=graph, carries=len(first), sequences=0, length=limit,
                       reverse=False, conditional=True)  # fmt: skip
    return list(found[1:]) if isinstance(found, tuple) else []


def _flag(trace: Trace, value: Any) -> Value:
    """The result of a condition as a value."""
    flag = trace.constant(value) if isinstance(value, bool) else trace.lift(value)
    if flag.type != TensorType(bool_):
        raise GraphError("while_loop: result of the condition", expected="bool[]", received=str(flag.type))
    return flag


def _check_carries(name: str, old: Sequence[TensorType], new: Sequence[TensorType]) -> None:
    if len(old) != len(new):
        raise GraphError(f"{name}: values that are carried on", expected=str(len(old)), received=str(len(new)))
    for number, (before, after) in enumerate(zip(old, new, strict=True)):
        if before != after:
            raise GraphError(f"{name}: value {number} that is carried on", expected=str(before), received=str(after),
                             fix="A step must give back the shapes and element types that it got")  # fmt: skip
