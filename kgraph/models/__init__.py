"""The models of `keras.models`."""

from kgraph.layers.input import Input
from kgraph.models.model import Model
from kgraph.models.sequential import Sequential

__all__ = ["Input", "Model", "Sequential"]
