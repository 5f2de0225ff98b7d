"""First values of weights: Keras' initializers, drawn from NumPy generators."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kgraph.config import floatx
from kgraph.errors import ArgumentError, ShapeError
from kgraph.families import Family
from kgraph.lookup import find
from kgraph.random_seed import next_seed

Array: TypeAlias = "npt.NDArray[Any]"
Shape: TypeAlias = "Sequence[int]"

# Standard deviation of a standard normal variable cut to [-2, 2].
_STDDEV_OF_TRUNCATED = 0.87962566103423978


class Initializer:
    """Base of all initializers: call it with a shape to get an array.

    A subclass of the user's own defines ``__call__(shape, dtype=None)`` and, to be saved, ``get_config``.
    """

    def __call__(self, shape: Shape, dtype: Any = None) -> Array:
        """A new array of that shape; `dtype` None means `floatx`."""
        raise NotImplementedError(f"{type(self).__name__}.__call__(shape, dtype)")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Initializer:
        """An initializer with these constructor arguments."""
        return cls(**config)

    def clone(self) -> Initializer:
        """A new initializer with the same arguments; one without a fixed seed draws a new one."""
        return self.from_config(self.get_config())


class Zeros(Initializer):
    """All zeros."""

    def __call__(self, shape: Shape, dtype: Any = None) -> Array:
        return np.zeros(tuple(shape), dtype or floatx())


class Ones(Initializer):
    """All ones."""

    def __call__(self, shape: Shape, dtype: Any = None) -> Array:
        return np.ones(tuple(shape), dtype or floatx())


class Constant(Initializer):
    """One value everywhere, or an array that broadcasts to the shape.

    Args:
        value: number or array.

    >>> Constant(2.0)((2,))
    array([2., 2.], dtype=float32)
    """

    def __init__(self, value: Any = 0.0) -> None:
        self.value = value

    def __call__(self, shape: Shape, dtype: Any = None) -> Array:
        value = np.asarray(self.value, dtype or floatx())
        try:
            return np.broadcast_to(value, tuple(shape)).copy()
        except ValueError:
            received = str(value.shape)
            raise ShapeError("Constant initializer", expected=f"shape {tuple(shape)}", received=received) from None

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"value": self.value}


class Identity(Initializer):
    """The identity matrix times `gain`; rectangular shapes get ones on the diagonal."""

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def __call__(self, shape: Shape, dtype: Any = None) -> Array:
        if len(shape) != 2:
            raise ShapeError("Identity initializer", expected="a shape of rank 2", received=str(tuple(shape)))
        return np.asarray(self.gain * np.eye(shape[0], shape[1]), dtype or floatx())

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"gain": self.gain}


class RandomInitializer(Initializer):
    """Base of the random ones. As in Keras, one instance gives the same numbers at every call.

    Args:
        seed: int; None draws one when the initializer is made, so `set_random_seed` fixes it.
    """

    def __init__(self, seed: int | None = None) -> None:
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0):
            raise ArgumentError(f"{type(self).__name__}(seed=...)", expected="an int >= 0", received=repr(seed))
        self._given = None if seed is None else int(seed)
        self.seed = next_seed() if seed is None else int(seed)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"seed": self._given}

    def normal(self, shape: Shape, mean: float, stddev: float) -> Array:
        """float64 numbers of a normal distribution."""
        return mean + stddev * np.random.default_rng(self.seed).standard_normal(tuple(shape))

    def truncated_normal(self, shape: Shape, mean: float, stddev: float) -> Array:
        """float64 numbers of a normal distribution, redrawn until all lie within two standard deviations."""
        generator = np.random.default_rng(self.seed)
        values = generator.standard_normal(tuple(shape))
        flat = values.reshape(-1)
        outside = np.flatnonzero(np.abs(flat) > 2)
        while outside.size:
            flat[outside] = generator.standard_normal(outside.size)
            outside = outside[np.abs(flat[outside]) > 2]
        return mean + stddev * flat.reshape(tuple(shape))

    def uniform(self, shape: Shape, low: float, high: float) -> Array:
        """float64 numbers of the uniform distribution on [low, high)."""
        return np.random.default_rng(self.seed).uniform(low, high, tuple(shape))


class RandomNormal(RandomInitializer):
    """Normal distribution."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        self.mean, self.stddev = mean, stddev
        super().__init__(seed)

    def __call__(self, shape: Shape, dtype: Any = None) -> Array:
        return self.normal(shape, self.mean, self.stddev).astype(dtype or floatx())

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"mean": self.mean, "stddev": self.stddev, **super().get_config()}


class TruncatedNormal(RandomNormal):
    """Normal distribution without values further than two standard deviations from the mean."""

    def __call__(self, shape: Shape, dtype: Any = None) -> Array:
        return self.truncated_normal(shape, self.mean, self.stddev).astype(dtype or floatx())


class RandomUniform(RandomInitializer):
    """Uniform distribution on [minval, maxval)."""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None) -> None:
        self.minval, self.maxval = minval, maxval
        super().__init__(seed)

    def __call__(self, shape: Shape, dtype: Any = None) -> Array:
        return self.uniform(shape, self.minval, self.maxval).astype(dtype or floatx())

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"minval": self.minval, "maxval": self.maxval, **super().get_config()}


class VarianceScaling(RandomInitializer):
    """Random numbers of variance ``scale / n``, with n the number of inputs, of outputs, or their mean.

    Args:
        scale: positive number.
        mode: "fan_in", "fan_out" or "fan_avg": what n is.
        distribution: "truncated_normal" (also "normal"), "untruncated_normal" or "uniform".
        seed: int or None.
        input_axes, output_axes: axes of the weight whose sizes make the fans; None for those of kernels.

    Source: Glorot and Bengio (2010); He et al. (2015); fans counted as Keras does.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        distribution = "truncated_normal" if distribution.lower() == "normal" else distribution.lower()
        known = {name: name for name in ("truncated_normal", "untruncated_normal", "uniform")}
        if not scale > 0:
            raise ArgumentError("VarianceScaling(scale=...)", expected="a positive number", received=repr(scale))
        self.scale = scale
        self.mode = find("mode", mode, {name: name for name in ("fan_in", "fan_out", "fan_avg")})
        self.distribution = find("distribution", distribution, known)
        self.input_axes, self.output_axes = input_axes, output_axes
        super().__init__(seed)

    def __call__(self, shape: Shape, dtype: Any = None) -> Array:
        fan_in, fan_out = compute_fans(shape, self.input_axes, self.output_axes)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, fan)
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            values = self.uniform(shape, -limit, limit)
        elif self.distribution == "truncated_normal":
            values = self.truncated_normal(shape, 0.0, math.sqrt(variance) / _STDDEV_OF_TRUNCATED)
        else:
            values = self.normal(shape, 0.0, math.sqrt(variance))
        return values.astype(dtype or floatx())

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"scale": self.scale, "mode": self.mode, "distribution": self.distribution}
        return {**own, **super().get_config(), "input_axes": self.input_axes, "output_axes": self.output_axes}


class _Named(VarianceScaling):
    """Variance scaling with fixed scale, mode and distribution."""

    settings: tuple[float, str, str]

    def __init__(
        self,
        seed: int | None = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(*self.settings, seed, input_axes, output_axes)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        axes = {"input_axes": self.input_axes, "output_axes": self.output_axes}
        return {**RandomInitializer.get_config(self), **axes}


class GlorotUniform(_Named):
    """Uniform on [-a, a] with a = sqrt(6 / (fan_in + fan_out)). Source: Glorot and Bengio (2010)."""

    settings = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Named):
    """Truncated normal, standard deviation sqrt(2 / (fan_in + fan_out)). Source: Glorot and Bengio (2010)."""

    settings = (1.0, "fan_avg", "truncated_normal")


class HeUniform(_Named):
    """Uniform on [-a, a] with a = sqrt(6 / fan_in). Source: He et al. (2015)."""

    settings = (2.0, "fan_in", "uniform")


class HeNormal(_Named):
    """Truncated normal, standard deviation sqrt(2 / fan_in). Source: He et al. (2015)."""

    settings = (2.0, "fan_in", "truncated_normal")


class LecunUniform(_Named):
    """Uniform on [-a, a] with a = sqrt(3 / fan_in). Source: LeCun et al. (1998)."""

    settings = (1.0, "fan_in", "uniform")


class LecunNormal(_Named):
    """Truncated normal, standard deviation sqrt(1 / fan_in). Source: LeCun et al. (1998)."""

    settings = (1.0, "fan_in", "truncated_normal")


class Orthogonal(RandomInitializer):
    """A random matrix with orthonormal columns (or rows, if it is wide), times `gain`.

    Shapes of rank > 2 are flattened to ``(product of all but the last, last)``. Source: Saxe et al. (2014).
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        self.gain = gain
        super().__init__(seed)

    def __call__(self, shape: Shape, dtype: Any = None) -> Array:
        if len(shape) < 2:
            raise ShapeError("Orthogonal initializer", expected="a shape of rank >= 2", received=str(tuple(shape)))
        rows, columns = math.prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(self.normal((max(rows, columns), min(rows, columns)), 0.0, 1.0))
        q = q * np.sign(np.diag(r))
        q = q.T if rows < columns else q
        return np.asarray(self.gain * q.reshape(tuple(shape)), dtype or floatx())

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"gain": self.gain, **super().get_config()}


# Windows of length n, symmetric about their middle, by the names that SciPy gives them.
_WINDOWS: dict[str, Callable[[int], Array]] = {
    "hann": np.hanning, "hamming": np.hamming, "blackman": np.blackman, "bartlett": np.bartlett, "boxcar": np.ones,
}  # fmt: skip


class STFT(Initializer):
    """Kernel of a convolution that makes a short-time Fourier transform, of shape (frame, 1, frequencies).

    Element (t, 0, f) is the window at t times cos or sin of ``-2 pi t f / (2 frequencies - 2)``.

    Args:
        side: "real" for cos, "imag" for sin.
        window: "hann", "hamming", "blackman", "bartlett", "boxcar", an array of the frame's length, or None for none.
        scaling: "density" divides by the window's root of squares, "spectrum" by the sum of its magnitudes; None.
        periodic: whether a window that is named is one period of a periodic one.
    """

    def __init__(
        self, side: str = "real", window: Any = "hann", scaling: str | None = "density", periodic: bool = False
    ) -> None:
        choices = (("side", side, ("real", "imag")), ("scaling", scaling, ("density", "spectrum", None)))
        for name, value, known in choices:
            if value not in known:
                expected = "one of " + ", ".join(map(repr, known))
                raise ArgumentError(f"STFT({name})", expected=expected, received=repr(value))
        if isinstance(window, str):
            find("window", window, _WINDOWS)
        self.side, self.window, self.scaling, self.periodic = side, window, scaling, bool(periodic)

    def __call__(self, shape: Shape, dtype: Any = None) -> Array:
        if len(shape) != 3 or shape[2] < 2:
            raise ShapeError("STFT initializer", expected="a shape (frame, 1, frequencies), of two frequencies or more",
                             received=str(tuple(shape)))  # fmt: skip
        frame, _, frequencies = shape
        angles = -2.0 * np.pi * np.arange(frame)[:, None, None] * np.arange(frequencies) / (2 * (frequencies - 1))
        kernel = np.cos(angles) if self.side == "real" else np.sin(angles)
        if self.window is not None:
            window = self._window(frame)
            scale = {"density": np.sqrt(np.sum(window**2)), "spectrum": np.sum(np.abs(window)), None: 1.0}
            kernel = kernel * window[:, None, None] / scale[self.scaling]
        return np.asarray(kernel, dtype or floatx())

    def _window(self, frame: int) -> Array:
        if isinstance(self.window, str):
            return _WINDOWS[self.window](frame + 1)[:-1] if self.periodic else _WINDOWS[self.window](frame)
        window = np.asarray(self.window, np.float64)
        if window.shape != (frame,):
            raise ShapeError("STFT initializer: window", expected=f"shape ({frame},)", received=str(window.shape))
        return window

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"side": self.side, "window": self.window, "periodic": self.periodic, "scaling": self.scaling}


def compute_fans(
    shape: Shape, input_axes: Sequence[int] | None = None, output_axes: Sequence[int] | None = None
) -> tuple[int, int]:
    """Inputs and outputs of one unit for a weight of that shape.

    Without axes the weight is a kernel: the last two axes count, leading ones are a window.

    >>> compute_fans((3, 3, 16, 32))
    (144, 288)
    """
    if input_axes is not None and output_axes is not None:
        return math.prod(shape[a] for a in input_axes), math.prod(shape[a] for a in output_axes)
    if len(shape) < 2:
        fan = int(shape[0]) if shape else 1
        return fan, fan
    window = math.prod(shape[:-2])
    return int(shape[-2] * window), int(shape[-1] * window)


CLASSES: tuple[type[Initializer], ...] = (
    Constant, GlorotNormal, GlorotUniform, HeNormal, HeUniform, Identity, LecunNormal, LecunUniform, Ones,
    Orthogonal, RandomNormal, RandomUniform, STFT, TruncatedNormal, VarianceScaling, Zeros,
)  # fmt: skip

# The spellings of `keras.initializers.<name>`.
constant, glorot_normal, glorot_uniform = Constant, GlorotNormal, GlorotUniform
he_normal, he_uniform, identity = HeNormal, HeUniform, Identity
lecun_normal, lecun_uniform, ones, orthogonal = LecunNormal, LecunUniform, Ones, Orthogonal
random_normal, random_uniform, truncated_normal = RandomNormal, RandomUniform, TruncatedNormal
stft, variance_scaling, zeros = STFT, VarianceScaling, Zeros
IdentityInitializer, OrthogonalInitializer, STFTInitializer = Identity, Orthogonal, STFT


class _Initializers(Family):
    """Numbers and arrays stand for a constant."""

    def get(self, identifier: Any, argument: str = "") -> Any:
        """As in every family, and numbers and arrays."""
        if isinstance(identifier, (np.ndarray, np.generic, int, float)) and not isinstance(identifier, bool):
            return Constant(identifier)
        return super().get(identifier, argument)


FAMILY = _Initializers(
    "initializer",
    CLASSES,
    {
        "normal": RandomNormal,
        "uniform": RandomUniform,
        "zero": Zeros,
        "one": Ones,
        "IdentityInitializer": Identity,
        "OrthogonalInitializer": Orthogonal,
        "STFTInitializer": STFT,
        "stft": STFT,
    },
)


def get(identifier: Any, argument: str = "initializer") -> Any:
    """The initializer that a name, class, configuration, array-like constant or callable means; None stays None.

    >>> get("he_normal").mode
    'fan_in'
    """
    return FAMILY.get(identifier, argument)


def serialize(initializer: Any) -> Any:
    """The initializer as Keras writes it into a layer's configuration."""
    return FAMILY.serialize(initializer)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The initializer that `serialize` described; a plain name works too."""
    return FAMILY.deserialize(config, custom_objects)
