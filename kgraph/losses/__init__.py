"""Losses: one function and one class each, with Keras' names, defaults and numerics."""

from typing import TYPE_CHECKING

from kgraph.lazy_names import lazily

if TYPE_CHECKING:
    from kgraph.losses.alignment import CTC, ctc
    from kgraph.losses.base import Loss, LossFunctionWrapper
    from kgraph.losses.crossentropy import (
        BCE,
        KLD,
        BinaryCrossentropy,
        BinaryFocalCrossentropy,
        CategoricalCrossentropy,
        CategoricalFocalCrossentropy,
        CategoricalGeneralizedCrossEntropy,
        KLDivergence,
        SparseCategoricalCrossentropy,
        bce,
        binary_crossentropy,
        binary_focal_crossentropy,
        categorical_crossentropy,
        categorical_focal_crossentropy,
        categorical_generalized_cross_entropy,
        kl_divergence,
        kld,
        kullback_leibler_divergence,
        sparse_categorical_crossentropy,
    )
    from kgraph.losses.lookup import as_loss, deserialize, get, serialize
    from kgraph.losses.margins import CategoricalHinge, Hinge, SquaredHinge, categorical_hinge, hinge, squared_hinge
    from kgraph.losses.overlap import Dice, Tversky, dice, tversky
    from kgraph.losses.pairs import Circle, circle
    from kgraph.losses.regression import (
        MAE,
        MAPE,
        MSE,
        MSLE,
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
        logcosh,
        mae,
        mape,
        mean_absolute_error,
        mean_absolute_percentage_error,
        mean_squared_error,
        mean_squared_logarithmic_error,
        mse,
        msle,
        poisson,
    )

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

__getattr__, __dir__ = lazily(
    __name__,
    {
        "kgraph.losses.alignment": "CTC ctc",
        "kgraph.losses.base": "Loss LossFunctionWrapper",
        "kgraph.losses.pairs": "Circle circle",
        "kgraph.losses.crossentropy": (
            "BinaryCrossentropy BinaryFocalCrossentropy CategoricalCrossentropy CategoricalFocalCrossentropy "
            "CategoricalGeneralizedCrossEntropy KLDivergence SparseCategoricalCrossentropy "
            "binary_crossentropy BCE bce binary_focal_crossentropy "
            "categorical_crossentropy categorical_focal_crossentropy categorical_generalized_cross_entropy "
            "kl_divergence kld KLD kullback_leibler_divergence "
            "sparse_categorical_crossentropy"
        ),
        "kgraph.losses.margins": "CategoricalHinge Hinge SquaredHinge categorical_hinge hinge squared_hinge",
        "kgraph.losses.lookup": "as_loss deserialize get serialize",
        "kgraph.losses.overlap": "Dice Tversky dice tversky",
        "kgraph.losses.regression": (
            "CosineSimilarity Huber LogCosh MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredError "
            "MeanSquaredLogarithmicError Poisson cosine_similarity huber log_cosh logcosh "
            "mean_absolute_error mae MAE "
            "mean_absolute_percentage_error mape "
            "MAPE mean_squared_error mse "
            "MSE mean_squared_logarithmic_error msle "
            "MSLE poisson"
        ),
    },
)
