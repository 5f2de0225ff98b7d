"""Models from Keras articles, old and new, run as printed with kgraph in the place of Keras."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from keras_samples import (
    BRANCHES,
    BUILTIN,
    CLASSIFIER,
    CNN_FACTORY,
    COMPILE_BY_NAMES,
    COMPILE_OLD_SGD,
    COMPILE_WITH_OBJECTS,
    CONVOLUTION,
    EMBEDDING,
    ENSEMBLE,
    FROM_ROOT,
    FUNCTIONAL,
    IMAGE_CLASSIFIER,
    LIST,
    OLD_IMPORT_PATH,
    PLACEHOLDER,
    SEQUENTIAL,
    STACKED_LSTM,
    SUBCLASS,
    TWO_INPUTS,
    TWO_LAYERS,
    run,
)

import kgraph
from kgraph.errors import ArgumentError, DTypeError, GraphError, ShapeError


@pytest.fixture(autouse=True)
def in_the_interpreter():
    """These tests are about building models."""
    with kgraph.execution("interpreter"):
        yield


def assert_probabilities(y: np.ndarray, shape: tuple[int, ...]) -> None:
    """Rows that sum to 1."""
    assert y.shape == shape
    np.testing.assert_allclose(y.sum(-1), 1, rtol=1e-5)


@pytest.mark.parametrize("code, features, units, params", [
    (SEQUENTIAL, 10, 30, 10 * 20 + 20 + 20 * 30 + 30),
    (FROM_ROOT, 100, 10, 100 * 64 + 64 + 64 * 10 + 10),
    (TWO_LAYERS, 784, 10, 784 * 32 + 32 + 32 * 10 + 10),
])  # fmt: skip
def test_sequential_samples(code: str, features: int, units: int, params: int):
    model = run(code)["model"]
    assert model.count_params() == params
    assert model.output_shape == (None, units)
    assert_probabilities(model(np.ones((4, features))), (4, units))


def test_the_functional_sample_is_the_sequential_one_without_its_softmax():
    model, other = run(FUNCTIONAL)["model"], run(SEQUENTIAL)["model"]
    other.set_weights(model.get_weights())
    x = np.random.default_rng(0).normal(size=(4, 10))
    np.testing.assert_allclose(kgraph.activations.softmax(model(x)), other(x), rtol=1e-5)


def test_classifier_with_names_from_its_data():
    model = run(CLASSIFIER, input_shape=(50, 12), num_classes=3)["model"]
    assert_probabilities(model(np.ones((2, 12))), (2, 3))


def test_a_list_of_layers_is_built_by_its_first_data():
    model = run(LIST, num_classes=7)["model"]
    assert not model.built
    assert_probabilities(model(np.ones((2, 5))), (2, 7))
    assert model.count_params() == 5 * 64 + 64 + 64 * 32 + 32 + 32 * 7 + 7


def test_branches_over_sequences():
    model = run(BRANCHES, timesteps=6, num_features=4)["model"]
    y = model(np.ones((3, 6, 4)))
    assert y.shape == (3, 6, 1)
    assert ((y > 0) & (y < 1)).all()


def test_two_inputs_with_the_import_that_the_sample_forgets():
    model = run("from keras.layers import Activation\n" + TWO_INPUTS)["model"]
    assert model.input_shape == [(None, 100), (None, 10)]
    assert model([np.ones((2, 100)), np.ones((2, 10))]).shape == (2, 1)


def test_a_builtin_given_for_an_input_is_explained_and_the_corrected_sample_runs():
    with pytest.raises(DTypeError, match=r"'input'\. Did you mean 'input1' or 'input2'\?"):
        run(BUILTIN)
    corrected = BUILTIN.replace("(input)", "(Concatenate()([input1, input2]))")
    model = run("from keras.layers import Concatenate\n" + corrected)["model"]
    assert model([np.ones((2, 1000)), np.ones((2, 100))]).shape == (2, 1)


def test_samples_leave_no_keras_behind():
    run(TWO_LAYERS)
    assert not [name for name in sys.modules if name.partition(".")[0] == "keras"]


def test_a_convolution_without_a_classifier_behind_it():
    """It builds; labels do not fit its images, and a Flatten and a Dense mend that."""
    model = run(CONVOLUTION, input_shape=(8, 8, 1))["model"]
    assert model.output_shape == (None, 4, 4, 32)
    model.compile("adam", "categorical_crossentropy", run_eagerly=True)
    with pytest.raises(ShapeError, match=r"expected .*4, 4, 32\), received \(.*3\)"):
        model.fit(np.ones((2, 8, 8, 1)), np.eye(3)[:2], verbose=0)
    ending = """
from keras.layers import Dense, Flatten
model.add(Flatten())
model.add(Dense(3, activation='softmax'))
"""
    model = run(CONVOLUTION + ending, input_shape=(8, 8, 1))["model"]
    assert_probabilities(model(np.ones((2, 8, 8, 1))), (2, 3))


def test_embedding_with_the_imports_that_the_sample_forgets():
    names = {"vocab_size": 50, "embedding_dim": 4, "maxlen": 6, "num_classes": 1}
    with pytest.raises(NameError, match="Flatten"):
        run(EMBEDDING, **names)
    model = run("from keras.layers import Dense, Flatten\n" + EMBEDDING, **names)["model"]
    assert model.count_params() == 50 * 4 + 6 * 4 + 1
    assert model(np.arange(12).reshape(2, 6)).shape == (2, 1)


def test_stacked_recurrent_layers_take_any_length():
    with pytest.raises(NameError, match="Dense"):
        run(STACKED_LSTM, num_features=3, num_classes=4)
    model = run("from keras.layers import Dense\n" + STACKED_LSTM, num_features=3, num_classes=4)["model"]
    for steps in (2, 5):
        assert_probabilities(model(np.ones((2, steps, 3))), (2, 4))


def test_an_ensemble_whose_inputs_are_lost_is_explained_and_the_corrected_sample_runs():
    names = {"num_sub_networks": 3, "timesteps": 5, "num_features": 2, "num_classes": 4}
    with pytest.raises(NameError, match="Concatenate"):
        run(ENSEMBLE, **names)
    imported = "from keras.layers import Concatenate\n" + ENSEMBLE
    words = r"depends on Input 'input_layer\w*', which is not in inputs=\[input_layer\w*\]"
    with pytest.raises(GraphError, match=words):
        run(imported, **names)
    one_input = "inputs = Input((timesteps, num_features,))"
    shared = imported.replace("    " + one_input, "    pass").replace("branches = []", f"branches = []\n{one_input}")
    with pytest.raises(ArgumentError, match=r"compile\(metrics=\{'output_0': ...\}\): no such output. The output is"):
        run(shared, **names)
    by_layer = "ensemble_pred = Concatenate(axis=1, name='ensemble')(outputs)"
    corrected = shared.replace("ensemble_pred = Concatenate()(outputs)", by_layer)
    corrected = corrected.replace("{'output_%d' % i: mae for i in range(num_sub_networks)}", "{'ensemble': mae}")
    model = run(corrected, **names)["model"]
    assert model.predict(np.ones((2, 5, 2)), verbose=0)[0].shape == (2, 3, 5, 4)
    assert len(model.evaluate(np.ones((2, 5, 2)), np.ones((2, 3, 5, 4)), verbose=0)) == 2


def test_image_classifiers_compile_as_printed():
    code = IMAGE_CLASSIFIER + COMPILE_WITH_OBJECTS + COMPILE_BY_NAMES
    code += "from keras.optimizers import SGD\n" + COMPILE_OLD_SGD
    scope = run(code, input_shape=(8, 8, 1), num_classes=3)
    assert scope["model"].output_shape == (None, 3)
    assert scope["model"].optimizer.get_config()["learning_rate"] == pytest.approx(0.01)
    with pytest.raises(NameError, match="SGD"):
        run(COMPILE_OLD_SGD, model=scope["model"])
    factory = run(CNN_FACTORY)["model"]
    assert factory.count_params() == 241546
    assert [layer.output.shape[1:] for layer in factory.layers[-4:]] == [(1152,), (128,), (128,), (10,)]


def test_placeholders_have_the_shape_that_is_printed():
    tensor = run(PLACEHOLDER, height=4, width=5, channels=3)["input_tensor"]
    assert (tensor.shape, tensor.dtype) == ((None, 4, 5, 3), "float32")


def test_old_import_paths():
    model = kgraph.Sequential([kgraph.Input((8,))])
    run(OLD_IMPORT_PATH, model=model, num_classes=3)
    assert_probabilities(model(np.ones((2, 8))), (2, 3))
    assert [type(layer).__name__ for layer in model.layers][3] == "BatchNormalization"


def test_a_model_called_in_its_own_definition_is_explained_and_both_corrections_run():
    words = r"the output of 'my_model\w*' has no compile. Keep the model: model = MyModel\(\)"
    with pytest.raises(AttributeError, match=words):
        run(SUBCLASS)
    for old, new in (
        ("MyModel()(input_data)", "Model(input_data, predictions)"),
        ("self.fc3 = Dense(16, activation='relu')", "self.fc3 = Dense(1, activation='sigmoid')"),
    ):
        code = SUBCLASS.replace(old, new).replace("MyModel()(input_data)", "MyModel()").replace("epochs=5", "verbose=0")
        scope = run(code)
        assert scope["model"].predict([[0.5, 0.6]], verbose=0).shape == (1, 1)
