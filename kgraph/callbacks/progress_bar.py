"""ProgbarLogger: the line that `fit` shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kgraph.callbacks.callback import Callback, Logs
from kgraph.progress import ProgressLine, on_terminal


class ProgbarLogger(Callback):
    """Shows progress: a line that moves on a terminal, one line an epoch elsewhere or with ``verbose=2``.

    `fit` has one of its own unless it is silent; one that is given to it takes that one's place.
    """

    adds = ()

    def __init__(self) -> None:
        super().__init__()
        self._line = ProgressLine(moving=False)

    def set_params(self, params: dict[str, Any]) -> None:
        """Choose between a line that moves and one that does not."""
        super().set_params(params)
        self._line = ProgressLine(moving=params.get("verbose") != 2 and on_terminal())

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Start the line of the epoch."""
        self._line.start(f"Epoch {epoch + 1}/{self.params.get('epochs', '?')}", self.params.get("steps") or 0)

    def due(self) -> bool:
        """Whether it is time to draw again."""
        return self._line.due()

    def show(self, batch: int, logs: Mapping[str, Any]) -> None:
        """Draw the line of the running epoch."""
        self._line.show(batch + 1, logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Finish the line of the epoch."""
        self._line.finish(logs or {})

    def interrupted(self) -> None:
        """End a line that was drawn in part."""
        self._line.abandon()
