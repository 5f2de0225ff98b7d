"""Small functions of `keras.utils`."""

from kgraph.naming import clear_session
from kgraph.random_seed import set_random_seed
from kgraph.utils.numerical import normalize, to_categorical

__all__ = ["clear_session", "normalize", "set_random_seed", "to_categorical"]
