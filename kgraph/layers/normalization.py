"""Normalisation layers: batch, layer, group, root mean square, unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import kgraph.initializers as initializers
from kgraph.config import epsilon
from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import broadcast_to
from kgraph.keras_tensor import shape_text
from kgraph.layers.arguments import at_least_0, axis_argument, unsupported, whole_number
from kgraph.layers.base import Layer
from kgraph.primitives import composites
from kgraph.trace import current_trace


class AffineNormalization(Layer):
    """Base of the layers with a scale (gamma) and an offset (beta) for each place along an axis."""

    def __init__(
        self,
        axis: Any,
        epsilon: float,
        center: bool,
        scale: bool,
        beta_initializer: Any,
        gamma_initializer: Any,
        kwargs: dict[str, Any],
    ) -> None:
        options = {
            weight: (kwargs.pop(f"{weight}_regularizer", None), kwargs.pop(f"{weight}_constraint", None))
            for weight in ("beta", "gamma")
        }
        super().__init__(**kwargs)
        self.axis = axis_argument(self.label, axis)
        self.epsilon = at_least_0(self.label, "epsilon", epsilon)
        self.center, self.scale = bool(center), bool(scale)
        self.keep_weight_options("beta", beta_initializer, *options["beta"])
        self.keep_weight_options("gamma", gamma_initializer, *options["gamma"])
        self.gamma: Any = None
        self.beta: Any = None

    def check_inputs(self, inputs: Any) -> None:
        """The axes must exist, have known sizes, and those that the weights were made for."""
        sizes = _sizes(self.label, inputs, self.axis)
        made = self.gamma if self.gamma is not None else self.beta
        if self.built and made is not None and made.shape != sizes:
            fix = f"The sizes along axis {self.axis} were {made.shape} at the first call"
            raise ShapeError(self.label, expected=f"{made.shape}", received=f"{sizes}", fix=fix)

    def make_scale_and_offset(self, input_shape: Any) -> tuple[int, ...]:
        """Make gamma and beta, where wanted; their shape."""
        shape = tuple(input_shape[a] for a in axes_in(self.axis, len(input_shape)))
        if self.scale:
            self.gamma = self.make_weight("gamma", shape)
        if self.center:
            self.beta = self.make_weight("beta", shape)
        return shape

    def affine(self, x: Any, inverse: Any, mean: Any, rest: Any, axes: tuple[int, ...]) -> Any:
        """``gamma * (x - mean - rest) * inverse + beta``; mean, rest and inverse have axes of size 1, gamma `axes`."""
        standard = ((x - mean) - rest) * inverse
        shape = current_emitter().type_of(x).shape
        if self.gamma is not None:
            standard = standard * along(self.gamma, axes, len(shape))
        return standard if self.beta is None else standard + along(self.beta, axes, len(shape))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "axis": self.axis,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            **self.weight_options(),
        }


class BatchNormalization(AffineNormalization):
    """Normalises each channel: in training by mean and variance of the batch, else by their moving averages.

    Args:
        axis: the channels' axis, which keeps statistics of its own.
        momentum: part of the old moving average that stays at a training step, in [0, 1].
        epsilon: added to the variance, >= 0.
        center, scale: whether there is a beta, a gamma.
        beta_initializer, gamma_initializer, moving_mean_initializer, moving_variance_initializer: names or
            initializers.
        renorm: only False. synchronized: no effect, there is one device.
        beta_regularizer, gamma_regularizer, beta_constraint, gamma_constraint: as for the kernel of Dense.
        renorm_clipping: only None.

    Input shape: any of rank >= 2 with a known size along `axis`. Output shape: the same.
    Weights: gamma, beta, moving_mean, moving_variance, each ``(channels,)``.
    With ``trainable = False`` it runs as in inference, whatever `training` says.
    Source: Ioffe and Szegedy (2015); the moving variance takes the batch's with divisor n, as in Keras.
    """

    supports_masking = True

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        renorm: bool = False,
        synchronized: bool = False,
        **kwargs: Any,
    ) -> None:
        renorm_options = {name: kwargs.pop(name, None) for name in ("renorm_clipping",)}
        kwargs.pop("renorm_momentum", None)
        super().__init__(axis, epsilon, center, scale, beta_initializer, gamma_initializer, kwargs)
        unsupported(self.label, renorm=renorm or None, **renorm_options)
        if not isinstance(self.axis, int):
            raise ArgumentError(f"{self.label}: axis", expected="an int", received=repr(axis))
        if isinstance(momentum, bool) or not isinstance(momentum, (int, float)) or not 0 <= momentum <= 1:
            raise ArgumentError(f"{self.label}: momentum", expected="a number in [0, 1]", received=repr(momentum))
        self.momentum, self.synchronized = float(momentum), bool(synchronized)
        where = f"{self.label}: moving"
        self.moving_mean_initializer = initializers.get(moving_mean_initializer, f"{where}_mean_initializer")
        self.moving_variance_initializer = initializers.get(
            moving_variance_initializer, f"{where}_variance_initializer"
        )
        self.moving_mean: Any = None
        self.moving_variance: Any = None

    def build(self, input_shape: Any) -> None:
        """Make the weights and the moving statistics."""
        shape = self.make_scale_and_offset(input_shape)
        self.moving_mean = self.add_weight(shape, self.moving_mean_initializer, trainable=False, name="moving_mean")
        self.moving_variance = self.add_weight(
            shape, self.moving_variance_initializer, trainable=False, name="moving_variance"
        )

    def check_inputs(self, inputs: Any) -> None:
        """As in the base; the moving statistics are there even without gamma and beta."""
        super().check_inputs(inputs)
        sizes = _sizes(self.label, inputs, self.axis)
        if self.built and self.moving_mean.shape != sizes:
            raise ShapeError(self.label, expected=f"{self.moving_mean.shape}", received=f"{sizes}")

    def call(self, inputs: Any, training: bool = False, mask: Any = None) -> Any:
        """The inputs, normalised; in training the moving statistics are updated, by what the mask keeps."""
        x = composites.cast(inputs, self.dtype)
        emitter = current_emitter()
        rank = emitter.type_of(x).rank
        channel = axes_in(self.axis, rank)
        if not (training and self.trainable):
            inverse = emitter.emit("rsqrt", self.moving_variance + self.epsilon)
            scale = inverse if self.gamma is None else inverse * self.gamma
            y = (x - along(self.moving_mean, channel, rank)) * along(scale, channel, rank)
            return y if self.beta is None else y + along(self.beta, channel, rank)
        others = tuple(a for a in range(rank) if a not in channel)
        if mask is None:
            mean, rest, variance = emitter.emit("moments", x, axes=others)
        else:
            mean, rest, variance = _masked_moments(x, mask, others)
        inverse = emitter.emit("rsqrt", variance + self.epsilon)
        scale = inverse if self.gamma is None else inverse * self.gamma
        shift = -(rest * scale) if self.beta is None else self.beta - rest * scale
        self._move(self.moving_mean, mean + rest)
        self._move(self.moving_variance, variance)
        return emitter.emit("scale_shift", x, mean, scale, shift, axes=others)

    def keeps_rows_apart(self, training: bool) -> bool:
        """Not in training: statistics are those of the batch."""
        return not (training and self.trainable)

    def _move(self, average: Any, value: Any) -> None:
        now = _without_slope(value) * (1.0 - self.momentum)
        current_trace().assign(average, average * self.momentum + now)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "moving_mean_initializer": initializers.serialize(self.moving_mean_initializer),
            "moving_variance_initializer": initializers.serialize(self.moving_variance_initializer),
            "synchronized": self.synchronized,
        }


def _masked_moments(x: Any, mask: Any, axes: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """As the op "moments", of what a mask without the last axis keeps; as in Keras, its number is raised by epsilon."""
    keep = broadcast_to(composites.expand_dims(mask, -1), x.type.shape)
    count = composites.sum(composites.cast(keep, x.dtype), axes) + epsilon()
    mean = composites.sum(composites.where(keep, x, 0), axes) / count
    channel = tuple(a for a in range(x.type.rank) if a not in axes)
    apart = composites.where(keep, x - along(mean, channel, x.type.rank), 0)
    return mean, composites.zeros_like(mean), composites.sum(apart * apart, axes) / count


class LayerNormalization(AffineNormalization):
    """Normalises each sample over some axes, by default the last one.

    Args:
        axis: axis or axes with one mean and variance together.
        epsilon: added to the variance, >= 0.
        center, scale: whether there is a beta, a gamma.
        beta_initializer, gamma_initializer: names or initializers.
        rms_scaling: divide by the standard deviation without taking the mean away (older Keras; has no beta).
        beta_regularizer, gamma_regularizer, beta_constraint, gamma_constraint: as for the kernel of Dense.

    Output shape: that of the input. Weights: gamma, beta of the sizes along the axes.
    Source: Ba, Kiros and Hinton (2016).
    """

    supports_masking = True

    def __init__(
        self,
        axis: Any = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        rms_scaling: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            axis, epsilon, center and not rms_scaling, scale or rms_scaling, beta_initializer, gamma_initializer, kwargs
        )
        self.rms_scaling = bool(rms_scaling)

    def build(self, input_shape: Any) -> None:
        """Make gamma and beta."""
        self.make_scale_and_offset(input_shape)

    def call(self, inputs: Any) -> Any:
        """The inputs, normalised."""
        x = composites.cast(inputs, self.dtype)
        emitter = current_emitter()
        rank = emitter.type_of(x).rank
        axes = axes_in(self.axis, rank)
        if self.rms_scaling or axes != (rank - 1,):
            mean, rest, variance = (expanded(v, axes) for v in emitter.emit("moments", x, axes=axes))
            inverse = emitter.emit("rsqrt", variance + self.epsilon)
            zero = composites.zeros_like(mean)
            return self.affine(x, inverse, *((zero, zero) if self.rms_scaling else (mean, rest)), axes)
        row = emitter.type_of(x).shape[-1:]
        gamma = composites.full(row, 1, emitter.type_of(x).dtype) if self.gamma is None else self.gamma
        beta = composites.full(row, 0, emitter.type_of(x).dtype) if self.beta is None else self.beta
        return emitter.emit("layer_norm", x, gamma, beta, epsilon=self.epsilon)[0]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "rms_scaling": self.rms_scaling}


class GroupNormalization(AffineNormalization):
    """Normalises each sample over all axes, in groups of channels.

    Args:
        groups: number of groups, a divisor of the number of channels; -1 for as many groups as channels.
        axis: the channels' axis.
        epsilon: added to the variance, >= 0.
        center, scale: whether there is a beta, a gamma.
        beta_initializer, gamma_initializer: names or initializers.
        beta_regularizer, gamma_regularizer, beta_constraint, gamma_constraint: as for the kernel of Dense.

    Output shape: that of the input. Weights: gamma, beta ``(channels,)``. Source: Wu and He (2018).
    """

    supports_masking = True

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        **kwargs: Any,
    ) -> None:
        super().__init__(axis, epsilon, center, scale, beta_initializer, gamma_initializer, kwargs)
        self.groups = groups if groups == -1 else whole_number(self.label, "groups", groups)
        if not isinstance(self.axis, int):
            raise ArgumentError(f"{self.label}: axis", expected="an int", received=repr(axis))

    def check_inputs(self, inputs: Any) -> None:
        """The number of channels must be a multiple of the number of groups; axis 0 is the batch."""
        super().check_inputs(inputs)
        (axis,), rank = axes_in(self.axis, inputs.type.rank), inputs.type.rank
        if axis == 0:
            raise ArgumentError(f"{self.label}: axis", expected=f"an axis in 1..{rank - 1}", received=str(self.axis))
        channels = inputs.type.shape[axis]
        if self.groups != -1 and channels % self.groups:
            expected = f"a divisor of the {channels} channels"
            raise ArgumentError(f"{self.label}: groups", expected=expected, received=str(self.groups))

    def build(self, input_shape: Any) -> None:
        """Make gamma and beta."""
        self.make_scale_and_offset(input_shape)

    def call(self, inputs: Any) -> Any:
        """The inputs, normalised."""
        x = composites.cast(inputs, self.dtype)
        emitter = current_emitter()
        shape = emitter.type_of(x).shape
        (axis,) = axes_in(self.axis, len(shape))
        channels = shape[axis]
        assert isinstance(channels, int)
        groups = channels if self.groups == -1 else self.groups
        split = (*shape[:axis], groups, channels // groups, *shape[axis + 1 :])
        parts = composites.reshape(x, split)
        axes = tuple(a for a in range(1, len(split)) if a != axis)
        mean, rest, variance = (expanded(v, axes) for v in emitter.emit("moments", parts, axes=axes))
        standard = ((parts - mean) - rest) * emitter.emit("rsqrt", variance + self.epsilon)
        for weight, combine in ((self.gamma, _times), (self.beta, _plus)):
            if weight is not None:
                pair = composites.reshape(current_trace().read(weight), (groups, channels // groups))
                standard = combine(standard, along(pair, (axis, axis + 1), len(split)))
        return composites.reshape(standard, shape)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "groups": self.groups}


class RMSNormalization(Layer):
    """Divides by the root mean square over some axes, and multiplies by a learned scale.

    Args:
        axis: axis or axes with one root mean square together.
        epsilon: added to the mean square, >= 0.

    Output shape: that of the input. Weights: scale of the sizes along the axes. Source: Zhang and Sennrich (2019).
    """

    def __init__(self, axis: Any = -1, epsilon: float = 1e-6, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis, self.epsilon = axis_argument(self.label, axis), at_least_0(self.label, "epsilon", epsilon)
        self.scale: Any = None

    def check_inputs(self, inputs: Any) -> None:
        """The axes must exist, have known sizes, and those that the weight was made for."""
        sizes = _sizes(self.label, inputs, self.axis)
        if self.built and self.scale.shape != sizes:
            raise ShapeError(self.label, expected=f"{self.scale.shape}", received=f"{sizes}")

    def build(self, input_shape: Any) -> None:
        """Make the scale."""
        shape = tuple(input_shape[a] for a in axes_in(self.axis, len(input_shape)))
        self.scale = self.add_weight(shape, "ones", name="scale")

    def call(self, inputs: Any) -> Any:
        """The inputs, normalised."""
        x = composites.cast(inputs, self.dtype)
        emitter = current_emitter()
        rank = emitter.type_of(x).rank
        axes = axes_in(self.axis, rank)
        squares = composites.mean(composites.square(x), axes, keepdims=True)
        return x * emitter.emit("rsqrt", squares + self.epsilon) * along(self.scale, axes, rank)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "axis": self.axis, "epsilon": self.epsilon}


class UnitNormalization(Layer):
    """Divides by the Euclidean norm over some axes; zeros stay zeros.

    Args:
        axis: axis or axes with one norm together.

    Output shape: that of the input.

    >>> (UnitNormalization()([[3.0, 4.0]]) * 10).round().tolist()
    [[6.0, 8.0]]
    """

    supports_masking = True

    def __init__(self, axis: Any = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis_argument(self.label, axis)

    def check_inputs(self, inputs: Any) -> None:
        """The axes must exist."""
        _checked_axes(self.label, inputs, self.axis)

    def call(self, inputs: Any) -> Any:
        """The inputs, normalised."""
        x = composites.cast(inputs, self.dtype)
        return unit_length(x, axes_in(self.axis, x.type.rank))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "axis": self.axis}


def unit_length(x: Any, axes: Sequence[int]) -> Any:
    """`x` divided by its norm over `axes`, times 1e12 where that is below 1e-12, as Keras does."""
    squares = composites.sum(composites.square(x), tuple(axes), keepdims=True)
    tiny = squares < 1e-24
    # The slope of rsqrt at 0 is infinite, and infinity times the zero of the branch not taken would be nan.
    inverse = current_emitter().emit("rsqrt", composites.where(tiny, 1.0, squares))
    return x * composites.where(tiny, 1e12, inverse)


def axes_in(axis: int | Sequence[int], rank: int) -> tuple[int, ...]:
    """Rising axes counted from the front.

    >>> axes_in([-1, 1], 3)
    (1, 2)
    """
    return composites.axes_of(axis, rank)


def along(weight: Any, axes: Sequence[int], rank: int) -> Any:
    """A tensor whose axes are `axes` of `rank` ones, with axes of size 1 for the others."""
    value = current_trace().lift(weight)
    sizes = dict(zip(axes, value.type.shape))
    return composites.reshape(value, tuple(sizes.get(a, 1) for a in range(rank)))


def expanded(value: Any, axes: Sequence[int]) -> Any:
    """A reduced tensor with axes of size 1 at the places `axes`."""
    for axis in axes:
        value = composites.expand_dims(value, axis)
    return value


def _without_slope(value: Any) -> Any:
    return current_emitter().emit("stop_gradient", value)


def _times(a: Any, b: Any) -> Any:
    return a * b


def _plus(a: Any, b: Any) -> Any:
    return a + b




def _checked_axes(label: str, inputs: Any, axis: int | list[int]) -> tuple[int, ...]:
    try:
        return axes_in(axis, inputs.type.rank)
    except ShapeError:
        expected = f"different axes of {shape_text(inputs.type)}"
        raise ArgumentError(f"{label}: axis", expected=expected, received=str(axis)) from None


def _sizes(label: str, inputs: Any, axis: int | list[int]) -> tuple[int, ...]:
    """The sizes along the axes; an error if one is not known."""
    sizes = tuple(inputs.type.shape[a] for a in _checked_axes(label, inputs, axis))
    if not all(isinstance(size, int) for size in sizes):
        text = shape_text(inputs.type)
        raise ShapeError(label, expected=f"known sizes along axis {axis}", received=text, fix="Give them in Input")
    return sizes
