"""Attention in several heads: each has projections of its own."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from typing import Any

import kgraph.regularizers as regularizers
from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dims import Dim
from kgraph.ir.types import TensorType
from kgraph.keras_tensor import shape_text
from kgraph.layers.activation import MASKED
from kgraph.layers.arguments import axis_argument, probability, whole_number
from kgraph.layers.attention import all_of, as_bool, causal_mask, window_mask
from kgraph.layers.base import Layer
from kgraph.layers.einsum_dense import EinsumDense
from kgraph.layers.regularization import Dropout
from kgraph.primitives import composites
from kgraph.primitives.einsum import einsum


class HeadedAttention(Layer):
    """Base of the layers with heads: projections, masks, the softmax of the scores.

    Args:
        dropout: part of the weights that training drops, in [0, 1].
        use_bias: whether the projections have a bias.
        sliding_window: a query sees only values that lie less than so many steps away; None for no limit.
        flash_attention: no effect: the compiler chooses the kernels.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, kernel_constraint, bias_constraint:
            of each projection, as in `Dense`.
        activity_regularizer: penalty on the output of each projection.
        use_gate: multiply each head's result by the sigmoid of one more projection of the query.
        seed: int that fixes the dropout; None follows the model's random state.

    Subclasses make the projections in `build`, give the equations of scores and results, and how many axes are
    attended over.
    """

    supports_masking = True
    scores_equation, result_equation = "", ""
    attended = 1
    key_size = 1

    def __init__(
        self,
        dropout: float = 0.0,
        use_bias: bool = True,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.keep_weight_options("kernel", kernel_initializer, kernel_regularizer, kernel_constraint)
        self.keep_weight_options("bias", bias_initializer, bias_regularizer, bias_constraint)
        self.projection_regularizer = regularizers.get(activity_regularizer, f"{self.label}: activity_regularizer")
        self.dropout, self.seed = probability(self.label, "dropout", dropout), seed
        self.use_bias, self.use_gate = bool(use_bias), bool(use_gate)
        self.sliding_window = sliding_window
        if sliding_window is not None:
            self.sliding_window = whole_number(self.label, "sliding_window", sliding_window)
        if flash_attention and self.dropout:
            raise ArgumentError(f"{self.label}: flash_attention", expected="dropout=0", received=f"dropout={dropout}")
        self._dropout = Dropout(self.dropout, seed=seed, dtype=self.dtype)
        # In the order of their weights.
        self.query_dense: Any = None
        self.key_dense: Any = None
        self.gate_dense: Any = None
        self.value_dense: Any = None
        self.output_dense: Any = None

    def projection(
        self, name: str, shape: Any, bound: int, sizes: Sequence[int], activation: Any = None
    ) -> EinsumDense:
        """A trained map of the last `bound` axes of inputs of that shape to axes of these sizes, built."""
        free = len(shape) - bound
        letters = string.ascii_letters[: len(shape) + len(sizes)]
        before, within, behind = letters[:free], letters[free : len(shape)], letters[len(shape) :]
        options = {
            f"{weight}_{what}": getattr(self, f"{weight}_{what}")
            for weight in ("kernel", "bias")
            for what in ("initializer", "regularizer", "constraint")
        }
        # An initializer gives the same numbers at every call: each projection gets one of its own.
        for key in ("kernel_initializer", "bias_initializer"):
            if hasattr(options[key], "get_config"):
                options[key] = type(options[key])(**options[key].get_config())
        layer = EinsumDense(
            f"{before}{within},{within}{behind}->{before}{behind}",
            (*[None] * (free - 1), *sizes),
            activation=activation,
            bias_axes=behind if self.use_bias else None,
            name=name,
            dtype=self.dtype,
            trainable=self.trainable,
            activity_regularizer=self.projection_regularizer,
            **options,
        )
        layer.build(shape)
        return layer

    def check_inputs(self, inputs: Any) -> None:
        """The query must have steps and features."""
        if inputs.type.rank < 3:
            expected = "a query (batch, steps, features)"
            raise ShapeError(self.label, expected=expected, received=shape_text(inputs.type))

    def call(
        self, query: Any, value: Any, key: Any = None, query_mask: Any = None, value_mask: Any = None,
        key_mask: Any = None, attention_mask: Any = None, return_attention_scores: bool = False,
        training: bool = False, use_causal_mask: bool = False,
    ) -> Any:  # fmt: skip
        """The attended values, and the weights if wanted."""
        key = value if key is None else key
        steps = query.type.shape[1], value.type.shape[1]
        if attention_mask is not None and query.type.rank == 3:
            self._check_mask(attention_mask.type, steps)
        keep = all_of(
            None if query_mask is None else composites.expand_dims(as_bool(query_mask), -1),
            *(None if m is None else composites.expand_dims(as_bool(m), -2) for m in (value_mask, key_mask)),
            causal_mask(*steps) if use_causal_mask else None,
            None if self.sliding_window is None else window_mask(*steps, self.sliding_window),
            None if attention_mask is None else as_bool(attention_mask),
        )
        heads = self.query_dense(query), self.key_dense(key), self.value_dense(value)
        result, weights = self.attend(*heads, keep, training, return_attention_scores)
        if self.gate_dense is not None:
            result = result * self.gate_dense(query)
        result = self.output_dense(result)
        return (result, weights) if return_attention_scores else result

    def _check_mask(self, mask: TensorType, steps: tuple[Dim, Dim]) -> None:
        """An attention mask must have the steps of query and value as its last axes, or 1."""
        if mask.rank < 2 or any(size not in (1, wanted) for size, wanted in zip(mask.shape[-2:], steps)):
            expected = f"(batch, {steps[0]}, {steps[1]})"
            raise ShapeError(f"{self.label}: attention_mask", expected=expected, received=shape_text(mask))

    def attend(
        self, query: Any, key: Any, value: Any, keep: Any, training: bool, return_attention_scores: bool
    ) -> tuple[Any, Any]:
        """Values by the softmax of ``query @ key / sqrt(size of a key)``, and that softmax.

        As in Keras, a query that sees nothing gets equal weights, but zeros where weights are returned or dropped.
        """
        scores = einsum(self.scores_equation, query * (1 / math.sqrt(self.key_size)), key)
        axes = range(-self.attended, 0)
        if keep is None:
            weights = composites.softmax(scores, axes)
        else:
            while keep.type.rank < scores.type.rank:
                keep = composites.expand_dims(keep, -2 * self.attended - 1)  # beside the heads
            weights = composites.softmax(composites.where(keep, scores, MASKED), axes)
            if return_attention_scores or self.dropout:
                weights = composites.where(keep, weights, 0.0)
        return einsum(self.result_equation, self._dropout(weights, training=training), value), weights

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "dropout": self.dropout,
            "use_bias": self.use_bias,
            "use_gate": self.use_gate,
            "sliding_window": self.sliding_window,
            "seed": self.seed,
            "activity_regularizer": regularizers.serialize(self.projection_regularizer),
            **self.weight_options(),
        }


class MultiHeadAttention(HeadedAttention):
    """Attention in heads that see query, key and value through projections of their own, and are joined by another one.

    Args:
        num_heads: number of heads.
        key_dim: features of query and key in a head.
        value_dim: features of the value in a head; None means `key_dim`.
        output_shape: sizes of the result's last axes; None means the query's features.
        attention_axes: axes of steps, counted with the batch; None means all between batch and features.
        others: see `HeadedAttention`.

    Call arguments:
        query, value, key: ``(batch, Tq, ...)``, ``(batch, Tv, ...)``; without a key the value is the key.
        query_mask, value_mask, key_mask: bools ``(batch, steps)``; usually they come with the tensors.
        attention_mask: bools ``(batch, Tq, Tv)``, or with an axis for the heads: which pairs count.
        return_attention_scores: give (result, weights ``(batch, heads, Tq, Tv)``).
        use_causal_mask: a query sees no values at later steps.

    Output shape: that of the query, or with `output_shape` as its last axes. Source: Vaswani et al. (2017).
    Weights: kernel and bias of query, key, (gate,) value and attention_output.
    """

    def __init__(
        self, num_heads: int, key_dim: int, value_dim: int | None = None, dropout: float = 0.0, use_bias: bool = True,
        output_shape: Any = None, attention_axes: Any = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(dropout, use_bias, **kwargs)
        self.num_heads = whole_number(self.label, "num_heads", num_heads)
        self.key_dim = self.key_size = whole_number(self.label, "key_dim", key_dim)
        self.value_dim = whole_number(self.label, "value_dim", value_dim or key_dim)
        sizes = output_shape if isinstance(output_shape, (list, tuple)) else [output_shape] * (output_shape is not None)
        self.result_shape = tuple(whole_number(self.label, "output_shape", size) for size in sizes)
        self.attention_axes = None
        if attention_axes is not None:
            axes = axis_argument(self.label, attention_axes)
            self.attention_axes = axes if isinstance(axes, list) else [axes]

    def build(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> None:
        """Make the projections."""
        key_shape = value_shape if key_shape is None else key_shape
        if value_shape[1:-1] != key_shape[1:-1]:
            expected, received = "value and key of equal steps", f"{value_shape} and {key_shape}"
            raise ShapeError(self.label, expected=expected, received=received)
        heads = [self.num_heads, self.key_dim]
        self.query_dense = self.projection("query", query_shape, 1, heads)
        self.key_dense = self.projection("key", key_shape, 1, heads)
        if self.use_gate:
            self.gate_dense = self.projection("gate", query_shape, 1, [self.num_heads, self.value_dim], "sigmoid")
        self.value_dense = self.projection("value", value_shape, 1, [self.num_heads, self.value_dim])
        joined = (*query_shape[:-1], self.num_heads, self.value_dim)
        self.output_dense = self.projection("attention_output", joined, 2, self.result_shape or query_shape[-1:])
        self._find_equations(len(joined))

    def _find_equations(self, rank: int) -> None:
        """The equations for projections of that rank: batch, other axes, axes of steps, heads, features."""
        axes = range(1, rank - 2) if self.attention_axes is None else [a % (rank - 1) for a in self.attention_axes]
        target = string.ascii_lowercase[:rank]
        source = "".join(string.ascii_uppercase[n] if n in axes else c for n, c in enumerate(target))
        kept = [c for n, c in enumerate(target[:-1]) if n not in axes]
        scores = "".join([*kept, *(target[a] for a in axes), *(source[a] for a in axes)])
        self.attended = len(axes)
        self.scores_equation = f"{target},{source}->{scores}"
        self.result_equation = f"{scores},{source}->{target}"

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "value_dim": self.value_dim,
            "output_shape": self.result_shape or None,
            "attention_axes": self.attention_axes,
        }


class GroupedQueryAttention(HeadedAttention):
    """Attention in heads of which several share the projections of key and value.

    Args:
        head_dim: features in a head.
        num_query_heads: number of heads.
        num_key_value_heads: number of projections of key and value; divides `num_query_heads`.
        others: see `HeadedAttention`.

    Call arguments and results are those of `MultiHeadAttention`, for tensors of rank 3. Source: Ainslie et al. (2023).
    Weights: kernel and bias of query, key, (gate,) value and attention_output.
    """

    scores_equation, result_equation = "btkrh,bskh->bkrts", "bkrts,bskh->btkrh"

    def __init__(self, head_dim: int, num_query_heads: int, num_key_value_heads: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.head_dim = self.key_size = whole_number(self.label, "head_dim", head_dim)
        self.num_query_heads = whole_number(self.label, "num_query_heads", num_query_heads)
        self.num_key_value_heads = whole_number(self.label, "num_key_value_heads", num_key_value_heads)
        if self.num_query_heads % self.num_key_value_heads:
            expected = f"a multiple of num_key_value_heads={num_key_value_heads}"
            raise ArgumentError(f"{self.label}: num_query_heads", expected=expected, received=str(num_query_heads))

    def build(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> None:
        """Make the projections."""
        heads, groups = [self.num_query_heads, self.head_dim], [self.num_key_value_heads, self.head_dim]
        self.query_dense = self.projection("query", query_shape, 1, heads)
        self.key_dense = self.projection("key", key_shape or value_shape, 1, groups)
        if self.use_gate:
            self.gate_dense = self.projection("gate", query_shape, 1, heads, "sigmoid")
        self.value_dense = self.projection("value", value_shape, 1, groups)
        joined = (*query_shape[:-1], *heads)
        self.output_dense = self.projection("attention_output", joined, 2, query_shape[-1:])

    def attend(
        self, query: Any, key: Any, value: Any, keep: Any, training: bool, return_attention_scores: bool
    ) -> tuple[Any, Any]:
        """As in the base, with the heads in groups of those that share a key."""
        batch, steps, heads, size = query.type.shape
        groups = (self.num_key_value_heads, heads // self.num_key_value_heads)
        grouped = composites.reshape(query, (batch, steps, *groups, size))
        result, weights = super().attend(grouped, key, value, keep, training, return_attention_scores)
        sources = weights.type.shape[-1]
        return composites.reshape(result, query.type.shape), composites.reshape(weights, (batch, heads, steps, sources))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {name: getattr(self, name) for name in ("head_dim", "num_query_heads", "num_key_value_heads")}
        return {**super().get_config(), **own}


GroupQueryAttention = GroupedQueryAttention
