"""What a step of training gets: types of its arguments, and how messages call them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from kgraph.data.streams import pack_x_y_sample_weight
from kgraph.ir.types import TensorType
from kgraph.nesting import map_structure, pack
from kgraph.record import record
from kgraph.trace import Trace

# None, one for all outputs, or one (or None) for each output.
WeightTypes: TypeAlias = "Sequence[TensorType | None]"
# None for an output without a loss that has no labels; empty if none has.
LabelTypes: TypeAlias = "Sequence[TensorType | None]"


@record
class StepArguments:
    """Types of what a step gets, in the nesting of the data; None for what is not given."""

    x: Any
    y: Any
    sample_weight: Any

    def trace(self, trace: Trace) -> Any:
        """New arguments of a program: x, (x, y) or (x, y, sample_weight)."""
        return pack_x_y_sample_weight(*(self._part(trace, name) for name in ("x", "y", "sample_weight")))

    def _part(self, trace: Trace, name: str) -> Any:
        return map_structure(lambda t: None if t is None else trace.argument(t, name), getattr(self, name))


def usual_arguments(model: Any, y_types: LabelTypes, weight_types: WeightTypes) -> StepArguments:
    """The arguments of a step for labels of these types, in the nesting of the model's inputs and outputs."""
    x = pack(model.input_nesting(), [type_ for _, type_ in model.input_specs()])
    y = pack(model.output_nesting(), y_types) if y_types else None
    weights: Any = list(weight_types)
    return StepArguments(x, y, weights if len(weights) > 1 else weights[0] if weights else None)


def argument_names(names: Sequence[str], argument: str) -> list[str]:
    """How messages call the inputs or targets: "x", or "x['image']" where there are several."""
    return [argument] if len(names) == 1 else [f"{argument}['{name}']" for name in names]
