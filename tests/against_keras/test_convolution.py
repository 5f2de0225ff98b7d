"""Convolution layers against Keras."""

from __future__ import annotations

import pytest
from keras_comparison import Case, compare

LINE, IMAGE, VOLUME = (11, 4), (9, 8, 4), (5, 6, 4, 2)
LINE_FIRST, IMAGE_FIRST, VOLUME_FIRST = (4, 11), (4, 9, 8), (2, 5, 6, 4)

CASES = [
    Case("Conv1D(5, 3)", [LINE]),
    Case("Conv1D(5, 4, strides=3, padding='same', activation='relu')", [LINE]),
    Case("Conv1D(6, 3, padding='causal', dilation_rate=2, groups=2)", [LINE]),
    Case("Conv1D(5, 3, data_format='channels_first')", [(4, 11)]),
    Case("Conv2D(5, (2, 3), strides=(2, 1))", [IMAGE]),
    Case("Conv2D(5, 5, padding='same', use_bias=False)", [IMAGE]),
    Case("Conv2D(5, 4, strides=2, padding='same')", [IMAGE]),
    Case("Conv2D(8, 3, groups=4, activation='tanh')", [IMAGE]),
    Case("Conv2D(5, 3, dilation_rate=(2, 1))", [IMAGE]),
    Case("Conv2D(5, 3, padding='same', data_format='channels_first')", [(4, 9, 8)]),
    Case("Conv2D(5, 1, strides=2)", [IMAGE]),
    Case("Conv3D(3, 2, strides=(1, 2, 1), padding='same')", [VOLUME]),
    Case("Conv3D(4, (1, 3, 2), groups=2)", [VOLUME]),
    Case("Conv1DTranspose(5, 3)", [LINE]),
    Case("Conv1DTranspose(5, 4, strides=3, padding='same')", [LINE]),
    Case("Conv1DTranspose(5, 3, dilation_rate=2)", [LINE]),
    Case("Conv2DTranspose(5, 3, strides=2)", [IMAGE]),
    Case("Conv2DTranspose(5, (2, 4), strides=(3, 2), padding='same', activation='relu')", [IMAGE]),
    Case("Conv2DTranspose(5, 3, strides=2, padding='same', output_padding=1)", [IMAGE]),
    Case("Conv2DTranspose(5, 3, strides=2, output_padding=0)", [IMAGE]),
    Case("Conv2DTranspose(5, 2, data_format='channels_first')", [(4, 9, 8)]),
    Case("Conv3DTranspose(3, 2, strides=2)", [VOLUME]),
    Case("DepthwiseConv1D(3, depth_multiplier=2, padding='same')", [LINE]),
    Case("DepthwiseConv2D((2, 3), strides=2, activation='relu')", [IMAGE]),
    Case("DepthwiseConv2D(3, depth_multiplier=3, dilation_rate=2, padding='same')", [IMAGE]),
    Case("SeparableConv1D(6, 3, depth_multiplier=2)", [LINE]),
    Case("SeparableConv2D(6, 3, strides=2, padding='same')", [IMAGE]),
    Case("SeparableConv2D(6, (3, 2), dilation_rate=2, use_bias=False, activation='gelu')", [IMAGE]),
    Case("Conv1DTranspose(3, 4, strides=3, padding='same', output_padding=1)", [LINE]),
    Case("Conv2DTranspose(3, (3, 4), strides=(2, 3), output_padding=(1, 2), activation='relu')", [IMAGE]),
    Case("Conv2DTranspose(3, 3, dilation_rate=(2, 3), padding='same')", [IMAGE]),
    Case("Conv3DTranspose(2, 3, strides=(1, 2, 2), padding='same', output_padding=(0, 1, 0))", [VOLUME]),
    *(Case(f"{layer}, data_format='channels_first')", [shape]) for layer, shape in (
        ("Conv1D(6, 3, padding='causal', dilation_rate=2, groups=2", LINE_FIRST),
        ("Conv2D(8, 3, strides=(2, 1), padding='same', groups=4, activation='relu'", IMAGE_FIRST),
        ("Conv3D(3, 2, strides=(1, 2, 1), padding='same'", VOLUME_FIRST),
        ("Conv1DTranspose(5, 4, strides=3, padding='same'", LINE_FIRST),
        ("Conv2DTranspose(5, 3, strides=2, padding='same', output_padding=1", IMAGE_FIRST),
        ("Conv3DTranspose(3, 2, dilation_rate=2", VOLUME_FIRST),
        ("DepthwiseConv1D(3, depth_multiplier=2, strides=2", LINE_FIRST),
        ("DepthwiseConv2D(3, depth_multiplier=2, padding='same', activation='relu'", IMAGE_FIRST),
        ("SeparableConv1D(6, 3, padding='same'", LINE_FIRST),
        ("SeparableConv2D(6, 3, depth_multiplier=2, dilation_rate=2", IMAGE_FIRST),
    )),
    # With bias, activation and pooling behind it, as they become one kernel.
    Case("Conv2D(5, 3, activation='relu')", [IMAGE], "MaxPooling2D(2)(layer(x0))"),
    Case("Conv2D(5, 3, padding='same', activation='relu', data_format='channels_first')", [IMAGE_FIRST],
         "MaxPooling2D(3, strides=2, padding='same', data_format='channels_first')(layer(x0))"),
]


@pytest.mark.parametrize("execution", ["interpreter", "native"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_layer(case: Case, execution: str):
    compare(case, execution)
