"""Convolution, pooling and padding layers: shapes, data formats, aliases, errors, both ways of running."""

from __future__ import annotations

import numpy as np
import pytest

import kgraph
from kgraph import layers as L
from kgraph.errors import KgraphError

RNG = np.random.default_rng


def pair(make, shape, channels_axis=1):
    """The layer on channels-last and on channels-first data with the same weights: both results, channels last."""
    x = RNG(0).standard_normal(shape).astype(np.float32)
    last, first = make("channels_last"), make("channels_first")
    y = last(x)
    turned = np.ascontiguousarray(np.moveaxis(x, -1, 1))
    first.build(turned.shape)
    first.set_weights(last.get_weights())
    z = first(turned)
    return np.asarray(y), np.moveaxis(np.asarray(z), 1, -1) if np.ndim(z) == len(shape) else np.asarray(z)


@pytest.mark.parametrize("make, shape", [
    (lambda f: L.Conv1D(3, 2, data_format=f), (2, 5, 4)),
    (lambda f: L.Conv2D(3, 2, padding="same", data_format=f), (2, 5, 6, 4)),
    (lambda f: L.Conv3D(3, 2, data_format=f), (2, 4, 3, 5, 2)),
    (lambda f: L.DepthwiseConv2D(3, depth_multiplier=2, data_format=f), (2, 5, 6, 4)),
    (lambda f: L.SeparableConv1D(5, 3, data_format=f), (2, 7, 4)),
    (lambda f: L.Conv2DTranspose(3, 2, strides=2, data_format=f), (2, 4, 3, 2)),
    (lambda f: L.MaxPooling2D(2, data_format=f), (2, 5, 6, 3)),
    (lambda f: L.AveragePooling1D(2, padding="same", data_format=f), (2, 5, 3)),
    (lambda f: L.GlobalMaxPooling2D(data_format=f), (2, 5, 6, 3)),
    (lambda f: L.GlobalAveragePooling3D(data_format=f, keepdims=True), (2, 3, 2, 4, 3)),
    (lambda f: L.ZeroPadding2D(((1, 0), (2, 3)), data_format=f), (2, 3, 4, 2)),
    (lambda f: L.Cropping1D((1, 2), data_format=f), (2, 6, 3)),
    (lambda f: L.UpSampling2D(2, data_format=f), (2, 3, 4, 2)),
])  # fmt: skip
def test_data_formats_give_the_same_numbers(make, shape):
    last, first = pair(make, shape)
    np.testing.assert_allclose(first, last, rtol=0, atol=1e-5)


@pytest.mark.parametrize("make, shape, wanted", [
    (lambda: L.Conv2DTranspose(3, 3, strides=2, padding="valid"), (2, 4, 5, 2), (2, 9, 11, 3)),
    (lambda: L.Conv2DTranspose(3, 2, strides=3, padding="valid"), (2, 4, 5, 2), (2, 12, 15, 3)),
    (lambda: L.Conv1DTranspose(3, 5, strides=2, padding="same", output_padding=1), (2, 4, 2), (2, 8, 3)),
    (lambda: L.Conv1DTranspose(3, 3, dilation_rate=2), (2, 4, 2), (2, 8, 3)),
    (lambda: L.Conv1D(3, 2, padding="causal", strides=2), (2, 7, 2), (2, 4, 3)),
    (lambda: L.AveragePooling3D(2, strides=1, padding="same"), (1, 3, 4, 5, 2), (1, 3, 4, 5, 2)),
    (lambda: L.Conv2D(4, 3, groups=2), (2, 5, 5, 6), (2, 3, 3, 4)),
])  # fmt: skip
def test_output_shapes(make, shape, wanted):
    layer = make()
    assert layer(np.zeros(shape, np.float32)).shape == wanted
    assert make()(kgraph.Input(shape[1:])).shape == (None, *wanted[1:])


@pytest.mark.parametrize("make", [
    lambda: L.Conv2D(4, 3, strides=2, padding="same", activation="relu", groups=2, data_format="channels_first"),
    lambda: L.SeparableConv2D(4, 3, depth_multiplier=2), lambda: L.DepthwiseConv1D(3, padding="same"),
    lambda: L.Conv1DTranspose(2, 3, output_padding=0), lambda: L.MaxPooling3D(2, strides=1),
    lambda: L.GlobalAveragePooling1D(keepdims=True), lambda: L.ZeroPadding1D((1, 2)), lambda: L.Cropping2D(1),
    lambda: L.UpSampling1D(3),
])  # fmt: skip
def test_a_layer_made_from_its_configuration_has_the_same_one(make):
    layer = make()
    assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()


def test_aliases_are_the_same_classes():
    assert L.Convolution2D is L.Conv2D
    assert L.MaxPool2D is L.MaxPooling2D
    assert L.AvgPool1D is L.AveragePooling1D
    assert L.GlobalAvgPool2D is L.GlobalAveragePooling2D
    assert L.Convolution2DTranspose is L.Conv2DTranspose


@pytest.mark.parametrize("words, call", [
    ("filters", lambda: L.Conv2D(0, 3)),
    ("an int or 2 ints", lambda: L.Conv2D(3, (3, 3, 3))),
    ("'valid' or 'same'", lambda: L.Conv2D(3, 3, padding="causal")),
    ("one of them 1", lambda: L.Conv2D(3, 3, strides=2, dilation_rate=2)),
    ("divide", lambda: L.Conv2D(3, 3, groups=2)),
    ("unknown argument 'filter'", lambda: L.Conv2D(3, 3, filter=2)),
    ("kernel_regularizer='l3': unknown", lambda: L.Conv2D(3, 3, kernel_regularizer="l3")),
    ("(batch, height, width, channels)", lambda: L.Conv2D(3, 3)(np.zeros((2, 5, 5), np.float32))),
    ("a window of 3x3 does not fit into 2x5", lambda: L.Conv2D(3, 3)(np.zeros((2, 2, 5, 1), np.float32))),
    ("4 channels", lambda: _twice(L.Conv1D(3, 2), (2, 5, 4), (2, 5, 3))),
    ("less than strides", lambda: L.Conv2DTranspose(3, 3, strides=2, output_padding=2)),
    ("less than the axis", lambda: L.Cropping1D(3)(np.zeros((2, 5, 1), np.float32))),
    ("'nearest'", lambda: L.UpSampling2D(2, interpolation="area")),
    ("known size", lambda: L.Conv2D(3, 3)(kgraph.Input((5, 5, None)))),
    ("known size", lambda: L.MaxPooling1D(2, padding="same")(kgraph.Input((None, 3)))),
])  # fmt: skip
def test_wrong_uses_are_refused_with_the_right_words(words, call):
    with pytest.raises(KgraphError) as caught:
        call()
    assert words in str(caught.value)


def _twice(layer, first, second):
    layer(np.zeros(first, np.float32))
    layer(np.zeros(second, np.float32))


def small_cnn(length=None):
    """A model over images, or over sequences of unknown length."""
    if length is None:
        body = [kgraph.Input((None, 3)), L.Conv1D(6, 3, padding="same", activation="relu"), L.MaxPooling1D(2),
                L.Conv1D(4, 2), L.GlobalAveragePooling1D(), L.Dense(2)]  # fmt: skip
    else:
        body = [kgraph.Input((length, length, 3)), L.Conv2D(8, 3, padding="same", activation="relu"), L.MaxPooling2D(2),
                L.Conv2D(12, 3, strides=2, padding="same"), L.DepthwiseConv2D(3, padding="same"), L.AveragePooling2D(2),
                L.Flatten(), L.Dense(2)]  # fmt: skip
    return kgraph.Sequential(body)


@pytest.mark.parametrize("shape, length", [((3, 13, 13, 3), 13), ((2, 10, 3), None)])
def test_gradients_native_and_interpreted_agree(shape, length):
    model = small_cnn(length)
    x = RNG(1).standard_normal(shape).astype(np.float32)
    results = []
    for way in ("interpreter", "native"):
        with kgraph.execution(way):
            results.append(kgraph.vjp(model, [x], [np.ones((shape[0], 2), np.float32)]))
    for mine, other in zip(*results, strict=True):
        for a, b in zip(mine, other, strict=True):
            scale = float(np.abs(a).max())
            assert scale > 0
            np.testing.assert_allclose(a, b, rtol=0, atol=2e-5 * scale)


def test_a_small_cnn_learns():
    kgraph.utils.set_random_seed(3)
    x = RNG(2).standard_normal((64, 9, 9, 1)).astype(np.float32)
    y = (x[:, 3:6, 3:6].mean((1, 2, 3)) > 0).astype(np.float32)
    model = kgraph.Sequential([
        kgraph.Input((9, 9, 1)), L.Conv2D(8, 3, activation="relu"), L.MaxPooling2D(2), L.Flatten(),
        L.Dense(1, activation="sigmoid"),
    ])  # fmt: skip
    model.compile(optimizer=kgraph.optimizers.Adam(0.01), loss="binary_crossentropy", metrics=["accuracy"])
    losses = model.fit(x, y, epochs=30, batch_size=16, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
