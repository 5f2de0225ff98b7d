"""`kgraph.random` against `keras.random`: names, arguments, shapes, element types, seeds and distributions.

The bits differ: Keras draws with JAX' Threefry, kgraph with Philox. Distributions are compared by their moments.
"""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np
import pytest

import kgraph
import kgraph.random as random

NAMES = [name for name in dir(keras.random) if not name.startswith("_")]
N = 20_000


def _draw(call: str, module: Any, seed: Any) -> np.ndarray:
    """`call` among the functions of a module; `s` stands for the seed."""
    names = {name: getattr(module, name) for name in NAMES} | {"np": np, "N": N, "s": seed}
    return np.asarray(eval(call, names))


@pytest.mark.parametrize("name", NAMES)
def test_functions_and_arguments_are_those_of_keras(name):
    ours, theirs = (inspect.signature(getattr(module, name)).parameters for module in (random, keras.random))
    assert [(n, p.default, p.kind) for n, p in ours.items()] == [(n, p.default, p.kind) for n, p in theirs.items()]


SHAPES = [
    "normal((3, 4), seed=s)", "normal([3, 4], seed=s)", "normal((), seed=s)", "normal((0, 3), seed=s)",
    "normal(5, seed=s)", "normal((2, 3), np.ones((2, 1), 'float32'), 2, seed=s)", "uniform((3,), 5, 1, seed=s)",
    "uniform((2, 3), np.zeros(3, 'float32'), np.ones((2, 1), 'float32'), seed=s)", "randint((3,), 0, 10, seed=s)",
    "randint((3,), 0, 10, 'uint8', seed=s)", "randint((3,), 0, 10, 'uint32', seed=s)", "randint((), 0, 2, seed=s)",
    "randint((3,), 0.5, 10.2, seed=s)", "randint((3,), 3, 3, seed=s)", "randint((3,), 0, np.array([1, 2, 3]), seed=s)",
    "truncated_normal((3,), 1, 2, seed=s)", "categorical(np.zeros((2, 3), 'float32'), 4, seed=s)",
    "categorical(np.zeros((2, 3), 'float32'), 0, seed=s)", "categorical(np.zeros((2, 3), 'float32'), 4, 'uint8', s)",
    "categorical(np.zeros((2, 3), 'float32'), 4, 'float32', s)", "gamma((3,), 2, seed=s)",
    "binomial((2, 3), np.array([1, 2, 3]), np.array([0.1, 0.5, 0.9]), seed=s)", "binomial((3,), 0, 0.5, seed=s)",
    "beta((2, 3), np.array([1.0, 2.0, 3.0]), 1.0, seed=s)", "dropout(np.ones((3, 4), 'float32'), 0, seed=s)",
    "dropout(np.ones((3, 4), 'float32'), 0.5, (None, 1), seed=s)", "dropout(np.ones(4, 'float32'), 1.0, seed=s)",
    "dropout(np.ones((3, 4), 'float32'), np.float32(0.5), seed=s)", "shuffle(np.arange(5, dtype='uint8'), seed=s)",
    "shuffle(np.ones((2, 3), 'float32'), axis=-1, seed=s)", "shuffle(np.array([True, False]), seed=s)",
    "shuffle(np.zeros((0, 3), 'float32'), seed=s)",
]  # fmt: skip


@pytest.mark.parametrize("call", SHAPES)
def test_shapes_and_element_types_are_those_of_keras(call):
    found, wanted = _draw(call, random, 1), _draw(call, keras.random, 1)
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)


# Calls that have one answer whatever the seed.
CERTAIN = [
    "uniform((50,), 2, 2, seed=s)", "randint((50,), 4, 5, seed=s)", "binomial((50,), 7, 1.0, seed=s)",
    "binomial((50,), 7, 0.0, seed=s)", "categorical(np.array([[0, 200, 0], [0, 0, 200]], 'float32'), 50, seed=s)",
    "normal((50,), 3, 0, seed=s)", "dropout(np.ones((4, 5), 'float32'), 0.0, seed=s)",
    "dropout(np.ones((4, 5), 'float32'), 1.0, seed=s)", "np.sort(shuffle(np.arange(9, dtype='int32'), seed=s))",
    "np.unique(dropout(np.ones(N, 'float32'), 0.75, seed=s))", "np.unique(randint((N,), -2, 9, seed=s))",
    "np.unique(categorical(np.zeros((1, 6), 'float32'), N, seed=s))", "np.unique(binomial((N,), 3, 0.5, seed=s))",
    "np.ptp(dropout(np.ones((9, 99), 'float32'), 0.5, (9, 1), seed=s), axis=1)",
]  # fmt: skip


@pytest.mark.parametrize("call", CERTAIN)
def test_what_no_seed_changes_is_what_keras_gives(call):
    found, wanted = _draw(call, random, 1), _draw(call, keras.random, 1)
    np.testing.assert_array_equal(found, wanted)


DISTRIBUTIONS = [
    "normal((N,), -1.0, 0.5, seed=s)", "uniform((N,), -3.0, 1.0, seed=s)",
    "randint((N,), -5, 12, seed=s)", "truncated_normal((N,), 2.0, 3.0, seed=s)", "gamma((N,), 0.3, seed=s)",
    "gamma((N,), 6.0, seed=s)", "beta((N,), 0.5, 0.5, seed=s)", "beta((N,), 5.0, 2.0, seed=s)",
    "binomial((N,), 12, 0.2, seed=s)", "categorical(np.array([[0.0, 1.0, -1.0, 0.5]], 'float32'), N, seed=s)",
    "dropout(np.ones(N, 'float32'), 0.3, seed=s)",
]  # fmt: skip


@pytest.mark.parametrize("call", DISTRIBUTIONS)
def test_moments_agree_within_standard_errors(call):
    found, wanted = (_draw(call, module, 11).astype("float64").reshape(-1) for module in (random, keras.random))
    assert found.size == wanted.size == N
    for power in (1, 2, 3, 4):
        a, b = ((x - wanted.mean()) ** power if power > 1 else x for x in (found, wanted))
        # Both are means of N independent numbers; six standard errors of their difference.
        assert abs(a.mean() - b.mean()) < 6 * np.sqrt((a.var() + b.var()) / N)


def _script(module: Any) -> list[np.ndarray]:
    """Draws from generators, and from ints."""
    first, second, other = module.SeedGenerator(7), module.SeedGenerator(seed=7, name="g"), module.SeedGenerator(8)
    draws = [module.normal((4,), seed=s) for s in (first, first, second, second, other, 7, 7, 8, None, None)]
    keras.utils.set_random_seed(3)
    kgraph.utils.set_random_seed(3)
    return [np.asarray(x) for x in [*draws, module.uniform((4,)), module.uniform((4,))]]


def test_which_draws_are_equal_is_as_in_keras():
    found, wanted = (
        [[np.array_equal(a, b) for a in draws] for b in draws] for draws in (_script(random), _script(keras.random))
    )
    # An int and a fresh generator of that seed give the same numbers in Keras; here each has bits of its own.
    for generator, number in ((0, 5), (2, 5), (0, 6), (2, 6), (4, 7)):
        wanted[generator][number] = wanted[number][generator] = False
    assert found == wanted


def test_generators_count_and_are_described_as_in_keras():
    ours, theirs = random.SeedGenerator(7, name="g"), keras.random.SeedGenerator(7, name="g")
    for _ in range(3):
        np.testing.assert_array_equal(ours.next(), np.asarray(theirs.next()))
        np.testing.assert_array_equal(ours.state.numpy(), np.asarray(theirs.state))
    assert ours.get_config() == theirs.get_config()
    assert (ours.state.shape, str(ours.state.dtype)) == (theirs.state.shape, str(theirs.state.dtype))
    assert ours.state.trainable == theirs.state.trainable
    # Without a seed the config has none: what is made from it draws its own.
    assert random.SeedGenerator().get_config()["seed"] == keras.random.SeedGenerator().get_config()["seed"]
    again = random.SeedGenerator.from_config(ours.get_config())
    np.testing.assert_array_equal(again.next(), np.asarray(keras.random.SeedGenerator(7).next()))


WRONG = [
    "normal((3,), dtype='int32', seed=s)", "uniform((3,), dtype='int32', seed=s)", "normal((None, 3), seed=s)",
    "randint((3,), 0, 9, dtype='float32', seed=s)", "randint((3,), 0, 9, dtype='bool', seed=s)",
    "categorical(np.zeros(3, 'float32'), 4, seed=s)", "categorical(np.zeros((1, 2, 3), 'float32'), 4, seed=s)",
    "binomial((3,), 5, 0.5, dtype='int32', seed=s)", "normal((3,), seed=1.5)", "normal((3,), seed='a')",
    "SeedGenerator(1.5)", "SeedGenerator(-1)", "SeedGenerator(1, sead=2)",
]  # fmt: skip


@pytest.mark.parametrize("call", WRONG)
def test_what_keras_refuses_is_refused(call):
    with pytest.raises((ValueError, TypeError, OverflowError)):
        _draw(call, keras.random, 1)
    with pytest.raises(ValueError, match=call.split("(", 1)[0]):
        _draw(call, random, 1)
