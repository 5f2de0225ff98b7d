"""Initializers: formulas, seeds, names, configurations."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from kgraph import initializers, losses, utils
from kgraph.errors import ArgumentError, KgraphError

SHAPE = (300, 200)

# name -> (largest magnitude or None, standard deviation) for the kernel shape above, from the papers' formulas.
MOMENTS = {
    "glorot_uniform": (math.sqrt(6 / 500), math.sqrt(2 / 500)),
    "he_uniform": (math.sqrt(6 / 300), math.sqrt(2 / 300)),
    "lecun_uniform": (math.sqrt(3 / 300), math.sqrt(1 / 300)),
    "glorot_normal": (2 * math.sqrt(2 / 500) / 0.8796, math.sqrt(2 / 500)),
    "he_normal": (2 * math.sqrt(2 / 300) / 0.8796, math.sqrt(2 / 300)),
    "lecun_normal": (2 * math.sqrt(1 / 300) / 0.8796, math.sqrt(1 / 300)),
    "random_normal": (None, 0.05),
    "random_uniform": (0.05, 0.1 / math.sqrt(12)),
    "truncated_normal": (0.1, 0.05 * 0.8796),
}


@pytest.mark.parametrize("name", MOMENTS)
def test_random_initializers_have_the_moments_of_their_formula(name: str):
    utils.set_random_seed(1)
    largest, deviation = MOMENTS[name]
    values = initializers.get(name)(SHAPE)
    assert values.dtype == np.float32
    assert values.shape == SHAPE
    assert abs(values.mean()) < 4 * deviation / math.sqrt(values.size)
    # The spread of the estimated deviation of n values is below deviation / sqrt(n).
    assert abs(values.std() - deviation) < 4 * deviation / math.sqrt(values.size)
    if largest is not None:
        assert np.abs(values).max() <= largest * 1.0001
        assert np.abs(values).max() > 0.95 * largest


@pytest.mark.parametrize("name", ["zeros", "ones", "Zeros", "zero", "one"])
def test_constant_initializers_give_one_value(name: str):
    assert np.unique(initializers.get(name)((2, 3))).tolist() == [float("one" in name.lower())]


def test_constant_takes_arrays():
    np.testing.assert_array_equal(initializers.Constant([1, 2])((3, 2)), [[1, 2]] * 3)
    with pytest.raises(KgraphError, match=r"Constant initializer: expected shape \(3,\), received \(2,\)"):
        initializers.Constant([1, 2])((3,))


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (3, 2, 5)])
def test_orthogonal_has_orthonormal_rows_or_columns(shape: tuple[int, ...]):
    matrix = initializers.Orthogonal(gain=2.0, seed=3)(shape, "float64").reshape(-1, shape[-1]) / 2
    rows, columns = matrix.shape
    product = matrix.T @ matrix if rows >= columns else matrix @ matrix.T
    np.testing.assert_allclose(product, np.eye(min(rows, columns)), atol=1e-12)


def test_identity():
    np.testing.assert_array_equal(initializers.Identity(gain=3)((2, 3)), 3 * np.eye(2, 3))
    with pytest.raises(KgraphError, match="rank 2"):
        initializers.Identity()((3,))


def test_fans_of_kernels_are_those_of_keras():
    assert initializers.compute_fans(()) == (1, 1)
    assert initializers.compute_fans((5,)) == (5, 5)
    assert initializers.compute_fans((5, 7)) == (5, 7)
    assert initializers.compute_fans((3, 3, 16, 32)) == (144, 288)
    heads = initializers.HeUniform(input_axes=[0], output_axes=[1, 2])  # of a weight that is no kernel
    assert initializers.compute_fans((6, 4, 5), heads.input_axes, heads.output_axes) == (6, 20)
    assert 0.9 < np.abs(heads((6, 40, 50))).max() <= math.sqrt(6 / 6)


def test_a_seed_fixes_the_values_and_one_instance_repeats_them():
    one = initializers.GlorotUniform(seed=5)
    np.testing.assert_array_equal(one((4, 4)), initializers.GlorotUniform(seed=5)((4, 4)))
    np.testing.assert_array_equal(one((4, 4)), one((4, 4)))
    assert (one((4, 4)) != initializers.GlorotUniform(seed=6)((4, 4))).any()


def test_set_random_seed_fixes_unseeded_ones():
    def draw() -> list[np.ndarray]:
        return [initializers.get("he_normal")((3,)) for _ in range(2)]

    utils.set_random_seed(4)
    first = draw()
    utils.set_random_seed(4)
    again = draw()
    np.testing.assert_array_equal(first, again)
    assert (first[0] != first[1]).any()


@pytest.mark.parametrize("cls", initializers.CLASSES, ids=lambda cls: cls.__name__)
def test_a_configuration_gives_the_same_initializer(cls: type):
    seeded = issubclass(cls, initializers.RandomInitializer)
    made = cls(seed=3) if seeded else cls()
    copy = initializers.deserialize(initializers.serialize(made))
    assert type(copy) is cls
    assert copy.get_config() == made.get_config()
    shape = (3, 1, 3) if cls is initializers.STFT else (3, 3)
    np.testing.assert_array_equal(copy(shape), made(shape))


def test_variance_scaling_rejects_wrong_arguments():
    with pytest.raises(ArgumentError, match="Did you mean 'fan_in'"):
        initializers.VarianceScaling(mode="fanin")
    with pytest.raises(ArgumentError, match="positive"):
        initializers.VarianceScaling(scale=0)
    with pytest.raises(ArgumentError, match="int >= 0"):
        initializers.GlorotUniform(seed=1.5)


def test_a_callable_or_a_number_can_stand_for_an_initializer():
    def own(shape, dtype=None):
        return np.full(shape, 7, dtype)

    assert initializers.get(own) is own
    assert initializers.get(None) is None
    assert initializers.get(2.0)((1,)) == 2
    assert isinstance(initializers.get(initializers.Zeros), initializers.Zeros)


def test_a_fourier_kernel_transforms_frames(rng):
    frame = rng.normal(size=16)
    real, imag = (initializers.STFT(side, window=None)((16, 1, 9), "float64")[:, 0] for side in ("real", "imag"))
    np.testing.assert_allclose(frame @ real + 1j * (frame @ imag), np.fft.rfft(frame), atol=1e-12)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: initializers.STFT("left"), "STFT(side): expected one of 'real', 'imag', received 'left'"),
        (lambda: initializers.STFT(scaling="power"), "STFT(scaling): expected one of 'density', 'spectrum', None"),
        (lambda: initializers.STFT(window="han"), "Did you mean 'hann'?"),
        (lambda: initializers.STFT()((16, 9)), "expected a shape (frame, 1, frequencies), of two frequencies or more"),
        (lambda: initializers.STFT()((16, 1, 1)), "of two frequencies or more, received (16, 1, 1)"),
        (lambda: initializers.STFT(window=np.ones(3))((16, 1, 9)), "window: expected shape (16,), received (3,)"),
    ],
)
def test_a_fourier_kernel_rejects_wrong_arguments(make, words):
    with pytest.raises(KgraphError, match=re.escape(words)):
        make()


def test_objects_of_ones_own_are_found_by_name_where_they_are_given():
    class Halves(initializers.Initializer):
        def __call__(self, shape, dtype=None):
            return np.full(tuple(shape), 0.5, dtype)

    described = initializers.serialize(Halves())
    with pytest.raises(KgraphError):
        initializers.deserialize(described)
    made = initializers.deserialize(described, custom_objects={"Halves": Halves})
    np.testing.assert_array_equal(made((2,)), [0.5, 0.5])

    class Cubes(losses.Loss):
        def call(self, y_true, y_pred):
            return (y_true - y_pred) ** 3

    assert isinstance(losses.deserialize({"class_name": "Cubes"}, {"Cubes": Cubes}), Cubes)
