"""Callbacks: hooks of the training loop, under the names of `keras.callbacks`.

`CosineAnnealing`, `StepDecay` and `MultiStepDecay` are the optimizers' schedules: in a list of callbacks they count
epochs, as `learning_rate=` of an optimizer they count steps.
"""

from kgraph.callbacks.averages import SwapEMAWeights
from kgraph.callbacks.backup import BackupAndRestore
from kgraph.callbacks.callback import Callback, Logs
from kgraph.callbacks.callback_list import CallbackList
from kgraph.callbacks.checkpoints import ModelCheckpoint
from kgraph.callbacks.functions import LambdaCallback
from kgraph.callbacks.learning_rate import LearningRateScheduler, ReduceLROnPlateau
from kgraph.callbacks.progress_bar import ProgbarLogger
from kgraph.callbacks.records import BaseLogger, CSVLogger, History, RemoteMonitor
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
