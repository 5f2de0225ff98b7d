"""`vectorize`: against NumPy's, on arrays, in models, with gradients; errors."""

from __future__ import annotations

import re

import numpy as np
import pytest

import kgraph
from kgraph import ops
from kgraph.errors import KgraphError


def branching(a, b):
    return ops.where(a > b, a - b, a * b)


PRODUCT = "(m,n),(n)->(m)"


def numbers(rng, *shape):
    return rng.normal(size=shape)


@pytest.mark.parametrize("shapes", [((4,), ()), ((), ()), ((2, 1, 3), (4, 1)), ((0,), ())])
def test_elements_broadcast_as_in_numpy(rng, shapes):
    a, b = (numbers(rng, *shape) for shape in shapes)
    found = ops.vectorize(branching)(a, b)
    np.testing.assert_allclose(found, np.where(a > b, a - b, a * b), rtol=1e-12, strict=True)


def test_several_results_and_arguments_that_are_left_out(rng):
    a, b = numbers(rng, 3), numbers(rng, 2, 1)

    def function(x, power, shift=0.0, factor=None):
        assert factor == "none"
        return x**power + shift, {"same": x}

    found, more = ops.vectorize(function, excluded={1, "factor"})(a, 2, shift=b, factor="none")
    np.testing.assert_allclose(found, a**2 + b, rtol=1e-12)
    np.testing.assert_allclose(more["same"], np.broadcast_to(a, (2, 3)))
    assert ops.vectorize(lambda x, y: x if y is None else y)([1, 2], None).tolist() == [1, 2]
    assert ops.vectorize(function).__name__ == "function"


def test_signatures_as_in_numpy(rng):
    matrix, vector = numbers(rng, 5, 2, 3), numbers(rng, 4, 1, 3)
    found = ops.vectorize(ops.matmul, signature=PRODUCT)(matrix, vector)
    wanted = np.vectorize(np.matmul, signature=PRODUCT)(matrix, vector)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, strict=True)
    both = ops.vectorize(lambda v: (ops.sum(v), v[:2]), signature=" (n) -> (), (k)")(vector)
    np.testing.assert_allclose(both[0], vector.sum(-1), rtol=1e-12)
    np.testing.assert_allclose(both[1], vector[..., :2])


@pytest.mark.parametrize("execution", ["interpreter", "native"])
def test_in_a_model_with_a_gradient(rng, execution):
    left, right = kgraph.Input((None, 3), dtype="float64"), kgraph.Input((3,), dtype="float64")
    scaled = ops.vectorize(lambda v, w: v * ops.sum(v * w), signature="(n),(n)->(n)")(left, ops.expand_dims(right, 1))
    model = kgraph.Model([left, right], ops.vectorize(branching)(scaled, 0.25))
    x, y = numbers(rng, 2, 4, 3), numbers(rng, 2, 3)

    def by_hand(x, y):
        z = x * (x * y[:, None]).sum(-1, keepdims=True)
        return np.where(z > 0.25, z - 0.25, z * 0.25)

    weights, direction = numbers(rng, 2, 4, 3), numbers(rng, 2, 4, 3)
    with kgraph.execution(execution):
        (found,), (dx, _), _ = kgraph.vjp(model, [x, y], weights)
    np.testing.assert_allclose(found, by_hand(x, y), rtol=1e-12)
    slope = (weights * (by_hand(x + 1e-6 * direction, y) - by_hand(x - 1e-6 * direction, y))).sum() / 2e-6
    assert (dx * direction).sum() == pytest.approx(slope, rel=1e-6)


def wrong(signature, *args, **kwargs):
    return ops.vectorize(ops.matmul, signature=signature)(*args, **kwargs)


WRONG = [
    (lambda: ops.vectorize(3), "vectorize: pyfunc: expected a function, received 3"),
    (lambda: wrong("(m,n)(n)->(m)"), "signature: expected a form like '(m,n),(n)->(m)', received '(m,n)(n)->(m)'"),
    (lambda: wrong(PRODUCT, np.ones(3), np.ones(3)), "vectorize: expected axes (m, n), received shape (3,)"),
    (lambda: wrong(PRODUCT, np.ones((2, 3)), np.ones(4)), "vectorize: axis 'n': expected size 3, received 4"),
    (lambda: wrong(PRODUCT, np.ones((2, 3))), f"expected 2 arguments by position for {PRODUCT!r}, received 1"),
    (lambda: wrong("(m)->()", np.ones(3), x2=1), "received 1 by position and 1 by name"),
    (lambda: wrong("(n),(n)->(n)", np.ones(3), np.ones(3)), "expected axes (n), received shape ()"),
    (lambda: wrong("(n),(n)->(),()", np.ones(3), np.ones(3)), "vectorize: results: expected 2, received 1"),
    (lambda: ops.vectorize(lambda v: v[:2], signature="(n)->(n)")([1.0] * 3), "axis 'n': expected size 3, received 2"),
    (lambda: ops.vectorize(lambda x: ops.ones(2) * x)([1.0]), "result: expected shape (), received (2,)"),
    (lambda: ops.vectorize(branching)(np.ones(2), np.ones(3)), "shapes (2,) and (3,) do not broadcast"),
    (lambda: ops.vectorize(lambda x: x)(None), "vectorize: expected at least one tensor, received none"),
]


@pytest.mark.parametrize("call, words", WRONG, ids=[words[:30] for _, words in WRONG])
def test_wrong_calls_say_what_is_wrong(call, words):
    with pytest.raises(KgraphError, match=re.escape(words)):
        call()
