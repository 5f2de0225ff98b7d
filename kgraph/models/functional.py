"""The graph of layer calls behind a functional model: found from its outputs, ordered as Keras does, replayed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kgraph.errors import ArgumentError, DTypeError, GraphError, ShapeError
from kgraph.ir.dims import product
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import cast
from kgraph.ir.types import TensorType
from kgraph.keras_tensor import FunctionalNode, KerasTensor, Operation, shape_text
from kgraph.layers.base import Layer
from kgraph.layers.input import InputLayer
from kgraph.masks import carry_mask, set_mask
from kgraph.nesting import flatten, map_structure
from kgraph.primitives import composites


class LayerGraph:
    """The calls of layers that lead from `inputs` to `outputs`.

    Args:
        inputs, outputs: symbolic tensors in any nesting of lists, tuples and dicts.

    Attributes:
        nodes: the calls, in an order in which they can run.
        stand_ins: for inputs that are results of layers, the input layers that take their place, as in Keras.
        operations: layers and functions, as Keras orders them: by their distance from the outputs, far ones first.

    Raises:
        GraphError: an output depends on an `Input` that is not among the inputs, or two layers share a name.
    """

    def __init__(self, inputs: Any, outputs: Any) -> None:
        for argument, structure in (("inputs", inputs), ("outputs", outputs)):
            for leaf in flatten(structure):
                if not isinstance(leaf, KerasTensor):
                    kind = f"{type(leaf).__name__} {getattr(leaf, '__name__', leaf)!r:.60}"
                    raise DTypeError(f"Model({argument}=...)", expected="symbolic tensors", received=kind)
        self.inputs, self.outputs = inputs, outputs
        self.flat_inputs: list[KerasTensor] = flatten(inputs)
        self.flat_outputs: list[KerasTensor] = flatten(outputs)
        if len(set(self.flat_inputs)) != len(self.flat_inputs):
            raise GraphError("Model(inputs=...)", expected="each tensor once")
        self.nodes, found = _in_order(self.flat_inputs, self.flat_outputs)
        self.stand_ins = {
            tensor: InputLayer(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name)
            for tensor in self.flat_inputs
            if tensor.node is None or not isinstance(tensor.node.operation, InputLayer)
        }
        entries = [self.stand_ins[t].tensor if t in self.stand_ins else t for t in self.flat_inputs]
        self.operations = _as_keras_orders(self.nodes, found, dict(zip(self.flat_inputs, entries)))
        check_names(self.operations)

    @property
    def layers(self) -> list[Layer]:
        """The layers among the operations."""
        return [operation for operation in self.operations if isinstance(operation, Layer)]

    def arrange(self, data: Any, label: str) -> list[Any]:
        """The leaves of `data` in the order of the inputs; data may be a dict by input name."""
        names = [tensor.name for tensor in self.flat_inputs]
        if isinstance(data, dict):
            keys = sorted(self.inputs) if isinstance(self.inputs, dict) else names
            missing = [key for key in keys if key not in data]
            if missing:
                raise ArgumentError(label, expected=f"inputs {', '.join(keys)}", received=f"no {', '.join(missing)}")
            data = [data[key] for key in keys]
        leaves = flatten(data)
        if len(leaves) != len(names):
            expected = f"{len(names)} inputs ({', '.join(names)})"
            raise ArgumentError(label, expected=expected, received=str(len(leaves)))
        return leaves

    def check(self, data: Any, label: str) -> None:
        """Raise an error unless tensors of these types can be taken."""
        for tensor, leaf in zip(self.flat_inputs, self.arrange(data, label)):
            wanted, given = tensor.type, leaf.type
            if _fits(wanted, given) or _rank_adjusted(wanted, given) is not None:
                continue
            where = label if len(self.flat_inputs) == 1 else f"{label}, input '{tensor.name}'"
            same_size = given.rank and product(given.shape[1:]) == product(wanted.shape[1:])
            fix = f"Reshape the data to {shape_text(wanted)}" if same_size else ""
            raise ShapeError(where, expected=shape_text(wanted), received=shape_text(given), fix=fix)

    def replay(self, data: Any, mask: Any, label: str) -> Any:
        """The outputs for values of the program being traced, which get these masks (None where there is none)."""
        type_of = current_emitter().type_of
        for value, given in zip(flatten(data), flatten(mask)):
            set_mask(value, given)
        known: dict[KerasTensor, Any] = {}
        for tensor, value in zip(self.flat_inputs, self.arrange(data, label)):
            shape = _rank_adjusted(tensor.type, type_of(value))
            fitting = value if shape is None else composites.reshape(value, shape)
            known[tensor] = carry_mask(value, cast(fitting, tensor.type.dtype))

        def final(leaf: Any) -> Any:
            return known[leaf] if isinstance(leaf, KerasTensor) else leaf

        for node in self.nodes:
            if any(tensor not in known for tensor in node.outputs):
                results = node.operation(*map_structure(final, node.args), **map_structure(final, node.kwargs))
                for tensor, value in zip(node.outputs, flatten(results)):
                    known.setdefault(tensor, value)
        return map_structure(final, self.outputs)


def check_names(operations: Iterable[Operation]) -> None:
    """GraphError if two of the operations have the same name."""
    seen: dict[str, Operation] = {}
    for operation in operations:
        other = seen.setdefault(operation.name, operation)
        if other is not operation:
            kinds = f"{type(other).__name__} and {type(operation).__name__}"
            what = f"layer name '{operation.name}' is used twice ({kinds})"
            raise GraphError(what, fix="Give each layer of a model its own name")


def _in_order(
    inputs: list[KerasTensor], outputs: list[KerasTensor]
) -> tuple[list[FunctionalNode], dict[Operation, int]]:
    """The calls behind `outputs` in an order that runs, and for each operation when it was first met.

    Depth first from each output, with a stack of its own: models may be deeper than Python's recursion allows.
    """
    order: list[FunctionalNode] = []
    met: dict[Operation, int] = {}
    entered: set[FunctionalNode] = set()
    given = set(inputs)
    for output in outputs:
        stack: list[tuple[FunctionalNode, list[KerasTensor]]] = []
        waiting = [output]
        while waiting or stack:
            if waiting:
                tensor = waiting.pop()
                node = tensor.node
                is_input = node is not None and isinstance(node.operation, InputLayer)
                if is_input and tensor not in given:
                    listed = ", ".join(t.name for t in inputs)
                    what = f"output '{output.source}' depends on Input '{tensor.name}'"
                    raise GraphError(f"{what}, which is not in inputs=[{listed}]", fix="Add it to the inputs")
                if node is not None and node not in entered and (is_input or tensor not in given):
                    entered.add(node)
                    met.setdefault(node.operation, len(met))
                    stack.append((node, list(reversed(node.inputs))))
            elif stack[-1][1]:
                waiting.append(stack[-1][1].pop())
            else:
                order.append(stack.pop()[0])
    return order, met


def _as_keras_orders(
    nodes: list[FunctionalNode], met: dict[Operation, int], entries: dict[KerasTensor, KerasTensor]
) -> list[Operation]:
    """Operations by decreasing depth, then in the order in which they were met; weights follow this order.

    `entries` gives for each input the tensor of the input layer that stands for it.
    """
    members = {*nodes, *(tensor.node for tensor in entries.values())}
    depth_of_node: dict[FunctionalNode, int] = {}
    depth_of: dict[Operation, int] = {}
    for node in reversed(nodes):
        depth = max(depth_of_node.get(node, 0), depth_of.get(node.operation, 0))
        depth_of[node.operation] = depth_of_node[node] = depth
        for before in (entries.get(tensor, tensor).node for tensor in node.inputs):
            if before is not None and before in members:
                depth_of_node[before] = max(depth + 1, depth_of_node.get(before, 0))
    for tensor in entries.values():
        if tensor.node is not None:
            depth_of.setdefault(tensor.node.operation, depth_of_node.get(tensor.node, 0))
    return sorted(depth_of, key=lambda operation: (-depth_of[operation], met.get(operation, -1)))


def _fits(wanted: TensorType, given: TensorType) -> bool:
    """Whether ranks agree and no two known sizes differ."""
    pairs = zip(wanted.shape, given.shape)
    same = all(not (isinstance(a, int) and isinstance(b, int)) or a == b for a, b in pairs)
    return wanted.rank == given.rank and same


def _rank_adjusted(wanted: TensorType, given: TensorType) -> tuple[Any, ...] | None:
    """As Keras: the shape without, or with, a last axis of size 1, if that makes it fit; None to leave it."""
    if given.rank == wanted.rank + 1 and given.shape[-1] == 1:
        shape = given.shape[:-1]
    elif given.rank == wanted.rank - 1 and wanted.shape[-1] == 1:
        shape = (*given.shape, 1)
    else:
        return None
    return shape if _fits(wanted, given.with_shape(shape)) else None
