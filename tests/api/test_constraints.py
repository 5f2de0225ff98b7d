"""Constraints have their formula's value, and hold after every update of the compiled step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kgraph import constraints, execution
from kgraph.constraints import MaxNorm, MinMaxNorm, NonNeg, UnitNorm
from kgraph.errors import ArgumentError
from kgraph.layers import Dense
from kgraph.models import Sequential
from kgraph.optimizers import SGD


def norms(w: np.ndarray, axis: Any) -> np.ndarray:
    return np.sqrt((w**2).sum(axis, keepdims=True))


FORMULAS: list[tuple[Any, Callable[[np.ndarray], np.ndarray]]] = [
    (NonNeg(), lambda w: np.maximum(w, 0)),
    (UnitNorm(), lambda w: w / norms(w, 0)),
    (UnitNorm((0, 1)), lambda w: w / norms(w, (0, 1))),
    (MaxNorm(1.5, axis=1), lambda w: w * np.minimum(norms(w, 1), 1.5) / norms(w, 1)),
    (MinMaxNorm(1.0, 1.2), lambda w: w * np.clip(norms(w, 0), 1, 1.2) / norms(w, 0)),
    (MinMaxNorm(1.0, 1.2, rate=0.25), lambda w: w * (0.25 * np.clip(norms(w, 0), 1, 1.2) / norms(w, 0) + 0.75)),
]


@pytest.mark.parametrize(("constraint", "formula"), FORMULAS)
@pytest.mark.parametrize("way", ["native", "interpreter"])
def test_weights_obey_after_an_update(constraint: Any, formula: Callable, way: str, rng: np.random.Generator):
    model = Sequential([Dense(4, kernel_constraint=constraint, input_shape=(3,))])
    model.compile(SGD(0.1), "mse")
    x, y, w = rng.normal(size=(6, 3)), rng.normal(size=(6, 4)), rng.normal(size=(3, 4))
    np.testing.assert_allclose(constraint(w), formula(w), rtol=1e-6)
    bias = np.zeros(4)
    model.set_weights([w, bias])
    with execution(way):
        for _ in range(2):
            slope = 2 * (x @ w + bias - y) / y.size
            w, bias = formula(w - 0.1 * x.T @ slope), bias - 0.1 * slope.sum(0)
            model.train_on_batch(x, y)
            np.testing.assert_allclose(model.get_weights()[0], w, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.get_weights()[1], bias, rtol=1e-4, atol=1e-6)


def test_a_function_can_stand_for_a_constraint(rng: np.random.Generator):
    model = Sequential([Dense(2, bias_constraint=lambda w: w * 0.0 + 7.0, input_shape=(3,))])
    model.compile("sgd", "mse")
    model.train_on_batch(rng.normal(size=(4, 3)), rng.normal(size=(4, 2)))
    np.testing.assert_array_equal(model.get_weights()[1], [7, 7])


@pytest.mark.parametrize("constraint", [c for c, _ in FORMULAS])
def test_a_configuration_gives_the_same_constraint(constraint: Any):
    copy = constraints.get(constraints.serialize(constraint))
    assert type(copy) is type(constraint)
    assert copy.get_config() == constraint.get_config()


@pytest.mark.parametrize("name", ["max_norm", "MaxNorm", "min_max_norm", "non_neg", "unit_norm"])
def test_constraints_are_found_by_name(name: str):
    assert type(constraints.get(name)).__name__.lower() == name.lower().replace("_", "")


def test_wrong_arguments_are_named():
    with pytest.raises(ArgumentError, match=r"MinMaxNorm: expected 0 <= min_value <= max_value, received 2, 1.0"):
        MinMaxNorm(2)
    with pytest.raises(ArgumentError, match=r"constraint='nonneg': unknown. Did you mean 'non_neg'"):
        constraints.get("nonneg")
