"""Outputs of a model and the gradients of their product with given numbers."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from kgraph.eager import array_types, as_array, as_arrays
from kgraph.engine import CompiledProgram
from kgraph.errors import ArgumentError
from kgraph.ir.opdef import emitting
from kgraph.models.model import Model
from kgraph.nesting import flatten
from kgraph.primitives import composites
from kgraph.trace import Trace, gradients

Array: TypeAlias = "npt.NDArray[Any]"


def vjp(
    model: Model, inputs: Any, cotangents: Any, training: bool = False
) -> tuple[list[Array], list[Array | None], list[Array]]:
    """Outputs, and gradients of ``sum_i sum(output_i * cotangent_i)`` for the inputs and the trainable weights.

    Args:
        model: a model; one without inputs of its own is built for these.
        inputs: arrays in the nesting that the model takes.
        cotangents: one array of each output's shape, flat or in the outputs' nesting.
        training: whether layers such as dropout act as in training.

    Returns: (outputs, input gradients, weight gradients): flat lists of arrays; weights in the order of
        `model.trainable_weights`; the gradient of an input that is not a float is None.
    Raises: ShapeError or ArgumentError if inputs or cotangents do not fit the model.
    """
    given = as_arrays(inputs, "vjp: inputs")
    model.build_from(given)
    arrays = model.graph.arrange(given, "vjp: inputs") if model.graph is not None else flatten(given)
    seeds = [as_array(c, "vjp: cotangents") for c in flatten(as_arrays(cotangents, "vjp: cotangents"))]
    trace = Trace("vjp", training, model.random_state)
    with emitting(trace):
        values = [trace.argument(t, f"input_{n}") for n, t in enumerate(array_types(arrays, symbolic=True))]
        outputs = model.call_flat(values, training)
        if len(seeds) != len(outputs):
            raise ArgumentError("vjp: cotangents", expected=f"{len(outputs)} arrays", received=str(len(seeds)))
        weighted = [trace.argument(trace.type_of(y), f"cotangent_{n}") for n, y in enumerate(outputs)]
        total = functools.reduce(operator.add, [composites.sum(y * c) for y, c in zip(outputs, weighted)])
        floats = [value for value in values if value.dtype.is_float]
        weights = model.trainable_weights
        found = gradients(total, [*floats, *weights])
        program = trace.program([(f"result_{n}", value) for n, value in enumerate([*outputs, *found])])
    seeds = [np.asarray(seed, value.dtype.to_numpy()) for seed, value in zip(seeds, weighted)]
    results = CompiledProgram(program).run([*arrays, *seeds])
    return _sorted(results, len(outputs), [value.dtype.is_float for value in values])


def _sorted(
    results: Sequence[Array], outputs: int, is_float: Sequence[bool]
) -> tuple[list[Array], list[Array | None], list[Array]]:
    """The results as outputs, input gradients (None where the input is not a float), weight gradients."""
    remaining = iter(results[outputs:])
    of_inputs = [next(remaining) if differentiable else None for differentiable in is_float]
    return list(results[:outputs]), of_inputs, list(remaining)
