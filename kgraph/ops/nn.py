"""Encodings, crossentropies, statistics, normalisation and attention. Activations stand in `kgraph.activations`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from kgraph.config import epsilon as config_epsilon
from kgraph.eager import operation
from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dims import exact_quotient
from kgraph.ir.dtypes import bool_, i32
from kgraph.ir.operators import broadcast_to
from kgraph.ir.operators import cast as convert
from kgraph.ops.creation import band
from kgraph.ops.linear_algebra import vector_norm
from kgraph.ops.promotion import chosen, common_dtype, emit, float_type, floating, type_of
from kgraph.ops.reductions import variance
from kgraph.ops.shaping import move_axes
from kgraph.primitives import composites
from kgraph.primitives import einsum as sums

Axes = int | Sequence[int]


def _encoded(x: Any, classes: int, axis: int, dtype: Any) -> Any:
    if not isinstance(classes, int) or classes < 0:
        raise ArgumentError("num_classes", expected="a number of classes", received=repr(classes))
    labels = x if type_of(x).dtype.is_integer else convert(x, i32)
    hot = composites.one_hot(labels, classes, chosen(dtype, float_type()))
    return hot if axis == -1 else move_axes(hot, -1, axis)


def _not_sparse(sparse: bool) -> None:
    if sparse:
        raise ArgumentError("sparse", expected="False: there are no sparse tensors", received=repr(sparse))


@operation("x")
def one_hot(x: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False) -> Any:
    """A new axis with 1 at the label and 0 elsewhere; labels outside 0..num_classes-1 give zeros."""
    _not_sparse(sparse)
    return _encoded(x, num_classes, axis, dtype)


@operation("inputs")
def multi_hot(
    inputs: Any, num_classes: int | None = None, axis: int = -1, dtype: Any = None, sparse: bool = False
) -> Any:
    """1 at each label that occurs along the last axis of the labels, 0 elsewhere."""
    _not_sparse(sparse)
    if num_classes is None:
        raise ArgumentError("num_classes", expected="a number of classes", received="None")
    hot = _encoded(inputs, num_classes, axis, dtype)
    return composites.max(hot, 1 if type_of(inputs).rank > 1 else 0)


def _same_shapes(target: Any, output: Any) -> None:
    if type_of(target).shape != type_of(output).shape:
        raise ShapeError("target", expected=f"the shape of output, {type_of(output).shape}",
                         received=str(type_of(target).shape))  # fmt: skip


@operation("target", "output")
def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Any:
    """``-(t log p + (1 - t) log(1 - p))``, element by element; p is clipped, or the sigmoid of logits."""
    output = floating(output)
    _same_shapes(target, output)
    target = convert(target, type_of(output).dtype)
    if from_logits:
        return emit("sigmoid_crossentropy", output, target)
    return emit("binary_crossentropy", output, target, epsilon=config_epsilon())


def _crossentropy(target: Any, output: Any, from_logits: bool, axis: int) -> Any:
    target, output = move_axes(target, axis, -1), move_axes(output, axis, -1)
    if from_logits:
        return emit("softmax_crossentropy", output, target)[0]
    return emit("categorical_crossentropy", output, target, epsilon=config_epsilon())


@operation("target", "output")
def categorical_crossentropy(target: Any, output: Any, from_logits: bool = False, axis: int = -1) -> Any:
    """``-sum(t log p)`` along an axis; p is divided by its sum and clipped, or the softmax of logits."""
    output = floating(output)
    _same_shapes(target, output)
    return _crossentropy(convert(target, type_of(output).dtype), output, from_logits, axis)


@operation("target", "output")
def sparse_categorical_crossentropy(target: Any, output: Any, from_logits: bool = False, axis: int = -1) -> Any:
    """``-log p[label]`` along an axis, for labels of the shape of `output` without it."""
    output = floating(output)
    rank, shape = type_of(output).rank, type_of(target).shape
    if len(shape) == rank and shape[-1] == 1:
        target = composites.squeeze(target, -1)
    place = composites.axis_of(axis, rank)
    sizes = type_of(output).shape
    classes, labels = sizes[place], sizes[:place] + sizes[place + 1 :]
    if type_of(target).shape != labels or not isinstance(classes, int):
        raise ShapeError("target", expected=f"labels {labels}", received=str(type_of(target).shape))
    return _crossentropy(_encoded(target, classes, axis, type_of(output).dtype), output, from_logits, axis)


@operation("x")
def gelu(x: Any, approximate: bool = True) -> Any:
    """``x * P(N(0, 1) <= x)``: its tanh approximation, unless `approximate` is False."""
    return composites.gelu(floating(x), approximate)


@operation("x")
def moments(x: Any, axes: Axes, keepdims: bool = False, synchronized: bool = False) -> Any:
    """Mean and variance over axes; `synchronized` has no effect, there is one device."""
    x = floating(x)
    return composites.mean(x, axes, keepdims), variance(x, axes if isinstance(axes, int) else tuple(axes), keepdims)


@operation("x", "mean", "variance", "offset", "scale")
def batch_normalization(
    x: Any, mean: Any, variance: Any, axis: int, offset: Any = None, scale: Any = None, epsilon: float = 1e-3
) -> Any:
    """``(x - mean) / sqrt(variance + epsilon) * scale + offset``, all vectors along `axis`."""
    x = floating(x)
    rank = type_of(x).rank
    place = composites.axis_of(axis, rank)

    def along(vector: Any) -> Any:
        return composites.reshape(vector, [-1 if a == place else 1 for a in range(rank)])

    inverse = emit("rsqrt", along(variance) + epsilon)
    factor = inverse if scale is None else inverse * along(scale)
    y = (x - along(mean)) * factor
    return y if offset is None else y + along(offset)


@operation("x", "gamma", "beta")
def layer_normalization(
    x: Any, gamma: Any = None, beta: Any = None, axis: Axes = -1, epsilon: float | None = None
) -> Any:
    """``(x - mean) / sqrt(variance + epsilon) * gamma + beta``, mean and variance over `axis`."""
    x = floating(x)
    small = config_epsilon() if epsilon is None else epsilon
    away = x - composites.mean(x, axis, keepdims=True)
    inverse = emit("rsqrt", composites.mean(composites.square(away), axis, keepdims=True) + small)
    return _affine(away * inverse, gamma, beta, axis)


@operation("x", "scale")
def rms_normalization(x: Any, scale: Any = None, axis: Axes = -1, epsilon: float | None = None) -> Any:
    """``x / sqrt(mean(x^2) + epsilon) * scale``, the mean over `axis`."""
    x = floating(x)
    small = config_epsilon() if epsilon is None else epsilon
    inverse = emit("rsqrt", composites.mean(composites.square(x), axis, keepdims=True) + small)
    return _affine(x * inverse, scale, None, axis)


def _affine(x: Any, scale: Any, offset: Any, axis: Axes) -> Any:
    rank = type_of(x).rank
    places = composites.axes_of(axis, rank)
    shape = [type_of(x).shape[a] if a in places else 1 for a in range(rank)]
    x = x if scale is None else x * composites.reshape(scale, shape)
    return x if offset is None else x + composites.reshape(offset, shape)


@operation("x")
def normalize(x: Any, axis: Axes = -1, order: int = 2, epsilon: float | None = None) -> Any:
    """``x / max(norm, epsilon)``, the norm of `order` along `axis`."""
    if isinstance(order, bool) or not isinstance(order, int) or order < 1:
        raise ArgumentError("order", expected="an int >= 1", received=repr(order))
    x = floating(x)
    if type_of(x).rank == 0:
        x = composites.expand_dims(x, 0)
    small = config_epsilon() if epsilon is None else epsilon
    if order == 2:
        squares = composites.sum(composites.square(x), axis, keepdims=True)
        # The limit is taken before the root: its slope at 0 is infinite, and would make NaN of a slope of 0 behind it.
        return x * emit("rsqrt", composites.maximum(squares, small**2))
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    return x / composites.maximum(vector_norm(x, axes, order), small)


@operation("query", "key", "value", "bias", "mask")
def dot_product_attention(
    query: Any, key: Any, value: Any, bias: Any = None, mask: Any = None, scale: float | None = None,
    is_causal: bool = False, flash_attention: bool | None = None, attn_logits_soft_cap: float | None = None,
) -> Any:  # fmt: skip
    """``softmax(scale * query key^T + bias) value`` for each head.

    Args:
        query: ``(batch, target, heads, depth)``.
        key, value: ``(batch, source, groups, depth)``; the groups divide the heads, which share them in order.
        bias: added to the scores; broadcasts to ``(batch, heads, target, source)``.
        mask: bool, broadcasts likewise; what it does not hold for is left out.
        scale: of the scores; None is ``1 / sqrt(depth)``.
        is_causal: leave out sources behind the target.
        flash_attention: no effect: a way of computing.
        attn_logits_soft_cap: scores become ``cap * tanh(score / cap)``.

    Source: Vaswani et al. (2017), "Attention is all you need".
    """
    meet = common_dtype(query, key, value)
    q, k, v = (convert(floating(x), meet if meet.is_float else float_type()) for x in (query, key, value))
    ranks = [type_of(x).rank for x in (q, k, v)]
    if ranks != [4, 4, 4]:
        raise ShapeError("query, key and value", expected="4 axes each", received=f"{ranks}")
    heads, depth = type_of(q).shape[2:]
    k, v = (_for_each_head(x, heads) for x in (k, v))
    scores = sums.einsum("bthd,bshd->bhts", q, k) * (1.0 / math.sqrt(_known(depth)) if scale is None else scale)
    if attn_logits_soft_cap is not None:
        scores = emit("tanh", scores / attn_logits_soft_cap) * attn_logits_soft_cap
    if bias is not None:
        scores = scores + convert(bias, type_of(scores).dtype)
    shape = type_of(scores).shape
    kept = None if mask is None else broadcast_to(convert(mask, bool_), shape)
    if is_causal:
        before = broadcast_to(band(shape[2], shape[3], "le", 0), shape)
        kept = before if kept is None else emit("logical_and", kept, before)
    if kept is not None:
        # As in Keras, not -inf: a row without any source gives the mean, not NaN.
        scores = composites.where(kept, scores, -0.7 * _LARGEST[type_of(scores).dtype.numpy])
    return sums.einsum("bhts,bshd->bthd", composites.softmax(scores), v)


_LARGEST = {"float32": 3.4028234663852886e38, "float64": 1.7976931348623157e308}


def _known(size: Any) -> int:
    if not isinstance(size, int):
        raise ShapeError("query", expected="a last axis of known size", received=str(size))
    return size


def _for_each_head(x: Any, heads: Any) -> Any:
    """Keys or values with as many groups as there are heads."""
    batch, source, groups, depth = type_of(x).shape
    if groups == heads:
        return x
    times = exact_quotient(heads, groups)
    if times is None:
        raise ShapeError("key and value", expected=f"groups that divide {heads} heads", received=str(groups))
    wide = broadcast_to(composites.expand_dims(x, 3), (batch, source, groups, times, depth))
    return composites.reshape(wide, (batch, source, heads, depth))
