"""SGD: gradient descent, with momentum if wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kgraph.optimizers.arguments import share
from kgraph.optimizers.base import Optimizer
from kgraph.variable import Variable


class SGD(Optimizer):
    """Gradient descent, with momentum if wanted.

    w -= lr g; with momentum: v = momentum v - lr g, w += v; with `nesterov`: w += momentum v - lr g.

    Args:
        learning_rate: >= 0, or a schedule.
        momentum: in [0, 1].
        nesterov: look ahead (Sutskever et al., 2013).
        options: as in `Optimizer`.
    """

    def __init__(
        self, learning_rate: Any = 0.01, momentum: float = 0.0, nesterov: bool = False, **options: Any
    ) -> None:
        super().__init__(learning_rate, **options)
        self.momentum = share("SGD: momentum", momentum)
        self.nesterov = bool(nesterov)

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the slot "momentum", if there is any."""
        super().build(variables)
        if self.momentum:
            self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """The rule of the class."""
        if not self.momentum:
            self.assign_sub(variable, gradient * learning_rate)
            return
        momentum = self.slot(variable, "momentum")
        velocity = momentum * self.momentum - gradient * learning_rate
        self.assign(momentum, velocity)
        self.assign_add(variable, velocity * self.momentum - gradient * learning_rate if self.nesterov else velocity)

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal optimizer."""
        return {**super().get_config(), "momentum": self.momentum, "nesterov": self.nesterov}
