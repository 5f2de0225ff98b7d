"""Convolutions and pooling over the spatial axes of ``(batch, *spatial, channels)``.

`data_format` is "channels_last" (also for None) or "channels_first"; strides, dilation and pool sizes are an int, or
an entry per spatial axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kgraph.eager import operation
from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import cast as convert
from kgraph.ops.promotion import common_dtype, emit, float_type, floating, type_of
from kgraph.ops.shaping import move_axes
from kgraph.primitives import composites, pooling, window_padding

Sizes = int | Sequence[int]


def _spatial_rank(x: Any) -> int:
    rank = type_of(x).rank - 2
    if not 1 <= rank <= 3:
        raise ShapeError("inputs", expected="batch, channels and 1 to 3 spatial axes", received=str(type_of(x).shape))
    return rank


def _per_axis(name: str, value: Any, rank: int, least: int = 1) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * rank
    if len(values) != rank or not all(isinstance(v, int) and v >= least for v in values):
        raise ArgumentError(name, expected=f"an int >= {least}, or {rank} of them", received=repr(value))
    return values


def _one_of(name: str, value: Any, words: Sequence[str]) -> str:
    if not isinstance(value, str) or value.lower() not in words:
        raise ArgumentError(name, expected=" or ".join(map(repr, words)), received=repr(value))
    return value.lower()


def _in_format(x: Any, data_format: str | None, compute: Callable[[Any], Any]) -> Any:
    """`compute`, which takes channels last, on a tensor of that data format."""
    form = _one_of("data_format", data_format or "channels_last", ("channels_last", "channels_first"))
    return compute(x) if form == "channels_last" else move_axes(compute(move_axes(x, 1, -1)), -1, 1)


def _floats(inputs: Any, kernel: Any) -> tuple[Any, Any]:
    meet = common_dtype(inputs, kernel)
    kind = meet if meet.is_float else float_type()
    return convert(floating(inputs), kind), convert(floating(kernel), kind)


def _strided(strides: Sizes, dilation_rate: Sizes, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    steps, dilation = _per_axis("strides", strides, rank), _per_axis("dilation_rate", dilation_rate, rank)
    if max(steps) > 1 and max(dilation) > 1:
        raise ArgumentError("strides or dilation_rate", expected="one of them 1", received=f"{steps} and {dilation}")
    return steps, dilation


def _convolved(x: Any, kernel: Any, strides: Any, padding: str, dilation: Any, groups: int) -> Any:
    window = _window(kernel)
    low, high = window_padding.amounts("conv", type_of(x).shape[1:-1], padding, window, strides, dilation)
    return emit("conv", x, kernel, strides=strides, low=low, high=high, dilation=dilation, groups=groups)


def _window(kernel: Any) -> tuple[int, ...]:
    taps = tuple(k for k in type_of(kernel).shape[:-2] if isinstance(k, int))
    if len(taps) != type_of(kernel).rank - 2:
        raise ShapeError("kernel", expected="a window of known size", received=str(type_of(kernel).shape))
    return taps


def _kernel_rank(kernel: Any, rank: int, what: str = "kernel") -> None:
    if type_of(kernel).rank != rank + 2:
        raise ShapeError(what, expected=f"{rank + 2} axes", received=str(type_of(kernel).shape))


@operation("inputs", "kernel")
def conv(
    inputs: Any, kernel: Any, strides: Sizes = 1, padding: str = "valid", data_format: str | None = None,
    dilation_rate: Sizes = 1,
) -> Any:  # fmt: skip
    """Convolution (cross-correlation) with a kernel ``(*window, channels / groups, filters)``.

    Args:
        inputs: tensor with batch, channels and 1 to 3 spatial axes.
        kernel: fewer channels than the inputs have mean groups of channels that do not see each other.
        strides: steps between outputs; > 1 only if `dilation_rate` is 1.
        padding: "valid", "same", or in one dimension "causal".
        data_format: "channels_last" or "channels_first".
        dilation_rate: steps between taps.
    """
    rank = _spatial_rank(inputs)
    _kernel_rank(kernel, rank)
    steps, dilation = _strided(strides, dilation_rate, rank)
    word = _one_of("padding", padding, ("valid", "same", "causal") if rank == 1 else ("valid", "same"))

    def compute(x: Any) -> Any:
        x, w = _floats(x, kernel)
        channels, seen = type_of(x).shape[-1], type_of(w).shape[-2]
        if not isinstance(channels, int) or not isinstance(seen, int) or seen < 1 or channels % seen:
            raise ShapeError("kernel", expected=f"channels that divide {channels}", received=str(seen))
        return _convolved(x, w, steps, word, dilation, channels // seen)

    return _in_format(inputs, data_format, compute)


def _depthwise(x: Any, kernel: Any, strides: Any, padding: str, dilation: Any) -> Any:
    *window, channels, multiplier = type_of(kernel).shape
    if type_of(x).shape[-1] != channels or not isinstance(channels, int):
        raise ShapeError("kernel", expected=f"{type_of(x).shape[-1]} channels", received=str(channels))
    flat = composites.reshape(kernel, (*window, 1, channels * multiplier))
    return _convolved(x, flat, strides, padding, dilation, channels)


@operation("inputs", "kernel")
def depthwise_conv(
    inputs: Any, kernel: Any, strides: Sizes = 1, padding: str = "valid", data_format: str | None = None,
    dilation_rate: Sizes = 1,
) -> Any:  # fmt: skip
    """Convolution of each channel by itself with a kernel ``(*window, channels, results per channel)``."""
    rank = _spatial_rank(inputs)
    _kernel_rank(kernel, rank)
    steps, dilation = _strided(strides, dilation_rate, rank)
    word = _one_of("padding", padding, ("valid", "same"))
    return _in_format(inputs, data_format, lambda x: _depthwise(*_floats(x, kernel), steps, word, dilation))


@operation("inputs", "depthwise_kernel", "pointwise_kernel")
def separable_conv(
    inputs: Any, depthwise_kernel: Any, pointwise_kernel: Any, strides: Sizes = 1, padding: str = "valid",
    data_format: str | None = None, dilation_rate: Sizes = 1,
) -> Any:  # fmt: skip
    """`depthwise_conv`, then a convolution with a window of one tap, ``(1, .., channels, filters)``."""
    rank = _spatial_rank(inputs)
    _kernel_rank(depthwise_kernel, rank, "depthwise_kernel")
    _kernel_rank(pointwise_kernel, rank, "pointwise_kernel")
    steps, dilation = _strided(strides, dilation_rate, rank)
    word, ones = _one_of("padding", padding, ("valid", "same")), (1,) * rank

    def compute(x: Any) -> Any:
        y = _depthwise(*_floats(x, depthwise_kernel), steps, word, dilation)
        return _convolved(*_floats(y, pointwise_kernel), ones, "valid", ones, 1)

    return _in_format(inputs, data_format, compute)


@operation("inputs", "kernel")
def conv_transpose(
    inputs: Any, kernel: Any, strides: Sizes = 1, padding: str = "valid", output_padding: Sizes | None = None,
    data_format: str | None = None, dilation_rate: Sizes = 1,
) -> Any:  # fmt: skip
    """Transposed convolution with a kernel ``(*window, filters, channels)``: sizes grow by `strides`.

    Args:
        inputs, kernel, strides, data_format, dilation_rate: as in `conv`.
        padding: "valid" or "same".
        output_padding: extra size of the output; None as Keras chooses it.
    """
    rank = _spatial_rank(inputs)
    _kernel_rank(kernel, rank)
    steps, dilation = _strided(strides, dilation_rate, rank)
    word = _one_of("padding", padding, ("valid", "same"))
    extra = None if output_padding is None else _per_axis("output_padding", output_padding, rank, least=0)

    def compute(x: Any) -> Any:
        x, w = _floats(x, kernel)
        filters, channels = type_of(w).shape[-2:]
        if type_of(x).shape[-1] != channels:
            raise ShapeError("kernel", expected=f"{type_of(x).shape[-1]} channels", received=str(channels))
        shape = type_of(x).shape
        sizes, (low, high) = window_padding.transposed(shape[1:-1], word, _window(w), steps, dilation, extra)
        return emit("conv_input_grad", x, w, shape=(shape[0], *sizes, filters), groups=1, strides=steps, low=low,
                    high=high, dilation=dilation)  # fmt: skip

    return _in_format(inputs, data_format, compute)


def _pooled(
    reduce: Callable[..., Any], inputs: Any, pool_size: Sizes, strides: Sizes | None, padding: str,
    data_format: str | None,
) -> Any:  # fmt: skip
    rank = _spatial_rank(inputs)
    window = _per_axis("pool_size", pool_size, rank)
    steps = window if strides is None else _per_axis("strides", strides, rank)
    word = _one_of("padding", padding, ("valid", "same"))

    def compute(x: Any) -> Any:
        low, high = window_padding.amounts("pool", type_of(x).shape[1:-1], word, window, steps, (1,) * rank)
        return reduce(x, window=window, strides=steps, low=low, high=high)

    return _in_format(inputs, data_format, compute)


@operation("inputs")
def max_pool(
    inputs: Any, pool_size: Sizes, strides: Sizes | None = None, padding: str = "valid",
    data_format: str | None = None,
) -> Any:  # fmt: skip
    """Largest element of each window; strides None is `pool_size`. Padding never counts."""
    return _pooled(lambda x, **attrs: emit("max_pool", x, **attrs), inputs, pool_size, strides, padding, data_format)


@operation("inputs")
def average_pool(
    inputs: Any, pool_size: Sizes, strides: Sizes | None = None, padding: str = "valid",
    data_format: str | None = None,
) -> Any:  # fmt: skip
    """Mean of each window; strides None is `pool_size`. Padding never counts."""
    return _pooled(pooling.avg_pool, floating(inputs), pool_size, strides, padding, data_format)


def _adaptive(
    reduce: Callable[[Any, int], Any], inputs: Any, output_size: Sizes, data_format: str | None
) -> Any:
    """Windows from floor(n size / count) to ceil((n + 1) size / count) along each axis, reduced one by one."""
    rank = _spatial_rank(inputs)
    counts = _per_axis("output_size", output_size, rank)

    def compute(x: Any) -> Any:
        for axis, count in enumerate(counts, 1):
            size = type_of(x).shape[axis]
            if not isinstance(size, int):
                raise ShapeError("inputs", expected="spatial axes of known size", received=str(size))
            borders = [(n * size // count, -(-(n + 1) * size // count)) for n in range(count)]
            windows = [reduce(composites.part(x, axis, start, stop), axis) for start, stop in borders]
            x = composites.concatenate(windows, axis)
        return x

    return _in_format(inputs, data_format, compute)


@operation("inputs")
def adaptive_average_pool(inputs: Any, output_size: Sizes, data_format: str | None = None) -> Any:
    """Means of so many windows of nearly equal size along each spatial axis."""
    return _adaptive(lambda x, a: composites.mean(x, a, keepdims=True), floating(inputs), output_size, data_format)


@operation("inputs")
def adaptive_max_pool(inputs: Any, output_size: Sizes, data_format: str | None = None) -> Any:
    """Largest elements of so many windows of nearly equal size along each spatial axis."""
    return _adaptive(lambda x, a: composites.max(x, a, keepdims=True), inputs, output_size, data_format)


@operation("x")
def unfold(x: Any, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1) -> Any:
    """All windows of ``(batch, channels, height, width)`` as columns: ``(batch, channels * window, windows)``."""
    if type_of(x).rank != 4:
        raise ShapeError("x", expected="4 axes", received=str(type_of(x).shape))
    window, steps = _per_axis("kernel_size", kernel_size, 2), _per_axis("stride", stride, 2)
    gaps, around = _per_axis("dilation", dilation, 2), _per_axis("padding", padding, 2, least=0)
    channels = type_of(x).shape[1]
    if not isinstance(channels, int):
        raise ShapeError("x", expected="a known number of channels", received=str(channels))
    # Each tap is a filter of its own that picks one element of the window.
    taps = np.eye(window[0] * window[1], dtype="float32").reshape(*window, 1, -1)
    kernel = np.tile(taps, (1, 1, 1, channels))
    x = move_axes(floating(x), 1, -1)
    filters = current_emitter().constant(kernel, type_of(x).dtype)
    y = emit("conv", x, filters, strides=steps, low=around, high=around, dilation=gaps, groups=channels)
    batch, rows, columns, depth = type_of(y).shape
    return composites.reshape(move_axes(y, -1, 1), (batch, depth, rows * columns))
