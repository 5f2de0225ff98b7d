"""Optimizers: update rules that become part of the training program; formulas, slots and their order as in Keras."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import kgraph.optimizers.schedules as schedules
from kgraph.errors import ArgumentError, DTypeError
from kgraph.families import Family
from kgraph.lookup import did_you_mean
from kgraph.optimizers.adafactor import Adafactor
from kgraph.optimizers.adagrad import Adadelta, Adagrad
from kgraph.optimizers.adam import Adam, Adamax, AdamW, Lamb, Nadam
from kgraph.optimizers.base import Optimizer
from kgraph.optimizers.ftrl import Ftrl
from kgraph.optimizers.lion import Lion
from kgraph.optimizers.loss_scale import LossScaleOptimizer
from kgraph.optimizers.multi import MultiOptimizer, OptimizerMap
from kgraph.optimizers.muon import Muon
from kgraph.optimizers.rmsprop import RMSprop
from kgraph.optimizers.rules import CLASSES as RULES
from kgraph.optimizers.schedule_free import ScheduleFreeAdamW
from kgraph.optimizers.sgd import SGD

__all__ = [
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lamb",
    "Lion",
    "LossScaleOptimizer",
    "MultiOptimizer",
    "Muon",
    "Nadam",
    "Optimizer",
    "OptimizerMap",
    "RMSprop",
    "ScheduleFreeAdamW",
    "deserialize",
    "get",
    "schedules",
    "serialize",
]

CLASSES = (*RULES, LossScaleOptimizer, MultiOptimizer)
FAMILY = Family("optimizer", CLASSES, {cls.__name__.lower(): cls for cls in CLASSES})


def get(identifier: Any) -> Optimizer:
    """The optimizer that a name (in any case), class, configuration or instance means.

    >>> type(get("Adam")).__name__
    'Adam'
    """
    if isinstance(identifier, str):
        name = identifier.lower()
        if name not in FAMILY.by_name:
            known = [cls.__name__.lower() for cls in CLASSES]
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
