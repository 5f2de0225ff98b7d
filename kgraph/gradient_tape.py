"""Gradients inside a training step of one's own, by name or in the style of TensorFlow's tape."""

from __future__ import annotations

from typing import Any

from kgraph.data import warn_user
from kgraph.errors import GraphError
from kgraph.ir.graph import Value
from kgraph.ir.operators import lift
from kgraph.keras_tensor import active_trace
from kgraph.nesting import flatten, pack
from kgraph.primitives import composites
from kgraph.trace import Trace
from kgraph.trace import gradients as scalar_gradients


def gradients(target: Any, sources: Any) -> Any:
    """Gradients of a tensor in the program being traced, as a `train_step` needs them; tensors of that program too.

    Args:
        target: a float tensor; of more than one number the gradients of their sum.
        sources: variables or tensors that `target` was computed from, in any nesting.

    Returns: a tensor for each source, in the nesting of `sources`; zeros where `target` does not depend on one. They
        can be differentiated again.
    Raises: GraphError outside of a program, or if `target` depends on none of the sources.
    """
    trace = _step("gradients")
    given = flatten(sources)
    leaves = [trace.lift(source, "source of gradients") for source in given]
    value = trace.lift(target, "target of gradients")
    if not value.type.dtype.is_float:
        raise GraphError("gradients: target", expected="a float tensor", received=str(value.type))
    reached = _needed(trace, value)
    missed = [source for source, leaf in zip(given, leaves, strict=True) if leaf not in reached]
    if missed:
        shown = [getattr(source, "path", None) or str(trace.type_of(source)) for source in missed[:3]]
        names = ", ".join([*shown, "..."] if len(missed) > len(shown) else shown)
        if len(missed) == len(given):
            raise GraphError("gradients", expected="a target that depends on a source", received=f"none: {names}",
                             fix="Compute the target from tensors, not from copies such as .numpy()")  # fmt: skip
        warn_user(f"gradients: the target does not depend on {names}; their gradients are zero")
    if value.type.rank:
        value = composites.sum(value)
    return pack(sources, scalar_gradients(value, given)) if leaves else sources


def _step(name: str) -> Trace:
    trace = active_trace()
    if trace is None:
        raise GraphError(name, expected="to be used inside a step being traced", fix="Use it in Model.train_step")
    return trace


def _needed(trace: Trace, target: Value) -> set[Value]:
    """`target` and all that it was computed from."""
    needed = {target}
    for node in reversed(trace.nodes):
        if not needed.isdisjoint(node.outputs):
            needed.update(node.inputs)
    return needed


class GradientTape:
    """TensorFlow's way to write `gradients`. A program remembers all it computes, so a tape has nothing to record.

    Args:
        persistent, watch_accessed_variables: accepted; every tape can be asked more than once.
    """

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True) -> None:
        _step("GradientTape")

    def __enter__(self) -> GradientTape:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def watch(self, tensor: Any) -> None:
        """Nothing: every tensor is watched."""

    def gradient(
        self, target: Any, sources: Any, output_gradients: Any = None, unconnected_gradients: Any = None
    ) -> Any:
        """`gradients` of the target, or of its product with `output_gradients`.

        Args:
            unconnected_gradients: accepted; the gradient of what the target does not depend on is zero.
        """
        if output_gradients is not None:
            target = target * _step("gradients").emit("stop_gradient", lift(output_gradients))
        return gradients(target, sources)
