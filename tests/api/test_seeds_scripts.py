"""Whole training scripts of Keras articles, block by block as printed, on images of the size of MNIST's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
from keras_samples import (
    CNN_FACTORY,
    COMPILE,
    COMPILE_BY_NAMES,
    COMPILE_OLD_SGD,
    COMPILE_WITH_OBJECTS,
    CONVOLUTION,
    EMBEDDING,
    ENSEMBLE,
    EVALUATE,
    FIT,
    IMAGE_CLASSIFIER,
    OLD_IMPORT_PATH,
    STACKED_LSTM,
    SUBCLASS,
    TWO_LAYERS,
    run,
)

import kgraph
from kgraph.config import compilation_count
from kgraph.datasets import digits
from kgraph.errors import ShapeError, StateError

PREPARE = """
import numpy as np
from keras.datasets import mnist
from keras.utils import to_categorical

# load data
(X_train, y_train), (X_test, y_test) = mnist.load_data()

# reshape data
img_rows, img_cols = 28, 28
if K.image_data_format() == 'channels_first':
    X_train = X_train.reshape(X_train.shape[0], 1, img_rows, img_cols)
    X_test = X_test.reshape(X_test.shape[0], 1, img_rows, img_cols)
    input_shape = (1, img_rows, img_cols)
else:
    X_train = X_train.reshape(X_train.shape[0], img_rows, img_cols, 1)
    X_test = X_test.reshape(X_test.shape[0], img_rows, img_cols, 1)
    input_shape = (img_rows, img_cols, 1)

# normalize pixel values
X_train = X_train.astype('float32') / 255
X_test = X_test.astype('float32') / 255

# convert labels to one-hot encoded vectors
num_classes = 10
y_train = to_categorical(y_train, num_classes)
y_test = to_categorical(y_test, num_classes)
"""

FIT_AND_STOP = """
from keras.callbacks import EarlyStopping

# train model
batch_size = 128
epochs = 10
earlystop = EarlyStopping(monitor='val_loss', patience=5, verbose=1)
history = model.fit(X_train, y_train,
                    batch_size=batch_size,
                    epochs=epochs,
                    verbose=1,
                    callbacks=[earlystop],
                    validation_split=0.1)
"""

EVALUATE_IMAGES = """
score = model.evaluate(X_test, y_test, verbose=0)
print('Test loss:', score[0])
print('Test accuracy:', score[1])
"""

CHECKPOINT = """
checkpoint = ModelCheckpoint('weights.{epoch:02d}-{val_acc:.2f}.hdf5', monitor='val_acc', verbose=1, save_best_only=False, mode='auto', period=1)

earlystop = EarlyStopping(monitor='val_loss', min_delta=0, patience=10, verbose=1)

callbacks_list = [checkpoint, earlystop]

history = model.fit(train_data, train_labels,
                    epochs=nb_epoch, batch_size=batch_size,
                    validation_data=(validation_data, validation_labels), callbacks=callbacks_list)
"""  # noqa: E501 - as printed

MNIST = """
from keras.datasets import mnist
from keras.utils import to_categorical

(x_train, y_train), (x_test, y_test) = mnist.load_data()  # 加载MNIST数据集

x_train = x_train.reshape(-1, 784).astype('float32') / 255.0  # 归一化
y_train = to_categorical(y_train, num_classes=10)              # 转换为one-hot编码

model.compile(optimizer='rmsprop', loss='categorical_crossentropy',
              metrics=['accuracy'])                           # 配置编译器
model.fit(x_train, y_train, batch_size=32, epochs=10)         # 训练模型
"""

MNIST_SCORE = """
score = model.evaluate(x_test, to_categorical(y_test, num_classes=10))  # 测试模型
print("Test score:", score[0])                            # 打印测试得分
print("Test accuracy:", score[1])                        # 打印测试准确率
"""

PREDICT = """
prediction = model.predict(np.random.rand(32, 784))
print(prediction[:5])
"""

SUBCLASS_FIT = """
model.compile(loss='binary_crossentropy', optimizer='adam')          # 配置编译器
model.fit(np.random.rand(100, 2), np.random.randint(2, size=(100,)), epochs=5)  # 训练模型

print(model.predict([[0.5, 0.6]]))                  # 使用模型进行预测
"""


def images(x: np.ndarray) -> np.ndarray:
    """Handwritten digits of 8 x 8 points, 0 .. 16, as MNIST has them: 28 x 28 bytes."""
    large = np.kron(x.reshape(-1, 8, 8) / 16 * 255, np.ones((1, 3, 3)))
    return np.pad(large, ((0, 0), (2, 2), (2, 2))).astype("uint8")


@pytest.fixture(autouse=True)
def mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    """`keras.datasets.mnist` gives the digits that come with the package."""
    kgraph.utils.set_random_seed(1)
    (x, y), (x_test, y_test) = digits.load_data()
    found = (images(x), y.astype("uint8")), (images(x_test), y_test.astype("uint8"))
    monkeypatch.setattr(kgraph.datasets, "mnist", SimpleNamespace(load_data=lambda: found), raising=False)


def test_the_script_for_mnist(capsys: pytest.CaptureFixture[str]):
    """Preparation, network, compile with objects, early stopping on a part of the data, evaluation."""
    names = run("from keras import backend as K" + PREPARE)
    assert names["X_train"].shape == (1437, 28, 28, 1)
    for block in (IMAGE_CLASSIFIER, COMPILE_WITH_OBJECTS, FIT_AND_STOP, EVALUATE_IMAGES):
        names = run(block, **names)
    assert names["score"][1] > 0.9
    history = names["history"].history
    assert sorted(history) == ["categorical_accuracy", "loss", "val_categorical_accuracy", "val_loss"]
    out = capsys.readouterr().out
    assert f"Test accuracy: {names['score'][1]}" in out
    assert "val_categorical_accuracy" in out


def test_the_script_forgets_an_import():
    with pytest.raises(NameError, match="'K'"):
        run(PREPARE)


def test_channels_first():
    kgraph.backend.set_image_data_format("channels_first")
    try:
        names = run("from keras import backend as K" + PREPARE)
        assert names["X_train"].shape == (1437, 1, 28, 28)
        names = run(IMAGE_CLASSIFIER + COMPILE_WITH_OBJECTS + FIT_AND_STOP.replace("10", "3"), **names)
    finally:
        kgraph.backend.set_image_data_format("channels_last")
    assert names["history"].history["loss"][-1] < names["history"].history["loss"][0]


def test_digits_are_read_by_the_network_of_three_convolutions():
    (x, y), (x_test, y_test) = digits.load_data()
    model = run(CNN_FACTORY)["model"]
    rate = kgraph.optimizers.schedules.CosineDecay(2e-3, 12 * 45)
    model.compile(kgraph.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(images(x)[..., None] / 255, y, batch_size=32, epochs=12, verbose=0)
    assert model.evaluate(images(x_test)[..., None] / 255, y_test, verbose=0)[1] >= 0.97


@pytest.mark.parametrize("how", [COMPILE_BY_NAMES, COMPILE_OLD_SGD])
def test_checkpoints_of_every_epoch(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    (x, y), (x_test, y_test) = digits.load_data()
    names: dict[str, Any] = run(TWO_LAYERS.replace("784", "64"))
    names |= {"train_data": x.reshape(-1, 64) / 16, "validation_data": x_test.reshape(-1, 64) / 16}
    names |= {"train_labels": np.eye(10)[y], "validation_labels": np.eye(10)[y_test], "nb_epoch": 3, "batch_size": 32}
    imports = "from keras.callbacks import ModelCheckpoint, EarlyStopping\nfrom keras.optimizers import SGD\n"
    if how == COMPILE_OLD_SGD:  # compiles without the metric that the file names ask for
        with pytest.raises(kgraph.errors.ArgumentError, match="val_acc"):
            run(imports + how + CHECKPOINT, **names)
        assert not list(tmp_path.iterdir())
        return
    names = run(imports + how + CHECKPOINT, **names)
    found = sorted(path.name for path in tmp_path.iterdir())
    accuracies = names["history"].history["val_accuracy"]
    assert found == [f"weights.{n:02d}-{value:.2f}.hdf5" for n, value in enumerate(accuracies, 1)]
    assert "saving model to weights.01-" in capsys.readouterr().out
    with h5py.File(found[-1]) as file:
        last = [np.array(file[layer][name]) for layer in file for name in file[layer].attrs.get("weight_names", [])]
    kept = names["model"].get_weights()
    assert sorted(a.shape for a in last) == sorted(a.shape for a in kept)
    assert all(any(np.array_equal(a, b) for b in last) for a in kept)


def test_a_convolution_is_trained_once_it_has_a_classifier():
    rng = np.random.default_rng(0)
    x, labels = rng.random((64, 12, 12, 3)), rng.integers(0, 3, 64)
    x[labels == 1, :, :, 0] += 2
    x[labels == 2, :6] += 2
    data = {"X_train": x, "Y_train": np.eye(3)[labels], "X_test": x, "Y_test": np.eye(3)[labels]}
    data |= {"input_shape": (12, 12, 3), "epochs": 12, "batch_size": 16, "verbose": True}
    with pytest.raises(ShapeError, match=r"expected one-hot rows \(batch, 6, 6, 32\), received \(batch, 3\)"):
        run(CONVOLUTION + COMPILE + FIT, **data)
    twin = "from keras.layers import Flatten, Dense\nmodel.add(Flatten())\nmodel.add(Dense(3, activation='softmax'))\n"
    names = run(CONVOLUTION + twin + COMPILE + FIT, **data)
    with pytest.raises(StateError, match=r"metrics=\['accuracy'\]"):
        run(EVALUATE, **names)
    names = run(COMPILE.replace("'adam')", "'adam', metrics=['acc'])") + FIT + EVALUATE, **names)
    assert names["score"][1] > 0.9


def test_recurrent_layers_are_trained_on_any_length():
    rng = np.random.default_rng(0)
    data = {"num_features": 4, "num_classes": 3, "epochs": 4, "batch_size": 16, "verbose": True}
    names = run("from keras.layers import Dense" + STACKED_LSTM + COMPILE, **data)
    counts = []
    for length in (7, 12, 5):
        labels = rng.integers(0, 3, 32)
        x = rng.normal(size=(32, length, 4)) + labels[:, None, None]
        names |= {"X_train": x, "Y_train": np.eye(3)[labels], "X_test": x, "Y_test": np.eye(3)[labels]}
        names = run(FIT, **names)
        counts.append(compilation_count())
    assert counts[0] == counts[1] == counts[2]
    assert names["model"].history.history["val_loss"][-1] < 0.8  # ln 3 is 1.1


def test_words_are_trained_on():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 50, (96, 6))
    y = np.eye(2)[(x[:, 0] < 25).astype(int)]
    data = {"X_train": x, "Y_train": y, "X_test": x, "Y_test": y, "vocab_size": 50, "embedding_dim": 8, "maxlen": 6}
    data |= {"num_classes": 2, "epochs": 60, "batch_size": 8, "verbose": False}
    compile_ = "model.compile(loss='binary_crossentropy', optimizer='adam', metrics=['accuracy'])\n"
    names = run("from keras.layers import Flatten, Dense" + EMBEDDING + compile_ + FIT + EVALUATE, **data)
    assert names["score"][1] > 0.9


def test_an_ensemble_is_trained_once_its_inputs_are_kept():
    twin = ENSEMBLE.replace("branches = []", "from keras.layers import Concatenate\nbranches = []\nkept = []")
    twin = twin.replace("    # add some dense", "    kept.append(inputs)\n    # add some dense")
    twin = twin.replace("Model(inputs=inputs,", "Model(inputs=kept,").replace(
        "{'output_%d' % i: mae for i in range(num_sub_networks)}", "[mae]"
    )
    names = run(twin, num_sub_networks=3, timesteps=4, num_features=2, num_classes=2)
    model = names["model"]
    x = [np.random.default_rng(n).random((32, 4, 2)) for n in range(3)]
    y = np.full((32, *model.output_shape[0][1:]), 0.25)
    history = model.fit(x, y, epochs=30, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] / 2
    assert history["mean_absolute_error"][-1] < history["mean_absolute_error"][0]


@pytest.mark.parametrize("twin", ["model = Model(input_data, predictions)\n", "model = MyModel()\n"])
def test_a_subclass_is_trained(twin: str, capsys: pytest.CaptureFixture[str]):
    code = SUBCLASS.partition("model = MyModel()(input_data)")[0]
    names = run(code.replace("self.fc3 = Dense(16, activation='relu')", "self.fc3 = Dense(1, activation='sigmoid')"))
    names = run(twin + SUBCLASS_FIT, **names)
    assert names["model"].predict([[0.5, 0.6]], verbose=0).shape == (1, 1)
    assert "Epoch 5/5" in capsys.readouterr().out


def test_images_in_rows_and_a_forgotten_reshape():
    names = run(TWO_LAYERS)
    names = run(MNIST, **names)
    with pytest.raises(ShapeError, match=r"received \(360, 28, 28\). Reshape it: x.reshape\(-1, 784\)"):
        run(MNIST_SCORE, **names)
    names["x_test"] = names["x_test"].reshape(-1, 784) / 255
    assert run(MNIST_SCORE, **names)["score"][1] > 0.9
    prediction = run("import numpy as np" + PREDICT, model=names["model"])["prediction"]
    assert prediction.shape == (32, 10)


def test_an_old_import_path_is_trained():
    before = "from keras.models import Sequential\nmodel = Sequential()\n"
    names = run(before + OLD_IMPORT_PATH, num_classes=10)
    (x, y), _ = digits.load_data()
    names = run(COMPILE_BY_NAMES, **names)
    history = names["model"].fit(x.reshape(-1, 64) / 16, np.eye(10)[y], epochs=8, verbose=0).history
    assert history["accuracy"][-1] > 0.85
