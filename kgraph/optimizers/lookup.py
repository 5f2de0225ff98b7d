"""Which optimizer is meant by a name, a class or a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kgraph.errors import ArgumentError, DTypeError
from kgraph.families import Family
from kgraph.lookup import did_you_mean
from kgraph.optimizers.base import Optimizer
from kgraph.optimizers.rules import CLASSES as RULES

CLASSES = (*RULES, "LossScaleOptimizer", "MultiOptimizer")
FAMILY = Family("optimizer", CLASSES, {name.lower(): name for name in CLASSES}, package="kgraph.optimizers")


def get(identifier: Any) -> Optimizer:
    """The optimizer that a name (in any case), class, configuration or instance means.

    >>> type(get("Adam")).__name__
    'Adam'
    """
    if isinstance(identifier, str):
        name = identifier.lower()
        if name not in FAMILY.by_name:
            known = [cls.lower() for cls in CLASSES]
            raise ArgumentError(f"compile(optimizer={identifier!r}): unknown", fix=did_you_mean(name, known))
        identifier = FAMILY.by_name[name]
    if isinstance(identifier, dict):
        identifier = deserialize(identifier)
    if isinstance(identifier, type) and issubclass(identifier, Optimizer):
        identifier = identifier()
    if not isinstance(identifier, Optimizer):
        raise DTypeError("optimizer", expected="a name or an Optimizer", received=repr(identifier))
    return identifier


def serialize(optimizer: Optimizer) -> Any:
    """The optimizer as Keras writes it into a model's configuration."""
    return FAMILY.serialize(optimizer)


def deserialize(config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Optimizer:
    """The optimizer that `serialize` described."""
    made: Optimizer = FAMILY.deserialize(config, custom_objects)
    return made
