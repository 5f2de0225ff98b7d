"""Sequential, functional and subclassed models: building, nesting, names, weights, summaries."""

from __future__ import annotations

import numpy as np
import pytest

import kgraph
from kgraph import layers
from kgraph.ir.opdef import emitting
from kgraph.layers import Activation, Concatenate, Dense, Dropout, Flatten
from kgraph.naming import clear_session
from kgraph.trace import Trace

Input, Model, Sequential = kgraph.Input, kgraph.Model, kgraph.Sequential


@pytest.fixture(autouse=True)
def in_the_interpreter():
    """These tests are about the models; the golden cases run both ways."""
    clear_session()
    with kgraph.execution("interpreter"):
        yield


def by_hand(model: Model, x: np.ndarray) -> np.ndarray:
    """A stack of linear Dense layers in NumPy."""
    weights = model.get_weights()
    for kernel, bias in zip(weights[::2], weights[1::2]):
        x = x @ kernel + bias
    return x


class Net(Model):
    """A subclass with a list of layers and dropout."""

    def __init__(self, width=5):
        super().__init__()
        self.blocks = [Dense(width), Dense(4)]
        self.drop = Dropout(0.5)
        self.head = Sequential([Dense(2)])

    def call(self, x, training=False):
        for block in self.blocks:
            x = block(x)
        return self.head(self.drop(x, training=training))


# --- Sequential ---------------------------------------------------------------------------------------------------


def test_sequential_with_a_known_shape_is_built_at_once(rng):
    model = Sequential()
    model.add(Dense(4, input_dim=3))
    model.add(Dense(2))
    assert model.built
    assert (model.input_shape, model.output_shape) == ((None, 3), (None, 2))
    assert [w.path for w in model.weights][:2] == ["sequential/dense/kernel", "sequential/dense/bias"]
    x = rng.normal(size=(5, 3)).astype("float32")
    np.testing.assert_allclose(model(x), by_hand(model, x), rtol=1e-5, atol=1e-6)


def test_sequential_without_a_shape_is_built_by_its_first_data(rng):
    model = Sequential([Dense(4), Dense(2)])
    assert not model.built
    assert model.weights == []
    assert model(rng.normal(size=(5, 3))).shape == (5, 2)
    assert model.built
    assert model.input_shape == (None, 3)
    assert model.input_specs()[0][1].shape[1:] == (3,)


@pytest.mark.parametrize("build", [
    lambda model: model.build_from(np.ones((5, 3))),
    lambda model: model.build_from(Input((3,)).type),
    lambda model: model.build((None, 3)),
], ids=["arrays", "types", "shapes"])  # fmt: skip
def test_sequential_is_built_from_arrays_types_and_shapes(build):
    model = Sequential([Dense(2)])
    build(model)
    assert model.output_shape == (None, 2)


def test_layers_can_be_added_and_taken_off_later(rng):
    x = rng.normal(size=(2, 3))
    model = Sequential([Input((3,)), Dense(4)])
    four = model(x)
    model.add(Dense(2))
    assert model(x).shape == (2, 2)
    removed = model.pop()
    assert isinstance(removed, Dense)
    np.testing.assert_array_equal(model(x), four)
    assert len(model.layers) == 1
    assert len(model.weights) == 2


def test_input_layers_are_not_among_the_layers_of_sequential():
    model = Sequential([layers.InputLayer((3,)), Dense(1)])
    assert [type(layer) for layer in model.layers] == [Dense]
    assert model.get_layer("dense") is model.get_layer(index=0)


def test_models_nest_in_sequential(rng):
    inner = Sequential([Input((3,)), Dense(4)])
    model = Sequential([inner, Dense(2)])
    assert model.input_shape == (None, 3)
    x = rng.normal(size=(2, 3)).astype("float32")
    np.testing.assert_allclose(model(x), by_hand(model, x), rtol=1e-5, atol=1e-6)


# --- functional ---------------------------------------------------------------------------------------------------


def test_weights_come_in_the_order_of_keras():
    """By distance from the output, not by creation."""
    a, b = Input((6,)), Input((4,))
    late = Dense(3, name="late")
    near = Dense(2, name="near")(b)
    far = Dense(5, name="far")(a)
    model = Model([a, b], late(Concatenate()([Activation("relu")(far), near])))
    assert [w.path for w in model.weights[::2]] == ["far/kernel", "near/kernel", "late/kernel"]


def test_inputs_and_outputs_in_any_nesting(rng):
    a, b, c = Input((2,), name="a"), Input((3,), name="b"), Input((4,), name="c")
    outputs = {"y": [Dense(1, name="one")(a), b + 0.0], "x": (Concatenate()([b, c]),)}
    model = Model({"q": a, "p": [b, c]}, outputs)
    data = {"q": np.ones((2, 2)), "p": [np.full((2, 3), 2.0), np.full((2, 4), 3.0)]}
    got = model(data)
    assert got["y"][0].shape == (2, 1)
    np.testing.assert_array_equal(got["y"][1], data["p"][0])
    np.testing.assert_array_equal(got["x"][0], [[2] * 3 + [3] * 4] * 2)
    assert [name for name, _ in model.input_specs()] == ["b", "c", "a"]
    assert model.output_names() == ["x_0", "y_0", "y_1"]
    predicted = model.predict(data, verbose=0)
    np.testing.assert_array_equal(predicted["y"][1], data["p"][0])
    np.testing.assert_array_equal(predicted["x"][0], [[2] * 3 + [3] * 4] * 2)


def test_data_by_name_and_in_order(rng):
    a, b = Input((2,), name="a"), Input((3,), name="b")
    model = Model([a, b], Concatenate()([a, b]))
    one, two = np.ones((1, 2)), np.zeros((1, 3))
    np.testing.assert_array_equal(model([one, two]), model({"b": two, "a": one}))
    single = Model([a], Dense(1)(a))
    np.testing.assert_array_equal(single(one), single([one]))


def test_a_model_is_a_layer_with_shared_weights(rng):
    x = Input((3,))
    inner = Model(x, Dense(3)(x))
    y = Input((3,))
    outer = Model(y, inner(inner(y)))
    assert len(outer.weights) == 2
    data = rng.normal(size=(2, 3)).astype("float32")
    np.testing.assert_allclose(outer(data), inner(inner(data)), rtol=1e-5, atol=1e-6)


def test_a_part_of_a_model_is_a_model(rng):
    x = Input((3,))
    hidden = Dense(4)(x)
    y = Dense(2)(hidden)
    data = rng.normal(size=(2, 3)).astype("float32")
    features = Model(x, hidden)(data)
    np.testing.assert_allclose(Model(hidden, y)(features), Model(x, y)(data), rtol=1e-6)


def test_arithmetic_on_symbolic_tensors():
    x = Input((2,))
    model = Model(x, (2.0 - x * 3.0) / (x + 1.0) - (-x) ** 2.0)
    data = np.array([[1.0, 2.0]], "float32")
    np.testing.assert_allclose(model(data), (2 - data * 3) / (data + 1) - data**2, rtol=1e-6)


def test_a_training_flag_given_to_a_layer_stays():
    x = Input((40,))
    model = Model(x, Dropout(0.5)(x, training=True))
    assert (model(np.ones((2, 40))) == 0).any()


def test_integer_data_and_ranks_follow_the_inputs():
    x = Input((1,))
    model = Model(x, Dense(2)(x))
    ints = np.arange(4)
    np.testing.assert_array_equal(model(ints), model(ints[:, None].astype("float32")))
    assert model(ints).shape == (4, 2)


def test_free_sizes_other_than_the_batch(rng):
    x = Input((None, 3))
    model = Model(x, Dense(2)(x))
    assert model.output_shape == (None, None, 2)
    for steps in (1, 5):
        assert model(rng.normal(size=(2, steps, 3))).shape == (2, steps, 2)


def test_deep_models_do_not_meet_the_recursion_limit():
    x = y = Input((2,))
    for _ in range(1500):
        y = Activation("linear")(y)
    assert len(Model(x, y).layers) == 1501


# --- subclassed ---------------------------------------------------------------------------------------------------


def test_a_subclass_finds_its_layers_and_is_built_by_data(rng):
    model = Net()
    x = rng.normal(size=(3, 7)).astype("float32")
    assert model(x).shape == (3, 2)
    np.testing.assert_allclose(model(x), by_hand(model, x), rtol=1e-4, atol=1e-5)
    assert [w.path for w in model.weights][::2] == [
        "net/dense/kernel", "net/dense_1/kernel", "net/sequential/dense_2/kernel",
    ]  # fmt: skip
    assert str(model.input_specs()) == "[('input', f32[batch, 7])]"
    assert model.output_names() == ["output"]
    assert (model(x, training=True) != model(x)).any()


def test_a_subclass_is_built_by_shape_or_types():
    model = Net()
    model.build((None, 7))
    assert len(model.weights) == 6
    other = Net()
    other.build_from(np.ones((2, 7), "float64"))
    assert str(other.input_specs()[0][1]) == "f32[batch, 7]"


def test_a_subclass_with_dicts_and_several_outputs():
    class Two(Model):
        def __init__(self):
            super().__init__()
            self.dense = Dense(2)

        def call(self, inputs):
            return {"sum": inputs["a"] + inputs["b"], "dense": self.dense(inputs["a"])}

    model = Two()
    got = model({"b": np.ones((1, 3)), "a": np.ones((1, 3))})
    np.testing.assert_array_equal(got["sum"], [[2, 2, 2]])
    assert model.output_names() == ["dense", "sum"]
    assert [name for name, _ in model.input_specs()] == ["a", "b"]


def test_a_subclass_can_stand_in_a_functional_model(rng):
    net, x = Net(), Input((7,))
    model = Model(x, net(x))
    data = rng.normal(size=(2, 7)).astype("float32")
    np.testing.assert_array_equal(model(data), net(data))


# --- weights, programs, description -------------------------------------------------------------------------------


def test_weights_are_read_and_set_in_one_order(rng):
    one, two = Sequential([Input((3,)), Dense(4), Dense(2)]), Sequential([Input((3,)), Dense(4), Dense(2)])
    two.set_weights(one.get_weights())
    x = rng.normal(size=(2, 3))
    np.testing.assert_array_equal(one(x), two(x))
    assert one.count_params() == 3 * 4 + 4 + 4 * 2 + 2
    copies = one.get_weights()
    copies[0][:] = 0
    assert one.get_weights()[0].any()


def test_a_frozen_layer_is_not_among_the_trainable_weights():
    model = Sequential([Input((3,)), Dense(4), Dense(2)])
    model.layers[0].trainable = False
    assert model.trainable_weights == model.layers[1].weights
    assert model.non_trainable_weights == model.layers[0].weights
    model.trainable = True
    assert model.trainable_weights == model.weights


def test_layer_names_stand_in_the_locations_of_nodes():
    model = Sequential([Input((3,)), Dense(2, name="first")])
    trace = Trace("t")
    with emitting(trace):
        model.call_flat([trace.argument(model.input_specs()[0][1], "x")], training=False)
    places = {str(node.loc).split()[0] for node in trace.nodes}
    assert places == {"sequential/first"}


SUMMARY = """\
Model: "net"
┏━━━━━━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━━━┓
┃ Layer (type)             ┃ Output Shape       ┃   Param # ┃
┡━━━━━━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━━━┩
│ dense (Dense)            │ (None, 1000)       │     4,000 │
├──────────────────────────┼────────────────────┼───────────┤
│ flatten (Flatten)        │ (None, 1000)       │         0 │
└──────────────────────────┴────────────────────┴───────────┘
 Total params: 4,000 (15.62 KB)
 Trainable params: 4,000 (15.62 KB)
 Non-trainable params: 0 (0.00 B)"""


def test_summary_is_a_table():
    """The figures are those that Keras prints for this model; columns share the width by parts of 0.45, 0.8 and 1."""
    model = Sequential([Input((3,)), Dense(1000), Flatten()], name="net")
    seen: list[str] = []
    model.summary(line_length=60, print_fn=seen.append)
    lines, wanted = seen[0].splitlines(), SUMMARY.splitlines()
    assert {len(line) for line in lines[1:-3]} == {60}
    assert [line.split() for line in lines if "━" not in line and "─" not in line] == [
        line.split() for line in wanted if "━" not in line and "─" not in line
    ]
    assert len(lines) == len(wanted)


def test_summary_shows_connections_nesting_and_unbuilt_layers(capsys):
    a, b = Input((3,), name="a"), Input((3,), name="b")
    shared = Dense(2, name="shared")
    model = Model([a, b], layers.add([shared(a), shared(b)]))
    model.summary(line_length=130, show_trainable=True)
    text = capsys.readouterr().out
    assert "a[0][0], b[0][0]" in text
    assert "shared[0][0], shared[1][0]" in " ".join(text.replace("│", " ").split())
    assert "Trainable" in text
    Sequential([Dense(2)]).summary()
    assert "0 (unbuilt)" in capsys.readouterr().out
    Sequential([Input((3,)), Sequential([Dense(4)], name="inner")]).summary(expand_nested=True)
    assert "└ dense" in capsys.readouterr().out


def test_vjp_gives_gradients_of_the_weighted_sum(rng):
    model = Sequential([Input((3,)), Dense(2)])
    x, c = rng.normal(size=(4, 3)).astype("float32"), rng.normal(size=(4, 2)).astype("float32")
    (y,), (dx,), (dw, db) = kgraph.vjp(model, x, c)
    kernel = model.get_weights()[0]
    np.testing.assert_allclose(y, by_hand(model, x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dx, c @ kernel.T, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dw, x.T @ c, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(db, c.sum(0), rtol=1e-5, atol=1e-6)


def test_vjp_of_integer_inputs_and_lazy_models():
    class Cast(Model):
        def __init__(self):
            super().__init__()
            self.dense = Dense(1)

        def call(self, x):
            return self.dense(x)

    _, (dx,), weights = kgraph.vjp(Cast(), np.ones((2, 3), "int32"), [np.ones((2, 1))])
    assert dx is None
    np.testing.assert_array_equal(weights[0], np.full((3, 1), 2.0))


def test_keys_of_inputs_need_not_be_the_names_of_the_tensors(rng):
    a, b = kgraph.Input((2,)), kgraph.Input((3,))
    model = kgraph.Model({"right": b, "left": a}, Concatenate()([a, b]))
    x = {"left": rng.normal(size=(4, 2)).astype("float32"), "right": rng.normal(size=(4, 3)).astype("float32")}
    wanted = np.concatenate([x["left"], x["right"]], 1)
    assert [name for name, _ in model.input_specs()] == ["left", "right"]
    np.testing.assert_array_equal(model(x), wanted)
    np.testing.assert_array_equal(model.predict(x, verbose=0), wanted)
    model.compile("sgd", "mse")
    assert model.evaluate(x, wanted, verbose=0) == 0
