"""The optimizers that are a rule of update by themselves, by name."""

from __future__ import annotations

from kgraph.families import Family
from kgraph.optimizers.adafactor import Adafactor
from kgraph.optimizers.adagrad import Adadelta, Adagrad
from kgraph.optimizers.adam import Adam, Adamax, AdamW, Lamb, Nadam
from kgraph.optimizers.base import Optimizer
from kgraph.optimizers.ftrl import Ftrl
from kgraph.optimizers.lion import Lion
from kgraph.optimizers.muon import Muon
from kgraph.optimizers.rmsprop import RMSprop
from kgraph.optimizers.schedule_free import ScheduleFreeAdamW
from kgraph.optimizers.sgd import SGD

CLASSES: tuple[type[Optimizer], ...] = (
    Adadelta, Adafactor, Adagrad, Adam, AdamW, Adamax, Ftrl, Lamb, Lion, Muon, Nadam, RMSprop, SGD, ScheduleFreeAdamW,
)  # fmt: skip

FAMILY = Family("optimizer", CLASSES)
