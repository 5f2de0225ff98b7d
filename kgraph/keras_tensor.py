"""Symbolic tensors of functional models, and the nodes that record which operation made them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from kgraph.errors import GraphError, StateError
from kgraph.ir.dims import Dim, symbol
from kgraph.ir.dtypes import dtype_of
from kgraph.ir.opdef import current_emitter, emitting, is_tracing
from kgraph.ir.operators import FUNCTIONS, Operators
from kgraph.ir.types import TensorType, keras_shape
from kgraph.masks import mask_of
from kgraph.naming import auto_name
from kgraph.nesting import flatten, map_structure
from kgraph.trace import Trace
from kgraph.variable import Variable

# The size shared by the first axis of all inputs.
BATCH = symbol("batch")


_OF_MODELS = ("compile", "evaluate", "fit", "get_weights", "layers", "predict", "save", "summary")


class KerasTensor(Operators):
    """What `Input` and layers called on symbolic tensors give: a type and a history, no values.

    Args:
        type: element type and shape.
        name: as messages call it.
        mask_type: type of the mask that goes with the tensor; None if it has none.

    Python operators make further symbolic tensors.
    """

    def __init__(self, type: TensorType, name: str = "", mask_type: TensorType | None = None) -> None:
        self.type = type
        self.mask_type = mask_type
        self.name = name or auto_name("keras_tensor")
        self.node: FunctionalNode | None = None

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Sizes; None where known only at run time."""
        return keras_shape(self.type.shape)

    @property
    def dtype(self) -> str:
        """Keras' name of the element type."""
        return self.type.dtype.numpy

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.type.rank

    @property
    def source(self) -> str:
        """Name of the operation that made the tensor; empty if none did."""
        return self.node.operation.name if self.node else ""

    @property
    def _keras_mask(self) -> Any:
        """The mask as a symbolic tensor, under Keras' name; None if there is none."""
        return FunctionOperation(mask_of, "mask")(self) if self.mask_type else None

    def __getattr__(self, name: str) -> Any:
        """Words for the methods of models, which tensors have not got."""
        if name in _OF_MODELS:
            made_by = f", the output of '{self.source}'" if self.source else ""
            fix = "Keep the model: model = MyModel(), or model = Model(inputs, outputs)"
            raise AttributeError(f"a symbolic tensor{made_by} has no {name}. {fix}")
        raise AttributeError(f"'KerasTensor' object has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"

    def operate(self, name: str, *operands: Any) -> Any:
        """A node of the functional graph for the operator."""
        return FunctionOperation(FUNCTIONS[name], name)(*operands)


class FunctionalNode:
    """One call of an operation on symbolic tensors.

    Attributes:
        operation: what was called.
        args, kwargs: the arguments, with symbolic tensors inside.
        inputs: the symbolic tensors among the arguments, in order.
        outputs: the symbolic tensors it gave, in order.
    """

    def __init__(self, operation: Operation, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any) -> None:
        self.operation, self.args, self.kwargs = operation, args, kwargs
        self.inputs: list[KerasTensor] = symbolic_tensors([args, kwargs])
        self.outputs: list[KerasTensor] = flatten(outputs)
        for tensor in self.outputs:
            tensor.node = self
        operation.inbound_nodes.append(self)


class Operation:
    """Anything that can stand in a functional graph: layers, models, plain functions.

    Args:
        name: unique within a model.
    """

    # Further names of the class in Keras' configurations.
    other_names: tuple[str, ...] = ()

    name: str

    def __init__(self, name: str) -> None:
        self.name = name
        self.inbound_nodes: list[FunctionalNode] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Apply to symbolic tensors (giving symbolic tensors) or to values of the program being traced."""
        raise NotImplementedError

    def keras_name(self) -> tuple[str, str, str | None] | None:
        """Module, class and registered name in a configuration, where they are not those of the class."""

    def get_build_config(self) -> dict[str, Any] | None:
        """What `build` was told; None if that is not known."""

    def symbolic_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Record a call on symbolic tensors; the results' types come from tracing the call once."""
        with placeholder_call(self, args, kwargs) as (trace, results):
            for leaf in flatten(results):
                if not isinstance(leaf, Operators):
                    raise GraphError(f"{self.name}: result of the call", expected="tensors", received=repr(leaf))
            outputs = map_structure(lambda leaf: _described(trace, leaf), results)
        FunctionalNode(self, args, kwargs, outputs)
        return outputs

    @property
    def output(self) -> Any:
        """The symbolic tensor(s) of the first call."""
        outputs = self._first_call().outputs
        return outputs[0] if len(outputs) == 1 else outputs

    @property
    def input(self) -> Any:
        """The symbolic tensor(s) that the first call took."""
        inputs = self._first_call().inputs
        return inputs[0] if len(inputs) == 1 else inputs

    def _first_call(self) -> FunctionalNode:
        if not self.inbound_nodes:
            raise StateError(f"layer '{self.name}'", expected="to be called on a symbolic tensor first")
        return self.inbound_nodes[0]


class FunctionOperation(Operation):
    """A plain function of tensors as a node of a functional graph."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        super().__init__(auto_name(name))
        self.function, self.function_name = function, name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if symbolic_tensors([args, kwargs]):
            return self.symbolic_call(args, kwargs)
        return self.function(*args, **kwargs)


def symbolic_tensors(structure: Any) -> list[KerasTensor]:
    """The symbolic tensors among the leaves, in order."""
    return [leaf for leaf in flatten(structure) if isinstance(leaf, KerasTensor)]


def active_trace() -> Trace | None:
    """The program being traced; None outside tracing."""
    emitter = current_emitter() if is_tracing() else None
    return emitter if isinstance(emitter, Trace) else None


@contextmanager
def placeholder_call(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Iterator[tuple[Trace, Any]]:
    """Trace `function` once; inside the block its trace is in force and its results are known.

    Symbolic tensors and bare types among the arguments become placeholders, with the masks that go with them.
    """
    trace = Trace("infer", random_state=Variable(np.zeros(2, "uint32"), "random_state", trainable=False))

    def placeholder(leaf: Any) -> Any:
        if isinstance(leaf, TensorType):
            return trace.argument(leaf, "")
        if not isinstance(leaf, KerasTensor):
            return leaf
        value = trace.argument(leaf.type, leaf.name)
        if leaf.mask_type is not None:
            trace.set_mask(value, trace.argument(leaf.mask_type, f"{leaf.name}_mask"))
        return value

    with emitting(trace):
        yield trace, function(*map_structure(placeholder, args), **map_structure(placeholder, kwargs))


def trace_types(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Result types of `function` where symbolic tensors and bare types among the arguments become placeholders."""
    with placeholder_call(function, args, kwargs) as (trace, results):
        return map_structure(lambda leaf: trace.type_of(leaf) if isinstance(leaf, Operators) else leaf, results)


def _described(trace: Trace, leaf: Any) -> KerasTensor:
    """A symbolic tensor for a result of the trace."""
    value = trace.lift(leaf)
    mask = trace.mask_of(value)
    return KerasTensor(value.type, mask_type=None if mask is None else mask.type)


def type_with_batch(shape: tuple[int | None, ...], dtype: Any, name: str) -> TensorType:
    """The type of an input: None on the first axis is the batch size, elsewhere a size of this input's own.

    >>> type_with_batch((None, None, 3), "float32", "x")
    f32[batch, x_d1, 3]
    """
    own = "".join(c if c.isalnum() else "_" for c in name)
    own = own if own and not own[0].isdigit() else f"_{own}"
    dims: list[Dim] = []
    for axis, size in enumerate(shape):
        unknown = BATCH if axis == 0 else symbol(f"{own}_d{axis}")
        dims.append(unknown if size is None else int(size))
    return TensorType(dtype_of(dtype), tuple(dims))


def shape_text(type: TensorType) -> str:
    """The shape of a tensor as messages show it, such as ``(batch, 4)``."""
    sizes = [str(dim) for dim in type.shape]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
