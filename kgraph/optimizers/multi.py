"""MultiOptimizer: several optimizers as one, each for variables of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, NoReturn

from kgraph.errors import ArgumentError, DTypeError
from kgraph.families import Family
from kgraph.optimizers.base import Optimizer
from kgraph.optimizers.rules import FAMILY as RULES
from kgraph.variable import Variable


class OptimizerMap(MutableMapping[str, Optimizer]):
    """Says which optimizer a variable has: by its path, or by a regular expression that the whole path matches.

    Args:
        default_optimizer: of variables that nothing names.
        optimizer_map: dict from paths and patterns to optimizers.

    >>> from kgraph.optimizers import SGD, Adam
    >>> chosen = OptimizerMap(SGD(), {"encoder/.*": Adam()})
    >>> type(chosen["encoder/dense/kernel"]).__name__, type(chosen["head/kernel"]).__name__
    ('Adam', 'SGD')
    """

    def __init__(self, default_optimizer: Optimizer, optimizer_map: Mapping[str, Optimizer] | None = None) -> None:
        self._default_optimizer = _single("OptimizerMap(default_optimizer)", default_optimizer)
        if optimizer_map is not None and not isinstance(optimizer_map, Mapping):
            raise DTypeError("OptimizerMap(optimizer_map)", expected="a dict from patterns to optimizers",
                             received=repr(optimizer_map))  # fmt: skip
        self._optimizers: dict[str, Optimizer] = {}
        for pattern, optimizer in (optimizer_map or {}).items():
            self[pattern] = optimizer

    @property
    def default_optimizer(self) -> Optimizer:
        """Of variables that nothing names."""
        return self._default_optimizer

    def __getitem__(self, path: str) -> Optimizer:
        """The optimizer for the variable of this path; ArgumentError if several patterns match it."""
        if path in self._optimizers:
            return self._optimizers[path]
        matching = [pattern for pattern in self._optimizers if re.fullmatch(pattern, path)]
        if len(matching) > 1:
            raise ArgumentError(f"OptimizerMap: variable '{path}'", expected="one pattern that matches its path",
                                received=", ".join(map(repr, matching)))  # fmt: skip
        return self._optimizers[matching[0]] if matching else self._default_optimizer

    def __setitem__(self, pattern: str, optimizer: Optimizer) -> None:
        if not isinstance(pattern, str):
            raise ArgumentError("OptimizerMap: pattern", expected="a str", received=repr(pattern))
        if pattern in self._optimizers:
            raise ArgumentError(f"OptimizerMap: '{pattern}' has an optimizer already", fix="Delete that first")
        try:
            re.compile(pattern)
        except re.error as error:
            raise ArgumentError("OptimizerMap: pattern", expected="a path or a regular expression",
                                received=f"{pattern!r} ({error})") from None  # fmt: skip
        self._optimizers[pattern] = _single(f"OptimizerMap['{pattern}']", optimizer)

    def __delitem__(self, pattern: str) -> None:
        del self._optimizers[pattern]

    def __len__(self) -> int:
        return len(self._optimizers)

    def __iter__(self) -> Iterator[str]:
        return iter(self._optimizers)

    def __call__(self, variable: Variable) -> Optimizer:
        """The optimizer for a variable."""
        return self[variable.path]

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal map."""
        return {
            "default_optimizer": RULES.serialize(self._default_optimizer),
            "optimizer_map": {pattern: RULES.serialize(optimizer) for pattern, optimizer in self._optimizers.items()},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> OptimizerMap:
        """The map that `get_config` described."""
        named = {pattern: RULES.deserialize(entry) for pattern, entry in config["optimizer_map"].items()}
        return cls(RULES.deserialize(config["default_optimizer"]), named)


MAPS = Family("optimizer map", (OptimizerMap,), module="keras.optimizers")


class MultiOptimizer(Optimizer):
    """Hands each variable to an optimizer of its own; each has its own learning rate, clipping, decay and averages.

    Args:
        optimizer_map: an `OptimizerMap`, or a function that gives the optimizer for a variable; it is asked once for
            each.
        loss_scale_factor: takes the place of those of the optimizers.
        name: of this optimizer.

    Attributes:
        optimizers: those that are known: of a map all, of a function those that it gave for variables.

    >>> from kgraph.optimizers import SGD, Adam
    >>> optimizer = MultiOptimizer(OptimizerMap(Adam(0.001), {"head/.*": SGD(0.1)}))
    >>> [type(each).__name__ for each in optimizer.optimizers]
    ['SGD', 'Adam']
    """

    def __init__(
        self, optimizer_map: Callable[[Variable], Optimizer], loss_scale_factor: float | None = None,
        name: str | None = None,
    ) -> None:  # fmt: skip
        if not callable(optimizer_map):
            raise DTypeError("MultiOptimizer", expected="an OptimizerMap, or a function of a variable",
                             received=repr(optimizer_map))  # fmt: skip
        super().__init__(0.0, loss_scale_factor=loss_scale_factor, name=name)
        self._map = optimizer_map
        self._of: dict[Variable, Optimizer] = {}
        self.optimizers: list[Optimizer] = []
        if isinstance(optimizer_map, OptimizerMap):
            for optimizer in (*optimizer_map.values(), optimizer_map.default_optimizer):
                self._take(optimizer)

    def _take(self, optimizer: Optimizer) -> None:
        if not any(optimizer is known for known in self.optimizers):
            optimizer.loss_scale_factor = self.loss_scale_factor
            self.optimizers.append(optimizer)

    def _shares(self, variables: Sequence[Variable]) -> list[tuple[Optimizer, list[int]]]:
        """Each optimizer with the places of its variables."""
        for variable in variables:
            if variable not in self._of:
                self._of[variable] = _single(f"MultiOptimizer: optimizer of '{variable.path}'", self._map(variable))
                self._take(self._of[variable])
        found = [(own, [n for n, v in enumerate(variables) if self._of[v] is own]) for own in self.optimizers]
        return [(own, places) for own, places in found if places]

    @property
    def variables(self) -> list[Variable]:
        """This optimizer's own variables, then those of the others."""
        return [*super().variables, *(variable for own in self.optimizers for variable in own.variables)]

    @property
    def learning_rate(self) -> Any:
        """Nothing: each optimizer has its own."""
        self._refuse()

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self._refuse()

    @property
    def schedule(self) -> Any:
        """The schedules of the optimizers."""
        return tuple(own.schedule for own in self.optimizers)

    def rate_owners(self) -> dict[str, Optimizer]:
        """All optimizers, by names such as "learning_rate_adam"."""
        return {f"learning_rate_{own.name}": own for own in self.optimizers}

    def _refuse(self) -> NoReturn:
        raise AttributeError(f"optimizer '{self.name}': each of .optimizers has a learning rate of its own; use theirs")

    def build(self, variables: Sequence[Variable]) -> None:
        """Build all optimizers, each for its variables."""
        super().build(variables)
        for own, places in self._shares(variables):
            own.build([variables[n] for n in places])

    def make_step(self, gradients: list[Any], variables: list[Variable]) -> None:
        """A step of each optimizer that has a variable among these."""
        for own, places in self._shares(variables):
            own.apply([gradients[n] for n in places], [variables[n] for n in places])
        self.assign_add(self._iterations, 1)

    def finalize_variable_values(self, var_list: Sequence[Variable]) -> None:
        """As each optimizer does."""
        for own, places in self._shares(var_list):
            own.finalize_variable_values([var_list[n] for n in places])

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal optimizer."""
        return {
            "optimizer_map": MAPS.serialize(self._map),
            "loss_scale_factor": self.loss_scale_factor,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Optimizer:
        """The optimizer that `get_config` described; a function must be registered."""
        return cls(**{**config, "optimizer_map": MAPS.get(config["optimizer_map"])})


def _single(what: str, optimizer: Any) -> Optimizer:
    """`optimizer` if it is one that updates variables itself; DTypeError otherwise."""
    if not isinstance(optimizer, Optimizer) or [*optimizer.rate_owners().values()] != [optimizer]:
        raise DTypeError(what, expected="an Optimizer that wraps no other", received=repr(optimizer))
    return optimizer
