"""Muon: momentum made orthogonal for matrices, Adam for everything else."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from kgraph.optimizers.adam import Adam
from kgraph.optimizers.arguments import at_least_0, share
from kgraph.primitives.composites import sqrt, square, transpose
from kgraph.primitives.composites import sum as total
from kgraph.variable import Variable


class Muon(Adam):
    """Muon (Jordan et al., 2024), with the scale of Moonlight (Liu et al., 2025).

    For matrices: m = momentum m + g; d = g + momentum m (with `nesterov`) or m; w -= lr rms_rate sqrt(larger side) o,
    where o is d with singular values near 1, from `ns_steps` of x <- a x + (b A + c A A) x, A = x x', x = d / |d|.
    Other variables, embeddings and excluded layers take Adam's step.

    Args:
        learning_rate: >= 0, or a schedule.
        adam_beta_1, adam_beta_2, epsilon: of Adam's step.
        adam_weight_decay, weight_decay: of variables that take Adam's step, and of the others; >= 0 or None.
        exclude_layers: patterns; variables whose path matches one take Adam's step.
        exclude_embeddings: whether variables with "embedding" in their path do.
        muon_a, muon_b, muon_c: a, b, c.
        adam_lr_ratio: factor of the learning rate in Adam's step.
        momentum: in [0, 1].
        ns_steps: >= 1.
        nesterov: look ahead.
        rms_rate: root mean square of the elements of a step of learning rate 1; None for no scaling.
        options: as in `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        adam_beta_1: float = 0.9,
        adam_beta_2: float = 0.999,
        adam_weight_decay: float | None = 0.004,
        epsilon: float = 1e-7,
        weight_decay: float | None = 0.004,
        *,
        exclude_layers: Sequence[str] | None = None,
        exclude_embeddings: bool = True,
        muon_a: float = 3.4445,
        muon_b: float = -4.7750,
        muon_c: float = 2.0315,
        adam_lr_ratio: float = 1,
        momentum: float = 0.95,
        ns_steps: int = 5,
        nesterov: bool = True,
        rms_rate: float | None = 0.2,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, adam_beta_1, adam_beta_2, epsilon, weight_decay=weight_decay, **options)
        if adam_weight_decay is not None:
            adam_weight_decay = at_least_0("Muon: adam_weight_decay", adam_weight_decay)
        self.adam_weight_decay = adam_weight_decay
        self.exclude_layers = list(exclude_layers or [])
        self.exclude_embeddings = bool(exclude_embeddings)
        self.muon_a, self.muon_b, self.muon_c = muon_a, muon_b, muon_c
        self.adam_lr_ratio = at_least_0("Muon: adam_lr_ratio", adam_lr_ratio)
        self.momentum = share("Muon: momentum", momentum)
        self.ns_steps = ns_steps
        self.nesterov = bool(nesterov)
        self.rms_rate = rms_rate

    def takes_adam(self, variable: Variable) -> bool:
        """Whether a variable takes Adam's step."""
        patterns = [*self.exclude_layers, *(["(?i:embedding)"] if self.exclude_embeddings else [])]
        return variable.ndim != 2 or any(re.search(pattern, variable.path) for pattern in patterns)

    def slots_of(self, variable: Variable) -> tuple[str, ...]:
        """Momentum for all, a mean square for Adam's step."""
        return ("momentum", "velocity") if self.takes_adam(variable) else ("momentum",)

    def weight_decay_of(self, variable: Variable) -> float | None:
        """The weight decay of one variable; None for none."""
        if self.is_decayed(variable) and self.takes_adam(variable):
            return self.adam_weight_decay
        return super().weight_decay_of(variable)

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """The rule of the class."""
        if self.takes_adam(variable):
            super().update_step(gradient, variable, learning_rate * self.adam_lr_ratio)
            return
        momentum = self.slot(variable, "momentum")
        self.assign(momentum, momentum * self.momentum + gradient)
        direction = gradient + momentum * self.momentum if self.nesterov else momentum
        scale = 1.0 if self.rms_rate is None else math.sqrt(max(variable.shape)) * self.rms_rate
        self.assign_sub(variable, self._orthogonal(direction, variable.shape) * (learning_rate * scale))

    def _orthogonal(self, x: Any, shape: tuple[int, ...]) -> Any:
        """Newton-Schulz iterations, on the orientation with the smaller product of matrices."""
        tall = shape[0] > shape[1]
        x = transpose(x) if tall else x
        x = x / (sqrt(total(square(x), None)) + 1e-7)
        for _ in range(self.ns_steps):
            products = x @ transpose(x)
            x = x * self.muon_a + (products * self.muon_b + (products * self.muon_c) @ products) @ x
        return transpose(x) if tall else x

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal optimizer."""
        config = super().get_config()
        for name in ("amsgrad", "beta_1", "beta_2"):
            del config[name]
        return {
            **config,
            "adam_beta_1": self.beta_1,
            "adam_beta_2": self.beta_2,
            "adam_weight_decay": self.adam_weight_decay,
            "exclude_layers": self.exclude_layers,
            "exclude_embeddings": self.exclude_embeddings,
            "muon_a": self.muon_a,
            "muon_b": self.muon_b,
            "muon_c": self.muon_c,
            "adam_lr_ratio": self.adam_lr_ratio,
            "momentum": self.momentum,
            "ns_steps": self.ns_steps,
            "nesterov": self.nesterov,
            "rms_rate": self.rms_rate,
        }
