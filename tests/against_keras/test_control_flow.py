"""Loops and branches of kgraph.ops against Keras' own, on arrays: values, shapes and element types."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import kgraph

X = np.random.default_rng(5).normal(size=(5, 3)).astype("float32")

CALLS = {
    "scan": lambda k: k.scan(lambda c, x: (c + x, k.sum(c * x)), X[0], X),
    "scan from the end": lambda k: k.scan(lambda c, x: (c + x, (k.sum(c * x), c)), X[0], X, reverse=True),
    "scan without sequences": lambda k: k.scan(lambda c, _: (c * 2, c), X[0], length=3),
    "map": lambda k: k.map(lambda x: (x * 2, k.sum(x)), X),
    "vectorized_map": lambda k: k.vectorized_map(lambda x: x[0] * x[1], (X, X)),
    "fori_loop": lambda k: k.fori_loop(1, 4, lambda i, v: v * 2 + k.cast(i, "float32"), X),
    "while_loop": lambda k: k.while_loop(lambda i, v: i < 4, lambda i, v: (i + 1, v * 2), (0, X)),
    "while_loop with a limit": lambda k: k.while_loop(lambda v: k.sum(v) < 1e9, lambda v: v * v, X, 2),
    "associative_scan": lambda k: k.associative_scan(lambda a, b: a * b, X, axis=1),
    "associative_scan from the end": lambda k: k.associative_scan(lambda a, b: a * b, X, reverse=True),
    "cond": lambda k: k.cond(X.sum() > 0, lambda: X, lambda: -X),
    "switch": lambda k: k.switch(1, [lambda x: x, lambda x: x * 3], X),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_results_are_those_of_keras(call):
    found, wanted = (keras.tree.flatten(call(module)) for module in (kgraph.ops, keras.ops))
    assert len(found) == len(wanted)
    for a, b in zip(found, map(np.asarray, wanted), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
