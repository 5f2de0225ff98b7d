"""SwapEMAWeights: moving averages in the place of the weights while a model is tested."""

from __future__ import annotations

from collections.abc import Iterator

from kgraph.callbacks.callback import Callback, Logs
from kgraph.errors import StateError
from kgraph.optimizers.base import Optimizer
from kgraph.variable import Variable


class SwapEMAWeights(Callback):
    """Puts the optimizer's moving averages in the weights' place for evaluations and predictions.

    The optimizer, or one of those of a `MultiOptimizer`, must have ``use_ema=True``.

    Args:
        swap_on_epoch: also between epochs, so that callbacks after this one, such as `ModelCheckpoint`, see them.
    """

    adds = ()

    def __init__(self, swap_on_epoch: bool = False) -> None:
        super().__init__()
        self.swap_on_epoch = swap_on_epoch
        self._averages_in_model = False

    def set_model(self, model: object) -> None:
        """The optimizer must keep averages."""
        super().set_model(model)
        owners = self._optimizers()
        if owners and not any(own.use_ema for own in owners):
            raise StateError("SwapEMAWeights", expected="an optimizer with use_ema=True", received="use_ema=False")

    def _optimizers(self) -> list[Optimizer]:
        return list(self.model.optimizer.rate_owners().values())

    def _pairs(self) -> Iterator[tuple[Variable, Variable]]:
        """(weight, average); none before the first step."""
        for own in self._optimizers():
            yield from own.averages().items()

    def _put_averages(self, wanted: bool) -> None:
        if self._averages_in_model != wanted:
            for variable, average in self._pairs():
                kept = variable.value
                variable.assign(average.value)
                average.assign(kept)
            self._averages_in_model = wanted

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Train with the weights themselves."""
        self._put_averages(False)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Show the averages to what comes after the epoch."""
        if not self.swap_on_epoch:
            return
        self._put_averages(True)
        if epoch == self.params["epochs"] - 1 or self.model.stop_training:
            # At the end of training the optimizer copies its averages into the weights: both must be the averages.
            for variable, average in self._pairs():
                average.assign(variable.value)

    def on_test_begin(self, logs: Logs = None) -> None:
        """Test the averages."""
        self._put_averages(True)

    def on_test_end(self, logs: Logs = None) -> None:
        """Put the weights back."""
        self._put_averages(False)

    def on_predict_begin(self, logs: Logs = None) -> None:
        """Predict with the averages."""
        self._put_averages(True)

    def on_predict_end(self, logs: Logs = None) -> None:
        """Put the weights back."""
        self._put_averages(False)
