"""Lambda: a function of tensors as a layer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from kgraph.errors import DTypeError
from kgraph.layers.base import Layer


class Lambda(Layer):
    """A function of tensors, such as ``lambda x: x ** 2``, as a layer; weights belong into a `Layer` of your own.

    Args:
        function: takes the inputs, and if it has parameters of these names `mask` and `training`.
        output_shape: not needed: the function itself tells the shape.
        mask: the mask of the output, or a function of inputs and mask that gives it; None for no mask.
        arguments: keyword arguments for the function.

    >>> Lambda(lambda x, by: x * by, arguments={"by": 3})([[1.0, 2.0]]).tolist()
    [[3.0, 6.0]]
    """

    def __init__(
        self, function: Callable[..., Any], output_shape: Any = None, mask: Any = None,
        arguments: Mapping[str, Any] | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        if not callable(function):
            raise DTypeError(f"{self.label}: function", expected="a function", received=repr(function))
        self.function, self.output_shape_given, self.mask = function, output_shape, mask
        self.arguments = dict(arguments or {})
        self.supports_masking = mask is not None
        parameters = inspect.signature(function).parameters
        self._passed_on = [name for name in ("mask", "training") if name in parameters]

    def call(self, inputs: Any, mask: Any = None, training: bool = False) -> Any:
        """The function of the inputs."""
        known = {"mask": mask, "training": training}
        return self.function(inputs, **self.arguments, **{name: known[name] for name in self._passed_on})

    def keeps_rows_apart(self, training: bool) -> bool:
        """Nobody knows what the function does."""
        return False

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """What the argument `mask` says."""
        return self.mask(inputs, mask) if callable(self.mask) else self.mask

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "function": self.function,
            "output_shape": self.output_shape_given,
            "mask": self.mask,
            "arguments": self.arguments,
        }
