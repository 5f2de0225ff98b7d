"""Optimizers: update rules that become part of the training program; formulas, slots and their order as in Keras."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kgraph.errors import ArgumentError, DTypeError
from kgraph.ir.operators import binary, cast
from kgraph.lookup import did_you_mean
from kgraph.naming import auto_name, snake_case
from kgraph.primitives.composites import maximum, sqrt, square
from kgraph.trace import Trace, current_trace
from kgraph.variable import Variable


class Optimizer:
    """Base of optimizers: holds the learning rate, the step counter and the slots; subclasses write `update_step`.

    Args:
        learning_rate: >= 0; may be changed at any time through the attribute of that name, without compiling again.
        name: first part of the variables' paths; made of the class name if None.
        lr: old spelling of `learning_rate`.
    """

    slots: ClassVar[tuple[str, ...]] = ()

    def __init__(self, learning_rate: float, name: str | None = None, lr: float | None = None) -> None:
        self.name = name or auto_name(snake_case(type(self).__name__))
        self._iterations = Variable(np.int64(0), "iteration", trainable=False, path=f"{self.name}/iteration")
        rate = _checked_rate(learning_rate if lr is None else lr)
        self._rate = Variable(np.float32(rate), "learning_rate", trainable=False, path=f"{self.name}/learning_rate")
        self._slots: dict[Variable, dict[str, Variable]] = {}
        self._slot_order: list[Variable] = []
        self.built = False

    @property
    def learning_rate(self) -> Variable:
        """The learning rate; setting it copies a number into it."""
        return self._rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self._rate.assign(_checked_rate(value.numpy() if isinstance(value, Variable) else value))

    @property
    def lr(self) -> Variable:
        """Old spelling of `learning_rate`."""
        return self._rate

    @lr.setter
    def lr(self, value: Any) -> None:
        self.learning_rate = value

    @property
    def iterations(self) -> Variable:
        """How many steps were made."""
        return self._iterations

    @property
    def variables(self) -> list[Variable]:
        """Step counter, learning rate, then the slots, in Keras' order."""
        return [self._iterations, self._rate, *self._slot_order]

    def slot_names(self) -> tuple[str, ...]:
        """Names of the slots that this configuration needs, in order."""
        return self.slots

    def build(self, variables: Sequence[Variable]) -> None:
        """Make the slots of those `variables` that have none yet."""
        fresh = [variable for variable in variables if variable not in self._slots]
        self._slots |= {variable: {} for variable in fresh}
        for group in self._groups():
            for variable in fresh:
                for slot in group:
                    path = f"{self.name}/{variable.path.replace('/', '_')}_{slot}"
                    made = Variable(np.zeros(variable.shape, variable.dtype), slot, trainable=False, path=path)
                    self._slots[variable][slot] = made
                    self._slot_order.append(made)
        self.built = True

    def apply(self, gradients: Sequence[Any], variables: Sequence[Variable]) -> None:
        """Add one update of `variables` to the program being traced."""
        self.build(variables)
        trace = current_trace()
        for gradient, variable in zip(gradients, variables, strict=True):
            slots = {name: trace.read(slot) for name, slot in self._slots[variable].items()}
            rate = cast(trace.read(self._rate), variable.ir_dtype)
            value, changed = self.update_step(gradient, trace.read(variable), rate, slots)
            for name, new in changed.items():
                trace.assign(self._slots[variable][name], new)
            trace.assign(variable, value if variable.constraint is None else variable.constraint(value))
        trace.assign(self._iterations, trace.read(self._iterations) + 1)

    def update_step(
        self, gradient: Any, value: Any, rate: Any, slots: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """New value of one variable, and of its slots, from tensors."""
        raise NotImplementedError(f"{type(self).__name__}.update_step")

    def get_weights(self) -> list[npt.NDArray[Any]]:
        """Copies of all variables."""
        return [variable.numpy() for variable in self.variables]

    def set_weights(self, weights: Sequence[npt.ArrayLike]) -> None:
        """Copy arrays, in the order of `variables`, into the variables."""
        if len(weights) != len(self.variables):
            raise ArgumentError(f"optimizer '{self.name}'", expected=f"{len(self.variables)} arrays",
                                received=str(len(weights)), fix="Train one step or call build first")  # fmt: skip
        for variable, new in zip(self.variables, weights, strict=True):
            variable.assign(new)

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal optimizer."""
        return {"name": self.name, "learning_rate": float(self._rate.array)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Optimizer:
        """The optimizer that `get_config` described."""
        return cls(**config)

    def _groups(self) -> list[tuple[str, ...]]:
        """Slots that are made together, variable by variable."""
        return [(name,) for name in self.slot_names()]

    def _step(self, trace: Trace, like: Any) -> Any:
        """The number of this step, from 1, in the element type of `like`."""
        return cast(trace.read(self._iterations) + 1, trace.type_of(like).dtype)


def _checked_rate(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number, np.ndarray)) or np.ndim(value):
        raise DTypeError("learning_rate", expected="a number", received=repr(value))
    rate = float(value)
    if not rate >= 0 or rate == float("inf"):
        raise ArgumentError("learning_rate must be >= 0 and finite", received=repr(rate))
    return rate


def _checked_share(where: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ArgumentError(where, expected="a number in [0, 1]", received=repr(value))
    return float(value)


class SGD(Optimizer):
    """Gradient descent, with momentum if wanted.

    w += -lr g; with momentum: v = momentum v - lr g, w += v; with `nesterov`: w += momentum v - lr g.

    Args:
        learning_rate: >= 0.
        momentum: in [0, 1].
        nesterov: look ahead (Sutskever et al., 2013).
        name: as in `Optimizer`.
        lr: old spelling of `learning_rate`.
    """

    def __init__(
        self, learning_rate: float = 0.01, momentum: float = 0.0, nesterov: bool = False, name: str | None = None,
        *, lr: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, name, lr)
        self.momentum = _checked_share("SGD: momentum", momentum)
        self.nesterov = nesterov

    def slot_names(self) -> tuple[str, ...]:
        """One slot with momentum, none without."""
        return ("momentum",) if self.momentum else ()

    def update_step(self, gradient: Any, value: Any, rate: Any, slots: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The rule of the class."""
        if not self.momentum:
            return value - gradient * rate, {}
        velocity = slots["momentum"] * self.momentum - gradient * rate
        step = velocity * self.momentum - gradient * rate if self.nesterov else velocity
        return value + step, {"momentum": velocity}

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal optimizer."""
        return {**super().get_config(), "momentum": self.momentum, "nesterov": self.nesterov}


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015), in the form of the paper's section 2 that Keras uses.

    m += (1 - beta_1)(g - m); v += (1 - beta_2)(g^2 - v);
    w -= lr sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + epsilon).

    Args:
        learning_rate: >= 0.
        beta_1: decay of the mean of gradients, in [0, 1].
        beta_2: decay of the mean of squared gradients, in [0, 1].
        epsilon: keeps the division finite.
        amsgrad: divide by the largest v so far (Reddi et al., 2018).
        name: as in `Optimizer`.
        lr: old spelling of `learning_rate`.
    """

    def __init__(
        self, learning_rate: float = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7,
        amsgrad: bool = False, name: str | None = None, *, lr: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, name, lr)
        self.beta_1 = _checked_share("Adam: beta_1", beta_1)
        self.beta_2 = _checked_share("Adam: beta_2", beta_2)
        self.epsilon = epsilon
        self.amsgrad = amsgrad

    def slot_names(self) -> tuple[str, ...]:
        """Mean and mean square of the gradients; the largest mean square with `amsgrad`."""
        return ("momentum", "velocity", "velocity_hat") if self.amsgrad else ("momentum", "velocity")

    def update_step(self, gradient: Any, value: Any, rate: Any, slots: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The rule of the class."""
        step = self._step(current_trace(), value)
        powers = [binary("pow", beta, step) for beta in (self.beta_1, self.beta_2)]
        alpha = rate * sqrt(1 - powers[1]) / (1 - powers[0])
        m, v = slots["momentum"], slots["velocity"]
        m = m + (gradient - m) * (1 - self.beta_1)
        v = v + (square(gradient) - v) * (1 - self.beta_2)
        changed = {"momentum": m, "velocity": v}
        if self.amsgrad:
            v = changed["velocity_hat"] = maximum(slots["velocity_hat"], v)
        return value - m * alpha / (sqrt(v) + self.epsilon), changed

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal optimizer."""
        own = {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon, "amsgrad": self.amsgrad}
        return {**super().get_config(), **own}

    def _groups(self) -> list[tuple[str, ...]]:
        return [("momentum", "velocity"), ("velocity_hat",)] if self.amsgrad else [("momentum", "velocity")]


class RMSprop(Optimizer):
    """RMSprop (Hinton, lecture 6e), in Keras' form.

    v = rho v + (1 - rho) g^2; step = lr g / sqrt(v + epsilon); with `centered`: a = rho a + (1 - rho) g and v - a^2 in
    place of v; with momentum: s = momentum s + step, w -= s.

    Args:
        learning_rate: >= 0.
        rho: decay of the mean of squared gradients, in [0, 1].
        momentum: in [0, 1].
        epsilon: keeps the division finite.
        centered: divide by the standard deviation instead of the root mean square.
        name: as in `Optimizer`.
        lr: old spelling of `learning_rate`.
    """

    def __init__(
        self, learning_rate: float = 0.001, rho: float = 0.9, momentum: float = 0.0, epsilon: float = 1e-7,
        centered: bool = False, name: str | None = None, *, lr: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, name, lr)
        self.rho = _checked_share("RMSprop: rho", rho)
        self.momentum = _checked_share("RMSprop: momentum", momentum)
        self.epsilon = epsilon
        self.centered = centered

    def slot_names(self) -> tuple[str, ...]:
        """Mean square; momentum and mean gradient where wanted."""
        momentum = ("momentum",) if self.momentum else ()
        return ("velocity", *momentum, *(("average_gradient",) if self.centered else ()))

    def update_step(self, gradient: Any, value: Any, rate: Any, slots: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The rule of the class."""
        velocity = slots["velocity"] * self.rho + square(gradient) * (1 - self.rho)
        changed = {"velocity": velocity}
        spread = velocity
        if self.centered:
            mean = slots["average_gradient"] * self.rho + gradient * (1 - self.rho)
            changed["average_gradient"] = mean
            spread = velocity - square(mean)
        step = rate * gradient / sqrt(spread + self.epsilon)
        if self.momentum:
            step = changed["momentum"] = slots["momentum"] * self.momentum + step
        return value - step, changed

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal optimizer."""
        own = {"rho": self.rho, "momentum": self.momentum, "epsilon": self.epsilon, "centered": self.centered}
        return {**super().get_config(), **own}


CLASSES: dict[str, Callable[..., Optimizer]] = {"sgd": SGD, "adam": Adam, "rmsprop": RMSprop}


def get(identifier: Any) -> Optimizer:
    """The optimizer that a name (in any case), class or instance means.

    >>> type(get("Adam")).__name__
    'Adam'
    """
    if isinstance(identifier, str):
        name = identifier.lower()
        if name not in CLASSES:
            raise ArgumentError(f"compile(optimizer={identifier!r}): unknown", fix=did_you_mean(name, CLASSES))
        return CLASSES[name]()
    if isinstance(identifier, type) and issubclass(identifier, Optimizer):
        made: Callable[[], Optimizer] = identifier
        identifier = made()
    if not isinstance(identifier, Optimizer):
        raise DTypeError("optimizer", expected="a name or an Optimizer", received=repr(identifier))
    return identifier
