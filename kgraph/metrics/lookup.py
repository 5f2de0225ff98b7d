"""Which metric is meant by a name, a function, a class or a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kgraph.errors import ArgumentError, DTypeError
from kgraph.families import Family
from kgraph.ir.types import TensorType
from kgraph.lookup import did_you_mean
from kgraph.metrics.base import Metric
from kgraph.metrics.reductions import MeanMetricWrapper
from kgraph.registration import custom_object_scope, get_registered_object

# Those that can be made from their name alone come first: they are what `compile` suggests.
CLASSES = (
    "Accuracy", "BinaryAccuracy", "CategoricalAccuracy", "SparseCategoricalAccuracy", "TopKCategoricalAccuracy",
    "SparseTopKCategoricalAccuracy", "MeanSquaredError", "RootMeanSquaredError", "MeanAbsoluteError",
    "MeanAbsolutePercentageError", "MeanSquaredLogarithmicError", "LogCoshError", "CosineSimilarity", "R2Score",
    "PearsonCorrelation", "ConcordanceCorrelation", "BinaryCrossentropy", "CategoricalCrossentropy",
    "SparseCategoricalCrossentropy", "KLDivergence", "Poisson", "Hinge", "SquaredHinge", "CategoricalHinge", "AUC",
    "Precision", "Recall", "TruePositives", "FalsePositives", "TrueNegatives", "FalseNegatives", "F1Score",
    "FBetaScore", "BinaryIoU", "Mean", "Sum", "IoU", "MeanIoU", "OneHotIoU", "OneHotMeanIoU", "PrecisionAtRecall",
    "RecallAtPrecision", "SensitivityAtSpecificity", "SpecificityAtSensitivity",
)  # fmt: skip

FAMILY = Family(
    "metric",
    CLASSES,
    {
        "mse": "MeanSquaredError", "MSE": "MeanSquaredError", "mae": "MeanAbsoluteError", "MAE": "MeanAbsoluteError",
        "mape": "MeanAbsolutePercentageError", "MAPE": "MeanAbsolutePercentageError",
        "msle": "MeanSquaredLogarithmicError", "MSLE": "MeanSquaredLogarithmicError", "bce": "BinaryCrossentropy",
        "BCE": "BinaryCrossentropy", "kld": "KLDivergence", "KLD": "KLDivergence",
        "kullback_leibler_divergence": "KLDivergence", "logcosh": "LogCoshError", "log_cosh": "LogCoshError",
        "rmse": "RootMeanSquaredError", "auc": "AUC", "f1_score": "F1Score", "fbeta_score": "FBetaScore",
        "r2_score": "R2Score",
    },
    package="kgraph.metrics",
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
        kind = "Accuracy" if identifier in ACCURACY else "Crossentropy"
        if y_pred.shape[-1:] == (1,):
            which = "Binary"
        elif y_true.rank < y_pred.rank or y_true.shape[-1] == 1:
            which = "SparseCategorical"
        else:
            which = "Categorical"
        metric = FAMILY.by_name[which + kind]()
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
