"""A further training of a model's weights, with a loss, an optimizer and metrics of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kgraph.errors import ArgumentError
from kgraph.models.generator_methods import GeneratorMethods
from kgraph.variable import Variable


class TrainingProgram(GeneratorMethods):
    """What `Model.program` gives. It has all methods of the model; those for training use what it was made with.

    Steps that the model itself defines (`train_step` and the like) belong to the model's own `compile`, not to this.

    Args:
        model: whose weights it trains.
        variables: those that it changes; all trainable ones if None.
        options: as `compile` takes them.
    """

    def __init__(self, model: Any, variables: Sequence[Variable] | None, **options: Any) -> None:
        self._base = model
        self._chosen = None if variables is None else list(variables)
        known = {id(variable) for variable in model.weights} if model.built else None
        for variable in self._chosen or []:
            if known is not None and id(variable) not in known:
                raise ArgumentError(f"{model.label}.program(variables)", expected="weights of the model",
                                    received=getattr(variable, "path", repr(variable)))  # fmt: skip
        self.compile(**options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_base"], name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._base(*args, **kwargs)

    @property
    def trainable_variables(self) -> list[Variable]:
        """What a step of this program changes."""
        return self._base.trainable_variables if self._chosen is None else self._chosen

    @property
    def trainable_weights(self) -> list[Variable]:
        """The same."""
        return self.trainable_variables
