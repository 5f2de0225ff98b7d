"""Recurrent layers: states, masks, dropout, cells of the user's own, any length, words of errors.

Numbers against Keras are in test_golden_layers.py and tests/against_keras.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

import kgraph
from kgraph import layers as L
from kgraph.config import compilation_count
from kgraph.errors import ArgumentError, GraphError, KgraphError, ShapeError
from kgraph.primitives import composites
from kgraph.trace import current_trace

EXECUTIONS = pytest.mark.parametrize("execution", ["interpreter", "native"])


def normal(rng, *shape):
    """Random floats."""
    return rng.normal(size=shape).astype("float32")


# --- any length -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [L.LSTM(4, activation="softsign"), L.GRU(4, reset_after=False), L.SimpleRNN(4)],
                         ids=lambda layer: type(layer).__name__)  # fmt: skip
def test_one_compilation_serves_every_batch_and_length(layer, rng):
    """In prediction and training; twenty shapes, and the numbers are those of the interpreter."""
    model = kgraph.Sequential([kgraph.Input((None, 32)), layer, L.Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    count = None
    for n in range(20):
        batch, time = 1 + n * 7 % 5, 1 + n * 3 % 11
        x = normal(rng, batch, time, 32)
        y = model.predict(x, verbose=0)
        with kgraph.execution("interpreter"):
            np.testing.assert_allclose(y, model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)
        assert np.isfinite(model.train_on_batch(x, rng.integers(0, 3, batch)))
        count = compilation_count() if count is None else count
    assert compilation_count() == count


def test_the_memory_of_loops_is_reported():
    model = kgraph.Sequential([kgraph.Input((None, 8)), L.SimpleRNN(4, name="steps"), L.Dense(1)])
    model.compile("sgd", "mse")
    size = str(model.inputs[0].type.shape[1])
    short, long = (model.memory_report(2, **{size: n})["train"] for n in (5, 50))
    assert long.arena > short.arena
    assert all("steps" in buffer.layer for buffer in long.largest)
    assert any(buffer.kernel.endswith("copy") and buffer.shape == (50, 2, 4) for buffer in long.largest)  # saved states


# --- states -----------------------------------------------------------------------------------------------------------


@EXECUTIONS
def test_a_stateful_layer_goes_on_where_it_stopped(rng, execution):
    x = normal(rng, 2, 6, 3)
    whole, parts = L.LSTM(4, return_sequences=True), L.LSTM(4, return_sequences=True, stateful=True)
    with kgraph.execution(execution):
        wanted = whole(x)
        parts(x)
        parts.set_weights(whole.get_weights())
        parts.reset_states()
        found = [parts(x[:, :2]), parts(x[:, 2:])]
        np.testing.assert_allclose(np.concatenate(found, axis=1), wanted, rtol=1e-5, atol=1e-6)
        parts.reset_states()
        np.testing.assert_allclose(parts(x[:, :2]), wanted[:, :2], rtol=1e-5, atol=1e-6)
    assert len(parts.weights) == 3


def test_a_stateful_model_keeps_states_between_batches(rng):
    model = kgraph.Sequential([L.SimpleRNN(4, stateful=True, batch_input_shape=(2, 3, 5)), L.Dense(1)])
    x = normal(rng, 2, 3, 5)
    first, second = model.predict(x, batch_size=2, verbose=0), model.predict(x, batch_size=2, verbose=0)
    assert np.abs(first - second).max() > 1e-3
    model.layers[0].reset_states()
    np.testing.assert_array_equal(model.predict(x, batch_size=2, verbose=0), first)


def test_states_go_in_by_name_and_in_a_list(rng):
    x, h, c = normal(rng, 2, 3, 5), normal(rng, 2, 4), normal(rng, 2, 4)
    layer = L.LSTM(4, return_state=True)
    by_name, in_list = layer(x, initial_state=[h, c]), layer([x, h, c])
    for a, b, default in zip(by_name, in_list, layer(x), strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.abs(a - default).max() > 1e-3
    np.testing.assert_array_equal(by_name[0], by_name[1])
    both = L.Bidirectional(L.GRU(4, return_state=True))
    y = both(x, initial_state=[h, c])
    assert [part.shape for part in y] == [(2, 8), (2, 4), (2, 4)]
    np.testing.assert_allclose(y[1], both.forward_layer(x, initial_state=h)[0], rtol=1e-6)
    np.testing.assert_allclose(y[2], both.backward_layer(x, initial_state=c)[0], rtol=1e-6)


def test_an_encoder_gives_its_states_to_a_decoder(rng):
    source, target = kgraph.Input((None, 5)), kgraph.Input((None, 3))
    _, *states = L.LSTM(4, return_state=True)(source)
    y = L.LSTM(4, return_sequences=True)(target, initial_state=states)
    model = kgraph.Model([source, target], L.Dense(2)(y))
    model.compile("sgd", "mse")
    loss = model.train_on_batch([normal(rng, 2, 7, 5), normal(rng, 2, 4, 3)], np.zeros((2, 4, 2)))
    assert np.isfinite(loss)
    assert model.predict([normal(rng, 3, 2, 5), normal(rng, 3, 6, 3)], verbose=0).shape == (3, 6, 2)


# --- masks ------------------------------------------------------------------------------------------------------------


def test_masked_steps_change_nothing(rng):
    x = normal(rng, 2, 5, 3)
    mask = np.array([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1]], bool)
    layer = L.GRU(4, return_sequences=True)
    y = layer(x, mask=mask)
    for row in range(2):
        kept = layer(x[row : row + 1, mask[row]])[0]
        np.testing.assert_allclose(y[row, mask[row]], kept, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(y[0, 2], y[0, 1])
    np.testing.assert_array_equal(y[1, 0], np.zeros(4))


def test_a_mask_goes_on_with_the_outputs_of_all_steps(rng):
    x = normal(rng, 2, 5, 3)
    x[0, 3:] = 0

    def model(**options):
        return kgraph.Sequential([kgraph.Input((5, 3)), L.Masking(), L.LSTM(4, **options)])

    assert model(return_sequences=True).layers[-1].compute_mask(x, mask=x.any(-1)).tolist() == x.any(-1).tolist()
    both = kgraph.Sequential([kgraph.Input((5, 3)), L.Masking(), L.LSTM(4, return_sequences=True), L.LSTM(2)])
    short = kgraph.Sequential([kgraph.Input((3, 3)), L.LSTM(4, return_sequences=True), L.LSTM(2)])
    short.set_weights(both.get_weights())
    found, wanted = both.predict(x[:1], verbose=0), short.predict(x[:1, :3], verbose=0)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


# --- dropout ----------------------------------------------------------------------------------------------------------


def test_dropout_masks_are_the_same_in_all_steps():
    layer = L.SimpleRNN(40, activation=None, kernel_initializer="identity", recurrent_initializer="zeros",
                        use_bias=False, dropout=0.5, return_sequences=True)  # fmt: skip
    x = np.ones((3, 6, 40))
    y = layer(x, training=True)
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1], y.shape))
    assert set(np.unique(y)) == {0.0, 2.0}
    assert len({row.tobytes() for row in y[:, 0]}) == 3  # rows have masks of their own
    assert np.abs(layer(x, training=True) - y).max() == 2.0  # and so have calls
    np.testing.assert_array_equal(layer(x), x)


def test_recurrent_dropout_drops_the_state_where_it_enters():
    layer = L.SimpleRNN(40, activation=None, kernel_initializer="zeros", recurrent_initializer="identity",
                        use_bias=False, recurrent_dropout=0.5, return_sequences=True)  # fmt: skip
    y = layer(np.ones((1, 3, 2)), initial_state=np.ones((1, 40)), training=True)
    np.testing.assert_array_equal(y[:, 1], y[:, 0] ** 2)
    assert set(np.unique(y[:, 0])) == {0.0, 2.0}


def test_a_seed_fixes_the_masks():
    x = np.ones((2, 3, 30))
    a, b = (L.LSTM(5, dropout=0.5, recurrent_dropout=0.3, seed=7) for _ in range(2))
    a(x)
    b(x)
    b.set_weights(a.get_weights())
    first = a(x, training=True)
    np.testing.assert_array_equal(first, b(x, training=True))
    assert np.abs(first - a(x, training=True)).max() > 0


# --- cells of the user's own ------------------------------------------------------------------------------------------


class Minimal(L.Layer):
    """The cell of Keras' guide: a plain recurrent cell."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = units

    def build(self, input_shape):
        self.kernel = self.add_weight((input_shape[-1], self.units), name="kernel")
        self.recurrent_kernel = self.add_weight((self.units, self.units), name="recurrent_kernel")

    def call(self, inputs, states):
        output = composites.matmul(inputs, self.kernel) + composites.matmul(states[0], self.recurrent_kernel)
        return output, [output]


def test_a_cell_of_ones_own_computes_and_learns_like_the_builtin_one(rng):
    x, y = normal(rng, 3, 4, 5), normal(rng, 3, 2)
    own = kgraph.Sequential([kgraph.Input((None, 5)), L.RNN(Minimal(2))])
    known = kgraph.Sequential([kgraph.Input((None, 5)), L.SimpleRNN(2, activation=None, use_bias=False)])
    weights = [0.3 * normal(rng, *weight.shape) for weight in own.weights]
    for model in (own, known):
        model.set_weights(weights)
        model.compile(kgraph.optimizers.SGD(0.02), "mse")
        model.fit(x, y, epochs=3, verbose=0)
    for a, b in zip(own.get_weights(), known.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


class Noisy(L.Layer):
    """Gives its input with dropout, a loss for each step, and counts steps."""

    state_size = 1
    output_size = 50

    def __init__(self):
        super().__init__()
        self.dropout = L.Dropout(0.5)

    def call(self, inputs, states, training=False):
        self.add_loss(composites.sum(inputs))
        return self.dropout(inputs, training=training), states[0] + 1.0


@EXECUTIONS
def test_random_numbers_and_losses_inside_a_cell(execution):
    """Each step draws anew; the losses of the steps add up."""
    layer = L.RNN(Noisy(), return_sequences=True, return_state=True)
    x = np.ones((2, 3, 50))
    with kgraph.execution(execution):
        y, count = layer(x, training=True)
    assert len({y[:, step].tobytes() for step in range(3)}) == 3
    assert set(np.unique(y)) == {0.0, 2.0}
    np.testing.assert_array_equal(count, np.full((2, 1), 3.0))
    assert sum(map(float, layer.losses)) == 300


def test_steps_cannot_change_variables():
    class Counting(Minimal):
        def call(self, inputs, states):
            current_trace().assign(self.kernel, self.kernel * 2)
            return super().call(inputs, states)

    with pytest.raises(GraphError, match=re.escape("expected no assignment inside a loop. Carry the value")):
        L.RNN(Counting(2))(np.ones((1, 2, 3)))


class Shortening(Minimal):
    """Uses all features but the first nine of the program's second input."""

    def call(self, inputs, states):
        starts, limits = (0, 9), self.other.type.shape
        rest = current_trace().emit("slice", self.other, starts=starts, limits=limits, strides=(1, 1))
        return composites.sum(rest, axis=1, keepdims=True) + inputs[:, :1], states


def test_sizes_inside_steps_are_checked_before_a_run(rng):
    """A slice of the body that would reach beyond the end."""

    class Model(kgraph.Model):
        def __init__(self):
            super().__init__()
            self.cell = Shortening(1)
            self.steps = L.RNN(self.cell)

        def call(self, inputs):
            self.cell.other = inputs[1]
            return self.steps(inputs[0])

    inputs = [kgraph.Input((None, 2)), kgraph.Input((None,))]
    model = kgraph.Model(inputs, Model()(inputs))
    assert model.predict([normal(rng, 2, 3, 2), normal(rng, 2, 12)], verbose=0).shape == (2, 1)
    with pytest.raises(ShapeError, match="elements 9:"):
        model.predict([normal(rng, 2, 3, 2), normal(rng, 2, 7)], verbose=0)


# --- wrappers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["concat", "sum", "mul", "ave", None])
def test_both_directions_are_joined(rng, mode):
    x = normal(rng, 2, 4, 3)
    layer = L.Bidirectional(L.GRU(5, return_sequences=True), merge_mode=mode)
    found = layer(x)
    forward, backward = layer.forward_layer(x), layer.backward_layer(x)[:, ::-1]
    wanted = {"concat": np.concatenate([forward, backward], -1), "sum": forward + backward,
              "mul": forward * backward, "ave": (forward + backward) / 2, None: (forward, backward)}[mode]  # fmt: skip
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_one_layer_for_every_step(rng):
    x = normal(rng, 2, 4, 3)
    model = kgraph.Sequential([kgraph.Input((None, 3)), L.TimeDistributed(L.Dense(5))])
    layer = model.layers[0].layer
    found = model.predict(x, verbose=0)
    for step in range(4):
        np.testing.assert_allclose(found[:, step], layer(x[:, step]), rtol=1e-5, atol=1e-6)


def test_images_with_the_channels_first(rng):
    x = normal(rng, 2, 3, 5, 6, 4)
    last = L.ConvLSTM2D(3, 2, return_sequences=True, return_state=True)
    first = L.ConvLSTM2D(3, 2, return_sequences=True, return_state=True, data_format="channels_first")
    wanted = last(x)
    first(x.transpose(0, 1, 4, 2, 3))
    first.set_weights(last.get_weights())
    found = first(x.transpose(0, 1, 4, 2, 3), initial_state=[np.zeros((2, 3, 4, 5))] * 2)
    for a, b in zip(found, wanted, strict=True):
        axes = (0, 1, 4, 2, 3) if b.ndim == 5 else (0, 3, 1, 2)
        np.testing.assert_allclose(a, b.transpose(axes), rtol=1e-5, atol=1e-6)


@EXECUTIONS
def test_image_sequences_are_learnt_with_dropout(rng, execution):
    layer = L.ConvLSTM2D(3, 2, dropout=0.2, recurrent_dropout=0.2)
    model = kgraph.Sequential([kgraph.Input((None, 4, 5, 2)), layer, L.Flatten(), L.Dense(1)])
    model.compile("sgd", "mse")
    with kgraph.execution(execution):
        assert all(np.isfinite(model.train_on_batch(normal(rng, 2, time, 4, 5, 2), np.ones((2, 1)))) for time in (3, 2))


# --- older spellings, configurations, errors --------------------------------------------------------------------------


def test_older_ways_to_give_the_shape():
    for options in ({"input_shape": (None, 3)}, {"input_dim": 3}, {"implementation": 1, "input_dim": 3}):
        assert kgraph.Sequential([L.LSTM(units=4, **options)]).input_shape == (None, None, 3)
    assert kgraph.Sequential([L.GRU(4, input_dim=3, input_length=7)]).input_shape == (None, 7, 3)


def test_attributes_of_the_cell_are_attributes_of_the_layer():
    layer = L.LSTM(4, dropout=0.25, unit_forget_bias=False)
    assert (layer.units, layer.dropout, layer.unit_forget_bias, layer.return_sequences) == (4, 0.25, False, False)
    with pytest.raises(AttributeError, match="no attribute 'rate'"):
        layer.rate  # noqa: B018


X = np.ones((2, 3, 4), "float32")
WRONG = [
    (lambda: L.LSTM(4, name="lstm")(np.ones((32, 4))),
     "layer 'lstm' (LSTM): expected (batch, steps, features), received (32, 4)"),
    (lambda: L.LSTM(0), "units: expected an int >= 1, received 0"),
    (lambda: L.LSTM(4, unit=3), "unknown argument 'unit'"),
    (lambda: L.LSTM(4)(kgraph.Input((3, None))), "a last axis of known size"),
    (lambda: kgraph.Sequential([L.LSTM(4, input_shape=(None, 5))])(X), "5"),
    (lambda: L.LSTM(4)(X, initial_state=[np.ones((2, 4))]), "initial_state: expected (2, 4), (2, 4), received (2, 4)"),
    (lambda: L.GRU(4)(X, initial_state=np.ones((2, 5))), "initial_state: expected (2, 4), received (2, 5)"),
    (lambda: L.LSTM(4, stateful=True, name="s")(kgraph.Input((3, 4))), "'s' (LSTM): stateful: expected a fixed batch"),
    (lambda: L.RNN(3), "cell: expected an object with call(inputs, states) and state_size, received 3"),
    (lambda: L.RNN([L.GRUCell(2), "x"]), "received 'x'"),
    (lambda: L.Bidirectional(L.Dense(3)), "layer: expected a recurrent layer, received"),
    (lambda: L.Bidirectional(L.LSTM(3), merge_mode="max"), "merge_mode: expected 'concat', 'sum', 'mul', 'ave', None"),
    (lambda: L.Bidirectional(L.LSTM(3), backward_layer=L.LSTM(3)), "go_backwards: expected different values"),
    (lambda: L.Bidirectional(L.LSTM(3), backward_layer=L.LSTM(3, go_backwards=True, return_state=True)),
     "return_state: expected equal values in both layers"),
    (lambda: L.TimeDistributed(L.Dense(3))(np.ones((2, 3))), "expected (batch, steps, ...), received (2, 3)"),
    (lambda: L.ConvLSTM2D(3, 2)(kgraph.Input((3, None, 4, 2))), "expected images of known size"),
    (lambda: L.ConvLSTM2D(3, 2, strides=2, dilation_rate=2), "strides or dilation_rate: expected one of them 1"),
    (lambda: L.ConvLSTM2D(3, 2)(np.ones((2, 3, 4, 5))),
     "expected (batch, steps, size, size, features), received (2, 3, 4, 5)"),
    (lambda: L.TimeDistributed(3), "layer: expected a layer, received 3"),
]  # fmt: skip


@pytest.mark.parametrize("call, words", WRONG, ids=[words[:40] for _, words in WRONG])
def test_wrong_calls_say_what_is_wrong(call, words):
    with pytest.raises(KgraphError, match=re.escape(words)) as found:
        call()
    assert isinstance(found.value, (ArgumentError, ShapeError, TypeError))
    assert "\n" not in str(found.value)


def test_a_cell_that_changes_the_shape_of_its_state_is_found():
    class Growing(Minimal):
        def call(self, inputs, states):
            return inputs, [composites.concatenate([states[0], states[0]])]

    with pytest.raises(GraphError, match=r"value 0 that is carried on: expected .*2.*received .*4"):
        L.RNN(Growing(2))(X)
