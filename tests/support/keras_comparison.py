"""The same layer in Keras (on JAX) and here, with the same weights: outputs, gradients, shapes, names of weights.

A case is text such as ``LeakyReLU(negative_slope=0.1)``, evaluated among the names of `keras.layers` and of
`kgraph.layers`. Weights are random numbers, so that biases and scales take part.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import keras
import numpy as np

import kgraph
from kgraph.nesting import flatten

# Allowed difference, as a part of the largest element of an array.
RTOL = 2e-5
BATCH = 3
# Inputs hold no mask of their own; EinsumDense keeps masks here, where Keras drops them with a warning.
OTHER_MASKS = {"InputLayer", "EinsumDense"}


@dataclass(frozen=True)
class Data:
    """One input: its shape without the batch, and its numbers.

    Attributes:
        shape: sizes without the batch.
        dtype: element type; integers are drawn from [low, high), bools are mostly true.
        low, high: limits of the numbers; floats are normal numbers where both are 0.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    low: float = 0
    high: float = 0

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """A batch of such numbers."""
        shape = (BATCH, *self.shape)
        if self.dtype == "bool":
            return rng.random(shape) < 0.75
        if self.dtype == "float32" and self.low == self.high:
            return rng.normal(size=shape).astype("float32")
        draw = rng.uniform if self.dtype == "float32" else rng.integers
        return np.asarray(draw(self.low, self.high, shape), self.dtype)


@dataclass(frozen=True)
class Case:
    """One configuration of a layer.

    Attributes:
        layer: text that makes it.
        inputs: shapes without the batch, or `Data`.
        call: text that calls it: `layer`, the inputs `x0`, `x1`, ..., and the layers' names are known; empty for
            ``layer(x0)`` or ``layer([x0, x1])``.
        training: whether the call in training is compared too; not where it is random.
        scale: of the random weights; 0 to keep those that the layers have, which must be equal then.
    """

    layer: str
    inputs: Sequence[tuple[int, ...] | Data]
    call: str = ""
    training: bool = True
    scale: float = 0.5

    def __str__(self) -> str:
        return f"{self.layer}{' ' + self.call if self.call else ''}-{list(self.inputs)}"

    @property
    def data(self) -> list[Data]:
        """What goes in."""
        return [given if isinstance(given, Data) else Data(given) for given in self.inputs]

    def model(self, framework: Any) -> Any:
        """A functional model of this layer, in Keras or here."""
        names = {name: getattr(framework.layers, name) for name in dir(framework.layers)} | {"np": np, "k": framework}
        tensors = [framework.Input(data.shape, dtype=data.dtype) for data in self.data]
        listed = ", ".join(f"x{n}" for n in range(len(tensors)))
        call = self.call or (f"layer({listed})" if len(tensors) == 1 else f"layer([{listed}])")
        known = names | {f"x{n}": tensor for n, tensor in enumerate(tensors)}
        known["layer"] = eval(self.layer, known)
        return framework.Model(tensors, eval(call, known))


@dataclass(frozen=True)
class Results:
    """What a call gives: outputs, gradients of float inputs and of trainable weights, weights afterwards."""

    outputs: list[np.ndarray]
    of_inputs: list[np.ndarray]
    of_weights: list[np.ndarray]
    weights: list[np.ndarray]


def compare(case: Case, execution: str) -> None:
    """Build the case in both, and compare."""
    theirs, ours = case.model(keras), case.model(kgraph)
    sizes = zip(leaves(ours.output_shape), leaves(theirs.output_shape), strict=True)  # Keras knows fewer of them
    assert all(known in (size, None) for size, known in sizes), f"{ours.output_shape} {theirs.output_shape}"
    assert [_plain(v.path) for v in ours.weights] == [_plain(v.path) for v in theirs.weights], "names of weights"
    for own, other in zip(ours.layers, theirs.layers):
        if type(own).__name__ == type(other).__name__ and type(own).__name__ not in OTHER_MASKS:
            assert own.supports_masking == other.supports_masking, f"supports_masking of {own.name}"
    rng = np.random.default_rng(zlib.crc32(str(case).encode()))
    weights = [_weight(rng, v, case.scale) if case.scale else np.asarray(v) for v in theirs.weights]
    if not case.scale:
        assert_same(ours.get_weights(), weights, "weights")
    xs = [data.draw(rng) for data in case.data]
    for training in (False, True)[: 1 + case.training]:
        if case.scale:
            theirs.set_weights(weights)
            ours.set_weights(weights)
        wanted = by_keras(theirs, xs, training, rng)
        cotangents = [np.asarray(c) for c in wanted[1]]
        with kgraph.execution(execution):
            got = by_us(ours, xs, training, cotangents)
        mode = "training" if training else "inference"
        for part in ("outputs", "of_inputs", "of_weights", "weights"):
            assert_same(getattr(got, part), getattr(wanted[0], part), f"{mode}, {part}")


def by_keras(model: Any, xs: list[np.ndarray], training: bool, rng: np.random.Generator) -> tuple[Results, list[Any]]:
    """Keras' results for random cotangents, and those."""
    floats = [n for n, x in enumerate(xs) if x.dtype.kind == "f"]
    others = [v.value for v in model.non_trainable_variables]

    def run(trainable: Any, given: Any) -> Any:
        inputs = list(xs)
        for n, x in zip(floats, given):
            inputs[n] = x
        y, after = model.stateless_call(trainable, others, inputs, training=training)
        return jax.tree_util.tree_leaves(y), after

    trainable = [v.value for v in model.trainable_variables]
    outputs, pull, after = jax.vjp(run, trainable, [jax.numpy.asarray(xs[n]) for n in floats], has_aux=True)
    cotangents = [rng.normal(size=y.shape).astype(y.dtype) for y in outputs]
    moving = [y.dtype.kind == "f" for y in map(np.asarray, outputs)]
    seeds = [c if m else np.zeros(c.shape, jax.dtypes.float0) for c, m in zip(cotangents, moving)]
    of_weights, of_inputs = pull(seeds)
    values = dict(zip((v.path for v in model.non_trainable_variables), after))
    weights = [np.asarray(values.get(v.path, v.value)) for v in model.weights]
    arrays = [list(map(np.asarray, part)) for part in (outputs, of_inputs, of_weights)]
    return Results(*arrays, weights), cotangents


def by_us(model: Any, xs: list[np.ndarray], training: bool, cotangents: list[np.ndarray]) -> Results:
    """Our results for these cotangents; zeros as gradients where no output is a float."""
    if any(c.dtype.kind == "f" for c in cotangents):
        outputs, of_inputs, of_weights = kgraph.vjp(model, xs, cotangents, training=training)
        return Results(outputs, [g for g in of_inputs if g is not None], of_weights, model.get_weights())
    outputs = flatten(model(xs if len(xs) > 1 else xs[0], training=training))
    zeros = [np.zeros_like(x) for x in xs if x.dtype.kind == "f"]
    return Results(outputs, zeros, [], model.get_weights())


def assert_same(got: list[np.ndarray], wanted: list[np.ndarray], what: str) -> None:
    """Equal types and shapes; floats within RTOL of the array's largest element, or of 1/20 of the largest of all.

    The second limit is for arrays that are zeros but for rounding, such as the gradient of a bias before a softmax.
    """
    assert len(got) == len(wanted), f"{what}: {len(got)} arrays, {len(wanted)} in Keras"
    peaks = [float(np.abs(a).max(initial=0)) if a.dtype.kind == "f" else 0.0 for a in wanted]
    for n, (ours, theirs) in enumerate(zip(got, wanted)):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape), f"{what} {n}"
        scale = max(peaks[n], max(peaks) / 20, 1e-3) if theirs.dtype.kind == "f" else 0.0
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=RTOL * scale, err_msg=f"{what} {n}")


def leaves(shapes: Any) -> list[Any]:
    """The sizes of one or several shapes, in one list."""
    if isinstance(shapes, dict):
        shapes = list(shapes.values())
    return [x for shape in shapes for x in leaves(shape)] if isinstance(shapes, (list, tuple)) else [shapes]


def _weight(rng: np.random.Generator, variable: Any, scale: float) -> np.ndarray:
    """Random numbers for a weight; statistics, which are not trained, must not be negative."""
    draw = rng.normal(size=variable.shape) * scale if variable.trainable else rng.uniform(0.5, 1.5, variable.shape)
    return np.asarray(draw, variable.dtype)


def _plain(path: str) -> str:
    """A path without the numbers of automatic names."""
    return "/".join(re.sub(r"_\d+$", "", part) for part in path.split("/"))
