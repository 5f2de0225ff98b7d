"""Dense, Activation and Identity."""

from __future__ import annotations

from typing import Any

import kgraph.activations as activations
from kgraph.errors import ShapeError
from kgraph.ir.dtypes import dtype_of
from kgraph.ir.operators import cast
from kgraph.keras_tensor import shape_text
from kgraph.layers.arguments import whole_number
from kgraph.layers.base import Layer
from kgraph.layers.history import inputs_behind
from kgraph.primitives import composites


class Dense(Layer):
    """Affine map of the last axis: ``y = activation(x @ kernel + bias)``.

    Args:
        units: size of the last axis of the output; int >= 1.
        activation: name, function or None (identity).
        use_bias: add a bias of shape ``(units,)``.
        kernel_initializer, bias_initializer: names or initializers.
        kernel_regularizer, bias_regularizer, activity_regularizer: penalties on weights and output; see
            `kgraph.regularizers`.
        kernel_constraint, bias_constraint: applied after each update; see `kgraph.constraints`.

    Input shape: ``(batch, ..., features)``, rank >= 2; ``features`` is fixed at the first call. Integers are cast.
    Output shape: ``(batch, ..., units)``.
    Weights: kernel ``(features, units)``, bias ``(units,)``.
    Raises: ArgumentError if ``units`` < 1; ShapeError if ``features`` changes later.

    >>> Dense(4)([[1.0, 2.0, 3.0]]).shape
    (1, 4)
    """

    supports_masking = True

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.units = whole_number(self.label, "units", units)
        self.activation = activations.get(activation, f"{self.label}: activation")
        self.use_bias = bool(use_bias)
        self.keep_weight_options("kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        self.keep_weight_options("bias", bias_initializer, bias_regularizer, bias_constraint)
        self.kernel: Any = None
        self.bias: Any = None

    def check_inputs(self, inputs: Any) -> None:
        """The last axis must have the size that the kernel has."""
        shape, text = inputs.type.shape, shape_text(inputs.type)
        if len(shape) < 2:
            raise ShapeError(self.label, expected="(batch, ..., features)", received=text, fix="Add an axis")
        if self.built and shape[-1] != self.kernel.shape[0]:
            features = self.kernel.shape[0]
            axes = ", ".join(["batch", *["..."] * (len(shape) > 2), str(features)])
            fix = f"The last axis must have size {features}"
            raise ShapeError(self.label, expected=f"({axes})", received=text, fix=fix)
        if not isinstance(shape[-1], int):
            names = inputs_behind(inputs, shape[-1])
            fix = f"Give the last axis of {names} a size" if names else "Give the input's last axis a size"
            raise ShapeError(self.label, expected="a last axis of known size", received=text, fix=fix)

    def build(self, input_shape: Any) -> None:
        """Make kernel and bias."""
        self.kernel = self.make_weight("kernel", (input_shape[-1], self.units))
        if self.use_bias:
            self.bias = self.make_weight("bias", (self.units,))

    def call(self, inputs: Any) -> Any:
        """``activation(inputs @ kernel + bias)``."""
        y = composites.matmul(cast(inputs, dtype_of(self.dtype)), self.kernel)
        return self.activation(y if self.bias is None else y + self.bias)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            **self.weight_options(),
        }


class Activation(Layer):
    """An activation function as a layer.

    Args:
        activation: name or function, see `kgraph.activations`.

    Output shape: that of the input.
    """

    supports_masking = True

    def __init__(self, activation: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activations.get(activation, f"{self.label}: activation")

    def call(self, inputs: Any) -> Any:
        """The function of the inputs."""
        return self.activation(inputs)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "activation": activations.serialize(self.activation)}


class Identity(Layer):
    """Gives its input."""

    supports_masking = True

    def call(self, inputs: Any) -> Any:
        """The inputs."""
        return inputs
