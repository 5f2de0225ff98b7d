"""Adam and its relatives that divide by a mean square of gradients: AdamW, Adamax, Nadam, Lamb."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kgraph.errors import ArgumentError
from kgraph.ir.operators import binary, cast
from kgraph.optimizers.arguments import at_least_0, share
from kgraph.optimizers.base import Optimizer
from kgraph.primitives.composites import maximum, sqrt, square, where
from kgraph.primitives.composites import sum as total
from kgraph.variable import Variable


class _MomentOptimizer(Optimizer):
    """Base of optimizers with decaying means of gradients (beta_1) and of a size of gradients (beta_2)."""

    second_slot = "velocity"

    def __init__(
        self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7,
        **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, **options)
        label = type(self).__name__
        self.beta_1 = share(f"{label}: beta_1", beta_1)
        self.beta_2 = share(f"{label}: beta_2", beta_2)
        self.epsilon = at_least_0(f"{label}: epsilon", epsilon)

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the slots."""
        super().build(variables)
        for variable in variables:
            for name in self.slots_of(variable):
                self.add_variable_from_reference(variable, name)

    def slots_of(self, variable: Variable) -> tuple[str, ...]:
        """Names of the slots of one variable."""
        return ("momentum", self.second_slot)

    def moments(self, gradient: Any, variable: Variable) -> tuple[Any, Any]:
        """m += (1 - beta_1)(g - m) and v += (1 - beta_2)(g^2 - v): the slots' new values."""
        m, v = self.slot(variable, "momentum"), self.slot(variable, self.second_slot)
        self.assign_add(m, (gradient - m) * (1 - self.beta_1))
        self.assign_add(v, (square(gradient) - v) * (1 - self.beta_2))
        return m, v

    def bias(self, beta: float, variable: Variable) -> Any:
        """1 - beta^t: what a mean that started at 0 has gathered of a constant after t steps."""
        return 1.0 - binary("pow", beta, self.step_number(variable))

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal optimizer."""
        return {**super().get_config(), "beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}


class Adam(_MomentOptimizer):
    """Adam (Kingma and Ba, 2015), in the form of the paper's section 2 that Keras uses.

    m += (1 - beta_1)(g - m); v += (1 - beta_2)(g^2 - v);
    w -= lr sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + epsilon).

    Args:
        learning_rate: >= 0, or a schedule.
        beta_1: decay of the mean of gradients, in [0, 1].
        beta_2: decay of the mean of squared gradients, in [0, 1].
        epsilon: keeps the division finite.
        amsgrad: divide by the largest v so far (Reddi et al., 2018).
        options: as in `Optimizer`.
    """

    def __init__(
        self, learning_rate: Any = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7,
        amsgrad: bool = False, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **options)
        self.amsgrad = bool(amsgrad)

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the slots: mean, mean square and, with `amsgrad`, the largest mean square."""
        super().build(variables)
        if self.amsgrad:
            self.add_optimizer_variables(variables, "velocity_hat")

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """The rule of the class."""
        alpha = learning_rate * sqrt(self.bias(self.beta_2, variable)) / self.bias(self.beta_1, variable)
        m, v = self.moments(gradient, variable)
        if self.amsgrad:
            largest = self.slot(variable, "velocity_hat")
            self.assign(largest, maximum(largest, v))
            v = largest
        self.assign_sub(variable, m * alpha / (sqrt(v) + self.epsilon))

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal optimizer."""
        return {**super().get_config(), "amsgrad": self.amsgrad}


class AdamW(Adam):
    """Adam with weight decay apart from the gradient (Loshchilov and Hutter, 2019): before each step w -= lr decay w.

    Args:
        learning_rate: >= 0, or a schedule.
        weight_decay: >= 0.
        beta_1, beta_2, epsilon, amsgrad: as in `Adam`.
        options: as in `Optimizer`.
    """

    def __init__(
        self, learning_rate: Any = 0.001, weight_decay: float = 0.004, beta_1: float = 0.9, beta_2: float = 0.999,
        epsilon: float = 1e-7, amsgrad: bool = False, **options: Any,
    ) -> None:  # fmt: skip
        if weight_decay is None:
            raise ArgumentError("AdamW: weight_decay", expected="a number >= 0", received="None", fix="Use Adam")
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay=weight_decay, **options)


class Adamax(_MomentOptimizer):
    """Adamax (Kingma and Ba, 2015, section 7.1): Adam with the decaying maximum of gradients.

    m += (1 - beta_1)(g - m); u = max(beta_2 u, |g|); w -= lr / (1 - beta_1^t) m / (u + epsilon).

    Arguments as in `Adam`; there is no `amsgrad`.
    """

    second_slot = "norm"

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """The rule of the class."""
        m, u = self.slot(variable, "momentum"), self.slot(variable, "norm")
        self.assign_add(m, (gradient - m) * (1 - self.beta_1))
        self.assign(u, maximum(u * self.beta_2, abs(gradient)))
        self.assign_sub(variable, m * learning_rate / ((u + self.epsilon) * self.bias(self.beta_1, variable)))


class Nadam(_MomentOptimizer):
    """Nadam (Dozat, 2015): Adam with Nesterov's momentum, and the paper's schedule of it.

    u_t = beta_1 (1 - 0.96^t / 2); m and v as in Adam;
    n = u_(t+1) m / (1 - u_1 ... u_(t+1)) + (1 - u_t) g / (1 - u_1 ... u_t);
    w -= lr n / (sqrt(v / (1 - beta_2^t)) + epsilon).

    Arguments as in `Adam`; there is no `amsgrad`.
    """

    product: Variable | None = None

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the slots, and the product of the momenta so far."""
        super().build(variables)
        if self.product is None:
            self.product = self.add_variable((), "ones", variables[0].dtype if variables else None, "u_product")

    def begin_update(self) -> None:
        """Bring the product up to date."""
        assert self.product is not None
        self.assign(self.product, self.product * self._momentum_at(self.step_number(self.product)))

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """The rule of the class."""
        step = self.step_number(variable)
        now, later = self._momentum_at(step), self._momentum_at(step + 1.0)
        product = cast(self.product, variable.ir_dtype)
        m, v = self.moments(gradient, variable)
        ahead = m * (later / (1.0 - product * later)) + gradient * ((1.0 - now) / (1.0 - product))
        self.assign_sub(variable, ahead * learning_rate / (sqrt(v / self.bias(self.beta_2, variable)) + self.epsilon))

    def _momentum_at(self, step: Any) -> Any:
        return self.beta_1 * (1.0 - 0.5 * binary("pow", 0.96, step))


class Lamb(_MomentOptimizer):
    """LAMB (You et al., 2020): Adam's step, scaled to the norm of each variable.

    r = m / (1 - beta_1^t) / (sqrt(v / (1 - beta_2^t)) + epsilon); w -= lr |w| / |r| r, or lr r where a norm is 0.

    Arguments as in `Adam`; there is no `amsgrad`.
    """

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """The rule of the class."""
        m, v = self.moments(gradient, variable)
        root = sqrt(v / self.bias(self.beta_2, variable)) + self.epsilon
        update = m / self.bias(self.beta_1, variable) / root
        weight_norm, update_norm = (sqrt(total(square(x), None)) for x in (variable, update))
        ratio = where(weight_norm > 0.0, where(update_norm > 0.0, weight_norm / update_norm, 1.0), 1.0)
        self.assign_sub(variable, update * (ratio * learning_rate))
