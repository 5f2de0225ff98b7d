"""Optimizers follow their formulas, keep Keras' slots, and take a new learning rate without compiling again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from kgraph import optimizers
from kgraph.config import compilation_count
from kgraph.engine import CompiledProgram
from kgraph.errors import ArgumentError, DTypeError
from kgraph.ir.dtypes import dtype_of
from kgraph.ir.opdef import emitting
from kgraph.ir.types import TensorType
from kgraph.layers import Dense
from kgraph.models import Sequential
from kgraph.optimizers import SGD, Adam, Optimizer, RMSprop
from kgraph.trace import Trace
from kgraph.variable import Variable

Rule = Callable[[np.ndarray, np.ndarray, int, dict[str, np.ndarray]], np.ndarray]


def centered(w: np.ndarray, g: np.ndarray, t: int, s: dict[str, np.ndarray]) -> np.ndarray:
    v = s["v"] = 0.8 * s.get("v", 0) + 0.2 * g**2
    a = s["a"] = 0.8 * s.get("a", 0) + 0.2 * g
    m = s["m"] = 0.5 * s.get("m", 0) + 0.1 * g / np.sqrt(v - a**2 + 1e-3)
    return w - m


def amsgrad(w: np.ndarray, g: np.ndarray, t: int, s: dict[str, np.ndarray]) -> np.ndarray:
    m = s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    v = s["v"] = 0.99 * s.get("v", 0) + 0.01 * g**2
    h = s["h"] = np.maximum(s.get("h", 0), v)
    return w - 0.1 * np.sqrt(1 - 0.99**t) / (1 - 0.9**t) * m / (np.sqrt(h) + 1e-4)


def heavy_ball(w: np.ndarray, g: np.ndarray, t: int, s: dict[str, np.ndarray]) -> np.ndarray:
    v = s["v"] = 0.7 * s.get("v", 0) - 0.1 * g
    return w + v


RULES: list[tuple[Callable[[], Optimizer], Rule]] = [
    (lambda: RMSprop(0.1, rho=0.8, momentum=0.5, epsilon=1e-3, centered=True), centered),
    (lambda: Adam(0.1, beta_2=0.99, epsilon=1e-4, amsgrad=True), amsgrad),
    (lambda: SGD(0.1, momentum=0.7), heavy_ball),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("execution", ["native", "interpreter"])
@pytest.mark.parametrize(("make", "rule"), RULES)
def test_updates_follow_the_formula(make: Callable[[], Optimizer], rule: Rule, execution: str, dtype: str, rng):
    optimizer, weight = make(), Variable(rng.normal(size=(3, 2)).astype(dtype), "w")
    expected, slots = weight.numpy().astype("float64"), {}
    trace = Trace("update")
    with emitting(trace):
        gradient = trace.argument(TensorType(dtype_of(dtype), (3, 2)), "g")
        optimizer.apply([gradient], [weight])
        program = CompiledProgram(trace.program([]))
    for step in range(1, 5):
        g = rng.normal(size=(3, 2)).astype(dtype)
        program.run([g], execution)
        expected = rule(expected, g.astype("float64"), step, slots)
    # The learning rate and the powers of the betas are float32 in Keras as well.
    np.testing.assert_allclose(weight.numpy(), expected, rtol=2e-5 if dtype == "float32" else 1e-6)
    assert optimizer.iterations.numpy() == 4


def test_slots_have_the_names_and_order_of_keras():
    weights = [Variable(np.zeros(2, "float32"), n, path=f"dense/{n}") for n in ("kernel", "bias")]
    for optimizer, names in [
        (SGD(name="o"), []),
        (SGD(momentum=0.9, name="o"), ["kernel_momentum", "bias_momentum"]),
        (Adam(name="o"), ["kernel_momentum", "kernel_velocity", "bias_momentum", "bias_velocity"]),
        (RMSprop(momentum=0.1, centered=True, name="o"),
         ["kernel_velocity", "bias_velocity", "kernel_momentum", "bias_momentum",
          "kernel_average_gradient", "bias_average_gradient"]),
    ]:  # fmt: skip
        optimizer.build(weights)
        expected = ["o/iteration", "o/learning_rate", *(f"o/dense_{name}" for name in names)]
        assert [v.path for v in optimizer.variables] == expected
        assert optimizer.iterations.dtype == "int64"


def test_learning_rate_changes_without_compiling_again(rng: np.random.Generator):
    model = Sequential([Dense(1, use_bias=False, input_shape=(3,))])
    model.compile(SGD(0.0), "mse")
    x, y = rng.normal(size=(4, 3)), rng.normal(size=(4, 1))
    before = model.get_weights()[0]
    model.train_on_batch(x, y)
    np.testing.assert_array_equal(model.get_weights()[0], before)
    count = compilation_count()
    model.optimizer.learning_rate = 0.5
    model.train_on_batch(x, y)
    gradient = 2 * x.T @ (x @ before - y) / 4
    np.testing.assert_allclose(model.get_weights()[0], before - 0.5 * gradient, rtol=1e-4, atol=1e-6)
    assert compilation_count() == count
    model.optimizer.lr = 0.25
    assert float(model.optimizer.learning_rate.numpy()) == 0.25


@pytest.mark.parametrize("name", ["sgd", "SGD", "adam", "Adam", "rmsprop", "RMSprop"])
def test_optimizers_are_found_by_name(name: str):
    assert type(optimizers.get(name)).__name__.lower() == name.lower()


def test_classes_and_instances_are_taken():
    made = Adam(lr=0.5)
    assert optimizers.get(made) is made
    assert float(made.learning_rate.numpy()) == 0.5
    assert type(optimizers.get(Adam)) is Adam


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: optimizers.get("adm"), ArgumentError, r"compile\(optimizer='adm'\): unknown. Did you mean 'adam'\?"),
        (lambda: SGD(-0.1), ArgumentError, "learning_rate must be >= 0"),
        (lambda: SGD(lr=float("nan")), ArgumentError, "learning_rate must be >= 0"),
        (lambda: SGD("fast"), DTypeError, "learning_rate: expected a number"),
        (lambda: SGD(momentum=2.0), ArgumentError, r"momentum: expected a number in \[0, 1\]"),
        (lambda: optimizers.get(3), DTypeError, "expected a name or an Optimizer"),
    ],
)
def test_wrong_arguments_are_named(make: Callable[[], object], error: type[Exception], words: str):
    with pytest.raises(error, match=words):
        make()


def test_a_config_makes_an_equal_optimizer():
    for optimizer in (SGD(0.3, 0.9, True), Adam(0.1, amsgrad=True), RMSprop(0.1, centered=True)):
        assert type(optimizer).from_config(optimizer.get_config()).get_config() == optimizer.get_config()


def test_weights_of_an_optimizer_can_be_carried_over(rng: np.random.Generator):
    def model() -> Sequential:
        made = Sequential([Dense(2, input_shape=(3,))])
        made.compile(Adam(0.1), "mse")
        return made

    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 2))
    first, second = model(), model()
    first.train_on_batch(x, y)
    second.optimizer.build(second.trainable_variables)
    second.set_weights(first.get_weights())
    second.optimizer.set_weights(first.optimizer.get_weights())
    first.train_on_batch(x, y)
    second.train_on_batch(x, y)
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
