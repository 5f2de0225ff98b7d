"""Callbacks that keep or send the values of training: BaseLogger, CSVLogger, RemoteMonitor."""

from __future__ import annotations

import csv
import json
import os
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kgraph.callbacks.callback import Callback, Logs
from kgraph.callbacks.logs import LogValues
from kgraph.data import warn_user
from kgraph.errors import ArgumentError

ANSWER_SECONDS = 10


class BaseLogger(Callback):
    """Puts means over the epoch, weighted by the batches' sizes, into the logs of epochs; of Keras 1 and 2.

    It works on logs whose values belong to single batches and have the batch's "size", as loops of one's own make
    them. The logs of `fit` have such means already, and stay as they are.

    Args:
        stateful_metrics: names whose last value is taken instead of a mean.
    """

    adds = ()

    def __init__(self, stateful_metrics: Sequence[str] | None = None) -> None:
        super().__init__()
        self.stateful_metrics = set(stateful_metrics or ())
        self.seen = 0
        self.totals: dict[str, Any] = {}

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Start again."""
        self.seen, self.totals = 0, {}

    def on_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Add the values of a batch."""
        size = (logs or {}).get("size", 0)
        if not size:
            return
        self.seen += size
        for name, value in (logs or {}).items():
            if name in self.stateful_metrics:
                self.totals[name] = value
            elif name not in ("batch", "size"):
                self.totals[name] = self.totals.get(name, 0.0) + value * size

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Put the means into the logs."""
        if logs is not None:
            for name, total in self.totals.items():
                logs[name] = total if name in self.stateful_metrics else total / self.seen


class CSVLogger(Callback):
    """Writes a row for each epoch into a file: "epoch", then the values in alphabetical order.

    Args:
        filename: of the file. Columns are those of the first epoch; without validation Keras' empty columns "val_..."
            stand there as well, with "NA".
        separator: between columns.
        append: keep rows that are there.
    """

    adds = ()

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        super().__init__()
        self.filename = os.fspath(filename)
        self.separator = separator
        self.append = append
        self._names: list[str] | None = None

    def on_train_begin(self, logs: Logs = None) -> None:
        """Make the file, so that one which cannot be written is found before the first epoch."""
        with open(self.filename, "a" if self.append else "w", encoding="utf-8"):
            self._names = None

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Write a row; the file is closed in between, so that it is whole however training ends."""
        logs = LogValues(logs or {})
        with open(self.filename, "a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=self.separator)
            if self._names is None:
                names = sorted(logs)
                evaluated = any(name.startswith("val_") for name in names)
                self._names = names if evaluated else names + [f"val_{name}" for name in names]
                if file.tell() == 0:
                    writer.writerow(["epoch", *self._names])
            writer.writerow([epoch, *(_cell(logs.get(name, "NA")) for name in self._names)])


def _cell(value: Any) -> Any:
    """A value as a cell has it: several numbers in brackets."""
    several = isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim > 0)
    return f'"[{", ".join(map(str, value))}]"' if several else value


class RemoteMonitor(Callback):
    """Sends the values of every epoch to a server, as an HTTP POST with JSON. A server that fails is only warned of.

    Args:
        root: address of the server.
        path: where on it the values go.
        field: name of the form's field with the JSON.
        headers: further headers.
        send_as_json: send the JSON itself instead of a form.
    """

    adds = ()

    def __init__(
        self, root: str = "http://localhost:9000", path: str = "/publish/epoch/end/", field: str = "data",
        headers: Mapping[str, str] | None = None, send_as_json: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        if not root.startswith(("http://", "https://")):
            raise ArgumentError("RemoteMonitor(root)", expected="an address with http:// or https://",
                                received=repr(root))  # fmt: skip
        self.root, self.path, self.field = root, path, field
        self.headers = dict(headers or {})
        self.send_as_json = send_as_json

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Send the values."""
        values = {name: np.asarray(value).tolist() for name, value in (logs or {}).items()}
        text = json.dumps({"epoch": epoch, **values})
        body = text if self.send_as_json else urllib.parse.urlencode({self.field: text})
        kind = "application/json" if self.send_as_json else "application/x-www-form-urlencoded"
        try:
            _post(self.root + self.path, body.encode(), {"Content-Type": kind, **self.headers})
        except OSError as error:
            warn_user(f"RemoteMonitor: cannot reach {self.root}: {error}")


def _post(address: str, body: bytes, headers: dict[str, str]) -> None:
    """Send an HTTP request. The module is loaded here: it brings TLS and mail, a tenth of all that `fit` loads."""
    import urllib.request

    request = urllib.request.Request(address, body, headers, method="POST")
    urllib.request.urlopen(request, timeout=ANSWER_SECONDS).close()
