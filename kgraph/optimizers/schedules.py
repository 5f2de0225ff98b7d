"""Learning-rate schedules: functions of the step that are part of the compiled training step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from kgraph.eager import is_symbolic, run_on_arrays
from kgraph.errors import ArgumentError
from kgraph.families import Family
from kgraph.ir.dtypes import f32, f64
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import binary, cast
from kgraph.primitives.composites import equal, minimum, where


class LearningRateSchedule:
    """Base of schedules. One of your own defines ``__call__(step)`` with tensors and, to be saved, ``get_config``.

    `step` is a tensor of rank 0 that counts from 0: use operators and functions of tensors, not Python's ``if``.
    """

    def __call__(self, step: Any) -> Any:
        """The learning rate of step `step`."""
        raise NotImplementedError(f"{type(self).__name__}.__call__(step)")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        raise NotImplementedError(f"{type(self).__name__}.get_config()")

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LearningRateSchedule:
        """A schedule with these constructor arguments."""
        return cls(**config)


class _Formula(LearningRateSchedule):
    """A schedule given by a formula of the step as a float64 tensor; the result becomes float32."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, step: Any) -> Any:
        """The learning rate of step `step`, a tensor or a number."""
        if is_symbolic(step):
            return cast(self.formula(cast(step, f64)), f32)
        return run_on_arrays(self.name, self, step)

    def formula(self, step: Any) -> Any:
        """The learning rate as a tensor."""
        raise NotImplementedError


def _steps(label: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ArgumentError(label, expected="a number > 0", received=repr(value))
    return value


def _floor(x: Any) -> Any:
    return current_emitter().emit("floor", x)


def _half_cosine(part: Any) -> Any:
    """Falls from 1 to 0 while `part` goes from 0 to 1."""
    return current_emitter().emit("cos", part * math.pi) * 0.5 + 0.5


class ExponentialDecay(_Formula):
    """``initial_learning_rate * decay_rate ** (step / decay_steps)``.

    Args:
        initial_learning_rate: of step 0.
        decay_steps: steps in which the rate is multiplied by `decay_rate` once; > 0.
        decay_rate: factor.
        staircase: keep the rate between multiples of `decay_steps`.
        name: of the schedule.

    >>> float(ExponentialDecay(0.5, decay_steps=10, decay_rate=0.5)(20))
    0.125
    """

    def __init__(
        self, initial_learning_rate: float, decay_steps: float, decay_rate: float, staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:  # fmt: skip
        super().__init__(name)
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = _steps(f"{name}: decay_steps", decay_steps)
        self.decay_rate = decay_rate
        self.staircase = staircase

    def formula(self, step: Any) -> Any:
        """The formula of the class."""
        periods = step / self.decay_steps
        periods = _floor(periods) if self.staircase else periods
        return self.initial_learning_rate * binary("pow", self.decay_rate, periods)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "decay_rate": self.decay_rate,
            "staircase": self.staircase,
            "name": self.name,
        }


class InverseTimeDecay(ExponentialDecay):
    """``initial_learning_rate / (1 + decay_rate * step / decay_steps)``; arguments as in `ExponentialDecay`."""

    def __init__(
        self, initial_learning_rate: float, decay_steps: float, decay_rate: float, staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:  # fmt: skip
        super().__init__(initial_learning_rate, decay_steps, decay_rate, staircase, name)

    def formula(self, step: Any) -> Any:
        """The formula of the class."""
        periods = step / self.decay_steps
        periods = _floor(periods) if self.staircase else periods
        return self.initial_learning_rate / (periods * self.decay_rate + 1.0)


class PiecewiseConstantDecay(_Formula):
    """``values[0]`` up to and including step ``boundaries[0]``, then ``values[1]``, and so on.

    Args:
        boundaries: rising steps.
        values: one more than boundaries.
        name: of the schedule.
    """

    def __init__(self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant") -> None:
        super().__init__(name)
        if len(boundaries) != len(values) - 1:
            expected = f"{len(boundaries) + 1} values for {len(boundaries)} boundaries"
            raise ArgumentError(name, expected=expected, received=str(len(values)))
        if list(boundaries) != sorted(boundaries):
            raise ArgumentError(name, expected="rising boundaries", received=str(list(boundaries)))
        self.boundaries, self.values = list(boundaries), list(values)

    def formula(self, step: Any) -> Any:
        """The formula of the class."""
        rate: Any = current_emitter().constant(float(self.values[-1]), f64)
        for boundary, value in zip(reversed(self.boundaries), reversed(self.values[:-1]), strict=True):
            rate = where(step <= float(boundary), float(value), rate)
        return rate

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"boundaries": self.boundaries, "values": self.values, "name": self.name}


class PolynomialDecay(_Formula):
    """``(initial - end) * (1 - step / decay_steps) ** power + end``; the end rate after `decay_steps`.

    Args:
        initial_learning_rate: of step 0.
        decay_steps: length of the way down; > 0.
        end_learning_rate: at its end.
        power: 1 for a straight line.
        cycle: stretch the way to the next multiple of `decay_steps` instead of staying at the end.
        name: of the schedule.
    """

    def __init__(
        self, initial_learning_rate: float, decay_steps: float, end_learning_rate: float = 0.0001, power: float = 1.0,
        cycle: bool = False, name: str = "PolynomialDecay",
    ) -> None:  # fmt: skip
        super().__init__(name)
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = _steps(f"{name}: decay_steps", decay_steps)
        self.end_learning_rate = end_learning_rate
        self.power = power
        self.cycle = cycle

    def formula(self, step: Any) -> Any:
        """The formula of the class."""
        periods = step / self.decay_steps
        if self.cycle:
            length = current_emitter().emit("ceil", periods)
            part = periods / where(equal(length, 0.0), 1.0, length)
        else:
            part = minimum(periods, 1.0)
        left = binary("pow", 1.0 - part, float(self.power))
        return left * (self.initial_learning_rate - self.end_learning_rate) + self.end_learning_rate

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "end_learning_rate": self.end_learning_rate,
            "power": self.power,
            "cycle": self.cycle,
            "name": self.name,
        }


class CosineDecay(_Formula):
    """Half a cosine from the initial rate down to `alpha` times it; before that, if wanted, a straight way up.

    Args:
        initial_learning_rate: of step 0.
        decay_steps: length of the way down; > 0.
        alpha: the last rate as a share of the highest.
        name: of the schedule.
        warmup_target: rate at which the way up ends and the way down begins; None for no way up.
        warmup_steps: length of the way up.

    Source: Loshchilov and Hutter (2017).
    """

    def __init__(
        self, initial_learning_rate: float, decay_steps: float, alpha: float = 0.0, name: str = "CosineDecay",
        warmup_target: float | None = None, warmup_steps: float = 0,
    ) -> None:  # fmt: skip
        super().__init__(name)
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = _steps(f"{name}: decay_steps", decay_steps)
        self.alpha = alpha
        self.warmup_target = warmup_target
        self.warmup_steps = warmup_steps

    def formula(self, step: Any) -> Any:
        """The formula of the class."""
        start = self.initial_learning_rate
        if self.warmup_target is None:
            return self._down(step, start)
        down = self._down(step - float(self.warmup_steps), self.warmup_target)
        if not self.warmup_steps:
            return down
        up = step * ((self.warmup_target - start) / self.warmup_steps) + start
        return where(step < float(self.warmup_steps), up, down)

    def _down(self, step: Any, highest: float) -> Any:
        part = minimum(step / self.decay_steps, 1.0)
        return (_half_cosine(part) * (1.0 - self.alpha) + self.alpha) * highest

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "alpha": self.alpha,
            "name": self.name,
            "warmup_target": self.warmup_target,
            "warmup_steps": self.warmup_steps,
        }


class CosineDecayRestarts(_Formula):
    """Half cosines, one after the other: each `t_mul` times as long as the last and `m_mul` times as high.

    Args:
        initial_learning_rate: of step 0.
        first_decay_steps: length of the first half cosine; > 0.
        t_mul: factor of the lengths, >= 1.
        m_mul: factor of the heights.
        alpha: the lowest rate as a share of the initial one.
        name: of the schedule.

    Source: Loshchilov and Hutter (2017).
    """

    def __init__(
        self, initial_learning_rate: float, first_decay_steps: float, t_mul: float = 2.0, m_mul: float = 1.0,
        alpha: float = 0.0, name: str = "SGDRDecay",
    ) -> None:  # fmt: skip
        super().__init__(name)
        self.initial_learning_rate = initial_learning_rate
        self.first_decay_steps = _steps(f"{name}: first_decay_steps", first_decay_steps)
        if not t_mul >= 1:
            raise ArgumentError(f"{name}: t_mul", expected="a number >= 1", received=repr(t_mul))
        self.t_mul, self.m_mul, self.alpha = t_mul, m_mul, alpha

    def formula(self, step: Any) -> Any:
        """The formula of the class."""
        periods = step / self.first_decay_steps
        if self.t_mul == 1:
            restarts = _floor(periods)
            part = periods - restarts
        else:
            # After n restarts (t^n - 1) / (t - 1) first lengths are over. Half a rounding error must not put a step
            # that is a restart before it.
            grown = periods * (self.t_mul - 1.0) + 1.0
            restarts = _floor(current_emitter().emit("log", grown) / math.log(self.t_mul) + 1e-9)
            length = binary("pow", float(self.t_mul), restarts)
            part = (periods - (length - 1.0) / (self.t_mul - 1.0)) / length
        height = binary("pow", float(self.m_mul), restarts)
        return (_half_cosine(part) * height * (1.0 - self.alpha) + self.alpha) * self.initial_learning_rate

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "first_decay_steps": self.first_decay_steps,
            "t_mul": self.t_mul,
            "m_mul": self.m_mul,
            "alpha": self.alpha,
            "name": self.name,
        }


class CosineAnnealing(CosineDecay):
    """`CosineDecay` that ends at the rate `minimum`.

    Args:
        initial_learning_rate: of step 0; > 0.
        decay_steps: length of the way down; > 0.
        minimum: the last rate.
        name: of the schedule.
    """

    def __init__(
        self, initial_learning_rate: float, decay_steps: float, minimum: float = 0.0, name: str = "CosineAnnealing"
    ) -> None:
        _steps(f"{name}: initial_learning_rate", initial_learning_rate)
        super().__init__(initial_learning_rate, decay_steps, minimum / initial_learning_rate, name)
        self.minimum = minimum

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"initial_learning_rate": self.initial_learning_rate, "decay_steps": self.decay_steps}
        return {**own, "minimum": self.minimum, "name": self.name}


class StepDecay(ExponentialDecay):
    """`ExponentialDecay` in steps: every `decay_steps` steps the rate is multiplied by `decay_rate`.

    >>> drop = StepDecay(1.0, decay_steps=10)
    >>> round(float(drop(9)), 4), round(float(drop(10)), 4)
    (1.0, 0.1)
    """

    def __init__(
        self, initial_learning_rate: float, decay_steps: float, decay_rate: float = 0.1, name: str = "StepDecay"
    ) -> None:
        super().__init__(initial_learning_rate, decay_steps, decay_rate, True, name)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        del config["staircase"]
        return config


class MultiStepDecay(PiecewiseConstantDecay):
    """At each milestone the rate is multiplied by `decay_rate`.

    Args:
        initial_learning_rate: of step 0.
        milestones: rising whole numbers: the steps that are the first with a new rate.
        decay_rate: factor.
        name: of the schedule.
    """

    def __init__(
        self, initial_learning_rate: float, milestones: Sequence[int], decay_rate: float = 0.1,
        name: str = "MultiStepDecay",
    ) -> None:  # fmt: skip
        rates = [initial_learning_rate * decay_rate**n for n in range(len(milestones) + 1)]
        super().__init__([milestone - 1 for milestone in milestones], rates, name)
        self.initial_learning_rate, self.milestones, self.decay_rate = initial_learning_rate, milestones, decay_rate

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "milestones": list(self.milestones),
            "decay_rate": self.decay_rate,
            "name": self.name,
        }


FAMILY = Family(
    "schedule",
    (
        CosineAnnealing, CosineDecay, CosineDecayRestarts, ExponentialDecay, InverseTimeDecay, MultiStepDecay,
        PiecewiseConstantDecay, PolynomialDecay, StepDecay,
    ),
    module="keras.optimizers.schedules",
)  # fmt: skip


def serialize(learning_rate_schedule: LearningRateSchedule) -> Any:
    """The schedule as Keras writes it into an optimizer's configuration."""
    return FAMILY.serialize(learning_rate_schedule)


def deserialize(config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The schedule that `serialize` described."""
    return FAMILY.deserialize(config, custom_objects)
