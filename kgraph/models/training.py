"""Training methods of models: fit, evaluate, predict and their one-batch forms."""

from __future__ import annotations

from typing import Any

import numpy as np

from kgraph.callbacks import CallbackList, History
from kgraph.data import BatchSource, check_batch_size, is_prepared, is_stream, split_at
from kgraph.errors import ArgumentError, DataError, StateError
from kgraph.models.batch_preparation import PredictionBatches, TrainingBatches, batches_of, joined, rows_in_turn
from kgraph.models.epochs import (
    EpochLoop,
    Validation,
    check_epochs,
    check_steps,
    fit_callbacks,
    run_evaluation,
    validation_epochs,
)
from kgraph.models.inspection import Inspection
from kgraph.models.model_data import Data, input_arrays
from kgraph.models.old_arguments import check_old
from kgraph.models.steps import ArraySteps, Shortage, Steps, StreamSteps
from kgraph.models.training_programs import TrainingSetup
from kgraph.numeric_guard import reported
from kgraph.progress import ProgressLine, on_terminal, write_line
from kgraph.random_seed import next_seed
from kgraph.stepping import batch_loop


class Score(float):
    """What `evaluate` gives without metrics: the loss, which says so when somebody asks for a second value."""

    def __getitem__(self, index: int) -> float:
        if index in (0, -1):
            return float(self)
        raise StateError(f"evaluate()[{index}]", expected="metrics given to compile", received="only a loss",
                         fix="Use compile(..., metrics=['accuracy'])")  # fmt: skip


class Trainer(Inspection):
    """What a model can do once it is compiled. `Model` inherits it."""

    # --- loops --------------------------------------------------------------------------------------------------------

    def fit(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, epochs: int = 1,
        verbose: int | str = "auto", callbacks: Any = None, validation_split: float = 0.0, validation_data: Any = None,
        shuffle: bool = True, class_weight: Any = None, sample_weight: Any = None, initial_epoch: int = 0,
        steps_per_epoch: int | None = None, validation_steps: int | None = None,
        validation_batch_size: int | None = None, validation_freq: Any = 1, *, nb_epoch: int | None = None, **old: Any,
    ) -> History:  # fmt: skip
        """Train on arrays, or on a stream of batches.

        Args:
            x: inputs: an array, a table with columns or nested lists; with several inputs a list, or a dict by input
                name. Integers, bools, float64, other byte orders and layouts are converted once, before the first step.
                Or a stream of batches: a generator, a `PyDataset`, a loader of another package; each batch is x,
                (x, y) or (x, y, sample_weight).
            y: targets, in the same forms; a stream has them with it.
            batch_size: >= 1; 32 if None. The last batch of an epoch may be smaller. Streams have sizes of their own.
            epochs: number of the last epoch.
            verbose: 0 silent, 1 or "auto" a moving line on a terminal and a line an epoch elsewhere, 2 a line an epoch.
            callbacks: `Callback` objects.
            validation_split: share of the data, taken from the end before shuffling, that is kept for validation.
            validation_data: (x, y), (x, y, sample_weight) or a stream to evaluate after epochs; goes before the split.
            shuffle: draw a new order for every epoch; it follows from `set_random_seed`. Of a `PyDataset` the order of
                the batches is drawn; other streams come as they are.
            class_weight: dict from class number to the weight of its samples' loss; every class in y must be there.
            sample_weight: a weight for each sample's loss, or for each of its steps; with several outputs one array
                for all, or a list or dict of arrays.
            initial_epoch: number of the first epoch, from 0.
            steps_per_epoch: number of batches of an epoch; the next epoch goes on from there. None for all there are,
                which an endless stream does not allow.
            validation_steps: number of batches of a validation; None for all.
            validation_batch_size: `batch_size` if None.
            validation_freq: validate every so many epochs, or after the epochs in a list, counted from 1.
            nb_epoch: old spelling of `epochs`. `old` are arguments of Keras 2 that change nothing here, as `workers`.

        Returns:
            History: `history.history["loss"]`, ["accuracy"], ["val_loss"] ... have a value for each epoch. The loss is
            the mean over the epoch's batches, weighted by their sizes.

        Raises:
            DataError, ShapeError, DTypeError, ArgumentError: before the step of the data; a stream's own come through.

        Data that end before `steps_per_epoch` batches give a warning; training goes on as far as they reach. Ctrl-C
        ends training after the running step; the record so far stays in `model.history`.
        """
        check_old(self.fit, old)
        setup = self._compiled("fit")
        epochs = check_epochs(epochs, nb_epoch, initial_epoch)
        due, (wanted, progress, self._history) = validation_epochs(validation_freq), fit_callbacks(callbacks, verbose)
        batch_size = check_batch_size(batch_size)
        share = validation_split if validation_data is None else 0.0
        steps, held_back = self._training_steps(x, y, batch_size, share, shuffle, class_weight, sample_weight,
                                                check_steps("steps_per_epoch", steps_per_epoch))  # fmt: skip
        evaluation = self._validation_steps(held_back or validation_data, validation_batch_size or batch_size,
                                            check_steps("validation_steps", validation_steps))  # fmt: skip
        validation = None if evaluation is None else Validation(evaluation, due)
        self._stop = False
        hooks = CallbackList(wanted, model=self, verbose=verbose, epochs=epochs, steps=steps.steps)
        EpochLoop(self, setup, steps, validation, hooks, progress).run(range(initial_epoch, epochs))
        return self._history

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, verbose: int | str = "auto",
        sample_weight: Any = None, steps: int | None = None, callbacks: Any = None, return_dict: bool = False,
        **old: Any,
    ) -> Any:  # fmt: skip
        """Loss and metrics on arrays or on a stream of batches; arguments as in `fit`.

        Args:
            steps: number of batches; None for all.

        Returns:
            The loss as a number if there are no metrics, else a list in the order of `metrics_names`; a dict with
            `return_dict`.
        """
        check_old(self.evaluate, old)
        setup = self._compiled("evaluate")
        made = self._evaluation_steps("evaluate", x, y, sample_weight, check_batch_size(batch_size),
                                      check_steps("steps", steps))  # fmt: skip
        hooks = CallbackList(callbacks, model=self, verbose=verbose, epochs=1, steps=made.steps)
        line = ProgressLine(moving=False)
        line.start("", made.steps or 0)
        logs = run_evaluation(setup, made, hooks)
        if verbose:
            write_line(line.text(logs))
        return _reported(setup, "evaluate", logs, return_dict)

    def predict(
        self, x: Any, batch_size: int | None = None, verbose: int | str = "auto", steps: int | None = None,
        callbacks: Any = None, **old: Any,
    ) -> Any:  # fmt: skip
        """Outputs for inputs, computed in batches, in the structure of the model's outputs, or in that which a
        `predict_step` of the model gives. What batches give is joined along the first axis, single numbers to a vector.

        Args:
            x: inputs as in `fit`; may have no samples. Of the batches of a stream only x is used.
            batch_size: >= 1; 32 if None.
            verbose: 0 silent; otherwise a moving line on a terminal if it takes long.
            steps: number of batches; None for all.
            callbacks: `Callback` objects.
        """
        check_old(self.predict, old)
        batch_size = check_batch_size(batch_size)
        wanted = check_steps("steps", steps)
        line = ProgressLine(bool(verbose) and on_terminal())
        if not is_stream(x):
            arrays, rows = input_arrays(self, "predict", x, empty=True)
            if wanted is not None:
                arrays = [array[: wanted * batch_size] for array in arrays]
            if rows and not rows_in_turn(self._predict_program()):
                x = batches_of(arrays, self._model.input_nesting(), batch_size)
        if is_stream(x):
            stream = StreamSteps("predict", BatchSource(x, wanted), PredictionBatches(self, "predict"), wanted,
                                 self._execution(), self._guarded())  # fmt: skip
            return self._predicted(self._predicted_stream(stream, line, callbacks, verbose))
        loop = batch_loop(self._predict_program(), arrays, batch_size, self._execution(), self._guarded())
        hooks = CallbackList(callbacks, model=self, verbose=verbose, epochs=1, steps=loop.steps)
        self.stop_predicting = False
        hooks.on_predict_begin()
        line.start("predict", loop.steps, patience=0.5)
        while loop.unfinished:
            first = loop.done
            if hooks.watches_predict:
                hooks.on_predict_batch_begin(first)
            with reported("predict"):
                loop.advance(1 if hooks.watches_predict else None)
            if hooks.watches_predict:
                hooks.on_predict_batch_end(first, {"outputs": self._predicted(loop.batch_results(first))})
            if line.due():
                line.show(loop.done, {})
            if self.stop_predicting:
                break
        else:
            Shortage("predict", wanted).check(loop.steps)
        line.abandon()
        hooks.on_predict_end()
        return self._predicted(loop.joined_results())

    def _predicted_stream(self, steps: StreamSteps, line: ProgressLine, callbacks: Any, verbose: Any) -> list[Any]:
        hooks = CallbackList(callbacks, model=self, verbose=verbose, epochs=1, steps=steps.steps)
        self.stop_predicting = False
        hooks.on_predict_begin()
        line.start("predict", steps.steps or 0, patience=0.5)
        parts: list[list[np.ndarray]] = []
        steps.begin()
        while steps.unfinished:
            hooks.on_predict_batch_begin(steps.done)
            with reported("predict"):
                steps.advance(1 if hooks.watches_predict else None)
            parts.append(steps.results)
            hooks.on_predict_batch_end(steps.done - 1, {"outputs": self._predicted(steps.results)})
            if line.due():
                line.show(steps.done, {})
            if self.stop_predicting:
                break
        else:
            steps.finish()
        with reported("predict"):
            steps.look()
        line.abandon()
        hooks.on_predict_end()
        return joined(parts)

    # --- one batch ----------------------------------------------------------------------------------------------------

    def train_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None, return_dict: bool = False,
        **old: Any,
    ) -> Any:  # fmt: skip
        """One training step on these samples; loss and metrics of this batch, before the update."""
        check_old(self.train_on_batch, old)
        setup = self._compiled("train_on_batch")
        data = self._prepared("train_on_batch", x, y, sample_weight, class_weight)
        program = self._program("train", data)
        setup.reset()
        if setup.guarded_runs is None:
            program.run(data.arrays, self._execution())
        else:
            with reported("train_on_batch"):
                setup.guarded_runs.run(program, data.arrays, 0, look=True)
        return _reported(setup, "train", setup.logs(), return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False, **old: Any
    ) -> Any:
        """Loss and metrics of these samples."""
        check_old(self.test_on_batch, old)
        setup = self._compiled("test_on_batch")
        data = self._prepared("test_on_batch", x, y, sample_weight)
        steps = self._array_steps("test_on_batch", data, max(data.rows, 1))
        return _reported(setup, "evaluate", run_evaluation(setup, steps, CallbackList(model=self)), return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """Outputs for these samples, computed at once."""
        program = self._predict_program() if self._model.built else None
        if program is not None and len(program.argument_types) == 1 and is_prepared(x, program.argument_types[0]):
            arrays = [x]
        else:
            arrays, rows = input_arrays(self, "predict_on_batch", x, empty=True)
            if not rows:
                return self.predict(x, verbose=0)
            program = self._predict_program()
        return self._predicted(program.run(arrays, self._execution()))

    # --- inside -------------------------------------------------------------------------------------------------------

    def _training_steps(
        self, x: Any, y: Any, batch_size: int, validation_split: float, shuffle: bool, class_weight: Any,
        sample_weight: Any, wanted: int | None,
    ) -> tuple[Steps, Data | None]:  # fmt: skip
        """Steps of `fit`, and the rows that are kept for validation, if any."""
        if is_stream(x):
            _refuse_beside_stream("fit", y=y, sample_weight=sample_weight, validation_split=validation_split or None)
            batches = TrainingBatches(self, "train", "fit", class_weight)
            source = BatchSource(x, wanted, _random(shuffle))
            return StreamSteps("fit", source, batches, wanted, self._execution(), self._guarded()), None
        data, held_back = self._prepared("fit", x, y, sample_weight, class_weight), None
        if validation_split:
            at = split_at(data.rows, validation_split)
            data, held_back = data.part(0, at), data.part(at, data.rows)
        loop = batch_loop(self._program("train", data), data.arrays, batch_size, self._execution(), self._guarded())
        return ArraySteps("fit", loop, data.rows, wanted, _random(shuffle)), held_back

    def _array_steps(self, call: str, data: Data, batch_size: int, steps: int | None = None) -> ArraySteps:
        """Steps of an evaluation, of the first `steps` batches."""
        if steps is not None:
            data = data.part(0, min(data.rows, steps * batch_size))
        loop = batch_loop(self._program("evaluate", data), data.arrays, batch_size, self._execution(), self._guarded())
        return ArraySteps(call, loop, data.rows, steps)

    def _evaluation_steps(
        self, call: str, x: Any, y: Any, sample_weight: Any, batch_size: int, steps: int | None
    ) -> Steps:
        if not is_stream(x):
            return self._array_steps(call, self._prepared(call, x, y, sample_weight), batch_size, steps)
        _refuse_beside_stream(call, y=y, sample_weight=sample_weight)
        return StreamSteps(call, BatchSource(x, steps), TrainingBatches(self, "evaluate", call), steps,
                           self._execution(), self._guarded())  # fmt: skip

    def _validation_steps(self, data: Any, batch_size: int, steps: int | None) -> Steps | None:
        """Steps over rows that were kept, or over what the user gave; None if there is nothing."""
        batch_size = check_batch_size(batch_size)
        if data is None:
            return None
        if isinstance(data, Data):
            return self._array_steps("validation_data", data, batch_size, steps)
        if is_stream(data):
            return self._evaluation_steps("validation_data", data, None, None, batch_size, steps)
        if not isinstance(data, (list, tuple)) or len(data) not in (2, 3):
            raise ArgumentError("fit(validation_data)", expected="(x, y), (x, y, sample_weight) or a stream of batches",
                                received=f"{type(data).__name__}")  # fmt: skip
        x, y, weight = (*data, None)[:3]
        try:
            return self._evaluation_steps("validation_data", x, y, weight, batch_size, steps)
        except DataError as error:
            raise error.within("validation_data") from None


def _reported(setup: TrainingSetup, kind: str, logs: dict[str, Any], return_dict: bool) -> Any:
    if return_dict:
        return logs
    values = [logs[name] for name, _ in setup.trackers(kind)]
    return Score(values[0]) if len(values) == 1 else values


def _random(shuffle: bool) -> np.random.Generator | None:
    return np.random.default_rng(next_seed()) if shuffle else None


def _refuse_beside_stream(call: str, **arguments: Any) -> None:
    """ArgumentError if something is given that a stream must have in its batches."""
    for name, value in arguments.items():
        if value is not None:
            fix = "Use validation_data" if name == "validation_split" else f"Let the batches have {name}"
            raise ArgumentError(f"{call}({name}): not beside a stream of batches", fix=fix)
