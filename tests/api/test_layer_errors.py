"""Wrong layers and wrong inputs: one line that says what is wrong, before anything runs, and the model stays usable."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

import kgraph
from kgraph import config
from kgraph.errors import KgraphError
from kgraph.layers import Activation, Add, Concatenate, Dense, Dropout, Flatten, InputLayer, Layer, Reshape
from kgraph.naming import clear_session

Input, Model, Sequential = kgraph.Input, kgraph.Model, kgraph.Sequential


@pytest.fixture(autouse=True)
def in_the_interpreter():
    """Nothing here reaches native code."""
    clear_session()
    with kgraph.execution("interpreter"):
        yield


def raises(call: Callable[[], object], words: str) -> KgraphError:
    """The error of `call`: of one line, with these words (a pattern); nothing was compiled."""
    before = config.compilation_count()
    with pytest.raises(KgraphError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert config.compilation_count() == before
    return caught.value


def assert_usable(model: Model, features: int = 4) -> None:
    """The model predicts and trains."""
    x = np.ones((3, features), "float32")
    rows = np.asarray(model(x))
    assert len(rows) == 3
    model.compile("sgd", "mse", run_eagerly=True)
    before = model.get_weights()
    model.train_on_batch(x, rows + 1)
    assert any((a != b).any() for a, b in zip(before, model.get_weights()))


def test_wrong_number_of_features():
    layer = Dense(3, name="dense")
    layer(np.ones((2, 4)))
    error = raises(
        lambda: layer(np.ones((32, 3))), r"layer 'dense' \(Dense\): expected \(batch, 4\), received \(32, 3\)"
    )
    assert isinstance(error, ValueError)
    assert "last axis must have size 4" in error.fix
    raises(lambda: layer(Input((3,))), r"expected \(batch, 4\), received \(batch, 3\)")
    raises(lambda: layer(np.ones((2, 5, 3))), r"expected \(batch, ..., 4\), received \(2, 5, 3\)")
    raises(lambda: layer(np.ones(4)), r"expected \(batch, ..., features\), received \(4,\)")
    assert layer(np.ones((2, 4))).shape == (2, 3)


def test_wrong_number_of_features_of_a_model():
    model = Sequential([Input((4,)), Dense(3)])
    raises(lambda: model(np.ones((32, 3))), r"model 'sequential': expected \(batch, 4\), received \(32, 3\)")
    raises(lambda: model(np.ones((32, 2, 2))), r"received \(32, 2, 2\). Reshape the data to \(batch, 4\)")
    assert_usable(model)


def test_wrong_number_of_features_of_a_model_with_several_inputs():
    a, b = Input((4,), name="a"), Input((3,), name="b")
    model = Model([a, b], Concatenate()([a, b]))
    one, two = np.ones((2, 4)), np.ones((2, 5))
    raises(lambda: model([one, two]), r"model 'functional', input 'b': expected \(batch, 3\), received \(2, 5\)")
    raises(lambda: model([one]), r"model 'functional': expected 2 inputs \(a, b\), received 1")
    raises(lambda: model({"a": one}), r"expected inputs a, b, received no b")
    assert model([one, np.ones((2, 3))]).shape == (2, 7)


def test_reshape_to_another_number_of_values():
    words = r"layer 'reshape' \(Reshape\): 10 values cannot become \(3, 4\) = 12"
    model = Sequential([Input((4,)), Dense(10)])
    raises(lambda: model.add(Reshape((3, 4))), words)
    raises(lambda: Reshape((3, 4), name="reshape")(np.ones((2, 10))), words)
    raises(lambda: Reshape((3, -1))(np.ones((2, 10))), r"10 values cannot become \(3, -1\): not a multiple of 3")
    raises(lambda: Reshape((-1, -1)), "at most one -1")
    assert len(model.layers) == 1
    assert_usable(model)


def test_concatenate_of_shapes_that_differ():
    a, b = Dense(4, name="a")(Input((2, 3))), Dense(4, name="b")(Input((5, 3)))
    words = r"inputs \(batch, 2, 4\) from 'a' and \(batch, 5, 4\) from 'b' cannot be joined along axis -1"
    raises(lambda: Concatenate()([a, b]), words)
    raises(lambda: Concatenate(axis=3)([a, a]), r"expected an axis in -3..2, received 3")
    raises(lambda: Concatenate()(a), r"expected a list of tensors, received one tensor")
    assert Concatenate(axis=1)([a, b]).shape == (None, 7, 4)


def test_add_of_shapes_that_do_not_broadcast():
    a, b = Dense(4, name="a")(Input((3,))), Dense(3, name="b")(Input((3,)))
    words = r"layer 'add' \(Add\): inputs \(batch, 4\) from 'a' and \(batch, 3\) from 'b' do not broadcast"
    raises(lambda: Add(name="add")([a, b]), words)
    raises(lambda: Add()([np.ones((2, 4)), np.ones((2, 3))]), r"\(2, 4\) and \(2, 3\) do not broadcast")
    raises(lambda: Add()([]), "a list of tensors")


def test_dense_on_an_unknown_last_axis_names_the_input():
    x = Input((None,), name="words")
    y = Activation("relu")(x)
    words = r"layer 'd' \(Dense\): expected a last axis of known size, received \(batch, words_d1\)"
    error = raises(lambda: Dense(3, name="d")(y), words)
    assert error.fix == "Give the last axis of Input 'words' a size"


def test_a_disconnected_graph_names_output_and_input():
    a, b = Input((4,), name="a"), Input((4,), name="b")
    y = Dense(2, name="dense")(Add()([a, b]))
    raises(lambda: Model(b, y), r"output 'dense' depends on Input 'a', which is not in inputs=\[b\]")
    assert Model([a, b], y).input_shape == [(None, 4), (None, 4)]


def test_duplicate_names_give_both_types():
    x = Input((4,))
    y = Activation("relu", name="same")(Dense(3, name="same")(x))
    raises(lambda: Model(x, y), r"layer name 'same' is used twice \(Dense and Activation\)")
    model = Sequential([Input((4,)), Dense(3, name="same")])
    raises(lambda: model.add(Flatten(name="same")), r"'same' is used twice \(Dense and Flatten\)")
    assert_usable(model)


@pytest.mark.parametrize("call, words", [
    (lambda: Dense(3, activation="rleu"), r"activation='rleu': unknown. Did you mean 'relu'\?"),
    (lambda: Activation("sofmax"), r"activation='sofmax': unknown. Did you mean 'softmax'\?"),
    (lambda: Dense(3, kernel_initializer="he_nrmal"), r"_initializer='he_nrmal': unknown. Did you mean 'he_normal'\?"),
    (lambda: Dense(3, activation=5), "expected a name, a callable or None, received 5"),
    (lambda: Dense(3, actvation="relu"), r"unknown argument 'actvation'. Did you mean 'activation'\?"),
    (lambda: Dense(3.5), "units: expected an int >= 1, received 3.5"),
    (lambda: Dense(-3), "units: expected an int >= 1, received -3"),
    (lambda: Dense(True), "units: expected an int >= 1, received True"),
    (lambda: Dense("3"), "units: expected an int >= 1, received '3'"),
    (lambda: Dropout(50), r"rate: expected a number in \[0, 1\], received 50"),
    (lambda: Dropout(-0.1), r"rate: expected a number in \[0, 1\], received -0.1"),
    (lambda: Dropout(0.5, seed=1.5), "seed: expected an int >= 0, received 1.5"),
    (lambda: Dense(3, kernel_regularizer="l3"), r"kernel_regularizer='l3': unknown. Known: l1, l2"),
    (lambda: Dense(3, dtype="float7"), "dtype: expected one of float32"),
    (lambda: Input((3.5,)), r"expected sizes >= 0 or None, received \(3.5,\)"),
    (lambda: Input(), "expected shape or batch_shape"),
    (lambda: Dropout(0.5, noise_shape=(1,))(np.ones((2, 3)), training=True), r"expected 2 sizes, received \(1,\)"),
    (lambda: Flatten(data_format="channels"), "expected 'channels_last' or 'channels_first'"),
])  # fmt: skip
def test_wrong_arguments_are_refused_by_the_constructor(call: Callable[[], object], words: str):
    raises(call, words)


@pytest.mark.parametrize("data, words", [
    (input, r"expected a tensor or an array, received builtin_function_or_method 'input'"),
    (np.array([["a", "b"]]), "expected numbers, received an array of strings"),
    (np.array([{}, None]), "expected numbers, received an array of Python objects"),
    (np.array([1j, 2j]), "expected numbers, received an array of complex128 values"),
])  # fmt: skip
def test_inputs_that_are_no_numbers(data: object, words: str):
    raises(lambda: Dense(2)(data), words)


def test_a_builtin_in_place_of_a_tensor_gets_a_suggestion():
    input1, input2 = Input((4,)), Input((3,))
    with pytest.raises(KgraphError, match="received builtin_function_or_method 'input'") as caught:
        Dense(2)(input)
    assert caught.value.fix == "Did you mean 'input1' or 'input2'?"
    assert input1 is not input2


def test_models_of_other_things_than_tensors():
    x = Input((3,))
    raises(lambda: Model(input, Dense(2)(x)), r"Model\(inputs=...\): expected symbolic tensors")
    raises(lambda: Model(x, 5), r"Model\(outputs=...\): expected symbolic tensors, received int 5")
    raises(lambda: Model([x, x], Dense(2)(x)), "expected each tensor once")


def test_sequential_refuses_what_is_no_layer():
    model = Sequential([Input((4,)), Dense(2)])
    raises(lambda: model.add(Dense), r"received the class Dense. Write Dense\(...\)")
    raises(lambda: model.add("relu"), "expected a layer, received 'relu'")
    raises(lambda: model.add(InputLayer((2,))), "an Input must come first")
    raises(lambda: model.add(model.layers[0]), "is in the model already")
    raises(lambda: Sequential().pop(), "expected a model with layers")
    raises(lambda: Sequential()(np.ones((2, 3))), "has no layers")
    assert_usable(model)


def test_a_failed_first_call_leaves_a_lazy_model_unbuilt():
    model = Sequential([Dense(10), Reshape((2, 5)), Flatten(), Dense(3), Reshape((3,))])
    other = Sequential([Dense(10), Reshape((3, 4))])
    raises(lambda: other(np.ones((2, 3))), r"10 values cannot become \(3, 4\)")
    assert not other.built
    assert other.weights == []
    raises(lambda: model(np.ones(3)), r"expected \(batch, ..., features\)")
    assert_usable(model)


def test_weights_that_do_not_fit_change_nothing():
    model = Sequential([Input((4,)), Dense(3)])
    before = model.get_weights()
    raises(lambda: model.set_weights([np.zeros((4, 3))]), r"set_weights: expected 2 arrays, received 1")
    raises(
        lambda: model.set_weights([np.zeros((4, 3)), np.zeros(2)]),
        r"'sequential/dense/bias': expected \(3,\), received \(2,\)",
    )
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(a, b)
    assert_usable(model)


def test_names_and_states_that_are_not_there():
    model = Sequential([Input((4,)), Dense(3, name="head")])
    raises(lambda: model.get_layer("haed"), r"no layer 'haed'. Did you mean 'head'\?")
    raises(lambda: model.get_layer(index=3), "expected an index below 1, received 3")
    raises(lambda: Dense(2).count_params(), "a layer that is built")
    raises(lambda: Dense(2, name="d").output, "layer 'd': expected to be called on a symbolic tensor first")
    raises(lambda: Sequential([Dense(2)]).inputs, "has no defined inputs")


def test_a_layer_that_forgets_super_init():
    class Forgetful(Layer):
        def __init__(self):
            self.size = 3

    raises(lambda: Forgetful()(np.ones((2, 3))), r"Write super\(\).__init__\(\) first in Forgetful.__init__")


def test_an_initial_value_of_the_wrong_shape():
    layer = Dense(3, kernel_initializer=lambda shape, dtype: np.zeros((1, 1)))
    raises(lambda: layer(np.ones((2, 4))), r"weight 'kernel': expected shape \(4, 3\), received an initial value of")
    assert layer.weights == []


def test_cotangents_that_do_not_fit():
    model = Sequential([Input((4,)), Dense(3)])
    raises(lambda: kgraph.vjp(model, np.ones((2, 4)), []), "expected 1 arrays, received 0")
    raises(lambda: kgraph.vjp(model, np.ones((2, 4)), np.ones((2, 2))), re.escape("(2, 2)"))
    assert_usable(model)


@pytest.mark.parametrize(("features", "units"), ((2**40, 2**40), (10, 2**62), (10, 2**70)))
def test_weights_that_no_machine_can_hold(features: int, units: int):
    model = Sequential([Input((features,))])
    raises(lambda: model.add(Dense(units, name="d")), r"layer 'd' \(Dense\): weight 'kernel' of shape .* needs .* byt")
    model = Sequential([Input((4,))])
    model.add(Dense(3))
    assert_usable(model)


@pytest.mark.parametrize(("first", "words"), (
    (np.full((4, 3), "a"), "expected numbers, received an array of strings"),
    ([[1], [1, 2]], "received rows of different lengths"),
    (np.ones((3, 4)), r"expected \(4, 3\), received \(3, 4\)"),
    (None, "received an array of Python objects"),
))  # fmt: skip
def test_what_is_no_weight_changes_nothing(first: object, words: str):
    model = Sequential([Input((4,)), Dense(3, name="d")])
    before = model.get_weights()
    raises(lambda: model.set_weights([first, before[1] + 1]), f"model 'sequential'.set_weights: '.*kernel': .*{words}")
    raises(lambda: model.set_weights(None), "expected a list of arrays, received NoneType")
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(a, b)
    assert_usable(model)


def test_windows_that_do_not_fit_and_channels_at_the_other_end():
    small = Input((4, 4, 3))
    for layer in (kgraph.layers.Conv2D(2, 5), kgraph.layers.MaxPooling2D(5), kgraph.layers.DepthwiseConv2D(5)):
        words = r"layer '.*' \(.*\): a window of 5x5 does not fit into 4x4 with padding='valid'"
        raises(lambda layer=layer: layer(small), words)
        raises(lambda layer=layer: layer(np.ones((1, 4, 4, 3))), words)
    dilated = kgraph.layers.Conv1D(2, 3, dilation_rate=2)
    raises(lambda: dilated(Input((4, 3))), "a window of 5 does not fit into 4")
    layer = kgraph.layers.Conv2D(2, 3)
    layer(np.ones((1, 8, 8, 3)))
    error = raises(lambda: layer(np.ones((1, 3, 8, 8))), r"expected 3 channels, .*, received \(1, 3, 8, 8\)")
    assert error.fix.startswith("It looks channels-first: use transpose(0, 2, 3, 1)")
    raises(lambda: layer(np.ones((1, 8, 8))), r"expected \(batch, height, width, channels\), received \(1, 8, 8\)")
