"""Losses: one function and one class each, with Keras' names, defaults and numerics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kgraph.errors import ArgumentError, DTypeError
from kgraph.lookup import did_you_mean
from kgraph.losses.alignment import CTC, ctc
from kgraph.losses.base import Loss, LossFunctionWrapper
from kgraph.losses.circle import Circle, circle
from kgraph.losses.crossentropy import (
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    CategoricalGeneralizedCrossEntropy,
    KLDivergence,
    SparseCategoricalCrossentropy,
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_generalized_cross_entropy,
    kl_divergence,
    sparse_categorical_crossentropy,
)
from kgraph.losses.hinge import CategoricalHinge, Hinge, SquaredHinge, categorical_hinge, hinge, squared_hinge
from kgraph.losses.overlap import Dice, Tversky, dice, tversky
from kgraph.losses.regression import (
    CosineSimilarity,
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    cosine_similarity,
    huber,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
)
from kgraph.registration import custom_object_scope, get_registered_name, get_registered_object

__all__ = [
    "BinaryCrossentropy", "BinaryFocalCrossentropy", "CategoricalCrossentropy", "CategoricalFocalCrossentropy",
    "CategoricalGeneralizedCrossEntropy", "CategoricalHinge", "Circle", "CosineSimilarity", "Dice", "Hinge",
    "Huber", "KLDivergence", "LogCosh", "Loss", "LossFunctionWrapper", "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError", "MeanSquaredLogarithmicError", "Poisson", "SparseCategoricalCrossentropy", "SquaredHinge",
    "Tversky", "binary_crossentropy", "binary_focal_crossentropy", "categorical_crossentropy",
    "categorical_focal_crossentropy", "categorical_generalized_cross_entropy", "categorical_hinge", "circle",
    "cosine_similarity", "dice", "hinge", "huber", "kl_divergence", "log_cosh", "mean_absolute_error",
    "mean_absolute_percentage_error", "mean_squared_error", "mean_squared_logarithmic_error", "poisson",
    "sparse_categorical_crossentropy", "squared_hinge", "tversky", "mse", "MSE", "mae", "MAE", "mape", "MAPE",
    "msle", "MSLE", "bce", "BCE", "kld", "KLD", "kullback_leibler_divergence", "logcosh", "CTC", "ctc", "as_loss",
    "deserialize", "get", "serialize",
]  # fmt: skip

CLASSES: tuple[type[LossFunctionWrapper], ...] = (
    MeanSquaredError,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredLogarithmicError,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    CategoricalFocalCrossentropy,
    CategoricalGeneralizedCrossEntropy,
    KLDivergence,
    Poisson,
    Huber,
    LogCosh,
    CosineSimilarity,
    Hinge,
    SquaredHinge,
    CategoricalHinge,
    Dice,
    Tversky,
    Circle,
    CTC,
)

# Short and older names of functions.
mse = MSE = mean_squared_error
mae = MAE = mean_absolute_error
mape = MAPE = mean_absolute_percentage_error
msle = MSLE = mean_squared_logarithmic_error
bce = BCE = binary_crossentropy
kld = KLD = kullback_leibler_divergence = kl_divergence
logcosh = log_cosh

ALIASES: dict[str, Callable[..., Any]] = {
    "mse": mse, "MSE": MSE, "mae": mae, "MAE": MAE, "mape": mape, "MAPE": MAPE, "msle": msle, "MSLE": MSLE, "bce": bce,
    "BCE": BCE, "kld": kld, "KLD": KLD, "kullback_leibler_divergence": kl_divergence, "logcosh": log_cosh,
    "huber_loss": huber,
}  # fmt: skip

FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{
        function.__name__: function
        for function in (
            mean_squared_error, mean_absolute_error, mean_absolute_percentage_error, mean_squared_logarithmic_error,
            categorical_crossentropy, sparse_categorical_crossentropy, binary_crossentropy, binary_focal_crossentropy,
            categorical_focal_crossentropy, categorical_generalized_cross_entropy, kl_divergence, poisson, huber,
            log_cosh, cosine_similarity, hinge, squared_hinge, categorical_hinge, dice, tversky, circle,
            ctc,
        )
    },
    **ALIASES,
}  # fmt: skip

_BY_NAME: dict[str, Any] = {**FUNCTIONS, **{cls.__name__: cls for cls in CLASSES}}


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
    return {
        "module": "keras.losses" if type(loss) in CLASSES else type(loss).__module__,
        "class_name": type(loss).__name__,
        "config": loss.get_config(),
        "registered_name": None if type(loss) in CLASSES else get_registered_name(type(loss)),
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
