"""Optimizers follow their formulas, keep Keras' slots, and take a new learning rate without compiling again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kgraph import optimizers
from kgraph.config import compilation_count
from kgraph.engine import CompiledProgram
from kgraph.errors import ArgumentError, DTypeError, StateError
from kgraph.ir.dtypes import dtype_of
from kgraph.ir.opdef import emitting
from kgraph.ir.types import TensorType
from kgraph.layers import Dense
from kgraph.models import Sequential
from kgraph.optimizers import (
    SGD,
    Adafactor,
    Adam,
    AdamW,
    Ftrl,
    Lamb,
    LossScaleOptimizer,
    MultiOptimizer,
    Muon,
    Nadam,
    Optimizer,
    OptimizerMap,
    RMSprop,
)
from kgraph.optimizers.rules import CLASSES as RULE_NAMES
from kgraph.optimizers.rules import FAMILY
from kgraph.optimizers.schedules import ExponentialDecay
from kgraph.primitives.composites import where
from kgraph.registration import register_keras_serializable
from kgraph.trace import Trace
from kgraph.variable import Variable

RULE_CLASSES = [FAMILY.by_name[name] for name in RULE_NAMES]

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


def nadam(w: np.ndarray, g: np.ndarray, t: int, s: dict[str, np.ndarray]) -> np.ndarray:
    """Dozat (2015), algorithm 8 with the momentum schedule of its section on warming up."""
    mu = [0.9 * (1 - 0.5 * 0.96**n) for n in range(t + 2)]
    m = s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    v = s["v"] = 0.999 * s.get("v", 0) + 0.001 * g**2
    ahead = mu[t + 1] * m / (1 - np.prod(mu[1 : t + 2])) + (1 - mu[t]) * g / (1 - np.prod(mu[1 : t + 1]))
    return w - 0.1 * ahead / (np.sqrt(v / (1 - 0.999**t)) + 1e-7)


def lamb(w: np.ndarray, g: np.ndarray, t: int, s: dict[str, np.ndarray]) -> np.ndarray:
    """You et al. (2020), algorithm 2, weight decay outside."""
    m = s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    v = s["v"] = 0.999 * s.get("v", 0) + 0.001 * g**2
    r = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-7)
    return w - 0.1 * np.linalg.norm(w) / np.linalg.norm(r) * r


def ftrl(w: np.ndarray, g: np.ndarray, t: int, s: dict[str, np.ndarray]) -> np.ndarray:
    """McMahan et al. (2013), algorithm 1, solved for each coordinate: w = 0 where |z| <= l1."""
    before = s.get("n", np.full_like(w, 0.2))
    n = s["n"] = before + g**2
    z = s["z"] = s.get("z", 0) + g + 2 * 0.03 * w - (np.sqrt(n) - np.sqrt(before)) / 0.1 * w
    solved = -(z - np.sign(z) * 0.4) / ((0.5 + np.sqrt(n)) / 0.1 + 2 * 0.02)
    return np.where(np.abs(z) <= 0.4, 0.0, solved)


def adafactor(w: np.ndarray, g: np.ndarray, t: int, s: dict[str, np.ndarray]) -> np.ndarray:
    """Shazeer and Stern (2018), algorithms 4 and 5."""
    decay = 1 - t**-0.8
    rows = s["r"] = decay * s.get("r", 0) + (1 - decay) * (g**2 + 1e-30).mean(1)
    columns = s["c"] = decay * s.get("c", 0) + (1 - decay) * (g**2 + 1e-30).mean(0)
    u = g / np.sqrt(np.outer(rows, columns) / rows.mean())
    u /= max(1.0, np.sqrt((u**2).mean()))
    return w - max(1e-3, np.sqrt((w**2).mean())) * min(0.1, t**-0.5) * u


def muon(w: np.ndarray, g: np.ndarray, t: int, s: dict[str, np.ndarray]) -> np.ndarray:
    """Jordan et al. (2024): the iteration acts on singular values alone."""
    m = s["m"] = 0.95 * s.get("m", 0) + g
    u, values, v = np.linalg.svd(g + 0.95 * m, full_matrices=False)
    x = values / (np.sqrt((values**2).sum()) + 1e-7)
    for _ in range(5):
        x = 3.4445 * x - 4.7750 * x**3 + 2.0315 * x**5
    return w * (1 - 0.1 * 0.004) - 0.1 * 0.2 * np.sqrt(max(w.shape)) * (u * x) @ v


def decayed(w: np.ndarray, g: np.ndarray, t: int, s: dict[str, np.ndarray]) -> np.ndarray:
    rate = 0.1 / (1 + 0.5 * (t - 1))
    return w - rate * 0.2 * w - rate * g / max(1.0, np.linalg.norm(g) / 0.5)


def every_second(w: np.ndarray, g: np.ndarray, t: int, s: dict[str, np.ndarray]) -> np.ndarray:
    if t % 2:
        s["g"] = g
        return w
    v = s["v"] = 0.7 * s.get("v", 0) - 0.1 * (s["g"] + g) / 2
    return w + v


def averaged(w: np.ndarray, g: np.ndarray, t: int, s: dict[str, np.ndarray]) -> np.ndarray:
    w = w - 0.1 * g
    s["a"] = w if t == 1 else 0.6 * s["a"] + 0.4 * w
    return s["a"] if t % 2 == 0 else w


RULES: list[tuple[Callable[[], Optimizer], Rule]] = [
    (lambda: RMSprop(0.1, rho=0.8, momentum=0.5, epsilon=1e-3, centered=True), centered),
    (lambda: Adam(0.1, beta_2=0.99, epsilon=1e-4, amsgrad=True), amsgrad),
    (lambda: SGD(0.1, momentum=0.7), heavy_ball),
    (lambda: Nadam(0.1), nadam),
    (lambda: Lamb(0.1), lamb),
    (lambda: Ftrl(0.1, -0.5, 0.2, 0.4, 0.02, 0.03, beta=0.5), ftrl),
    (lambda: Adafactor(0.1), adafactor),
    (lambda: Muon(0.1), muon),
    (lambda: SGD(0.1, decay=0.5, weight_decay=0.2, clipnorm=0.5), decayed),
    (lambda: SGD(0.1, decay=0.5, weight_decay=0.2, global_clipnorm=0.5), decayed),
    (lambda: SGD(0.1, momentum=0.7, gradient_accumulation_steps=2), every_second),
    (lambda: SGD(0.1, use_ema=True, ema_momentum=0.6, ema_overwrite_frequency=2), averaged),
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
    # The learning rate and the powers of the betas are float32 in Keras as well; errors are those of whole steps.
    tolerance = 2e-5 if dtype == "float32" else 1e-6
    np.testing.assert_allclose(weight.numpy(), expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())
    assert int(optimizer.iterations) == 4 // (optimizer.gradient_accumulation_steps or 1)


def test_slots_have_the_names_and_order_of_keras():
    weights = [Variable(np.zeros(shape, "float32"), n, path=f"dense/{n}") for n, shape in
               (("kernel", (3, 2)), ("bias", (2,)))]  # fmt: skip
    first_two = ["kernel_momentum", "kernel_velocity", "bias_momentum", "bias_velocity"]
    for optimizer, names in [
        (SGD(name="o"), []),
        (SGD(momentum=0.9, use_ema=True, name="o"),
         ["kernel_average", "bias_average", "kernel_momentum", "bias_momentum"]),
        (Adam(gradient_accumulation_steps=3, name="o"),
         ["kernel_gradient_accumulator", "bias_gradient_accumulator", *first_two]),
        (RMSprop(momentum=0.1, centered=True, name="o"),
         ["kernel_velocity", "bias_velocity", "kernel_momentum", "bias_momentum",
          "kernel_average_gradient", "bias_average_gradient"]),
        (Muon(name="o"), ["kernel_momentum", "bias_momentum", "bias_velocity"]),
    ]:  # fmt: skip
        optimizer.build(weights)
        expected = ["o/iteration", "o/learning_rate", *(f"o/dense_{name}" for name in names)]
        assert [v.path for v in optimizer.variables] == expected
        assert optimizer.variables[0].dtype == "int64"
    nadam = Nadam(name="o")
    nadam.build(weights)
    assert [v.path for v in nadam.variables[2:]] == [f"o/dense_{name}" for name in first_two] + ["o/u_product"]
    adafactor = Adafactor()
    adafactor.build(weights)
    assert [v.shape for v in adafactor.variables] == [(), (), (3,), (2,), (3, 2), (), (), (2,)]


def step_with(optimizer: Optimizer, *pairs: tuple[Variable, list[float]]) -> None:
    optimizer.apply_gradients([(np.array(gradient, "float32"), variable) for variable, gradient in pairs])


def test_one_factor_clips_all_gradients_together():
    a, b = Variable(np.zeros(2, "float32"), "a"), Variable(np.zeros(1, "float32"), "b")
    optimizer = SGD(1.0, global_clipnorm=2.5)
    step_with(optimizer, (a, [0.0, 3.0]), (b, [-4.0]))
    np.testing.assert_allclose([*a.numpy(), *b.numpy()], [0, -1.5, 2])
    step_with(optimizer, (a, [0.0, 0.3]), (b, [-0.4]))
    np.testing.assert_allclose([*a.numpy(), *b.numpy()], [0, -1.8, 2.4], rtol=1e-6)


def test_variables_can_be_left_out_of_weight_decay():
    made = [Variable(np.ones(1, "float32"), name) for name in ("kernel", "bias", "scale")]
    optimizer = AdamW(0.5, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=[made[2]], var_names=["bias"])
    step_with(optimizer, *((v, [0.0]) for v in made))
    assert [float(v.array[0]) for v in made] == [0.75, 1, 1]
    with pytest.raises(StateError, match="exclude_from_weight_decay: expected a call before training"):
        optimizer.exclude_from_weight_decay(var_names=["kernel"])


def test_averages_take_the_place_of_weights_at_the_end_of_fit(rng: np.random.Generator):
    model = Sequential([Dense(1, use_bias=False, input_shape=(2,))])
    model.compile(SGD(0.1, use_ema=True, ema_momentum=0.5), "mse")
    x, y, w = rng.normal(size=(8, 2)), rng.normal(size=(8, 1)), model.get_weights()[0]
    average = None
    for rows in (slice(0, 4), slice(4, 8)):
        w = w - 0.1 * 2 * x[rows].T @ (x[rows] @ w - y[rows]) / 4
        average = w if average is None else 0.5 * average + 0.5 * w
    model.fit(x, y, batch_size=4, shuffle=False, verbose=0)
    np.testing.assert_allclose(model.get_weights()[0], average, rtol=1e-4, atol=1e-6)


def test_a_loss_scale_leaves_out_steps_that_overflow():
    weight = Variable(np.array([1.0], "float32"), "w")
    optimizer = LossScaleOptimizer(SGD(0.5), initial_scale=4.0, dynamic_growth_steps=2)
    step_with(optimizer, (weight, [4.0]))
    assert (float(weight.array[0]), float(optimizer.dynamic_scale)) == (0.5, 4)
    step_with(optimizer, (weight, [np.inf]))
    assert (float(weight.array[0]), float(optimizer.dynamic_scale)) == (0.5, 2)
    assert int(optimizer.iterations) == 1
    step_with(optimizer, (weight, [2.0]))
    step_with(optimizer, (weight, [2.0]))
    assert (float(weight.array[0]), float(optimizer.dynamic_scale)) == (-0.5, 4)


@pytest.mark.parametrize(("make", "scaled"), [
    (SGD, lambda: SGD(loss_scale_factor=1024.0)),
    *((cls, lambda cls=cls: LossScaleOptimizer(cls())) for cls in RULE_CLASSES),
    (Adam, lambda: LossScaleOptimizer(MultiOptimizer(OptimizerMap(Adam(), {".*bias": Adam()})))),
])  # fmt: skip
def test_a_scaled_loss_changes_nothing_else(
    make: type[Optimizer], scaled: Callable[[], Optimizer], rng: np.random.Generator
):
    model, plain = (Sequential([Dense(2, input_shape=(3,))]) for _ in range(2))
    plain.set_weights(model.get_weights())
    model.compile(scaled(), "mse")
    plain.compile(make(), "mse")
    x, y = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
    assert model.train_on_batch(x, y) == plain.train_on_batch(x, y)
    for a, b in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("execution", ["native", "interpreter"])
def test_a_rule_of_ones_own_is_one_method(execution: str, rng: np.random.Generator):
    class Signs(Optimizer):
        """Keras' way: lists of slots, found by the index of the variable."""

        def build(self, variables: Any) -> None:
            super().build(variables)
            self.counts = self.add_optimizer_variables(variables, "count")

        def update_step(self, gradient: Any, variable: Variable, learning_rate: Any) -> None:
            count = self.counts[self._get_variable_index(variable)]
            self.assign_add(count, 1.0)
            self.assign_sub(variable, learning_rate * where(gradient > 0.0, count, -count))

    model = Sequential([Dense(1, use_bias=False, input_shape=(2,)), Dense(1, use_bias=False)])
    model.layers[1].trainable = False
    model.compile(Signs(0.1), "mse", run_eagerly=execution == "interpreter")
    x, y = rng.normal(size=(4, 2)), rng.normal(size=(4, 1))
    a, b = model.get_weights()
    for step in (1, 2):
        slope = x.T @ (x @ a @ b - y) @ b.T
        a = a - 0.1 * step * np.sign(slope)
        model.train_on_batch(x, y)
        np.testing.assert_allclose(model.get_weights()[0], a, rtol=1e-5)
    model.layers[1].trainable = True  # the optimizer meets a variable that is new to it
    slopes = x.T @ (x @ a @ b - y) @ b.T, (x @ a).T @ (x @ a @ b - y)
    model.train_on_batch(x, y)
    np.testing.assert_allclose(model.get_weights()[0], a - 0.3 * np.sign(slopes[0]), rtol=1e-5)
    np.testing.assert_allclose(model.get_weights()[1], b - 0.1 * np.sign(slopes[1]), rtol=1e-5)


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


@pytest.mark.parametrize("name", ["sgd", "SGD", "RMSprop", *(cls.__name__.lower() for cls in RULE_CLASSES)])
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
        (lambda: Adam(beta1=0.9), ArgumentError, r"Adam: unknown argument 'beta1'. Did you mean 'beta_1'\?"),
        (lambda: Adam(clipnorms=0.9), ArgumentError, r"unknown argument 'clipnorms'. Did you mean 'clipnorm'\?"),
        (lambda: SGD(clipnorm=1.0, clipvalue=1.0), ArgumentError, "received clipnorm and clipvalue"),
        (lambda: SGD(clipvalue=0), ArgumentError, "SGD: clipvalue: expected a number > 0, received 0"),
        (lambda: SGD(gradient_accumulation_steps=1), ArgumentError, "expected an int >= 2 or None"),
        (lambda: SGD(ema_momentum=1.5), ArgumentError, r"ema_momentum: expected a number in \[0, 1\]"),
        (lambda: AdamW(weight_decay=None), ArgumentError, "AdamW: weight_decay: expected a number"),
        (lambda: Ftrl(learning_rate_power=0.5), ArgumentError, "expected a number <= 0"),
        (lambda: LossScaleOptimizer("sgd"), DTypeError, "expected an Optimizer"),
        (lambda: SGD().apply([1.0], []), ArgumentError, "expected 0 gradients, received 1"),
        (lambda: MultiOptimizer({"a": SGD()}), DTypeError, "expected an OptimizerMap, or a function of a variable"),
        (lambda: OptimizerMap("sgd"), DTypeError, r"OptimizerMap\(default_optimizer\): expected an Optimizer"),
        (lambda: OptimizerMap(SGD(), [SGD()]), DTypeError, "expected a dict from patterns to optimizers"),
        (lambda: OptimizerMap(SGD(), {"a": LossScaleOptimizer(SGD())}), DTypeError, "that wraps no other"),
        (
            lambda: OptimizerMap(SGD(), {"a(": SGD()}),
            ArgumentError,
            r"expected a path or a regular expression, received 'a\('",
        ),
        (lambda: OptimizerMap(SGD(), {"a.*": SGD(), ".*b": SGD()})["ab"], ArgumentError, "one pattern that matches"),
    ],
)
def test_wrong_arguments_are_named(make: Callable[[], object], error: type[Exception], words: str):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize("optimizer", [
    SGD(0.3, 0.9, True, clipnorm=0.5, use_ema=True, decay=0.1), Adam(0.1, amsgrad=True), RMSprop(0.1, centered=True),
    *(cls() for cls in RULE_CLASSES), LossScaleOptimizer(Adam(0.2), initial_scale=2.0),
    MultiOptimizer(OptimizerMap(SGD(0.3), {"head/.*": Adam(0.2, clipnorm=1.0)}), loss_scale_factor=8.0),
    SGD(ExponentialDecay(0.1, 2, 0.5)),
], ids=lambda optimizer: type(optimizer).__name__)  # fmt: skip
def test_a_config_makes_an_equal_optimizer(optimizer: Optimizer):
    copy = optimizers.deserialize(optimizers.serialize(optimizer))
    assert type(copy) is type(optimizer)
    assert copy.get_config() == optimizer.get_config()


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


def test_several_optimizers_train_one_model(rng: np.random.Generator):
    x, y = rng.normal(size=(16, 3)), rng.normal(size=(16, 1))

    def trained(optimizer: Optimizer, frozen: str = "") -> list[np.ndarray]:
        model = Sequential([Dense(4, "tanh", input_shape=(3,), name="body"), Dense(1, name="head")])
        for n, variable in enumerate(model.weights):
            variable.assign(np.linspace(-1 - n, 1, variable.array.size).reshape(variable.shape))
        model.compile(optimizer, "mse", metrics=["mae"])
        for layer in model.layers:
            layer.trainable = layer.name != frozen
        model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
        return [variable.numpy() for variable in model.layers[0].weights + model.layers[1].weights]

    both = MultiOptimizer(OptimizerMap(SGD(ExponentialDecay(0.1, 2, 0.5)), {".*head/.*": SGD(0.0)}), 4.0)
    for a, b in zip(trained(both), trained(SGD(ExponentialDecay(0.1, 2, 0.5)), "head"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    head, body = both.optimizers
    assert [int(own.iterations) for own in (both, head, body)] == [6, 6, 6]
    with pytest.raises(AttributeError, match=r"each of \.optimizers has a learning rate of its own"):
        both.learning_rate = 0.1


def test_optimizers_inside_others_come_back():
    made = LossScaleOptimizer(MultiOptimizer(OptimizerMap(SGD(0.5), {".*bias": Adam(0.25)})))
    copy = optimizers.deserialize(optimizers.serialize(made))
    assert copy.get_config() == made.get_config()
    assert [type(own) for own in copy.rate_owners().values()] == [Adam, SGD]


def test_a_registered_function_chooses_optimizers_again():
    made: list[Optimizer] = []

    @register_keras_serializable("tests")
    def by_rank(variable: Variable) -> Optimizer:
        made.append(SGD(0.5 / len(variable.shape)))
        return made[-1]

    copy = optimizers.deserialize(optimizers.serialize(MultiOptimizer(by_rank)))
    copy.build([Variable(np.zeros((2, 2), "float32"), "kernel"), Variable(np.zeros(2, "float32"), "bias")])
    assert copy.optimizers == made
    assert [float(own.learning_rate) for own in made] == [0.25, 0.5]


@pytest.mark.parametrize("around", [LossScaleOptimizer, lambda inner: MultiOptimizer(OptimizerMap(inner))])
def test_a_new_schedule_of_an_optimizer_inside_another_counts(around: Callable[[Optimizer], Optimizer]):
    inner = SGD(ExponentialDecay(0.1, 2, 0.5))
    model = Sequential([Dense(1, input_shape=(3,))])
    model.compile(around(inner), "mse")
    x, y = np.ones((4, 3)), np.full((4, 1), 9.0)
    weights = [model.get_weights()[0]]
    for rate in (0.1, 0.0):
        inner.learning_rate = ExponentialDecay(rate, 2, 0.5)
        model.train_on_batch(x, y)
        weights.append(model.get_weights()[0])
    assert (weights[0] != weights[1]).all()
    np.testing.assert_array_equal(weights[1], weights[2])
