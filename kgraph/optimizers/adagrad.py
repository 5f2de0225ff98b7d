"""Adagrad and Adadelta."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kgraph.initializers import Constant
from kgraph.optimizers.arguments import at_least_0, share
from kgraph.optimizers.base import Optimizer
from kgraph.primitives.composites import sqrt, square
from kgraph.variable import Variable


class Adagrad(Optimizer):
    """Adagrad (Duchi et al., 2011): a += g^2; w -= lr g / sqrt(a + epsilon).

    Args:
        learning_rate: >= 0, or a schedule.
        initial_accumulator_value: first value of a, >= 0.
        epsilon: keeps the division finite.
        options: as in `Optimizer`.
    """

    def __init__(
        self, learning_rate: Any = 0.001, initial_accumulator_value: float = 0.1, epsilon: float = 1e-7, **options: Any
    ) -> None:
        super().__init__(learning_rate, **options)
        self.initial_accumulator_value = at_least_0("Adagrad: initial_accumulator_value", initial_accumulator_value)
        self.epsilon = at_least_0("Adagrad: epsilon", epsilon)

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the slot "accumulator"."""
        super().build(variables)
        self.add_optimizer_variables(variables, "accumulator", Constant(self.initial_accumulator_value))

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """The rule of the class."""
        accumulator = self.slot(variable, "accumulator")
        self.assign_add(accumulator, square(gradient))
        self.assign_sub(variable, learning_rate * gradient / sqrt(accumulator + self.epsilon))

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal optimizer."""
        own = {"initial_accumulator_value": self.initial_accumulator_value, "epsilon": self.epsilon}
        return {**super().get_config(), **own}


class Adadelta(Optimizer):
    """Adadelta (Zeiler, 2012): steps in the units of the variables.

    a = rho a + (1 - rho) g^2; d = -sqrt(b + epsilon) / sqrt(a + epsilon) g; b = rho b + (1 - rho) d^2; w += lr d.

    Args:
        learning_rate: >= 0, or a schedule; 1 in the paper.
        rho: decay of both means, in [0, 1].
        epsilon: keeps the division finite, and starts the first step.
        options: as in `Optimizer`.
    """

    def __init__(self, learning_rate: Any = 0.001, rho: float = 0.95, epsilon: float = 1e-7, **options: Any) -> None:
        super().__init__(learning_rate, **options)
        self.rho = share("Adadelta: rho", rho)
        self.epsilon = at_least_0("Adadelta: epsilon", epsilon)

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the slots: mean squares of gradients and of steps."""
        super().build(variables)
        self.add_optimizer_variables(variables, ["accumulated_grad", "accumulated_delta_var"])

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """The rule of the class."""
        slopes, steps = self.slot(variable, "accumulated_grad"), self.slot(variable, "accumulated_delta_var")
        self.assign(slopes, slopes * self.rho + square(gradient) * (1 - self.rho))
        step = -(sqrt(steps + self.epsilon) * gradient / sqrt(slopes + self.epsilon))
        self.assign(steps, steps * self.rho + square(step) * (1 - self.rho))
        self.assign_add(variable, learning_rate * step)

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal optimizer."""
        return {**super().get_config(), "rho": self.rho, "epsilon": self.epsilon}
