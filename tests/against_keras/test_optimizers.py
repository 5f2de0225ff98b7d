"""Optimizers and schedules against Keras: variables and slots after several steps with the same gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from public_names import names_of

import kgraph.optimizers as own
from kgraph.engine import CompiledProgram
from kgraph.ir.dtypes import f32
from kgraph.ir.opdef import emitting
from kgraph.ir.types import TensorType
from kgraph.trace import Trace
from kgraph.variable import Variable

CASES = [
    "SGD(0.1, momentum=0.9, use_ema=True, ema_momentum=0.8, ema_overwrite_frequency=3)",
    "SGD(0.1, weight_decay=0.1, global_clipnorm=0.5)",
    "SGD(0.1, momentum=0.5, gradient_accumulation_steps=2)",
    "SGD(0.1, use_ema=True, gradient_accumulation_steps=2, ema_overwrite_frequency=2)",
    "SGD(schedules.ExponentialDecay(0.1, 3, 0.5))",
    "SGD(schedules.CosineDecay(0.1, 5, warmup_target=0.3, warmup_steps=2), weight_decay=0.1)",
    "Adam(schedules.PolynomialDecay(0.1, 5), gradient_accumulation_steps=2)",
    "Adam(0.01, amsgrad=True, clipnorm=0.3)",
    "AdamW(0.01)",
    "Adamax(0.01)",
    "Nadam(0.01)",
    "Nadam(0.01, beta_1=0.8, gradient_accumulation_steps=2)",
    "RMSprop(0.01, momentum=0.5, centered=True, epsilon=0.001)",
    "Adagrad(0.01, initial_accumulator_value=0.5)",
    "Adadelta(0.5, rho=0.9)",
    "Ftrl(0.1)",
    "Ftrl(0.1, -0.3, 0.2, 0.01, 0.02, 0.03, 0.5)",
    "Lion(0.01, weight_decay=0.1)",
    "Adafactor(0.05)",
    "Adafactor(0.05, clip_threshold=0.5, beta_2_decay=-0.5)",
    "Lamb(0.01, weight_decay=0.1)",
    "Muon(0.01)",
    "Muon(0.01, exclude_layers=['dense'], nesterov=False, adam_lr_ratio=0.5)",
    "Muon(0.01, nesterov=False, rms_rate=None, weight_decay=None, ns_steps=3)",
    "ScheduleFreeAdamW(0.01)",
    "ScheduleFreeAdamW(0.01, beta_1=0.8, warmup_steps=4, weight_decay=0.1, clipnorm=0.5)",
    "MultiOptimizer(OptimizerMap(SGD(0.1, momentum=0.9), {'dense/.*': Adam(0.01), 'conv/kernel': Lion(0.02)}))",
    "MultiOptimizer(lambda v, a=SGD(0.1, clipnorm=0.5), b=Adam(0.1): a if 'kernel' in v.path else b)",
    "LossScaleOptimizer(SGD(0.1, momentum=0.9), initial_scale=4.0, dynamic_growth_steps=3)",
]
SHAPES = {"dense/kernel": (4, 3), "dense/bias": (3,), "conv/kernel": (2, 3, 2), "embedding/embeddings": (5, 3)}
STEPS = 7


def _gradients() -> list[list[np.ndarray]]:
    rng = np.random.default_rng(3)
    return [[rng.normal(size=shape).astype("float32") for shape in SHAPES.values()] for _ in range(STEPS)]


def _values() -> list[np.ndarray]:
    rng = np.random.default_rng(4)
    return [rng.normal(size=shape).astype("float32") for shape in SHAPES.values()]


def _of_keras(text: str, scale: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
    import keras

    optimizer = eval(text, names_of(keras.optimizers))
    variables = []
    for path, value in zip(SHAPES, _values(), strict=True):
        folder, name = path.split("/")
        with keras.name_scope(folder):
            variables.append(keras.Variable(value, name=name))
    optimizer.build(variables)
    values, slots = [v.value for v in variables], [v.value for v in optimizer.variables]
    for gradients in _gradients():
        values, slots = optimizer.stateless_apply(slots, [g * scale for g in gradients], values)
    return [np.asarray(v) for v in values], [np.asarray(v) for v in slots]


def _of_kgraph(text: str, scale: float, execution: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    optimizer: Any = eval(text, names_of(own))
    variables = [
        Variable(value, path.split("/")[1], path=path) for path, value in zip(SHAPES, _values(), strict=True)
    ]
    trace = Trace("update")
    with emitting(trace):
        arguments = [trace.argument(TensorType(f32, shape), "g") for shape in SHAPES.values()]
        optimizer.apply([g * scale for g in arguments], variables)
        program = CompiledProgram(trace.program([]))
    for gradients in _gradients():
        program.run(gradients, execution)
    return [v.numpy() for v in variables], [v.numpy() for v in optimizer.variables]


@pytest.mark.parametrize("text", CASES)
def test_optimizer(text: str):
    scale = 4.0 if text.startswith("LossScale") else 1.0
    tolerance = 1e-4 if text.startswith("Muon") else 1e-5  # Newton-Schulz iterations multiply rounding errors
    keras_way = _of_keras(text, scale)
    for execution in ("interpreter", "native"):
        for received, expected in zip(_of_kgraph(text, scale, execution), keras_way, strict=True):
            for a, b in zip(received, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max())


SCHEDULES = [
    "ExponentialDecay(0.1, 7, 0.3)",
    "ExponentialDecay(0.1, 7, 0.3, staircase=True)",
    "InverseTimeDecay(0.1, 7, 0.3)",
    "InverseTimeDecay(0.1, 7, 0.3, staircase=True)",
    "PiecewiseConstantDecay([3, 5, 9], [1.0, 0.5, 0.25, 0.125])",
    "PolynomialDecay(0.1, 10, 0.01, power=2.0)",
    "PolynomialDecay(0.1, 5, 0.01, power=0.5, cycle=True)",
    "CosineDecay(0.1, 10, alpha=0.2)",
    "CosineDecay(0.1, 10, warmup_target=0.4, warmup_steps=4)",
    "CosineDecay(0.1, 10, warmup_target=0.4)",
    "CosineDecayRestarts(0.1, 4, t_mul=1.0, m_mul=0.9, alpha=0.1)",
    "CosineDecayRestarts(0.1, 4, t_mul=2.0, m_mul=0.8)",
    "CosineDecayRestarts(0.1, 5, t_mul=1.5)",
]


@pytest.mark.parametrize("text", SCHEDULES)
def test_schedule(text: str):
    import keras

    received, expected = eval(text, names_of(own.schedules)), eval(text, names_of(keras.optimizers.schedules))
    values = [float(expected(step)) for step in range(30)]
    np.testing.assert_allclose([received(step) for step in range(30)], values, rtol=1e-5, atol=1e-7)
    assert received.get_config() == expected.get_config()
