"""Activation functions with parameters, as layers."""

from __future__ import annotations

from typing import Any

import kgraph.activations as activations
from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dtypes import bool_
from kgraph.ir.types import TensorType
from kgraph.keras_tensor import shape_text
from kgraph.layers.arguments import at_least_0, axis_argument, number, whole_number
from kgraph.layers.base import Layer
from kgraph.primitives import composites

# What a masked score becomes: small enough for a softmax of 0, and finite, as in Keras.
MASKED = -1e9


class ReLU(Layer):
    """`kgraph.activations.relu` with its options.

    Args:
        max_value: largest result; None for no limit.
        negative_slope: slope below the threshold.
        threshold: below it a value counts as negative.
    """

    supports_masking = True

    def __init__(
        self, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.max_value = None if max_value is None else at_least_0(self.label, "max_value", max_value)
        self.negative_slope = at_least_0(self.label, "negative_slope", negative_slope)
        self.threshold = at_least_0(self.label, "threshold", threshold)

    def call(self, inputs: Any) -> Any:
        """The function of the inputs."""
        return activations.relu(inputs, self.negative_slope, self.max_value, self.threshold)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"max_value": self.max_value, "negative_slope": self.negative_slope, "threshold": self.threshold}
        return {**super().get_config(), **own}


class LeakyReLU(Layer):
    """``x`` where positive, ``negative_slope * x`` elsewhere.

    Args:
        negative_slope: also called ``alpha`` in older Keras.
    """

    supports_masking = True

    def __init__(self, negative_slope: float = 0.3, **kwargs: Any) -> None:
        negative_slope = kwargs.pop("alpha", negative_slope)
        super().__init__(**kwargs)
        self.negative_slope = number(self.label, "negative_slope", negative_slope)

    def call(self, inputs: Any) -> Any:
        """The function of the inputs."""
        return activations.leaky_relu(inputs, self.negative_slope)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "negative_slope": self.negative_slope}


class PReLU(Layer):
    """``x`` where positive, ``alpha * x`` elsewhere, with a learned alpha for each place of a sample.

    Args:
        alpha_initializer: name or initializer.
        alpha_regularizer, alpha_constraint: as for the kernel of Dense.
        shared_axes: axis or axes (the batch counts as 0) along which alpha is the same.

    Weights: alpha, of the sample's shape with size 1 at the shared axes. Source: He et al. (2015).
    """

    supports_masking = True

    def __init__(
        self,
        alpha_initializer: Any = "zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.keep_weight_options("alpha", alpha_initializer, alpha_regularizer, alpha_constraint)
        given = shared_axes if isinstance(shared_axes, (list, tuple)) else [shared_axes]
        self.shared_axes: Any = None
        if shared_axes is not None:
            self.shared_axes = [whole_number(self.label, "shared_axes", a) for a in given]
        self.alpha: Any = None

    def check_inputs(self, inputs: Any) -> None:
        """All sizes of a sample but those of shared axes must be known, and stay what they were."""
        shared = self.shared_axes or []
        shape = inputs.type.shape
        if any(a >= len(shape) for a in shared):
            expected = f"axes in 1..{len(shape) - 1}"
            raise ArgumentError(f"{self.label}: shared_axes", expected=expected, received=str(shared))
        sizes = tuple(1 if a in shared else size for a, size in enumerate(shape))[1:]
        if not all(isinstance(size, int) for size in sizes):
            raise ShapeError(self.label, expected="known sizes", received=shape_text(inputs.type), fix="Share the axis")
        if self.built and self.alpha.shape != sizes:
            raise ShapeError(self.label, expected=f"alpha of shape {sizes}", received=f"{self.alpha.shape}")

    def build(self, input_shape: Any) -> None:
        """Make alpha."""
        shared = self.shared_axes or []
        sizes = tuple(1 if a in shared else size for a, size in enumerate(input_shape))[1:]
        self.alpha = self.make_weight("alpha", sizes)

    def call(self, inputs: Any) -> Any:
        """The function of the inputs."""
        return activations.relu(inputs) - self.alpha * activations.relu(-inputs)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), **self.weight_options(), "shared_axes": self.shared_axes}


class ELU(Layer):
    """``x`` where positive, ``alpha * (exp(x) - 1)`` elsewhere."""

    supports_masking = True

    def __init__(self, alpha: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.alpha = number(self.label, "alpha", alpha)

    def call(self, inputs: Any) -> Any:
        """The function of the inputs."""
        return activations.elu(inputs, self.alpha)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "alpha": self.alpha}


class Softmax(Layer):
    """Softmax along an axis.

    Args:
        axis: an axis, or several that are taken together.

    Call arguments:
        inputs: tensor.
        mask: bools that broadcast to the inputs; where they do not hold, the input counts as -1e9 and the result is 0.
    """

    supports_masking = True

    def __init__(self, axis: Any = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis_argument(self.label, axis)

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """The function of the inputs."""
        if mask is None:
            return activations.softmax(inputs, self.axis)
        self._check_mask(inputs.type, mask.type)
        keep = mask if mask.type.dtype is bool_ else mask > 0.5
        return composites.where(keep, activations.softmax(composites.where(keep, inputs, MASKED), self.axis), 0.0)

    def _check_mask(self, inputs: TensorType, mask: TensorType) -> None:
        pairs = zip(reversed(mask.shape), reversed(inputs.shape))
        if mask.rank > inputs.rank or any(own not in (1, size) for own, size in pairs):
            expected = f"a shape that broadcasts to {shape_text(inputs)}"
            raise ShapeError(f"{self.label}: mask", expected=expected, received=shape_text(mask))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "axis": self.axis}
