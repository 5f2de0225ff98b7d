"""TimeDistributed: one layer for every step of a sequence."""

from __future__ import annotations

from typing import Any

from kgraph.errors import ShapeError
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import Operators
from kgraph.keras_tensor import shape_text
from kgraph.layers.wrapping import Wrapper
from kgraph.nesting import map_structure
from kgraph.primitives import composites


class TimeDistributed(Wrapper):
    """Applies a layer to every step of a sequence.

    Batch and steps become one axis, so that the layer runs once for all steps: a layer whose result depends on the rest
    of its batch, such as batch normalisation in training, sees all steps together.

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

        def joined(x: Any) -> Any:
            return composites.reshape(x, (batch * steps, *emitter.type_of(x).shape[2:]))

        def apart(x: Any) -> Any:
            return composites.reshape(x, (batch, steps, *emitter.type_of(x).shape[1:]))

        takes_mask = mask is not None and "mask" in self.layer._signature.parameters
        outputs = self.layer(joined(inputs), training=training, **({"mask": joined(mask)} if takes_mask else {}))
        return map_structure(lambda leaf: apart(leaf) if isinstance(leaf, Operators) else leaf, outputs)
