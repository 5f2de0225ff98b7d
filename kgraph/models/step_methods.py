"""What a training step does, as methods that a model may replace: each is traced once into the program of the step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kgraph.data import unpack
from kgraph.errors import ArgumentError
from kgraph.gradient_tape import gradients
from kgraph.ir.operators import Operators
from kgraph.keras_tensor import BATCH
from kgraph.models.step_metrics import CompiledMetrics
from kgraph.nesting import flatten
from kgraph.trace import current_trace

_OF_THE_LOSS = ("compute_loss", "compute_metrics")
# The methods that the programs of each kind come from, the step itself first.
METHODS = {
    "train": ("train_step", *_OF_THE_LOSS),
    "evaluate": ("test_step", *_OF_THE_LOSS),
    "predict": ("predict_step",),
}


class StepMethods:
    """The parts of a step, in Keras' names. `Compiled` inherits them.

    A subclass of `Model` replaces any of them; it runs once, on tensors of the program being traced, and what it
    computes and assigns becomes the step.

    >>> import kgraph
    >>> import numpy as np
    >>> class Halving(kgraph.Sequential):
    ...     def train_step(self, data):
    ...         x, y = data
    ...         loss = self.compute_loss(x, y, self(x, training=True))
    ...         slopes = kgraph.gradients(loss, self.trainable_variables)
    ...         self.optimizer.apply([slope / 2 for slope in slopes], self.trainable_variables)
    ...         return {"loss": loss}
    >>> model = Halving([kgraph.Input((1,)), kgraph.layers.Dense(1, kernel_initializer="ones")])
    >>> model.compile(kgraph.optimizers.SGD(0.5), loss="mse")
    >>> model.train_on_batch(np.ones((4, 1)), np.zeros((4, 1)))
    1.0
    >>> [weight.tolist() for weight in model.get_weights()]
    [[[0.5]], [-0.5]]
    """

    @property
    def _model(self) -> Any:
        """This object as the model that it is: the class only mixes in."""
        return self

    def train_step(self, data: Any) -> dict[str, Any]:
        """One step of training.

        Args:
            data: x, (x, y) or (x, y, sample_weight), as given to `fit`; tensors in the nesting of the arrays.

        Returns: what the logs show: results of metrics, and numbers, of which the last batch's counts.
        """
        model = self._model
        x, y, sample_weight = unpack(data, "train_step")
        y_pred = model(x, training=True)
        loss = self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True)
        self._track_loss(loss)
        variables = model.trainable_variables
        model.optimizer.apply(gradients(model.optimizer.scale_loss(loss), variables), variables)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def test_step(self, data: Any) -> dict[str, Any]:
        """One step of evaluation; data and result as in `train_step`."""
        x, y, sample_weight = unpack(data, "test_step")
        y_pred = self._model(x, training=False)
        self._track_loss(self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=False))
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def predict_step(self, data: Any) -> Any:
        """What `predict` gives for the inputs `data`: here the model's outputs.

        One of a model's own may return tensors of any number, alone or in dicts, lists and tuples.
        """
        return self._model(data, training=False)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The number that training minimises: the losses given to `compile`, and those that layers added.

        Args:
            x: inputs; not looked at here.
            y, y_pred: labels and outputs, in the nesting of the model's outputs.
            sample_weight: a tensor for all outputs, or one for each.
            training: accepted as in Keras.
        """
        setup, predictions = self._model._compiled("compute_loss"), flatten(y_pred)
        self._match(predictions)
        return setup.total_loss(current_trace(), self._model.losses, _leaves(y, predictions), predictions,
                                _leaves(sample_weight, predictions, spread=True), track=True)  # fmt: skip

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Update the metrics given to `compile`, and give the results of all, the loss among them."""
        self.update_compiled_metrics(y, y_pred, sample_weight)
        return self.get_metrics_result()

    def update_compiled_metrics(self, y: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Update the metrics given to `compile`, and those that layers added to the logs."""
        setup, predictions = self._model._compiled("compute_metrics"), flatten(y_pred)
        self._match(predictions)
        labels = _leaves(y, predictions)
        setup.update_metrics(labels, predictions, _leaves(sample_weight, predictions, spread=True))

    def get_metrics_result(self) -> dict[str, Any]:
        """Results of all running values of `metrics`, by name; those of a metric with several in its place."""
        model, results = self._model, dict[str, Any]()
        known = {id(metric): name for name, metric in model._compiled("get_metrics_result").own_trackers()}
        for metric in model.metrics:
            result = metric.result()
            results |= result if isinstance(result, Mapping) else {known.get(id(metric), metric.name): result}
        return results

    @property
    def compiled_metrics(self) -> CompiledMetrics:
        """The metrics given to `compile`, as one to be updated in a step."""
        return CompiledMetrics(self._model)

    def compiled_loss(self, y: Any, y_pred: Any, sample_weight: Any = None, regularization_losses: Any = None) -> Any:
        """Older Keras' way to compute the loss in a step: its running value is updated as well.

        Args:
            y, y_pred, sample_weight: as for `compute_loss`.
            regularization_losses: accepted; what the model adds to its loss is known.
        """
        loss = self.compute_loss(None, y, y_pred, sample_weight)
        self._track_loss(loss)
        return loss

    def _match(self, predictions: Sequence[Any]) -> None:
        model = self._model
        names, types = model.output_names(), [current_trace().type_of(value) for value in predictions]
        types = [t.with_shape((BATCH, *t.shape[1:])) if t.rank else t for t in types]
        model._compiled("compile").match(names, types, isinstance(model.output_nesting(), dict))

    def _track_loss(self, loss: Any) -> None:
        if not isinstance(loss, Operators) or current_trace().type_of(loss).rank:
            received = str(current_trace().type_of(loss)) if isinstance(loss, Operators) else type(loss).__name__
            raise ArgumentError("compute_loss: what it returns", expected="a tensor of one number", received=received,
                                fix="Take the mean: ops.mean(...)")  # fmt: skip
        current_trace().objective = current_trace().lift(loss)
        self._model._compiled("compile").track_loss(loss)


def replaced(model: Any, kind: str) -> bool:
    """Whether a model, by its class or for itself, has methods of its own for "train", "evaluate" or "predict"."""
    found = {name: getattr(model, name) for name in METHODS.get(kind, ())}
    return any(getattr(method, "__func__", method) is not getattr(StepMethods, name) for name, method in found.items())


def _leaves(structure: Any, predictions: Sequence[Any], spread: bool = False) -> list[Any]:
    """A leaf for each output; None for all where nothing is given."""
    found = [None] if structure is None else flatten(structure)
    if len(found) == 1 and (spread or structure is None):
        return found * len(predictions)
    if len(found) != len(predictions):
        raise ArgumentError("compute_loss", expected=f"{len(predictions)} labels, one for each output",
                            received=str(len(found)))  # fmt: skip
    return found
