"""The user's arrays made into the arguments of a model's programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kgraph.data import (
    as_array,
    canonical,
    check_labels,
    check_rows,
    check_shares,
    named_arrays,
    prepare,
    target_type,
    warn_not_finite,
)
from kgraph.errors import DataError
from kgraph.ir.dtypes import dtype_of
from kgraph.ir.types import TensorType
from kgraph.keras_tensor import BATCH
from kgraph.models.sample_weights import named_weights, prepared_weights
from kgraph.models.step_arguments import StepArguments, argument_names
from kgraph.models.targets import Target
from kgraph.nesting import flatten, is_nested, map_structure, pack, parts_like
from kgraph.record import record


@record
class Data:
    """Prepared arrays: inputs, targets and weights in the order of a program's arguments.

    Attributes:
        arrays: all of them; equal numbers of rows.
        names: how messages call the inputs and targets among them.
        y_types: types of the targets; None for an output without a loss whose labels are not given.
        weight_types: types of the weights: none, one for all outputs, or one or None for each output.
        rows: number of samples.
        arguments: of a step that takes data of any form; None for the usual one.
    """

    arrays: list[np.ndarray]
    names: list[str]
    y_types: list[TensorType | None]
    weight_types: list[TensorType | None]
    rows: int
    arguments: StepArguments | None = None

    def part(self, start: int, stop: int) -> Data:
        """Rows start .. stop-1."""
        return replace(self, arrays=[array[start:stop] for array in self.arrays], rows=stop - start)

    def warn_not_finite(self, call: str, refuse: bool = False) -> bool:
        """Warn, or with `refuse` raise an error, if there are NaN or infinities; whether there were."""
        found = [warn_not_finite(call, name, a, refuse) for name, a in zip(self.names, self.arrays, strict=False)]
        return any(found)


def input_arrays(model: Any, call: str, x: Any, empty: bool = False) -> tuple[list[np.ndarray], int]:
    """Arrays for the model's inputs and their number of rows; builds a model that waits for its first data.

    Args:
        model: with `built`, `build_from`, `input_nesting` and `input_specs`.
        call: the method, for messages.
        x: what the user gave.
        empty: whether 0 rows are allowed.
    """
    if x is None:
        raise DataError(f"{call}: x is missing")
    if not model.built:
        _build_for(model, x)
    specs = model.input_specs()
    given = _named(x, model.input_nesting(), [name for name, _ in specs], "x")
    rows = check_rows(call, [given], empty)
    arrays = [prepare(array, t, f"{call}: {name}") for (name, array), (_, t) in zip(given, specs, strict=True)]
    return arrays, rows


def _named(data: Any, nesting: Any, names: Sequence[str], argument: str) -> list[tuple[str, np.ndarray]]:
    """(what messages call it, array) for each input or output; data may be nested as the model's own are."""
    if is_nested(nesting):
        parts = parts_like(nesting, data)
        if parts is not None:
            data = parts
    return named_arrays(data, names, argument)


def _build_for(model: Any, x: Any) -> None:
    nested = _nested_arrays(x, "x")
    model.build_from(nested[0] if isinstance(nested, list) and len(nested) == 1 else nested)


def _nested_arrays(x: Any, what: str) -> Any:
    """Arrays in the nesting of dicts, and of lists that hold arrays; other lists are arrays themselves."""
    if isinstance(x, dict):
        return {name: _nested_arrays(part, f"{what}['{name}']") for name, part in x.items()}
    if isinstance(x, (list, tuple)) and x and all(isinstance(leaf, np.ndarray) for leaf in flatten(x)):
        return [_nested_arrays(part, f"{what}[{n}]") for n, part in enumerate(x)]
    return canonical(as_array(x, what))


def training_data(
    model: Any, targets: Sequence[Target], call: str, inputs: list[np.ndarray], y: Any, sample_weight: Any
) -> Data:
    """Arguments of a training or evaluation program; labels and lengths are checked here, once.

    Args:
        model: with `input_specs` and `output_nesting`.
        targets: the model's outputs and their losses; none where only the model itself adds losses.
        call: the method, for messages.
        inputs: prepared.
        y: what the user gave.
        sample_weight: a weight per sample or step, for all outputs or each; or None.
    """
    names = argument_names([name for name, _ in model.input_specs()], "x")
    named = _named_labels(y, model.output_nesting(), targets) if targets else []
    given = [pair for pair in named if pair is not None]
    weights = named_weights(sample_weight, targets, call)
    rows = check_rows(call, [list(zip(names, inputs, strict=True)), given, [pair for pair in weights if pair]])
    labels: list[np.ndarray] = []
    y_types: list[TensorType | None] = []
    for target, pair in zip(targets, named, strict=True):
        if pair is None:
            y_types.append(None)
            continue
        name, array = pair
        type_ = target_type(array, target.prediction, target.dtype)
        label = prepare(array, type_, f"{call}: {name}")
        check_target(target, label)
        labels.append(label)
        y_types.append(type_)
    arrays = [*inputs, *labels]
    weight_types: list[TensorType | None] = []
    for target, pair in zip(targets, weights, strict=len(weights) > 1):
        if pair is None:
            weight_types.append(None)
            continue
        weight, weight_type = prepared_weights(pair[1], target, f"{call}: {pair[0]}")
        arrays.append(weight)
        weight_types.append(weight_type)
    return Data(arrays, [*names, *(name for name, _ in given)], y_types, weight_types, rows)


def _named_labels(y: Any, nesting: Any, targets: Sequence[Target]) -> list[tuple[str, np.ndarray] | None]:
    """(what messages call it, array) for each output; None where there is no loss and the labels are left out."""
    parts: dict[str, Any] = {}
    asked = [target.name for target in targets if target.loss is not None]
    if isinstance(y, dict):
        parts = {target.name: y.get(target.name) for target in targets}
    elif isinstance(y, (list, tuple)) and len(y) == len(targets):
        parts = {target.name: part for target, part in zip(targets, y, strict=True)}
    elif y is not None and len(asked) == (len(y) if isinstance(y, (list, tuple)) else 1):
        given = y if isinstance(y, (list, tuple)) else [y]
        parts = {**dict.fromkeys(target.name for target in targets), **dict(zip(asked, given, strict=True))}
    left_out = {target.name for target in targets if target.loss is None and parts.get(target.name, y) is None}
    names = [target.name for target in targets if target.name not in left_out]
    if left_out and names:
        y = {key: part for key, part in (y if isinstance(y, dict) else parts).items() if key not in left_out}
        found = dict(zip(names, named_arrays(y, names, "y"), strict=True))
        return [found.get(target.name) for target in targets]
    return list(_named(y, nesting, [target.name for target in targets], "y"))


def free_data(model: Any, call: str, x: Any, y: Any, sample_weight: Any) -> Data:
    """Arguments of a step that the model itself defines, without a loss that says what labels are.

    Inputs of a model with a `call` have its types; all other arrays go as they are: floats in `floatx`, integers and
    bools in types of their own.
    """
    if x is None:
        raise DataError(f"{call}: x is missing")
    parts = {"x": x, "y": y, "sample_weight": sample_weight}
    nested = {name: None if part is None else _nested_arrays(part, name) for name, part in parts.items()}
    if model.has_outputs():
        inputs, _ = input_arrays(model, call, x)
        nested["x"] = pack(model.input_nesting(), inputs)
    leaves = {name: [] if part is None else flatten(part) for name, part in nested.items()}
    named = {name: list(zip(argument_names([*map(str, range(len(found)))], name), found, strict=True))
             for name, found in leaves.items()}  # fmt: skip
    rows = check_rows(call, list(named.values()))
    arrays = [array for found in leaves.values() for array in found]
    types = {name: None if part is None else map_structure(_type_of, part) for name, part in nested.items()}
    names = [name for group in named.values() for name, _ in group]
    return Data([np.ascontiguousarray(a) for a in arrays], names, [], [], rows, StepArguments(**types))


def _type_of(array: np.ndarray) -> TensorType:
    return TensorType(dtype_of(array.dtype), (BATCH, *array.shape[1:]))


def check_target(target: Target, labels: np.ndarray) -> None:
    """DataError if labels are outside of what the loss can take."""
    loss, prediction = target.loss, target.prediction
    if loss is not None and loss.takes_shares:
        check_shares(loss.name, labels)
    if loss is None or not loss.takes_labels:
        return
    classes = prediction.shape[loss.class_axis]
    one_hot = labels.ndim == prediction.rank and labels.shape[-1] != 1
    if isinstance(classes, int) and not one_hot:  # the loss refuses one-hot rows with a message of its own
        check_labels(loss.name, labels, classes, loss.ignore_class)
