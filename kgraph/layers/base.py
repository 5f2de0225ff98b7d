"""Layer: names, weights, building once, and the three ways to be called."""

from __future__ import annotations

import functools
import inspect
import math
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import numpy as np

from kgraph.config import floatx
from kgraph.constraints import get as get_constraint
from kgraph.data import warn_user
from kgraph.eager import (
    NUMBERS,
    EagerPrograms,
    as_array,
    as_arrays,
    current_training,
    inside_call,
    run_on_arrays,
    training_scope,
)
from kgraph.errors import ArgumentError, DTypeError, ShapeError, StateError, SymbolicError
from kgraph.initializers import get as get_initializer
from kgraph.ir.dtypes import dtype_of
from kgraph.ir.location import current_location, layer_scope, user_location
from kgraph.ir.operators import Operators, cast
from kgraph.ir.types import TensorType, keras_shape
from kgraph.keras_tensor import (
    KerasTensor,
    active_trace,
    symbolic_tensors,
    trace_types,
    type_with_batch,
)
from kgraph.layers.configured import Configured
from kgraph.layers.input_spec import check_input_spec
from kgraph.layers.method_rules import building, names_may_come_first, on_any_tensors
from kgraph.layers.weight_options import WeightOptions
from kgraph.lookup import did_you_mean
from kgraph.masks import carry_mask, fill_mask_arguments, mask_of, masks_of, set_mask
from kgraph.naming import auto_name, snake_case
from kgraph.nesting import flatten, map_structure
from kgraph.primitives.composites import size
from kgraph.random_seed import next_seed
from kgraph.regularizers import get as get_regularizer
from kgraph.regularizers import serialize as serialize_regularizer
from kgraph.trace import Trace, current_trace
from kgraph.variable import Variable

# Arguments of every layer's constructor that older Keras code uses to give the input's shape.
_SHAPE_ARGUMENTS = ("input_shape", "input_dim", "batch_input_shape", "batch_size")

# The address space of a process on today's machines: more cannot be meant.
MAX_WEIGHT_BYTES = 1 << 47

_Kind = TypeVar("_Kind")


# Set by callbacks while a loop runs; no program depends on them.
_ENDS_OF_LOOPS = ("stop_training", "stop_evaluating", "stop_predicting")


class Layer(WeightOptions, Configured):
    """A computation with weights: the base of all layers and models.

    A subclass makes weights in ``build(input_shape)`` with `add_weight` (or sublayers in ``__init__``) and computes in
    ``call(inputs)``; a parameter called ``training`` of `call` receives the training flag.

    Args:
        trainable: whether gradients update the weights.
        dtype: element type of weights and computation, "float32" or "float64"; None means `floatx`.
        name: unique within a model; None makes one from the class name.
        activity_regularizer: penalty on the outputs, divided by the batch size; see `kgraph.regularizers`.
        input_shape, input_dim, batch_input_shape, batch_size: shape of the input if this is the first layer of a
            `Sequential` model, as in older Keras.
        weights: values that the weights get when they are made, as in older Keras.

    Calls: on symbolic tensors gives symbolic tensors; on arrays (or lists of numbers) gives arrays; inside another
    layer's `call` becomes part of the program.
    """

    _last_change = object()  # another one after every change of a public attribute of any layer

    # Whether the layer knows what becomes of the mask of its input; a layer that does not drops it, with a warning.
    supports_masking = False

    # What the inputs must be: an `InputSpec` or a nesting of them; None for anything.
    input_spec: Any = None

    # Variables under these attributes are state of the layer, not weights.
    not_weights = frozenset({"_random_state", "_trainable_variables", "_non_trainable_variables"})

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "build" in cls.__dict__:
            cls.build = building(cls.__dict__["build"])  # type: ignore[method-assign]
        if "compute_mask" in cls.__dict__:
            cls.compute_mask = on_any_tensors(cls.__dict__["compute_mask"])  # type: ignore[method-assign]
            cls.supports_masking = cls.__dict__.get("supports_masking", True)

    def __init__(
        self, *, activity_regularizer: Any = None, trainable: bool = True, dtype: Any = None, name: str | None = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(name or auto_name(snake_case(type(self).__name__)))
        self.built = False
        self.autocast = True
        self.dtype = dtype_of(dtype or floatx()).numpy
        self._in_build = False
        self._trainable_flag = trainable
        self.activity_regularizer = get_regularizer(activity_regularizer, f"{self.label}: activity_regularizer")
        self._trainable_variables: list[Variable] = []
        self._non_trainable_variables: list[Variable] = []
        self._random_state: Variable | None = None
        self._programs = EagerPrograms()
        self._source = user_location()
        self._signature = inspect.signature(self.call)
        self.first_shape = self._shape_of_input(kwargs)
        self._first_weights = kwargs.pop("weights", None)
        if kwargs:
            wrong = next(iter(kwargs))
            known = [n for n in inspect.signature(type(self).__init__).parameters if n not in ("self", "kwargs")]
            fix = did_you_mean(wrong, [*known, "name", "dtype", "trainable"])
            raise ArgumentError(f"{self.label}: unknown argument {wrong!r}", fix=fix)

    def _shape_of_input(self, kwargs: dict[str, Any]) -> tuple[int | None, ...] | None:
        """The batch shape that older Keras arguments give, taken out of `kwargs`; None if there is none."""
        given = {key: kwargs.pop(key) for key in _SHAPE_ARGUMENTS if key in kwargs}
        if given.get("batch_input_shape") is not None:
            return tuple(given["batch_input_shape"])
        if given.get("input_dim") is not None:
            return (given.get("batch_size"), given["input_dim"])
        if given.get("input_shape") is not None:
            return (given.get("batch_size"), *given["input_shape"])
        return None

    @property
    def input_dtype(self) -> str:
        """Element type of the input that a `Sequential` model makes if this is its first layer."""
        return self.dtype

    @property
    def label(self) -> str:
        """How messages call the layer."""
        return f"layer '{self.name}' ({type(self).__name__})"

    # --- weights -------------------------------------------------------------------------------------------------

    @names_may_come_first
    def add_weight(
        self,
        shape: Any = None,
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        name: str = "variable",
        regularizer: Any = None,
        constraint: Any = None,
    ) -> Variable:
        """A new weight.

        Positional arguments that start with a name are those of older Keras: name, shape, dtype, initializer,
        regularizer, trainable, constraint.

        Args:
            shape: sizes; None or () is a scalar, an int a vector.
            initializer: name or callable; None means Glorot uniform for floats, zeros otherwise.
            dtype: element type; None means the layer's.
            trainable: whether gradients update it.
            name: last part of its path.
            regularizer: penalty that is added to the loss while the weight is trained; name, object or function.
            constraint: applied after each update; name, object or function.
        """
        element = dtype_of(dtype or self.dtype)
        sizes = (shape,) if isinstance(shape, int) else tuple(int(size) for size in shape or ())
        nbytes = math.prod(sizes) * element.itemsize
        if nbytes > MAX_WEIGHT_BYTES:
            what = f"{self.label}: weight '{name}' of shape {sizes} needs {nbytes:.2g} bytes"
            raise ShapeError(what, expected=f"at most {MAX_WEIGHT_BYTES:.2g}")
        make = get_initializer(initializer or ("glorot_uniform" if element.is_float else "zeros"))
        value = as_array(np.asarray(make(sizes, dtype=element.numpy)), f"{self.label}: initial value of '{name}'")
        if value.shape != sizes:
            received = f"an initial value of shape {value.shape}"
            raise ShapeError(f"{self.label}: weight '{name}'", expected=f"shape {sizes}", received=received)
        with self._own_scope():
            path = f"{current_location().layer}/{name}"
        variable = Variable(value.astype(element.to_numpy()), name, trainable and self._trainable_flag, path)
        variable.regularizer = get_regularizer(regularizer, f"{self.label}: regularizer of '{name}'")
        variable.constraint = get_constraint(constraint, f"{self.label}: constraint of '{name}'")
        (self._trainable_variables if trainable else self._non_trainable_variables).append(variable)
        return variable

    def sublayers(self) -> list[Layer]:
        """The layers held by attributes, also inside lists and dicts, in the order of assignment."""
        return list(dict.fromkeys(_held(self.__dict__.values(), Layer)))

    def all_layers(self) -> list[Layer]:
        """This layer and every layer below it, each once, parents first."""
        seen: dict[Layer, None] = {}
        waiting: list[Layer] = [self]
        while waiting:
            layer = waiting.pop(0)
            if layer not in seen:
                seen[layer] = None
                waiting.extend(layer.sublayers())
        return list(seen)

    def keeps_rows_apart(self, training: bool) -> bool:
        """Whether a row of the batch changes no result but its own, and no variable; False where that is not known."""
        own = type(self).__module__.partition(".")[0] == __name__.partition(".")[0]
        return own and all(layer.keeps_rows_apart(training) for layer in self.sublayers())

    def _own_weights(self) -> list[Variable]:
        made = [*self._trainable_variables, *self._non_trainable_variables]
        attributes = [value for key, value in self.__dict__.items() if key not in self.not_weights]
        return list(dict.fromkeys([*made, *_held(attributes, Variable)]))

    @property
    def weights(self) -> list[Variable]:
        """All weights, each once: this layer's own, trainable ones first, then those of its sublayers in order."""
        below = (variable for layer in self.sublayers() for variable in layer.weights)
        return list(dict.fromkeys([*self._own_weights(), *below]))

    @property
    def variables(self) -> list[Variable]:
        """The same as `weights`."""
        return self.weights

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights that gradients update; none if the layer is frozen."""
        if not self.trainable:
            return []
        trained = {v for v in self._own_weights() if v.trainable}
        trained |= {v for layer in self.sublayers() for v in layer.trainable_weights}
        return [v for v in self.weights if v in trained]

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The weights that gradients leave alone."""
        trained = set(self.trainable_weights)
        return [v for v in self.weights if v not in trained]

    @property
    def trainable_variables(self) -> list[Variable]:
        """The same as `trainable_weights`."""
        return self.trainable_weights

    @property
    def non_trainable_variables(self) -> list[Variable]:
        """The same as `non_trainable_weights`."""
        return self.non_trainable_weights

    @property
    def trainable(self) -> bool:
        """Whether gradients update the weights; setting it also sets it in every sublayer."""
        return self._trainable_flag

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable_flag = bool(value)
        for variable in self._trainable_variables:
            variable.trainable = bool(value)
        for layer in self.sublayers():
            layer.trainable = value

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all weights, in the order of `weights`."""
        return [v.numpy() for v in self.weights]

    def set_weights(self, weights: Any) -> None:
        """Set all weights, in the order of `weights`; nothing changes if one does not fit."""
        variables = self.weights
        if not isinstance(weights, (list, tuple)):
            received = type(weights).__name__
            raise DTypeError(f"{self.label}.set_weights", expected="a list of arrays", received=received)
        if len(weights) != len(variables):
            expected, received = f"{len(variables)} arrays", f"{len(weights)}"
            raise ArgumentError(f"{self.label}.set_weights", expected=expected, received=received)
        paths = [f"{self.label}.set_weights: '{variable.path}'" for variable in variables]
        arrays = [as_array(weight, path) for weight, path in zip(weights, paths)]
        for variable, array, path in zip(variables, arrays, paths):
            if variable.shape != array.shape:
                raise ShapeError(path, expected=str(variable.shape), received=str(array.shape))
        for variable, array in zip(variables, arrays):
            variable.set_value(array)

    def count_params(self) -> int:
        """Number of elements of all weights."""
        if not self.built:
            raise StateError(f"{self.label}.count_params", expected="a layer that is built", fix="Call it or build it")
        return sum(v.array.size for v in self.weights)

    # --- calling -------------------------------------------------------------------------------------------------

    @building
    def build(self, input_shape: Any = None) -> None:
        """Make the weights for inputs of that shape; the default makes none."""

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """The computation, on symbolic values of the program being traced; subclasses define it."""
        raise NotImplementedError(f"{type(self).__name__}.call is not defined")

    def check_inputs(self, inputs: Any) -> None:
        """Raise an error if tensors of these types cannot be taken; `inputs` is the first argument of the call."""

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The masks of the outputs, from the inputs and their masks (None where there is none).

        The default gives the inputs' masks on; it is asked only if `supports_masking` is set. A subclass that defines
        it supports masking. Outside of programs it takes symbolic tensors and arrays too.
        """
        return mask

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the layer; see the class."""
        if "_programs" not in self.__dict__:
            fix = f"Write super().__init__() first in {type(self).__name__}.__init__"
            raise StateError(f"{type(self).__name__}: the layer was not initialised", fix=fix)
        self._check_leaves(args[0] if args else None)
        if self.input_spec is not None:
            inputs = args[0] if args else kwargs.get(next(iter(self._signature.parameters), ""))
            check_input_spec(self, inputs)
        trace = active_trace()
        if symbolic_tensors([args, kwargs]):
            self.check_inputs(args[0] if args else None)
            return self.symbolic_call(args, kwargs)
        args = tuple(as_arrays(arg, self.label) for arg in args)
        kwargs = {name: as_arrays(arg, self.label) for name, arg in kwargs.items()}
        if trace is not None:
            return self._call_in_trace(trace, args, kwargs)
        return self._programs.run(self, args, kwargs, self._version_of_all, self.random_state)

    def _call_in_trace(self, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        convert = functools.partial(self._convert, trace)
        args, kwargs = map_structure(convert, args), map_structure(convert, kwargs)
        if "training" not in self._signature.parameters:
            training = kwargs.pop("training", None)
            bound = self._signature.bind(*args, **kwargs)
        else:
            bound = self._signature.bind(*args, **kwargs)
            training = bound.arguments.get("training")
        training = current_training(trace) if training is None else bool(training)
        if "training" in self._signature.parameters:
            bound.arguments["training"] = training
        self.check_inputs(args[0] if args else None)
        fill_mask_arguments(bound, self._signature.parameters)
        first = next(iter(bound.arguments.values()), None)
        mask = bound.arguments.get("mask")
        mask = masks_of(first) if mask is None else mask
        if trace.losses and not inside_call():
            trace.forget_losses(set(self.all_layers()))
        with layer_scope(self.name, self._source), training_scope(training):
            self._build_once(bound.arguments)
            try:
                outputs = self.call(*bound.args, **bound.kwargs)
            except SymbolicError as error:
                error.locate(f"{self.label}.call")
                raise
            self._penalise(outputs)
            self._mask_outputs(first, mask, outputs)
        return outputs

    def _penalise(self, outputs: Any) -> None:
        """Add the activity regularizer's penalty, divided by the batch size, to the losses."""
        if self.activity_regularizer is None:
            return
        for output in flatten(outputs):
            if isinstance(output, Operators):
                kind = current_trace().type_of(output)
                penalty = self.activity_regularizer(output)
                self.add_loss(penalty / size(kind.shape[0], kind.dtype) if kind.rank else penalty)

    def _mask_outputs(self, inputs: Any, mask: Any, outputs: Any) -> None:
        """Let masks go with those outputs that have none yet: what `compute_mask` makes of the inputs' masks."""
        if not self.supports_masking:
            if any(leaf is not None for leaf in flatten(mask)):
                warn_user(f"{self.label} does not support masking: layers behind it will not see the mask")
        elif any(mask_of(leaf) is None for leaf in flatten(outputs)):
            for leaf, new in zip(flatten(outputs), flatten(self.compute_mask(inputs, mask))):
                if mask_of(leaf) is None:
                    set_mask(leaf, new)

    def _convert(self, trace: Trace, leaf: Any) -> Any:
        """Arrays become constants; floats take the layer's element type."""
        value = trace.constant(leaf) if isinstance(leaf, np.ndarray) else leaf
        if not isinstance(value, Operators):
            return value
        wanted = dtype_of(self.dtype)
        is_float = trace.type_of(value).dtype.is_float
        return carry_mask(value, cast(value, wanted)) if self.autocast and is_float and wanted.is_float else value

    def _build_once(self, arguments: dict[str, Any]) -> None:
        if self.built:
            return
        shapes = {
            name: map_structure(_shape_of, value)
            for name, value in arguments.items()
            if not name.endswith("mask") and any(isinstance(leaf, Operators) for leaf in flatten(value))
        }
        by_name = {f"{name}_shape": shape for name, shape in shapes.items()}
        if len(shapes) > 1 and set(by_name) <= set(inspect.signature(self.build).parameters):
            self.build(**by_name)
        else:
            self.build(next(iter(shapes.values()), None))

    def forget_build(self, trainable: int = 0, others: int = 0) -> None:
        """Drop the weights but the first few, to be built again at the next call: for layers met before an error."""
        dropped = {*self._trainable_variables[trainable:], *self._non_trainable_variables[others:]}
        del self._trainable_variables[trainable:], self._non_trainable_variables[others:]
        for name, value in self.__dict__.items():
            if isinstance(value, Variable) and value in dropped:
                self.__dict__[name] = None
        self.built = False

    def _check_leaves(self, inputs: Any) -> None:
        for leaf in flatten(inputs):
            known = (Operators, TensorType, *NUMBERS)
            if leaf is not None and not isinstance(leaf, known) and not hasattr(leaf, "__array__"):
                kind = f"{type(leaf).__name__} {getattr(leaf, '__name__', leaf)!r:.60}"
                near = _symbolic_names_of_caller(getattr(leaf, "__name__", ""))
                fix = f"Did you mean {' or '.join(map(repr, near))}?" if near else ""
                raise DTypeError(self.label, expected="a tensor or an array", received=kind, fix=fix)

    def _own_scope(self) -> AbstractContextManager[None]:
        """The name scope of this layer, entered unless it is already the innermost one."""
        inside = current_location().layer.rpartition("/")[2] == self.name
        return nullcontext() if inside else layer_scope(self.name, self._source)

    @property
    def random_state(self) -> Variable:
        """u32[2] variable (seed, step) that random layers draw from."""
        if self._random_state is None:
            state = np.array([next_seed(), 0], "uint32")
            self._random_state = Variable(state, "random_state", False, f"{self.name}/random_state")
        return self._random_state

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and name not in _ENDS_OF_LOOPS:
            # Programs made before the change no longer hold.
            self.__dict__["_version"] = self.__dict__.get("_version", 0) + 1
            Layer._last_change = object()
        super().__setattr__(name, value)

    def _version_of_all(self) -> int:
        known: _Version | None = self.__dict__.get("_known_version")
        if known is None or not known.holds(Layer._last_change):
            known = self.__dict__["_known_version"] = _Version(Layer._last_change, self.all_layers())
        return known.number

    # --- losses --------------------------------------------------------------------------------------------------

    def add_loss(self, loss: Any) -> None:
        """Inside `call`: add a number, or several in a list, to what training minimises and `evaluate` reports."""
        trace = active_trace()
        if trace is None:
            raise StateError(f"{self.label}.add_loss", expected="to be called inside call()")
        for value in flatten(loss):
            trace.add_loss(self, value)

    def add_metric(self, value: Any, name: str | None = None, aggregation: str | None = "mean") -> None:
        """Inside `call`: show the mean of a tensor over the batches, or the result of a metric, in the logs.

        Args:
            value: a tensor, or what a `Metric` gave when it was called with tensors.
            name: in the logs; that of the metric if there is one.
            aggregation: accepted as in older Keras; tensors are averaged.
        """
        trace = active_trace()
        if trace is None:
            raise StateError(f"{self.label}.add_metric", expected="to be called inside call()")
        name = name or getattr(getattr(value, "metric", None), "name", None)
        if name is None:
            raise ArgumentError(f"{self.label}.add_metric", expected="a name", received="none",
                                fix="Use add_metric(value, name='...')")  # fmt: skip
        trace.shown[name] = value

    @property
    def losses(self) -> list[Any]:
        """What `add_loss` and activity regularizers added in this layer and below it, then the penalties of weights.

        Tensors inside a program; outside, numbers of the last call with arrays and of the weights as they are.
        """
        trace, below = active_trace(), set(self.all_layers())
        found = self._programs.losses if trace is None else trace.losses
        penalised = [v for v in self.trainable_weights if v.regularizer is not None]
        return [
            *(value for owner, value in found if owner in below),
            *(v.regularizer(v) if trace else run_on_arrays(v.path, v.regularizer, v.array) for v in penalised),
        ]

    # --- shapes and configuration --------------------------------------------------------------------------------

    @property
    def compute_dtype(self) -> str:
        """Element type of the computation: the layer's."""
        return self.dtype

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shape(s) of the result for input(s) of that shape; builds the layer."""
        types = map_shapes(lambda shape: type_with_batch(shape, self.dtype, "d"), input_shape)
        return map_structure(lambda t: keras_shape(t.shape), trace_types(self, (types,), {}))

    def basic_config(self) -> dict[str, Any]:
        """The arguments that every layer takes."""
        config = {"name": self.name, "trainable": self.trainable, "dtype": self.dtype}
        if self.activity_regularizer is not None:
            config["activity_regularizer"] = serialize_regularizer(self.activity_regularizer)
        return config

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


class _Version:
    """A number that changes with a layer or one below it. To find it takes longer than to run a small model."""

    def __init__(self, change: object, layers: list[Layer]) -> None:
        self.number = sum(layer.__dict__.get("_version", 0) for layer in layers)
        values = (value for layer in layers for value in layer.__dict__.values())
        self._held = [value for value in values if isinstance(value, (list, dict))]
        self._sizes = list(map(len, self._held))
        self._change = change

    def holds(self, last_change: object) -> bool:
        """Whether no layer has changed since, and no list or dict of these layers has grown."""
        return last_change is self._change and list(map(len, self._held)) == self._sizes


def map_shapes(function: Callable[[tuple[int | None, ...]], Any], shapes: Any) -> Any:
    """Apply `function` to each shape in a nesting of shapes; a shape is a list or tuple of sizes and Nones."""
    if isinstance(shapes, dict):
        return {key: map_shapes(function, shape) for key, shape in shapes.items()}
    if all(size is None or isinstance(size, (int, np.integer)) for size in shapes):
        return function(tuple(shapes))
    return [map_shapes(function, shape) for shape in shapes]


def _shape_of(leaf: Any) -> tuple[int | None, ...] | None:
    if isinstance(leaf, Variable):
        return leaf.shape
    return keras_shape(leaf.type.shape) if isinstance(leaf, Operators) else None  # type: ignore[attr-defined]


def _held(values: Iterable[Any], kind: type[_Kind]) -> list[_Kind]:
    """The objects of a kind among values, and in nested lists, tuples and dicts among them, in their own order.

    It is asked many times while a model is made: that is why it is a plain loop.
    """
    found: list[_Kind] = []
    for value in values:
        if isinstance(value, kind):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += _held(value, kind)
        elif isinstance(value, dict):
            found += _held(value.values(), kind)
    return found


def _symbolic_names_of_caller(like: str) -> list[str]:
    """Names of symbolic tensors in the user's frame that start with `like`, for a hint."""
    frame = sys._getframe(1)
    own = __name__.partition(".")[0]
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == own:
        frame = frame.f_back
    names = [name for name, value in frame.f_locals.items() if isinstance(value, KerasTensor)]
    return [name for name in names if like and name.startswith(like)]
