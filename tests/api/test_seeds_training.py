"""Training code of Keras articles runs as printed, with kgraph in the place of Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras_samples import CLASSIFIER, COMPILE, EVALUATE, FIT, FROM_ROOT, LIST, run

from kgraph.errors import StateError
from kgraph.layers import Dense
from kgraph.models import Sequential
from kgraph.utils import to_categorical

TWO_INPUTS = """
from keras import Input, Model
from keras.layers import Dense, Concatenate, Activation

inputA = Input(shape=(100,))           # 定义输入A
inputB = Input(shape=(10,))            # 定义输入B
denseA = Dense(units=64)(inputA)       # 添加第一个全连接层
activationA = Activation('relu')(denseA)   # 添加激活函数层
denseB = Dense(units=32)(inputB)       # 添加第二个全连接层
concatAB = Concatenate()([activationA, denseB])    # 将两个输入合并
output = Dense(units=1, activation='sigmoid')(concatAB)      # 添加输出层
model = Model(inputs=[inputA, inputB], outputs=output)        # 创建模型对象
"""

FIT_GENERATOR = """
import tensorflow as tf

def data_generator():
    while True:
        yield np.random.rand(32, 2), np.random.randint(2, size=(32,))  # 生成随机数据

model.compile(optimizer='rmsprop', loss='binary_crossentropy',
              metrics=['accuracy'])                                 # 配置编译器
model.fit_generator(data_generator(), steps_per_epoch=100,
                    epochs=10)                                       # 训练模型
"""


def clusters(features: int, classes: int, rows: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """Points around one centre for each class, and their classes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, rows)
    return rng.normal(size=(classes, features))[labels] * 2 + rng.normal(size=(rows, features)), labels


def names_of_the_article(features: int, classes: int) -> dict[str, Any]:
    """What the article leaves to the reader."""
    x, labels = clusters(features, classes)
    y = to_categorical(labels, classes)
    data = {"X_train": x[:64], "Y_train": y[:64], "X_test": x[64:], "Y_test": y[64:], "input_shape": x.shape}
    return {**data, "num_classes": classes, "epochs": 15, "batch_size": 10, "verbose": True}


@pytest.mark.parametrize("model", [CLASSIFIER, LIST])
def test_a_classifier_is_trained_and_evaluated(model: str, capsys: pytest.CaptureFixture[str]):
    names = run(model + COMPILE + FIT, **names_of_the_article(12, 3))
    assert "val_loss" in names["model"].history.history
    with pytest.raises(StateError, match=r"metrics=\['accuracy'\]"):
        run(EVALUATE, **names)
    names = run(COMPILE.replace(")", ", metrics=['accuracy'])") + FIT + EVALUATE, **names)
    assert names["score"][1] > 0.9
    assert "Test accuracy: " in capsys.readouterr().out


def test_a_model_from_the_root_is_trained():
    x, labels = clusters(100, 10)
    names = run(FROM_ROOT + COMPILE)
    history = names["model"].fit(x, to_categorical(labels, 10), epochs=20, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] / 4


def test_two_inputs_are_trained():
    model = run(TWO_INPUTS)["model"]
    model.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])
    (a, labels), (b, _) = clusters(100, 2), clusters(10, 2)
    model.fit([a, b], labels, epochs=20, verbose=0)
    assert model.evaluate([a, b], labels, verbose=0)[1] > 0.95


def test_a_generator_is_trained_on(capsys: pytest.CaptureFixture[str]):
    model = Sequential([Dense(16, activation="relu", input_shape=(2,)), Dense(1, activation="sigmoid")])
    run(FIT_GENERATOR, model=model, np=np)
    assert len(model.history.history["accuracy"]) == 10
    assert model.optimizer.iterations.array == 1000
    assert "Epoch 10/10  100/100" in capsys.readouterr().out
