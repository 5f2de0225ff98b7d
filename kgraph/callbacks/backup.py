"""BackupAndRestore: training that was interrupted goes on where it was."""

from __future__ import annotations

import io
import itertools
import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kgraph.callbacks.callback import Callback, Logs
from kgraph.data import warn_user
from kgraph.errors import ArgumentError, DataError
from kgraph.variable import Variable
from kgraph.whole_files import write_whole

_NAME = "training_state.npz"
_DESCRIPTION = "description"


class BackupAndRestore(Callback):
    """Keeps the state of training in a file; `fit` with the same arguments in a later process goes on from there.

    The file has all variables of a training step (weights, slots and counter of the optimizer, learning rate, metrics,
    random state), the number of the epoch and batch, and the order in which arrays are shuffled: over arrays the bits
    are those of a training that was not interrupted. A stream begins anew; of an epoch that was left the batches that
    it had are dropped. States of other callbacks and the record of earlier epochs are not kept.

    Args:
        backup_dir: folder of its own for the file.
        save_freq: "epoch", or a number of batches.
        double_checkpoint: keep the file before the last as well, for the case that the last cannot be read.
        delete_checkpoint: delete the folder once `fit` has ended as it should.

    Raises:
        ArgumentError: wrong arguments.
        DataError: the file cannot be read, or is of another model.
    """

    adds = ()

    def __init__(
        self, backup_dir: str | os.PathLike[str], save_freq: int | str = "epoch", double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        if not backup_dir:
            raise ArgumentError("BackupAndRestore(backup_dir)", expected="a folder", received=repr(backup_dir))
        if save_freq != "epoch" and (
            isinstance(save_freq, bool) or not isinstance(save_freq, int) or save_freq < 1
        ):
            raise ArgumentError("BackupAndRestore(save_freq)", expected="'epoch' or an int >= 1",
                                received=repr(save_freq))  # fmt: skip
        self.backup_dir, self.save_freq = Path(backup_dir), save_freq
        self.double_checkpoint, self.delete_checkpoint = double_checkpoint, delete_checkpoint
        self._path, self._before = self.backup_dir / _NAME, self.backup_dir / f"{_NAME}.bkp"
        self._epoch, self._since_last = 0, 0
        if save_freq != "epoch":  # without this hook many batches run at once
            self.on_train_batch_end = self._batch_ends  # type: ignore[method-assign]

    def on_train_begin(self, logs: Logs = None) -> None:
        """Take up the state that was kept, if there is one."""
        self._since_last = 0
        for path in (self._path, self._before):
            if not path.exists():
                continue
            try:
                self._restore(path)
            except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
                if path == self._path and self._before.exists() and not isinstance(error, DataError):
                    warn_user(f"BackupAndRestore: {path} cannot be read ({error}); the one before it is used")
                    continue
                if isinstance(error, DataError):
                    raise
                raise DataError(f"BackupAndRestore: {path} cannot be read ({error})",
                                fix="Delete it to train from the beginning") from error  # fmt: skip
            return

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Remember the epoch."""
        self._epoch = epoch

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Save the state."""
        if self.save_freq == "epoch":
            self._save(epoch + 1, 0)

    def _batch_ends(self, batch: int, logs: Logs = None) -> None:
        self._since_last += 1
        if self._since_last >= int(self.save_freq):
            self._since_last = 0
            ended = batch + 1 == self.params.get("steps")
            self._save(self._epoch + ended, 0 if ended else batch + 1)

    def on_train_end(self, logs: Logs = None) -> None:
        """Delete the state: there is nothing left to do."""
        if self.delete_checkpoint:
            shutil.rmtree(self.backup_dir, ignore_errors=True)

    def _variables(self) -> list[Variable]:
        variables: tuple[Variable, ...] = self.model.training_program().program.variables
        return list(variables)

    def _save(self, epoch: int, batch: int) -> None:
        variables = self._variables()
        about = {"epoch": epoch, "batch": batch, "steps": self.model._running.position(),
                 "variables": [str(v.type) for v in variables]}  # fmt: skip
        arrays: dict[str, npt.NDArray[Any]] = {f"v{n}": v.array for n, v in enumerate(variables)}
        arrays[_DESCRIPTION] = np.frombuffer(json.dumps(about).encode(), np.uint8)
        memory = io.BytesIO()
        np.savez(memory, allow_pickle=False, **arrays)
        if self.double_checkpoint and self._path.exists():
            os.replace(self._path, self._before)
        write_whole(self._path, memory.getbuffer())

    def _restore(self, path: Path) -> None:
        content = io.BytesIO(path.read_bytes())
        if not zipfile.is_zipfile(content):  # NumPy would take it for a pickle, and say how to load one
            raise zipfile.BadZipFile("it is cut off, or not of this callback")
        content.seek(0)
        with np.load(content, allow_pickle=False) as file:
            about = json.loads(file[_DESCRIPTION].tobytes())
            variables = self._variables()
            pairs = itertools.zip_longest(about["variables"], variables)
            wrong = next(((kept, v) for kept, v in pairs if v is None or kept != str(v.type)), None)
            if wrong is not None:
                kept, variable = wrong
                here = "no further variable" if variable is None else f"{variable.type} for {variable.path}"
                raise DataError(f"BackupAndRestore: {path} is of another model", expected=here, received=str(kept),
                                fix="Delete it to train from the beginning")  # fmt: skip
            arrays = [file[f"v{n}"] for n in range(len(variables))]
        for variable, array in zip(variables, arrays, strict=True):
            variable.set_value(array)
        self.model._running.go_to(about["steps"], about["batch"])
        self.model._resumed_epoch = about["epoch"]
