"""What the cells of the package have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import kgraph.activations as activations
from kgraph.ir.dims import Dim
from kgraph.ir.dtypes import dtype_of
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import cast
from kgraph.layers.arguments import number, whole_number
from kgraph.layers.regularization import Random
from kgraph.primitives import composites


class RecurrentCell(Random):
    """A cell of several gates, each an affine map of the inputs plus one of the first state.

    The gates' columns stand beside each other in the weights. A step is two parts: `project`, which looks at the inputs
    only and is computed for all steps at once, and `step`. Dropout masks are the same for all steps.

    A subclass sets `gates` and `state_size`, and defines `step` and, if they are special, `bias_shape`, the shapes of
    weights and states, and the maps `of_inputs` and `of_state`.

    Weights: kernel ``(features, gates * units)``, recurrent_kernel ``(units, gates * units)``, bias.
    """

    gates = 1

    def __init__(
        self,
        units: int,
        activation: Any,
        use_bias: bool,
        kernel_initializer: Any,
        recurrent_initializer: Any,
        bias_initializer: Any,
        kernel_regularizer: Any,
        recurrent_regularizer: Any,
        bias_regularizer: Any,
        kernel_constraint: Any,
        recurrent_constraint: Any,
        bias_constraint: Any,
        dropout: float,
        recurrent_dropout: float,
        seed: int | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, **kwargs)
        self.units = whole_number(self.label, "units", units)
        self.activation = activations.get(activation, f"{self.label}: activation")
        self.use_bias = bool(use_bias)
        self.keep_weight_options("kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        self.keep_weight_options("recurrent", recurrent_initializer, recurrent_regularizer, recurrent_constraint)
        self.keep_weight_options("bias", bias_initializer, bias_regularizer, bias_constraint)
        self.dropout = min(1.0, max(0.0, number(self.label, "dropout", dropout)))
        self.recurrent_dropout = min(1.0, max(0.0, number(self.label, "recurrent_dropout", recurrent_dropout)))
        self.output_size = self.units
        self.kernel: Any = None
        self.recurrent_kernel: Any = None
        self.bias: Any = None
        self._held: tuple[list[Any], list[Any]] | None = None
        self._input_shape: tuple[int, ...] = ()  # without the batch

    def bias_shape(self) -> tuple[int, ...]:
        """Shape of the bias."""
        return (self.gates * self.units,)

    def build(self, input_shape: Any) -> None:
        """Make the weights."""
        self._input_shape = tuple(input_shape[1:])
        window, columns = self.window(), self.gates * self.units
        self.kernel = self.make_weight("kernel", (*window, input_shape[-1], columns))
        self.recurrent_kernel = self.make_weight("recurrent", (*window, self.units, columns), name="recurrent_kernel")
        if self.use_bias:
            self.bias = self.make_weight("bias", self.bias_shape())

    def window(self) -> tuple[int, ...]:
        """Axes of the kernels before the features."""
        return ()

    def state_shape(self) -> tuple[int, ...]:
        """Shape of a state without the batch."""
        return (self.units,)

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """Zeros for each state."""
        count = len(self.state_size) if isinstance(self.state_size, list) else 1  # type: ignore[attr-defined]
        return [composites.full((batch_size, *self.state_shape()), 0, dtype_of(self.dtype)) for _ in range(count)]

    # --- dropout --------------------------------------------------------------------------------------------------

    @contextmanager
    def held_masks(self, batch: Dim, training: bool) -> Iterator[None]:
        """Draw the dropout masks that all steps inside the block share."""
        if self._held is not None:
            yield
            return
        each = self.gates if self.recurrent_dropout else 1
        inputs, states = (
            [self._mask((batch, *shape), rate) for _ in range(each)] if training and 0 < rate < 1 else []
            for shape, rate in ((self._input_shape, self.dropout), (self.state_shape(), self.recurrent_dropout))
        )
        self._held = inputs, states
        try:
            yield
        finally:
            self._held = None

    def _mask(self, shape: tuple[Dim, ...], rate: float) -> Any:
        keep = 1 - rate
        return cast(composites.dropout_mask(self.key(), shape, keep), dtype_of(self.dtype)) * (1 / keep)

    # --- one step -------------------------------------------------------------------------------------------------

    def project(self, inputs: Any) -> Any:
        """The gates' maps of the inputs, ``(batch, ...)`` or ``(batch, steps, ...)``, with the bias."""
        masks = self._held[0] if self._held else []
        if current_emitter().type_of(inputs).rank > 1 + len(self._input_shape):
            masks = [composites.expand_dims(mask, 1) for mask in masks]
        if len(masks) > 1:
            kernels = columns(self.kernel, self.gates)
            parts = [self.of_inputs(inputs * mask, part) for mask, part in zip(masks, kernels)]
            projected = composites.concatenate(parts)
        else:
            projected = self.of_inputs(inputs * masks[0] if masks else inputs, self.kernel)
        bias = self.input_bias()
        return projected if bias is None else projected + bias

    def of_inputs(self, inputs: Any, kernel: Any) -> Any:
        """The map of inputs with a kernel, or with some of its columns."""
        return composites.matmul(inputs, kernel)

    def of_state(self, state: Any, kernel: Any) -> Any:
        """The map of a state with a kernel, or with some of its columns."""
        return composites.matmul(state, kernel)

    def input_bias(self) -> Any:
        """The bias that belongs to the inputs; None without."""
        return self.bias

    def recur(self, state: Any, gates: slice = slice(None)) -> list[Any]:
        """The chosen gates' maps of a state."""
        chosen = range(self.gates)[gates]
        masks = self._held[1] if self._held else []
        if masks:
            kernels = columns(self.recurrent_kernel, self.gates)
            return [self.of_state(state * masks[gate], kernels[gate]) for gate in chosen]
        kernel = columns(self.recurrent_kernel, self.gates, chosen.start, chosen.stop)
        return columns(self.of_state(state, kernel), len(chosen))

    def step(self, projected: Any, states: Sequence[Any]) -> tuple[Any, list[Any]]:
        """Output and new states, from the projected inputs of a step and the states before it."""
        raise NotImplementedError

    def runs_whole(self) -> bool:
        """Whether one op computes whole sequences of this cell, as it is configured; see `whole`."""
        return False

    def drops_states(self) -> bool:
        """Whether masks of dropout for the states are held."""
        return bool(self._held and self._held[1])

    def whole(self, projected: Any, states: Sequence[Any], mask: Any, backwards: bool) -> tuple[Any, list[Any]]:
        """States after each step, each at its place, and after all, from projected inputs; `mask` is empty or one."""
        raise NotImplementedError

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        """Output and new states, from the inputs of a step and the states before it."""
        nested = isinstance(states, (list, tuple))
        batch = current_emitter().type_of(inputs).shape[0]
        with self.held_masks(batch, training):
            output, new = self.step(self.project(inputs), states if nested else [states])
        return output, new if nested else new[0]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            **self.weight_options(),
            "dropout": self.dropout,
            "recurrent_dropout": self.recurrent_dropout,
        }


def columns(x: Any, count: int, *only: int) -> Any:
    """The last axis in `count` equal parts; with (first, last) one tensor of the parts first .. last-1.

    A single part is the tensor itself.
    """
    emitter = current_emitter()
    shape = emitter.type_of(x).shape
    size, lead = shape[-1] // count, shape[:-1]

    def cut(first: int, last: int) -> Any:
        if (first, last) == (0, count):
            return x
        starts, limits = (*(0 for _ in lead), first * size), (*lead, last * size)
        return emitter.emit("slice", x, starts=starts, limits=limits, strides=(1,) * len(shape))

    return cut(*only) if only else [cut(n, n + 1) for n in range(count)]
