"""Layers that prepare data, against Keras; the random ones where they do not act."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras_comparison import Case, Data, compare

from kgraph.eager import run_on_arrays
from kgraph.primitives.resampling import FILL_MODES, affine_transform

IMAGE = (6, 8, 3)
PIXELS = Data(IMAGE, "uint8", 0, 256)
IDS, COUNTS = Data((5,), "int32", 0, 7), Data((5,), "float32", 0, 2)

CASES = [
    *(Case(f"Resizing(9, 5, interpolation='{kind}')", [IMAGE])
      for kind in ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")),
    *(Case(f"Resizing(3, 5, interpolation='{kind}', antialias=True)", [IMAGE])
      for kind in ("bilinear", "bicubic", "lanczos3", "lanczos5")),
    Case("Resizing(6, 8)", [IMAGE]),
    Case("Resizing(4, 4, crop_to_aspect_ratio=True)", [IMAGE]),
    Case("Resizing(12, 9, pad_to_aspect_ratio=True, fill_value=2.0)", [IMAGE]),
    Case("Resizing(5, 12, pad_to_aspect_ratio=True)", [IMAGE]),
    Case("Resizing(5, 7, data_format='channels_first')", [IMAGE]),
    Case("Resizing(5, 7, interpolation='nearest')", [PIXELS]),
    Case("CenterCrop(4, 3)", [IMAGE]),
    Case("CenterCrop(6, 8)", [IMAGE]),
    Case("CenterCrop(8, 4)", [IMAGE]),
    Case("CenterCrop(3, 2, data_format='channels_first')", [IMAGE]),
    *(Case(f"UpSampling2D((2, 3), interpolation='{kind}')", [IMAGE])
      for kind in ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")),
    Case("UpSampling2D(2, interpolation='bilinear', data_format='channels_first')", [IMAGE]),
    *(Case(f"Normalization({axes})", [(4, 3)], "(layer.adapt(np.sin(np.arange(60)).reshape(5, 4, 3)), layer(x0))[1]",
           scale=0)
      for axes in ("", "axis=(1, 2)", "axis=None", "axis=1, invert=True")),
    Case("Normalization()", [(3,)], "(layer.adapt([np.eye(3) + n for n in range(4)]), layer(x0))[1]", scale=0),
    Case("Discretization(num_bins=4)", [(3,)], "(layer.adapt(np.cos(np.arange(500))), layer(x0))[1]"),
    Case("Discretization(num_bins=5, epsilon=0.1)", [(3,)],
         "(layer.adapt([np.cos(n + np.arange(30)) for n in range(4)]), layer(x0))[1]"),
    Case("Normalization(mean=2.0, variance=4.0)", [(4, 3)]),
    Case("Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 4.0, 0.0])", [(4, 3)]),
    *(Case(f"CategoryEncoding(7, output_mode='{mode}')", [IDS]) for mode in ("multi_hot", "one_hot", "count")),
    Case("CategoryEncoding(7, output_mode='one_hot')", [Data((1,), "int32", 0, 7)]),
    Case("CategoryEncoding(7, output_mode='count')", [IDS, COUNTS], "layer(x0, count_weights=x1)"),
    *(Case(f"Discretization([-0.5, 0.0, 1.0], output_mode='{mode}')", [(4,)])
      for mode in ("int", "multi_hot", "one_hot", "count")),
    *(Case(f"{layer}", [IMAGE], training=False)
      for layer in ("RandomBrightness(0.2)", "RandomContrast(0.2)", "RandomFlip()", "RandomRotation(0.2)",
                    "RandomShear(0.2, 0.2)", "RandomTranslation(0.2, 0.3)", "RandomZoom(0.2)")),
]  # fmt: skip


@pytest.mark.parametrize("execution", ["interpreter", "native"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_layer(case: Case, execution: str):
    compare(case, execution)


@pytest.mark.parametrize("fill_mode", FILL_MODES)
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_affine_transform(interpolation: str, fill_mode: str, rng: np.random.Generator):
    images = rng.normal(size=(3, 6, 9, 2)).astype("float32")
    maps = rng.normal(size=(3, 8)).astype("float32") * 0.3 + np.array([1, 0, 2, 0, 1, -3, 0, 0], "float32")
    maps[:, 6:] = 0
    wanted = keras.ops.image.affine_transform(images, maps, interpolation, fill_mode, fill_value=0.7)
    got = run_on_arrays(
        "affine_transform", lambda x, *m: affine_transform(x, m, interpolation, fill_mode, 0.7), images, *maps.T[:6]
    )
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4)
