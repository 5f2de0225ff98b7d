"""kgraph: Keras-style models, compiled."""

import kgraph.activations as activations
import kgraph.callbacks as callbacks
import kgraph.datasets as datasets
import kgraph.initializers as initializers
import kgraph.layers as layers
import kgraph.losses as losses
import kgraph.metrics as metrics
import kgraph.models as models
import kgraph.optimizers as optimizers
import kgraph.utils as utils
from kgraph.execution import execution
from kgraph.layers import Input, Layer
from kgraph.models import Model, Sequential
from kgraph.variable import Variable
from kgraph.vjp import vjp

__all__ = [
    "Input",
    "Layer",
    "Model",
    "Sequential",
    "Variable",
    "activations",
    "callbacks",
    "datasets",
    "execution",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "utils",
    "vjp",
]
