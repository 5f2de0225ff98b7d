"""Models from plain data and JSON text, as Keras writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kgraph.errors import ArgumentError
from kgraph.models.model import Model
from kgraph.serialization import deserialize_keras_object


def model_from_config(config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Model:
    """The model that a configuration describes, with new weights; code in it is never run.

    Args:
        config: a dict with "class_name" and "config", as `to_json` writes it.
        custom_objects: the user's own classes and functions by name; for a `Lambda` layer, its function by the name of
            the layer.

    Raises:
        ArgumentError: no model, a class that is not known, or arguments that it does not take.
        GraphError: the layers' calls form a cycle, or there is code instead of a name.
    """
    if not isinstance(config, dict) or "class_name" not in config:
        received = f"{config!r:.60}"
        raise ArgumentError("model configuration", expected="a dict with class_name and config", received=received)
    made = deserialize_keras_object(config, custom_objects)
    if not isinstance(made, Model):
        raise ArgumentError("model configuration", expected="a model", received=repr(made)[:60])
    return made


def model_from_json(json_string: str, custom_objects: Mapping[str, Any] | None = None) -> Model:
    """The model that JSON text describes; see `model_from_config`.

    >>> from kgraph.layers import Dense
    >>> from kgraph.models import Sequential
    >>> text = Sequential([Dense(2, input_shape=(3,))], name="small").to_json()
    >>> model_from_json(text).name
    'small'
    """
    try:
        config = json.loads(json_string)
    except (ValueError, TypeError) as error:
        raise ArgumentError("model_from_json", expected="JSON text", received=f"{error}") from None
    return model_from_config(config, custom_objects)
