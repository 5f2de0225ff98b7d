"""What the working memory of a program is for: its pieces, and the layers that they belong to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kgraph.ir.artifact import MemoryPlan, kernel_calls
from kgraph.ir.dims import evaluate
from kgraph.ir.graph import Graph, Node
from kgraph.record import record

LARGEST = 5  # buffers that are listed for each program


@record
class BufferMemory:
    """One piece of the working memory.

    Attributes:
        kind: "result", or "private": memory that a kernel needs while it runs, such as packed matrices.
        layer: path of the layer it comes from; empty for what no layer made, such as the loss.
        kernel: the native kernel that writes it.
        dtype, shape: of its elements.
        nbytes: its size.
    """

    kind: str
    layer: str
    kernel: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int


def largest_buffers(plan: MemoryPlan, nodes: Sequence[Node], sizes: Mapping[str, int]) -> list[BufferMemory]:
    """The largest pieces, largest first; of private memory only one, as kernels run one after another.

    Args:
        plan: of the program.
        nodes: those that its kernels come from, in the order of the calls.
        sizes: values of its symbolic sizes.
    """
    found: dict[int, BufferMemory] = {}
    for call, node in zip(kernel_calls(plan.calls), nodes, strict=True):
        layers = _layers(node, len(call.writes) - len(call.private))
        for number, layer in zip(call.writes, [*layers, *layers[:1] * len(call.private)], strict=True):
            whole = plan.whole(number)
            place = plan.places[whole]
            if place.kind == "slot" and whole not in found:
                kind = "private" if number in call.private else "result"
                shape, nbytes = place.type.concrete(sizes), evaluate(place.type.nbytes, sizes)
                found[whole] = BufferMemory(kind, layer, call.kernel, place.type.dtype.name, shape, nbytes)
    ordered = sorted(found.values(), key=lambda buffer: -buffer.nbytes)
    private = [buffer for buffer in ordered if buffer.kind == "private"]
    return [buffer for buffer in ordered if buffer not in private[1:]][:LARGEST]


def _layers(node: Node, results: int) -> list[str]:
    """The layer that each of the stored results of a kernel comes from."""
    body = node.attrs["body"] if node.op.name == "fusion" else None
    if not isinstance(body, Graph):
        return [node.loc.layer] * results
    made_by = body.producers()
    return [made_by[value].loc.layer for value in body.outputs]
