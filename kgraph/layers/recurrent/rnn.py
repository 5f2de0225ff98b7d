"""RNN: a cell run over the steps of a sequence."""

from __future__ import annotations

import inspect
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

import kgraph.loop_trace as loop_trace
import kgraph.regularizers as regularizers
from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dims import Dim
from kgraph.ir.dtypes import bool_, dtype_of
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import cast
from kgraph.ir.types import TensorType
from kgraph.keras_tensor import shape_text
from kgraph.layers.base import Layer
from kgraph.layers.history import inputs_behind
from kgraph.layers.recurrent.cell import RecurrentCell
from kgraph.layers.recurrent.stacked_cells import StackedRNNCells
from kgraph.naming import snake_case
from kgraph.nesting import flatten, map_structure, pack
from kgraph.primitives import composites
from kgraph.serialization import serialize_keras_object
from kgraph.trace import current_trace
from kgraph.variable import Variable


class RNN(Layer):
    """Runs a cell over the steps of a sequence.

    Args:
        cell: an object with ``call(inputs, states)``, which gives the output of a step and the new states, and with
            `state_size`, an int or a list of them. It may have `output_size` (without, the first state's size), and
            ``get_initial_state(batch_size)`` (without, zeros). A list of cells is stacked.
        return_sequences: give the outputs of all steps, not only the last one.
        return_state: give the last states as well.
        go_backwards: begin with the last step; outputs are in the order in which they are computed.
        stateful: begin with the states of the call before; the batch size must be fixed.
        unroll: accepted, without effect: the steps run in a native loop.
        zero_output_for_mask: masked steps give zeros, not the first state before them.

    Call: ``layer(sequences, initial_state=None, mask=None, training=False)``, or with a list of the sequences and the
        states. Where the mask is False a step keeps the states.
    Input shape: ``(batch, steps, features, ...)``. Output shape: ``(batch, units)``, or ``(batch, steps, units)``; and
        the states.
    Raises: ArgumentError for a cell without these attributes; ShapeError for inputs or states that do not fit.
    """

    supports_masking = True
    not_weights = Layer.not_weights | {"states"}

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        cell = StackedRNNCells(cell) if isinstance(cell, (list, tuple)) else cell
        for needed in ("call", "state_size"):
            if not hasattr(cell, needed):
                expected = "an object with call(inputs, states) and state_size"
                raise ArgumentError(f"{self.label}: cell", expected=expected, received=f"{cell!r:.60}")
        self.cell = cell
        self.return_sequences, self.return_state = bool(return_sequences), bool(return_state)
        self.go_backwards, self.stateful = bool(go_backwards), bool(stateful)
        self.unroll, self.zero_output_for_mask = bool(unroll), bool(zero_output_for_mask)
        self.states: list[Any] | None = None

    def _shape_of_input(self, kwargs: dict[str, Any]) -> tuple[int | None, ...] | None:
        """As for all layers, and the older ``input_dim`` with ``input_length``: sizes of features and steps."""
        if kwargs.get("input_dim") is None:
            return super()._shape_of_input(kwargs)
        batch, features = kwargs.pop("batch_size", None), kwargs.pop("input_dim")
        return (batch, kwargs.pop("input_length", None), features)

    # --- shapes ---------------------------------------------------------------------------------------------------

    def check_inputs(self, inputs: Any) -> None:
        """Sequences must have steps and features; the features' size must be known."""
        sequences = inputs[0] if isinstance(inputs, (list, tuple)) else inputs
        shape, text = sequences.type.shape, shape_text(sequences.type)
        rank = self.rank()
        axes = ", ".join(["batch", "steps", *["size"] * (rank - 3), "features"])
        if len(shape) < 3 or (isinstance(self.cell, RecurrentCell) and len(shape) != rank):
            raise ShapeError(self.label, expected=f"({axes})", received=text)
        if not isinstance(shape[self.channels_axis()], int):
            names = inputs_behind(sequences, shape[-1])
            fix = f"Give the last axis of {names} a size" if names else "Give the input's last axis a size"
            raise ShapeError(self.label, expected="a last axis of known size", received=text, fix=fix)
        kernel = getattr(self.cell, "kernel", None) if isinstance(self.cell, RecurrentCell) else None
        if kernel is not None and shape[self.channels_axis()] != kernel.shape[-2]:
            expected = f"({axes}) with {kernel.shape[-2]} features, as at the first call"
            raise ShapeError(self.label, expected=expected, received=text)

    def rank(self) -> int:
        """Number of axes of the sequences."""
        return 3

    def channels_axis(self) -> int:
        """Where the sequences have their features."""
        return -1

    def build(self, input_shape: Any) -> None:
        """Build the cell, and the states if they are kept between calls."""
        shape = input_shape[0] if input_shape and isinstance(input_shape[0], (list, tuple)) else input_shape
        if isinstance(self.cell, Layer) and not self.cell.built:
            self.cell.build((shape[0], *shape[2:]))
        if self.stateful and self.states is None:
            if shape[0] is None:
                fix = "Give the first layer batch_input_shape=(batch, steps, features)"
                raise ShapeError(f"{self.label}: stateful", expected="a fixed batch size", received="None", fix=fix)
            emitter = current_emitter()
            types = map_structure(emitter.type_of, self.get_initial_state(shape[0]))
            self.states = map_structure(self._state_variable, types)

    def _state_variable(self, type_: TensorType) -> Variable:
        zeros = np.zeros(type_.concrete({}), type_.dtype.to_numpy())
        return Variable(zeros, "rnn_state", False, f"{self.name}/rnn_state")

    def get_initial_state(self, batch_size: Any) -> list[Any]:
        """The states before the first step: those that the cell gives, or zeros."""
        if hasattr(self.cell, "get_initial_state"):
            states = self.cell.get_initial_state(batch_size=batch_size)
            return list(states) if isinstance(states, (list, tuple)) else [states]
        return [composites.full((batch_size, size), 0, dtype_of(self.dtype)) for size in self.state_size]

    @property
    def state_size(self) -> list[Any]:
        """Sizes of the states."""
        size = self.cell.state_size
        return list(size) if isinstance(size, (list, tuple)) else [size]

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask of the sequences goes with the outputs of all steps; states have none."""
        kept = (flatten(mask) or [None])[0] if self.return_sequences else None
        return [kept, *(None for _ in flatten(self.state_size))] if self.return_state else kept

    def reset_state(self) -> None:
        """Set the states that are kept between calls to zero."""
        for state in flatten(self.states or []):
            state.assign(np.zeros_like(state.array))

    def reset_states(self) -> None:
        """The same as `reset_state`, as Keras called it before."""
        self.reset_state()

    # --- the call -------------------------------------------------------------------------------------------------

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        """The last output or those of all steps, and the last states if they are wanted."""
        if isinstance(sequences, (list, tuple)):
            sequences, *rest = sequences
            initial_state = rest or initial_state
            mask = mask[0] if isinstance(mask, (list, tuple)) else mask
        states = self._states_before(sequences, initial_state)
        last, outputs, states = self.run(sequences, states, mask, training)
        if self.stateful:
            for variable, state in zip(flatten(self.states), flatten(states), strict=True):
                current_trace().assign(variable, state)
        output = outputs if self.return_sequences else last
        return (output, *states) if self.return_state else output

    def _states_before(self, sequences: Any, given: Any) -> list[Any]:
        """The states before the first step, in the nesting that the cell takes."""
        emitter = current_emitter()
        default = self.get_initial_state(emitter.type_of(sequences).shape[0])
        given = self.states if given is None and self.stateful else given
        if given is None:
            return default
        wanted = [emitter.type_of(state) for state in flatten(default)]
        found = [emitter.type_of(state) for state in flatten(given)]
        if [t.shape for t in found] != [t.shape for t in wanted]:
            expected, received = (", ".join(map(shape_text, types)) for types in (wanted, found))
            raise ShapeError(f"{self.label}: initial_state", expected=expected, received=received)
        return pack(default, [cast(state, type_.dtype) for state, type_ in zip(flatten(given), wanted, strict=True)])

    def run(self, sequences: Any, states: list[Any], mask: Any, training: bool) -> tuple[Any, Any, list[Any]]:
        """Last output, outputs of all steps in the order in which they are computed, and last states.

        A cell that has an op for whole sequences runs as that op; of others a step is traced once, and scanned over.
        A subclass may compute the same in another way.
        """
        emitter, cell = current_emitter(), self.cell
        batch, length = emitter.type_of(sequences).shape[:2]
        with self._held_masks(batch, training):
            inputs = cell.project(sequences) if isinstance(cell, RecurrentCell) else sequences
            if self._runs_whole(mask):
                return self._whole(inputs, states, mask)
            pieces = [_swapped(inputs)]
            if mask is not None:
                pieces.append(_swapped(cast(mask, bool_)))
            last = self._output_before(batch, states)

            def step(carries: list[Any], pieces: list[Any]) -> tuple[list[Any], list[Any]]:
                before = pack(states, carries[: len(carries) - len(last)])
                output, new = self._step(pieces[0], before, training)
                if len(pieces) > 1:
                    output, new = self._masked(pieces[1], output, before, new)
                return [*flatten(new), *([output] if last else [])], [output]

            carries, (outputs,) = loop_trace.scan(
                step, [*flatten(states), *last], pieces, length, self.go_backwards, f"{self.name}_step"
            )
        after = pack(states, carries[: len(carries) - len(last)])
        if self.go_backwards and self.return_sequences:
            outputs = emitter.emit("reverse", outputs, axes=(0,))
        return carries[-1] if last else carries[0], _swapped(outputs), after

    def _runs_whole(self, mask: Any) -> bool:
        """Whether the cell has an op for the whole sequence; a last output of zero is not among its results."""
        plain = mask is None or self.return_sequences or not self.zero_output_for_mask
        return isinstance(self.cell, RecurrentCell) and plain and self.cell.runs_whole()

    def _whole(self, inputs: Any, states: list[Any], mask: Any) -> tuple[Any, Any, list[Any]]:
        """What `run` gives, by one op of the cell."""
        rows = () if mask is None else (cast(mask, bool_),)
        outputs, after = self.cell.whole(inputs, states, rows, self.go_backwards)
        if rows and self.zero_output_for_mask:
            outputs = _where(*rows, outputs, composites.zeros_like(outputs))
        if self.go_backwards and self.return_sequences:
            outputs = current_emitter().emit("reverse", outputs, axes=(1,))
        return after[0], outputs, after

    def _held_masks(self, batch: Dim, training: bool) -> AbstractContextManager[Any]:
        held = isinstance(self.cell, RecurrentCell | StackedRNNCells)
        return self.cell.held_masks(batch, training) if held else nullcontext()

    def _output_before(self, batch: Dim, states: list[Any]) -> list[Any]:
        """What is carried on as the last output: nothing where that is the first state anyway."""
        if isinstance(self.cell, RecurrentCell) and not self.zero_output_for_mask:
            return []
        if isinstance(self.cell, RecurrentCell):
            return [composites.zeros_like(states[0])]
        size = getattr(self.cell, "output_size", None)
        size = flatten(self.state_size)[0] if size is None else size
        sizes = size if isinstance(size, (list, tuple)) else (size,)
        return [composites.full((batch, *sizes), 0, dtype_of(self.dtype))]

    def _step(self, inputs: Any, states: Any, training: bool) -> tuple[Any, list[Any]]:
        cell = self.cell
        if isinstance(cell, RecurrentCell):
            return cell.step(inputs, states)
        takes_training = "training" in inspect.signature(cell.call).parameters
        run = cell if callable(cell) else cell.call
        output, new = run(inputs, states, **({"training": training} if takes_training else {}))
        return output, list(new) if isinstance(new, (list, tuple)) else [new]

    def _masked(self, mask: Any, output: Any, before: Any, new: Any) -> tuple[Any, list[Any]]:
        """Output and states of a step that counts only where the mask holds."""
        if self.zero_output_for_mask:
            other = composites.zeros_like(output)
        else:
            # As in Keras: the first state stands for the output before; of stacked cells that of the last one.
            other = before[-1][0] if isinstance(before[0], (list, tuple)) else before[0]
        kept = [_where(mask, a, b) for a, b in zip(flatten(new), flatten(before), strict=True)]
        return _where(mask, output, other), pack(new, kept)

    # --- configuration --------------------------------------------------------------------------------------------

    def options(self) -> dict[str, Any]:
        """The arguments that do not concern the cell."""
        return {
            "return_sequences": self.return_sequences,
            "return_state": self.return_state,
            "go_backwards": self.go_backwards,
            "stateful": self.stateful,
            "unroll": self.unroll,
            "zero_output_for_mask": self.zero_output_for_mask,
        }

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "cell": serialize_keras_object(self.cell), **self.options()}


class CellLayer(RNN):
    """Base of the layers that make their cell themselves.

    A subclass sets `cell_class`; attributes of the cell, such as `units`, are attributes of the layer.

    Args:
        cell: arguments of the cell.
        implementation: accepted, without effect.
    """

    cell_class: type[RecurrentCell]

    def __init__(self, cell: dict[str, Any], *, implementation: int = 2, **kwargs: Any) -> None:
        shared = {name: kwargs[name] for name in ("dtype", "trainable") if name in kwargs}
        super().__init__(self.cell_class(**cell, **shared, name=snake_case(self.cell_class.__name__)), **kwargs)

    def __getattr__(self, name: str) -> Any:
        cell = self.__dict__.get("cell")
        if cell is None or name.startswith("_") or name not in cell.get_config():
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(cell, name)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        del config["cell"]
        of_cell = {k: v for k, v in self.cell.get_config().items() if k not in ("name", "trainable", "dtype")}
        penalty = regularizers.serialize(self.activity_regularizer)
        return {**config, **of_cell, "activity_regularizer": penalty}


def copied(layer: RNN, **changes: Any) -> RNN:
    """A new layer with the configuration of `layer`, but for the `changes`; its cell is new, too."""
    config = {**layer.get_config(), **changes}
    if "cell" in config:
        config["cell"] = _copied_cell(layer.cell)
    made = type(layer).from_config(config)
    assert isinstance(made, RNN)
    return made


def _copied_cell(cell: Any) -> Any:
    if isinstance(cell, StackedRNNCells):
        return StackedRNNCells([_copied_cell(one) for one in cell.cells], name=cell.name)
    return type(cell).from_config(cell.get_config())


def _swapped(x: Any) -> Any:
    """Batch and steps in each other's place."""
    rank = current_emitter().type_of(x).rank
    return composites.transpose(x, (1, 0, *range(2, rank)))


def _where(mask: Any, a: Any, b: Any) -> Any:
    """`a` in the rows where the mask holds, else `b`."""
    emitter = current_emitter()
    rank, rows = emitter.type_of(a).rank, emitter.type_of(mask).shape
    return composites.where(composites.reshape(mask, (*rows, *[1] * (rank - len(rows)))), a, b)
