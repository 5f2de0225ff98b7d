"""Which loss is meant by a name, a function, a class or a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kgraph.errors import ArgumentError, DTypeError
from kgraph.lazy_names import NamedThings
from kgraph.lookup import did_you_mean
from kgraph.losses.base import Loss, LossFunctionWrapper
from kgraph.registration import custom_object_scope, get_registered_name, get_registered_object

# Names in `kgraph.losses`.
CLASSES = (
    "MeanSquaredError", "MeanAbsoluteError", "MeanAbsolutePercentageError", "MeanSquaredLogarithmicError",
    "CategoricalCrossentropy", "SparseCategoricalCrossentropy", "BinaryCrossentropy", "BinaryFocalCrossentropy",
    "CategoricalFocalCrossentropy", "CategoricalGeneralizedCrossEntropy", "KLDivergence", "Poisson", "Huber",
    "LogCosh", "CosineSimilarity", "Hinge", "SquaredHinge", "CategoricalHinge", "Dice", "Tversky", "Circle", "CTC",
)  # fmt: skip
FUNCTIONS = (
    "mean_squared_error", "mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_logarithmic_error",
    "categorical_crossentropy", "sparse_categorical_crossentropy", "binary_crossentropy", "binary_focal_crossentropy",
    "categorical_focal_crossentropy", "categorical_generalized_cross_entropy", "kl_divergence", "poisson", "huber",
    "log_cosh", "cosine_similarity", "hinge", "squared_hinge", "categorical_hinge", "dice", "tversky", "circle", "ctc",
)  # fmt: skip
ALIASES = {
    "mse": "mean_squared_error", "MSE": "mean_squared_error", "mae": "mean_absolute_error",
    "MAE": "mean_absolute_error", "mape": "mean_absolute_percentage_error", "MAPE": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error", "MSLE": "mean_squared_logarithmic_error", "bce": "binary_crossentropy",
    "BCE": "binary_crossentropy", "kld": "kl_divergence", "KLD": "kl_divergence",
    "kullback_leibler_divergence": "kl_divergence", "logcosh": "log_cosh", "huber_loss": "huber",
}  # fmt: skip
_BY_NAME = NamedThings(
    "kgraph.losses", {**{name: name for name in FUNCTIONS}, **ALIASES, **{name: name for name in CLASSES}}
)


def get(identifier: Any) -> Any:
    """The loss that a name, function, class, configuration or instance means; None stays None.

    >>> get("mse").__name__, get("MeanSquaredError").name
    ('mean_squared_error', 'mean_squared_error')
    """
    if isinstance(identifier, str):
        own = get_registered_object(identifier)
        if own is None and identifier not in _BY_NAME:
            # Part of a name is the commonest slip: the first that contains it is the likeliest.
            within = [name for name in _BY_NAME if identifier.lower() in name]
            fix = f"Did you mean '{within[0]}'?" if within and identifier else did_you_mean(identifier, _BY_NAME)
            raise ArgumentError(f"compile(loss={identifier!r}): unknown", fix=fix)
        identifier = own or _BY_NAME[identifier]
    if isinstance(identifier, dict):
        return deserialize(identifier)
    if isinstance(identifier, type) and issubclass(identifier, Loss):
        return identifier()
    if identifier is not None and not callable(identifier):
        raise DTypeError("loss", expected="a name, a function or a Loss", received=repr(identifier))
    return identifier


def as_loss(identifier: Any) -> Loss | None:
    """The `Loss` object that `identifier` means; functions are wrapped."""
    found = get(identifier)
    if found is None or isinstance(found, Loss):
        return found
    name = identifier if isinstance(identifier, str) else None
    return LossFunctionWrapper(found, name=name)


def serialize(loss: Any) -> Any:
    """The loss as Keras writes it into a model's configuration; functions as their name."""
    if not isinstance(loss, Loss):
        return get_registered_name(loss) if callable(loss) else loss
    cls = type(loss)
    own = cls.__name__ in CLASSES and _BY_NAME[cls.__name__] is cls
    return {
        "module": "keras.losses" if own else cls.__module__,
        "class_name": cls.__name__,
        "config": loss.get_config(),
        "registered_name": None if own else get_registered_name(cls),
    }


def deserialize(name: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The loss that `serialize` described: a `Loss`, or a function if it is a name."""
    with custom_object_scope(custom_objects):
        if isinstance(name, str):
            return get(name)
        if not isinstance(name, Mapping) or not isinstance(name.get("class_name"), str):
            raise ArgumentError("loss configuration", expected="a class_name", received=repr(name))
        if name.get("class_name") == "function":
            return get(name["config"])
        own = get_registered_object(name.get("registered_name")) or get_registered_object(name["class_name"])
        found = own or type(get(name["class_name"]))
        return found.from_config(name.get("config") or {})
