"""Random tensors: distributions, seeds, and the same numbers in interpreter and native code."""

from __future__ import annotations

import math

import numpy as np
import pytest

import kgraph
import kgraph.random as random
from kgraph.engine import CompiledProgram
from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.opdef import emitting
from kgraph.trace import Trace
from kgraph.utils import set_random_seed

N = 20_000

# Draws with their mean and variance by the textbook, and the ends of their range.
INSIDE = 1 - 2 * 2 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2))
DRAWS = [
    (lambda seed: random.normal(N, 2.0, 3.0, seed=seed), 2.0, 9.0, (-np.inf, np.inf)),
    (lambda seed: random.uniform((N,), -1.0, 3.0, seed=seed), 1.0, 16 / 12, (-1.0, 3.0)),
    (lambda seed: random.randint((N,), -3, 4, seed=seed), 0.0, 4.0, (-3, 3)),
    (lambda seed: random.truncated_normal((N,), 1.0, 2.0, seed=seed), 1.0, 4 * INSIDE, (-3.0, 5.0)),
    (lambda seed: random.gamma((N,), 4.0, seed=seed), 4.0, 4.0, (0.0, np.inf)),
    (lambda seed: random.gamma((N,), 0.5, seed=seed), 0.5, 0.5, (0.0, np.inf)),
    (lambda seed: random.beta((N,), 2.0, 3.0, seed=seed), 0.4, 0.04, (0.0, 1.0)),
    (lambda seed: random.binomial((N,), 10, 0.3, seed=seed), 3.0, 2.1, (0.0, 10.0)),
    (lambda seed: random.categorical(np.log([[0.2, 0.3, 0.5]]), N, seed=seed), 1.3, 0.61, (0, 2)),
    (lambda seed: random.dropout(np.ones(N, "float32"), 0.25, seed=seed), 1.0, 1 / 3, (0.0, 4 / 3)),
]


@pytest.mark.parametrize("draw, mean, variance, ends", DRAWS)
def test_mean_variance_and_range_are_those_of_the_distribution(draw, mean, variance, ends):
    found = draw(7).astype("float64")
    assert found.size == N
    # Six standard errors of the mean; that of the variance from the fourth moment.
    assert abs(found.mean() - mean) < 6 * math.sqrt(variance / N)
    fourth = ((found - mean) ** 4).mean()
    assert abs(found.var() - variance) < 6 * math.sqrt((fourth - variance**2) / N)
    assert ends[0] <= found.min()
    assert found.max() <= np.float32(ends[1])


@pytest.mark.parametrize("draw, mean, variance, ends", DRAWS)
def test_an_int_seed_fixes_the_numbers_and_no_seed_does_not(draw, mean, variance, ends):
    np.testing.assert_array_equal(draw(3), draw(3))
    assert not np.array_equal(draw(3), draw(4))
    assert not np.array_equal(draw(None), draw(None))
    set_random_seed(5)
    first = draw(None)
    set_random_seed(5)
    np.testing.assert_array_equal(draw(None), first)


def test_interpreter_and_native_code_draw_the_same():
    trace = Trace("random")
    with emitting(trace):
        results = [
            random.randint((50,), -100, 100, seed=1), random.categorical(np.zeros((3, 5), "float32"), 4, seed=2),
            random.binomial((20,), 6, 0.5, seed=3), random.dropout(np.ones((7, 9), "float32"), 0.5, seed=4),
            random.uniform((50,), seed=5), random.normal((50,), seed=6), random.truncated_normal((50,), seed=7),
            random.gamma((50,), 2.5, seed=8), random.beta((50,), 0.5, 2.0, seed=9),
        ]  # fmt: skip
        program = CompiledProgram(trace.program([(f"r{n}", r) for n, r in enumerate(results)]))
    native, oracle = (program.run([], execution=how) for how in ("native", "interpreter"))
    for number, (got, want) in enumerate(zip(native, oracle, strict=True)):
        if number < 5:
            np.testing.assert_array_equal(got, want)
        else:
            np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)


def test_a_generator_gives_a_sequence_that_its_seed_fixes():
    first, second = random.SeedGenerator(9), random.SeedGenerator(9)
    numbers = [random.normal((4,), seed=first) for _ in range(3)]
    assert not np.array_equal(numbers[0], numbers[1])
    for want in numbers:
        np.testing.assert_array_equal(random.normal((4,), seed=second), want)
    assert first.get_config() == {"seed": 9, "name": first.name}
    assert random.SeedGenerator.from_config(first.get_config()).seed == 9
    np.testing.assert_array_equal(first.next(), [9, 3])
    np.testing.assert_array_equal(first.next(), [9, 4])


class Noise(kgraph.Layer):
    """Adds noise; `seed` as in kgraph.random."""

    def __init__(self, seed):
        super().__init__()
        self.seed = seed

    def call(self, inputs, training=False):
        return inputs + random.normal(kgraph.ops.shape(inputs), seed=self.seed) if training else inputs


@pytest.mark.parametrize("seed", [None, random.SeedGenerator(1)], ids=["none", "generator"])
def test_noise_in_a_layer_differs_from_step_to_step(seed):
    model = kgraph.Sequential([kgraph.Input((3,)), Noise(seed), kgraph.layers.Dense(3)])
    model.compile(kgraph.optimizers.SGD(1e-12), "mse")
    x = np.zeros((8, 3), "float32")
    losses = [model.train_on_batch(x, x) for _ in range(3)]
    assert len({float(np.asarray(loss).reshape(-1)[0]) for loss in losses}) == 3
    np.testing.assert_allclose(model.predict(x, verbose=0), x, atol=1e-9)  # of a bias that moved by 1e-12


def test_noise_in_a_functional_model_is_drawn_at_every_run():
    x = kgraph.Input((50,))
    model = kgraph.Model(x, random.dropout(x, 0.5, seed=random.SeedGenerator(2)))
    first, second = (model.predict(np.ones((2, 50), "float32"), verbose=0) for _ in range(2))
    assert not np.array_equal(first, second)
    assert set(np.unique(first)) == {0.0, 2.0}


def test_a_noise_shape_shares_the_mask():
    found = random.dropout(np.ones((4, 6), "float32"), 0.5, noise_shape=(None, 1), seed=3)
    np.testing.assert_array_equal(found, np.broadcast_to(found[:, :1], (4, 6)))


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: random.normal((2,), seed="a"), ArgumentError, "normal: seed: expected an int, a SeedGenerator"),
        (lambda: random.uniform((2,), dtype="int32"), ArgumentError, "uniform: dtype: expected a float type"),
        (lambda: random.randint((2,), 0, 3, dtype="float32"), ArgumentError, "randint: dtype: expected an integer"),
        (lambda: random.dropout([1.0], 1.5), ArgumentError, "dropout: rate: expected a number in [0, 1]"),
        (lambda: random.categorical([0.0], 2), ShapeError, "categorical: logits: expected (batch, classes)"),
        (lambda: random.binomial((2,), -1, 0.5), ArgumentError, "binomial: counts: expected numbers of trials >= 0"),
        (lambda: random.SeedGenerator(1, sead=2), ArgumentError, "SeedGenerator: expected seed and name"),
        (lambda: random.SeedGenerator(-1), ArgumentError, "SeedGenerator: seed: expected an int >= 0 or None"),
    ],
)
def test_a_wrong_call_names_function_and_argument(call, error, words):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value).startswith(words)


def test_a_shuffle_moves_whole_slices():
    x = np.arange(40, dtype="int32").reshape(20, 2)
    found = random.shuffle(x, seed=4)
    assert not np.array_equal(found, x)
    np.testing.assert_array_equal(np.sort(found, axis=0), x)
    np.testing.assert_array_equal(found[:, 1], found[:, 0] + 1)
    np.testing.assert_array_equal(random.shuffle(x.T, axis=1, seed=4), found.T)
