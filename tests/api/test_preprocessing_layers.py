"""Layers that prepare data: random changes of images, statistics, bins."""

from __future__ import annotations

import numpy as np
import pytest

import kgraph
from kgraph import layers as L


@pytest.fixture(autouse=True)
def in_the_interpreter():
    """What the parts compute natively is tested op by op."""
    with kgraph.execution("interpreter"):
        yield


@pytest.fixture
def images(rng) -> np.ndarray:
    return rng.uniform(0, 255, (16, 5, 6, 3)).astype("float32")


RANDOM = {
    "RandomBrightness": lambda **k: L.RandomBrightness(0.3, **k),
    "RandomContrast": lambda **k: L.RandomContrast(0.5, **k),
    "RandomCrop": lambda **k: L.RandomCrop(3, 4, **k),
    "RandomFlip": lambda **k: L.RandomFlip(**k),
    "RandomRotation": lambda **k: L.RandomRotation(0.3, **k),
    "RandomShear": lambda **k: L.RandomShear(0.5, 0.5, **k),
    "RandomTranslation": lambda **k: L.RandomTranslation(0.3, 0.3, **k),
    "RandomZoom": lambda **k: L.RandomZoom(0.3, 0.2, **k),
}


@pytest.mark.parametrize("make", RANDOM.values(), ids=RANDOM)
def test_random_layers_act_in_training_and_on_arrays(make, images):
    one, two = make(seed=3), make(seed=3)
    first = one(images)
    np.testing.assert_array_equal(first, two(images, training=True))
    assert (first != one(images)).any()
    at_rest = one(images, training=False)
    if make is RANDOM["RandomCrop"]:
        np.testing.assert_array_equal(at_rest, L.CenterCrop(3, 4)(images))
    else:
        np.testing.assert_array_equal(at_rest, images)
    np.testing.assert_array_equal(kgraph.Sequential([make()]).predict(images, verbose=0), at_rest)
    assert one(images[0]).shape == first.shape[1:]
    last = make(seed=3, data_format="channels_first")(images.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(last.transpose(0, 2, 3, 1), first, rtol=1e-5, atol=1e-3)


def test_brightness_and_contrast_change_images_as_a_whole(images):
    x = images / 255
    change = L.RandomBrightness((0.1, 0.4), value_range=(-9, 9))(x) - x
    np.testing.assert_allclose(change, np.broadcast_to(change[:, :1, :1, :1], x.shape), atol=1e-5)
    amounts = change[:, 0, 0, 0] / 18
    assert 0.1 <= amounts.min() < amounts.max() <= 0.4
    assert L.RandomBrightness((0.9, 0.9))(images).max() == 255
    y = L.RandomContrast((0.5, 0.2), value_range=(-9, 9))(x)
    mean = x.mean((1, 2), keepdims=True)
    factors = ((y - mean) / (x - mean)).mean((1, 2, 3))
    np.testing.assert_allclose(y, (x - mean) * factors[:, None, None, None] + mean, atol=1e-4)
    assert 0.5 <= factors.min() < factors.max() <= 1.2


@pytest.mark.parametrize("mode, axes", [("horizontal", [2]), ("vertical", [1]), ("horizontal_and_vertical", [1, 2])])
def test_flips_mirror_some_images(mode: str, axes: list[int], images):
    y = L.RandomFlip(mode, seed=1)(images)
    choices = [images]
    for axis in axes:
        choices += [np.flip(choice, axis) for choice in choices]
    found = [[(y[n] == choice[n]).all() for choice in choices] for n in range(len(images))]
    assert np.sum(found, 1).tolist() == [1] * len(images)
    assert np.all(np.any(found, 0))


def test_a_crop_is_a_window_and_small_images_grow(images):
    y = L.RandomCrop(3, 4)(images)
    windows = [images[:, i : i + 3, j : j + 4] for i in range(3) for j in range(3)]
    assert sum((y == window).all() for window in windows) == 1
    starts = {L.RandomCrop(3, 4, seed=s)(images[:1])[0, 0, 0, 0] for s in range(40)}
    assert len(starts) == 9
    assert L.RandomCrop(7, 4)(images).shape == (16, 7, 4, 3)


def test_maps_of_fixed_amounts(images):
    square = images[:, :, :5]
    quarter = L.RandomRotation((0.25, 0.25))(square)
    np.testing.assert_allclose(quarter, np.rot90(square, axes=(1, 2)), atol=1e-3)
    down = L.RandomTranslation((0.2, 0.2), (0.5, 0.5), fill_mode="constant", fill_value=7.0)(images)
    np.testing.assert_allclose(down[:, 1:, 3:], images[:, :-1, :-3], atol=1e-3)
    assert (down[:, :1] == 7).all()
    assert (down[:, :, :3] == 7).all()
    np.testing.assert_allclose(L.RandomZoom((0, 0))(images), images, atol=1e-3)
    out = L.RandomZoom((1.0, 1.0), fill_mode="constant", interpolation="nearest")(images)
    assert (out[:, 0] == 0).all()
    slanted = L.RandomShear((1.0, 1.0), (0.0, 0.0), fill_mode="wrap")(images)
    for image, row in zip(images, slanted):
        assert any(np.allclose(row[2], np.roll(image[2], 2 * turn, 0), atol=1e-3) for turn in (-1, 1))


def test_statistics_of_batches_are_those_of_all_data(rng):
    data = rng.normal(1e3, 2, (50, 4)).astype("float32")
    whole, parts = L.Normalization(), L.Normalization()
    whole.adapt(data)
    parts.adapt(data[n : n + 7] for n in range(0, 50, 7))
    for layer in (whole, parts):
        np.testing.assert_allclose(layer.adapt_mean.numpy(), data.mean(0, dtype="float64"), rtol=1e-6)
        np.testing.assert_allclose(layer.adapt_variance.numpy(), data.var(0, dtype="float64"), rtol=1e-5)
    assert [w.name for w in whole.weights] == ["mean", "variance", "count"]
    assert whole.trainable_weights == []
    y = whole(data)
    np.testing.assert_allclose([y.mean(), y.std()], [0, 1], atol=1e-3)
    back = L.Normalization(invert=True)
    back.adapt(data)
    np.testing.assert_allclose(back(y), data, rtol=1e-6)
    known = L.Normalization(mean=data.mean(0), variance=data.var(0))
    np.testing.assert_allclose(known(data), y, atol=2e-3)


def test_bins_hold_equally_many_numbers(rng):
    layer = L.Discretization(num_bins=4)
    layer.adapt([rng.normal(size=300) for _ in range(5)])
    np.testing.assert_allclose(layer.bin_boundaries, [-0.674, 0, 0.674], atol=0.12)
    copy = L.Discretization.from_config(layer.get_config())
    x = rng.normal(size=(3, 4))
    np.testing.assert_array_equal(copy(x), layer(x))
    assert layer(x).dtype == np.int32


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: L.Resizing(0, 3), "height: expected an int >= 1, received 0"),
        (lambda: L.Resizing(2, 3, "cubic"), "interpolation: expected 'nearest' or"),
        (lambda: L.Resizing(2, 3, crop_to_aspect_ratio=True, pad_to_aspect_ratio=True), "expected one of them"),
        (lambda: L.Resizing(2, 3)(np.ones((4, 4))), r"expected \(batch, height, width, channels\) or one image"),
        (lambda: L.Resizing(2, 3)(kgraph.Input((None, 4, 1))), "expected a known size"),
        (lambda: L.CenterCrop(2, 3)(kgraph.Input((None, 4, 1))), "expected known height and width"),
        (lambda: L.RandomRotation(2), r"factor: expected a number in \[-1, 1\], received 2"),
        (lambda: L.RandomShear(-0.1), r"x_factor: expected a number in \[0, 1\]"),
        (lambda: L.RandomZoom((0.1, 0.2, 0.3)), "height_factor: expected a number or two"),
        (lambda: L.RandomFlip("diagonal"), "mode: expected 'horizontal' or 'vertical'"),
        (lambda: L.RandomBrightness(0.1, value_range=255), "value_range: expected two numbers, received 255"),
        (lambda: L.RandomTranslation(0.1, 0.1, fill_mode="mirror"), "fill_mode: expected 'reflect' or"),
        (lambda: L.Normalization(mean=1.0), "mean and variance: expected both, of one shape, received one of them"),
        (lambda: L.Normalization(axis=3)(np.ones((2, 3))), r"axis: expected axes of \(batch, 3\), received \[3\]"),
        (lambda: L.Normalization().adapt([]), "adapt: expected data, received no element"),
        (lambda: L.Normalization().adapt(3.5), "adapt: expected an array or an iterable of batches, received float"),
        (lambda: L.Normalization(mean=0.0, variance=1.0).adapt([[1.0]]), "adapt: expected no given mean"),
        (lambda: L.CategoryEncoding(), "num_tokens: expected an int >= 1, received None"),
        (lambda: L.CategoryEncoding(3, "int"), "output_mode: expected 'multi_hot' or 'one_hot' or 'count'"),
        (lambda: L.CategoryEncoding(3)([[1]], count_weights=[[1.0]]), "count_weights: expected output_mode='count'"),
        (lambda: L.Discretization(), "expected one of bin_boundaries and num_bins, received none"),
        (lambda: L.Discretization([2.0, 1.0]), "bin_boundaries: expected rising numbers"),
        (lambda: L.Discretization(num_bins=3)([[1.0]]), "expected bin boundaries. Call adapt"),
    ],
)
def test_words_of_errors(call, words: str):
    with pytest.raises((ValueError, TypeError, RuntimeError), match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
