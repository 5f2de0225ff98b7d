"""Attention of queries over keys and values: dot-product and additive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dims import Dim
from kgraph.ir.dtypes import bool_, i32
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import binary
from kgraph.keras_tensor import shape_text
from kgraph.layers.activation import MASKED
from kgraph.layers.arguments import probability
from kgraph.layers.base import Layer
from kgraph.layers.regularization import Dropout
from kgraph.layers.spatial import one_of
from kgraph.primitives import composites


class Attention(Layer):
    """Each query's mean of the values, weighted by the softmax of its scores with the keys.

    Args:
        use_scale: multiply the scores by a trained number.
        score_mode: "dot" for the products ``query @ key``; "concat" for ``sum(tanh(query + key))`` times a trained
            number.
        dropout: part of the weights that training drops, in [0, 1].
        seed: int that fixes the dropout; None follows the model's random state.

    Call arguments:
        inputs: list [query, value] or [query, value, key]; without a key the value is the key.
        mask: list [query_mask, value_mask] of bools ``(batch, steps)`` or None: results of masked queries are 0, masked
            values have no weight.
        return_attention_scores: give (result, weights).
        use_causal_mask: a query sees no values at later steps.

    Input shapes: query ``(batch, Tq, dim)``, value ``(batch, Tv, size)``, key ``(batch, Tv, dim)``.
    Output shape: ``(batch, Tq, size)``; weights ``(batch, Tq, Tv)``. Source: Luong et al. (2015).
    """

    def __init__(
        self, use_scale: bool = False, score_mode: str = "dot", dropout: float = 0.0, seed: int | None = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        self.use_scale = bool(use_scale)
        self.score_mode = one_of(self.label, "score_mode", score_mode, ("dot", "concat"))
        self.dropout, self.seed = probability(self.label, "dropout", dropout), seed
        self._dropout = Dropout(self.dropout, seed=seed, dtype=self.dtype)
        self.scale: Any = None
        self.concat_score_weight: Any = None

    def check_inputs(self, inputs: Any) -> None:
        """There must be two or three tensors, and their shapes must fit each other."""
        if not isinstance(inputs, (list, tuple)) or len(inputs) not in (2, 3):
            received = str(len(inputs)) if isinstance(inputs, (list, tuple)) else "one tensor"
            expected, fix = "[query, value] or [query, value, key]", "Write layer([query, value])"
            raise ArgumentError(self.label, expected=expected, received=received, fix=fix)
        query, value, key = (t.type.shape for t in (*inputs, inputs[1])[:3])
        listed = " and ".join(shape_text(t.type) for t in inputs)
        if len(query) < 3 or not len(query) == len(value) == len(key):
            raise ShapeError(f"{self.label}: query and value", expected="(batch, steps, features)", received=listed)
        if query[-1] != key[-1] or value[-2] != key[-2]:
            expected = "query and key of equal features, value and key of equal steps"
            raise ShapeError(self.label, expected=expected, received=listed)

    def build(self, input_shape: Any) -> None:
        """Make the trained numbers."""
        if self.use_scale:
            self.scale = self.add_weight((), "ones", name="scale")
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight((), "ones", name="concat_score_weight")

    def call(
        self, inputs: Any, mask: Any = None, training: bool = False, return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:  # fmt: skip
        """The weighted means, and the weights if wanted."""
        query, value, key = (*inputs, inputs[1])[:3]
        query_mask, value_mask = (*mask, None, None)[:2] if mask else (None, None)
        scores = self.scores(query, key)
        steps = scores.type.shape[-2:]
        keep = all_of(
            None if value_mask is None else composites.expand_dims(as_bool(value_mask), -2),
            causal_mask(*steps) if use_causal_mask else None,
        )
        if keep is not None:
            scores = composites.where(keep, scores, scores + MASKED)
        weights = composites.softmax(scores)
        result = composites.matmul(self._dropout(weights, training=training), value)
        if query_mask is not None:
            result = composites.where(composites.expand_dims(as_bool(query_mask), -1), result, 0.0)
        return (result, weights) if return_attention_scores else result

    def scores(self, query: Any, key: Any) -> Any:
        """A number for each query and key."""
        if self.score_mode == "dot":
            products = composites.matmul(query, composites.swapaxes(key, -2, -1))
            return products if self.scale is None else products * self.scale
        return composites.sum(self.combined(query, key, self.scale), -1) * self.concat_score_weight

    def combined(self, query: Any, key: Any, scale: Any) -> Any:
        """``tanh(scale * (query + key))`` for each pair, along the features."""
        pairs = composites.expand_dims(query, -2) + composites.expand_dims(key, -3)
        return current_emitter().emit("tanh", pairs if scale is None else pairs * scale)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The queries' mask."""
        return mask[0] if mask else None

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"use_scale": self.use_scale, "score_mode": self.score_mode, "dropout": self.dropout, "seed": self.seed}
        return {**super().get_config(), **own}


class AdditiveAttention(Attention):
    """Attention whose scores are ``sum(scale * tanh(query + key))`` over the features.

    Args:
        use_scale: whether there is a trained scale for each feature.
        dropout, seed: as for `Attention`.

    Inputs, masks and results are those of `Attention`. Source: Bahdanau et al. (2015).
    """

    def __init__(self, use_scale: bool = True, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(use_scale=use_scale, dropout=dropout, **kwargs)

    def build(self, input_shape: Any) -> None:
        """Make the scale."""
        if self.use_scale:
            self.scale = self.add_weight((input_shape[0][-1],), "glorot_uniform", name="scale")

    def scores(self, query: Any, key: Any) -> Any:
        """A number for each query and key."""
        pairs = self.combined(query, key, None)
        return composites.sum(pairs if self.scale is None else pairs * self.scale, -1)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        del config["score_mode"]
        return config


def as_bool(mask: Any) -> Any:
    """The mask as bools."""
    return composites.cast(mask, bool_)


def all_of(*masks: Any) -> Any:
    """Where all masks hold that are not None; None if there are none."""
    given = [mask for mask in masks if mask is not None]
    result = given[0] if given else None
    for mask in given[1:]:
        result = binary("logical_and", result, mask)
    return result


def causal_mask(queries: Dim, keys: Dim) -> Any:
    """Bools [queries, keys]: whether the key's step is not later than the query's."""
    rows, columns = _steps(queries, keys)
    return rows >= columns


def window_mask(queries: Dim, keys: Dim, window: int) -> Any:
    """Bools [queries, keys]: whether the steps lie less than `window` apart."""
    rows, columns = _steps(queries, keys)
    return abs(rows - columns) < window


def _steps(queries: Dim, keys: Dim) -> Sequence[Any]:
    return [current_emitter().emit("iota", shape=(queries, keys), axis=axis, dtype=i32) for axis in (0, 1)]
