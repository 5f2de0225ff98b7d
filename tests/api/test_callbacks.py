"""Callbacks in fit, evaluate and predict: hooks and logs, names, files, learning rates, averages."""

from __future__ import annotations

import csv
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import h5py
import numpy as np
import pytest

import kgraph as kg
from kgraph import callbacks as cb
from kgraph.callbacks.functions import HOOKS
from kgraph.errors import ArgumentError, DTypeError, KgraphWarning, StateError

RNG = np.random.default_rng(5)
X = RNG.standard_normal((10, 3)).astype("float32")
Y = RNG.integers(0, 2, 10)


def model_of(optimizer: Any = "sgd", metrics: Any = ("accuracy",), eagerly: bool = True) -> kg.Sequential:
    """A small classifier."""
    model = kg.Sequential([kg.Input((3,)), kg.layers.Dense(2, activation="softmax", name="out")])
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=list(metrics), run_eagerly=eagerly)
    return model


def fit(model: kg.Sequential, *callbacks: Any, **options: Any) -> cb.History:
    """A training without output; 2 batches an epoch."""
    return model.fit(X, Y, **{"batch_size": 5, "verbose": 0, "callbacks": list(callbacks), **options})


def recorder(calls: list[str]) -> cb.LambdaCallback:
    """Writes down every call: the hook, the number, and the names in the logs."""

    def hook(name: str) -> Any:
        return lambda *args: calls.append(" ".join([name[3:], *map(str, args[:-1]), ",".join(args[-1])]).strip())

    return cb.LambdaCallback(**{name: hook(name) for name in HOOKS if name not in ("on_batch_begin", "on_batch_end")})


def test_the_hooks_of_all_loops_come_in_keras_order():
    calls: list[str] = []
    model = model_of()
    fit(model, recorder(calls), epochs=1, validation_data=(X, Y))
    values, both = "accuracy,loss", "accuracy,loss,val_accuracy,val_loss"
    test = ["test_begin", "test_batch_begin 0", f"test_batch_end 0 {values}", "test_batch_begin 1",
            f"test_batch_end 1 {values}", f"test_end {values}"]  # fmt: skip
    assert calls == [
        "train_begin", "epoch_begin 0", "train_batch_begin 0", f"train_batch_end 0 {values}", "train_batch_begin 1",
        f"train_batch_end 1 {values}", *test, f"epoch_end 0 {both}", f"train_end {both}",
    ]  # fmt: skip
    calls.clear()
    model.evaluate(X, Y, 5, 0, callbacks=[recorder(calls)])
    assert calls == test
    calls.clear()
    model.predict(X, 5, 0, callbacks=[recorder(calls)])
    assert calls == ["predict_begin", "predict_batch_begin 0", "predict_batch_end 0 outputs", "predict_batch_begin 1",
                     "predict_batch_end 1 outputs", "predict_end"]  # fmt: skip
    assert len(HOOKS) == 16


def test_outputs_of_predicted_batches_are_handed_over():
    seen: list[Any] = []
    model = model_of(eagerly=False)
    keep = cb.LambdaCallback(on_predict_batch_end=lambda batch, logs: seen.append(logs["outputs"].copy()))
    np.testing.assert_array_equal(model.predict(X, 4, 0, callbacks=keep), np.concatenate(seen))
    assert [len(part) for part in seen] == [4, 4, 2]


@pytest.mark.parametrize("metric", ["acc", "accuracy"])
def test_old_and_new_names_find_the_same_values(metric: str):
    seen: list[Any] = []
    watch = cb.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append((logs["val_acc"], logs.get("val_accuracy"))))
    history = fit(model_of(metrics=[metric]), watch, validation_data=(X, Y)).history
    assert history["acc"] == history["accuracy"]
    assert [(history["val_acc"][0], history["val_accuracy"][0])] == seen
    assert list(history) == [metric, "loss", f"val_{metric}", "val_loss"]
    assert "val_mse" not in history
    assert history.get("val_mse") is None


def test_a_record_and_a_line_of_the_users_take_the_place_of_those_of_fit(capsys: pytest.CaptureFixture[str]):
    record = cb.History()
    assert fit(model_of(), record, cb.ProgbarLogger(), epochs=2) is record
    assert len(record.history["loss"]) == 2
    assert len(capsys.readouterr().out.splitlines()) == 2


MISSING = [
    (lambda: cb.EarlyStopping("val_los"), r"monitor='val_los'\): the logs have no such value. Known: loss, a"),
    (lambda: cb.EarlyStopping(), r"monitor='val_loss'\): the logs have no such value. Give fit validation_data"),
    (lambda: cb.ReduceLROnPlateau("val_acc"), r"the logs have no such value. Give fit validation_data"),
    (lambda: cb.ModelCheckpoint("{val_loss}.h5"), r"the logs have no 'val_loss'"),
    (lambda: cb.ModelCheckpoint("{batch}.h5"), r"the logs have no 'batch'"),
    (lambda: cb.ModelCheckpoint("{acc:d}.h5"), r"ModelCheckpoint\(filepath='{acc:d}.h5'\): Unknown format code"),
    (lambda: cb.ModelCheckpoint(Path(__file__) / "a.h5"), "expected a folder that can be written"),
    (lambda: cb.ModelCheckpoint("a.h5", save_best_only=True, monitor="los"), "monitor='los'"),
    (lambda: cb.EarlyStopping("own"), r"monitor='own'\): more or less may be better. Pass mode='max' or mode='min'"),
]


def own(y_true: Any, y_pred: Any) -> Any:
    """A metric of the user's."""
    return kg.ops.max(y_pred, axis=-1)


@pytest.mark.parametrize(("make", "message"), MISSING)
def test_wrong_names_are_found_before_the_first_epoch(make: Any, message: str):
    model = model_of(metrics=["accuracy", own])
    with pytest.raises(ArgumentError, match=message):
        fit(model, make())
    assert int(model.optimizer.iterations) == 0
    fit(model)


def test_names_that_other_callbacks_add_are_known():
    adds = cb.LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(mine=-epoch))
    history = fit(model_of(), adds, cb.EarlyStopping("mine", mode="max", patience=2), epochs=9)
    assert history.history["mine"] == [0, -1, -2]
    lr = cb.EarlyStopping("learning_rate", mode="min")
    assert len(fit(model_of(), cb.StepDecay(0.1, 2), lr, epochs=9).epoch) == 2
    with pytest.warns(KgraphWarning, match="EarlyStopping: no 'x' in the logs of this epoch, only: accuracy, loss, m"):
        fit(model_of(), adds, cb.EarlyStopping("x", mode="max"))


@pytest.mark.parametrize(("metric", "rises"), [("accuracy", True), ("mse", False), ("loss", False)])
def test_the_direction_is_that_of_the_metric(metric: str, rises: bool):
    model = kg.Sequential([kg.Input((3,)), kg.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mse", "accuracy"], run_eagerly=True)
    stopping = cb.EarlyStopping(metric)
    fit(model, stopping)
    assert stopping.is_better(2.0, than=1.0) is rises
    assert stopping.is_better(1.0, than=2.0) is not rises


def test_the_rate_can_be_set_between_batches():
    """Native code reads it anew at each step: with rate 0 nothing moves."""
    model = model_of(kg.optimizers.SGD(0.5), eagerly=False)
    seen = [model.get_weights()[0]]

    def begin(batch: int, logs: Any) -> None:
        model.optimizer.learning_rate = 0.5 * batch

    fit(model, cb.LambdaCallback(on_batch_begin=begin, on_batch_end=lambda *_: seen.append(model.get_weights()[0])))
    np.testing.assert_array_equal(seen[0], seen[1])
    assert np.abs(seen[2] - seen[1]).max() > 1e-3


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (cb.LearningRateScheduler(lambda epoch: 0.1 * (epoch + 1)), [0.1, 0.2, 0.3]),
        (cb.LearningRateScheduler(lambda epoch, rate: rate / 2), [0.25, 0.125, 0.0625]),
        (cb.StepDecay(0.4, 2, 0.5), [0.4, 0.4, 0.2]),
        (cb.MultiStepDecay(0.4, [1, 2]), [0.4, 0.04, 0.004]),
        (cb.CosineAnnealing(0.4, 2), [0.4, 0.2, 0.0]),
    ],
)
def test_schedules_count_epochs(schedule: Any, rates: list[float]):
    history = fit(model_of(kg.optimizers.SGD(0.5)), schedule, epochs=3)
    np.testing.assert_allclose(history.history["lr"], rates, rtol=1e-6, atol=1e-8)


def test_rates_that_cannot_be_set_are_found_before_the_first_epoch():
    for callback in (cb.ReduceLROnPlateau("loss"), cb.StepDecay(0.1, 2)):
        model = model_of(kg.optimizers.SGD(kg.optimizers.schedules.CosineDecay(0.1, 10)))
        with pytest.raises(DTypeError, match="the optimizer has a learning-rate schedule: expected a number"):
            fit(model, callback)
        assert int(model.optimizer.iterations) == 0
    with pytest.raises(DTypeError, match=r"schedule\(0\): expected a float, received 'fast'"):
        fit(model_of(), cb.LearningRateScheduler(lambda epoch: "fast"))


def two_optimizers(form: str = "map", **options: Any) -> tuple[kg.optimizers.MultiOptimizer, dict[str, Any]]:
    """One optimizer for kernels, another for biases, and what each is called in logs."""
    kernels, biases = kg.optimizers.Adam(0.5, **options), kg.optimizers.SGD(0.125)
    by_path = kg.optimizers.OptimizerMap(kernels, {".*bias": biases})
    both = kg.optimizers.MultiOptimizer(by_path if form == "map" else lambda v: by_path[v.path])
    return both, {f"learning_rate_{own.name}": own for own in (kernels, biases)}


@pytest.mark.parametrize("form", ["map", "function"])
@pytest.mark.parametrize("stream", [False, True])
def test_rates_of_several_optimizers_are_set_and_recorded(form: str, stream: bool, capsys: pytest.CaptureFixture[str]):
    both, named = two_optimizers(form)
    halves = cb.LearningRateScheduler(lambda epoch, rate: rate / 2, verbose=1)
    data = (iter([(X, Y)] * 2),) if stream else (X, Y)
    model = model_of(both)
    history = model.fit(*data, epochs=2, steps_per_epoch=1, verbose=0, callbacks=[halves]).history
    kernels, biases = named
    assert (history[kernels], history[biases]) == ([0.25, 0.125], [0.0625, 0.03125])
    assert [float(own.learning_rate) for own in named.values()] == [0.125, 0.03125]
    assert (
        f"Epoch 2: LearningRateScheduler setting {both.optimizers[-1].name} learning rate to" in capsys.readouterr().out
    )
    history = fit(model, cb.ReduceLROnPlateau("loss", 0.5, patience=1, min_delta=9.0, min_lr=0.0625), epochs=4).history
    assert (history[kernels], history[biases]) == ([0.125, 0.125, 0.0625, 0.0625], [0.03125] * 4)


@pytest.mark.parametrize("form", ["map", "function"])
def test_rates_of_several_optimizers_can_be_monitored(form: str):
    both, (rate, _) = two_optimizers(form)
    stops = cb.EarlyStopping(rate, mode="max")
    scheduler = cb.LearningRateScheduler(lambda epoch, rate: rate / 2)
    assert len(fit(model_of(both), scheduler, stops, epochs=5).history[rate]) == 2
    with pytest.raises(ArgumentError, match=r"monitor='learning_rate'.*the logs have no such value"):
        fit(model_of(both), scheduler, cb.EarlyStopping("learning_rate", mode="max"))


def test_a_schedule_of_one_of_several_optimizers_is_found_before_the_first_epoch():
    schedule = kg.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    by_path = kg.optimizers.OptimizerMap(kg.optimizers.SGD(0.1), {".*bias": kg.optimizers.SGD(schedule)})
    with pytest.raises(DTypeError, match="LearningRateScheduler: the optimizer has a learning-rate schedule"):
        fit(model_of(kg.optimizers.MultiOptimizer(by_path)), cb.LearningRateScheduler(lambda epoch: 0.1))


def test_training_ends_with_the_batch_whose_loss_is_nan(capsys: pytest.CaptureFixture[str]):
    x = X.copy()
    x[2] = np.nan
    model, options = model_of(eagerly=False), {"shuffle": False, "verbose": 0, "batch_size": 2}
    with pytest.warns(KgraphWarning):
        history = model.fit(x, Y, callbacks=cb.TerminateOnNaN(), epochs=3, **options)
    assert history.epoch == [0]
    assert int(model.optimizer.iterations) == 2
    assert capsys.readouterr().out == "Batch 1: Invalid loss, terminating training\n"
    with pytest.warns(KgraphWarning), pytest.raises(StateError, match="loss at batch 0: expected a finite number"):
        model.fit(x, Y, callbacks=cb.TerminateOnNaN(raise_error=True), **options)


def test_early_stopping_restores_the_best_weights():
    model = model_of(kg.optimizers.SGD(0.5))
    seen: list[Any] = []

    def keep(epoch: int, logs: Any) -> None:
        logs["v"] = abs(epoch - 1)
        seen.append(model.get_weights())

    keeper = cb.LambdaCallback(on_epoch_end=keep)
    fit(model, keeper, cb.EarlyStopping("v", mode="min", patience=2, restore_best_weights=True), epochs=9)
    assert len(seen) == 4
    np.testing.assert_array_equal(model.get_weights()[0], seen[1][0])


def test_checkpoints_are_named_by_the_logs_and_read_with_h5py(tmp_path: Path):
    model = kg.Sequential(
        [kg.Input((3,)), kg.layers.BatchNormalization(name="norm"), kg.layers.Dense(2, activation="softmax")]
    )
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["acc"], run_eagerly=True)
    path = tmp_path / "new" / "weights.{epoch:02d}-{val_acc:.2f}.hdf5"
    saver = cb.ModelCheckpoint(str(path), monitor="val_acc", save_best_only=False, mode="auto", period=1)
    history = fit(model, saver, epochs=2, validation_data=(X, Y)).history
    names = [f"weights.{n + 1:02d}-{value:.2f}.hdf5" for n, value in enumerate(history["val_acc"])]
    assert sorted(found.name for found in path.parent.iterdir()) == names
    with h5py.File(path.parent / names[1]) as file:
        layers = [name.decode() for name in file.attrs["layer_names"]]
        assert layers[-2] == "norm"
        arrays = [file[layer][name][()] for layer in layers for name in file[layer].attrs["weight_names"]]
        assert file["norm"].attrs["weight_names"].tolist()[0].endswith(b"gamma:0")
    for found, expected in zip(arrays, model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_checkpoints_by_batches_and_periods(tmp_path: Path):
    fit(model_of(), cb.ModelCheckpoint(tmp_path / "b{epoch}-{batch}.h5", save_freq=3), epochs=3)
    fit(model_of(), cb.ModelCheckpoint(tmp_path / "p{epoch}.weights.h5", save_weights_only=True, period=3), epochs=8)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b2-1.h5", "b3-2.h5", "p3.weights.h5", "p6.weights.h5"]


def test_long_lists_of_names_are_cut(tmp_path: Path):
    names = [f"layer_{n}_{'x' * 200}" for n in range(400)]
    model = kg.Sequential([kg.Input((2,)), *(kg.layers.Activation("relu", name=name) for name in names)])
    kg.weights_h5.write_weights(model, tmp_path / "many.h5")
    with h5py.File(tmp_path / "many.h5") as file:
        parts = [file.attrs[f"layer_names{n}"] for n in range(2)]
    assert [name.decode() for part in parts for name in part][-400:] == names


def test_a_table_of_the_epochs(tmp_path: Path):
    path, model = tmp_path / "log.csv", model_of()
    first = fit(model, cb.CSVLogger(path), epochs=2).history
    second = fit(model, cb.CSVLogger(path, append=True)).history
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["0", "1", "0"]
    assert [float(row["loss"]) for row in rows] == [*first["loss"], *second["loss"]]
    assert rows[0]["val_loss"] == "NA"
    fit(model, cb.CSVLogger(path, separator=";"), validation_data=(X, Y))
    assert path.read_text().splitlines()[0] == "epoch;accuracy;loss;val_accuracy;val_loss"


def test_means_weighted_by_the_sizes_of_batches():
    logger, logs = cb.BaseLogger(stateful_metrics=["last"]), {"loss": 7.0}
    logger.on_epoch_begin(0)
    for size, loss in ((4, 1.0), (1, 6.0)):
        logger.on_train_batch_end(0, {"batch": 0, "size": size, "loss": loss, "last": loss})
    logger.on_epoch_end(0, logs)
    assert logs == {"loss": 2.0, "last": 6.0}
    model, other = model_of(), model_of()
    other.set_weights(model.get_weights())
    assert fit(model, cb.BaseLogger(), shuffle=False).history == fit(other, shuffle=False).history


@pytest.mark.parametrize("as_json", [False, True])
def test_values_are_sent_to_a_server(as_json: bool):
    got: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            """Silent."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        root = f"http://127.0.0.1:{server.server_port}"
        history = fit(model_of(), cb.RemoteMonitor(root, send_as_json=as_json)).history
    text = got[0].decode()
    sent = json.loads(text if as_json else parse_qs(text)["data"][0])
    assert sent == {"epoch": 0, **{name: values[0] for name, values in history.items()}}
    with pytest.warns(KgraphWarning, match="RemoteMonitor: cannot reach"):
        fit(model_of(), cb.RemoteMonitor(root))


def test_averages_stand_in_for_weights_while_testing():
    model = model_of(kg.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.5))
    weight = model.weights[0]
    seen: dict[str, Any] = {}

    def keep(name: str) -> Any:
        return lambda *_: seen.update({name: weight.value})

    before = cb.LambdaCallback(on_test_begin=keep("trained"), on_epoch_begin=keep("next epoch"))
    after = cb.LambdaCallback(on_test_begin=keep("tested"), on_epoch_end=keep("saved"))
    average: list[Any] = []
    look = cb.LambdaCallback(on_test_begin=lambda logs: average.append(model.optimizer.slot(weight, "average").value))
    fit(model, before, look, cb.SwapEMAWeights(swap_on_epoch=True), after, epochs=2, validation_data=(X, Y))
    assert np.abs(seen["trained"] - seen["tested"]).max() > 1e-3
    np.testing.assert_array_equal(seen["tested"], average[-1])
    np.testing.assert_array_equal(seen["saved"], average[-1])
    np.testing.assert_array_equal(weight.value, average[-1])
    with pytest.raises(StateError, match="SwapEMAWeights: expected an optimizer with use_ema=True"):
        fit(model_of(), cb.SwapEMAWeights())


@pytest.mark.parametrize("form", ["map", "function"])
def test_averages_of_one_of_several_optimizers_are_shown(form: str):
    both, _ = two_optimizers(form, use_ema=True, ema_momentum=0.5)
    model = model_of(both)
    seen: dict[str, Any] = {}
    before = cb.LambdaCallback(on_test_begin=lambda logs: seen.update(trained=model.get_weights()))
    after = cb.LambdaCallback(on_test_begin=lambda logs: seen.update(tested=model.get_weights()))
    fit(model, before, cb.SwapEMAWeights(), after, validation_data=(X, Y))
    for variable, trained, tested in zip(model.weights, seen["trained"], seen["tested"], strict=True):
        assert (trained != tested).any() == (variable.name == "kernel")


def test_misspelt_hooks_and_addresses():
    with pytest.raises(ArgumentError, match=r"no hook 'on_epoch_ended'. Did you mean 'on_epoch_end'"):
        cb.LambdaCallback(on_epoch_ended=print)
    with pytest.raises(ArgumentError, match=r"RemoteMonitor\(root\): expected an address"):
        cb.RemoteMonitor("file:///tmp")


def test_a_list_of_callbacks_serves_a_loop_of_ones_own_and_fit():
    calls: list[str] = []
    model = model_of()
    hooks = cb.CallbackList([recorder(calls)], add_history=True, add_progbar=True, model=model, epochs=2, steps=1)
    kinds = [type(callback) for callback in hooks.callbacks]
    assert kinds == [cb.LambdaCallback, cb.History, cb.ProgbarLogger]
    assert all(callback.model is model and callback.params == {"epochs": 2, "steps": 1} for callback in hooks.callbacks)
    history = cb.History()
    again = cb.CallbackList([history], add_history=True)
    assert again.callbacks == [history]
    again.on_train_begin()
    again.on_epoch_end(0, {"loss": 0.5})
    assert history.history == {"loss": [0.5]}
    assert model.fit(X, Y, verbose=0, callbacks=again) is history
    assert set(history.history) == {"accuracy", "loss"}
