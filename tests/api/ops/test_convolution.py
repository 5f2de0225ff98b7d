"""Convolutions and pooling of `kgraph.ops` against the layers, which are tested against Keras."""

from __future__ import annotations

import numpy as np
import pytest
from ops_cases import Case, assert_native_like_interpreter

import kgraph
import kgraph.ops as ops
from kgraph import layers
from kgraph.errors import ArgumentError, ShapeError

ROWS = [
    ("conv", layers.Conv1D, (2, 7, 3), (4, 3), {"padding": "causal", "dilation_rate": 2}),
    ("conv", layers.Conv2D, (2, 6, 5, 4), (6, (3, 2)), {"strides": 2, "padding": "same"}),
    ("conv", layers.Conv2D, (2, 6, 5, 4), (6, 2), {"groups": 2}),
    ("conv", layers.Conv2D, (2, 4, 6, 5), (6, 2), {"data_format": "channels_first"}),
    ("conv", layers.Conv3D, (1, 4, 4, 5, 2), (3, 2), {"strides": (1, 2, 1)}),
    ("depthwise_conv", layers.DepthwiseConv2D, (2, 6, 5, 3), (3,), {"depth_multiplier": 2, "padding": "same"}),
    ("separable_conv", layers.SeparableConv2D, (2, 6, 5, 3), (4, 3), {"padding": "same"}),
    ("conv_transpose", layers.Conv2DTranspose, (2, 4, 3, 5), (2, 3), {"strides": 2, "padding": "same"}),
    ("conv_transpose", layers.Conv1DTranspose, (2, 4, 5), (2, 3), {"strides": 2, "output_padding": 1}),
]


@pytest.mark.parametrize("name, layer, shape, args, options", ROWS)
def test_a_convolution_is_that_of_the_layer(rng, name, layer, shape, args, options):
    x = rng.normal(size=shape).astype("float32")
    made = layer(*args, use_bias=False, **options)
    with kgraph.execution("interpreter"):
        wanted = np.asarray(made(x))
    own = {k: v for k, v in options.items() if k not in ("groups", "depth_multiplier")}
    got = getattr(ops, name)(x, *(w.numpy() for w in made.weights), **own)
    np.testing.assert_array_equal(got, wanted)


def test_pooling_is_that_of_the_layer(rng):
    x = rng.normal(size=(2, 7, 5, 3)).astype("float32")
    with kgraph.execution("interpreter"):
        for name, layer in (("max_pool", layers.MaxPooling2D), ("average_pool", layers.AveragePooling2D)):
            for options in ({"pool_size": 2}, {"pool_size": (3, 2), "strides": 1, "padding": "same"}):
                np.testing.assert_array_equal(getattr(ops, name)(x, **options), np.asarray(layer(**options)(x)))


def test_adaptive_pooling_has_the_windows_of_its_definition(rng):
    x = rng.normal(size=(2, 7, 3)).astype("float32")
    windows = [slice(0, 3), slice(2, 5), slice(4, 7)]
    means, maxima = (np.stack([f(x[:, w], axis=1) for w in windows], 1) for f in (np.mean, np.max))
    np.testing.assert_allclose(ops.adaptive_average_pool(x, 3), means, rtol=1e-6)
    np.testing.assert_array_equal(ops.adaptive_max_pool(x, 3), maxima)


def test_unfolded_windows_are_columns(rng):
    x = rng.normal(size=(2, 3, 5, 6)).astype("float32")
    got = ops.unfold(x, 2, stride=2, padding=1)
    around = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    assert got.shape == (2, 12, 12)
    np.testing.assert_array_equal(got[1, :, 5], around[1, :, 2:4, 2:4].reshape(-1))


def test_native_code_agrees_with_the_interpreter():
    image = "reshape(t, (1, 4, 3, 2))"
    assert_native_like_interpreter([
        Case(f"conv({image}, reshape(x, (2, 1, 2, 3)), padding='same')"),
        Case(f"conv_transpose({image}, reshape(tile(x, 2), (2, 2, 3, 2)), 2)"),
        Case(f"adaptive_average_pool({image}, 2)"), Case(f"unfold({image}, (2, 1))"), Case(f"max_pool({image}, 2)"),
    ])  # fmt: skip


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda x: ops.conv(x, np.ones((2, 2, 3, 1))), ShapeError, "conv: kernel: expected channels that divide 4"),
        (lambda x: ops.conv(x, np.ones((2, 3, 1))), ShapeError, "conv: kernel: expected 4 axes"),
        (lambda x: ops.conv(x, np.ones((2, 2, 4, 1)), padding="full"), ArgumentError, "conv: padding: expected"),
        (lambda x: ops.conv(x, np.ones((2, 2, 4, 1)), 2, dilation_rate=2), ArgumentError, "conv: strides or dilation"),
        (lambda x: ops.conv(x, np.ones((9, 9, 4, 1))), ShapeError, "conv, spatial axis 0: expected an input at least"),
        (lambda x: ops.max_pool(x, 0), ArgumentError, "max_pool: pool_size: expected an int >= 1, or 2 of them"),
        (lambda x: ops.average_pool(x[0, 0], 2), ShapeError, "average_pool: inputs: expected batch, channels"),
        (lambda x: ops.max_pool(x, 2, data_format="NHWC"), ArgumentError, "max_pool: data_format: expected"),
    ],
)
def test_a_wrong_call_names_function_and_argument(call, error, words):
    with pytest.raises(error) as caught:
        call(np.ones((1, 5, 5, 4), "float32"))
    assert str(caught.value).startswith(words)
