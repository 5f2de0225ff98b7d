"""Ftrl: follow the regularized leader."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kgraph.errors import ArgumentError
from kgraph.initializers import Constant
from kgraph.ir.operators import binary
from kgraph.optimizers.arguments import at_least_0
from kgraph.optimizers.base import Optimizer
from kgraph.primitives.composites import clip, square
from kgraph.variable import Variable


class Ftrl(Optimizer):
    """FTRL-proximal (McMahan et al., 2013), for sparse linear models; with p = -learning_rate_power:

    s = g + 2 l2_shrinkage w; n' = n + g^2; z += s - (n'^p - n^p) / lr w;
    w = (clip(z, -l1, l1) - z) / (n'^p / lr + 2 l2 + beta / lr).

    Args:
        learning_rate: >= 0, or a schedule.
        learning_rate_power: <= 0; 0 for a fixed learning rate.
        initial_accumulator_value: first value of n, >= 0.
        l1_regularization_strength, l2_regularization_strength: l1 and l2, >= 0.
        l2_shrinkage_regularization_strength: an L2 penalty on the gradient's side, >= 0.
        beta: >= 0.
        options: as in `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        if not learning_rate_power <= 0:
            received = repr(learning_rate_power)
            raise ArgumentError("Ftrl: learning_rate_power", expected="a number <= 0", received=received)
        self.learning_rate_power = learning_rate_power
        self.initial_accumulator_value = at_least_0("Ftrl: initial_accumulator_value", initial_accumulator_value)
        self.l1_regularization_strength = at_least_0("Ftrl: l1_regularization_strength", l1_regularization_strength)
        self.l2_regularization_strength = at_least_0("Ftrl: l2_regularization_strength", l2_regularization_strength)
        self.l2_shrinkage_regularization_strength = at_least_0(
            "Ftrl: l2_shrinkage_regularization_strength", l2_shrinkage_regularization_strength
        )
        self.beta = at_least_0("Ftrl: beta", beta)

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the slots n ("accumulator") and z ("linear")."""
        super().build(variables)
        first = Constant(self.initial_accumulator_value)
        self.add_optimizer_variables(variables, ["accumulator", "linear"], [first, "zeros"])

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """The rule of the class."""
        accumulator, linear = self.slot(variable, "accumulator"), self.slot(variable, "linear")
        shrunk = gradient
        if self.l2_shrinkage_regularization_strength:
            shrunk = gradient + variable * (2 * self.l2_shrinkage_regularization_strength)
        before = binary("pow", accumulator, -self.learning_rate_power)
        self.assign_add(accumulator, square(gradient))
        after = binary("pow", accumulator, -self.learning_rate_power)
        self.assign_add(linear, shrunk - (after - before) / learning_rate * variable)
        l2 = self.beta / (learning_rate * 2.0) + self.l2_regularization_strength
        l1 = self.l1_regularization_strength
        self.assign(variable, (clip(linear, -l1, l1) - linear) / (after / learning_rate + l2 * 2.0))

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal optimizer."""
        return {
            **super().get_config(),
            "learning_rate_power": self.learning_rate_power,
            "initial_accumulator_value": self.initial_accumulator_value,
            "l1_regularization_strength": self.l1_regularization_strength,
            "l2_regularization_strength": self.l2_regularization_strength,
            "l2_shrinkage_regularization_strength": self.l2_shrinkage_regularization_strength,
            "beta": self.beta,
        }
