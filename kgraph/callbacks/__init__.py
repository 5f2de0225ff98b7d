"""Callbacks: hooks of the training loop, under the names of `keras.callbacks`.

`CosineAnnealing`, `StepDecay` and `MultiStepDecay` are the optimizers' schedules: in a list of callbacks they count
epochs, as `learning_rate=` of an optimizer they count steps.
"""

from typing import TYPE_CHECKING

from kgraph.lazy_names import lazily

if TYPE_CHECKING:
    from kgraph.callbacks.averages import SwapEMAWeights
    from kgraph.callbacks.backup import BackupAndRestore
    from kgraph.callbacks.callback import Callback, Logs
    from kgraph.callbacks.callback_list import CallbackList
    from kgraph.callbacks.checkpoints import ModelCheckpoint
    from kgraph.callbacks.functions import LambdaCallback
    from kgraph.callbacks.history import History
    from kgraph.callbacks.learning_rate import LearningRateScheduler, ReduceLROnPlateau
    from kgraph.callbacks.progress_bar import ProgbarLogger
    from kgraph.callbacks.records import BaseLogger, CSVLogger, RemoteMonitor
    from kgraph.callbacks.stopping import EarlyStopping, TerminateOnNaN
    from kgraph.callbacks.tensorboard import TensorBoard
    from kgraph.optimizers.schedules import CosineAnnealing, MultiStepDecay, StepDecay

__all__ = [
    "BackupAndRestore",
    "BaseLogger",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "CosineAnnealing",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "Logs",
    "ModelCheckpoint",
    "MultiStepDecay",
    "ProgbarLogger",
    "ReduceLROnPlateau",
    "RemoteMonitor",
    "StepDecay",
    "SwapEMAWeights",
    "TensorBoard",
    "TerminateOnNaN",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "kgraph.callbacks.averages": "SwapEMAWeights",
        "kgraph.callbacks.backup": "BackupAndRestore",
        "kgraph.callbacks.callback": "Callback Logs",
        "kgraph.callbacks.callback_list": "CallbackList",
        "kgraph.callbacks.checkpoints": "ModelCheckpoint",
        "kgraph.callbacks.functions": "LambdaCallback",
        "kgraph.callbacks.history": "History",
        "kgraph.callbacks.learning_rate": "LearningRateScheduler ReduceLROnPlateau",
        "kgraph.callbacks.progress_bar": "ProgbarLogger",
        "kgraph.callbacks.records": "BaseLogger CSVLogger RemoteMonitor",
        "kgraph.callbacks.stopping": "EarlyStopping TerminateOnNaN",
        "kgraph.callbacks.tensorboard": "TensorBoard",
        "kgraph.optimizers.schedules": "CosineAnnealing MultiStepDecay StepDecay",
    },
)
