"""Metrics: running values over batches; their state is updated by the compiled program itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kgraph.errors import ArgumentError, DTypeError
from kgraph.families import Family
from kgraph.ir.types import TensorType
from kgraph.lookup import did_you_mean
from kgraph.losses import (
    KLD,
    MAE,
    MAPE,
    MSE,
    MSLE,
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_hinge,
    hinge,
    huber,
    kl_divergence,
    kld,
    kullback_leibler_divergence,
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
    sparse_categorical_crossentropy,
    squared_hinge,
)
from kgraph.metrics.accuracy import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
    binary_accuracy,
    categorical_accuracy,
    sparse_categorical_accuracy,
    sparse_top_k_categorical_accuracy,
    top_k_categorical_accuracy,
)
from kgraph.metrics.base import Metric
from kgraph.metrics.confusion import (
    FalseNegatives,
    FalsePositives,
    Precision,
    Recall,
    TrueNegatives,
    TruePositives,
)
from kgraph.metrics.curves import (
    AUC,
    PrecisionAtRecall,
    RecallAtPrecision,
    SensitivityAtSpecificity,
    SpecificityAtSensitivity,
)
from kgraph.metrics.f_score import F1Score, FBetaScore
from kgraph.metrics.iou import BinaryIoU, IoU, MeanIoU, OneHotIoU, OneHotMeanIoU
from kgraph.metrics.of_losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    CategoricalHinge,
    Hinge,
    KLDivergence,
    LogCoshError,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    SparseCategoricalCrossentropy,
    SquaredHinge,
)
from kgraph.metrics.reductions import Mean, MeanMetricWrapper, Sum
from kgraph.metrics.regression import (
    ConcordanceCorrelation,
    CosineSimilarity,
    PearsonCorrelation,
    R2Score,
    RootMeanSquaredError,
    concordance_correlation,
    cosine_similarity,
    pearson_correlation,
)
from kgraph.registration import custom_object_scope, get_registered_object

__all__ = [
    "AUC", "KLD", "MAE", "MAPE", "MSE", "MSLE", "Accuracy", "BinaryAccuracy", "BinaryCrossentropy", "BinaryIoU",
    "CategoricalAccuracy", "CategoricalCrossentropy", "CategoricalHinge", "ConcordanceCorrelation", "CosineSimilarity",
    "F1Score", "FBetaScore", "FalseNegatives", "FalsePositives", "Hinge", "IoU", "KLDivergence", "LogCoshError", "Mean",
    "MeanAbsoluteError", "MeanAbsolutePercentageError", "MeanIoU", "MeanMetricWrapper", "MeanSquaredError",
    "MeanSquaredLogarithmicError", "Metric", "OneHotIoU", "OneHotMeanIoU", "PearsonCorrelation", "Poisson", "Precision",
    "PrecisionAtRecall", "R2Score", "Recall", "RecallAtPrecision", "RootMeanSquaredError", "SensitivityAtSpecificity",
    "SparseCategoricalAccuracy", "SparseCategoricalCrossentropy", "SparseTopKCategoricalAccuracy",
    "SpecificityAtSensitivity", "SquaredHinge", "Sum", "TopKCategoricalAccuracy", "TrueNegatives", "TruePositives",
    "as_metric", "binary_accuracy", "binary_crossentropy", "binary_focal_crossentropy", "categorical_accuracy",
    "categorical_crossentropy", "categorical_focal_crossentropy", "categorical_hinge", "check_name",
    "concordance_correlation", "cosine_similarity", "deserialize", "get", "hinge", "huber", "kl_divergence", "kld",
    "kullback_leibler_divergence", "log_cosh", "logcosh", "mae", "mape", "mean_absolute_error",
    "mean_absolute_percentage_error", "mean_squared_error", "mean_squared_logarithmic_error", "mse", "msle",
    "pearson_correlation", "poisson", "serialize", "sparse_categorical_accuracy", "sparse_categorical_crossentropy",
    "sparse_top_k_categorical_accuracy", "squared_hinge", "top_k_categorical_accuracy",
]  # fmt: skip

# Those that can be made from their name alone come first: they are what `compile` suggests.
CLASSES: tuple[type[Metric], ...] = (
    Accuracy, BinaryAccuracy, CategoricalAccuracy, SparseCategoricalAccuracy, TopKCategoricalAccuracy,
    SparseTopKCategoricalAccuracy, MeanSquaredError, RootMeanSquaredError, MeanAbsoluteError,
    MeanAbsolutePercentageError, MeanSquaredLogarithmicError, LogCoshError, CosineSimilarity, R2Score,
    PearsonCorrelation, ConcordanceCorrelation, BinaryCrossentropy, CategoricalCrossentropy,
    SparseCategoricalCrossentropy, KLDivergence, Poisson, Hinge, SquaredHinge, CategoricalHinge, AUC, Precision, Recall,
    TruePositives, FalsePositives, TrueNegatives, FalseNegatives, F1Score, FBetaScore, BinaryIoU, Mean, Sum, IoU,
    MeanIoU, OneHotIoU, OneHotMeanIoU, PrecisionAtRecall, RecallAtPrecision, SensitivityAtSpecificity,
    SpecificityAtSensitivity,
)  # fmt: skip

FAMILY = Family(
    "metric",
    CLASSES,
    {
        "mse": MeanSquaredError, "MSE": MeanSquaredError, "mae": MeanAbsoluteError, "MAE": MeanAbsoluteError,
        "mape": MeanAbsolutePercentageError, "MAPE": MeanAbsolutePercentageError,
        "msle": MeanSquaredLogarithmicError, "MSLE": MeanSquaredLogarithmicError, "bce": BinaryCrossentropy,
        "BCE": BinaryCrossentropy, "kld": KLDivergence, "KLD": KLDivergence,
        "kullback_leibler_divergence": KLDivergence, "logcosh": LogCoshError, "log_cosh": LogCoshError, "rmse":
        RootMeanSquaredError, "auc": AUC, "f1_score": F1Score, "fbeta_score": FBetaScore, "r2_score": R2Score,
    },
)  # fmt: skip

# Which accuracy, or crossentropy, is meant follows from the shapes, once they are known.
ACCURACY = ("accuracy", "acc")
CROSSENTROPY = ("crossentropy", "ce")


def get(identifier: Any) -> Any:
    """The metric that a name, function, class, configuration or instance means.

    >>> get("mse").name
    'mean_squared_error'
    """
    if isinstance(identifier, str):
        known = FAMILY.by_name
        own = get_registered_object(identifier)
        if own is None and identifier not in known:
            raise ArgumentError(f"compile(metrics=[{identifier!r}]): unknown", fix=did_you_mean(identifier, known))
        if own is not None and not isinstance(own, type):
            return own
        return (own or known[identifier])()
    if isinstance(identifier, dict):
        return deserialize(identifier)
    if isinstance(identifier, type) and issubclass(identifier, Metric):
        return identifier()
    if not isinstance(identifier, Metric) and not callable(identifier):
        raise DTypeError("metric", expected="a name, a function or a Metric", received=repr(identifier))
    return identifier


def check_name(identifier: Any) -> None:
    """Raise what `get` would raise, before the shapes are known."""
    if not isinstance(identifier, str) or identifier not in ACCURACY + CROSSENTROPY:
        get(identifier)


def as_metric(identifier: Any, y_true: TensorType, y_pred: TensorType) -> Metric:
    """The `Metric` object that `identifier` means for labels and predictions of these types.

    "accuracy" becomes binary accuracy where the output has one unit, sparse categorical accuracy where the labels are
    class numbers, else categorical accuracy; "crossentropy" likewise. A metric given by name keeps that name in the
    logs, as in Keras.
    """
    metric: Metric
    if isinstance(identifier, str) and identifier in ACCURACY + CROSSENTROPY:
        binary, sparse, categorical = (
            (BinaryAccuracy, SparseCategoricalAccuracy, CategoricalAccuracy)
            if identifier in ACCURACY
            else (BinaryCrossentropy, SparseCategoricalCrossentropy, CategoricalCrossentropy)
        )
        if y_pred.shape[-1:] == (1,):
            metric = binary()
        elif y_true.rank < y_pred.rank or y_true.shape[-1] == 1:
            metric = sparse()
        else:
            metric = categorical()
    else:
        found = get(identifier)
        metric = found if isinstance(found, Metric) else MeanMetricWrapper(found)
    if isinstance(identifier, str):
        metric.name = identifier
    return metric


def serialize(metric: Any) -> Any:
    """The metric as Keras writes it into a model's configuration; functions as their name."""
    return FAMILY.serialize(metric)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The metric that `serialize` described; a plain name works too."""
    with custom_object_scope(custom_objects):
        return get(config) if isinstance(config, str) else FAMILY.deserialize(config)
