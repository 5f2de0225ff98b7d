"""How much Keras pads before and behind spatial axes, for the padding that a word names."""

from __future__ import annotations

from collections.abc import Sequence

from kgraph.errors import ShapeError
from kgraph.ir.dims import Dim

Amounts = tuple[tuple[int, ...], tuple[int, ...]]


def amounts(
    label: str, spatial: Sequence[Dim], padding: str, window: Sequence[int], strides: Sequence[int],
    dilation: Sequence[int],
) -> Amounts:  # fmt: skip
    """Padding before and behind each spatial axis, as TensorFlow divides it.

    Args:
        label: what errors name.
        spatial: sizes of the axes.
        padding: "valid", "same" (output size = size / stride, rounded up) or "causal" (all of it before).
        window, strides, dilation: taps, steps between outputs, steps between taps; an entry per axis.

    >>> amounts("conv", (5, 6), "same", (3, 2), (1, 2), (1, 1))
    ((1, 0), (1, 0))
    """
    if padding == "valid":
        return (0,) * len(spatial), (0,) * len(spatial)
    low, high = [], []
    for size, k, s, d in zip(spatial, window, strides, dilation, strict=True):
        reach = d * (k - 1)
        known = padding == "causal" or (s == 1 and not isinstance(size, int))
        total = reach if known else _same(label, size, reach, s)
        low.append(total if padding == "causal" else total // 2)
        high.append(0 if padding == "causal" else total - total // 2)
    return tuple(low), tuple(high)


def _same(label: str, size: Dim, reach: int, stride: int) -> int:
    if not isinstance(size, int):
        raise ShapeError(f"{label}: padding='same' with strides > 1", expected="spatial axes of known size",
                         received=str(size), fix="Give the input shape without None there")  # fmt: skip
    return max((-(-size // stride) - 1) * stride + reach + 1 - size, 0)


def transposed(
    spatial: Sequence[Dim], padding: str, window: Sequence[int], strides: Sequence[int], dilation: Sequence[int],
    output_padding: Sequence[int] | None,
) -> tuple[tuple[Dim, ...], Amounts]:  # fmt: skip
    """Spatial sizes of a transposed convolution, and the padding of the convolution whose input gradient it is.

    Args:
        spatial: sizes of the axes.
        padding: "valid" or "same".
        window, strides, dilation: an entry per axis.
        output_padding: extra size, less than the stride; None chooses size * stride ("same") or
            (size - 1) * stride + max(window, stride) ("valid").
    """
    sizes: list[Dim] = []
    low: list[int] = []
    high: list[int] = []
    for axis, size in enumerate(spatial):
        reach, stride = dilation[axis] * (window[axis] - 1), strides[axis]
        extra = None if output_padding is None else output_padding[axis]
        before, behind = _grown(padding, reach, stride, extra)
        sizes.append((size - 1) * stride + 1 + before + behind - reach)
        low.append(reach - before)
        high.append(max(reach - behind, 0))
    return tuple(sizes), (tuple(low), tuple(high))


def _grown(padding: str, reach: int, stride: int, extra: int | None) -> tuple[int, int]:
    """What Keras adds before and behind the input, whose elements are `stride` apart, along one axis."""
    if padding == "valid":
        return reach, reach + (max(stride - reach - 1, 0) if extra is None else extra)
    window = reach + 1
    total = stride + window - 2 if extra is None else window + window % 2 - 2 + extra
    before = min(total // 2 + total % 2, reach)
    return before, total - before
