"""Looking at a model's programs: dump, memory_report, compare."""

from __future__ import annotations

from typing import Any

from kgraph.data import check_batch_size
from kgraph.engine import CompiledProgram
from kgraph.errors import ArgumentError
from kgraph.keras_tensor import BATCH
from kgraph.models.comparison import Comparison, compare_results, compare_training
from kgraph.models.compiled import Compiled
from kgraph.models.memory import MemoryReport, memory_report
from kgraph.models.model_data import input_arrays

PROGRAMS = ("predict", "evaluate", "train")


class Inspection(Compiled):
    """Methods that show what a model will run, and check it."""

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
        if y is None and self._model.has_outputs():
            arrays, _ = input_arrays(self, "compare", x)
            return Comparison(compare_results(self._predict_program(), arrays, "output"))
        setup = self._compiled("compare")
        data = self._prepared("compare", x, y)
        rows = []
        if self._model.has_outputs():
            inputs = data.arrays[: len(self._model.input_specs())]
            rows = compare_results(self._predict_program(), inputs, "output")
        programs = self._program("gradients", data), self._program("train", data)
        rows += compare_training(*programs, data.arrays, self._model.trainable_variables)
        setup.reset()
        return Comparison(rows)
