"""Metrics: running values over batches; their state is updated by the compiled program itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kgraph.lazy_names import lazily

if TYPE_CHECKING:
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
    from kgraph.metrics.lookup import as_metric, check_name, deserialize, get, serialize
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

__getattr__, __dir__ = lazily(
    __name__,
    {
        "kgraph.losses": (
            "KLD MAE MAPE MSE MSLE binary_crossentropy binary_focal_crossentropy categorical_crossentropy "
            "categorical_focal_crossentropy categorical_hinge hinge huber kl_divergence kld "
            "kullback_leibler_divergence log_cosh logcosh mae mape mean_absolute_error "
            "mean_absolute_percentage_error mean_squared_error mean_squared_logarithmic_error mse msle "
            "poisson sparse_categorical_crossentropy squared_hinge"
        ),
        "kgraph.metrics.accuracy": (
            "Accuracy BinaryAccuracy CategoricalAccuracy SparseCategoricalAccuracy "
            "SparseTopKCategoricalAccuracy TopKCategoricalAccuracy binary_accuracy categorical_accuracy "
            "sparse_categorical_accuracy sparse_top_k_categorical_accuracy top_k_categorical_accuracy"
        ),
        "kgraph.metrics.base": "Metric",
        "kgraph.metrics.confusion": "FalseNegatives FalsePositives Precision Recall TrueNegatives TruePositives",
        "kgraph.metrics.curves": (
            "AUC PrecisionAtRecall RecallAtPrecision SensitivityAtSpecificity SpecificityAtSensitivity"
        ),
        "kgraph.metrics.f_score": "F1Score FBetaScore",
        "kgraph.metrics.iou": "BinaryIoU IoU MeanIoU OneHotIoU OneHotMeanIoU",
        "kgraph.metrics.of_losses": (
            "BinaryCrossentropy CategoricalCrossentropy CategoricalHinge Hinge KLDivergence LogCoshError "
            "MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredError MeanSquaredLogarithmicError "
            "Poisson SparseCategoricalCrossentropy SquaredHinge"
        ),
        "kgraph.metrics.lookup": "as_metric check_name deserialize get serialize",
        "kgraph.metrics.reductions": "Mean MeanMetricWrapper Sum",
        "kgraph.metrics.regression": (
            "ConcordanceCorrelation CosineSimilarity PearsonCorrelation R2Score RootMeanSquaredError "
            "concordance_correlation cosine_similarity pearson_correlation"
        ),
    },
)
