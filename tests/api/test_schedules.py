"""Schedules follow their formulas, on numbers and inside the compiled step, which they never compile again."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kgraph.config import compilation_count
from kgraph.errors import ArgumentError, DTypeError
from kgraph.layers import Dense
from kgraph.models import Sequential
from kgraph.optimizers import SGD
from kgraph.optimizers.schedules import (
    CosineAnnealing,
    CosineDecay,
    CosineDecayRestarts,
    ExponentialDecay,
    InverseTimeDecay,
    LearningRateSchedule,
    MultiStepDecay,
    PiecewiseConstantDecay,
    PolynomialDecay,
    StepDecay,
    deserialize,
    serialize,
)


def half_cosine(part: float) -> float:
    return 0.5 + 0.5 * math.cos(math.pi * min(part, 1.0))


def restarts(step: int, length: float, stretch: float, shrink: float, alpha: float) -> float:
    """Walks through the periods one by one."""
    start, height = 0.0, 1.0
    while step >= start + length - 1e-9:
        start, length, height = start + length, length * stretch, height * shrink
    return (1 - alpha) * height * half_cosine((step - start) / length) + alpha


def pieces(step: int) -> float:
    return 1.0 if step <= 3 else 0.5 if step <= 5 else 0.25


CASES: list[tuple[LearningRateSchedule, Callable[[int], float]]] = [
    (ExponentialDecay(0.1, 7, 0.3), lambda t: 0.1 * 0.3 ** (t / 7)),
    (ExponentialDecay(0.1, 7, 0.3, staircase=True), lambda t: 0.1 * 0.3 ** (t // 7)),
    (InverseTimeDecay(0.1, 7, 0.3), lambda t: 0.1 / (1 + 0.3 * t / 7)),
    (InverseTimeDecay(0.1, 7, 0.3, True), lambda t: 0.1 / (1 + 0.3 * (t // 7))),
    (PiecewiseConstantDecay([3, 5], [1.0, 0.5, 0.25]), pieces),
    (PolynomialDecay(0.1, 10, 0.01, 2.0), lambda t: 0.09 * (1 - min(t / 10, 1)) ** 2 + 0.01),
    (PolynomialDecay(0.1, 10, 0.01, cycle=True), lambda t: 0.09 * (1 - t / (10 * max(math.ceil(t / 10), 1))) + 0.01),
    (CosineDecay(0.1, 10, alpha=0.2), lambda t: 0.1 * (0.8 * half_cosine(t / 10) + 0.2)),
    (CosineDecay(0.1, 10, warmup_target=0.4, warmup_steps=4),
     lambda t: 0.1 + 0.3 * t / 4 if t < 4 else 0.4 * half_cosine((t - 4) / 10)),
    (CosineDecay(0.1, 10, warmup_target=0.4), lambda t: 0.4 * half_cosine(t / 10)),
    (CosineDecayRestarts(0.1, 4, 1.0, 0.9, 0.1), lambda t: 0.1 * restarts(t, 4, 1, 0.9, 0.1)),
    (CosineDecayRestarts(0.1, 3, 3.0, 0.5), lambda t: 0.1 * restarts(t, 3, 3, 0.5, 0)),
    (CosineAnnealing(0.1, 10, minimum=0.02), lambda t: 0.08 * half_cosine(t / 10) + 0.02),
    (StepDecay(0.1, 4, 0.5), lambda t: 0.1 * 0.5 ** (t // 4)),
    (MultiStepDecay(0.1, [3, 5], 0.1), lambda t: 0.1 * 0.1 ** (sum(t >= m for m in (3, 5)))),
]  # fmt: skip


@pytest.mark.parametrize(("schedule", "formula"), CASES, ids=lambda case: type(case).__name__)
def test_a_schedule_follows_its_formula(schedule: Any, formula: Callable[[int], float]):
    steps = range(0, 45, 3)  # with multiples of all periods
    np.testing.assert_allclose([schedule(t) for t in steps], [formula(t) for t in steps], rtol=1e-6, atol=1e-9)
    assert schedule(5).dtype == np.float32
    copy = deserialize(serialize(schedule))
    assert type(copy) is type(schedule)
    assert copy.get_config() == schedule.get_config()


class Slower(LearningRateSchedule):
    """One of the user's own."""

    def __call__(self, step: Any) -> Any:
        return 0.5 / (step + 1.0)


@pytest.mark.parametrize("execution", ["native", "interpreter"])
@pytest.mark.parametrize(
    ("schedule", "formula"), [*CASES[::4], (Slower(), lambda t: 0.5 / (t + 1))], ids=lambda case: type(case).__name__
)
def test_the_compiled_step_knows_its_number(
    schedule: Any, formula: Callable[[int], float], execution: str, rng: np.random.Generator
):
    model = Sequential([Dense(1, use_bias=False, kernel_initializer="zeros", input_shape=(1,))])
    model.compile(SGD(schedule), lambda y_true, y_pred: y_pred, run_eagerly=execution == "interpreter")
    one, total, count = np.ones((1, 1)), 0.0, 0
    for step in range(8):
        np.testing.assert_allclose(float(model.optimizer.learning_rate), formula(step), rtol=1e-6)
        model.train_on_batch(one, one)
        count = count or compilation_count()
        total -= formula(step)  # the slope is 1
        np.testing.assert_allclose(model.get_weights()[0], [[total]], rtol=1e-5)
    assert compilation_count() == count
    assert [v.path.rpartition("/")[2] for v in model.optimizer.variables] == ["iteration"]


def test_a_schedule_can_be_replaced_by_another_but_not_by_a_number():
    model = Sequential([Dense(1, use_bias=False, kernel_initializer="zeros", input_shape=(1,))])
    model.compile(SGD(StepDecay(0.5, 10)), lambda y_true, y_pred: y_pred)
    model.train_on_batch(np.ones((1, 1)), np.ones((1, 1)))
    with pytest.raises(DTypeError, match="the optimizer was made with a schedule: expected another schedule"):
        model.optimizer.learning_rate = 0.1
    model.optimizer.learning_rate = StepDecay(0.25, 10)
    model.train_on_batch(np.ones((1, 1)), np.ones((1, 1)))
    assert model.get_weights()[0].tolist() == [[-0.75]]
    model.compile(SGD(0.1), lambda y_true, y_pred: y_pred)
    model.optimizer.learning_rate = Slower()
    model.train_on_batch(np.ones((1, 1)), np.ones((1, 1)))
    assert model.get_weights()[0].tolist() == [[-1.25]]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ExponentialDecay(0.1, 0, 0.5), "ExponentialDecay: decay_steps: expected a number > 0, received 0"),
        (lambda: PiecewiseConstantDecay([1, 2], [0.1]), "expected 3 values for 2 boundaries, received 1"),
        (lambda: PiecewiseConstantDecay([2, 1], [1, 2, 3]), "expected rising boundaries"),
        (lambda: CosineDecayRestarts(0.1, 5, t_mul=0.5), "t_mul: expected a number >= 1"),
        (lambda: CosineAnnealing(0.0, 5), "initial_learning_rate: expected a number > 0"),
    ],
)
def test_wrong_arguments_are_named(make: Callable[[], Any], words: str):
    with pytest.raises(ArgumentError, match=words):
        make()
