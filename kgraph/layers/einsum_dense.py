"""EinsumDense: a kernel and the inputs in Einstein's notation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import kgraph.activations as activations
from kgraph.errors import ArgumentError, ShapeError
from kgraph.initializers import VarianceScaling
from kgraph.ir.dtypes import dtype_of
from kgraph.ir.operators import cast
from kgraph.ir.types import keras_shape
from kgraph.keras_tensor import shape_text
from kgraph.layers.arguments import whole_number
from kgraph.layers.base import Layer
from kgraph.primitives.einsum import axis_names, einsum

_FORM = re.compile(
    r"(?P<left>\.\.\.)?(?P<given>[A-Za-z]+)(?P<right>\.\.\.)?,(?P<kernel>[A-Za-z]+)"
    r"->(?(left)\.\.\.)(?P<result>[A-Za-z]+)(?(right)\.\.\.)"
)


class EinsumDense(Layer):
    """``activation(einsum(equation, inputs, kernel) + bias)``.

    Args:
        equation: axes of inputs, kernel and output, such as "abc,cd->abd"; "..." may begin or end inputs and output.
        output_shape: sizes of the output without the batch and the axes of "..."; None where the input has the size.
        activation: name, function or None.
        bias_axes: letters of the output along which the bias varies, such as "d"; None for no bias.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, kernel_constraint, bias_constraint:
            as in `Dense`; fans are counted over the axes that the sum runs over, and over the others.

    Weights: kernel with the sizes of its letters; bias with the output's sizes along `bias_axes` and 1 between them.
    Raises: ArgumentError if the equation has another form; ShapeError if sizes disagree.

    >>> EinsumDense("abc,cd->abd", output_shape=(None, 5), bias_axes="d")([[[1.0, 2.0], [3.0, 4.0]]]).shape
    (1, 2, 5)
    """

    supports_masking = True

    def __init__(
        self,
        equation: str,
        output_shape: Any,
        activation: Any = None,
        bias_axes: str | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.equation = equation
        self.given, self.letters, self.result = self._parts(equation)
        sizes = output_shape if isinstance(output_shape, (list, tuple)) else (output_shape,)
        self.partial_output_shape = tuple(
            None if size is None else whole_number(self.label, "output_shape", size) for size in sizes
        )
        self.activation = activations.get(activation, f"{self.label}: activation")
        self.bias_axes = bias_axes
        if not set(bias_axes or "") <= set(self.result):
            expected = f"letters of the output {self.result!r}"
            raise ArgumentError(f"{self.label}: bias_axes", expected=expected, received=repr(bias_axes))
        self.keep_weight_options("kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        self.keep_weight_options("bias", bias_initializer, bias_regularizer, bias_constraint)
        self.kernel: Any = None
        self.bias: Any = None

    def _parts(self, equation: str) -> tuple[str, str, str]:
        """The letters of inputs, kernel and output."""
        form = _FORM.fullmatch(equation.replace(" ", ""))
        if form is None or (form["left"] and form["right"]):
            expected = "[X],[Y]->[Z], ...[X],[Y]->...[Z] or [X]...,[Y]->[Z]..."
            raise ArgumentError(f"{self.label}: equation", expected=expected, received=repr(equation))
        given, kernel, result = form["given"], form["kernel"], form["result"]
        if set(kernel) - set(given) - set(result) or set(result) - set(given) - set(kernel):
            expected = "letters of kernel and output that occur in another part too"
            raise ArgumentError(f"{self.label}: equation", expected=expected, received=repr(equation))
        return given, kernel, result

    def _sizes(self, shape: Sequence[Any]) -> dict[str, Any]:
        """The size of each axis by name, from the input's shape and `output_shape`."""
        (inputs, _), result = axis_names(self.equation, [len(shape), len(self.letters)])
        sizes = dict(zip(inputs, shape))
        # `output_shape` leaves out the batch, which is the first axis, and the axes of "...".
        named = [name for name in (result if result[0].isdigit() else result[1:]) if not name.isdigit()]
        if len(named) != len(self.partial_output_shape):
            expected, received = f"{len(named)} sizes for {self.result!r}", str(self.partial_output_shape)
            raise ShapeError(f"{self.label}: output_shape", expected=expected, received=received)
        for name, size in zip(named, self.partial_output_shape):
            if size is not None and sizes.setdefault(name, size) not in (size, None):
                received = f"{sizes[name]} in the input"
                raise ShapeError(f"{self.label}: axis {name!r}", expected=f"size {size}", received=received)
        return sizes

    def check_inputs(self, inputs: Any) -> None:
        """The rank must fit the equation, and the sizes along the kernel's axes the kernel."""
        kind, least = inputs.type, len(self.given)
        if kind.rank < least or ("..." not in self.equation and kind.rank > least):
            expected = f"rank {least}{' or more' if '...' in self.equation else ''} for {self.equation!r}"
            raise ShapeError(self.label, expected=expected, received=shape_text(kind))
        sizes = self._sizes(keras_shape(kind.shape))
        wanted = [sizes.get(name) for name in self.letters]
        if any(size is None for size in wanted):
            name = self.letters[wanted.index(None)]
            raise ShapeError(self.label, expected=f"a known size of axis {name!r}", received=shape_text(kind))
        if self.built and list(self.kernel.shape) != wanted:
            raise ShapeError(self.label, expected=f"a kernel of shape {self.kernel.shape}", received=shape_text(kind))

    def build(self, input_shape: Any) -> None:
        """Make kernel and bias."""
        sizes = self._sizes(input_shape)
        shape = tuple(sizes[name] for name in self.letters)
        self.kernel = self.make_weight("kernel", shape, **self._fans())
        if self.bias_axes:
            first = min(self.result.index(name) for name in self.bias_axes)
            places = [sizes[name] if name in self.bias_axes else 1 for name in self.result[first:]]
            behind = len(input_shape) - len(self.given) if self.equation.endswith("...") else 0
            self.bias = self.make_weight("bias", (*places, *[1] * behind))

    def _fans(self) -> dict[str, Any]:
        """The kernel's initializer, told that the axes summed over are inputs and the others outputs, if it asks."""
        make = self.__dict__["kernel_initializer"]
        if not isinstance(make, VarianceScaling) or make.input_axes is not None:
            return {}
        inputs = [axis for axis, name in enumerate(self.letters) if name not in self.result]
        outputs = [axis for axis in range(len(self.letters)) if axis not in inputs]
        config = {**make.get_config(), "seed": make.seed, "input_axes": inputs, "output_axes": outputs}
        return {"initializer": type(make).from_config(config)}

    def call(self, inputs: Any) -> Any:
        """The sums of products with bias and activation."""
        y = einsum(self.equation, cast(inputs, dtype_of(self.dtype)), self.kernel)
        return self.activation(y if self.bias is None else y + self.bias)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "equation": self.equation,
            "output_shape": self.partial_output_shape,
            "activation": activations.serialize(self.activation),
            "bias_axes": self.bias_axes,
            **self.weight_options(),
        }
