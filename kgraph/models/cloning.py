"""Copies of models with new weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kgraph.errors import ArgumentError, DTypeError
from kgraph.keras_tensor import KerasTensor, Operation
from kgraph.layers.base import Layer
from kgraph.layers.input import InputLayer
from kgraph.models.functional import LayerGraph
from kgraph.models.model import Model
from kgraph.models.sequential import Sequential
from kgraph.nesting import flatten, map_structure, pack


def clone_model(
    model: Model,
    input_tensors: Any = None,
    clone_function: Callable[[Layer], Layer] | None = None,
    call_function: Callable[..., Any] | None = None,
    recursive: bool = False,
) -> Model:
    """A model of the same structure with layers and weights of its own.

    Args:
        model: what is copied; a subclass of the user's own through its configuration.
        input_tensors: symbolic tensors (or one) to build the copy on, in the place of new inputs.
        clone_function: makes the copy of a layer, also of a model inside unless `recursive`; by default from the
            layer's configuration.
        call_function: ``call_function(layer, *args, **kwargs)`` calls a copied layer; only for functional models.
        recursive: whether `clone_function` sees the layers of models inside.

    >>> from kgraph.layers import Dense
    >>> model = Sequential([Dense(2, input_shape=(3,))])
    >>> clone_model(model).count_params()
    8
    """
    copy = clone_function or _copied
    graph = model.graph

    def clone(layer: Layer) -> Layer:
        if recursive and isinstance(layer, Model):
            return clone_model(layer, None, clone_function, call_function, recursive)
        made = copy(layer)
        if not isinstance(made, Layer):
            raise DTypeError("clone_model: clone_function", expected="a layer", received=f"{made!r:.60}")
        return made

    if isinstance(model, Sequential):
        if call_function is not None:
            raise ArgumentError("clone_model: call_function is for functional models only")
        layers: list[Any] = [clone(layer) for layer in model.layers]
        if input_tensors is not None:
            (tensor,) = flatten(input_tensors)
            layers.insert(0, tensor)
        elif graph is not None:
            first = graph.flat_inputs[0].node
            assert first is not None
            layers.insert(0, first.operation)
        return type(model)(layers, name=model.name)
    if type(model) is not Model or graph is None:
        if input_tensors is not None or clone_function is not None:
            expected = "no input_tensors and no clone_function for a model with a call of its own"
            raise ArgumentError(f"clone_model({model.label})", expected=expected)
        made: Model = type(model).from_config(model.get_config())
        return made
    return _cloned_graph(model, graph, input_tensors, clone, call_function or _called)


def _cloned_graph(
    model: Model, graph: LayerGraph, input_tensors: Any, clone: Callable[[Layer], Layer], call: Callable[..., Any]
) -> Model:
    """A functional model whose calls are those of `graph`, made again with copies of the layers."""
    given = flatten(input_tensors) if input_tensors is not None else [_new_input(t) for t in graph.flat_inputs]
    if len(given) != len(graph.flat_inputs):
        expected, received = f"{len(graph.flat_inputs)} tensors", str(len(given))
        raise ArgumentError("clone_model: input_tensors", expected=expected, received=received)
    known: dict[KerasTensor, KerasTensor] = dict(zip(graph.flat_inputs, given))
    copies: dict[Operation, Operation] = {}

    def final(leaf: Any) -> Any:
        return known.get(leaf, leaf) if isinstance(leaf, KerasTensor) else leaf

    for node in graph.nodes:
        if all(tensor in known for tensor in node.outputs):
            continue
        operation = node.operation
        if operation not in copies:
            copies[operation] = clone(operation) if isinstance(operation, Layer) else operation
        results = call(copies[operation], *map_structure(final, node.args), **map_structure(final, node.kwargs))
        known.update(zip(node.outputs, flatten(results)))
    inputs = pack(graph.inputs, given)
    return Model(inputs, map_structure(final, graph.outputs), name=model.name, trainable=model.trainable)


def _new_input(tensor: KerasTensor) -> KerasTensor:
    shape = tuple(tensor.shape)
    return InputLayer(batch_shape=shape, dtype=tensor.dtype, name=tensor.name).tensor


def _copied(layer: Layer) -> Layer:
    made: Layer = type(layer).from_config(layer.get_config())
    return made


def _called(layer: Layer, *args: Any, **kwargs: Any) -> Any:
    return layer(*args, **kwargs)
