"""ScheduleFreeAdamW: Adam with an average of its own iterates in place of a schedule of the learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kgraph.errors import ArgumentError
from kgraph.ir.operators import binary
from kgraph.optimizers.arguments import at_least_0, count, share
from kgraph.optimizers.base import Optimizer
from kgraph.primitives.composites import minimum, sqrt, square
from kgraph.variable import Variable


class ScheduleFreeAdamW(Optimizer):
    """Schedule-free AdamW (Defazio et al., 2024, arXiv:2405.15682), in Keras' form.

    z takes the steps, x is the mean of all z, and the variable y between both is where gradients are taken:
    x = (y - (1 - beta_1) z) / beta_1; v += (1 - beta_2)(g^2 - v);
    z -= lr min(t / warmup_steps, 1) g / (sqrt(v / (1 - beta_2^t)) + epsilon);
    x += (z - x) / t; y = (1 - beta_1) z + beta_1 x.

    Args:
        learning_rate: >= 0, or a schedule.
        beta_1: share of the mean x in the variable, in (0, 1].
        beta_2: decay of the mean of squared gradients, in [0, 1].
        epsilon: keeps the division finite.
        warmup_steps: over so many steps the learning rate grows from 0.
        options: as in `Optimizer`.
    """

    def __init__(
        self, learning_rate: Any = 0.0025, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8,
        warmup_steps: int = 0, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, **options)
        label = type(self).__name__
        self.beta_1 = share(f"{label}: beta_1", beta_1)
        if not self.beta_1:
            raise ArgumentError(f"{label}: beta_1", expected="a number in (0, 1]", received=repr(beta_1))
        self.beta_2 = share(f"{label}: beta_2", beta_2)
        self.epsilon = at_least_0(f"{label}: epsilon", epsilon)
        self.warmup_steps = count(f"{label}: warmup_steps", warmup_steps, 0) or 0

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the slots: z, which starts as the variable itself, and the mean square."""
        super().build(variables)
        for variable in variables:
            self.add_variable_from_reference(variable, "momentum", variable.numpy())
            self.add_variable_from_reference(variable, "velocity")

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """The rule of the class."""
        step = self.step_number(variable)
        if self.warmup_steps:
            learning_rate = learning_rate * minimum(step / self.warmup_steps, 1.0)
        z, v = self.slot(variable, "momentum"), self.slot(variable, "velocity")
        mean = (variable - z * (1 - self.beta_1)) / self.beta_1
        self.assign_add(v, (square(gradient) - v) * (1 - self.beta_2))
        root = sqrt(v / (1.0 - binary("pow", self.beta_2, step))) + self.epsilon
        self.assign_sub(z, gradient * learning_rate / root)
        mean = mean + (z - mean) / step
        self.assign(variable, z * (1 - self.beta_1) + mean * self.beta_1)

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal optimizer."""
        return {
            **super().get_config(), "beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon,
            "warmup_steps": self.warmup_steps,
        }  # fmt: skip
