"""Training methods of models: compile, fit, evaluate, predict and their one-batch forms; dump and compare."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from kgraph.callbacks import CallbackList, History, ProgbarLogger
from kgraph.data import check_batch_size, is_prepared, split_at, warn_user
from kgraph.engine import CompiledProgram
from kgraph.errors import ArgumentError, DataError, StateError
from kgraph.ir.types import TensorType
from kgraph.keras_tensor import BATCH
from kgraph.models.comparison import Comparison, compare_results, compare_training
from kgraph.models.memory import MemoryReport, memory_report
from kgraph.models.model_data import Data, input_arrays, training_data
from kgraph.models.training_programs import Target, TrainingSetup, predict_program
from kgraph.optimizers import Optimizer
from kgraph.progress import InterruptFlag, ProgressLine, interrupts_between_steps, on_terminal, write_line
from kgraph.random_seed import next_seed
from kgraph.stepping import BatchLoop, batch_loop

PROGRAMS = ("predict", "evaluate", "train")


class Score(float):
    """What `evaluate` gives without metrics: the loss, which says so when somebody asks for a second value."""

    def __getitem__(self, index: int) -> float:
        if index in (0, -1):
            return float(self)
        raise StateError(f"evaluate()[{index}]", expected="metrics given to compile", received="only a loss",
                         fix="Use compile(..., metrics=['accuracy'])")  # fmt: skip


class Trainer:
    """What a model can do once it is compiled. `Model` inherits it; the class has no state before `compile`.

    Every program (predict, evaluate, train) is traced and compiled once and serves every batch size.
    """

    _setup: TrainingSetup | None = None
    _history: History | None = None
    _stop = False
    _diverged = False
    _predicting: tuple[Any, CompiledProgram] | None = None

    # --- compile ------------------------------------------------------------------------------------------------------

    def compile(
        self, optimizer: Any = "rmsprop", loss: Any = None, loss_weights: Any = None, metrics: Any = None,
        weighted_metrics: Any = None, run_eagerly: bool = False, steps_per_execution: int = 1,
        jit_compile: bool | str = "auto", auto_scale_loss: bool = True,
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
            steps_per_execution, jit_compile, auto_scale_loss: accepted as in Keras; every step is one native call.

        Raises:
            ArgumentError: an unknown name, or, where the outputs are known, a structure that does not fit them.
        """
        setup = TrainingSetup(
            optimizer, loss, metrics, loss_weights, weighted_metrics, "interpreter" if run_eagerly else None
        )
        if self._model.built:
            setup.check_structure(self._model.output_names())
        self._setup = setup

    @property
    def compiled(self) -> bool:
        """Whether `compile` was called."""
        return self._setup is not None

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
        """The running values: the loss, then the metrics."""
        return [metric for _, metric in self._setup.trackers()] if self._setup else []

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

    # --- loops --------------------------------------------------------------------------------------------------------

    def fit(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, epochs: int = 1,
        verbose: int | str = "auto", callbacks: Any = None, validation_split: float = 0.0, validation_data: Any = None,
        shuffle: bool = True, *, sample_weight: Any = None, initial_epoch: int = 0, nb_epoch: int | None = None,
    ) -> History:  # fmt: skip
        """Train on arrays.

        Args:
            x: inputs: an array or nested lists; with several inputs a list, or a dict by input name. Integers, bools,
                float64, other byte orders and layouts are converted once, before the first step.
            y: targets, in the same forms.
            batch_size: >= 1; 32 if None. The last batch of an epoch may be smaller.
            epochs: number of the last epoch.
            verbose: 0 silent, 1 or "auto" a moving line on a terminal and a line an epoch elsewhere, 2 a line an epoch.
            callbacks: `Callback` objects.
            validation_split: share of the data, taken from the end before shuffling, that is kept for validation.
            validation_data: (x, y) or (x, y, sample_weight) to evaluate after every epoch; goes before the split.
            shuffle: draw a new order for every epoch; it follows from `set_random_seed`.
            sample_weight: a weight for each sample's loss.
            initial_epoch: number of the first epoch, from 0.
            nb_epoch: old spelling of `epochs`.

        Returns:
            History: `history.history["loss"]`, ["accuracy"], ["val_loss"] ... have a value for each epoch. The loss is
            the mean over the epoch's batches, weighted by their sizes.

        Ctrl-C ends training after the running step; the record so far stays in `model.history`.
        """
        setup = self._compiled("fit")
        batch_size = check_batch_size(batch_size)
        epochs = _check_epochs(epochs if nb_epoch is None else nb_epoch, initial_epoch)
        if nb_epoch is not None:
            warn_user("fit(nb_epoch=...) is the old name of epochs=")
        data = self._prepared("fit", x, y, sample_weight)
        validation = None
        if validation_data is not None:
            validation = self._validation(validation_data)
        elif validation_split:
            at = split_at(data.rows, validation_split)
            data, validation = data.part(0, at), data.part(at, data.rows)
        random = np.random.default_rng(next_seed()) if shuffle else None
        params = {"verbose": verbose, "epochs": epochs, "steps": -(-data.rows // batch_size)}
        return self._fitted(setup, data, validation, batch_size, range(initial_epoch, epochs), random,
                            callbacks, params)  # fmt: skip

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, verbose: int | str = "auto",
        sample_weight: Any = None, *, callbacks: Any = None, return_dict: bool = False,
    ) -> Any:  # fmt: skip
        """Loss and metrics on arrays; arguments as in `fit`.

        Returns:
            The loss as a number if there are no metrics, else a list in the order of `metrics_names`; a dict with
            `return_dict`.
        """
        setup = self._compiled("evaluate")
        batch_size = check_batch_size(batch_size)
        data = self._prepared("evaluate", x, y, sample_weight)
        hooks = CallbackList(callbacks, self, {"steps": -(-data.rows // batch_size), "verbose": verbose})
        hooks.on_test_begin()
        line = ProgressLine(moving=False)
        line.start("", -(-data.rows // batch_size))
        logs = self._evaluated(setup, data, batch_size)
        if verbose:
            write_line(line.text(logs))
        hooks.on_test_end(logs)
        return self._reported(setup, logs, return_dict)

    def predict(
        self, x: Any, batch_size: int | None = None, verbose: int | str = "auto", *, callbacks: Any = None
    ) -> Any:
        """Outputs for inputs, computed in batches, in the structure of the model's outputs.

        Args:
            x: inputs as in `fit`; may have no samples.
            batch_size: >= 1; 32 if None.
            verbose: 0 silent; otherwise a moving line on a terminal if it takes long.
            callbacks: `Callback` objects.
        """
        batch_size = check_batch_size(batch_size)
        arrays, rows = input_arrays(self, "predict", x, empty=True)
        program = self._predict_program()
        hooks = CallbackList(callbacks, self, {"steps": -(-rows // batch_size), "verbose": verbose})
        hooks.on_predict_begin()
        loop = batch_loop(program, arrays, batch_size, self._execution())
        line = ProgressLine(bool(verbose) and on_terminal())
        line.start("predict", -(-rows // batch_size), patience=0.5)
        while loop.unfinished:
            loop.advance()
            if line.due():
                line.show(loop.done, {})
        line.abandon()
        hooks.on_predict_end()
        return self._packed(loop.results)

    # --- one batch ----------------------------------------------------------------------------------------------------

    def train_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, *, return_dict: bool = False) -> Any:
        """One training step on these samples; loss and metrics of this batch, before the update."""
        setup = self._compiled("train_on_batch")
        data = self._prepared("train_on_batch", x, y, sample_weight)
        program = self._program("train", data)
        setup.reset()
        program.run(data.arrays, self._execution())
        return self._reported(setup, setup.logs(), return_dict)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, *, return_dict: bool = False) -> Any:
        """Loss and metrics of these samples."""
        setup = self._compiled("test_on_batch")
        data = self._prepared("test_on_batch", x, y, sample_weight)
        return self._reported(setup, self._evaluated(setup, data, max(data.rows, 1)), return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """Outputs for these samples, computed at once."""
        program = self._predict_program() if self._model.built else None
        if program is not None and len(program.argument_types) == 1 and is_prepared(x, program.argument_types[0]):
            arrays = [x]
        else:
            arrays, _ = input_arrays(self, "predict_on_batch", x)
            program = self._predict_program()
        return self._packed(program.run(arrays, self._execution()))

    # --- looking and checking -----------------------------------------------------------------------------------------

    def dump(self, stage: str, program: str = "train") -> str:
        """The model's program at a stage of compilation, as text.

        Args:
            stage: "traced", "optimized", "fused", "loops", "plan", "llvm" or "asm".
            program: "predict", "evaluate" or "train".
        """
        if program not in PROGRAMS:
            raise ArgumentError("dump(program)", expected="one of " + ", ".join(PROGRAMS), received=repr(program))
        if program == "predict":
            return self._predict_program().dump(stage)
        return self._usual_program(program).dump(stage)

    def training_program(self) -> CompiledProgram:
        """The program of one training step, for labels of the type that the losses expect."""
        return self._usual_program("train")

    def memory_report(self, batch_size: int = 32, **sizes: int) -> MemoryReport:
        """Bytes that the model's programs need; compiles them, allocates nothing. Print it for a table.

        Args:
            batch_size: >= 1.
            sizes: values of other symbolic sizes, if the model has any.

        Returns:
            MemoryReport: weights, optimizer slots, and for predict, evaluate and train the working memory with its
            largest buffers. A model that is not compiled has only predict.
        """
        batch_size = check_batch_size(batch_size)
        programs = {"predict": self._predict_program()}
        if self._setup is not None:
            programs |= {kind: self._usual_program(kind) for kind in PROGRAMS[1:]}
        optimizer = self._setup.optimizer.variables if self._setup is not None else []
        sizes = {**sizes, str(BATCH): batch_size}
        return memory_report(programs, batch_size, sizes, self._model.weights, optimizer)

    def compare(self, x: Any, y: Any = None) -> Comparison:
        """Run interpreter and native code on the same state and compare all results.

        The state (weights, optimizer, metrics, randomness) is as before afterwards.

        Args:
            x: inputs as in `fit`.
            y: targets; with them the loss, every gradient and every updated weight are compared as well.

        Returns:
            Comparison: printable as a table; `ok` says whether all differences are within their tolerances.
        """
        if y is None:
            arrays, _ = input_arrays(self, "compare", x)
            return Comparison(compare_results(self._predict_program(), arrays, "output"))
        setup = self._compiled("compare")
        data = self._prepared("compare", x, y, None)
        inputs = data.arrays[: len(self._model.input_specs())]
        rows = compare_results(self._predict_program(), inputs, "output")
        programs = self._program("gradients", data), self._program("train", data)
        rows += compare_training(*programs, data.arrays, self._model.trainable_variables)
        setup.reset()
        return Comparison(rows)

    # --- inside -------------------------------------------------------------------------------------------------------

    @property
    def _model(self) -> Any:
        """This object as the model that it is: the class only mixes in."""
        return self

    def _compiled(self, call: str) -> TrainingSetup:
        if self._setup is None:
            raise StateError(f"{call}: the model is not compiled", fix="Call model.compile(optimizer, loss) first")
        return self._setup

    def _execution(self) -> str | None:
        return self._setup.execution if self._setup else None

    def _predict_program(self) -> CompiledProgram:
        if not self._model.built:
            raise StateError("predict: the model is not built", fix="Give the first layer an input shape, or data")
        version = self._model._version_of_all()
        if self._predicting is None or self._predicting[0] != version:
            self._predicting = (version, predict_program(self._model))
        return self._predicting[1]

    def _targets(self, setup: TrainingSetup) -> list[Target]:
        program = self._predict_program().program
        types = [value.type for value in program.graph.outputs[: len(program.results)]]
        names = self._model.output_names()
        return setup.match(names, types, by_name=isinstance(self._model.pack_outputs(names), dict))

    def _prepared(self, call: str, x: Any, y: Any, sample_weight: Any) -> Data:
        setup = self._compiled(call)
        inputs, _ = input_arrays(self, call, x)
        targets = self._targets(setup)
        if y is None and (sample_weight is not None or setup.needs_labels):
            raise DataError(f"{call}: y is missing")
        return training_data(self, [] if y is None else targets, call, inputs, y, sample_weight)

    def _usual_program(self, kind: str) -> CompiledProgram:
        targets = self._targets(self._compiled(kind))
        return self._cached(kind, [target.usual_type for target in targets], weighted=False)

    def _cached(self, kind: str, y_types: Sequence[TensorType], weighted: bool) -> CompiledProgram:
        return self._compiled(kind).program(kind, self._model, y_types, weighted, self._model._version_of_all())

    def _program(self, kind: str, data: Data) -> CompiledProgram:
        return self._cached(kind, data.y_types, data.weighted)

    def _validation(self, data: Any) -> Data:
        if not isinstance(data, (list, tuple)) or len(data) not in (2, 3):
            raise ArgumentError("fit(validation_data)", expected="(x, y) or (x, y, sample_weight)",
                                received=f"{type(data).__name__}")  # fmt: skip
        return self._prepared("validation_data", data[0], data[1], data[2] if len(data) == 3 else None)

    def _fitted(
        self, setup: TrainingSetup, data: Data, validation: Data | None, batch_size: int, epochs: Iterable[int],
        random: np.random.Generator | None, callbacks: Any, params: dict[str, Any],
    ) -> History:  # fmt: skip
        """The epochs of `fit`."""
        loop = batch_loop(self._program("train", data), data.arrays, batch_size, self._execution())
        progress = _progress(params["verbose"])
        self._history = history = History()
        self._stop = self._diverged = False
        hooks = CallbackList([*_listed(callbacks), *progress, history], self, params)
        hooks.on_train_begin()
        with interrupts_between_steps() as interrupt:
            for epoch in epochs:
                loop.restart(None if random is None else random.permutation(data.rows))
                hooks.on_epoch_begin(epoch)
                try:
                    self._epoch(setup, loop, epoch, hooks, progress, interrupt)
                    logs = setup.logs()
                    if validation is not None:
                        values = self._evaluated(setup, validation, batch_size, interrupt)
                        logs |= {f"val_{name}": value for name, value in values.items()}
                        logs = dict(sorted(logs.items()))
                except KeyboardInterrupt:
                    for line in progress:
                        line.interrupted()
                    raise
                hooks.on_epoch_end(epoch, logs)
                if self._stop:
                    break
        setup.optimizer.finalize_variable_values(self._model.trainable_variables)
        hooks.on_train_end()
        return history

    def _epoch(
        self, setup: TrainingSetup, loop: BatchLoop, epoch: int, hooks: CallbackList, progress: list[ProgbarLogger],
        interrupt: InterruptFlag,
    ) -> None:  # fmt: skip
        """Train on every batch once; native code runs many at a time unless a callback looks at each."""
        setup.reset()
        line = progress[0] if progress else None
        while loop.unfinished:
            first = loop.done
            if hooks.wants_batches:
                hooks.on_train_batch_begin(first)
            loop.advance(1 if hooks.wants_batches else None)
            self._check_losses(loop.results[0][first : loop.done], epoch, first)
            if hooks.wants_batches:
                hooks.on_train_batch_end(first, setup.logs())
            if line is not None and line.due():
                line.show(loop.done - 1, setup.logs())
            if interrupt.pressed:
                interrupt.check()

    def _check_losses(self, losses: np.ndarray, epoch: int, first: int) -> None:
        """Warn once in a `fit` if a loss is not finite; the first of `losses` is that of batch number `first`."""
        finite = np.isfinite(losses)
        if not self._diverged and not finite.all():
            self._diverged = True
            at = int(finite.argmin())
            what = "NaN" if np.isnan(losses[at]) else "Inf"
            warn_user(f"fit: loss became {what} at epoch {epoch + 1} batch {first + at}")

    def _evaluated(
        self, setup: TrainingSetup, data: Data, batch_size: int, interrupt: InterruptFlag | None = None
    ) -> dict[str, Any]:
        loop = batch_loop(self._program("evaluate", data), data.arrays, batch_size, self._execution())
        setup.reset()
        while loop.unfinished:
            loop.advance()
            if interrupt is not None:
                interrupt.check()
        return setup.logs()

    def _reported(self, setup: TrainingSetup, logs: dict[str, Any], return_dict: bool) -> Any:
        if return_dict:
            return logs
        values = [logs[name] for name, _ in setup.trackers()]
        return Score(values[0]) if len(values) == 1 else values

    def _packed(self, results: list[np.ndarray]) -> Any:
        return self._model.pack_outputs(results)


def _check_epochs(epochs: Any, initial_epoch: int) -> int:
    if isinstance(epochs, bool) or not isinstance(epochs, (int, np.integer)) or epochs < 0:
        raise ArgumentError("epochs must be an int >= 0", received=repr(epochs))
    if initial_epoch < 0:
        raise ArgumentError("initial_epoch must be >= 0", received=repr(initial_epoch))
    return int(epochs)


def _progress(verbose: int | str) -> list[ProgbarLogger]:
    if verbose not in ("auto", 0, 1, 2):
        raise ArgumentError("verbose", expected="'auto', 0, 1 or 2", received=repr(verbose))
    return [ProgbarLogger(moving=verbose != 2 and on_terminal())] if verbose else []


def _listed(callbacks: Any) -> list[Any]:
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]

