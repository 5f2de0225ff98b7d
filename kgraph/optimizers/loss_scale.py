"""LossScaleOptimizer: another optimizer behind a loss scale that finds its own size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kgraph.errors import DTypeError
from kgraph.families import Family
from kgraph.ir.dtypes import f32
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import cast
from kgraph.optimizers.base import Optimizer
from kgraph.optimizers.rules import CLASSES as RULES
from kgraph.optimizers.schedules import LearningRateSchedule
from kgraph.primitives.composites import equal, where
from kgraph.primitives.composites import min as smallest
from kgraph.trace import current_trace
from kgraph.variable import Variable

INNER = Family("optimizer", (*RULES, "MultiOptimizer"), package="kgraph.optimizers")


class LossScaleOptimizer(Optimizer):
    """Scales the loss, so that small gradients do not vanish, and hands gradients scaled back to another optimizer.

    A step with gradients that are not finite is left out, and the scale halved; after `dynamic_growth_steps` good steps
    it is doubled.

    Args:
        inner_optimizer: makes the steps.
        initial_scale: first scale.
        dynamic_growth_steps: good steps before the scale grows.
        name: of this optimizer.

    Source: Micikevicius et al. (2018).
    """

    def __init__(
        self, inner_optimizer: Optimizer, initial_scale: float = 2.0**15, dynamic_growth_steps: int = 2000,
        name: str | None = None,
    ) -> None:  # fmt: skip
        if not isinstance(inner_optimizer, Optimizer):
            raise DTypeError("LossScaleOptimizer", expected="an Optimizer", received=repr(inner_optimizer))
        super().__init__(0.0, name=name)
        self.inner_optimizer = inner_optimizer
        self.initial_scale = float(initial_scale)
        self.dynamic_growth_steps = int(dynamic_growth_steps)
        inner_optimizer.loss_scale_factor = None  # gradients shall not be scaled back twice
        self.step_counter = self.add_variable((), "zeros", "int32", "step_counter")
        self.dynamic_scale = self.add_variable((), self.initial_scale, "float32", "dynamic_scale")

    @property
    def variables(self) -> list[Variable]:
        """This optimizer's own variables, then those of the inner one."""
        return [*super().variables, *self.inner_optimizer.variables]

    @property
    def learning_rate(self) -> Any:
        """The inner optimizer's."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.inner_optimizer.learning_rate = value

    @property
    def schedule(self) -> LearningRateSchedule | None:
        """The inner optimizer's."""
        return self.inner_optimizer.schedule

    def rate_owners(self) -> dict[str, Optimizer]:
        """The inner optimizer's."""
        return self.inner_optimizer.rate_owners()

    @property
    def iterations(self) -> Any:
        """The inner optimizer's."""
        return self.inner_optimizer.iterations

    def build(self, variables: Sequence[Variable]) -> None:
        """Build the inner optimizer."""
        super().build(variables)
        self.inner_optimizer.build(variables)

    def scale_loss(self, loss: Any) -> Any:
        """The loss times the scale."""
        return loss * cast(self.dynamic_scale, current_emitter().type_of(loss).dtype)

    def make_step(self, gradients: list[Any], variables: list[Variable]) -> None:
        """The inner optimizer's step, if all gradients are finite; then the next scale."""
        finite = _all_finite(gradients)
        scaled_back = [gradient / self.dynamic_scale for gradient in gradients]
        current_trace().only_if(finite, lambda: self.inner_optimizer.apply(scaled_back, variables))
        grows = equal(self.step_counter, self.dynamic_growth_steps - 1)
        scale = where(finite, where(grows, self.dynamic_scale * 2.0, self.dynamic_scale), self.dynamic_scale * 0.5)
        count = where(finite, where(grows, 0, self.step_counter + 1), 0)
        self.assign(self.dynamic_scale, scale)
        self.assign(self.step_counter, count)

    def finalize_variable_values(self, var_list: Sequence[Variable]) -> None:
        """As the inner optimizer does."""
        self.inner_optimizer.finalize_variable_values(var_list)

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal optimizer."""
        return {
            "name": self.name,
            "inner_optimizer": INNER.serialize(self.inner_optimizer),
            "initial_scale": self.initial_scale,
            "dynamic_growth_steps": self.dynamic_growth_steps,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Optimizer:
        """The optimizer that `get_config` described."""
        return cls(**{**config, "inner_optimizer": INNER.deserialize(config["inner_optimizer"])})


def _all_finite(gradients: list[Any]) -> Any:
    """Whether every element of every gradient is finite."""
    emitter = current_emitter()
    parts = [smallest(cast(emitter.emit("isfinite", gradient), f32), None) > 0.0 for gradient in gradients]
    found = parts[0]
    for part in parts[1:]:
        found = emitter.emit("logical_and", found, part)
    return found
