"""Model: layers with inputs and outputs, trained and run as one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kgraph.eager import as_arrays
from kgraph.errors import ArgumentError, StateError
from kgraph.ir.dtypes import dtype_of
from kgraph.ir.graph import Value
from kgraph.ir.types import TensorType
from kgraph.keras_tensor import BATCH, KerasTensor, active_trace, trace_types, type_with_batch
from kgraph.layers.base import Layer, map_shapes
from kgraph.lookup import did_you_mean
from kgraph.models.configuration import graph_arguments, graph_config
from kgraph.models.functional import LayerGraph
from kgraph.models.generator_methods import GeneratorMethods
from kgraph.models.summary import summary_text
from kgraph.models.training_program import TrainingProgram
from kgraph.naming import auto_name
from kgraph.nesting import flatten, map_structure, pack
from kgraph.random_seed import next_seed
from kgraph.registration import custom_object_scope
from kgraph.serialization import serialize_keras_object
from kgraph.trace import Trace
from kgraph.variable import Variable


class Model(GeneratorMethods, Layer):
    """A network: of symbolic tensors (`Model(inputs, outputs)`), or a subclass with layers and a `call`.

    Args:
        inputs, outputs: symbolic tensors in any nesting of lists, tuples and dicts; none for a subclass.
        name: of the model.

    A model is a layer: it can be called on arrays, on symbolic tensors, and inside other layers.
    """

    def __init__(self, inputs: Any = None, outputs: Any = None, name: str | None = None, **kwargs: Any) -> None:
        graph = None
        if inputs is not None or outputs is not None:
            graph = LayerGraph(inputs, outputs)
            name = name or (auto_name("functional") if type(self) is Model else None)
        Layer.__init__(self, name=name, **kwargs)
        GeneratorMethods.__init__(self)
        self._graph = graph
        self._seen_types: tuple[Any, Any] | None = None
        state = np.array([next_seed(), 0], "uint32")
        self._random_state = Variable(state, "random_state", False, f"{self.name}/random_state")
        if graph is not None:
            self.autocast = False
            self.built = True

    @property
    def graph(self) -> LayerGraph | None:
        """The calls of layers from inputs to outputs; None for a subclass with a `call` of its own."""
        return self._graph

    @property
    def label(self) -> str:
        """How messages call the model."""
        return f"model '{self.name}'"

    # --- layers --------------------------------------------------------------------------------------------------

    def sublayers(self) -> list[Layer]:
        """The layers of the graph in Keras' order, then those held by attributes."""
        return list(dict.fromkeys([*(self.graph.layers if self.graph else []), *super().sublayers()]))

    def keeps_rows_apart(self, training: bool) -> bool:
        """If all layers do, and nothing else is computed."""
        plain = self.graph is None or all(isinstance(operation, Layer) for operation in self.graph.operations)
        return plain and super().keeps_rows_apart(training)

    @property
    def layers(self) -> list[Layer]:
        """The direct layers."""
        return self.sublayers()

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The direct layer of that name or at that index."""
        layers = self.layers
        if index is not None:
            if not -len(layers) <= index < len(layers):
                expected = f"an index below {len(layers)}"
                raise ArgumentError(f"{self.label}.get_layer", expected=expected, received=str(index))
            return layers[index]
        for layer in layers:
            if layer.name == name:
                return layer
        fix = did_you_mean(str(name), [layer.name for layer in layers])
        raise ArgumentError(f"{self.label}.get_layer: no layer {name!r}", fix=fix)

    # --- inputs and outputs --------------------------------------------------------------------------------------

    def _graph_or_error(self) -> LayerGraph:
        if self.graph is None:
            fix = "Call it on data or build it first"
            raise StateError(f"{self.label} has no defined inputs", fix=fix)
        return self.graph

    @property
    def inputs(self) -> list[KerasTensor]:
        """The symbolic input tensors, flat."""
        return self._graph_or_error().flat_inputs

    @property
    def outputs(self) -> list[KerasTensor]:
        """The symbolic output tensors, flat."""
        return self._graph_or_error().flat_outputs

    @property
    def input(self) -> Any:
        """The symbolic inputs, nested as given to the model."""
        return self._graph_or_error().inputs

    @property
    def output(self) -> Any:
        """The symbolic outputs, nested as given to the model."""
        return self._graph_or_error().outputs

    @property
    def input_shape(self) -> Any:
        """Shape(s) of the inputs, with None for sizes not known."""
        return map_structure(lambda t: t.shape, self.input)

    @property
    def output_shape(self) -> Any:
        """Shape(s) of the outputs, with None for sizes not known."""
        return map_structure(lambda t: t.shape, self.output)

    def input_nesting(self) -> Any:
        """The inputs in the nesting in which data are given."""
        return self.graph.inputs if self.graph is not None else self._types()[0]

    def output_nesting(self) -> Any:
        """The outputs in the nesting in which they are given back."""
        return self.graph.outputs if self.graph is not None else self._types()[1]

    def input_specs(self) -> list[tuple[str, TensorType]]:
        """Name (the key in a dict of inputs) and type of each input, flat; the batch size is symbolic."""
        if self.graph is not None:
            given, tensors = self.graph.inputs, self.graph.flat_inputs
            flat_dict = isinstance(given, dict) and len(given) == len(tensors)
            names = sorted(given) if flat_dict else [tensor.name for tensor in tensors]
            return [(name, tensor.type) for name, tensor in zip(names, tensors)]
        types = self._types()[0]
        return list(zip(_names(types, "input"), flatten(types)))

    def output_names(self) -> list[str]:
        """Name of each output, flat: keys of a dict of outputs, else names of the layers that make them."""
        if self.graph is None:
            return _names(self._types()[1], "output")
        if isinstance(self.graph.outputs, dict):
            return _names(self.graph.outputs, "output")
        return [tensor.source for tensor in self.graph.flat_outputs]

    def output_types(self) -> list[TensorType]:
        """Type of each output, flat."""
        if self.graph is None:
            return flatten(self._types()[1])
        return [tensor.type for tensor in self.graph.flat_outputs]

    def has_outputs(self) -> bool:
        """Whether the model can be called: one with a training step of its own need not define `call`."""
        return self.graph is not None or type(self).call is not Model.call

    def call_flat(self, values: list[Value], training: bool) -> list[Value]:
        """Flat outputs for flat inputs, inside the program being traced."""
        return flatten(self(pack(self.input_nesting(), values), training=training))

    def _types(self) -> tuple[Any, Any]:
        if self._seen_types is None:
            raise StateError(f"{self.label} is not built", fix="Call it on data or build it first")
        return self._seen_types

    # --- building and calling ------------------------------------------------------------------------------------

    def build_from(self, data: Any) -> None:
        """Build for data like these: arrays or types in the nesting that `call` takes. Nothing if inputs are known."""
        if self.graph is not None or self._seen_types is not None:
            return

        def type_of(leaf: Any) -> TensorType:
            if isinstance(leaf, TensorType):
                return leaf
            dtype = self.dtype if leaf.dtype.kind == "f" else leaf.dtype
            return TensorType(dtype_of(dtype), (BATCH, *leaf.shape[1:]))

        self._build_for_types(map_structure(type_of, as_arrays(data, self.label)))

    def _build_for_types(self, types: Any) -> None:
        """Build for inputs of these types; here by tracing the call once."""
        trace_types(self, (types,), {})

    def build(self, input_shape: Any = None) -> None:
        """Make the weights for inputs of that shape (or nested shapes)."""
        # Inside a program the call itself follows, and builds what it meets.
        if self.graph is None and active_trace() is None and input_shape is not None:
            self._build_for_types(map_shapes(lambda shape: type_with_batch(shape, self.dtype, "input"), input_shape))

    def check_inputs(self, inputs: Any) -> None:
        """The inputs must have the shapes of the model's inputs."""
        if self.graph is not None:
            self.graph.check(inputs, self.label)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """The outputs; a subclass without symbolic inputs defines its own."""
        if self.graph is None:
            fix = "Define it, or use Model(inputs, outputs)"
            raise NotImplementedError(f"{type(self).__name__}.call is not defined. {fix}")
        return self.graph.replay(inputs, mask, self.label)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """None: outputs have the masks that the layers inside gave them."""

    def _call_in_trace(self, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        outputs = super()._call_in_trace(trace, args, kwargs)
        if self.graph is None and args and self._seen_types is None:
            inputs = map_structure(lambda leaf: _free_batch(trace, leaf), args[0])
            takes = map_structure(lambda t: t.with_dtype(dtype_of(self.dtype)) if t.dtype.is_float else t, inputs)
            self._seen_types = (takes, map_structure(lambda leaf: _free_batch(trace, leaf), outputs))
        return outputs

    # --- training ------------------------------------------------------------------------------------------------

    def program(
        self, loss: Any = None, optimizer: Any = "rmsprop", metrics: Any = None,
        variables: Sequence[Variable] | None = None, **options: Any,
    ) -> TrainingProgram:  # fmt: skip
        """A further way to train this model, beside the one that `compile` chose: another loss, the same weights.

        Args:
            loss, optimizer, metrics, options: as `compile` takes them.
            variables: what it trains; all trainable variables if None.

        Returns: an object with `fit`, `evaluate`, `train_on_batch` and the like, and an optimizer of its own.

        >>> from kgraph.layers import Dense, Input
        >>> model = Model(x := Input((2,)), Dense(1)(x))
        >>> model.compile("sgd", loss="mse")
        >>> robust = model.program(loss="mae", optimizer="adam")
        >>> before = model.get_weights()[0]
        >>> robust.train_on_batch(np.ones((4, 2)), np.zeros((4, 1))) > 0
        True
        >>> bool((model.get_weights()[0] != before).any())
        True
        """
        return TrainingProgram(self, variables, loss=loss, optimizer=optimizer, metrics=metrics, **options)

    # --- configuration -------------------------------------------------------------------------------------------

    other_names = ("Functional",)

    def keras_name(self) -> tuple[str, str, str | None] | None:
        """A functional model has a class of its own in Keras."""
        if type(self) is Model and self.graph is not None:
            return "keras.src.models.functional", "Functional", "Functional"
        return None

    def has_own_config(self) -> bool:
        """Whether a subclass defines `get_config`."""
        return type(self).get_config is not Model.get_config

    def get_config(self) -> dict[str, Any]:
        """Layers and calls of a functional model; the constructor's arguments of a subclass."""
        if type(self) is not Model or self.graph is None:
            return super().get_config()
        return {"name": self.name, "trainable": self.trainable, **graph_config(self.graph)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """A new model from what `get_config` gave; its weights are new."""
        with custom_object_scope(custom_objects):
            return cls(**graph_arguments(config)) if cls is Model else super().from_config(config)

    def get_build_config(self) -> dict[str, Any] | None:
        """Shapes of the inputs; None for a model that is not built."""
        return {"input_shape": self.input_shape} if self.graph is not None else None

    def to_json(self, **options: Any) -> str:
        """The model without its weights as JSON text; `options` go to `json.dumps`."""
        return json.dumps(serialize_keras_object(self), **options)

    # --- description ---------------------------------------------------------------------------------------------

    def summary(
        self,
        line_length: int | None = None,
        positions: list[float] | None = None,
        print_fn: Callable[[str], Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
    ) -> None:
        """Print a table of the layers with their output shapes and numbers of weights.

        Args:
            line_length: width of the table; None means Keras' default, at most the terminal's.
            positions: where each column ends, as parts of the width, rising to 1.
            print_fn: called once with the whole text instead of `print`.
            expand_nested: also list the layers of models inside this one.
            show_trainable: add a column that says whether a layer is trained.
        """
        text = summary_text(self, line_length, positions, expand_nested, show_trainable)
        (print_fn or print)(text)


def _names(structure: Any, single: str) -> list[str]:
    """Names of the leaves: dict keys and positions on the way to them, or `single`."""
    if isinstance(structure, dict):
        return [
            key if name == single else f"{key}_{name.removeprefix(f'{single}_')}"
            for key in sorted(structure)
            for name in _names(structure[key], single)
        ]
    if isinstance(structure, (list, tuple)):
        return [
            f"{single}_{n}" if name == single else f"{single}_{n}_{name.removeprefix(f'{single}_')}"
            for n, part in enumerate(structure)
            for name in _names(part, single)
        ]
    return [single]


def _free_batch(trace: Trace, leaf: Any) -> TensorType:
    """The type of a value, with the first axis as the batch size."""
    found = trace.type_of(trace.constant(leaf) if isinstance(leaf, np.ndarray) else leaf)
    return found.with_shape((BATCH, *found.shape[1:])) if found.rank else found
