"""Random tensors under Keras' names: `kgraph.random`.

`seed` is an int (every call gives the same numbers), a `SeedGenerator` (each call gives new ones, which follow from its
seed), or None (new ones, which follow from `kgraph.utils.set_random_seed`; inside a model's programs from its random
state). Numbers are made by the counter-based generator Philox, so that interpreter and native code draw the same bits.
`dtype` None is `floatx`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kgraph.eager import operation
from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dims import Shape
from kgraph.ir.dtypes import DType, i32, i64, u32
from kgraph.ir.opdef import current_emitter, is_tracing
from kgraph.ir.operators import broadcast_to
from kgraph.ir.operators import cast as convert
from kgraph.naming import auto_name
from kgraph.ops.creation import shape_of
from kgraph.ops.promotion import chosen, emit, float_type, floating, tensor, type_of
from kgraph.primitives import composites
from kgraph.random_seed import next_seed
from kgraph.trace import current_trace
from kgraph.variable import Variable

# Rounds of rejection sampling for gamma numbers: each fails with a probability below 0.05, all of them below 1e-13.
_GAMMA_ROUNDS = 10


class SeedGenerator:
    """A source of seeds: each use gives the next one of a sequence.

    Args:
        seed: int >= 0 that fixes the sequence; None for any.
        name: shown in messages.

    Attributes:
        seed: as given, or as drawn.
        state: variable with the seed and the number of uses; programs update it.
    """

    def __init__(self, seed: int | None = None, name: str | None = None, **kwargs: Any) -> None:
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0):
            raise ArgumentError("SeedGenerator: seed", expected="an int >= 0 or None", received=repr(seed))
        kwargs.pop("backend", None)
        if kwargs:
            raise ArgumentError("SeedGenerator", expected="seed and name", received=f"{', '.join(kwargs)} too")
        self.name = name or auto_name("seed_generator")
        self._given = None if seed is None else int(seed)
        self.seed = next_seed() if self._given is None else self._given
        self.state = Variable(np.array([self.seed & 0xFFFFFFFF, 0], "uint32"), f"{self.name}_state", trainable=False)

    def next(self, ordered: bool = True) -> Any:
        """The next seed, two uint32: an array, or a tensor inside a program. `ordered` has no effect."""
        if not is_tracing():
            present = self.state.value
            self.state.assign(present + np.array([0, 1], "uint32"))
            return present
        trace = current_trace()
        found = trace.read(self.state)
        trace.assign(self.state, found + trace.constant([0, 1], u32))
        return found

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal generator, or another with a seed of its own if none was given."""
        return {"seed": self._given, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SeedGenerator:
        """The generator that `get_config` described."""
        return cls(**config)


def _key(seed: Any) -> Any:
    """A key for one use of `seed`."""
    if seed is None:
        return current_trace().random_key()
    if isinstance(seed, SeedGenerator):
        return emit("fold_in", seed.next(), data=0)
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise ArgumentError("seed", expected="an int, a SeedGenerator or None", received=repr(seed))
    return current_emitter().constant([int(seed) & 0xFFFFFFFF, (int(seed) >> 32) & 0xFFFFFFFF], u32)


def _float(dtype: Any) -> DType:
    kind = chosen(dtype, float_type())
    if not kind.is_float:
        raise ArgumentError("dtype", expected="a float type", received=kind.numpy)
    return kind


def _parameter(x: Any, shape: Shape, dtype: DType) -> Any:
    """A number or tensor that a distribution has, for each element of `shape`."""
    return broadcast_to(convert(tensor(x), dtype), shape)


@operation("mean", "stddev", numbers=True)
def normal(shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None) -> Any:
    """Numbers of the normal distribution with this mean and standard deviation."""
    sizes, kind = shape_of(shape), _float(dtype)
    found = composites.normal(_key(seed), sizes, kind)
    return found * _parameter(stddev, sizes, kind) + _parameter(mean, sizes, kind)


@operation("minval", "maxval", numbers=True)
def uniform(shape: Any, minval: Any = 0.0, maxval: Any = 1.0, dtype: Any = None, seed: Any = None) -> Any:
    """Numbers that lie anywhere in [minval, maxval) with equal probability."""
    sizes, kind = shape_of(shape), _float(dtype)
    low, high = _parameter(minval, sizes, kind), _parameter(maxval, sizes, kind)
    return composites.uniform(_key(seed), sizes, kind) * (high - low) + low


@operation("minval", "maxval", numbers=True)
def randint(shape: Any, minval: Any, maxval: Any, dtype: Any = "int32", seed: Any = None) -> Any:
    """Integers of [minval, maxval) with equal probability; the range must be below 2^31."""
    sizes, kind = shape_of(shape), chosen(dtype, i32)
    if not kind.is_integer:
        raise ArgumentError("dtype", expected="an integer type", received=kind.numpy)
    low, high = _parameter(minval, sizes, i64), _parameter(maxval, sizes, i64)
    bits = convert(emit("random_bits", _key(seed), shape=sizes), i64)
    return convert(low + emit("shift_right", bits * (high - low), composites.full(sizes, 32, i64)), kind)


@operation("mean", "stddev", numbers=True)
def truncated_normal(shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None) -> Any:
    """Numbers of the normal distribution that lie within two standard deviations of the mean."""
    sizes, kind = shape_of(shape), _float(dtype)
    limit = math.erf(math.sqrt(2.0))
    level = composites.uniform(_key(seed), sizes, kind) * (2 * limit) - limit
    found = composites.clip(emit("erfinv", level) * math.sqrt(2.0), -2.0, 2.0)
    return found * _parameter(stddev, sizes, kind) + _parameter(mean, sizes, kind)


@operation("logits")
def categorical(logits: Any, num_samples: int, dtype: Any = "int32", seed: Any = None) -> Any:
    """Classes drawn with the probabilities ``softmax(logits)``.

    Args:
        logits: ``(batch, classes)``.
        num_samples: draws for each row.

    Output shape: ``(batch, num_samples)``.
    Source: the largest of logits plus Gumbel noise (Gumbel, 1954).
    """
    logits = floating(logits)
    if type_of(logits).rank != 2:
        raise ShapeError("logits", expected="(batch, classes)", received=str(type_of(logits).shape))
    (batch, classes), kind = type_of(logits).shape, type_of(logits).dtype
    bits = convert(emit("random_bits", _key(seed), shape=(batch, num_samples, classes)), kind)
    noise = -emit("log", -emit("log", (bits + 0.5) * 2.0**-32))
    return convert(composites.argmax(composites.expand_dims(logits, 1) + noise, -1), chosen(dtype, i32))


@operation("counts", "probabilities")
def _binomial(shape: Any, counts: Any, probabilities: Any, most: int, dtype: Any, seed: Any) -> Any:
    sizes, kind = shape_of(shape), _float(dtype)
    trials = (*sizes, most)
    level = composites.uniform(_key(seed), trials, kind)
    chance = composites.expand_dims(_parameter(probabilities, sizes, kind), -1)
    counted = composites.expand_dims(_parameter(counts, sizes, i32), -1)
    number = emit("iota", shape=trials, axis=len(sizes), dtype=i32)
    hits = emit("logical_and", level < chance, number < counted)
    return composites.sum(convert(hits, kind), -1)


def binomial(shape: Any, counts: Any, probabilities: Any, dtype: Any = None, seed: Any = None) -> Any:
    """Numbers of successes in so many trials, each of this probability.

    Args:
        shape: of the result.
        counts: trials; numbers or an array that broadcasts to `shape`, known before run time.
        probabilities: of a success; broadcasts likewise.

    Every trial is drawn, so that time and memory grow with the largest count.
    """
    known = np.asarray(counts)
    if known.size == 0 or known.min() < 0:
        raise ArgumentError("binomial: counts", expected="numbers of trials >= 0", received=repr(counts))
    return _binomial(shape, known.astype("int32"), probabilities, int(known.max()), dtype, seed)


def _gamma(key: Any, shape: Shape, alpha: Any, kind: DType) -> Any:
    """Marsaglia and Tsang (2000): d (1 + c normal)^3 where a test holds; for alpha < 1 with alpha + 1 and a root."""
    boosted = alpha < 1.0
    d = composites.where(boosted, alpha + 1.0, alpha) - 1.0 / 3.0
    c = emit("rsqrt", d * 9.0)
    found = d
    for number in range(_GAMMA_ROUNDS):
        normals = composites.normal(emit("fold_in", key, data=2 * number), shape, kind)
        level = composites.uniform(emit("fold_in", key, data=2 * number + 1), shape, kind)
        root = normals * c + 1.0
        v = root * root * root
        positive = v > 0.0
        v = composites.where(positive, v, 1.0)
        test = emit("log", level + 2.0**-33) < 0.5 * normals * normals + d * (1.0 - v + emit("log", v))
        accepted = emit("logical_and", positive, test)
        found = composites.where(accepted, d * v, found)
    level = composites.uniform(emit("fold_in", key, data=2 * _GAMMA_ROUNDS), shape, kind) + 2.0**-33
    return composites.where(boosted, found * level ** (1.0 / alpha), found)


@operation("alpha", numbers=True)
def gamma(shape: Any, alpha: Any, dtype: Any = None, seed: Any = None) -> Any:
    """Numbers of the gamma distribution of shape `alpha` > 0 and scale 1."""
    sizes, kind = shape_of(shape), _float(dtype)
    return _gamma(_key(seed), sizes, _parameter(alpha, sizes, kind), kind)


@operation("alpha", "beta", numbers=True)
def beta(shape: Any, alpha: Any, beta: Any, dtype: Any = None, seed: Any = None) -> Any:
    """Numbers of the beta distribution, a / (a + b) of two gamma numbers."""
    sizes, kind = shape_of(shape), _float(dtype)
    key = _key(seed)
    a = _gamma(emit("fold_in", key, data=1), sizes, _parameter(alpha, sizes, kind), kind)
    b = _gamma(emit("fold_in", key, data=2), sizes, _parameter(beta, sizes, kind), kind)
    return a / (a + b)


@operation("inputs")
def dropout(inputs: Any, rate: float, noise_shape: Sequence[int | None] | None = None, seed: Any = None) -> Any:
    """`inputs` with each element 0 with probability `rate`, and the others divided by ``1 - rate``.

    Args:
        inputs: tensor; integers are cast to `floatx`.
        rate: in [0, 1]; 1 gives zeros.
        noise_shape: shape of the mask, which broadcasts; None in it is the size of the input.
        seed: see the module.
    """
    if isinstance(rate, bool) or not isinstance(rate, (int, float, np.number)) or not 0 <= rate <= 1:
        raise ArgumentError("rate", expected="a number in [0, 1]", received=repr(rate))
    rate = float(rate)
    x = floating(inputs)
    shape = type_of(x).shape
    if noise_shape is not None and len(noise_shape) != len(shape):
        raise ShapeError("noise_shape", expected=f"{len(shape)} sizes", received=repr(noise_shape))
    if rate == 1:
        return composites.zeros_like(x)
    noise = shape if noise_shape is None else tuple(d if n is None else n for n, d in zip(noise_shape, shape))
    mask = broadcast_to(composites.dropout_mask(_key(seed), noise, 1.0 - rate), shape)
    return composites.where(mask, x * (1.0 / (1.0 - rate)), 0.0)


@operation("x")
def shuffle(x: Any, axis: int = 0, seed: Any = None) -> Any:
    """The slices along an axis in random order."""
    place = composites.axis_of(axis, type_of(x).rank)
    bits = emit("random_bits", _key(seed), shape=(type_of(x).shape[place],))
    return composites.gather(x, composites.argsort(bits, 0), place)
