"""Models of unusual structure against Keras, and through their configurations and copies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from keras_comparison import Case, Data, compare, leaves

import kgraph
from kgraph.nesting import flatten

IDS, STEPS = Data((6,), "int32", 0, 5), Data((6,), "bool")


@dataclass(frozen=True)
class ModelCase(Case):
    """A case whose model `build` makes from a framework and its symbolic inputs; `layer` names it."""

    build: Callable[..., Any] = lambda k, *inputs: inputs

    def model(self, framework: Any) -> Any:
        """The functional model, in Keras or here."""
        tensors = [framework.Input(data.shape, dtype=data.dtype) for data in self.data]
        return framework.Model(tensors, self.build(framework, *tensors))


def unused_input(k, x, unused):
    """An input that no output depends on."""
    return k.layers.Dense(2)(x)


def between_results(k, x):
    """Models that begin and end at results of layers."""
    first = k.Input((4,))
    h = k.layers.Dense(3, activation="relu")(first)
    y = k.layers.Dense(2)(k.layers.Add()([h, k.layers.Dense(3)(h)]))
    return k.Model(h, y, name="top")(k.Model(first, h, name="features")(x))


def shared_with_masks(k, x, ids):
    """Layers that are called several times, inside and outside of models, with masks and without."""
    inside = k.Input((6,), dtype="int32")
    embedded = k.Model(inside, k.layers.Embedding(5, 4, mask_zero=True)(inside), name="embedded")
    steps = k.Input((6, 3))
    encoder = k.Model(steps, k.layers.GRU(2)(steps), name="encoder")
    lstm = k.layers.LSTM(3, return_sequences=True)
    masked = lstm(embedded(ids))
    return [encoder(masked), encoder(lstm(x)), k.layers.GlobalAveragePooling1D()(masked)]


def nested_structures(k, a, b):
    """Inputs and outputs in dicts and lists inside each other."""
    p, q = k.Input((4,), name="p"), k.Input((4,), name="q")
    outputs = {"o": k.layers.Dense(2)(p), "n": {"s": k.layers.Dense(3)(q), "t": [p + q]}}
    made = k.Model({"p": p, "q": [q]}, outputs, name="nested")({"p": a, "q": [b]})
    return [made["o"], made["n"]["s"], made["n"]["t"][0]]


def stacked_backwards(k, x, mask):
    """Cells in a stack, from the last step to the first, with masked steps."""
    cells = [k.layers.LSTMCell(3), k.layers.GRUCell(2), k.layers.SimpleRNNCell(4)]
    options = {"go_backwards": True, "return_sequences": True, "zero_output_for_mask": True}
    return k.layers.RNN(k.layers.StackedRNNCells(cells), **options)(x, mask=mask)


def nothing_seen(k, x, ids):
    """Masks in which no step holds."""
    none = ids > 5
    rnn = k.layers.RNN(k.layers.LSTMCell(3), zero_output_for_mask=True, return_sequences=True)
    return [
        *k.layers.LSTM(3, return_sequences=True, return_state=True)(x, mask=none),
        k.layers.GRU(2, go_backwards=True)(x, mask=none), rnn(x, mask=none),
        k.layers.Attention()([x, x], mask=[None, none]), k.layers.MultiHeadAttention(2, 3)(x, x, value_mask=none),
    ]  # fmt: skip


def decoder_with_states(k, source, target, mask):
    """A decoder that begins with the states of an encoder with masked steps."""
    _, *states = k.layers.LSTM(3, return_state=True)(source, mask=mask)
    y = k.layers.LSTM(3, return_sequences=True)(target, initial_state=states)
    return k.layers.TimeDistributed(k.layers.Dense(2, activation="softmax"))(y)


def cells_of_ones_own(k, x, mask):
    """A cell with two states of different sizes and layers inside, in both directions."""

    class Cell(k.layers.Layer):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.units, self.output_size, self.state_size = units, units, [units, 2 * units]
            self.first, self.second = k.layers.Dense(units, name="first"), k.layers.Dense(2 * units, name="second")

        def build(self, shape):
            self.first.build((shape[0], shape[-1] + self.units))
            self.second.build((shape[0], self.units))
            self.built = True

        def call(self, inputs, states, training=False):
            y = k.ops.tanh(self.first(k.ops.concatenate([inputs, states[0]], -1)))
            z = states[1] * 0.5 + self.second(y)
            return y, [y + z[:, : self.units], z]

        def get_config(self):
            return {**super().get_config(), "units": self.units}

    rnn = k.layers.RNN(k.utils.register_keras_serializable("own")(Cell)(3), return_sequences=True)
    return k.layers.Bidirectional(rnn)(x, mask=mask)


CASES = [
    ModelCase("cells_of_ones_own", [(6, 4), STEPS], build=cells_of_ones_own),
    ModelCase("unused_input", [(4,), (3,)], build=unused_input),
    ModelCase("between_results", [(4,)], build=between_results),
    ModelCase("shared_with_masks", [(6, 4), IDS], build=shared_with_masks),
    ModelCase("nested_structures", [(4,), (4,)], build=nested_structures),
    ModelCase("stacked_backwards", [(6, 4), STEPS], build=stacked_backwards),
    ModelCase("nothing_seen", [(6, 4), IDS], build=nothing_seen),
    ModelCase("decoder_with_states", [(6, 4), (5, 4), STEPS], build=decoder_with_states),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.layer)
def test_outputs_and_gradients_are_those_of_keras(case):
    compare(case, "native")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.layer)
def test_a_configuration_and_a_copy_give_the_same_model(case):
    model = case.model(kgraph)
    rng = np.random.default_rng(0)
    xs = [data.draw(rng) for data in case.data]
    wanted = flatten(model(xs if len(xs) > 1 else xs[0]))
    for made in (kgraph.Model.from_config(model.get_config()), kgraph.models.clone_model(model)):
        made.set_weights(model.get_weights())
        assert leaves(made.output_shape) == leaves(model.output_shape)
        for a, b in zip(flatten(made(xs if len(xs) > 1 else xs[0])), wanted, strict=True):
            np.testing.assert_array_equal(a, b)
