"""Drive the callbacks of Keras itself with made-up logs and record what they do; writes callbacks.json beside this file.

Run with Keras 3.15.1: `python tests/golden/record_callbacks.py`. Never run with this project.
"""

import json
import os
import pathlib
import warnings

import numpy as np

CURVES = {
    "falls then rises": [1.0, 0.8, 0.7, 0.65, 0.66, 0.7, 0.64, 0.69, 0.68, 0.71, 0.72, 0.75, 0.8, 0.9],
    "small steps": [1.0, 0.995, 0.99, 0.985, 0.98, 0.975, 0.97, 0.965, 0.96, 0.955, 0.95, 0.945, 0.94, 0.935],
    "noise": np.round(np.random.default_rng(7).uniform(0.2, 1.0, 24), 4).tolist(),
    "flat": [0.5] * 12,
    "rises": [0.3, 0.4, 0.5, 0.45, 0.55, 0.54, 0.53, 0.56, 0.5, 0.57, 0.6, 0.59],
    "with nan": [0.9, 0.8, float("nan"), 0.7, 0.75, float("nan"), 0.72, 0.71, 0.69, 0.7],
}
STOPPING = [
    {}, {"patience": 2}, {"patience": 3, "min_delta": 0.02}, {"patience": 2, "mode": "max"},
    {"patience": 1, "baseline": 0.6}, {"patience": 3, "baseline": 0.66, "restore_best_weights": True},
    {"patience": 2, "start_from_epoch": 4}, {"patience": 2, "restore_best_weights": True},
    {"patience": 4, "mode": "max", "min_delta": -0.05, "restore_best_weights": True},
]  # fmt: skip
REDUCING = [
    {"patience": 1}, {"patience": 2, "factor": 0.5}, {"patience": 1, "cooldown": 2, "factor": 0.5},
    {"patience": 2, "mode": "max", "factor": 0.3}, {"patience": 1, "min_lr": 0.02, "factor": 0.5},
    {"patience": 0, "factor": 0.5, "min_delta": 0.02},
]  # fmt: skip
SAVING = [
    {}, {"mode": "max"}, {"initial_value_threshold": 0.6}, {"mode": "max", "initial_value_threshold": 0.45},
]  # fmt: skip


class FakeOptimizer:
    """Has a rate as float32, as variables are."""

    def __init__(self):
        self._rate = np.float32(0.1)

    @property
    def learning_rate(self):
        return self._rate

    @learning_rate.setter
    def learning_rate(self, value):
        self._rate = np.float32(value)


class FakeModel:
    """The parts of a model that callbacks touch; its weights are the number of the epoch."""

    metrics = []

    def __init__(self):
        self.optimizer = FakeOptimizer()
        self.stop_training = False
        self.epoch = None
        self.saved = []

    def get_weights(self):
        return [np.array(self.epoch)]

    def set_weights(self, weights):
        self.epoch = int(weights[0])

    def save_weights(self, path, overwrite=True):
        self.saved.append(os.path.basename(path))


def drive(callback, curve):
    """Learning rates after the epochs, and the model at the end."""
    model = FakeModel()
    callback.set_model(model)
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


def main():
    import keras

    warnings.simplefilter("ignore")
    k = keras.callbacks
    stopping, reducing, saving = [], [], []
    for name, curve in CURVES.items():
        for options in STOPPING:
            callback = k.EarlyStopping("val_loss", **options)
            rates, model = drive(callback, curve)
            stopping.append({
                "curve": name, "options": options, "epochs": len(rates), "stopped_epoch": callback.stopped_epoch,
                "best_epoch": callback.best_epoch if "restore_best_weights" in options else None, "weights_of": model.epoch,
            })  # fmt: skip
        for options in REDUCING:
            reducing.append({"curve": name, "options": options,
                             "rates": drive(k.ReduceLROnPlateau("val_loss", **options), curve)[0]})  # fmt: skip
        for options in SAVING:
            callback = k.ModelCheckpoint("e{epoch:02d}-{val_loss:.3f}.weights.h5", save_best_only=True,
                                         save_weights_only=True, **options)  # fmt: skip
            saving.append({"curve": name, "options": options, "files": drive(callback, curve)[1].saved})
    record = {
        "origin": f"Keras {keras.__version__} ({keras.backend.backend()} backend), tests/golden/record_callbacks.py",
        "curves": CURVES, "EarlyStopping": stopping, "ReduceLROnPlateau": reducing, "ModelCheckpoint": saving,
    }  # fmt: skip
    # A line for each case.
    lines = [f'"{key}": {_rows(value)}' for key, value in record.items()]
    pathlib.Path(__file__).with_name("callbacks.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _rows(value):
    if isinstance(value, dict):
        return "{\n" + ",\n".join(f"{json.dumps(key)}: {json.dumps(row)}" for key, row in value.items()) + "\n}"
    return "[\n" + ",\n".join(map(json.dumps, value)) + "\n]" if isinstance(value, list) else json.dumps(value)


if __name__ == "__main__":
    main()
