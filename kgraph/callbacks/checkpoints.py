"""ModelCheckpoint: files with the weights while training goes on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kgraph.callbacks.callback import Logs
from kgraph.callbacks.logs import LogValues, hint_for
from kgraph.callbacks.monitoring import MonitorCallback
from kgraph.errors import ArgumentError
from kgraph.progress import write_line
from kgraph.weights_h5 import write_weights

SUFFIXES = (".h5", ".hdf5")


class ModelCheckpoint(MonitorCallback):
    """Saves the model's weights after every epoch, or when a value gets better.

    The files are HDF5 in the layout of `save_weights` of Keras 2; whole models cannot be saved yet, so that
    `save_weights_only` makes no difference.

    Args:
        filepath: name of the file, ending in .h5 or .hdf5, such as ``"weights.{epoch:02d}-{val_acc:.2f}.hdf5"``: the
            number of the epoch, from 1, of the batch where `save_freq` is a number, and values of the logs.
        monitor: name of the value that `save_best_only` watches.
        verbose: 1 to write what is saved.
        save_best_only: save only where the value is better than all before.
        save_weights_only: as in Keras; see above.
        mode: "min" or "max"; "auto" asks the metric.
        save_freq: "epoch", or a number of batches.
        initial_value_threshold: what the first value has to beat.
        period: old argument: epochs from one file to the next.

    Raises:
        ArgumentError: before the first epoch, if the logs will not have the values that `filepath` or `monitor` name,
            or files cannot be written there.
    """

    def __init__(
        self, filepath: str | os.PathLike[str], monitor: str = "val_loss", verbose: int = 0,
        save_best_only: bool = False, save_weights_only: bool = False, mode: str = "auto",
        save_freq: int | str = "epoch", initial_value_threshold: float | None = None, *, period: int = 1,
    ) -> None:  # fmt: skip
        super().__init__(monitor, mode, best=initial_value_threshold)
        self.filepath = os.fspath(filepath)
        if not self.filepath.endswith(SUFFIXES):
            raise ArgumentError("ModelCheckpoint(filepath)", expected="a name that ends in .h5 or .hdf5",
                                received=repr(self.filepath), fix="Only weights can be saved yet")  # fmt: skip
        for name, count in (("save_freq", 1 if save_freq == "epoch" else save_freq), ("period", period)):
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                expected = "'epoch' or an int >= 1" if name == "save_freq" else "an int >= 1"
                raise ArgumentError(f"ModelCheckpoint({name})", expected=expected, received=repr(count))
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.save_freq = save_freq
        self.period = period
        self._epoch = 0
        self._since_last = 0

    def check_names(self, names: Sequence[str], batch_names: Sequence[str]) -> None:
        """The logs must have what the template and `save_best_only` ask for, and the folder must take files."""
        found = names if self.save_freq == "epoch" else batch_names
        if self.save_best_only:
            super().check_names(found, batch_names)
        batch = None if self.save_freq == "epoch" else 0
        self._check_folder(Path(self._path(0, batch, dict.fromkeys(found, 0.0))).parent)

    @staticmethod
    def _check_folder(folder: Path) -> None:
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        if not there.is_dir() or not os.access(there, os.W_OK):
            raise ArgumentError("ModelCheckpoint(filepath)", expected="a folder that can be written",
                                received=repr(str(there)))  # fmt: skip

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Remember the epoch for files made within it."""
        self._epoch = epoch

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Save if it is time."""
        if self.save_freq == "epoch" and self._is_time(self.period):
            self._save(epoch, None, logs)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Save if it is time."""
        if self.save_freq != "epoch" and self._is_time(int(self.save_freq)):
            self._save(self._epoch, batch, logs)

    def _is_time(self, every: int) -> bool:
        self._since_last = (self._since_last + 1) % every
        return self._since_last == 0

    def _save(self, epoch: int, batch: int | None, logs: Logs) -> None:
        path = self._path(epoch, batch, logs or {})
        if self.save_best_only:
            value = self.value(logs)
            # Without the value Keras saves, so that no epoch is lost.
            if value is not None and not self._take(epoch, value):
                return
        if self.verbose:
            write_line(f"\nEpoch {epoch + 1}: saving model to {path}")
        write_weights(self.model, path)

    def _take(self, epoch: int, value: Any) -> bool:
        """Whether a value is the best so far, which it then becomes."""
        before = "None" if self.best is None else f"{self.best:.5f}"
        better = self.is_better(value, self.best)
        if better:
            self.best = value
        if self.verbose:
            outcome = f"improved from {before} to {value:.5f}" if better else f"did not improve from {before}"
            write_line(f"\nEpoch {epoch + 1}: {self.monitor} {outcome}")
        return better

    def _path(self, epoch: int, batch: int | None, logs: dict[str, Any]) -> str:
        """The file's name for these values."""
        values = LogValues(logs)
        values["epoch"] = epoch + 1
        if batch is not None:
            values.setdefault("batch", batch + 1)
        place = f"ModelCheckpoint(filepath={self.filepath!r})"
        try:
            return self.filepath.format_map(values)
        except KeyError as error:
            name = str(error.args[0])
            raise ArgumentError(f"{place}: the logs have no {name!r}", fix=hint_for(name, values)) from None
        except (ValueError, IndexError) as error:
            raise ArgumentError(f"{place}: {error}") from None
