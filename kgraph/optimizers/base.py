"""Optimizer: learning rate, slots, clipping, weight decay, averages and accumulation around one rule of update."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from inspect import signature
from typing import Any

import numpy as np
import numpy.typing as npt

from kgraph.config import floatx
from kgraph.data import warn_user
from kgraph.eager import run_on_arrays
from kgraph.errors import ArgumentError, DTypeError, StateError
from kgraph.initializers import get as get_initializer
from kgraph.ir.dtypes import DType, f32, f64, i64
from kgraph.ir.location import layer_scope
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import cast
from kgraph.keras_tensor import active_trace
from kgraph.lookup import did_you_mean
from kgraph.naming import auto_name, snake_case
from kgraph.optimizers.arguments import at_least_0, checked_rate, count, share
from kgraph.optimizers.clipping import by_global_norm, by_norm, by_value, check_limits
from kgraph.optimizers.schedules import FAMILY as SCHEDULES
from kgraph.optimizers.schedules import LearningRateSchedule
from kgraph.primitives.composites import equal, where, zeros_like
from kgraph.trace import current_trace
from kgraph.variable import Variable


class Optimizer:
    """Base of optimizers. A subclass writes `update_step`, with tensors; one that needs slots makes them in `build`.

    Args:
        learning_rate: >= 0, or a `schedules.LearningRateSchedule`. A number can be changed at any time through the
            attribute of that name, without compiling again.
        weight_decay: at each step variables shrink by this share, times the learning rate; None for not at all.
        clipnorm: largest Euclidean norm of each gradient.
        clipvalue: largest magnitude of each element of a gradient.
        global_clipnorm: largest Euclidean norm of all gradients together. At most one of the three is given.
        use_ema: keep moving averages of the variables; `fit` puts them in the variables' place when it ends.
        ema_momentum: share of the old average that stays, in [0, 1].
        ema_overwrite_frequency: put the averages in the variables' place every so many steps.
        loss_scale_factor: factor of the loss before gradients are taken, which are divided by it again.
        gradient_accumulation_steps: >= 2: update only every so many steps, with the mean of the gradients.
        name: first part of the variables' paths; made of the class name if None.
        lr: old spelling of `learning_rate`.
        decay: old Keras' decay: the learning rate is divided by ``1 + decay * step``.

    A rule of one's own, with Keras' names for its parts:

    >>> class Momentum(Optimizer):
    ...     def build(self, variables):
    ...         super().build(variables)
    ...         self.add_optimizer_variables(variables, "momentum")
    ...
    ...     def update_step(self, gradient, variable, learning_rate):
    ...         momentum = self.slot(variable, "momentum")
    ...         self.assign(momentum, momentum * 0.9 + gradient)
    ...         self.assign_sub(variable, learning_rate * momentum)
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        *,
        lr: Any = None,
        decay: float | None = None,
        **unknown: Any,
    ) -> None:
        label = type(self).__name__
        if unknown:
            wrong = next(iter(unknown))
            known = [*signature(type(self).__init__).parameters, *signature(Optimizer.__init__).parameters]
            fix = did_you_mean(wrong, [name for name in known if name not in ("self", "options", "unknown")])
            raise ArgumentError(f"{label}: unknown argument {wrong!r}", fix=fix)
        self.name = name or auto_name(snake_case(label))
        self._iterations = Variable(np.int64(0), "iteration", trainable=False, path=f"{self.name}/iteration")
        self._rate: Variable | LearningRateSchedule = self._rate_from(learning_rate if lr is None else lr)
        self.decay = at_least_0(f"{label}: decay", decay or 0.0)
        self.weight_decay = None if weight_decay is None else at_least_0(f"{label}: weight_decay", weight_decay)
        check_limits(label, clipnorm=clipnorm, clipvalue=clipvalue, global_clipnorm=global_clipnorm)
        self.clipnorm, self.clipvalue, self.global_clipnorm = clipnorm, clipvalue, global_clipnorm
        self.use_ema = bool(use_ema)
        self.ema_momentum = share(f"{label}: ema_momentum", ema_momentum)
        self.ema_overwrite_frequency = count(f"{label}: ema_overwrite_frequency", ema_overwrite_frequency, 1)
        self.loss_scale_factor = loss_scale_factor
        self.gradient_accumulation_steps = count(
            f"{label}: gradient_accumulation_steps", gradient_accumulation_steps, 2
        )
        self._not_decayed: tuple[set[Variable], list[str]] = (set(), [])
        self._known: list[Variable] = []
        self._slots: dict[tuple[Variable, str], Variable] = {}
        self._made: list[Variable] = []
        self.built = False

    # --- learning rate and step ---------------------------------------------------------------------------------------

    @property
    def learning_rate(self) -> Any:
        """The learning rate; setting it copies a number into it. Of a schedule: the value for the next step."""
        if isinstance(self._rate, Variable):
            return self._rate
        return self._scheduled(self._rate)

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if isinstance(value, LearningRateSchedule):
            self._rate = value
        elif isinstance(self._rate, LearningRateSchedule):
            raise DTypeError("learning_rate: the optimizer was made with a schedule", expected="another schedule",
                             received=repr(value), fix="Make it with a number to set numbers")  # fmt: skip
        else:
            self._rate.assign(checked_rate(value.numpy() if isinstance(value, Variable) else value))

    @property
    def lr(self) -> Any:
        """Old spelling of `learning_rate`."""
        return self.learning_rate

    @lr.setter
    def lr(self, value: Any) -> None:
        self.learning_rate = value

    @property
    def schedule(self) -> LearningRateSchedule | None:
        """The schedule of the learning rate; None if it is a number."""
        return self._rate if isinstance(self._rate, LearningRateSchedule) else None

    def rate_owners(self) -> dict[str, Optimizer]:
        """The optimizers that update variables, by the names that their learning rates have in logs."""
        return {"learning_rate": self}

    @property
    def iterations(self) -> Any:
        """How many updates were made; steps that only accumulate gradients do not count."""
        every = self.gradient_accumulation_steps
        if every is None:
            return self._iterations
        if active_trace() is None:
            return int(self._iterations) // every
        return cast(current_emitter().emit("floor", cast(self._iterations, f64) / every), i64)

    def step_number(self, variable: Variable) -> Any:
        """The number of the running update, from 1, in the element type of `variable`."""
        return cast(self.iterations + 1, variable.ir_dtype)

    def _rate_from(self, value: Any) -> Variable | LearningRateSchedule:
        if isinstance(value, LearningRateSchedule):
            return value
        path = f"{self.name}/learning_rate"
        return Variable(np.float32(checked_rate(value)), "learning_rate", trainable=False, path=path)

    def _scheduled(self, schedule: LearningRateSchedule) -> Any:
        trace = active_trace()
        if trace is None:
            return run_on_arrays(self.name, lambda step: cast(schedule(step), f32), self._iterations.array)
        return cast(trace.lift(schedule(trace.read(self._iterations))), f32)

    def _rate_now(self, dtype: DType) -> Any:
        rate = current_trace().lift(self.learning_rate)
        if self.decay:
            rate = rate / (cast(self._iterations, f32) * self.decay + 1.0)
        return cast(rate, dtype)

    # --- variables ----------------------------------------------------------------------------------------------------

    @property
    def variables(self) -> list[Variable]:
        """Step counter, learning rate (unless it is a schedule), then the slots, in Keras' order."""
        rate = [self._rate] if isinstance(self._rate, Variable) else []
        return [self._iterations, *rate, *self._made]

    def build(self, variables: Sequence[Variable]) -> None:
        """Get ready to update `variables`; a subclass makes its slots here, after ``super().build(variables)``."""
        self._known = list(variables)
        if self.use_ema:
            self.add_optimizer_variables(variables, "average")
        if self.gradient_accumulation_steps:
            self.add_optimizer_variables(variables, "gradient_accumulator")
        self.built = True

    def add_variable(
        self, shape: Sequence[int], initializer: Any = "zeros", dtype: Any = None, name: str | None = None
    ) -> Variable:
        """A new variable of the optimizer."""
        value = get_initializer(initializer)(tuple(shape), dtype=dtype or floatx())
        name = name or "variable"
        made = Variable(value, name, trainable=False, path=f"{self.name}/{name}")
        self._made.append(made)
        return made

    def add_variable_from_reference(
        self, reference_variable: Variable, name: str | None = None, initializer: Any = "zeros"
    ) -> Variable:
        """The slot `name` of a variable, of its type and shape; made at the first call."""
        key = (reference_variable, name or "var")
        if key not in self._slots:
            path = f"{reference_variable.path.replace('/', '_')}_{key[1]}"
            shape, dtype = reference_variable.shape, reference_variable.dtype
            self._slots[key] = self.add_variable(shape, initializer, dtype, path)
        return self._slots[key]

    def add_optimizer_variables(
        self, trainable_variables: Sequence[Variable], name: str | Sequence[str], initializer: Any = "zeros"
    ) -> Any:
        """A slot for each variable, as a list; for several names, made variable by variable, a tuple of lists."""
        names = [name] if isinstance(name, str) else list(name)
        makers = initializer if isinstance(initializer, (list, tuple)) else [initializer] * len(names)
        rows = [
            [self.add_variable_from_reference(variable, *pair) for pair in zip(names, makers, strict=True)]
            for variable in trainable_variables
        ]
        lists = tuple([row[n] for row in rows] for n in range(len(names)))
        return lists[0] if isinstance(name, str) else lists

    def slot(self, variable: Variable, name: str) -> Variable:
        """The slot `name` of `variable`."""
        return self._slots[variable, name]

    def _get_variable_index(self, variable: Variable) -> int:
        """The place of a variable in the lists that `add_optimizer_variables` gives; Keras' name for it."""
        return self._known.index(variable)

    def _build_for(self, variables: Sequence[Variable]) -> None:
        """Build for new variables: all at first, later those that are trained only since then."""
        fresh = [variable for variable in variables if variable not in self._known]
        if fresh or not self.built:
            self.build([*self._known, *fresh])

    # --- one step -----------------------------------------------------------------------------------------------------

    def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
        """Assign a new value to one variable, and to its slots.

        Args:
            gradient: tensor.
            variable: its value stands for it in arithmetic; `assign`, `assign_add` and `assign_sub` change it.
            learning_rate: tensor of rank 0 and the element type of the variable.
        """
        raise NotImplementedError(f"{type(self).__name__}.update_step")

    def begin_update(self) -> None:
        """Called once before the `update_step` of all variables; for variables that these share."""

    def assign(self, variable: Variable, value: Any) -> None:
        """Give a variable a new value in the program being traced."""
        variable.assign(value)

    def assign_add(self, variable: Variable, value: Any) -> None:
        """Add to a variable."""
        self.assign(variable, variable + value)

    def assign_sub(self, variable: Variable, value: Any) -> None:
        """Subtract from a variable."""
        self.assign(variable, variable - value)

    def scale_loss(self, loss: Any) -> Any:
        """What gradients are taken of."""
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Variable]]) -> None:
        """`apply` for (gradient, variable) pairs."""
        gradients, variables = zip(*grads_and_vars, strict=True)
        self.apply(list(gradients), list(variables))

    def apply(self, gradients: Sequence[Any], trainable_variables: Sequence[Variable] | None = None) -> None:
        """Make one step: in the program being traced, or at once with gradients that are arrays.

        Args:
            gradients: one for each variable; None for variables that the loss does not depend on.
            trainable_variables: None for those of the last step.
        """
        variables = list(self._known if trainable_variables is None else trainable_variables)
        if not gradients and not variables:
            warn_user(f"optimizer '{self.name}'.apply: there is nothing to train: no trainable variables")
            return
        if len(gradients) != len(variables):
            raise ArgumentError(f"optimizer '{self.name}'.apply", expected=f"{len(variables)} gradients",
                                received=str(len(gradients)))  # fmt: skip
        if active_trace() is None:
            run_on_arrays(self.name, lambda *values: self.apply(values, variables), *gradients)
            return
        given = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
        for gradient, variable in given:
            self._check_pair(gradient, variable)
        pairs = [(cast(g, v.ir_dtype), v) for g, v in given]
        if not pairs:
            raise ArgumentError(f"optimizer '{self.name}'.apply", expected="a gradient", received="none")
        self._build_for(variables)
        with layer_scope(self.name):
            self.make_step([g for g, _ in pairs], [v for _, v in pairs])

    def _check_pair(self, gradient: Any, variable: Any) -> None:
        what = f"optimizer '{self.name}'.apply"
        if not isinstance(variable, Variable):
            raise ArgumentError(what, expected="variables", received=f"{variable!r:.60}",
                                fix="Pairs are (gradient, variable)")  # fmt: skip
        shape = current_trace().type_of(gradient).shape
        if shape != variable.shape:
            raise ArgumentError(f"{what}: gradient of '{variable.path}'", expected=f"shape {variable.shape}",
                                received=f"{shape}", fix="Give gradients in the order of the variables")  # fmt: skip

    def make_step(self, gradients: list[Any], variables: list[Variable]) -> None:
        """Add one step to the program being traced: update, averages, constraints, and the counter."""
        if self.loss_scale_factor is not None:
            gradients = [gradient / self.loss_scale_factor for gradient in gradients]
        if self.gradient_accumulation_steps:
            self._accumulate(gradients, variables, self.gradient_accumulation_steps)
        else:
            self._update(gradients, variables)
        if self.use_ema:
            self._average(variables)
        for variable in variables:
            if variable.constraint is not None:
                self.assign(variable, variable.constraint(current_trace().read(variable)))
        self.assign_add(self._iterations, 1)

    def _update(self, gradients: list[Any], variables: list[Variable]) -> None:
        gradients = self._clipped(gradients)
        rates = {dtype: self._rate_now(dtype) for dtype in dict.fromkeys(v.ir_dtype for v in variables)}
        for variable in variables:
            decay = self.weight_decay_of(variable)
            if decay is not None:
                self.assign_sub(variable, variable * decay * rates[variable.ir_dtype])
        self.begin_update()
        for gradient, variable in zip(gradients, variables, strict=True):
            self.update_step(gradient, variable, rates[variable.ir_dtype])

    def _clipped(self, gradients: list[Any]) -> list[Any]:
        if self.clipvalue is not None:
            return by_value(gradients, self.clipvalue)
        if self.clipnorm is not None:
            return by_norm(gradients, self.clipnorm)
        return gradients if self.global_clipnorm is None else by_global_norm(gradients, self.global_clipnorm)

    def _accumulate(self, gradients: list[Any], variables: list[Variable], steps: int) -> None:
        """Add to the sums; every `steps` steps update with their means and start again."""
        due = self._is_multiple(cast(self._iterations, f64) + 1.0, steps)
        sums = [self.slot(v, "gradient_accumulator") for v in variables]
        totals = [total + gradient for total, gradient in zip(sums, gradients, strict=True)]
        current_trace().only_if(due, lambda: self._update([total / steps for total in totals], variables))
        for slot, total in zip(sums, totals, strict=True):
            self.assign(slot, where(due, zeros_like(total), total))

    def _average(self, variables: list[Variable]) -> None:
        """Move the averages; they start with the first values, not with 0."""
        for variable in variables:
            average = self.slot(variable, "average")
            kept = cast(where(self.iterations > 0, self.ema_momentum, 0.0), variable.ir_dtype)
            self.assign(average, average * kept + variable * (1.0 - kept))
        if self.ema_overwrite_frequency:
            due = self._is_multiple(cast(self.iterations, f64) + 1.0, self.ema_overwrite_frequency)
            for variable in variables:
                self.assign(variable, where(due, self.slot(variable, "average"), variable))

    @staticmethod
    def _is_multiple(count: Any, of: int) -> Any:
        return equal(current_emitter().emit("floor", count / of) * of, count)

    def finalize_variable_values(self, var_list: Sequence[Variable]) -> None:
        """At the end of training: put moving averages, if there are any, in the variables' place."""
        if self.use_ema and self.built:
            for variable in var_list:
                variable.assign(self.slot(variable, "average").array)

    def averages(self) -> dict[Variable, Variable]:
        """The moving average of each variable; none before the first step, or without `use_ema`."""
        return {v: self.slot(v, "average") for v in self._known} if self.use_ema and self.built else {}

    # --- weight decay -------------------------------------------------------------------------------------------------

    def exclude_from_weight_decay(
        self, var_list: Sequence[Variable] | None = None, var_names: Sequence[str] | None = None
    ) -> None:
        """Leave variables out of weight decay; to be called before training.

        Args:
            var_list: these.
            var_names: and those whose name matches one of these patterns, such as "bias".
        """
        if self.built:
            raise StateError(f"optimizer '{self.name}'.exclude_from_weight_decay", expected="a call before training")
        self._not_decayed = (set(var_list or []), list(var_names or []))

    def is_decayed(self, variable: Variable) -> bool:
        """Whether weight decay has to do with a variable at all."""
        variables, names = self._not_decayed
        return variable not in variables and not any(re.search(name, variable.name) for name in names)

    def weight_decay_of(self, variable: Variable) -> float | None:
        """The weight decay of one variable; None for none."""
        return self.weight_decay if self.is_decayed(variable) else None

    # --- state and configuration --------------------------------------------------------------------------------------

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
        rate = float(self._rate.array) if isinstance(self._rate, Variable) else SCHEDULES.serialize(self._rate)
        config = {
            "name": self.name,
            "learning_rate": rate,
            "weight_decay": self.weight_decay,
            "clipnorm": self.clipnorm,
            "global_clipnorm": self.global_clipnorm,
            "clipvalue": self.clipvalue,
            "use_ema": self.use_ema,
            "ema_momentum": self.ema_momentum,
            "ema_overwrite_frequency": self.ema_overwrite_frequency,
            "loss_scale_factor": self.loss_scale_factor,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
        }
        return {**config, "decay": self.decay} if self.decay else config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Optimizer:
        """The optimizer that `get_config` described."""
        config = dict(config)
        if isinstance(config.get("learning_rate"), dict):
            config["learning_rate"] = SCHEDULES.deserialize(config["learning_rate"])
        return cls(**config)
