"""Masks of Keras: a bool for each time step that says whether it counts, kept beside a tensor while code is traced."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from kgraph.ir.dtypes import DType
from kgraph.ir.graph import Value
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import Operators, cast
from kgraph.nesting import flatten, map_structure
from kgraph.primitives import composites
from kgraph.trace import Trace


def mask_of(value: Any) -> Any:
    """The mask of a value of the program being traced; None if it has none."""
    trace = current_emitter()
    return trace.mask_of(value) if isinstance(trace, Trace) and isinstance(value, Value) else None


def masks_of(structure: Any) -> Any:
    """The masks of all leaves, in the same nesting."""
    return map_structure(mask_of, structure)


def set_mask(value: Any, mask: Any) -> None:
    """Give a value of the program being traced a mask; None changes nothing."""
    trace = current_emitter()
    if mask is not None and isinstance(trace, Trace) and isinstance(value, Value):
        trace.set_mask(value, mask)


def carry_mask(old: Any, new: Any) -> Any:
    """`new`, with the mask of `old`: for casts and reshapes that the caller does not see."""
    if new is not old:
        set_mask(new, mask_of(old))
    return new


def fill_mask_arguments(bound: inspect.BoundArguments, parameters: Mapping[str, inspect.Parameter]) -> None:
    """Give a call its masks, where it has parameters for them that were not given.

    ``mask`` is the mask of the only tensor argument; with several of them ``x_mask`` is that of argument ``x``.
    """
    tensors = {
        name: value
        for name, value in bound.arguments.items()
        if any(isinstance(leaf, Operators) for leaf in flatten(value))
    }
    names = {"mask": next(iter(tensors))} if len(tensors) == 1 else {f"{name}_mask": name for name in tensors}
    for parameter, source in names.items():
        if parameter in parameters and bound.arguments.get(parameter) is None:
            bound.arguments[parameter] = masks_of(tensors[source])


def both_masks(first: Any, second: Any) -> Any:
    """A mask that holds where both do; None is a mask that holds everywhere."""
    if first is None or second is None:
        return second if first is None else first
    return current_emitter().emit("logical_and", first, second)


def masked_weights(sample_weight: Any, mask: Any, dtype: DType, average: bool) -> Any:
    """Weights of values whose prediction has a mask: `sample_weight` (or 1) where the mask holds, else 0.

    Args:
        sample_weight: a tensor or None.
        mask: bool tensor, or None for no mask: then the weights are given back as they are.
        dtype: element type of the values.
        average: whether the weighted values will be divided by the number of all values. Then what the mask keeps is
            scaled up, so that the result is a mean over it.
    """
    if mask is None:
        return sample_weight
    emitter = current_emitter()
    weights = cast(mask, dtype)
    if average:
        kept, every = composites.sum(weights), composites.size(emitter.type_of(mask).size, dtype)
        weights = weights * (every / composites.maximum(kept, 1))
    if sample_weight is None:
        return weights
    rank, given = emitter.type_of(mask).rank, emitter.type_of(sample_weight).shape
    spread = composites.reshape(cast(sample_weight, dtype), (*given, *[1] * (rank - len(given))))
    return spread * weights
