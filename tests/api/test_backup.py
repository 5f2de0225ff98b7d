"""BackupAndRestore: an interrupted training goes on with the bits of one that was not."""


import numpy as np
import pytest

import kgraph
from kgraph import layers
from kgraph.callbacks import BackupAndRestore, Callback
from kgraph.errors import ArgumentError, DataError, KgraphWarning

X = np.random.default_rng(0).random((60, 4), dtype="float32")
Y = X.sum(1, keepdims=True)


class Stop(Exception):
    pass


class Break(Callback):
    """The power fails in this epoch, before this batch."""

    def __init__(self, epoch, batch):
        super().__init__()
        self.at, self.epoch = (epoch, batch), 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            raise Stop


def model(units=5):
    kgraph.utils.set_random_seed(4)
    made = kgraph.Sequential([kgraph.Input((4,)), layers.Dense(units, activation="relu"), layers.Dropout(0.4),
                              layers.BatchNormalization(), layers.Dense(1)], name="net")  # fmt: skip
    made.compile("adam", "mse", metrics=["mae"])
    return made


def fit(made, *callbacks, epochs=4, data=(X, Y), **options):
    history = made.fit(*data, batch_size=8 if len(data) == 2 else None, epochs=epochs, verbose=0,
                       callbacks=list(callbacks), **options)  # fmt: skip
    return history.history, [v.numpy() for v in [*made.variables, *made.optimizer.variables]]


def interrupted(folder, at, **options):
    """A training that stops, then the same in a new model, whose seeds are others."""
    saving = {name: options.pop(name) for name in ("save_freq", "double_checkpoint") if name in options}
    with pytest.raises(Stop):
        fit(model(), BackupAndRestore(folder, **saving), Break(*at), **options)
    again = model()
    for weights in again.weights:
        weights.set_value(weights.array * 0)
    kgraph.utils.set_random_seed(99)
    return fit(again, BackupAndRestore(folder, **saving), **options)


def equal(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("at", "options", "skipped"),
    [
        ((2, 3), {}, 2),
        ((1, 0), {}, 1),
        ((2, 5), {"save_freq": 3}, 2),
        ((3, 1), {"save_freq": 8}, 3),
        ((3, 2), {"steps_per_epoch": 4}, 3),
        ((2, 3), {"steps_per_epoch": 4, "save_freq": 2}, 2),
        ((2, 1), {"shuffle": False}, 2),
    ],
)
def test_the_bits_are_those_of_a_training_without_a_break(tmp_path, at, options, skipped):
    usual = {name: value for name, value in options.items() if name != "save_freq"}
    history, expected = fit(model(), **usual)
    # Where each batch is kept the training that failed lost those after the last file: it repeats them.
    resumed, found = interrupted(tmp_path / "backup", at, **options)
    equal(found, expected)
    assert resumed["loss"] == history["loss"][skipped:]
    assert not (tmp_path / "backup").exists()


def test_a_stream_drops_what_the_epoch_had(tmp_path):
    taken = []

    class Batches(kgraph.utils.PyDataset):
        def __len__(self):
            return 5

        def __getitem__(self, index):
            taken.append(index)
            return X[index * 8 : index * 8 + 8], Y[index * 8 : index * 8 + 8]

    _, expected = fit(model(), data=(Batches(),), shuffle=False)
    _, found = interrupted(tmp_path, (2, 3), save_freq=1, data=(Batches(),), shuffle=False)
    equal(found, expected)


def test_nothing_is_kept_unless_wanted(tmp_path):
    fit(model(), BackupAndRestore(tmp_path / "kept", delete_checkpoint=False))
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["training_state.npz"]
    history, _ = fit(model(), BackupAndRestore(tmp_path / "kept"), epochs=6)
    assert len(history["loss"]) == 2


@pytest.mark.parametrize("damage", ["cut", "empty", "text"])
def test_a_damaged_file(tmp_path, damage):
    with pytest.raises(Stop):
        fit(model(), BackupAndRestore(tmp_path, double_checkpoint=True), Break(2, 3))
    path = tmp_path / "training_state.npz"
    content = path.read_bytes()
    path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "text": b"not a file"}[damage])
    with pytest.warns(KgraphWarning, match="cannot be read .*; the one before it is used"):
        _, found = fit(model(), BackupAndRestore(tmp_path, double_checkpoint=True, delete_checkpoint=False))
    equal(found, fit(model())[1])
    path.write_bytes(b"")
    (tmp_path / "training_state.npz.bkp").unlink()
    with pytest.raises(DataError, match="Delete it to train from the beginning"):
        fit(model(), BackupAndRestore(tmp_path))


@pytest.mark.parametrize("description", [b"[]", b"{}", b"7", b"not json"])
def test_a_file_with_another_description(tmp_path, description):
    fit(model(), BackupAndRestore(tmp_path, delete_checkpoint=False))
    path = tmp_path / "training_state.npz"
    with np.load(path) as file:
        arrays = dict(file)
    arrays["description"] = np.frombuffer(description, np.uint8)
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=r"cannot be read .*Delete it to train from the beginning"):
        fit(model(), BackupAndRestore(tmp_path))


def test_the_message_on_a_damaged_file_does_not_advise_to_unpickle_it(tmp_path):
    (tmp_path / "training_state.npz").write_bytes(b"not a file")
    with pytest.raises(DataError, match="cannot be read") as caught:
        fit(model(), BackupAndRestore(tmp_path))
    assert "pickle" not in str(caught.value)


def test_a_file_of_another_model(tmp_path):
    fit(model(), BackupAndRestore(tmp_path, delete_checkpoint=False))
    other = model(units=6)
    before = other.get_weights()
    with pytest.raises(DataError, match=r"of another model: expected .*\[4, 6\] for .*, received .*\[4, 5\]"):
        fit(other, BackupAndRestore(tmp_path))
    equal(other.get_weights(), before)


def test_wrong_arguments(tmp_path):
    for name, value in (("backup_dir", ""), ("save_freq", 0), ("save_freq", "x")):
        with pytest.raises(ArgumentError, match=name):
            BackupAndRestore(**{"backup_dir": tmp_path, name: value})
