"""Convolution layers: plain, depthwise, separable and transposed, over one to three spatial axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import kgraph.activations as activations
from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dtypes import dtype_of
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import cast
from kgraph.keras_tensor import shape_text
from kgraph.layers.arguments import whole_number
from kgraph.layers.spatial import SpatialLayer, one_of, per_axis
from kgraph.primitives import composites, window_padding


class _Convolution(SpatialLayer):
    """What all convolutions share: window, strides, padding, bias and activation."""

    paddings: tuple[str, ...] = ("valid", "same")
    kernels: tuple[str, ...] = ("kernel",)

    def __init__(
        self,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        options = {
            weight: [kwargs.pop(f"{weight}_{what}", None) for what in ("initializer", "regularizer", "constraint")]
            for weight in (*self.kernels, "bias")
        }
        super().__init__(data_format=data_format, **kwargs)
        self.kernel_size = per_axis(self.label, "kernel_size", kernel_size, self.rank)
        self.strides = per_axis(self.label, "strides", strides, self.rank)
        self.dilation_rate = per_axis(self.label, "dilation_rate", dilation_rate, self.rank)
        self.padding = one_of(self.label, "padding", padding, self.paddings)
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            received = f"strides {self.strides}, dilation_rate {self.dilation_rate}"
            raise ArgumentError(f"{self.label}: strides or dilation_rate", expected="one of them 1", received=received)
        self.activation = activations.get(activation, f"{self.label}: activation")
        self.use_bias = bool(use_bias)
        for weight, (initializer, *rest) in options.items():
            usual = "zeros" if weight == "bias" else "glorot_uniform"
            self.keep_weight_options(weight, usual if initializer is None else initializer, *rest)
        self.bias: Any = None
        self.in_channels: int | None = None

    def check_inputs(self, inputs: Any) -> None:
        """Rank and channels fit."""
        super().check_inputs(inputs)
        channels, text = self.channels_of(inputs.type.shape), shape_text(inputs.type)
        if not isinstance(channels, int):
            raise ShapeError(self.label, expected="channels of known size", received=text,
                             fix="Give the input's channels a size")  # fmt: skip
        if self.built and channels != self.in_channels:
            expected = f"{self.in_channels} channels, as at the first call"
            raise ShapeError(self.label, expected=expected, received=text, fix=self._turned(inputs.type.shape))
        self.check_channels(channels)

    def _turned(self, shape: Sequence[Any]) -> str:
        """What to do if the channels seem to stand at the other end."""
        if self.data_format != "channels_last" or shape[1] != self.in_channels:
            return ""
        order = (0, *range(2, self.rank + 2), 1)
        return f"It looks channels-first: use transpose{order} or data_format='channels_first'"

    def check_channels(self, channels: int) -> None:
        """Raise an error if an input with so many channels cannot be taken."""

    def add_bias(self, count: int) -> None:
        """The bias, if there is one."""
        if self.use_bias:
            self.bias = self.make_weight("bias", (count,))

    def finished(self, y: Any) -> Any:
        """Bias and activation."""
        return self.activation(y if self.bias is None else y + self.bias)

    def convolve(self, x: Any, kernel: Any, groups: int = 1, depthwise: bool = False) -> Any:
        """The convolution of a channels-last tensor; a depthwise kernel is [*window, channels, multiplier]."""
        emitter = current_emitter()
        x = cast(x, dtype_of(self.dtype))
        shape, weights = emitter.type_of(x).shape, emitter.type_of(kernel).shape
        if depthwise:
            groups = self.in_channels or groups
            kernel = composites.reshape(kernel, (*weights[:-2], 1, weights[-2] * weights[-1]))
        low, high = self.amounts(shape, self.padding, self.kernel_size, self.strides, self.dilation_rate)
        attrs = {"strides": self.strides, "low": low, "high": high, "dilation": self.dilation_rate, "groups": groups}
        return emitter.emit("conv", x, kernel, **attrs)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "dilation_rate": self.dilation_rate,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            **self.weight_options(),
        }


class Conv(_Convolution):
    """Convolution (cross-correlation): ``y[o, f] = sum of x[o * strides + k * dilation_rate, c] * kernel[k, c, f]``.

    Args:
        filters: channels of the output; int >= 1.
        kernel_size: taps of the window; an int or one per spatial axis.
        strides: steps between outputs; > 1 only if dilation_rate is 1.
        padding: "valid" (none), "same" (output size = input size / strides, rounded up) or, in one dimension, "causal".
        data_format: "channels_last" or "channels_first"; None means channels_last.
        dilation_rate: steps between taps.
        groups: groups of channels that do not see each other; divides the input's channels and `filters`.
        activation: name, function or None.
        use_bias: add a bias of shape ``(filters,)``.
        kernel_initializer, bias_initializer: names or initializers.
        kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint: as in Dense.

    Input shape: ``(batch, *spatial, channels)``. Output shape: ``(batch, *spatial, filters)``.
    Weights: kernel ``(*kernel_size, channels / groups, filters)``, bias ``(filters,)``.
    """

    def __init__(
        self, filters: int, kernel_size: Any, strides: Any = 1, padding: str = "valid", data_format: str | None = None,
        dilation_rate: Any = 1, groups: int = 1, activation: Any = None, use_bias: bool = True, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias, **kwargs)
        self.filters = whole_number(self.label, "filters", filters)
        self.groups = whole_number(self.label, "groups", groups)
        if self.filters % self.groups:
            expected = f"filters that {self.groups} groups divide"
            raise ArgumentError(f"{self.label}: filters", expected=expected, received=str(self.filters))
        self.kernel: Any = None

    def check_channels(self, channels: int) -> None:
        """The groups divide the channels."""
        if channels % self.groups:
            expected = f"channels that {self.groups} groups divide"
            raise ShapeError(self.label, expected=expected, received=f"{channels} channels")

    def build(self, input_shape: Any) -> None:
        """Make kernel and bias."""
        self.in_channels = self.channels_of(input_shape)
        shape = (*self.kernel_size, self.in_channels // self.groups, self.filters)
        self.kernel = self.make_weight("kernel", shape)
        self.add_bias(self.filters)

    def compute(self, inputs: Any) -> Any:
        """The convolution with bias and activation."""
        return self.finished(self.convolve(inputs, self.kernel, self.groups))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "filters": self.filters, "groups": self.groups}


class Conv1D(Conv):
    """Convolution of ``(batch, length, channels)``; arguments as in `Conv`."""

    rank = 1
    paddings = ("valid", "same", "causal")


class Conv2D(Conv):
    """Convolution of ``(batch, height, width, channels)``; arguments as in `Conv`."""

    rank = 2


class Conv3D(Conv):
    """Convolution of ``(batch, depth, height, width, channels)``; arguments as in `Conv`."""

    rank = 3


class DepthwiseConv(_Convolution):
    """Convolution of each channel by itself, with `depth_multiplier` results per channel.

    Args:
        kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias, and the arguments of the bias:
            as in Conv2D.
        depth_multiplier: results per channel; int >= 1.
        depthwise_initializer, depthwise_regularizer, depthwise_constraint: for the kernel, as in Conv2D.

    Output shape: ``(batch, *spatial, channels * depth_multiplier)``; result m of channel c is channel
    ``c * depth_multiplier + m``.
    Weights: kernel ``(*kernel_size, channels, depth_multiplier)``, bias ``(channels * depth_multiplier,)``.
    """

    kernels = ("depthwise",)

    def __init__(
        self, kernel_size: Any, strides: Any = 1, padding: str = "valid", depth_multiplier: int = 1,
        data_format: str | None = None, dilation_rate: Any = 1, activation: Any = None, use_bias: bool = True,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias, **kwargs)
        self.depth_multiplier = whole_number(self.label, "depth_multiplier", depth_multiplier)
        self.kernel: Any = None

    def build(self, input_shape: Any) -> None:
        """Make kernel and bias."""
        self.in_channels = self.channels_of(input_shape)
        shape = (*self.kernel_size, self.in_channels, self.depth_multiplier)
        self.kernel = self.make_weight("depthwise", shape, "kernel")
        self.add_bias(self.in_channels * self.depth_multiplier)

    def compute(self, inputs: Any) -> Any:
        """The convolution with bias and activation."""
        return self.finished(self.convolve(inputs, self.kernel, depthwise=True))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "depth_multiplier": self.depth_multiplier}


class DepthwiseConv1D(DepthwiseConv):
    """Depthwise convolution of ``(batch, length, channels)``; arguments as in `DepthwiseConv`."""

    rank = 1


class DepthwiseConv2D(DepthwiseConv):
    """Depthwise convolution of ``(batch, height, width, channels)``; arguments as in `DepthwiseConv`."""

    rank = 2


class SeparableConv(_Convolution):
    """A depthwise convolution, then a convolution with a window of one tap that mixes the channels.

    Args:
        filters: channels of the output; int >= 1.
        kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias, and the arguments of the bias:
            as in Conv2D.
        depth_multiplier: results per channel of the depthwise part.
        depthwise_initializer, pointwise_initializer, and regularizers and constraints of these names: for the two
            kernels, as in Conv2D.

    Weights: depthwise_kernel ``(*kernel_size, channels, depth_multiplier)``, pointwise_kernel
    ``(1, .., channels * depth_multiplier, filters)``, bias ``(filters,)``.
    """

    kernels = ("depthwise", "pointwise")

    def __init__(
        self, filters: int, kernel_size: Any, strides: Any = 1, padding: str = "valid", data_format: str | None = None,
        dilation_rate: Any = 1, depth_multiplier: int = 1, activation: Any = None, use_bias: bool = True,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias, **kwargs)
        self.filters = whole_number(self.label, "filters", filters)
        self.depth_multiplier = whole_number(self.label, "depth_multiplier", depth_multiplier)
        self.depthwise_kernel: Any = None
        self.pointwise_kernel: Any = None

    def build(self, input_shape: Any) -> None:
        """Make kernels and bias."""
        self.in_channels = self.channels_of(input_shape)
        shape = (*self.kernel_size, self.in_channels, self.depth_multiplier)
        self.depthwise_kernel = self.make_weight("depthwise", shape, "depthwise_kernel")
        mixed = (*(1,) * self.rank, self.in_channels * self.depth_multiplier, self.filters)
        self.pointwise_kernel = self.make_weight("pointwise", mixed, "pointwise_kernel")
        self.add_bias(self.filters)

    def compute(self, inputs: Any) -> Any:
        """Both convolutions with bias and activation."""
        y = self.convolve(inputs, self.depthwise_kernel, depthwise=True)
        ones, zeros = (1,) * self.rank, (0,) * self.rank
        attrs = {"strides": ones, "low": zeros, "high": zeros, "dilation": ones, "groups": 1}
        return self.finished(current_emitter().emit("conv", y, self.pointwise_kernel, **attrs))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "filters": self.filters, "depth_multiplier": self.depth_multiplier}


class SeparableConv1D(SeparableConv):
    """Separable convolution of ``(batch, length, channels)``; arguments as in `SeparableConv`."""

    rank = 1


class SeparableConv2D(SeparableConv):
    """Separable convolution of ``(batch, height, width, channels)``; arguments as in `SeparableConv`."""

    rank = 2


class ConvTranspose(_Convolution):
    """Transposed convolution: what the gradient of a convolution does with its input, so that sizes grow by `strides`.

    Args:
        filters: channels of the output; int >= 1.
        kernel_size, strides, padding ("valid" or "same"), data_format, dilation_rate, activation, use_bias,
        initializers, regularizers and constraints: as in Conv2D.
        output_padding: extra size of the output, less than `strides`; None chooses it so that the output is
            ``size * strides`` ("same") or ``(size - 1) * strides + max(window, strides)`` ("valid").

    Weights: kernel ``(*kernel_size, filters, channels)``, bias ``(filters,)``.
    """

    def __init__(
        self, filters: int, kernel_size: Any, strides: Any = 1, padding: str = "valid", output_padding: Any = None,
        data_format: str | None = None, dilation_rate: Any = 1, activation: Any = None, use_bias: bool = True,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias, **kwargs)
        self.filters = whole_number(self.label, "filters", filters)
        self.output_padding = output_padding
        if output_padding is not None:
            self.output_padding = per_axis(self.label, "output_padding", output_padding, self.rank, least=0)
            if any(p >= s for p, s in zip(self.output_padding, self.strides, strict=True)):
                expected, received = f"less than strides {self.strides}", str(self.output_padding)
                raise ArgumentError(f"{self.label}: output_padding", expected=expected, received=received)
        self.kernel: Any = None

    def build(self, input_shape: Any) -> None:
        """Make kernel and bias."""
        self.in_channels = self.channels_of(input_shape)
        self.kernel = self.make_weight("kernel", (*self.kernel_size, self.filters, self.in_channels))
        self.add_bias(self.filters)

    def compute(self, inputs: Any) -> Any:
        """The gradient of the convolution that would have this input as its output, with bias and activation."""
        emitter = current_emitter()
        x = cast(inputs, dtype_of(self.dtype))
        shape = emitter.type_of(x).shape
        sizes, (low, high) = window_padding.transposed(
            shape[1:-1], self.padding, self.kernel_size, self.strides, self.dilation_rate, self.output_padding
        )
        attrs = {"strides": self.strides, "low": low, "high": high, "dilation": self.dilation_rate}
        target = (shape[0], *sizes, self.filters)
        return self.finished(emitter.emit("conv_input_grad", x, self.kernel, shape=target, groups=1, **attrs))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "filters": self.filters, "output_padding": self.output_padding}


class Conv1DTranspose(ConvTranspose):
    """Transposed convolution of ``(batch, length, channels)``; arguments as in `ConvTranspose`."""

    rank = 1


class Conv2DTranspose(ConvTranspose):
    """Transposed convolution of ``(batch, height, width, channels)``; arguments as in `ConvTranspose`."""

    rank = 2


class Conv3DTranspose(ConvTranspose):
    """Transposed convolution of ``(batch, depth, height, width, channels)``; arguments as in `ConvTranspose`."""

    rank = 3


Convolution1D = Conv1D
Convolution2D = Conv2D
Convolution3D = Conv3D
Convolution1DTranspose = Conv1DTranspose
Convolution2DTranspose = Conv2DTranspose
Convolution3DTranspose = Conv3DTranspose
SeparableConvolution1D = SeparableConv1D
SeparableConvolution2D = SeparableConv2D
