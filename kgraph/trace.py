"""Running user code on symbolic tensors: a trace is a graph builder that also knows variables and randomness."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from kgraph.errors import GraphError
from kgraph.ir.graph import Graph, GraphBuilder, Node, Value
from kgraph.ir.opdef import Array, current_emitter
from kgraph.ir.types import TensorType
from kgraph.primitives import REGISTRY
from kgraph.primitives.composites import where
from kgraph.record import record
from kgraph.variable import Variable

# Ops whose results hold elements of their operand, maybe as another type, and nothing else.
_MOVES = frozenset({"cast", "slice", "reshape", "transpose"})


@record(eq=False)
class Demand:
    """What a program demands of the numbers of an argument; looked at before a run, for all batches at once.

    Attributes:
        argument: its position.
        view: graph from the argument to the tensor that is looked at, of ops that move elements.
        test: raises an error for an array with wrong numbers.
    """

    argument: int
    view: Graph
    test: Callable[[Array], None]


@record(eq=False)
class Program:
    """A traced program: a graph whose last inputs and outputs are variables.

    Attributes:
        graph: inputs are the arguments, then the variables; outputs are the results, then the variables' new values.
        variables: in the order of those inputs; unchanged ones come back as they went in.
        arguments: how each argument is called in error messages, such as "x" or "y['cls']".
        results: name of each result.
        demands: what must be true of the arguments' numbers.
    """

    graph: Graph
    variables: tuple[Variable, ...]
    arguments: tuple[str, ...]
    results: tuple[str, ...]
    demands: tuple[Demand, ...] = ()


class Trace(GraphBuilder):
    """Builds the graph of a program while user code runs on its values.

    Args:
        name: of the graph, such as "train".
        training: what layers get as `training` unless they are told otherwise.
        random_state: u32[2] variable (seed, step) that dropout draws from; None if the program must be deterministic.

    Attributes:
        losses: (who added it, number) for every further term of the loss.
        shown: what `add_metric` was given, by name.
        objective: what a training step said that it minimises; None if it did not say.
        slopes: the gradients of variables that were taken.
    """

    def __init__(self, name: str, training: bool = False, random_state: Variable | None = None) -> None:
        super().__init__(name, REGISTRY)
        self.training = training
        self._random_state = random_state
        self._streams = 0
        self._arguments: list[tuple[str, Value]] = []
        self._inputs_of: dict[Variable, Value] = {}
        self._latest: dict[Variable, Value] = {}
        self._masks: dict[Value, Value] = {}
        self._demands: list[tuple[Value, Callable[[Array], None]]] = []
        self.losses: list[tuple[Any, Value]] = []
        self.shown: dict[str, Any] = {}
        self.objective: Value | None = None
        self.slopes: dict[Variable, Value] = {}

    def argument(self, type: TensorType, name: str) -> Value:
        """A new argument; `name` is how messages call it."""
        value = self.input(type, name if name.isidentifier() else "")
        self._arguments.append((name, value))
        return value

    @property
    def arguments(self) -> list[Value]:
        """The arguments so far."""
        return [value for _, value in self._arguments]

    def lift(self, value: Any, what: str = "operand") -> Value:
        """Variables stand for their latest value in this program."""
        if isinstance(value, Variable):
            return self.read(value)
        return super().lift(value, what)

    def read(self, variable: Variable) -> Value:
        """The latest value of a variable in this program."""
        if variable not in self._latest:
            value = self.input(variable.type, variable.path.replace("/", "_"))
            self._inputs_of[variable] = self._latest[variable] = value
        return self._latest[variable]

    def assign(self, variable: Variable, value: Any) -> None:
        """Give a variable a new value, of its own type, at the end of the program.

        For gradients taken from then on the variable is a source of its own: they do not look into how its value was
        computed. What a step does after an optimizer's update must not be differentiated through that update.
        """
        self.read(variable)
        new = self.lift(value)
        if new.type != variable.type:
            raise GraphError(f"variable '{variable.path}'", expected=str(variable.type), received=str(new.type))
        self._set_latest(variable, new)

    def is_assigned(self, variable: Variable) -> bool:
        """Whether the program gives a variable a new value."""
        return variable in self._latest and self._latest[variable] is not self._inputs_of[variable]

    def _set_latest(self, variable: Variable, new: Value) -> None:
        cut = self.emit("stop_gradient", new)
        assert isinstance(cut, Value)
        self._latest[variable] = cut

    def only_if(self, condition: Value, update: Callable[[], None]) -> None:
        """Run `update` and let what it assigns hold only where `condition`, a bool of rank 0, is true."""
        before = dict(self._latest)
        update()
        for variable, new in list(self._latest.items()):
            old = before.get(variable, self._inputs_of[variable])
            if new is not old:
                self._set_latest(variable, where(condition, new, old))

    def mask_of(self, value: Value) -> Value | None:
        """The mask that goes with a value; None if it has none."""
        return self._masks.get(value)

    def set_mask(self, value: Value, mask: Value) -> None:
        """Let `mask` go with a value of this program."""
        self._masks[self.lift(value)] = self.lift(mask, "mask")

    def add_loss(self, owner: Any, loss: Any) -> None:
        """A further term of the loss, added by the layer `owner`."""
        value = self.lift(loss)
        if value.type.rank or not value.type.dtype.is_float:
            raise GraphError("add_loss", expected="a number of a float type", received=str(value.type))
        self.losses.append((owner, value))

    def forget_losses(self, owners: Collection[Any]) -> None:
        """Drop the terms that these added: their call is made anew, and only the last one counts."""
        self.losses = [(owner, value) for owner, value in self.losses if owner not in owners]

    def demand(self, value: Value, test: Callable[[Array], None]) -> None:
        """Have `test` look at the numbers of a tensor before each run, and raise an error if they are wrong.

        It does so where the tensor is an argument, or elements of one; what the program computes itself is not looked
        at.
        """
        self._demands.append((value, test))

    def _demand_of_argument(self, value: Value, test: Callable[[Array], None]) -> Demand | None:
        makers = {made: node for node in self.nodes for made in node.outputs}
        numbers = {argument: n for n, (_, argument) in enumerate(self._arguments)}
        nodes, source = list[Node](), value
        while source not in numbers:
            node = makers.get(source)
            if node is None or node.op.name not in _MOVES:
                return None
            nodes.insert(0, node)
            source = node.inputs[0]
        return Demand(numbers[source], Graph(f"{self.name}_view", (source,), tuple(nodes), (value,)), test)

    def random_key(self) -> Value:
        """A u32[2] key for one random op: differs between calls in a program and between runs of the program."""
        if self._random_state is None:
            raise GraphError(f"program '{self.name}'", expected="no random ops outside training")
        start = self.read(self._random_state)
        if self._streams == 0:
            self.assign(self._random_state, start + self.constant([0, 1], start.dtype))
        self._streams += 1
        key = self.emit("fold_in", self._inputs_of[self._random_state], data=self._streams)
        assert isinstance(key, Value)
        return key

    def program(self, results: Sequence[tuple[str, Value]]) -> Program:
        """The finished program with these (name, value) results."""
        variables = tuple(self._inputs_of)
        inputs = [v for _, v in self._arguments] + [self._inputs_of[v] for v in variables]
        outputs = [self.lift(value, name) for name, value in results] + [self._latest[v] for v in variables]
        graph = Graph(self.name, tuple(inputs), tuple(self.nodes), tuple(outputs))
        demands = tuple(d for pair in self._demands if (d := self._demand_of_argument(*pair)) is not None)
        return Program(graph, variables, tuple(n for n, _ in self._arguments), tuple(n for n, _ in results), demands)


def current_trace() -> Trace:
    """The trace in force; an error outside tracing."""
    emitter = current_emitter()
    if not isinstance(emitter, Trace):
        raise GraphError("layer call", expected="to run inside a program being traced")
    return emitter


def gradients(y: Any, variables: Sequence[Any]) -> list[Any]:
    """Symbolic gradients of the scalar `y` with respect to variables or values of the program being traced."""
    trace = current_trace()
    if trace.objective is None:
        trace.objective = y
    if not variables:
        return []
    out = trace.emit("gradient", y, *variables)
    found = list(out) if isinstance(out, tuple) else [out]
    trace.slopes |= {v: slope for v, slope in zip(variables, found, strict=True) if isinstance(v, Variable)}
    return found
