"""TimeDistributed: one layer for every step of a sequence."""

from __future__ import annotations

from typing import Any

import kgraph.loop_trace as loop_trace
from kgraph.errors import ShapeError
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import Operators
from kgraph.keras_tensor import shape_text
from kgraph.layers.wrapping import Wrapper
from kgraph.nesting import flatten, map_structure, pack
from kgraph.primitives import composites


class TimeDistributed(Wrapper):
    """Applies a layer to every step of a sequence.

    A layer that keeps the rows of a batch apart runs once: batch and steps become one axis. Where rows depend on each
    other, as in batch normalisation in training, or where that is not known, as for layers of your own, it runs in a
    loop, one step after the other, and what it keeps (moving statistics) goes from step to step.

    Args:
        layer: takes inputs ``(batch, ...)``.

    Input shape: ``(batch, steps, ...)``. Output shape: ``(batch, steps, ...)`` with the layer's output behind.
    Raises: ShapeError for inputs of less than 3 axes, or a mask of other steps.

    >>> import numpy as np
    >>> from kgraph.layers import Dense
    >>> TimeDistributed(Dense(4))(np.zeros((2, 5, 3))).shape
    (2, 5, 4)
    """

    supports_masking = True

    def check_inputs(self, inputs: Any) -> None:
        """There must be a batch, steps and something else."""
        if inputs.type.rank < 3:
            raise ShapeError(self.label, expected="(batch, steps, ...)", received=shape_text(inputs.type))

    def build(self, input_shape: Any = None) -> None:
        """Build the layer for the inputs of a step."""
        super().build((input_shape[0], *input_shape[2:]))

    def call(self, inputs: Any, training: bool = False, mask: Any = None) -> Any:
        """The layer's results for all steps."""
        emitter = current_emitter()
        batch, steps = emitter.type_of(inputs).shape[:2]
        if mask is not None and emitter.type_of(mask).shape[:2] != (batch, steps):
            received = shape_text(emitter.type_of(mask))
            raise ShapeError(f"{self.label}: mask", expected=f"({batch}, {steps})", received=received)

        keeps = mask if "mask" in self.layer._signature.parameters else None
        if self.layer.keeps_rows_apart(training):
            return self._at_once(inputs, training, keeps)
        return self._one_by_one(inputs, training, keeps)

    def _at_once(self, inputs: Any, training: bool, mask: Any) -> Any:
        emitter = current_emitter()
        batch, steps = emitter.type_of(inputs).shape[:2]

        def joined(x: Any) -> Any:
            return composites.reshape(x, (batch * steps, *emitter.type_of(x).shape[2:]))

        def apart(x: Any) -> Any:
            return composites.reshape(x, (batch, steps, *emitter.type_of(x).shape[1:]))

        outputs = self.layer(joined(inputs), training=training, **({} if mask is None else {"mask": joined(mask)}))
        return map_structure(lambda leaf: apart(leaf) if isinstance(leaf, Operators) else leaf, outputs)

    def _one_by_one(self, inputs: Any, training: bool, mask: Any) -> Any:
        sequences = [composites.swapaxes(x, 0, 1) for x in (inputs, mask) if x is not None]
        nestings: list[Any] = []

        def step(_: list[Any], pieces: list[Any]) -> tuple[list[Any], list[Any]]:
            outputs = self.layer(pieces[0], training=training, **dict(zip(("mask",), pieces[1:], strict=False)))
            nestings.append(outputs)
            return [], flatten(outputs)

        steps = current_emitter().type_of(inputs).shape[1]
        kept = self.layer.non_trainable_weights
        _, stacked = loop_trace.scan(step, [], sequences, steps, name=f"{self.name}_step", variables=kept)
        return pack(nestings[0], [composites.swapaxes(x, 0, 1) for x in stacked])
