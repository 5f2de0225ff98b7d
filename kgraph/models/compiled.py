"""What `compile` chooses for a model, and the programs made from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kgraph.callbacks import History
from kgraph.engine import CompiledProgram
from kgraph.errors import ArgumentError, DataError, StateError
from kgraph.keras_tensor import active_trace
from kgraph.models.epochs import check_steps
from kgraph.models.model_data import Data, free_data, input_arrays, training_data
from kgraph.models.old_arguments import check_old
from kgraph.models.predict_program import predict_program
from kgraph.models.sample_weights import class_weights
from kgraph.models.step_arguments import LabelTypes, StepArguments, WeightTypes
from kgraph.models.step_methods import StepMethods, replaced
from kgraph.models.step_metrics import held_metrics
from kgraph.models.steps import Steps
from kgraph.models.targets import Target
from kgraph.models.training_programs import TrainingSetup
from kgraph.nesting import pack
from kgraph.optimizers import Optimizer


class Compiled(StepMethods):
    """The state of a model that `compile` makes. The class has none before; `Model` inherits it.

    Every program (predict, evaluate, train) is traced and compiled once and serves every batch size.
    """

    _setup: TrainingSetup | None = None
    _history: History | None = None
    _stop = False
    stop_evaluating = stop_predicting = False  # callbacks set these to end `evaluate` and `predict` after the batch
    _predicting: tuple[Any, CompiledProgram, Any] | None = None  # version, program, nesting of its results
    _running: Steps | None = None  # in `fit`
    _resumed_epoch = 0  # where a callback lets `fit` go on
    _last_data: Data | None = None  # without its arrays: what a step of the model's own was traced for

    # --- compile ------------------------------------------------------------------------------------------------------

    def compile(
        self, optimizer: Any = "rmsprop", loss: Any = None, loss_weights: Any = None, metrics: Any = None,
        weighted_metrics: Any = None, run_eagerly: bool = False, steps_per_execution: int | str = 1,
        jit_compile: bool | str = "auto", auto_scale_loss: bool = True, *, check: str | None = None,
        **old: Any,
    ) -> None:  # fmt: skip
        """Choose how the model is trained. Native code is made at the first use of each program.

        Args:
            optimizer: name or `Optimizer`.
            loss: name, function or `Loss`; with several outputs a list, or a dict by output name.
            loss_weights: factor of each output's loss, as list or dict.
            metrics: names ("accuracy", "mse" ...), functions or `Metric` objects; with several outputs a list with an
                entry for each output, or a dict by output name.
            weighted_metrics: the same; these see the sample weights.
            run_eagerly: run in the NumPy interpreter, op by op.
            steps_per_execution: >= 1 or "auto". Callbacks see every step, however many there are in a native call.
            jit_compile, auto_scale_loss: accepted as in Keras; every step is native code.
            old: arguments of Keras 2 that change nothing here.
            check: "nan" ends training, evaluation or prediction at the first NaN or Inf in losses, outputs or weights
                with a NumericError that names batch, layer and op; the weights are those before that step. NaN in the
                data are then errors instead of warnings. It costs a few percent of the time, up to a fifth where the
                steps of a stream take some 30 microseconds; `train_on_batch`, which looks at every weight after each
                call, takes up to a third longer for small models.

        Raises:
            ArgumentError: an unknown name, or, where the outputs are known, a structure that does not fit them.
        """
        check_old(self.compile, old)
        if steps_per_execution != "auto":
            check_steps("compile(steps_per_execution)", steps_per_execution)
        if check not in (None, "nan"):
            raise ArgumentError("compile(check)", expected="'nan' or None", received=repr(check))
        setup = TrainingSetup(
            optimizer, loss, metrics, loss_weights, weighted_metrics, "interpreter" if run_eagerly else None,
            guarded=check == "nan",
        )  # fmt: skip
        if self._model.built:
            setup.check_structure(self._model.output_names())
        self._setup = setup

    @property
    def compiled(self) -> bool:
        """Whether `compile` was called."""
        return self._setup is not None

    @property
    def run_eagerly(self) -> bool:
        """Whether the interpreter runs the programs; may be set at any time after `compile`."""
        return self._execution() == "interpreter"

    @run_eagerly.setter
    def run_eagerly(self, value: bool) -> None:
        self._compiled("run_eagerly").run_in("interpreter" if value else None)

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer given to `compile`."""
        return self._compiled("optimizer").optimizer

    @property
    def loss(self) -> Any:
        """The loss as given to `compile`."""
        return self._compiled("loss").loss

    @property
    def metrics(self) -> list[Any]:
        """The running values: the loss, the metrics, then those that the model and its layers hold as attributes.

        Inside a step the metrics given to `compile` are one, with `update_state(y, y_pred, sample_weight)` for all.
        """
        held = held_metrics(self._model)
        if self._setup is None:
            return held
        made = [metric for _, metric in self._setup.own_trackers()]
        if active_trace() is not None:
            made = self._setup.step_metrics(self._model)
        return list(dict.fromkeys([*made, *held]))

    @property
    def metrics_names(self) -> list[str]:
        """Names of what `evaluate` gives, in order; complete after the first batch."""
        return [name for name, _ in self._setup.trackers()] if self._setup else []

    @property
    def history(self) -> History | None:
        """Record of the last `fit`, also of one that was interrupted."""
        return self._history

    @property
    def stop_training(self) -> bool:
        """Callbacks set this to end `fit` after the epoch."""
        return self._stop

    @stop_training.setter
    def stop_training(self, value: bool) -> None:
        self._stop = bool(value)

    def reset_metrics(self) -> None:
        """Start all running values again."""
        if self._setup:
            self._setup.reset()

    # --- inside -------------------------------------------------------------------------------------------------------

    def _compiled(self, call: str) -> TrainingSetup:
        if self._setup is None:
            raise StateError(f"{call}: the model is not compiled", fix="Call model.compile(optimizer, loss) first")
        return self._setup

    def _execution(self) -> str | None:
        return self._setup.execution if self._setup else None

    def _guarded(self) -> bool:
        return self._setup is not None and self._setup.guarded

    def _predict_program(self) -> CompiledProgram:
        if not self._model.built:
            raise StateError("predict: the model is not built", fix="Give the first layer an input shape, or data")
        version = self._model._version_of_all()
        if self._predicting is None or self._predicting[0] != version:
            self._predicting = (version, *predict_program(self._model))
        return self._predicting[1]

    def _predicted(self, results: Sequence[Any]) -> Any:
        """Results of the program "predict" in the nesting that `predict_step` gave them."""
        assert self._predicting is not None
        return pack(self._predicting[2], results)

    def _targets(self, setup: TrainingSetup) -> list[Target]:
        model = self._model
        return setup.match(model.output_names(), model.output_types(), isinstance(model.output_nesting(), dict))

    def _data(self, call: str, x: Any, y: Any, sample_weight: Any = None, class_weight: Any = None) -> Data:
        """What the user gave as arguments of a training or evaluation program; NaN are not looked for."""
        setup = self._compiled(call)
        if setup.loss is None and self._has_own_steps():
            if class_weight is not None:
                raise DataError(f"{call}: class_weight", expected="a loss given to compile",
                                fix="Give sample_weight instead")  # fmt: skip
            return free_data(self, call, x, y, sample_weight)
        inputs, _ = input_arrays(self, call, x)
        targets = self._targets(setup)
        if y is None and (sample_weight is not None or class_weight is not None or setup.needs_labels):
            raise DataError(f"{call}: y is missing")
        sample_weight = class_weights(class_weight, targets, y, sample_weight, call)
        return training_data(self, [] if y is None else targets, call, inputs, y, sample_weight)

    def _prepared(self, call: str, x: Any, y: Any, sample_weight: Any = None, class_weight: Any = None) -> Data:
        """The same, with a warning if there are NaN."""
        data = self._data(call, x, y, sample_weight, class_weight)
        data.warn_not_finite(call, self._guarded())
        return data

    def _has_own_steps(self) -> bool:
        return replaced(self, "train") or replaced(self, "evaluate")

    def _usual_program(self, kind: str) -> CompiledProgram:
        if replaced(self, kind) and self._last_data is not None:
            return self._program(kind, self._last_data)
        targets = self._targets(self._compiled(kind))
        return self._cached(kind, [target.usual_type for target in targets], [])

    def _cached(
        self, kind: str, y_types: LabelTypes, weight_types: WeightTypes,
        given: StepArguments | None = None,
    ) -> CompiledProgram:
        setup, version = self._compiled(kind), self._model._version_of_all()
        return setup.program(kind, self._model, y_types, weight_types, version, given)

    def _program(self, kind: str, data: Data) -> CompiledProgram:
        if replaced(self, kind):
            self._last_data = replace(data, arrays=[])
        return self._cached(kind, data.y_types, data.weight_types, data.arguments)
