"""Optimizers: update rules that become part of the training program; formulas, slots and their order as in Keras."""

from typing import TYPE_CHECKING

from kgraph.lazy_names import lazily

if TYPE_CHECKING:
    import kgraph.optimizers.schedules as schedules
    from kgraph.optimizers.adafactor import Adafactor
    from kgraph.optimizers.adagrad import Adadelta, Adagrad
    from kgraph.optimizers.adam import Adam, Adamax, AdamW, Lamb, Nadam
    from kgraph.optimizers.base import Optimizer
    from kgraph.optimizers.ftrl import Ftrl
    from kgraph.optimizers.lion import Lion
    from kgraph.optimizers.lookup import deserialize, get, serialize
    from kgraph.optimizers.loss_scale import LossScaleOptimizer
    from kgraph.optimizers.multi import MultiOptimizer, OptimizerMap
    from kgraph.optimizers.muon import Muon
    from kgraph.optimizers.rmsprop import RMSprop
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

__getattr__, __dir__ = lazily(
    __name__,
    {
        "kgraph.optimizers.adafactor": "Adafactor",
        "kgraph.optimizers.adagrad": "Adadelta Adagrad",
        "kgraph.optimizers.adam": "Adam Adamax AdamW Lamb Nadam",
        "kgraph.optimizers.base": "Optimizer",
        "kgraph.optimizers.ftrl": "Ftrl",
        "kgraph.optimizers.lion": "Lion",
        "kgraph.optimizers.lookup": "deserialize get serialize",
        "kgraph.optimizers.loss_scale": "LossScaleOptimizer",
        "kgraph.optimizers.multi": "MultiOptimizer OptimizerMap",
        "kgraph.optimizers.muon": "Muon",
        "kgraph.optimizers.rmsprop": "RMSprop",
        "kgraph.optimizers.schedule_free": "ScheduleFreeAdamW",
        "kgraph.optimizers.sgd": "SGD",
    },
    modules=("schedules",),
)
