"""No function that takes tens of instructions is computed twice for the same element."""

from __future__ import annotations

import re
from collections import Counter

import pytest

import kgraph
import kgraph.layers as L
from kgraph.losses import BinaryCrossentropy, SparseCategoricalCrossentropy

COSTLY = re.compile(r"\b(exp|expm1|log|log1p|tanh|sigmoid|erf|pow|sin|cos|rsqrt)\(")


def computed(loss: object, *layers: kgraph.layers.Layer) -> dict[str, int]:
    """How many of each stand in the kernels of a training step."""
    model = kgraph.Sequential([kgraph.Input((40,)), *layers])
    model.compile("sgd", loss)
    return Counter(COSTLY.findall(model.dump("loops")))


# The derivative of softplus is the sigmoid, that of gelu has the density besides the distribution.
ACTIVATIONS = {
    "tanh": {"tanh"}, "sigmoid": {"sigmoid"}, "silu": {"sigmoid"}, "elu": {"expm1"}, "selu": {"expm1"},
    "celu": {"expm1"}, "exponential": {"exp"}, "softplus": {"exp", "log1p", "sigmoid"}, "gelu": {"erf", "exp"},
    "mish": {"exp", "log1p", "tanh", "sigmoid"}, "softmax": {"exp"}, "log_softmax": {"exp", "log"},
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_gradient_of_an_activation_uses_what_the_forward_pass_computed(name: str) -> None:
    assert computed("mse", L.Dense(40), L.Activation(name), L.Dense(2)) == dict.fromkeys(ACTIVATIONS[name], 1)


@pytest.mark.parametrize(("loss", "activation", "functions"), [
    ("sparse_categorical_crossentropy", "softmax", {"exp", "log"}),
    (SparseCategoricalCrossentropy(from_logits=True), None, {"exp", "log"}),
    ("categorical_crossentropy", "softmax", {"exp", "log"}),
    ("binary_crossentropy", "sigmoid", {"exp", "log1p", "sigmoid"}),
    (BinaryCrossentropy(from_logits=True), None, {"exp", "log1p", "sigmoid"}),
])  # fmt: skip
def test_losses_write_their_gradient_in_the_forward_pass(loss: object, activation: str, functions: set[str]) -> None:
    assert computed(loss, L.Dense(40, activation=activation)) == dict.fromkeys(functions, 1)


def test_a_function_that_is_computed_twice_is_seen() -> None:
    twice = L.Lambda(lambda x: kgraph.ops.tanh(x) + kgraph.ops.tanh(x + 1))
    assert computed("mse", L.Dense(40), twice, L.Dense(2)) == {"tanh": 2}
