"""What `compile` asks of each output, from lists, dicts and single values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kgraph.errors import ArgumentError, DTypeError
from kgraph.ir.dtypes import DType, i32
from kgraph.ir.types import TensorType
from kgraph.lookup import did_you_mean
from kgraph.losses import Loss
from kgraph.nesting import flatten
from kgraph.record import record


@record
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


def checked_weight(weight: Any) -> float | None:
    """A factor of a loss; DTypeError if it is no number."""
    if weight is not None and (isinstance(weight, bool) or not isinstance(weight, (int, float))):
        raise DTypeError("compile(loss_weights)", expected="numbers", received=repr(weight))
    return None if weight is None else float(weight)


def map_leaves(function: Any, structure: Any) -> Any:
    """The same lists and dicts with `function` applied to what they hold."""
    if isinstance(structure, dict):
        return {key: map_leaves(function, value) for key, value in structure.items()}
    if isinstance(structure, (list, tuple)):
        return [map_leaves(function, value) for value in structure]
    return function(structure)


def per_output(structure: Any, names: Sequence[str], argument: str, spread: bool) -> list[Any]:
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


def metrics_per_output(structure: Any, names: Sequence[str]) -> list[list[Any]]:
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
    each = per_output(structure, names, "metrics", spread=False)
    return [[metric for metric in flatten(entry) if metric is not None] for entry in each]


def _check_keys(structure: dict[str, Any], names: Sequence[str], argument: str) -> None:
    for key in structure:
        if key not in names:
            hint = did_you_mean(str(key), names) if len(names) > 1 else f"The output is '{names[0]}'"
            raise ArgumentError(f"compile({argument}={{'{key}': ...}}): no such output", fix=hint)
