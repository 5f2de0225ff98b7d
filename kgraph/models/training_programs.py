"""What `compile` decides, matched with a model's outputs; and the static programs traced from it, one for each use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from kgraph.engine import CompiledProgram
from kgraph.errors import ArgumentError, DTypeError, StateError
from kgraph.ir.dtypes import DType, dtype_of, i32
from kgraph.ir.graph import Value
from kgraph.ir.opdef import emitting
from kgraph.ir.operators import cast
from kgraph.ir.types import TensorType
from kgraph.keras_tensor import BATCH
from kgraph.lookup import did_you_mean
from kgraph.losses import Loss, as_loss
from kgraph.metrics import Mean, Metric, as_metric, check_name
from kgraph.nesting import flatten
from kgraph.optimizers import Optimizer
from kgraph.optimizers import get as get_optimizer
from kgraph.primitives.composites import size
from kgraph.trace import Trace, gradients
from kgraph.variable import Variable

# None, one for all outputs, or one (or None) for each output.
WeightTypes: TypeAlias = "Sequence[TensorType | None]"


class TrainableModel(Protocol):
    """What programs need of a model."""

    @property
    def random_state(self) -> Variable:
        """Seed and step of the random ops."""

    @property
    def trainable_variables(self) -> list[Variable]:
        """What gradients update."""

    @property
    def losses(self) -> list[Any]:
        """Further terms of the loss: from `add_loss` and regularizers."""

    def input_specs(self) -> list[tuple[str, TensorType]]:
        """Name and type of every input."""

    def output_names(self) -> list[str]:
        """Name of every output."""

    def call_flat(self, values: list[Value], training: bool) -> list[Value]:
        """Outputs for inputs, inside a trace."""


def argument_names(names: Sequence[str], argument: str) -> list[str]:
    """How messages call the inputs or targets: "x", or "x['image']" where there are several."""
    return [argument] if len(names) == 1 else [f"{argument}['{name}']" for name in names]


def forward(trace: Trace, model: TrainableModel, training: bool) -> list[Value]:
    """Outputs of the model on new arguments of the trace."""
    specs = model.input_specs()
    names = argument_names([name for name, _ in specs], "x")
    inputs = [trace.argument(type_, name) for name, (_, type_) in zip(names, specs, strict=True)]
    return model.call_flat(inputs, training)


def predict_program(model: TrainableModel) -> CompiledProgram:
    """x -> outputs."""
    trace = Trace("predict", random_state=model.random_state)
    with emitting(trace):
        outputs = forward(trace, model, training=False)
        program = trace.program(list(zip(model.output_names(), outputs, strict=True)))
    return CompiledProgram(program)


@dataclass(frozen=True)
class Target:
    """One output of the model, with what is asked of it.

    Attributes:
        name: of the output.
        prediction: type of the output.
        loss: None if it has none.
        weight: factor of its loss in the total; None for 1.
        prefix: put before the names of its metrics; empty if the model has one output.
    """

    name: str
    prediction: TensorType
    loss: Loss | None
    weight: float | None
    prefix: str

    @property
    def dtype(self) -> DType:
        """Element type in which y is handed over: class numbers stay integers."""
        return i32 if self.loss is not None and self.loss.takes_labels else self.prediction.dtype

    @property
    def usual_type(self) -> TensorType:
        """Type of the y that the loss expects."""
        labels = self.loss is not None and self.loss.takes_labels
        shape = list(self.prediction.shape)
        if self.loss is not None and labels:
            del shape[self.loss.class_axis]
        return TensorType(self.dtype, tuple(shape))


class TrainingSetup:
    """Optimizer, losses and metrics of one `compile`, and the programs made of them.

    Args:
        optimizer, loss, metrics, loss_weights, weighted_metrics: as given to `compile`; names are checked at once,
            structures by `check_structure`, when the outputs are known.
        execution: "interpreter" to run step by step; None for the setting in force.
    """

    def __init__(
        self, optimizer: Any, loss: Any, metrics: Any, loss_weights: Any, weighted_metrics: Any, execution: str | None
    ) -> None:
        self.optimizer: Optimizer = get_optimizer(optimizer)
        self.loss = loss
        self.execution = execution
        self._metrics, self._weighted_metrics, self._loss_weights = metrics, weighted_metrics, loss_weights
        self._losses = _map_leaves(as_loss, loss)
        for name in flatten([metrics or [], weighted_metrics or []]):
            if name is not None:
                check_name(name)
        self.targets: list[Target] = []
        self.loss_tracker = Mean("loss")
        self._loss_trackers: list[tuple[str, Mean | None]] = []
        self._loss_order: list[str] = []
        self._found: list[tuple[int, bool, str, Metric]] | None = None
        self._programs: dict[Any, CompiledProgram] = {}

    def check_structure(self, names: Sequence[str]) -> None:
        """ArgumentError unless losses, weights and metrics fit outputs of these names."""
        _per_output(self._losses, names, "loss", spread=True)
        for weight in _per_output(self._loss_weights, names, "loss_weights", spread=False):
            _checked_weight(weight)
        for given in (self._metrics, self._weighted_metrics):
            _metrics_per_output(given, names)

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
        losses = _per_output(self._losses, names, "loss", spread=True)
        weights = _per_output(self._loss_weights, names, "loss_weights", spread=False)
        several = len(names) > 1
        self.targets = [
            Target(name, prediction, loss, _checked_weight(weight), f"{name}_" if several else "")
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
                for n, wanted in enumerate(_metrics_per_output(given, names)):
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

    def trackers(self) -> list[tuple[str, Metric]]:
        """(name, running value): the loss, the losses of the outputs, the metrics; in the order of `evaluate`."""
        by_output = dict(zip((t.name for t in self.targets), self._loss_trackers, strict=True))
        losses = [(name, t) for name, t in map(by_output.__getitem__, self._loss_order) if t is not None]
        metrics = [(name, metric) for _, _, name, metric in self._found or []]
        if len(self.targets) > 1:
            metrics.sort(key=lambda pair: pair[0])
        return [("loss", self.loss_tracker), *losses, *metrics]

    def logs(self) -> dict[str, Any]:
        """Running values by name, in alphabetical order as in Keras."""
        return {name: _plain(metric.result()) for name, metric in sorted(self.trackers(), key=lambda pair: pair[0])}

    def reset(self) -> None:
        """Start all running values again."""
        for _, metric in self.trackers():
            metric.reset_state()

    # --- programs -----------------------------------------------------------------------------------------------------

    def program(
        self, kind: str, model: TrainableModel, y_types: Sequence[TensorType], weight_types: WeightTypes, version: Any
    ) -> CompiledProgram:
        """The program "train", "evaluate" or "gradients" for labels of these types; traced once.

        Args:
            kind: which program.
            model: whose program.
            y_types: types of the labels.
            weight_types: types of the sample weights: none, one for all outputs, or one or None for each output.
            version: changes when the model changes.
        """
        key = (kind, tuple(y_types), tuple(weight_types), version, self.optimizer.schedule)
        if key not in self._programs:
            make = {"train": self._train, "evaluate": self._evaluate, "gradients": self._gradients}[kind]
            self._programs[key] = CompiledProgram(make(model, y_types, weight_types))
        return self._programs[key]

    def _train(self, model: TrainableModel, y_types: Sequence[TensorType], weight_types: WeightTypes) -> Any:
        trace = Trace("train", True, model.random_state)
        with emitting(trace):
            loss = self._objective(trace, model, y_types, weight_types, track=True)
            variables = model.trainable_variables
            self.optimizer.apply(gradients(self.optimizer.scale_loss(loss), variables), variables)
            return trace.program([("loss", loss)])

    def _evaluate(self, model: TrainableModel, y_types: Sequence[TensorType], weight_types: WeightTypes) -> Any:
        trace = Trace("evaluate", False, model.random_state)
        with emitting(trace):
            loss = self._objective(trace, model, y_types, weight_types, track=True)
            return trace.program([("loss", loss)])

    def _gradients(self, model: TrainableModel, y_types: Sequence[TensorType], weight_types: WeightTypes) -> Any:
        """(x, y) -> loss and its gradient for every trainable variable, in training mode; nothing is updated."""
        trace = Trace("gradients", True, model.random_state)
        with emitting(trace):
            loss = self._objective(trace, model, y_types, weight_types, track=False)
            variables = model.trainable_variables
            slopes = gradients(loss, variables)
            named = [(f"gradient of {v.path}", slope) for v, slope in zip(variables, slopes, strict=True)]
            return trace.program([("loss", loss), *named])

    def _objective(
        self, trace: Trace, model: TrainableModel, y_types: Sequence[TensorType], weight_types: WeightTypes, track: bool
    ) -> Value:
        """The total loss on new arguments; with `track` the running values are updated as well."""
        predictions = forward(trace, model, trace.training)
        names = argument_names([t.name for t in self.targets], "y")
        labels: list[Any] = [None] * len(names)  # stay so where only the model itself adds losses
        if y_types:
            labels = [trace.argument(t, name) for t, name in zip(y_types, names, strict=True)]
        given = [None if t is None else trace.argument(t, "sample_weight") for t in weight_types] or [None]
        weights = given * len(self.targets) if len(given) == 1 else given
        parts: list[Value] = []
        for target, (_, tracker), y_true, y_pred, weight in zip(
            self.targets, self._loss_trackers, labels, predictions, weights, strict=True
        ):
            if target.loss is None:
                continue
            _refuse_softmax_of_one(trace, target, y_pred)
            part = target.loss(y_true, y_pred, weight)
            if part.type.rank:
                raise ArgumentError(f"loss of output '{target.name}'", expected="one number",
                                    received="a loss without reduction")  # fmt: skip
            if tracker is not None and track:
                tracker.update_state(part, sample_weight=size(BATCH, part.dtype))
            parts.append(part if target.weight is None else part * target.weight)
        parts += model.losses
        if not parts:
            raise StateError("compile", expected="a loss", fix="Give one: compile(loss='mse')")
        parts = [cast(part, parts[0].type.dtype) for part in parts]
        loss = parts[0]
        for part in parts[1:]:
            loss = loss + part
        if track:
            rows = size(BATCH, dtype_of(self.loss_tracker.dtype))
            self.loss_tracker.update_state(cast(loss, rows.dtype), sample_weight=rows)
            for n, with_weights, _, metric in self.metrics_for(y_types):
                metric.update_state(labels[n], predictions[n], sample_weight=weights[n] if with_weights else None)
        assert isinstance(loss, Value)
        return loss


def _refuse_softmax_of_one(trace: Trace, target: Target, prediction: Value) -> None:
    """ArgumentError if an output for one of two classes can only be 1."""
    if target.loss is None or not target.loss.takes_shares or target.prediction.shape[-1] != 1:
        return
    if any(prediction in node.outputs and node.op.name == "softmax" for node in trace.nodes):
        raise ArgumentError(f"output '{target.name}': softmax of 1 unit is always 1", expected="sigmoid",
                            received="softmax", fix="Use activation='sigmoid'")  # fmt: skip


def _checked_weight(weight: Any) -> float | None:
    if weight is not None and (isinstance(weight, bool) or not isinstance(weight, (int, float))):
        raise DTypeError("compile(loss_weights)", expected="numbers", received=repr(weight))
    return None if weight is None else float(weight)


def _plain(value: Any) -> Any:
    return float(value) if getattr(value, "ndim", 0) == 0 else value


def _map_leaves(function: Any, structure: Any) -> Any:
    if isinstance(structure, dict):
        return {key: _map_leaves(function, value) for key, value in structure.items()}
    if isinstance(structure, (list, tuple)):
        return [_map_leaves(function, value) for value in structure]
    return function(structure)


def _per_output(structure: Any, names: Sequence[str], argument: str, spread: bool) -> list[Any]:
    """One entry for each output, from a list, a dict by output name, or (with `spread`) one entry for all."""
    if isinstance(structure, dict):
        _check_keys(structure, names, argument)
        return [structure.get(name) for name in names]
    if isinstance(structure, (list, tuple)):
        if len(structure) != len(names):
            raise ArgumentError(f"compile({argument})", expected=f"{len(names)} entries, for {', '.join(names)}",
                                received=str(len(structure)))  # fmt: skip
        return list(structure)
    if structure is not None and not spread and len(names) > 1:
        raise ArgumentError(f"compile({argument})", expected="a list or a dict", received=repr(structure))
    return [structure] * len(names)


def _metrics_per_output(structure: Any, names: Sequence[str]) -> list[list[Any]]:
    """The metrics of each output. With one output every metric given is its own."""
    if not structure:
        return [[] for _ in names]
    if isinstance(structure, dict):
        _check_keys(structure, names, "metrics")
    if len(names) == 1:
        return [flatten(structure)]
    if not isinstance(structure, (dict, list, tuple)) or len(structure) > len(names):
        raise ArgumentError("compile(metrics)", expected=f"a list for each of the outputs {', '.join(names)}",
                            received=repr(structure))  # fmt: skip
    each = _per_output(structure, names, "metrics", spread=False)
    return [[metric for metric in flatten(entry) if metric is not None] for entry in each]


def _check_keys(structure: dict[str, Any], names: Sequence[str], argument: str) -> None:
    for key in structure:
        if key not in names:
            hint = did_you_mean(str(key), names) if len(names) > 1 else f"The output is '{names[0]}'"
            raise ArgumentError(f"compile({argument}={{'{key}': ...}}): no such output", fix=hint)
