"""What `compile` decides, matched with a model's outputs; and the static programs traced from it, one for each use."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from kgraph.data import warn_user
from kgraph.engine import CompiledProgram
from kgraph.errors import ArgumentError, DataError, StateError
from kgraph.ir.dtypes import DType, dtype_of, f32
from kgraph.ir.graph import Value
from kgraph.ir.location import layer_scope
from kgraph.ir.opdef import emitting
from kgraph.ir.operators import cast
from kgraph.ir.types import TensorType
from kgraph.keras_tensor import BATCH
from kgraph.losses import as_loss
from kgraph.metrics import Mean, Metric, as_metric, check_name
from kgraph.metrics.base import PendingResult
from kgraph.models.predict_program import TrainableModel, forward
from kgraph.models.step_arguments import (
    LabelTypes,
    StepArguments,
    WeightTypes,
    argument_names,
    usual_arguments,
)
from kgraph.models.step_methods import METHODS, replaced
from kgraph.models.step_metrics import CompiledMetrics, held_metrics, logged, touched
from kgraph.models.targets import Target, checked_weight, map_leaves, metrics_per_output, per_output
from kgraph.nesting import flatten
from kgraph.numeric_guard import GuardedRuns
from kgraph.optimizers import Optimizer
from kgraph.optimizers import get as get_optimizer
from kgraph.primitives import composites
from kgraph.primitives.composites import size
from kgraph.trace import Program, Trace, current_trace, gradients


class TrainingSetup:
    """Optimizer, losses and metrics of one `compile`, and the programs made of them.

    Args:
        optimizer, loss, metrics, loss_weights, weighted_metrics: as given to `compile`; names are checked at once,
            structures by `check_structure`, when the outputs are known.
        execution: "interpreter" to run step by step; None for the setting in force.
        guarded: whether a NaN or Inf is an error.

    Attributes:
        guarded_runs: of batches that come alone; None if they are not guarded.
    """

    def __init__(
        self, optimizer: Any, loss: Any, metrics: Any, loss_weights: Any, weighted_metrics: Any, execution: str | None,
        guarded: bool = False,
    ) -> None:  # fmt: skip
        self.optimizer: Optimizer = get_optimizer(optimizer)
        self.loss = loss
        self.guarded = guarded
        self.run_in(execution)
        self._metrics, self._weighted_metrics, self._loss_weights = metrics, weighted_metrics, loss_weights
        self._losses = map_leaves(as_loss, loss)
        for name in flatten([metrics or [], weighted_metrics or []]):
            if name is not None:
                check_name(name)
        self.targets: list[Target] = []
        self.loss_tracker = Mean("loss")
        self._loss_trackers: list[tuple[str, Mean | None]] = []
        self._loss_order: list[str] = []
        self._found: list[tuple[int, bool, str, Metric]] | None = None
        self._added: dict[str, Metric] = {}  # by `add_metric`
        self._programs: dict[Any, CompiledProgram] = {}
        # Of steps of the model's own, by the kind of program: what they return for the logs, and what is reset besides.
        self._logged: dict[str, list[tuple[str, Metric]]] = {}
        self._logged_for: dict[Any, list[tuple[str, Metric]]] = {}  # the same by program
        self._reset_too: dict[int, Metric] = {}

    def run_in(self, execution: str | None) -> None:
        """Run step by step in the "interpreter" from now on, or, with None, as the setting in force says."""
        self.execution = execution
        self.guarded_runs = GuardedRuns(execution) if self.guarded else None

    def check_structure(self, names: Sequence[str]) -> None:
        """ArgumentError unless losses, weights and metrics fit outputs of these names."""
        per_output(self._losses, names, "loss", spread=True)
        for weight in per_output(self._loss_weights, names, "loss_weights", spread=False):
            checked_weight(weight)
        for given in (self._metrics, self._weighted_metrics):
            metrics_per_output(given, names)

    @property
    def needs_labels(self) -> bool:
        """Whether a loss or a metric looks at the labels."""
        metrics = flatten([self._metrics or [], self._weighted_metrics or []])
        return any(target.loss is not None for target in self.targets) or bool(metrics)

    # --- matching with the outputs ------------------------------------------------------------------------------------

    def match(self, names: Sequence[str], predictions: Sequence[TensorType], by_name: bool) -> list[Target]:
        """One target for each output; ArgumentError if the structures given to `compile` do not fit the outputs.

        Args:
            names: of the outputs.
            predictions: types of the outputs.
            by_name: whether the model gives a dict; then a dict of losses also orders what `evaluate` reports.
        """
        if [t.prediction for t in self.targets] == list(predictions):
            return self.targets
        self.check_structure(names)
        losses = per_output(self._losses, names, "loss", spread=True)
        weights = per_output(self._loss_weights, names, "loss_weights", spread=False)
        several = len(names) > 1
        self.targets = [
            Target(name, prediction, loss, checked_weight(weight), f"{name}_" if several else "")
            for name, prediction, loss, weight in zip(names, predictions, losses, weights, strict=True)
        ]
        count = sum(loss is not None for loss in losses)
        self._loss_trackers = [
            (f"{t.name}_loss", Mean(f"{t.name}_loss") if count > 1 and t.loss is not None else None)
            for t in self.targets
        ]
        self._loss_order = list(self._losses) if by_name and isinstance(self._losses, dict) else list(names)
        self._found = None
        self._programs.clear()
        return self.targets

    def metrics_for(self, y_types: Sequence[TensorType]) -> list[tuple[int, bool, str, Metric]]:
        """(output, weighted, name in the logs, metric) for labels of these types; made once."""
        if self._found is None:
            names = [t.name for t in self.targets]
            found: list[tuple[int, bool, str, Metric]] = []
            used: dict[str, int] = {}
            for weighted, given in ((False, self._metrics), (True, self._weighted_metrics)):
                for n, wanted in enumerate(metrics_per_output(given, names)):
                    for identifier in wanted:
                        metric = as_metric(identifier, y_types[n], self.targets[n].prediction)
                        name = self.targets[n].prefix + metric.name
                        if name in used and weighted:
                            name = f"{self.targets[n].prefix}weighted_{metric.name}"
                        used[name] = used.get(name, 0) + 1
                        name = name if used[name] == 1 else f"{name}_{used[name] - 1}"
                        found.append((n, weighted, name, metric))
            self._found = found
        return self._found

    # --- running values -----------------------------------------------------------------------------------------------

    def trackers(self, kind: str = "train") -> list[tuple[str, Metric]]:
        """(name, running value) of what the program `kind` reports."""
        return self._logged.get(kind) or self.own_trackers()

    def own_trackers(self) -> list[tuple[str, Metric]]:
        """(name, running value): the loss, the losses of the outputs, the metrics; in the order of `evaluate`."""
        by_output = dict(zip((t.name for t in self.targets), self._loss_trackers, strict=True))
        losses = [(name, t) for name, t in map(by_output.__getitem__, self._loss_order) if t is not None]
        metrics = [(name, metric) for _, _, name, metric in self._found or []]
        if len(self.targets) > 1:
            metrics.sort(key=lambda pair: pair[0])
        return [("loss", self.loss_tracker), *losses, *metrics, *self._added.items()]

    def logs(self, kind: str = "train") -> dict[str, Any]:
        """Running values of the program `kind` by name, in alphabetical order as in Keras."""
        trackers = sorted(self.trackers(kind), key=lambda pair: pair[0])
        return {name: _plain(metric.result()) for name, metric in trackers}

    def reset(self) -> None:
        """Start all running values again."""
        reported = [metric for _, metric in [*self.own_trackers(), *itertools.chain(*self._logged.values())]]
        for metric in [*reported, *self._reset_too.values()]:
            metric.reset_state()

    # --- programs -----------------------------------------------------------------------------------------------------

    def program(
        self, kind: str, model: TrainableModel, y_types: LabelTypes, weight_types: WeightTypes, version: Any,
        arguments: StepArguments | None = None,
    ) -> CompiledProgram:  # fmt: skip
        """The program "train", "evaluate" or "gradients" for labels of these types; traced once.

        Args:
            kind: which program.
            model: whose program.
            y_types: types of the labels; None where there are none.
            weight_types: types of the sample weights: none, one for all outputs, or one or None for each output.
            version: changes when the model changes.
            arguments: of a step of the model's own; None for the usual ones.
        """
        key = (kind, tuple(y_types), tuple(weight_types), version, self.optimizer.schedule, repr(arguments))
        if key not in self._programs:
            if replaced(model, "train" if kind == "gradients" else kind):
                arguments = arguments or usual_arguments(model, y_types, weight_types)
                made, self._logged_for[key] = self._own_step(kind, model, arguments)
            else:
                make = {"train": self._train, "evaluate": self._evaluate, "gradients": self._gradients}[kind]
                made = make(model, y_types, weight_types)
                self._logged_for[key] = self._with_held(model, made)
            self._programs[key] = CompiledProgram(made)
        self._logged[kind] = self._logged_for[key]
        return self._programs[key]

    def _own_step(
        self, kind: str, model: TrainableModel, arguments: StepArguments
    ) -> tuple[Program, list[tuple[str, Metric]]]:
        """A step that methods of the model define, and what it returns for the logs.

        The program "gradients" has the gradients that "train" takes for results as well.
        """
        method = METHODS["evaluate" if kind == "evaluate" else "train"][0]
        # As in Keras, layers that a step calls do not train unless it says so: self(x, training=True).
        trace = Trace(kind, False, model.random_state)
        with emitting(trace):
            found = logged(method, getattr(model, method)(arguments.trace(trace)))
            if kind == "train" and trace.slopes and not any(map(trace.is_assigned, trace.slopes)):
                warn_user(f"{method} takes gradients but changes no variable: give them to self.optimizer.apply")
            self._reset_too |= {id(metric): metric for metric in model.metrics if isinstance(metric, Metric)}
            loss = trace.constant(0.0, f32) if trace.objective is None else trace.objective
            slopes = [(v, trace.slopes.get(v)) for v in model.trainable_variables if kind == "gradients"]
            named = [(f"gradient of {v.path}", composites.zeros_like(v) if g is None else g) for v, g in slopes]
            return trace.program([("loss", loss), *named]), found

    def _with_held(self, model: TrainableModel, program: Program) -> list[tuple[str, Metric]]:
        """What a usual step reports: besides its own values the metrics that layers hold and update."""
        own = self.own_trackers()
        known = [metric for _, metric in own]
        return [*own, *touched([m for m in held_metrics(model) if m not in known], program.variables)]

    def _train(self, model: TrainableModel, y_types: LabelTypes, weight_types: WeightTypes) -> Any:
        trace = Trace("train", True, model.random_state)
        with emitting(trace):
            loss = self._objective(trace, model, y_types, weight_types, track=True)
            variables = model.trainable_variables
            self.optimizer.apply(gradients(self.optimizer.scale_loss(loss), variables), variables)
            return trace.program([("loss", loss)])

    def _evaluate(self, model: TrainableModel, y_types: LabelTypes, weight_types: WeightTypes) -> Any:
        trace = Trace("evaluate", False, model.random_state)
        with emitting(trace):
            loss = self._objective(trace, model, y_types, weight_types, track=True)
            return trace.program([("loss", loss)])

    def _gradients(self, model: TrainableModel, y_types: LabelTypes, weight_types: WeightTypes) -> Any:
        """(x, y) -> loss and its gradient for every trainable variable, in training mode; nothing is updated."""
        trace = Trace("gradients", True, model.random_state)
        with emitting(trace):
            loss = self._objective(trace, model, y_types, weight_types, track=False)
            variables = model.trainable_variables
            slopes = gradients(loss, variables)
            named = [(f"gradient of {v.path}", slope) for v, slope in zip(variables, slopes, strict=True)]
            return trace.program([("loss", loss), *named])

    def _objective(
        self, trace: Trace, model: TrainableModel, y_types: LabelTypes, weight_types: WeightTypes, track: bool
    ) -> Value:
        """The total loss on new arguments; with `track` the running values are updated as well."""
        predictions = forward(trace, model, trace.training)
        names = argument_names([t.name for t in self.targets], "y")
        labels: list[Any] = [None] * len(names)  # stay so where only the model itself adds losses
        if y_types:
            labels = [t and trace.argument(t, name) for t, name in zip(y_types, names, strict=True)]
        given = [None if t is None else trace.argument(t, "sample_weight") for t in weight_types] or [None]
        weights = given * len(self.targets) if len(given) == 1 else given
        loss = self.total_loss(trace, model.losses, labels, predictions, weights, track)
        if track:
            self.track_loss(loss)
            self.update_metrics(labels, predictions, weights)
        return loss

    def total_loss(
        self, trace: Trace, further: Sequence[Any], labels: Sequence[Any], predictions: Sequence[Value],
        weights: Sequence[Any], track: bool,
    ) -> Value:  # fmt: skip
        """The weighted sum of the outputs' losses and of `further` terms; with `track` their running values are kept.

        Args:
            trace: the program.
            further: terms that the model adds.
            labels, predictions, weights: one for each output; None for labels or weights that there are not.
            track: whether running values are updated.
        """
        parts: list[Value] = []
        for target, (_, tracker), y_true, y_pred, weight in zip(
            self.targets, self._loss_trackers, labels, predictions, weights, strict=True
        ):
            if target.loss is None:
                continue
            _refuse_softmax_of_one(trace, target, y_pred)
            with layer_scope(f"loss of {target.name}" if target.prefix else "loss"):
                part = target.loss(y_true, y_pred, weight)
            if part.type.rank:
                raise ArgumentError(f"loss of output '{target.name}'", expected="one number",
                                    received="a loss without reduction")  # fmt: skip
            if tracker is not None and track:
                tracker.update_state(part, sample_weight=_rows(part.dtype))
            parts.append(part if target.weight is None else part * target.weight)
        parts += further
        if not parts and not trace.training:
            return trace.constant(0.0, f32)
        if not parts:
            raise StateError("compile", expected="a loss", fix="Give one: compile(loss='mse')")
        parts = [cast(part, parts[0].type.dtype) for part in parts]
        loss = parts[0]
        for part in parts[1:]:
            loss = loss + part
        assert isinstance(loss, Value)
        return loss

    def track_loss(self, loss: Any) -> None:
        """Let the running value of the loss take in a batch, with its rows for a weight."""
        rows = _rows(dtype_of(self.loss_tracker.dtype))
        self.loss_tracker.update_state(cast(loss, rows.dtype), sample_weight=rows)

    def update_metrics(self, labels: Sequence[Any], predictions: Sequence[Value], weights: Sequence[Any]) -> None:
        """Let the metrics take in a batch; labels, predictions and weights as for `total_loss`."""
        self._take_shown()
        if all(label is None for label in labels):
            return
        y_types = [current_trace().type_of(p if label is None else label) for label, p in zip(labels, predictions)]
        for n, with_weights, name, metric in self.metrics_for(y_types):
            if labels[n] is None:
                raise DataError(f"metric '{name}'", expected=f"labels for output '{self.targets[n].name}'",
                                received="none")  # fmt: skip
            metric.update_state(labels[n], predictions[n], sample_weight=weights[n] if with_weights else None)

    def _take_shown(self) -> None:
        """Let running values take in what `add_metric` was given since the last time."""
        shown = current_trace().shown
        for name, value in shown.items():
            if isinstance(value, PendingResult):
                self._added[name] = value.metric
            else:
                mean = self._added.setdefault(name, Mean(name))
                mean.update_state(value)
        shown.clear()

    def step_metrics(self, model: Any) -> list[Any]:
        """What a step being traced finds in `metrics`: the loss, all metrics given to `compile` as one, added ones."""
        self._take_shown()
        compiled = [CompiledMetrics(model)] if self._metrics or self._weighted_metrics else []
        return [self.loss_tracker, *compiled, *self._added.values()]


def _rows(dtype: DType) -> Any:
    """The number of rows of a batch, as a tensor: a constant where the model's inputs fix it."""
    first = current_trace().arguments[0].type.shape[:1]
    return size(first[0] if first and isinstance(first[0], int) else BATCH, dtype)


def _refuse_softmax_of_one(trace: Trace, target: Target, prediction: Value) -> None:
    """ArgumentError if an output for one of two classes can only be 1."""
    if target.loss is None or not target.loss.takes_shares or target.prediction.shape[-1] != 1:
        return
    if any(prediction in node.outputs and node.op.name == "softmax" for node in trace.nodes):
        raise ArgumentError(f"output '{target.name}': softmax of 1 unit is always 1", expected="sigmoid",
                            received="softmax", fix="Use activation='sigmoid'")  # fmt: skip


def _plain(value: Any) -> Any:
    return float(value) if getattr(value, "ndim", 0) == 0 else value
