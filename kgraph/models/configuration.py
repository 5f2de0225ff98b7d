"""Functional models as plain data, in the form that Keras 3 writes, and back."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

import kgraph.activations as activations
import kgraph.ops as ops
from kgraph.errors import ArgumentError, GraphError
from kgraph.ir.operators import FUNCTIONS
from kgraph.keras_tensor import FunctionalNode, FunctionOperation, KerasTensor, Operation
from kgraph.layers.base import Layer
from kgraph.layers.input import InputLayer
from kgraph.lookup import did_you_mean
from kgraph.masks import mask_of
from kgraph.models.functional import LayerGraph
from kgraph.naming import snake_case
from kgraph.nesting import flatten, map_structure
from kgraph.registration import get_registered_object
from kgraph.serialization import from_data, serialize_keras_object

# A tensor of a functional graph in a configuration: operation, number of its call, number of the result.
_TENSOR = "__keras_tensor__"


# --- writing ----------------------------------------------------------------------------------------------------------
def graph_config(graph: LayerGraph) -> dict[str, Any]:
    """Layers with their calls, inputs and outputs of a functional model."""
    calls: dict[Operation, list[FunctionalNode]] = {operation: [] for operation in graph.operations}
    members = set(graph.nodes)
    for operation, nodes in calls.items():
        nodes += [node for node in operation.inbound_nodes if node in members]

    def place(tensor: KerasTensor) -> list[Any]:
        node = graph.stand_ins[tensor].tensor.node if tensor in graph.stand_ins else tensor.node
        assert node is not None
        if isinstance(node.operation, InputLayer):
            return [node.operation.name, 0, 0]
        return [node.operation.name, calls[node.operation].index(node), node.outputs.index(tensor)]

    def entry(operation: Operation) -> dict[str, Any]:
        if isinstance(operation, FunctionOperation):
            made, nodes = _function_config(operation, calls[operation]), calls[operation]
        else:
            made, nodes = serialize_keras_object(operation), calls[operation]
        inbound = [] if isinstance(operation, InputLayer) else [_call_config(node, place) for node in nodes]
        return {**made, "name": operation.name, "inbound_nodes": inbound}

    return {
        "layers": [entry(operation) for operation in graph.operations],
        "input_layers": map_structure(place, graph.inputs),
        "output_layers": map_structure(place, graph.outputs),
    }


def _call_config(node: FunctionalNode, place: Callable[[KerasTensor], list[Any]]) -> dict[str, Any]:
    """The arguments of one call, with the tensors among them as places in the graph."""

    def described(leaf: Any) -> Any:
        if isinstance(leaf, KerasTensor):
            config = {"shape": list(leaf.shape), "dtype": leaf.dtype, "keras_history": place(leaf)}
            return {"class_name": _TENSOR, "config": config}
        if isinstance(leaf, np.ndarray):
            return {"class_name": "__tensor__", "config": {"value": leaf.tolist(), "dtype": leaf.dtype.name}}
        return serialize_keras_object(leaf)

    args, kwargs = _operands_and_options(node)
    kwargs = {} if isinstance(node.operation, FunctionOperation) else kwargs
    made: dict[str, Any] = serialize_keras_object(map_structure(described, {"args": list(args), "kwargs": kwargs}))
    return made


def _operands_and_options(node: FunctionalNode) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call; those of a function that have defaults are its options, however they were given."""
    function = node.operation.function if isinstance(node.operation, FunctionOperation) else None
    if function is None or function in FUNCTIONS.values() or function is mask_of:
        return node.args, node.kwargs
    bound = inspect.signature(function).bind(*node.args, **node.kwargs)
    options = {name for name, p in bound.signature.parameters.items() if p.default is not p.empty}
    operands = tuple(value for name, value in bound.arguments.items() if name not in options)
    return operands, {name: value for name, value in bound.arguments.items() if name in options}


def _function_config(operation: FunctionOperation, nodes: list[FunctionalNode]) -> dict[str, Any]:
    """An entry as Keras has it for a function: a class of its name, with its options as configuration."""
    name = operation.function_name
    if _function(name) is None:
        raise GraphError(f"function '{name}' in a functional model", expected="one of kgraph.ops, to be written",
                         received=repr(operation.function)[:60], fix="Put it into a layer")  # fmt: skip
    options = _operands_and_options(nodes[0])[1]
    cls = "".join(part.capitalize() for part in name.split("_"))
    module = "keras.src.ops.nn" if name in activations.BY_NAME else "keras.src.ops.numpy"
    config = {"name": operation.name, **serialize_keras_object(options)}
    return {"module": module, "class_name": cls, "config": config, "registered_name": cls}


def _function(name: str) -> Callable[..., Any] | None:
    """The function on tensors of that name."""
    found: Callable[..., Any] | None = FUNCTIONS.get(name) or activations.BY_NAME.get(name)
    return mask_of if name == "mask" else found or (getattr(ops, name) if name in ops.__all__ else None)


# --- reading ----------------------------------------------------------------------------------------------------------
class _Rebuilt:
    """The tensors of a functional model that is being read, and what is still to be called."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.operations = {entry["name"]: _operation(entry) for entry in config["layers"]}
        self.options = {entry["name"]: _options(entry) for entry in config["layers"]}
        self.results: dict[tuple[str, int, int], KerasTensor] = {}
        self.calls: dict[str, int] = {}
        for name, operation in self.operations.items():
            if isinstance(operation, InputLayer):
                self._keep(name, operation.tensor)
        self._run({entry["name"]: list(entry["inbound_nodes"]) for entry in config["layers"]})

    def _run(self, waiting: dict[str, list[Any]]) -> None:
        """Make the calls, each as soon as its tensors are known: a shared layer may take what a later one gives."""
        while any(waiting.values()):
            ready = [name for name, calls in waiting.items() if calls and self._is_known(calls[0])]
            if not ready:
                raise GraphError(f"configuration: the layers {_cycle(waiting)} form a cycle")
            for name in ready:
                args, kwargs = self._arguments(waiting[name].pop(0))
                operation = self.operations[name]
                if isinstance(operation, FunctionOperation) and operation.function_name == "get_item":
                    args = [args[0], tuple(args[1]) if isinstance(args[1], list) else args[1]]
                self._keep(name, operation(*args, **kwargs, **self.options[name]))

    def _keep(self, name: str, outputs: Any) -> None:
        number = self.calls[name] = self.calls.get(name, -1) + 1
        for n, tensor in enumerate(flatten(outputs)):
            self.results[name, number, n] = tensor

    def _is_known(self, call: Any) -> bool:
        return all(place in self.results for place in _places(call))

    def _arguments(self, call: Any) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments; older Keras lists ``[layer, call, result, options]`` for each tensor."""
        if isinstance(call, dict):
            return self._filled(call["args"]), self._filled(call["kwargs"])
        tensors = [self.results[place] for place in _places(call)]
        options = call[0][3] if len(call[0]) > 3 else {}
        return [tensors[0] if len(tensors) == 1 else tensors], self._filled(options)

    def _filled(self, structure: Any) -> Any:
        if isinstance(structure, list):
            return [self._filled(part) for part in structure]
        if not isinstance(structure, dict):
            return structure
        if structure.get("class_name") == _TENSOR:
            return self.tensor(structure["config"]["keras_history"])
        if "class_name" in structure:
            return from_data(structure)
        return {key: self._filled(part) for key, part in structure.items()}

    def tensor(self, place: Any) -> KerasTensor:
        """The tensor at a place of the graph."""
        name, call, result = place
        if (name, call, result) not in self.results:
            raise GraphError(f"configuration: no tensor {list(place)}", expected="layer, call and result of the model")
        return self.results[name, call, result]

    def nested(self, structure: Any) -> Any:
        """Tensors in the nesting that the configuration has for inputs or outputs."""
        if isinstance(structure, dict):
            return {key: self.nested(part) for key, part in structure.items()}
        if len(structure) == 3 and isinstance(structure[0], str):
            return self.tensor(structure)
        return [self.nested(part) for part in structure]


def graph_arguments(config: dict[str, Any]) -> dict[str, Any]:
    """Constructor arguments of the functional model that `config` describes.

    Raises:
        ArgumentError: the description is not complete.
        GraphError: the layers' calls cannot be made in any order.
    """
    missing = [key for key in ("layers", "input_layers", "output_layers") if key not in config]
    if missing:
        raise ArgumentError("configuration of a functional model", expected=f"entries {', '.join(missing)}")
    graph = _Rebuilt(config)
    options: dict[str, Any] = {key: config[key] for key in ("name", "trainable") if key in config}
    return {"inputs": graph.nested(config["input_layers"]), "outputs": graph.nested(config["output_layers"]), **options}


def _is_function(entry: dict[str, Any]) -> bool:
    return ".ops." in (entry.get("module") or "")


def _options(entry: dict[str, Any]) -> dict[str, Any]:
    """What a function is called with besides its operands."""
    config = entry["config"] if _is_function(entry) else {}
    return {key: from_data(value) for key, value in config.items() if key != "name"}


def _operation(entry: dict[str, Any]) -> Operation:
    config = entry["config"]
    if _is_function(entry):
        name = snake_case(entry["class_name"])
        function = _function(name)
        if function is None:
            raise ArgumentError(f"configuration: function '{name}' is not known", fix=did_you_mean(name, ops.__all__))
        made = FunctionOperation(function, name)
        made.name = config.get("name", made.name)
        return made
    if entry["class_name"] == "Lambda" and get_registered_object(entry["name"]) is not None:
        config = {**config, "function": get_registered_object(entry["name"])}
    made_layer = from_data({**entry, "config": config})
    if not isinstance(made_layer, Layer):
        raise ArgumentError(f"configuration: '{entry['name']}'", expected="a layer", received=repr(made_layer)[:60])
    return made_layer


def _places(call: Any) -> list[tuple[str, int, int]]:
    """The tensors among the arguments of a call."""
    if isinstance(call, dict):
        if call.get("class_name") == _TENSOR:
            name, number, result = call["config"]["keras_history"]
            return [(name, number, result)]
        return [place for part in call.values() for place in _places(part)]
    if not isinstance(call, list):
        return []
    if len(call) > 2 and isinstance(call[0], str) and isinstance(call[1], int) and isinstance(call[2], int):
        return [(call[0], call[1], call[2])]
    return [place for part in call for place in _places(part)]


def _cycle(waiting: dict[str, list[Any]]) -> str:
    """Layers that wait for each other, in order."""
    path = [next(name for name, calls in waiting.items() if calls)]
    while True:
        before = next(name for name, *_ in _places(waiting[path[-1]][0]) if waiting.get(name))
        if before in path:
            return " <- ".join(f"'{name}'" for name in [*path[path.index(before) :], before])
        path.append(before)
