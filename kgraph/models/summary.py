"""The table that `model.summary()` prints."""

from __future__ import annotations

import textwrap
from typing import Any

from kgraph.errors import ArgumentError
from kgraph.keras_tensor import KerasTensor, Operation
from kgraph.layers.base import Layer
from kgraph.variable import Variable

# (header, alignment, where the column ends) as in Keras; the second table has the connections too.
_PLAIN = (("Layer (type)", "<", 0.45), ("Output Shape", "<", 0.8), ("Param #", ">", 1.0))
_CONNECTED = (
    ("Layer (type)", "<", 0.3), ("Output Shape", "<", 0.56), ("Param #", ">", 0.74), ("Connected to", "<", 1.0),
)  # fmt: skip
_UNITS = ("B", "KB", "MB", "GB", "TB")


def summary_text(
    model: Any,
    line_length: int | None = None,
    positions: list[float] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
) -> str:
    """The table of a model's layers and the totals below it."""
    connected = _is_branched(model)
    columns = list(_CONNECTED if connected else _PLAIN)
    width = 108 if connected else 88
    if show_trainable:
        columns = [(head, side, end * 0.9) for head, side, end in columns] + [("Trainable", "^", 1.0)]
        width += 12
    if positions is not None:
        if len(positions) != len(columns):
            expected = f"{len(columns)} numbers"
            raise ArgumentError("summary(positions=...)", expected=expected, received=str(len(positions)))
        columns = [(head, side, end) for (head, side, _), end in zip(columns, positions)]
    import shutil

    width = line_length or min(width, shutil.get_terminal_size().columns - 4)
    rows = [row for layer in model.layers for row in _rows(model, layer, connected, expand_nested, show_trainable)]
    return "\n".join([f'Model: "{model.name}"', *_table(columns, rows, width), *_totals(model)])


def _rows(
    model: Any, layer: Layer, connected: bool, expand: bool, show_trainable: bool, depth: int = 0
) -> list[list[str]]:
    indent = "   " * depth + "└ " if depth else ""
    params = f"{layer.count_params():,}" if layer.built else "0 (unbuilt)"
    row = [f"{indent}{layer.name} ({type(layer).__name__})", _output_shape(layer), params]
    if connected:
        row.append(_connections(model, layer))
    if show_trainable:
        row.append("-" if not layer.weights else "Y" if layer.trainable else "N")
    below = getattr(layer, "layers", ()) if expand else ()
    return [row] + [r for part in below for r in _rows(model, part, connected, expand, show_trainable, depth + 1)]


def _output_shape(layer: Layer) -> str:
    if not layer.inbound_nodes:
        return "?"
    shapes = [str(tensor.shape) for tensor in layer.inbound_nodes[0].outputs]
    return shapes[0] if len(shapes) == 1 else f"[{', '.join(shapes)}]"


def _connections(model: Any, layer: Operation) -> str:
    nodes = set(model.graph.nodes)
    listed = [_place(tensor) for node in layer.inbound_nodes if node in nodes for tensor in node.inputs]
    return ", ".join(listed) or "-"


def _place(tensor: KerasTensor) -> str:
    """Where a tensor comes from: layer[number of its call][number of the output]."""
    node = tensor.node
    assert node is not None
    return f"{node.operation.name}[{node.operation.inbound_nodes.index(node)}][{node.outputs.index(tensor)}]"


def _is_branched(model: Any) -> bool:
    """Whether the model is more than one layer after another."""
    graph = model.graph
    if graph is None:
        return False
    readers: dict[KerasTensor, int] = {}
    for node in graph.nodes:
        for tensor in node.inputs:
            readers[tensor] = readers.get(tensor, 0) + 1
    one_each = all(count == 1 for count in readers.values()) and all(len(node.inputs) <= 1 for node in graph.nodes)
    chain = len(graph.flat_inputs) == len(graph.flat_outputs) == 1 and one_each
    return not chain or len(graph.operations) != len(graph.nodes)


def _table(columns: list[tuple[str, str, float]], rows: list[list[str]], width: int) -> list[str]:
    ends = [int(end * width) for _, _, end in columns]
    # Each column gives two cells to its spaces and one to the line after it; the first also one to the line before.
    sizes = [end - start - 3 - (start == 0) for start, end in zip([0, *ends], ends)]
    if min(sizes) < 4:
        raise ArgumentError("summary(line_length=...)", expected="room for the columns", received=str(width))
    sides = [side for _, side, _ in columns]

    def line(left: str, middle: str, right: str, fill: str) -> str:
        return left + middle.join(fill * (size + 2) for size in sizes) + right

    def cells(texts: list[str], bar: str, aligned: list[str]) -> list[str]:
        wrapped = [textwrap.wrap(text, size) or [""] for text, size in zip(texts, sizes)]
        height = max(map(len, wrapped))
        filled = [part + [""] * (height - len(part)) for part in wrapped]
        return [
            bar + bar.join(f" {t:{side}{size}} " for t, side, size in zip(parts, aligned, sizes)) + bar
            for parts in zip(*filled)
        ]

    out = [line("┏", "┳", "┓", "━"), *cells([head for head, _, _ in columns], "┃", sides), line("┡", "╇", "┩", "━")]
    for number, row in enumerate(rows):
        out += [line("├", "┼", "┤", "─")] if number else []
        out += cells(row, "│", sides)
    return [*out, line("└", "┴", "┘", "─")]


def _totals(model: Any) -> list[str]:
    slots: list[Variable] = model.optimizer.variables if model.compiled else []
    kinds = [("Trainable", model.trainable_weights), ("Non-trainable", model.non_trainable_weights)]
    kinds += [("Optimizer", slots)] if slots else []
    lines = [("Total", [v for _, variables in kinds for v in variables]), *kinds]
    return [f" {kind} params: {_count(variables):,} ({_memory(variables)})" for kind, variables in lines]


def _count(variables: list[Variable]) -> int:
    return sum(v.array.size for v in variables)


def _memory(variables: list[Variable]) -> str:
    size = float(sum(v.array.nbytes for v in variables))
    power = 0
    while size >= 1024 and power < len(_UNITS) - 1:
        size, power = size / 1024, power + 1
    return f"{size:.2f} {_UNITS[power]}"
