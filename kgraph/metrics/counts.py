"""What scores and labels count at many thresholds: right and wrong positives and negatives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kgraph.ir.dtypes import DType, i32
from kgraph.ir.operators import broadcast_to, cast
from kgraph.losses.base import type_of
from kgraph.primitives.composites import bincount, cumsum, minimum, not_equal, part, reshape, where
from kgraph.primitives.composites import sum as total
from kgraph.variable import Variable

# For fewer thresholds it takes less time to compare each score with each of them.
_FOR_BUCKETS = 16

Sizes = tuple[int, ...]
# Sums over what is labelled positive, and over the rest.
Pair = tuple[Any, Any]


def add_counts(
    counts: dict[str, Variable], thresholds: Sequence[float], y_true: Any, y_pred: Any, weights: Any, keep: int = 0
) -> None:
    """Add to variables, by kind, what the values count at each threshold: a score above it is a positive.

    Args:
        counts: by kind; of shape ``(thresholds, *kept axes)``.
        thresholds: of the scores.
        y_true: a label that is not 0 is positive.
        y_pred: scores; NaN is above no threshold.
        weights: of the values; None for 1.
        keep: last axes that are counted apart; their sizes are known.
    """
    kind = type_of(y_pred)
    kept = tuple(size for size in kind.shape[kind.rank - keep :] if isinstance(size, int))
    even = len(thresholds) >= _FOR_BUCKETS and are_even(thresholds, kind.dtype)
    count = _in_buckets if even else _by_comparing
    positives, whole = count(thresholds, not_equal(y_true, 0.0), y_pred, weights, kept)
    found = {"true_positives": positives[0], "false_positives": positives[1]}
    # A positive label that is not found is a false negative; a negative one that is not taken for positive a true one.
    found["false_negatives"], found["true_negatives"] = (a - p for a, p in zip(whole, positives, strict=True))
    for name, variable in counts.items():
        variable.assign_add(cast(found[name], kind.dtype))


def _by_comparing(
    thresholds: Sequence[float], labels: Any, y_pred: Any, weights: Any, kept: Sizes
) -> tuple[Pair, Pair]:
    """Sums above each threshold, and of everything, by comparing every score with every threshold."""
    dtype = type_of(y_pred).dtype
    labels, y_pred = (reshape(x, (1, -1, *kept)) for x in (cast(labels, dtype), y_pred))
    column = np.asarray(thresholds).reshape(-1, 1, *[1] * len(kept))
    shape = (len(thresholds), *type_of(y_pred).shape[1:])
    above = broadcast_to(y_pred, shape) > column
    each = [labels, 1.0 - labels]
    if weights is not None:
        each = [values * reshape(weights, (1, -1, *kept)) for values in each]
    first, second = (total(where(above, broadcast_to(values, shape), 0.0), 1) for values in each)
    return (first, second), (total(each[0], 1), total(each[1], 1))


def _in_buckets(thresholds: Sequence[float], labels: Any, y_pred: Any, weights: Any, kept: Sizes) -> tuple[Pair, Pair]:
    """The same sums for even thresholds: each score goes into one bucket, of those with so many thresholds below.

    Without weights the sums are integers; those with weights add up in another order.
    """
    bins = len(thresholds) + 1
    ids = cast(labels, i32) * bins + thresholds_below(y_pred, thresholds)
    lines = math.prod(kept)
    if kept:
        ids = ids * lines + np.arange(lines, dtype=np.int32).reshape(kept)
    sums = reshape(counted(ids, 2 * bins * lines, weights), (2 * bins, *kept))
    # Of a bucket and those behind it: number 0 is of all scores, number i+1 of those above threshold i.
    upwards = [cumsum(part(sums, 0, start, start + bins), 0, reverse=True) for start in (bins, 0)]
    first, second = (part(each, 0, 1, bins) for each in upwards)
    return (first, second), (part(upwards[0], 0, 0, 1), part(upwards[1], 0, 0, 1))


def counted(ids: Any, size: int, weights: Any = None) -> Any:
    """How often each id of 0 .. size-1 occurs, or the sums of its weights; other ids are left out.

    Samples of many ids are counted one by one, so that threads can share them.
    """
    shape = type_of(ids).shape
    each = math.prod(n if isinstance(n, int) else 0 for n in shape[1:])
    lines = (-1, each) if len(shape) > 1 and each >= size else (-1,)
    ids, weights = (None if x is None else reshape(x, lines) for x in (ids, weights))
    sums = bincount(ids, size, weights)
    return total(sums, 0) if len(lines) > 1 else sums


def are_even(thresholds: Sequence[float], dtype: DType) -> bool:
    """Whether thresholds in this element type are exactly ``i / (n - 1)``; the first may be less, and the last more."""
    count = len(thresholds)
    if not dtype.is_float or not 2 <= count <= 1 << 16:
        return False
    given = np.asarray(thresholds, dtype.to_numpy())
    even = np.arange(count, dtype=given.dtype) / given.dtype.type(count - 1)
    inside = np.array_equal(given[1:-1], even[1:-1])
    return bool(inside and given[0] <= 0 and given[-1] >= 1)


def thresholds_below(scores: Any, thresholds: Sequence[float]) -> Any:
    """For each score how many of the thresholds, for which `are_even` holds, are less (int32); 0 for NaN.

    The threshold nearest to a score is found by multiplication, which rounds, so it may be the second nearest in the
    middle between two. Either way those before it are less than the score and those behind it are not, and the score is
    compared with that threshold itself. So the result is that of comparing with all, to the last bit.
    """
    last = len(thresholds) - 1
    inside = minimum(where(scores > 0.0, scores, 0.0), 1.0)
    nearest = cast(inside * float(last) + 0.5, i32)
    place = cast(nearest, type_of(scores).dtype)
    border = where(nearest > 0, place / float(last), thresholds[0])
    border = where(nearest < last, border, thresholds[-1])
    return nearest + cast(scores > border, i32)
