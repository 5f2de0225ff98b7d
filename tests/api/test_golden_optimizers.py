"""Ten training steps with each optimizer give the losses, weights and slots that Keras wrote."""

from __future__ import annotations

import numpy as np
import pytest
from golden_cases import optimizer_case, optimizer_names

from kgraph import optimizers
from kgraph.layers import Dense
from kgraph.models import Sequential


@pytest.mark.parametrize("eagerly", [False, True], ids=["native", "interpreter"])
@pytest.mark.parametrize("name", optimizer_names())
def test_ten_steps_are_those_of_keras(name: str, eagerly: bool):
    case = optimizer_case(name)
    model = Sequential([Dense(8, activation="tanh", input_shape=(6,)), Dense(3, activation="softmax")])
    model.set_weights(case.initial_weights)
    model.compile(getattr(optimizers, case.cls)(**case.kwargs), "categorical_crossentropy", run_eagerly=eagerly)
    losses = [model.train_on_batch(case.x[4 * s : 4 * s + 4], case.y[4 * s : 4 * s + 4]) for s in range(10)]
    np.testing.assert_allclose(losses, case.losses, rtol=1e-5)
    for received, expected in zip(model.get_weights(), case.final_weights, strict=True):
        np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    slots = model.optimizer.variables
    assert [_kind(v.path) for v in slots] == [_kind(path) for path in case.slots]
    for slot, expected in zip(slots, case.slots.values(), strict=True):
        np.testing.assert_allclose(slot.numpy(), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def _kind(path: str) -> str:
    """The part of a slot's path that does not depend on counters: "kernel_momentum", "iteration" ..."""
    tail = path.rpartition("/")[2]
    for weight in ("kernel", "bias"):
        if f"_{weight}_" in tail:
            return weight + tail.rpartition(f"_{weight}_")[2]
    return tail
