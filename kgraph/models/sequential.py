"""Sequential: a stack of layers, each taking what the one before gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kgraph.errors import ArgumentError, DTypeError, GraphError, StateError
from kgraph.ir.types import keras_shape
from kgraph.keras_tensor import KerasTensor
from kgraph.layers.base import Layer
from kgraph.layers.input import InputLayer
from kgraph.models.functional import LayerGraph, check_names
from kgraph.models.model import Model
from kgraph.registration import custom_object_scope
from kgraph.serialization import from_data, serialize_keras_object


class Sequential(Model):
    """A stack of layers with one input and one output.

    Args:
        layers: the layers, or an `Input` first. Without an input shape the model is built when it first meets data.
        name: of the model.

    >>> from kgraph.layers import Dense
    >>> model = Sequential([Dense(4, input_dim=3), Dense(2)])
    >>> model.output_shape
    (None, 2)
    """

    def __init__(self, layers: Iterable[Any] | None = None, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.autocast = False
        self._stack: list[Layer] = []
        self._tensors: list[KerasTensor] = []
        self._whole: LayerGraph | None = None
        for layer in layers or ():
            self.add(layer)

    def add(self, layer: Any, rebuild: bool = True) -> None:
        """Put a layer on top; an `Input` tensor may come first. Nothing changes if it does not fit.

        Args:
            layer: the layer.
            rebuild: accepted as in Keras; the stack is always up to date.
        """
        layer = self._checked(layer)
        stack = [*self._stack]
        if not stack and not isinstance(layer, InputLayer):
            stack += _input_for(layer)
        stack.append(layer)
        check_names(stack)
        tensors = self._extended(stack) if isinstance(stack[0], InputLayer) else []
        self._set(stack, tensors)

    def pop(self, rebuild: bool = True) -> Layer:
        """Take the last layer off, and give it; `rebuild` is accepted as in Keras."""
        if not self.layers:
            raise StateError(f"{self.label}.pop", expected="a model with layers")
        last = self._stack[-1]
        self._set(self._stack[:-1], self._tensors[:-1])
        return last

    def _checked(self, layer: Any) -> Layer:
        if isinstance(layer, KerasTensor) and layer.node is not None:
            layer = layer.node.operation
        if isinstance(layer, type):
            fix = f"Write {layer.__name__}(...)"
            raise DTypeError(f"{self.label}.add", expected="a layer", received=f"the class {layer.__name__}", fix=fix)
        if not isinstance(layer, Layer):
            raise DTypeError(f"{self.label}.add", expected="a layer", received=repr(layer)[:60])
        if isinstance(layer, InputLayer) and self._stack:
            raise GraphError(f"{self.label}.add: an Input must come first", fix="Put it at the start")
        if layer in self._stack:
            what = f"{self.label}.add: {layer.label} is in the model already"
            raise GraphError(what, fix="Use a functional model to share it")
        return layer

    def _extended(self, stack: list[Layer]) -> list[KerasTensor]:
        """Output tensors of every layer of the stack; calls those that have none yet, and unbuilds them on errors."""
        tensors = self._tensors[: len(self._stack)] if stack[: len(self._stack)] == self._stack else []
        fresh = [layer for layer in stack[len(tensors) :] for layer in layer.all_layers() if not layer.built]
        first = stack[0]
        assert isinstance(first, InputLayer)
        tensors = tensors or [first.tensor]
        try:
            with self._own_scope():
                for layer in stack[len(tensors) :]:
                    tensors = [*tensors, self._single(layer, layer(tensors[-1]))]
        except BaseException:
            for layer in fresh:
                layer.forget_build()
            raise
        return tensors

    def _single(self, layer: Layer, output: Any) -> KerasTensor:
        if not isinstance(output, KerasTensor):
            raise GraphError(f"{self.label}: {layer.label}", expected="one output tensor", received=repr(output)[:60])
        return output

    def _set(self, stack: list[Layer], tensors: list[KerasTensor]) -> None:
        self._stack, self._tensors = stack, tensors
        self._whole = None
        self.built = len(tensors) > 1

    @property
    def graph(self) -> LayerGraph | None:
        """The calls of the layers; None until the input shape is known."""
        if self._whole is None and len(self.__dict__.get("_tensors", ())) > 1:
            self._whole = LayerGraph(self._tensors[0], self._tensors[-1])
        return self._whole

    def sublayers(self) -> list[Layer]:
        """The stack, with its input layer."""
        return list(self.__dict__.get("_stack", ()))

    @property
    def layers(self) -> list[Layer]:
        """The stack, without its input layer."""
        return [layer for layer in self._stack if not isinstance(layer, InputLayer)]

    def build(self, input_shape: Any = None) -> None:
        """Call the layers one after the other on a symbolic input of that shape."""
        if not self.layers:
            raise StateError(f"{self.label} has no layers", fix="Add one with model.add(layer)")
        if self._tensors or input_shape is None:
            return
        if not all(size is None or isinstance(size, int) for size in input_shape):
            raise ArgumentError(self.label, expected="one input tensor", received=f"shapes {input_shape}")
        free = (None, *input_shape[1:])
        stack = [InputLayer(batch_shape=free, dtype=self._stack[0].input_dtype), *self._stack]
        tensors = self._extended(stack)
        self._set(stack, tensors)

    def _build_for_types(self, types: Any) -> None:
        shapes = keras_shape(types.shape) if hasattr(types, "shape") else [t.shape for t in types]
        self.build(shapes)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """What the last layer gives."""
        graph = self.graph
        if graph is None:
            raise StateError(f"{self.label} has no layers", fix="Add one with model.add(layer)")
        return graph.replay(inputs, mask, self.label)


    # --- configuration -------------------------------------------------------------------------------------------

    def keras_name(self) -> tuple[str, str, str | None] | None:
        """Where Keras has the class."""
        return ("keras", "Sequential", None) if type(self) is Sequential else None

    def get_config(self) -> dict[str, Any]:
        """The layers, with the shape of the input where it is known."""
        config = {**self.basic_config(), "layers": [serialize_keras_object(layer) for layer in self._stack]}
        return {**config, "build_input_shape": self.input_shape} if self.graph is not None else config

    @classmethod
    def from_config(cls, config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
        """A new model from what `get_config` gave; its weights are new."""
        config = {"layers": config} if isinstance(config, list) else config  # a list in Keras before 2.2.3
        with custom_object_scope(custom_objects):
            model = cls(name=config.get("name"), trainable=config.get("trainable", True))
            for entry in config["layers"]:
                model.add(from_data(entry))
        shape = config.get("build_input_shape")
        if shape and not model.built:
            model.build(tuple(shape))
        return model


def _input_for(layer: Layer) -> list[Layer]:
    """The input layer that a first layer asks for: by its shape argument, or by being a model with known input."""
    if layer.first_shape is not None:
        return [InputLayer(batch_shape=layer.first_shape, dtype=layer.input_dtype)]
    if isinstance(layer, Model) and layer.graph is not None and len(layer.inputs) == 1:
        (tensor,) = layer.inputs
        return [InputLayer(batch_shape=tensor.shape, dtype=tensor.dtype)]
    return []
