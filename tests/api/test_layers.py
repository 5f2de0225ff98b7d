"""Layers: what they compute, how they are called, built, named and configured."""

from __future__ import annotations

import numpy as np
import pytest

import kgraph
from kgraph import config, layers, utils
from kgraph.layers import Add, Concatenate, Dense, Dropout, Flatten, InputLayer, Layer, Reshape
from kgraph.primitives import composites


@pytest.fixture(autouse=True)
def in_the_interpreter():
    """These tests are about the layers; the golden cases run both ways."""
    with kgraph.execution("interpreter"):
        yield


class Scale(Layer):
    """A layer of the user's own: one weight for each feature."""

    def __init__(self, start=1.0, **kwargs):
        super().__init__(**kwargs)
        self.start = start

    def build(self, input_shape):
        self.scale = self.add_weight(
            shape=(input_shape[-1],), initializer=lambda s, dtype: np.full(s, self.start, dtype), name="scale"
        )
        self.calls = self.add_weight(shape=(), initializer="zeros", dtype="int32", trainable=False, name="calls")

    def call(self, x):
        return x * self.scale

    def get_config(self):
        return {**super().get_config(), "start": self.start}


def dense_by_hand(layer: Dense, x: np.ndarray) -> np.ndarray:
    kernel, bias = layer.get_weights()
    return x @ kernel + bias


def test_dense_is_an_affine_map_for_any_rank(rng):
    for shape in ((3, 5), (2, 4, 5), (2, 3, 4, 5)):
        layer, x = Dense(6, bias_initializer="ones"), rng.normal(size=shape).astype("float32")
        np.testing.assert_allclose(layer(x), dense_by_hand(layer, x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "bool", "float16", "float64", ">f4"])
def test_dense_computes_in_its_own_type(dtype: str, rng):
    layer, x = Dense(3), rng.integers(0, 2, (4, 5)).astype(dtype)
    y = layer(x)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, dense_by_hand(layer, x.astype("float32")), rtol=1e-6, atol=1e-6)


def test_float64_layers_by_argument_and_by_floatx():
    assert Dense(2, dtype="float64")([[1.0]]).dtype == np.float64
    with config.override(floatx="float64"):
        layer = Dense(2)
        assert layer([[1.0]]).dtype == np.float64
    assert layer.kernel.dtype == "float64"


def test_one_program_serves_every_batch_size_and_changes_are_seen(rng):
    layer = Dense(2)
    for rows in (1, 7, 0):
        assert layer(rng.normal(size=(rows, 3))).shape == (rows, 2)
    x = rng.normal(size=(2, 3)).astype("float32")
    before = layer(x)
    layer.activation = kgraph.activations.relu
    np.testing.assert_array_equal(layer(x), np.maximum(before, 0))
    layer.set_weights([np.zeros((3, 2)), np.ones(2)])
    np.testing.assert_array_equal(layer(x), np.ones((2, 2)))


def test_flatten_reshape_and_merging(rng):
    x = rng.normal(size=(2, 3, 4)).astype("float32")
    np.testing.assert_array_equal(Flatten()(x), x.reshape(2, 12))
    np.testing.assert_array_equal(Flatten()(x[:, 0, 0]), x[:, 0, :1])
    np.testing.assert_array_equal(Reshape((-1, 6))(x), x.reshape(2, 2, 6))
    np.testing.assert_array_equal(Reshape((4, 3))(x), x.reshape(2, 4, 3))
    y = rng.normal(size=(2, 3, 1)).astype("float32")
    np.testing.assert_array_equal(Add()([x, y, x]), x + y + x)
    np.testing.assert_array_equal(Add()([x[:, 0], x]), x[:, :1] + x)
    np.testing.assert_array_equal(Concatenate()([x, y]), np.concatenate([x, y], -1))
    np.testing.assert_array_equal(layers.concatenate([x, x], axis=1), np.concatenate([x, x], 1))
    np.testing.assert_array_equal(layers.add([x, x]), x + x)


def test_activation_layers():
    x = np.array([[-2.0, 0.5, 3.0]], "float32")
    np.testing.assert_allclose(layers.ReLU(max_value=1.0)(x), [[0, 0.5, 1]])
    np.testing.assert_allclose(layers.LeakyReLU()(x), [[-0.6, 0.5, 3]], rtol=1e-6)
    np.testing.assert_allclose(layers.LeakyReLU(alpha=0.1)(x), [[-0.2, 0.5, 3]], rtol=1e-6)
    np.testing.assert_allclose(layers.ELU(0.5)(x), [[0.5 * np.expm1(-2), 0.5, 3]], rtol=1e-6)
    np.testing.assert_allclose(layers.Softmax()(x).sum(), 1, rtol=1e-6)


def test_dropout_acts_in_training_only_and_keeps_the_mean():
    utils.set_random_seed(1)
    layer, x = Dropout(0.25), np.ones((200, 50), "float32")
    np.testing.assert_array_equal(layer(x), x)
    y = layer(x, training=True)
    assert set(np.unique(y)) == {0, np.float32(1) / np.float32(0.75)}
    # The kept part of n elements spreads by sqrt(0.25 * 0.75 / n).
    assert abs((y > 0).mean() - 0.75) < 4 * np.sqrt(0.25 * 0.75 / y.size)
    assert (y != layer(x, training=True)).any()
    assert np.array_equal(Dropout(0)(x, training=True), x)
    assert not Dropout(1.0)(x, training=True).any()


def test_dropout_noise_shape_and_seed():
    x = np.ones((6, 40, 3), "float32")
    y = Dropout(0.5, noise_shape=(None, 1, None), seed=3)(x, training=True)
    assert (y == y[:, :1]).all()
    assert 0 < (y > 0).mean() < 1
    one, two = Dropout(0.5, seed=3), Dropout(0.5, seed=3)
    first = one(x, training=True)
    np.testing.assert_array_equal(first, two(x, training=True))
    assert (first != one(x, training=True)).any()
    assert one.weights == []


def test_the_gradient_of_dropout_uses_the_same_mask():
    utils.set_random_seed(2)
    model = kgraph.Sequential([kgraph.Input((50,)), Dropout(0.5)])
    x = np.random.default_rng(0).normal(size=(4, 50)).astype("float32")
    (y,), (dx,), _ = kgraph.vjp(model, x, np.ones((4, 50)), training=True)
    np.testing.assert_array_equal(dx, np.where(y != 0, 2, 0))


def test_a_layer_of_the_users_own():
    layer = Scale(start=2.0)
    np.testing.assert_array_equal(layer([[1.0, 2.0]]), [[2, 4]])
    assert [w.path for w in layer.weights] == [f"{layer.name}/scale", f"{layer.name}/calls"]
    assert [w.name for w in layer.trainable_weights] == ["scale"]
    assert layer.count_params() == 3
    copy = Scale.from_config(layer.get_config())
    assert (copy.name, copy.start) == (layer.name, 2.0)


def test_layers_in_attributes_lists_and_dicts_are_found():
    class Block(Layer):
        def __init__(self):
            super().__init__()
            self.first = Dense(2)
            self.rest = [Dense(3), {"a": Dense(4)}]

        def call(self, x):
            return self.rest[1]["a"](self.rest[0](self.first(x)))

    block = Block()
    assert block([[1.0]]).shape == (1, 4)
    assert [w.shape for w in block.weights] == [(1, 2), (2,), (2, 3), (3,), (3, 4), (4,)]
    assert all(w.path.startswith(f"{block.name}/dense") for w in block.weights)
    block.trainable = False
    assert block.trainable_weights == []
    assert not block.first.trainable
    assert block.non_trainable_weights == block.weights


def test_the_training_flag_reaches_inner_layers():
    class Flag(Layer):
        def call(self, x, training=False):
            return x * 0 + float(training)

    class Outer(Layer):
        def __init__(self):
            super().__init__()
            self.inner = Flag()

        def call(self, x):
            return self.inner(x) + 10 * self.inner(x, training=False)

    assert Outer()([[5.0]], training=True) == 1
    assert Outer()([[5.0]]) == 0


def test_several_tensor_arguments_and_named_build_shapes():
    class Bilinear(Layer):
        def build(self, left_shape, right_shape):
            self.kernel = self.add_weight(shape=(left_shape[-1], right_shape[-1]), initializer="ones")

        def call(self, left, right):
            return composites.sum(composites.matmul(left, self.kernel) * right, -1, keepdims=True)

    left, right = np.ones((2, 3), "float32"), np.ones((2, 4), "float32")
    layer = Bilinear()
    np.testing.assert_array_equal(layer(left, right), [[12], [12]])
    a, b = kgraph.Input((3,)), kgraph.Input((4,))
    model = kgraph.Model([a, b], layer(a, b))
    np.testing.assert_array_equal(model([left, right]), [[12], [12]])


def test_automatic_names_count_up_and_snake_case():
    names = [Dense(1).name, Dense(1).name, layers.LeakyReLU().name]
    start = int(names[0].rpartition("_")[2]) if names[0] != "dense" else 0
    assert names[1] == f"dense_{start + 1}"
    assert names[2].startswith("leaky_re_lu")
    assert Dense(1, name="head").name == "head"


def test_configurations_give_the_same_layer():
    made = [
        Dense(3, activation="relu", use_bias=False, kernel_initializer="he_normal", dtype="float64"),
        layers.Activation("tanh"), Dropout(0.3, noise_shape=(None, 1), seed=4), Flatten(), Reshape((2, -1)),
        Concatenate(axis=1), Add(), layers.ReLU(2.0), layers.LeakyReLU(0.1), layers.ELU(0.5), layers.Softmax(),
        InputLayer((3, None), dtype="int32"),
    ]  # fmt: skip
    for layer in made:
        copy = type(layer).from_config(layer.get_config())
        assert copy.get_config() == layer.get_config()


def test_output_shapes_are_known_without_data():
    assert Dense(4).compute_output_shape((None, 3)) == (None, 4)
    assert Flatten().compute_output_shape((None, 2, 3)) == (None, 6)
    assert Concatenate().compute_output_shape([(None, 2), (None, 3)]) == (None, 5)


def test_set_random_seed_fixes_weights_and_masks():
    def run() -> list[np.ndarray]:
        utils.set_random_seed(9)
        model = kgraph.Sequential([Dense(4), Dropout(0.5)])
        return [model(np.ones((2, 3)), training=True), *model.get_weights()]

    for one, two in zip(run(), run()):
        np.testing.assert_array_equal(one, two)


def test_older_shape_arguments():
    assert kgraph.Sequential([Dense(2, input_shape=(5,))]).input_shape == (None, 5)
    assert kgraph.Sequential([Flatten(batch_input_shape=(7, 2, 3))]).output_shape == (7, 6)
    assert kgraph.Sequential([Dense(2, input_dim=5)]).input_shape == (None, 5)


def test_to_categorical_and_normalize():
    np.testing.assert_array_equal(utils.to_categorical([[1], [0]], 3), [[0, 1, 0], [1, 0, 0]])
    assert utils.to_categorical([0, 3]).shape == (2, 4)
    np.testing.assert_allclose(utils.normalize(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0, 0]])
    with pytest.raises(ValueError, match=r"label 3 at position 1: expected labels in \[0, 3\)"):
        utils.to_categorical([0, 3], 3)
