"""Training loops: the same numbers as Keras would give, in both ways of running, with one compilation per program."""

from __future__ import annotations

import os
import signal
from typing import Any

import numpy as np
import pytest

from kgraph.callbacks import Callback, History
from kgraph.config import compilation_count
from kgraph.layers import Activation, Dense, Dropout, Flatten
from kgraph.losses import MeanSquaredError
from kgraph.metrics import MeanAbsoluteError
from kgraph.models import Input, Model, Sequential
from kgraph.optimizers import SGD
from kgraph.random_seed import set_random_seed

WAYS = pytest.mark.parametrize("eagerly", [False, True], ids=["native", "interpreter"])


def classifier(eagerly: bool = False, dropout: float = 0.0) -> Sequential:
    set_random_seed(3)
    layers = [Dense(8, activation="tanh", input_shape=(5,)), Dropout(dropout), Dense(3, activation="softmax")]
    model = Sequential(layers)
    model.compile(SGD(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=eagerly)
    return model


def points(rows: int = 50) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(rows, 5)).astype("float32")
    return x, np.argmax(x[:, :3], axis=1)


class LinearOracle:
    """Least squares by gradient descent, in float64."""

    def __init__(self, weight: np.ndarray, rate: float) -> None:
        self.weight, self.rate = weight.astype("float64"), rate

    def loss(self, x: np.ndarray, y: np.ndarray, w: np.ndarray | None = None) -> float:
        squares = ((x @ self.weight - y) ** 2).mean(-1)
        return float((squares if w is None else squares * w).mean())

    def step(self, x: np.ndarray, y: np.ndarray) -> None:
        self.weight -= self.rate * 2 * x.T @ (x @ self.weight - y) / len(x) / y.shape[1]


def linear(eagerly: bool = False, **kwargs: Any) -> tuple[Sequential, LinearOracle, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(10, 3)), rng.normal(size=(10, 2))
    model = Sequential([Dense(2, use_bias=False, input_shape=(3,))])
    model.compile(SGD(0.1), "mse", run_eagerly=eagerly, **kwargs)
    return model, LinearOracle(model.get_weights()[0], 0.1), x, y


@WAYS
def test_fit_reports_the_mean_of_the_batches_weighted_by_size(eagerly: bool):
    model, oracle, x, y = linear(eagerly, metrics=["mae"])
    history = model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0).history
    expected = []
    for _ in range(3):
        total = 0.0
        for start in (0, 4, 8):
            rows = slice(start, start + 4)
            total += oracle.loss(x[rows], y[rows]) * len(x[rows])
            oracle.step(x[rows], y[rows])
        expected.append(total / 10)
    np.testing.assert_allclose(history["loss"], expected, rtol=1e-5)
    np.testing.assert_allclose(model.get_weights()[0], oracle.weight, rtol=1e-5, atol=1e-6)
    assert list(history) == ["loss", "mae"]


@WAYS
def test_validation_takes_the_last_rows_before_shuffling(eagerly: bool):
    model, oracle, x, y = linear(eagerly)
    before = oracle.loss(x[7:], y[7:])
    model.optimizer.learning_rate = 0.0
    history = model.fit(x, y, validation_split=0.3, verbose=0).history
    np.testing.assert_allclose(history["val_loss"], [before], rtol=1e-5)
    np.testing.assert_allclose(history["loss"], [oracle.loss(x[:7], y[:7])], rtol=1e-5)
    weights = np.arange(10.0)
    history = model.fit(x, y, validation_data=(x, y, weights), verbose=0).history
    np.testing.assert_allclose(history["val_loss"], [oracle.loss(x, y, weights)], rtol=1e-5)


@WAYS
def test_sample_weights_scale_the_loss(eagerly: bool):
    model, oracle, x, y = linear(eagerly, weighted_metrics=[MeanAbsoluteError("wmae")], metrics=["mae"])
    weights = np.linspace(0, 2, 10)
    values = model.evaluate(x, y, batch_size=10, sample_weight=weights, verbose=0, return_dict=True)
    errors = np.abs(x @ oracle.weight - y).mean(-1)
    assert list(values) == ["loss", "mae", "wmae"]
    np.testing.assert_allclose(values["loss"], oracle.loss(x, y, weights), rtol=1e-5)
    np.testing.assert_allclose(values["mae"], errors.mean(), rtol=1e-5)
    np.testing.assert_allclose(values["wmae"], (errors * weights).sum() / weights.sum(), rtol=1e-5)


def test_the_same_seed_gives_the_same_run_in_both_ways():
    x, y = points()
    results = []
    for eagerly in (False, True, False):
        model = classifier(eagerly, dropout=0.3)
        history = model.fit(x, y, batch_size=8, epochs=3, validation_split=0.2, verbose=0).history
        results.append((history, model.get_weights()))
    (native, weights), (interpreted, others), (again, same) = results
    for name, values in native.items():
        np.testing.assert_allclose(values, interpreted[name], rtol=1e-5)
    for a, b, c in zip(weights, others, same, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(a, c)
    assert native == again


def test_one_compilation_per_program_serves_every_batch_size():
    x, y = points()
    model = classifier()
    count = compilation_count()
    model.fit(x, y, batch_size=16, epochs=2, validation_data=(x[:7], y[:7]), verbose=0)
    assert compilation_count() == count + 2
    model.predict(x)
    assert compilation_count() == count + 3
    model.fit(x[:13], y[:13], batch_size=5, verbose=0)
    model.evaluate(x, y, batch_size=7, verbose=0)
    model.predict(x[:1])
    model.predict(x, batch_size=50)
    model.train_on_batch(x[:3], y[:3])
    model.test_on_batch(x[:4], y[:4])
    model.predict_on_batch(x[:2])
    assert compilation_count() == count + 3


def test_training_learns():
    x, y = points(300)
    model = classifier()
    model.fit(x, y, epochs=60, verbose=0)
    loss, accuracy = model.evaluate(x, y, verbose=0)
    assert accuracy > 0.9
    assert loss < 0.3
    assert (model.predict(x, verbose=0).argmax(-1) == y).mean() == pytest.approx(accuracy, abs=1e-6)


def test_shuffling_visits_every_row_once():
    rows = np.arange(25.0)[:, None]
    model = Sequential([Dense(1, use_bias=False, kernel_initializer="zeros", input_shape=(1,))])
    model.compile(SGD(0.0), "mae")
    seen: list[float] = []

    class Watch(Callback):
        """Notes the mean label of each batch."""

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append(logs["loss"])

    model.fit(rows, rows, batch_size=1, verbose=0, callbacks=Watch())
    labels = np.diff(np.array(seen) * np.arange(1, 26), prepend=0)
    assert sorted(np.round(labels, 3)) == list(range(25))
    assert list(np.round(labels, 3)) != list(range(25))


def test_evaluate_and_batches_report_as_keras_does():
    model, oracle, x, y = linear()
    score = model.evaluate(x, y, verbose=0)
    assert isinstance(score, float)
    assert model.train_on_batch(x, y) == pytest.approx(oracle.loss(x, y), rel=1e-5)
    oracle.step(x, y)
    assert model.test_on_batch(x, y, return_dict=True) == {"loss": pytest.approx(oracle.loss(x, y), rel=1e-5)}
    model.compile("sgd", "mse", metrics=["mae", "mse"])
    loss, mae, mse = model.evaluate(x, y, verbose=0)
    assert model.metrics_names == ["loss", "mae", "mse"]
    assert loss == pytest.approx(mse)
    assert mae != loss


def two_outputs(**kwargs: Any) -> tuple[Model, dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    inputs = Input((4,), name="x")
    hidden = Dense(3, name="hidden")(inputs)
    model = Model(inputs, [Dense(1, name="a")(hidden), Dense(3, activation="softmax", name="b")(hidden)])
    model.compile("sgd", **kwargs)
    labels = np.eye(3)[rng.integers(0, 3, 6)]
    return model, {"x": rng.normal(size=(6, 4)), "a": rng.normal(size=(6, 1)), "b": labels}


@WAYS
def test_several_outputs_have_losses_weights_and_metrics_of_their_own(eagerly: bool):
    model, data = two_outputs(
        loss=["mse", "categorical_crossentropy"], loss_weights=[1, 0.5], metrics=[["mae"], ["accuracy"]],
        run_eagerly=eagerly,
    )  # fmt: skip
    values = model.evaluate(data["x"], [data["a"], data["b"]], verbose=0, return_dict=True)
    a, b = model.predict(data["x"], verbose=0)
    expected = {
        "a_loss": ((a - data["a"]) ** 2).mean(),
        "a_mae": np.abs(a - data["a"]).mean(),
        "b_accuracy": (b.argmax(-1) == data["b"].argmax(-1)).mean(),
        "b_loss": -np.log((b * data["b"]).sum(-1)).mean(),
    }
    expected["loss"] = expected["a_loss"] + 0.5 * expected["b_loss"]
    assert list(values) == sorted(expected)
    for name, value in expected.items():
        assert values[name] == pytest.approx(value, rel=1e-5)
    assert model.metrics_names == ["loss", "a_loss", "b_loss", "a_mae", "b_accuracy"]
    history = model.fit(data["x"], {"a": data["a"], "b": data["b"]}, epochs=2, verbose=0).history
    assert list(history) == sorted(expected)


def test_losses_and_metrics_may_be_given_by_output_name():
    model, data = two_outputs(loss={"b": "categorical_crossentropy"}, metrics={"b": "accuracy"})
    values = model.evaluate({"x": data["x"]}, [data["a"], data["b"]], verbose=0, return_dict=True)
    assert list(values) == ["b_accuracy", "loss"]


def test_data_arrive_in_every_form():
    x, y = points(12)
    model = classifier()
    expected = model.predict(x, verbose=0)
    whole = np.round(x * 10)
    for given in (
        x.astype("float64"),
        x.astype(">f4"),
        np.asfortranarray(x),
        np.repeat(x, 2, axis=0)[::2],
        x.tolist(),
        [x],
        {model.input_specs()[0][0]: x},
    ):
        np.testing.assert_allclose(model.predict(given, verbose=0), expected, rtol=1e-6)
    for dtype in ("int8", "int64", ">i4", "float16"):
        np.testing.assert_allclose(model.predict(whole.astype(dtype)), model.predict(whole), rtol=1e-6)
    bits = x > 0
    np.testing.assert_allclose(model.predict(bits), model.predict(bits.astype("float32")), rtol=1e-6)
    losses = {
        round(model.evaluate(x, labels, verbose=0)[0], 5)
        for labels in (y, y[:, None], y.astype("uint8"), y.astype("float64"), y.astype(">i8"), y.tolist())
    }
    assert len(losses) == 1


def test_images_of_bytes_are_taken():
    images = np.random.default_rng(0).integers(0, 256, (9, 4, 4), dtype="uint8")
    model = Sequential([Flatten(input_shape=(4, 4)), Dense(1), Activation("sigmoid")])
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    assert list(model.fit(images, np.arange(9) % 2, verbose=0).history) == ["accuracy", "loss"]


def test_predict_of_nothing_gives_nothing_of_the_right_shape():
    model = classifier()
    assert model.predict(np.zeros((0, 5))).shape == (0, 3)
    assert model.predict(points(3)[0]).shape == (3, 3)


def test_a_model_waits_for_its_first_data():
    model = Sequential([Dense(4, activation="relu"), Dense(1)])
    model.compile(loss=MeanSquaredError())
    x = np.random.default_rng(0).integers(0, 9, (6, 2))
    assert len(model.fit(x, x.sum(1), epochs=2, verbose=0).history["loss"]) == 2
    assert model.count_params() == 4 * 3 + 5
    assert type(model.optimizer).__name__ == "RMSprop"


def test_a_dict_of_outputs_is_reported_in_the_order_of_its_losses():
    inputs = Input((4,))
    model = Model(inputs, {"z": Dense(1)(inputs), "b": Dense(2)(inputs)})
    model.compile("sgd", {"z": "mae", "b": "mse"}, metrics={"z": ["mse"], "b": ["mae"]}, run_eagerly=True)
    x, y = np.ones((6, 4)), {"b": np.zeros((6, 2)), "z": np.zeros(6)}
    history = model.fit(x, y, verbose=0, validation_split=0.5).history
    assert list(history) == sorted(history)
    assert len(history) == 10
    assert model.metrics_names == ["loss", "z_loss", "b_loss", "b_mae", "z_mse"]


class Recorder(Callback):
    """Notes every hook."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self.calls.append(f"begin {self.params['epochs']} {self.params['steps']}")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.calls.append(f"epoch {epoch}")

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.calls.append(f"batch {batch}")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.calls.append(",".join(logs))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.calls.append(",".join(logs))
        self.model.stop_training = epoch == 2

    def on_train_end(self, logs: Any = None) -> None:
        self.calls.append("end")


def test_callbacks_are_called_in_order_and_may_stop_training():
    x, y = points(6)
    model, recorder = classifier(), Recorder()
    history = model.fit(x, y, 4, 9, 0, recorder, initial_epoch=2, validation_data=(x, y))
    steps = ["batch 0", "accuracy,loss", "batch 1", "accuracy,loss"]
    assert recorder.calls == ["begin 9 2", "epoch 2", *steps, "accuracy,loss,val_accuracy,val_loss", "end"]
    assert history.epoch == [2]
    assert history.params == {"verbose": 0, "epochs": 9, "steps": 2}
    assert history is model.history


class PressesCtrlC(Callback):
    """Presses Ctrl-C in the middle of the second epoch."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self.model.optimizer.iterations.numpy() == 4:
            os.kill(os.getpid(), signal.SIGINT)


@WAYS
def test_ctrl_c_ends_after_a_whole_step_and_keeps_the_record(eagerly: bool):
    x, y = points(30)
    model = classifier(eagerly)
    with pytest.raises(KeyboardInterrupt):
        model.fit(x, y, batch_size=10, epochs=5, shuffle=False, verbose=0, callbacks=PressesCtrlC())
    assert isinstance(model.history, History)
    assert model.history.epoch == [0]
    assert model.optimizer.iterations.numpy() == 5
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    interrupted = model.get_weights()
    other = classifier(eagerly)
    other.fit(x, y, batch_size=10, epochs=1, shuffle=False, verbose=0)
    for start in (0, 10):
        other.train_on_batch(x[start : start + 10], y[start : start + 10])
    for a, b in zip(interrupted, other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    model.fit(x, y, verbose=0)


def test_verbosity(capsys: pytest.CaptureFixture[str]):
    x, y = points(10)
    model = classifier()
    model.fit(x, y, epochs=2, batch_size=5, validation_data=(x, y))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("Epoch 2/2  2/2  ")
    assert "val_loss: " in lines[1]
    model.evaluate(x, y, batch_size=5)
    assert capsys.readouterr().out.startswith("2/2  ")
    model.fit(x, y, verbose=0)
    model.evaluate(x, y, verbose=0)
    model.predict(x)
    assert capsys.readouterr().out == ""


def test_a_line_moves_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("kgraph.progress.ProgressLine.due", lambda self: True)
    monkeypatch.setattr("kgraph.callbacks.progress_bar.on_terminal", lambda: True)
    x, y = points(10)
    classifier().fit(x, y, batch_size=5)
    out = capsys.readouterr().out
    assert out.count("\r") == 3
    assert "Epoch 1/1  1/2 [============>           ]" in out
    assert out.endswith("\n")


def test_compiling_twice_keeps_the_weights():
    x, y = points(10)
    model = classifier()
    model.fit(x, y, verbose=0)
    weights = model.get_weights()
    model.compile("adam", "sparse_categorical_crossentropy")
    for a, b in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert isinstance(model.evaluate(x, y, verbose=0), float)


def test_layers_added_or_frozen_later_are_seen():
    x, y = points(10)
    model = classifier()
    model.fit(x, y, verbose=0)
    model.layers[0].trainable = False
    frozen = model.layers[0].get_weights()[0]
    model.fit(x, y, verbose=0)
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], frozen)
    model.add(Dense(3, activation="softmax"))
    model.fit(x, y, verbose=0)
    assert model.predict(x).shape == (10, 3)


def test_float64_models_train(rng: np.random.Generator):
    model = Sequential([Dense(1, input_shape=(2,), dtype="float64")])
    model.compile(SGD(0.1), "mse", metrics=["mae"])
    x = rng.normal(size=(20, 2))
    model.fit(x, x @ [[1.0], [2.0]], epochs=200, verbose=0)
    np.testing.assert_allclose(model.get_weights()[0], [[1], [2]], atol=1e-3)


def test_old_spelling_of_epochs():
    x, y = points(5)
    with pytest.warns(UserWarning, match="old name of epochs"):
        assert classifier().fit(x, y, nb_epoch=2, verbose=0).epoch == [0, 1]


def test_dump_shows_each_program():
    model = classifier()
    assert "softmax" in model.dump("traced", "predict")
    assert "gradient" in model.dump("traced")
    assert "gradient" not in model.dump("optimized")
    assert "total" in model.dump("traced", "evaluate")
