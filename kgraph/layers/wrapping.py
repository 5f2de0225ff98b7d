"""Layers around another layer: Wrapper and SpectralNormalization."""

from __future__ import annotations

from typing import Any

import kgraph.initializers as initializers
from kgraph.errors import ArgumentError, DTypeError
from kgraph.ir.dims import product
from kgraph.ir.opdef import current_emitter
from kgraph.layers.arguments import whole_number
from kgraph.layers.base import Layer
from kgraph.primitives import composites
from kgraph.serialization import serialize_keras_object
from kgraph.trace import current_trace
from kgraph.variable import Variable


class Wrapper(Layer):
    """Base of the layers around another one; subclasses define `call`.

    Args:
        layer: the inner layer.
    """

    def __init__(self, layer: Layer, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(layer, Layer):
            raise DTypeError(f"{self.label}: layer", expected="a layer", received=repr(layer))
        self.layer = layer

    def build(self, input_shape: Any = None) -> None:
        """Build the inner layer."""
        if not self.layer.built:
            self.layer.build(input_shape)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "layer": serialize_keras_object(self.layer)}


class SpectralNormalization(Wrapper):
    """Divides the kernel of a layer by its largest singular value at every call in training.

    Args:
        layer: a layer with a `kernel` or `embeddings`.
        power_iterations: steps of the power iteration that estimates the singular value, at each call; int >= 1.

    Weights: the kernel; vector_u ``(1, columns)``, the estimated singular vector; the inner layer's other weights.
    Source: Miyato et al. (2018).
    """

    def __init__(self, layer: Layer, power_iterations: int = 1, **kwargs: Any) -> None:
        super().__init__(layer, **kwargs)
        self.power_iterations = whole_number(self.label, "power_iterations", power_iterations)
        self.kernel: Any = None
        self.vector_u: Any = None

    def check_inputs(self, inputs: Any) -> None:
        """Those that the inner layer takes."""
        self.layer.check_inputs(inputs)

    def build(self, input_shape: Any = None) -> None:
        """Build the inner layer and make the vector."""
        super().build(input_shape)
        self.kernel = getattr(self.layer, "kernel", getattr(self.layer, "embeddings", None))
        if not isinstance(self.kernel, Variable):
            expected = "a layer with a kernel or embeddings"
            raise ArgumentError(f"{self.label}: layer", expected=expected, received=self.layer.label)
        self.vector_u = self.add_weight(
            (1, self.kernel.shape[-1]), initializers.TruncatedNormal(stddev=0.02), trainable=False, name="vector_u"
        )

    def _own_weights(self) -> list[Variable]:
        """The kernel first, as in Keras."""
        return list(dict.fromkeys([*([self.kernel] if self.kernel is not None else []), *super()._own_weights()]))

    def call(self, inputs: Any, training: bool = False) -> Any:
        """The inner layer; in training kernel and vector take new values first."""
        if training:
            self._normalise()
        return self.layer(inputs)

    def _normalise(self) -> None:
        trace = current_trace()
        kernel, u = trace.read(self.kernel), trace.read(self.vector_u)
        matrix = composites.reshape(kernel, (product(kernel.type.shape[:-1]), kernel.type.shape[-1]))
        fixed = trace.emit("stop_gradient", matrix)
        new = u
        for _ in range(self.power_iterations):
            v = _unit(composites.matmul(new, composites.transpose(fixed)))
            new = _unit(composites.matmul(v, fixed))
        sigma = composites.reshape(composites.matmul(composites.matmul(v, matrix), composites.transpose(new)), ())
        empty = composites.sum(composites.square(fixed)) <= 0.0
        trace.assign(self.vector_u, composites.where(empty, u, new))
        trace.assign(self.kernel, kernel / composites.where(empty, 1.0, sigma))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "power_iterations": self.power_iterations}


def _unit(vector: Any) -> Any:
    """The vector divided by its length, or by 1e-12 if it is shorter."""
    square = composites.maximum(composites.sum(composites.square(vector)), 1e-24)
    return vector * current_emitter().emit("rsqrt", square)
