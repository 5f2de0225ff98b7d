"""The models of `keras.models`."""

from kgraph.layers.input import Input
from kgraph.models.cloning import clone_model
from kgraph.models.model import Model
from kgraph.models.reading import model_from_config, model_from_json
from kgraph.models.sequential import Sequential

__all__ = ["Input", "Model", "Sequential", "clone_model", "model_from_config", "model_from_json"]
