"""Circle loss of embeddings."""

from __future__ import annotations

from typing import Any

from kgraph.eager import operation
from kgraph.ir.dtypes import i32
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import broadcast_to, cast
from kgraph.losses.base import LossFunctionWrapper, type_of
from kgraph.masks import set_mask
from kgraph.ops.reductions import logsumexp
from kgraph.primitives.composites import equal, maximum, reshape, transpose, where

# Its exponential is 0 beside any other number, and differences of two such numbers are not NaN.
_NOTHING = -1e30


@operation("y_true", "y_pred", "ref_labels", "ref_embeddings")
def circle(
    y_true: Any, y_pred: Any, ref_labels: Any = None, ref_embeddings: Any = None, remove_diagonal: bool = True,
    gamma: float = 80.0, margin: float = 0.4,
) -> Any:  # fmt: skip
    """Pulls embeddings of one class together and pushes those of different classes apart.

    softplus(logsumexp over others of the class of gamma (margin + d) (d - margin) + logsumexp over the rest of
    gamma (1 + margin - d) (1 - margin - d)), with d = 1 - the dot product with the embeddings to compare with.

    Args:
        y_true: class numbers, ``(batch,)`` or ``(batch, 1)``.
        y_pred: embeddings of length 1, ``(batch, size)``.
        ref_labels, ref_embeddings: to compare with, ``(others,)`` and ``(others, size)``; None for the batch itself.
        remove_diagonal: whether an embedding is no other to the one in its own row.
        gamma: scale.
        margin: how near others of the class shall be.

    Source: Sun et al. (2020); samples without loss do not count in the mean, as in Keras.
    """
    emit = current_emitter().emit
    references = y_pred if ref_embeddings is None else ref_embeddings
    shape = rows, others_count = type_of(y_pred).shape[0], type_of(references).shape[0]
    labels = broadcast_to(reshape(cast(y_true, i32), (rows, 1)), shape)
    known = reshape(cast(y_true if ref_labels is None else ref_labels, i32), (1, others_count))
    alike = equal(labels, broadcast_to(known, shape))
    others = alike
    if remove_diagonal:
        itself = equal(*(emit("iota", shape=shape, axis=axis, dtype=i32) for axis in (0, 1)))
        others = emit("logical_and", alike, emit("logical_not", itself))
    distance = maximum(1.0 - y_pred @ transpose(references), 0.0)
    pull = maximum(distance + margin, 0.0) * (distance - margin) * gamma
    push = maximum(1.0 + margin - distance, 0.0) * (1.0 - margin - distance) * gamma
    near = logsumexp(where(others, pull, _NOTHING), 1)
    far = logsumexp(where(alike, _NOTHING, push), 1)
    losses = emit("softplus", near + far)
    set_mask(losses, losses > 0.0)
    return losses


class Circle(LossFunctionWrapper):
    """Circle loss of embeddings; arguments as in `circle`."""

    def __init__(
        self, gamma: float = 80.0, margin: float = 0.4, remove_diagonal: bool = True,
        reduction: str | None = "sum_over_batch_size", name: str | None = "circle", dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            circle, reduction, name, dtype, gamma=gamma, margin=margin, remove_diagonal=remove_diagonal
        )
