"""Merging, reshaping and regularization layers against Keras; the random ones where they do not act."""

from __future__ import annotations

import pytest
from keras_comparison import Case, Data, compare

A, B, IMAGE, LINE = (3, 4), (3, 4), (6, 5, 2), (7, 3)

CASES = [
    *(Case(f"{kind}()", [A, B]) for kind in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")),
    *(Case(f"{kind}()", [A, (1, 4), B]) for kind in ("Add", "Multiply", "Average", "Maximum", "Minimum")),
    Case("Add()", [(4,), (3, 4)]),
    Case("Concatenate()", [A, (3, 2)]),
    Case("Concatenate(axis=1)", [A, (2, 4), B]),
    Case("Concatenate(axis=-2)", [A, (2, 4)]),
    Case("Identity()", [A, B], "k.layers.concatenate([layer(x0), k.layers.add([x0, x1])], axis=1)"),
    Case("Identity()", [A, B], "k.layers.dot([layer(x0), k.layers.subtract([x0, x1])], axes=2)"),
    Case("Dot(axes=1)", [(4,), (4,)]),
    Case("Dot(axes=2)", [A, (5, 4)]),
    Case("Dot(axes=(2, 1))", [A, (4, 5)]),
    Case("Dot(axes=-1, normalize=True)", [A, (5, 4)]),
    Case("Flatten()", [IMAGE]),
    Case("Flatten(data_format='channels_first')", [IMAGE]),
    Case("Reshape((5, -1))", [IMAGE]),
    Case("Reshape((3, 4, 5))", [IMAGE]),
    Case("Permute((3, 1, 2))", [IMAGE]),
    Case("RepeatVector(4)", [(3,)]),
    Case("ZeroPadding1D(2)", [LINE]),
    Case("ZeroPadding1D((0, 3))", [LINE]),
    Case("ZeroPadding2D((1, 2))", [IMAGE]),
    Case("ZeroPadding2D(((0, 1), (2, 0)), data_format='channels_first')", [IMAGE]),
    Case("ZeroPadding3D(((0, 1), (2, 0), (1, 1)))", [(3, 4, 2, 2)]),
    Case("Cropping1D((2, 1))", [LINE]),
    Case("Cropping2D((1, 2))", [IMAGE]),
    Case("Cropping2D(((0, 1), (2, 0)), data_format='channels_first')", [(2, 5, 6)]),
    Case("Cropping3D(1)", [(3, 4, 5, 2)]),
    Case("Cropping3D(((0, 1), (2, 0), (1, 1)), data_format='channels_first')", [(2, 3, 4, 5)]),
    Case("ZeroPadding1D((0, 3), data_format='channels_first')", [LINE]),
    Case("ZeroPadding3D(((0, 1), (2, 0), (1, 1)), data_format='channels_first')", [(2, 3, 4, 2)]),
    Case("UpSampling2D((2, 3), data_format='channels_first')", [IMAGE]),
    Case("UpSampling3D((1, 2, 3), data_format='channels_first')", [(2, 3, 4, 2)]),
    Case("UpSampling1D(3)", [LINE]),
    Case("UpSampling2D((2, 3))", [IMAGE]),
    Case("UpSampling3D((1, 2, 3))", [(3, 4, 2, 2)]),
    Case("Reshape((4, 2))", [Data((8,), "int32", 0, 9)]),
    *(Case(f"{kind}(0.4)", [A], training=False)
      for kind in ("Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise", "SpatialDropout1D")),
    *(Case(f"{kind}(0.0)", [A]) for kind in ("Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise")),
    Case("SpatialDropout2D(0.4)", [IMAGE], training=False),
    Case("SpatialDropout3D(0.4)", [(3, 4, 2, 2)], training=False),
    Case("ActivityRegularization(l1=0.1)", [A]),
]  # fmt: skip


@pytest.mark.parametrize("execution", ["interpreter", "native"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_layer(case: Case, execution: str):
    compare(case, execution)
