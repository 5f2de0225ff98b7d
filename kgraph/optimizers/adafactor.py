"""Adafactor: mean squares of gradients kept as a row and a column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kgraph.ir.operators import binary
from kgraph.optimizers.arguments import at_least_0
from kgraph.optimizers.base import Optimizer
from kgraph.primitives.composites import expand_dims, maximum, mean, minimum, sqrt, square
from kgraph.variable import Variable


class Adafactor(Optimizer):
    """Adafactor (Shazeer and Stern, 2018). For a matrix the mean square v is the outer product of its row means r and
    column means c, divided by the mean of r; the last two axes of more make the matrix.

    s = g^2 + epsilon_1; b = 1 - t^beta_2_decay; r, c, v = b r + (1 - b) mean(s) ...; u = g / sqrt(v);
    w -= max(epsilon_2, rms(w)) min(lr, 1 / sqrt(t)) u / max(1, rms(u) / clip_threshold).

    Args:
        learning_rate: >= 0, or a schedule.
        beta_2_decay: exponent of the decay, < 0.
        epsilon_1: added to squared gradients.
        epsilon_2: smallest size of a variable that steps are measured by.
        clip_threshold: largest root mean square of u.
        relative_step: kept for Keras: the rate is at most 1 / sqrt(t) in either case.
        options: as in `Optimizer`.
    """

    def __init__(
        self, learning_rate: Any = 0.001, beta_2_decay: float = -0.8, epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3, clip_threshold: float = 1.0, relative_step: bool = True, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, **options)
        self.beta_2_decay = float(beta_2_decay)
        self.epsilon_1 = at_least_0("Adafactor: epsilon_1", epsilon_1)
        self.epsilon_2 = at_least_0("Adafactor: epsilon_2", epsilon_2)
        self.clip_threshold = at_least_0("Adafactor: clip_threshold", clip_threshold)
        self.relative_step = bool(relative_step)
        self._means: dict[Variable, tuple[Variable, Variable]] = {}

    def build(self, variables: Sequence[Variable]) -> None:
        """Make row and column means and the mean square; a vector has scalars in their place, as in Keras' files."""
        super().build(variables)
        for variable in variables:
            if variable not in self._means:
                shape = variable.shape
                shapes = (shape[:-1], (*shape[:-2], shape[-1])) if len(shape) > 1 else ((), ())
                dtype = variable.dtype if len(shape) > 1 else "int32"
                row, column = (self.add_variable(s, "zeros", dtype, variable.name) for s in shapes)
                self._means[variable] = row, column
            self.add_variable_from_reference(variable, "velocity")

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """The rule of the class."""
        step = self.step_number(variable)
        kept = 1.0 - binary("pow", step, self.beta_2_decay)
        squares = square(gradient) + self.epsilon_1
        velocity = self.slot(variable, "velocity")
        if variable.ndim > 1:
            rows, columns = self._means[variable]
            for means, axis in ((rows, -1), (columns, -2)):
                self.assign(means, means * kept + mean(squares, axis) * (1.0 - kept))
            share_of_row = rows / mean(rows, -1, keepdims=True)
            self.assign(velocity, expand_dims(share_of_row, -1) * expand_dims(columns, -2))
        else:
            self.assign(velocity, velocity * kept + squares * (1.0 - kept))
        update = gradient / sqrt(velocity)
        size = maximum(self.epsilon_2, _root_mean_square(variable)) * minimum(learning_rate, 1.0 / sqrt(step))
        self.assign_sub(variable, update * (size / maximum(1.0, _root_mean_square(update) / self.clip_threshold)))

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal optimizer."""
        return {
            **super().get_config(),
            "beta_2_decay": self.beta_2_decay,
            "epsilon_1": self.epsilon_1,
            "epsilon_2": self.epsilon_2,
            "clip_threshold": self.clip_threshold,
            "relative_step": self.relative_step,
        }


def _root_mean_square(x: Any) -> Any:
    return sqrt(mean(square(x), None))
