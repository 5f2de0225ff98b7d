"""Convolutions in several threads: the same bits as in one, also where sums need several passes."""

from __future__ import annotations

import numpy as np
import pytest
from op_samples import graph_of_sample

import kgraph
import kgraph.runtime.sharing as sharing
from kgraph.compiler.native import compile_native
from kgraph.config import override
from kgraph.ir.opdef import Sample
from kgraph.primitives import REGISTRY
from kgraph.runtime.executable import Executable

L = kgraph.layers


@pytest.fixture
def everything_shared(monkeypatch):
    """Share every kernel that can be shared, however small."""
    monkeypatch.setattr(sharing, "LEAST_WORK", 1)


def in_threads(name, arrays, attrs):
    """Results for 1, 2, 3 and 5 threads."""
    sample = Sample(tuple(arrays), attrs)
    executable = Executable(compile_native(graph_of_sample(REGISTRY[name], sample), 0, check=False).artifact, [])
    results = []
    for threads in (1, 2, 3, 5):
        with override(num_threads=threads):
            results.append(executable.run(arrays)[0])
    return results


@pytest.mark.parametrize("x_shape, w_shape, stride, groups", [
    ((3, 17, 13, 20), (3, 3, 20, 70), 1, 1),
    ((2, 9, 8, 190), (3, 3, 190, 33), 1, 1),  # sums of 1710 terms: two passes
    ((4, 15, 15, 24), (3, 3, 24, 40), 2, 1),  # a gradient of four phases
    ((2, 12, 11, 24), (3, 3, 8, 48), 1, 3),
    ((2, 12, 11, 24), (3, 3, 1, 24), 1, 24),
    ((1, 2, 3, 40), (2, 2, 40, 200), 1, 1),  # few rows: cut along the columns
    ((5, 13, 17, 16), (3, 3, 16, 16), 1, 1),  # few columns: padded lines
    ((5, 13, 17, 16), (3, 3, 16, 24), 2, 1),
])  # fmt: skip
def test_convolutions_have_the_same_bits_in_any_parts(everything_shared, x_shape, w_shape, stride, groups):
    rng = np.random.default_rng(0)
    attrs = {"strides": (stride,) * 2, "low": (1, 1), "high": (1, 1), "dilation": (1, 1), "groups": groups}
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in (x_shape, w_shape))
    y, *others = in_threads("conv", [x, w], attrs)
    np.testing.assert_allclose(y, REGISTRY["conv"].reference(x, w, **attrs), rtol=0, atol=1e-3)
    dy = rng.standard_normal(y.shape).astype(np.float32)
    dx, *more = in_threads("conv_input_grad", [dy, w], {**attrs, "shape": x_shape})
    dw, *most = in_threads("conv_weight_grad", [x, dy], {**attrs, "kernel": w_shape[:2]})
    for alone, shared in ((y, others), (dx, more), (dw, most)):
        for result in shared:
            np.testing.assert_array_equal(result, alone)


@pytest.mark.parametrize("threads", [2, 3])
def test_a_trained_cnn_has_the_same_bits(everything_shared, threads):
    x = np.random.default_rng(0).standard_normal((50, 15, 15, 2)).astype("float32")
    y = np.random.default_rng(1).integers(0, 4, 50)
    weights = []
    for count in (1, threads):
        kgraph.utils.set_random_seed(5)
        model = kgraph.Sequential([
            kgraph.Input((15, 15, 2)), L.Conv2D(12, 3, padding="same", activation="relu"), L.MaxPooling2D(2),
            L.Conv2D(20, 3, strides=2, padding="same"), L.DepthwiseConv2D(3), L.AveragePooling2D(2, padding="same"),
            L.Flatten(), L.Dense(4, activation="softmax"),
        ])  # fmt: skip
        model.compile("adam", "sparse_categorical_crossentropy")
        with override(num_threads=count):
            model.fit(x, y, batch_size=16, epochs=2, verbose=0)
        weights.append(model.get_weights())
    for alone, shared in zip(*weights, strict=True):
        np.testing.assert_array_equal(shared, alone)
