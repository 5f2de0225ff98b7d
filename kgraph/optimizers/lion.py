"""Lion: steps of one size, in the direction of the sign."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kgraph.errors import ArgumentError
from kgraph.ir.opdef import current_emitter
from kgraph.optimizers.arguments import share
from kgraph.optimizers.base import Optimizer
from kgraph.variable import Variable


class Lion(Optimizer):
    """Lion (Chen et al., 2023): w -= lr sign(beta_1 m + (1 - beta_1) g); m = beta_2 m + (1 - beta_2) g.

    Args:
        learning_rate: >= 0, or a schedule; three to ten times smaller than for Adam.
        beta_1: in (0, 1].
        beta_2: in [0, 1].
        options: as in `Optimizer`.
    """

    def __init__(self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.99, **options: Any) -> None:
        super().__init__(learning_rate, **options)
        self.beta_1 = share("Lion: beta_1", beta_1)
        if not self.beta_1:
            raise ArgumentError("Lion: beta_1", expected="a number in (0, 1]", received=repr(beta_1))
        self.beta_2 = share("Lion: beta_2", beta_2)

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the slot "momentum"."""
        super().build(variables)
        self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """The rule of the class."""
        momentum = self.slot(variable, "momentum")
        direction = current_emitter().emit("sign", momentum * self.beta_1 + gradient * (1.0 - self.beta_1))
        self.assign_sub(variable, learning_rate * direction)
        self.assign(momentum, momentum * self.beta_2 + gradient * (1.0 - self.beta_2))

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal optimizer."""
        return {**super().get_config(), "beta_1": self.beta_1, "beta_2": self.beta_2}
