"""Models from Keras articles, old and new, run as printed with kgraph in the place of Keras."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from keras_samples import CLASSIFIER, FROM_ROOT, LIST, TWO_LAYERS, run

import kgraph
from kgraph.errors import DTypeError

SEQUENTIAL = """
from keras.models import Sequential
from keras.layers import Dense, Activation

model = Sequential()
model.add(Dense(units=20, input_dim=10)) # 添加第一层全连接层
model.add(Activation('relu'))            # 添加ReLU激活层
model.add(Dense(units=30))               # 添加第二层全连接层
model.add(Activation('softmax'))         # 添加Softmax激活层
"""

FUNCTIONAL = """
from keras.models import Model
from keras.layers import Input, Dense, Activation

inputs = Input(shape=(10,))        # 创建输入层
x = Dense(units=20)(inputs)       # 第一次全连接层
x = Activation('relu')(x)          # ReLU激活层
outputs = Dense(units=30)(x)      # 第二次全连接层

model = Model(inputs=inputs, outputs=outputs)   # 使用Model封装模型
"""

BRANCHES = """
from keras.models import Input, Model
from keras.layers import Dense, Concatenate, Reshape

# define an input tensor with shape (samples, timesteps, features)
input_tensor = Input(shape=(timesteps, num_features,))

# define two parallel branches of the network
branch1 = Dense(units=64, activation='relu')(input_tensor)
branch2 = Dense(units=32, activation='relu')(input_tensor)

# merge the branches using concatenation
merged = Concatenate()([branch1, branch2])

# apply additional layers on the concatenated output
z = Dense(units=16, activation='relu')(merged)
z = Dense(units=8, activation='relu')(z)
pred = Dense(units=1, activation='sigmoid')(z)

# build the functional model
model = Model(inputs=input_tensor, outputs=pred)
"""

TWO_INPUTS = """
from keras import Input, Model
from keras.layers import Dense, Concatenate

inputA = Input(shape=(100,))           # 定义输入A
inputB = Input(shape=(10,))            # 定义输入B
denseA = Dense(units=64)(inputA)       # 添加第一个全连接层
activationA = Activation('relu')(denseA)   # 添加激活函数层
denseB = Dense(units=32)(inputB)       # 添加第二个全连接层
concatAB = Concatenate()([activationA, denseB])    # 将两个输入合并
output = Dense(units=1, activation='sigmoid')(concatAB)      # 添加输出层
model = Model(inputs=[inputA, inputB], outputs=output)        # 创建模型对象
"""

BUILTIN = """
from keras.models import Model
from keras.layers import Input, Dense

input1 = Input(shape=(1000,))
input2 = Input(shape=(100,))
hidden = Dense(units=32, activation='relu')(input)
output = Dense(units=1, activation='sigmoid')(hidden)
model = Model([input1, input2], output)
"""


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
