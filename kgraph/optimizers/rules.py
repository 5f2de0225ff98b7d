"""The optimizers that are a rule of update by themselves, by name."""

from __future__ import annotations

from kgraph.families import Family

CLASSES = (
    "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Ftrl", "Lamb", "Lion", "Muon", "Nadam", "RMSprop",
    "SGD", "ScheduleFreeAdamW",
)  # fmt: skip

FAMILY = Family("optimizer", CLASSES, package="kgraph.optimizers")
