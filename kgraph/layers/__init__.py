"""The layers of `keras.layers`."""

from kgraph.layers.activation import ELU, LeakyReLU, ReLU, Softmax
from kgraph.layers.base import Layer
from kgraph.layers.core import Activation, Dense
from kgraph.layers.input import Input, InputLayer
from kgraph.layers.merging import Add, Concatenate, add, concatenate
from kgraph.layers.regularization import Dropout
from kgraph.layers.reshaping import Flatten, Reshape

__all__ = [
    "ELU",
    "Activation",
    "Add",
    "Concatenate",
    "Dense",
    "Dropout",
    "Flatten",
    "Input",
    "InputLayer",
    "Layer",
    "LeakyReLU",
    "ReLU",
    "Reshape",
    "Softmax",
    "add",
    "concatenate",
]
