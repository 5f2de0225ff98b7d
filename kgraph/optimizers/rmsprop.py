"""RMSprop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kgraph.optimizers.arguments import at_least_0, share
from kgraph.optimizers.base import Optimizer
from kgraph.primitives.composites import sqrt, square
from kgraph.variable import Variable


class RMSprop(Optimizer):
    """RMSprop (Hinton, lecture 6e), in Keras' form.

    v = rho v + (1 - rho) g^2; step = lr g / sqrt(v + epsilon); with `centered`: a = rho a + (1 - rho) g and v - a^2 in
    place of v; with momentum: s = momentum s + step, w -= s.

    Args:
        learning_rate: >= 0, or a schedule.
        rho: decay of the mean of squared gradients, in [0, 1].
        momentum: in [0, 1].
        epsilon: keeps the division finite.
        centered: divide by the standard deviation instead of the root mean square.
        options: as in `Optimizer`.
    """

    def __init__(
        self, learning_rate: Any = 0.001, rho: float = 0.9, momentum: float = 0.0, epsilon: float = 1e-7,
        centered: bool = False, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, **options)
        self.rho = share("RMSprop: rho", rho)
        self.momentum = share("RMSprop: momentum", momentum)
        self.epsilon = at_least_0("RMSprop: epsilon", epsilon)
        self.centered = bool(centered)

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the slots: mean square; momentum and mean gradient where wanted."""
        super().build(variables)
        for name, wanted in (("velocity", True), ("momentum", self.momentum), ("average_gradient", self.centered)):
            if wanted:
                self.add_optimizer_variables(variables, name)

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """The rule of the class."""
        velocity = self.slot(variable, "velocity")
        self.assign(velocity, velocity * self.rho + square(gradient) * (1 - self.rho))
        spread: Any = velocity
        if self.centered:
            mean = self.slot(variable, "average_gradient")
            self.assign(mean, mean * self.rho + gradient * (1 - self.rho))
            spread = velocity - square(mean)
        step = learning_rate * gradient / sqrt(spread + self.epsilon)
        if self.momentum:
            momentum = self.slot(variable, "momentum")
            self.assign(momentum, momentum * self.momentum + step)
            step = momentum
        self.assign_sub(variable, step)

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal optimizer."""
        own = {"rho": self.rho, "momentum": self.momentum, "epsilon": self.epsilon, "centered": self.centered}
        return {**super().get_config(), **own}
