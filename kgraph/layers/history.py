"""Words for messages about symbolic tensors: which layer made one, which inputs stand behind it."""

from __future__ import annotations

from typing import Any

from kgraph.ir.dims import Dim, symbols_of
from kgraph.keras_tensor import KerasTensor, shape_text


def described(tensor: Any) -> str:
    """Shape, and the layer that made the tensor if that is known, such as ``(batch, 4) from 'dense'``."""
    source = tensor.source if isinstance(tensor, KerasTensor) else ""
    return shape_text(tensor.type) + (f" from '{source}'" if source else "")


def inputs_behind(tensor: Any, size: Dim) -> str:
    """The inputs that a symbolic tensor depends on and whose shape has a size name of `size`: "Input 'a'"."""
    found: dict[str, None] = {}
    waiting = [tensor] if isinstance(tensor, KerasTensor) else []
    seen = set(waiting)
    while waiting:
        current = waiting.pop()
        before = current.node.inputs if current.node else []
        names = {name for dim in current.type.shape for name in symbols_of(dim)}
        if not before and names & symbols_of(size):
            found[f"Input '{current.name}'"] = None
        waiting.extend(t for t in before if t not in seen)
        seen.update(before)
    return " or ".join(found)
