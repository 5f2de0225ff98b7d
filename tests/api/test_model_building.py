"""Models as Keras users build them: nested inputs and outputs, shared and frozen layers, subclasses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kgraph
from kgraph import ops
from kgraph.errors import ArgumentError, GraphError, ShapeError
from kgraph.layers import Add, Concatenate, Dense, Dropout, Input, Layer
from kgraph.models import Model, Sequential
from kgraph.nesting import flatten, map_structure

ROWS = 6
A = np.random.default_rng(0).normal(size=(ROWS, 3)).astype("float32")
B = np.random.default_rng(1).normal(size=(ROWS, 2)).astype("float32")
DATA = {"a": A, "b": B}


@pytest.fixture(autouse=True)
def in_the_interpreter():
    kgraph.utils.set_random_seed(1)
    with kgraph.execution("interpreter"):
        yield


NESTINGS = [
    lambda a, b: [a, b],
    lambda a, b: (a, b),
    lambda a, b: {"a": a, "b": b},
    lambda a, b: {"b": b, "a": a},
    lambda a, b: [a, {"x": b}],
    lambda a, b: {"x": [a, (b,)]},
    lambda a, b: ((a,), [b]),
]


@pytest.mark.parametrize("inside, outside", list(zip(NESTINGS, [*NESTINGS[3:], *NESTINGS[:3]])))
def test_nested_inputs_and_outputs(inside, outside):
    a, b = Input((3,), name="a"), Input((2,), name="b")
    x = Concatenate()([a, b])
    outputs = outside(Dense(2, name="one")(x), Dense(1, name="two")(x))
    model = Model(inside(a, b), outputs)
    data = inside(A, B)
    predicted = model.predict(data, verbose=0)
    called = model(data)
    assert map_structure(lambda _: 0, predicted) == map_structure(lambda _: 0, outputs)
    for y, z in zip(flatten(predicted), flatten(called)):
        np.testing.assert_allclose(y, z, rtol=1e-6)
    targets = map_structure(lambda y: y + 1, predicted)
    model.compile("sgd", "mse")
    loss = model.evaluate(data, targets, verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(2.0, rel=1e-5)
    history = model.fit(data, targets, epochs=2, verbose=0, batch_size=3)
    assert history.history["loss"][1] < history.history["loss"][0]
    assert np.ndim(model.train_on_batch(data, targets)) <= 1
    assert map_structure(lambda _: 0, model.predict_on_batch(data)) == map_structure(lambda _: 0, outputs)


def test_data_by_name_for_a_list_of_inputs():
    a, b = Input((3,), name="a"), Input((2,), name="b")
    model = Model([b, a], Dense(1)(Concatenate()([a, b])))
    np.testing.assert_array_equal(model.predict(DATA, verbose=0), model.predict([B, A], verbose=0))
    np.testing.assert_array_equal(model(DATA), model([B, A]))


def test_single_element_lists_stay_lists():
    a = Input((3,))
    model = Model([a], [Dense(2)(a)])
    assert isinstance(model.predict(A, verbose=0), list)
    assert isinstance(model([A]), list)
    assert model.input_shape == [(None, 3)]
    model.compile("sgd", "mse")
    model.fit([A], [np.ones((ROWS, 2))], verbose=0)
    model.fit(A, np.ones((ROWS, 2)), verbose=0)


def test_models_are_called_on_new_tensors_and_share_their_weights():
    base = Sequential([Input((3,)), Dense(4, activation="relu", name="d"), Dense(2)], name="base")
    one, two = Input((3,)), Input((3,))
    both = Model([one, two], Add()([base(one), base(two)]))
    assert len(both.trainable_weights) == 4
    np.testing.assert_allclose(both([A, 2 * A]), base(A) + base(2 * A), rtol=1e-5)
    deeper = Model(one, Dense(1)(both([one, one * 2])))
    assert [layer.name for layer in deeper.layers][-2:] == [both.name, deeper.layers[-1].name]
    np.testing.assert_allclose(both([A, A * 2]), Model(one, both([one, one * 2]))(A), rtol=1e-6)
    ensemble = Model(one, kgraph.layers.average([base(one), Sequential([Dense(2)])(one)]))
    assert ensemble(A).shape == (ROWS, 2)


def test_inner_tensors_make_models():
    model = Sequential([Input((3,)), Dense(4, name="first"), Dense(5, name="second"), Dense(2, name="last")])
    features = Model(model.input, model.get_layer("second").output)
    every = Model(inputs=model.inputs, outputs=[layer.output for layer in model.layers])
    np.testing.assert_array_equal(features(A), every(A)[1])
    rest = Model(model.get_layer("second").output, model.output)
    np.testing.assert_allclose(rest(features(A)), model(A), rtol=1e-6)
    assert model.get_layer(index=-1).name == "last"
    assert (model.get_layer("first").input.shape, model.layers[0].output.shape) == ((None, 3), (None, 4))


def test_frozen_weights_have_no_gradient_in_the_training_program():
    frozen = Dense(4, name="frozen", trainable=False)
    model = Sequential([Input((3,)), frozen, Dense(2, name="free")], name="m")
    model.compile("sgd", "mse")
    text = model.dump("traced")
    line = next(line for line in text.splitlines() if " = gradient(" in line)
    assert "free_kernel" in line
    assert "frozen" not in line
    before = model.get_weights()
    model.fit(A, np.ones((ROWS, 2)), verbose=0)
    changed = [bool((a != b).any()) for a, b in zip(before, model.get_weights())]
    assert changed == [False, False, True, True]
    # One product less than with the frozen layer trained: nothing is computed for its kernel.
    products = model.dump("optimized").count("matmul(")
    frozen.trainable = True
    model.compile("sgd", "mse")
    assert model.dump("optimized").count("matmul(") == products + 2
    model.trainable = False
    assert model.trainable_weights == []
    assert not frozen.trainable


class Spellings(Layer):
    """Weights in every way Keras has."""

    def build(self, input_shape):
        n = input_shape[-1]
        self.a = self.add_weight((n,), "ones", name="a")
        self.b = self.add_weight(name="b", shape=[n], initializer="ones", trainable=True)
        self.c = self.add_weight("c", (n,), initializer=kgraph.initializers.Constant(2.0))
        self.d = self.add_weight(shape=n, initializer=lambda shape, dtype=None: np.full(shape, 3.0), name="d")
        self.e = self.add_weight(shape=(), initializer="zeros", trainable=False, name="e", dtype="float32")
        self.f = kgraph.Variable(np.ones(n, "float32"), name="f")
        self.g = self.add_weight(shape=(n,), regularizer="l2", constraint="non_neg", name="g", initializer="ones")
        super().build(input_shape)

    def call(self, inputs):
        return inputs * self.a * self.b * self.c * self.d * self.f * self.g + self.e


def test_weights_in_all_spellings():
    layer = Spellings()
    np.testing.assert_allclose(layer(A), A * 6, rtol=1e-6)
    assert [w.name for w in layer.trainable_weights] == ["a", "b", "c", "d", "g", "f"]
    assert [w.name for w in layer.non_trainable_weights] == ["e"]


class Block(Layer):
    """Sub-layers in lists and dicts; training, mask and further tensors as arguments; a loss of its own."""

    def __init__(self, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stack = [Dense(width), Dense(width)]
        self.named = {"drop": Dropout(0.5), "deep": [Dense(width)]}

    def call(self, inputs, other=None, scale=1.0, training=None):
        x = inputs
        for layer in self.stack:
            x = layer(x)
        x = self.named["drop"](x, training=training)
        for layer in self.named["deep"]:
            x = layer(x)
        self.add_loss(ops.mean(x * x))
        x = x * scale
        return x if other is None else {"sum": x + other, "training": x * 0 + (1.0 if training else 0.0)}


class Whole(Model):
    """A subclass with a list of layers and several inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = [Block(2, name="one"), Block(2, name="two")]
        self.out = Dense(1)

    def call(self, inputs, training=False):
        a, b = inputs
        x = self.blocks[0](a)
        return self.out(self.blocks[1](x, other=b, scale=2.0)["sum"])


def test_layers_with_sublayers_and_further_arguments():
    model = Whole()
    assert model.predict([A, B], verbose=0).shape == (ROWS, 1)
    assert len(model.weights) == 2 * 6 + 2
    assert [layer.name for layer in model.layers][:2] == ["one", "two"]
    model.compile("sgd", "mse")
    before = model.evaluate([A, B], np.zeros((ROWS, 1)), verbose=0)
    model.fit([A, B], np.zeros((ROWS, 1)), epochs=3, verbose=0)
    assert model.evaluate([A, B], np.zeros((ROWS, 1)), verbose=0) < before
    a, b = Input((3,)), Input((2,))
    outputs = Block(2)(a, other=b, scale=0.5)
    functional = Model([a, b], outputs)
    got = functional([A, B], training=True)
    assert set(got) == {"sum", "training"}
    assert (got["training"] == 1).all()
    assert (functional([A, B])["training"] == 0).all()
    symbolic = Whole()([a, b])
    assert Model([a, b], symbolic)([A, B]).shape == (ROWS, 1)


class ByName(Model):
    """A subclass that takes and gives dicts."""

    def __init__(self) -> None:
        super().__init__()
        self.d = Dense(2)

    def call(self, inputs):
        y = self.d(inputs["a"])
        return {"y": y, "z": [y * 2, inputs["b"]]}


def test_subclasses_with_dicts():
    model = ByName()
    got = model.predict(DATA, verbose=0)
    np.testing.assert_allclose(got["z"][0], 2 * got["y"], rtol=1e-6)
    np.testing.assert_array_equal(got["z"][1], B)
    model.compile("sgd", "mse")
    targets = map_structure(lambda y: y + 1, got)
    assert model.evaluate(DATA, targets, verbose=0, return_dict=True)["loss"] == pytest.approx(3.0, rel=1e-5)


def test_stacks_are_changed():
    model = Sequential([Input((3,)), Dense(4), Dense(2)])
    last = model.pop()
    assert model.output_shape == (None, 4)
    model.add(Dense(5))
    assert model(A).shape == (ROWS, 5)
    assert last.units == 2
    model.pop(rebuild=False)
    model.add(last, rebuild=True)
    assert model.output_shape == (None, 2)
    model.compile("sgd", "mse")
    model.fit(A, np.ones((ROWS, 2)), verbose=0)


def test_summary_lists_nested_models(capsys: pytest.CaptureFixture[str]):
    inner = Sequential([Input((3,)), Dense(4, name="inside")], name="inner")
    i = Input((3,))
    model = Model(i, Dense(1, name="end")(inner(i)), name="outer")
    model.summary()
    plain = capsys.readouterr().out
    assert "inner (Sequential)" in plain
    assert "inside" not in plain
    model.summary(expand_nested=True)
    assert "└ inside (Dense)" in capsys.readouterr().out


def test_errors_of_graphs():
    a, b = Input((3,), name="a"), Input((None,), name="b")
    with pytest.raises(GraphError, match=r"output 'd' depends on Input 'a', which is not in inputs=\[b\]"):
        Model(b, Dense(1, name="d")(a))
    with pytest.raises(GraphError, match=r"layer name 'x' is used twice \(Dropout and Dense\)"):
        Model(a, Dense(1, name="x")(Dropout(0.1, name="x")(a)))
    with pytest.raises(ShapeError, match="Give the last axis of Input 'b' a size"):
        Dense(1)(b)
    shared = Dense(2, name="s")
    shared(a)
    with pytest.raises(ShapeError, match=r"layer 's' \(Dense\): expected \(batch, 3\), received \(batch, 2\)"):
        shared(Input((2,)))
    with pytest.raises(ShapeError, match=r"needs 4\.8e\+24 bytes"):
        Dense(2**40)(Input((2**40,)))
    with pytest.raises(ArgumentError, match=r"get_layer: no layer 'dens'. Did you mean 'dense_x'\?"):
        Sequential([Dense(1, name="dense_x")]).get_layer("dens")
