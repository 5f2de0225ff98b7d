"""Small functions of `keras.utils`."""

from kgraph.data import PyDataset
from kgraph.data.streams import pack_x_y_sample_weight, unpack_x_y_sample_weight
from kgraph.naming import clear_session
from kgraph.random_seed import set_random_seed
from kgraph.registration import (
    custom_object_scope,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
)
from kgraph.serialization import deserialize_keras_object, serialize_keras_object
from kgraph.utils.numerical import normalize, to_categorical

CustomObjectScope = custom_object_scope
Sequence = PyDataset

__all__ = [
    "CustomObjectScope",
    "PyDataset",
    "Sequence",
    "clear_session",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "normalize",
    "pack_x_y_sample_weight",
    "register_keras_serializable",
    "serialize_keras_object",
    "set_random_seed",
    "to_categorical",
    "unpack_x_y_sample_weight",
]
