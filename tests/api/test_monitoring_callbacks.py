"""EarlyStopping, ReduceLROnPlateau and ModelCheckpoint do at each epoch what Keras' do with the same values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kgraph as kg
from kgraph.callbacks import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from kgraph.callbacks.monitoring import MonitorCallback
from kgraph.errors import ArgumentError

RECORD = json.loads((Path(__file__).parents[1] / "golden" / "callbacks.json").read_text())


class StandIn:
    """The parts of a model that callbacks touch; its weights are the number of the epoch."""

    metrics_names = ("loss",)
    metrics = (None,)
    layers = ()

    def __init__(self) -> None:
        self.optimizer = kg.optimizers.SGD(0.1)
        self.stop_training = False
        self.epoch = 0

    def get_weights(self) -> list[Any]:
        return [np.array(self.epoch)]

    def set_weights(self, weights: list[Any]) -> None:
        self.epoch = int(weights[0])


def drive(callback: MonitorCallback, curve: list[float]) -> tuple[list[float], StandIn]:
    """Learning rates after the epochs, and the model at the end."""
    model = StandIn()
    callback.set_model(model)
    callback.check_names(["loss", "val_loss"], ["loss"])
    callback.on_train_begin()
    rates = []
    for epoch, value in enumerate(curve):
        model.epoch = epoch
        callback.on_epoch_begin(epoch, {})
        callback.on_epoch_end(epoch, {"loss": 0.1, "val_loss": value})
        rates.append(float(model.optimizer.learning_rate))
        if model.stop_training:
            break
    callback.on_train_end()
    return rates, model


def test_early_stopping_stops_at_keras_epochs():
    for row in RECORD["EarlyStopping"]:
        callback = EarlyStopping("val_loss", **row["options"])
        rates, model = drive(callback, RECORD["curves"][row["curve"]])
        assert (len(rates), callback.stopped_epoch, model.epoch) == (
            row["epochs"], row["stopped_epoch"], row["weights_of"]
        ), row  # fmt: skip
        assert row["best_epoch"] in (None, callback.best_epoch), row


def test_the_rate_falls_at_keras_epochs():
    for row in RECORD["ReduceLROnPlateau"]:
        rates, _ = drive(ReduceLROnPlateau("val_loss", **row["options"]), RECORD["curves"][row["curve"]])
        np.testing.assert_array_equal(rates, row["rates"], err_msg=str(row))


def test_the_best_are_saved_at_keras_epochs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    saved: list[str] = []
    monkeypatch.setattr("kgraph.callbacks.checkpoints.write_weights", lambda _, path: saved.append(Path(path).name))
    for row in RECORD["ModelCheckpoint"]:
        saved.clear()
        path = tmp_path / "e{epoch:02d}-{val_loss:.3f}.weights.h5"
        callback = ModelCheckpoint(path, save_best_only=True, save_weights_only=True, **row["options"])
        drive(callback, RECORD["curves"][row["curve"]])
        assert saved == row["files"], row


def test_epsilon_is_the_old_name_of_min_delta():
    assert ReduceLROnPlateau(epsilon=0.25).min_delta == 0.25


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EarlyStopping(mode="down"), r"EarlyStopping\(mode\): expected 'auto', 'min' or 'max', received"),
        (lambda: ReduceLROnPlateau(factor=1.5), r"ReduceLROnPlateau\(factor\): expected a number < 1, received 1.5"),
        (lambda: ModelCheckpoint("m.txt"), r"ModelCheckpoint\(filepath\): expected a name that ends in .h5"),
        (lambda: ModelCheckpoint("m.h5", save_freq=0), r"save_freq\): expected 'epoch' or an int >= 1, received 0"),
        (lambda: ModelCheckpoint("m.h5", period=0), r"ModelCheckpoint\(period\): expected an int >= 1, received 0"),
    ],
)
def test_wrong_arguments(make: Any, message: str):
    with pytest.raises(ArgumentError, match=message):
        make()
