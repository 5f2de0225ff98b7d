"""What programs need of a model, its forward pass, and the program "predict"."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from kgraph.engine import CompiledProgram
from kgraph.errors import ArgumentError, DTypeError
from kgraph.ir.dims import DimExpr
from kgraph.ir.dtypes import f32
from kgraph.ir.graph import Value
from kgraph.ir.opdef import emitting
from kgraph.ir.operators import Operators, lift
from kgraph.ir.types import TensorType
from kgraph.models.step_arguments import argument_names
from kgraph.models.step_methods import replaced
from kgraph.nesting import flatten, pack
from kgraph.trace import Trace
from kgraph.variable import Variable


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

    @property
    def metrics(self) -> list[Any]:
        """Running values that start again with each epoch."""

    def input_nesting(self) -> Any:
        """The inputs in the nesting in which data are given."""

    def output_nesting(self) -> Any:
        """The outputs in the nesting in which they are given back."""

    def predict_step(self, data: Any) -> Any:
        """Outputs for inputs, as the model defines them for `predict`."""

    def call_flat(self, values: list[Value], training: bool) -> list[Value]:
        """Outputs for inputs, inside a trace."""


def forward(trace: Trace, model: TrainableModel, training: bool) -> list[Value]:
    """Outputs of the model on new arguments of the trace."""
    return model.call_flat(_inputs(trace, model), training)


def _inputs(trace: Trace, model: TrainableModel) -> list[Value]:
    """New arguments of the trace for the model's inputs."""
    specs = model.input_specs()
    names = argument_names([name for name, _ in specs], "x")
    return [trace.argument(type_, name) for name, (_, type_) in zip(names, specs, strict=True)]


def predict_program(model: TrainableModel) -> tuple[CompiledProgram, Any]:
    """x -> what `predict` gives, and the nesting of that: of the model's outputs, or of what `predict_step` returns."""
    trace = Trace("predict", random_state=model.random_state)
    with emitting(trace):
        if not replaced(model, "predict"):
            values, nesting = forward(trace, model, training=False), model.output_nesting()
            return CompiledProgram(trace.program(list(zip(model.output_names(), values, strict=True)))), nesting
        made = model.predict_step(pack(model.input_nesting(), _inputs(trace, model)))
        values = [_predicted(trace, leaf) for leaf in flatten(made)]
        if not values:
            raise ArgumentError("predict_step", expected="tensors, alone or nested", received=repr(made))
        program = trace.program([(f"output_{n}", value) for n, value in enumerate(values)])
    return CompiledProgram(program), made


def _predicted(trace: Trace, leaf: Any) -> Value:
    """A result of `predict_step` as a value of the program."""
    if isinstance(leaf, (Operators, DimExpr, int, float, np.ndarray, np.generic)):
        return trace.lift(lift(leaf, None if isinstance(leaf, DimExpr) else f32), "predict_step")
    raise DTypeError("predict_step: what it returns", expected="tensors, alone or in dicts, lists and tuples",
                     received=type(leaf).__name__)  # fmt: skip
