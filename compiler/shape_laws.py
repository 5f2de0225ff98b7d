"""Laws of views, reductions and matrix products; they rearrange, and all are exact."""

from __future__ import annotations

from typing import Any

from kgraph.compiler.rewrite import Law, Rewriter, law
from kgraph.ir.dims import Shape
from kgraph.ir.graph import Node, Value


def _made_by(op: str, value: Value, rewriter: Rewriter) -> Node | None:
    node = rewriter.producer(value)
    return node if node is not None and node.op.name == op else None


def _emit(rewriter: Rewriter, op: str, *args: Value, **attrs: Any) -> Value:
    value = rewriter.emit(op, *args, **attrs)
    assert isinstance(value, Value)
    return value


@law("reshape", "broadcast", "slice", "pad", "concat")
def view_of_everything(node: Node, rewriter: Rewriter) -> Value | None:
    """A reshape, broadcast, slice, pad or concat that changes nothing is its operand.

    Equal types suffice: operand axes keep their order in a broadcast, and a slice as long as its operand along an axis
    takes that axis whole, since strides are positive.
    """
    if len(node.inputs) != 1 or node.inputs[0].type != node.output.type:
        return None
    if node.op.name == "pad" and any(n != 0 for n in (*node.attrs["low"], *node.attrs["high"])):
        return None
    return node.inputs[0]


@law("reshape")
def reshape_of_reshape(node: Node, rewriter: Rewriter) -> Value | None:
    """reshape(reshape(x)) = reshape(x)."""
    inner = _made_by("reshape", node.inputs[0], rewriter)
    return None if inner is None else _emit(rewriter, "reshape", inner.inputs[0], shape=node.attrs["shape"])


@law("reshape", "transpose", "slice")
def view_of_number(node: Node, rewriter: Rewriter) -> Value | None:
    """A view of a broadcast of one number is a broadcast of that number."""
    inner = _made_by("broadcast", node.inputs[0], rewriter)
    if inner is None or inner.inputs[0].type.rank != 0:
        return None
    return _emit(rewriter, "broadcast", inner.inputs[0], shape=node.output.type.shape, axes=())


@law("broadcast")
def broadcast_of_broadcast(node: Node, rewriter: Rewriter) -> Value | None:
    """broadcast(broadcast(x)) = broadcast(x) with the axes composed."""
    inner = _made_by("broadcast", node.inputs[0], rewriter)
    if inner is None:
        return None
    axes = tuple(node.attrs["axes"][axis] for axis in inner.attrs["axes"])
    return _emit(rewriter, "broadcast", inner.inputs[0], shape=node.attrs["shape"], axes=axes)


@law("broadcast")
def broadcast_without_copies(node: Node, rewriter: Rewriter) -> Value | None:
    """A broadcast that only puts in axes of size 1 is a reshape, which costs nothing."""
    (x,) = node.inputs
    if x.type.rank == 0 or x.type.size != node.output.type.size:
        return None
    return _emit(rewriter, "reshape", x, shape=node.output.type.shape)


@law("broadcast")
def broadcast_of_new_axes(node: Node, rewriter: Rewriter) -> Value | None:
    """broadcast(reshape(x)) = broadcast(x) if the reshape only puts in axes of size 1."""
    inner = _made_by("reshape", node.inputs[0], rewriter)
    if inner is None:
        return None
    kept = _axes_after_insertion(inner.inputs[0].type.shape, inner.output.type.shape)
    if kept is None:
        return None
    axes = tuple(node.attrs["axes"][axis] for axis in kept)
    return _emit(rewriter, "broadcast", inner.inputs[0], shape=node.attrs["shape"], axes=axes)


def _axes_after_insertion(old: Shape, new: Shape) -> tuple[int, ...] | None:
    """Where the axes of `old` are in `new`, if `new` is `old` with axes of size 1 put in."""
    kept: list[int] = []
    for axis, size in enumerate(new):
        if len(kept) < len(old) and size == old[len(kept)]:
            kept.append(axis)
        elif size != 1:
            return None
    return tuple(kept) if len(kept) == len(old) else None


@law("transpose")
def transpose_of_nothing(node: Node, rewriter: Rewriter) -> Value | None:
    """A transpose that only moves axes of size 1 is a reshape, which costs nothing."""
    (x,) = node.inputs
    perm = node.attrs["perm"]
    moved = [axis for axis in perm if x.type.shape[axis] != 1]
    if moved != sorted(moved):
        return None
    return x if x.type == node.output.type else _emit(rewriter, "reshape", x, shape=node.output.type.shape)


@law("transpose")
def transpose_of_transpose(node: Node, rewriter: Rewriter) -> Value | None:
    """transpose(transpose(x)) = transpose(x) with the permutations composed."""
    inner = _made_by("transpose", node.inputs[0], rewriter)
    if inner is None:
        return None
    perm = tuple(inner.attrs["perm"][axis] for axis in node.attrs["perm"])
    return _emit(rewriter, "transpose", inner.inputs[0], perm=perm)


@law("transpose")
def transpose_of_matmul(node: Node, rewriter: Rewriter) -> Value | None:
    """(a b)^T = b^T a^T: the same products in the same order, and nothing is moved in memory."""
    inner = _made_by("matmul", node.inputs[0], rewriter)
    if inner is None or not _swaps_last_two(node.attrs["perm"]):
        return None
    a, b = inner.inputs
    flags = inner.attrs
    return _emit(
        rewriter, "matmul", b, a, transpose_a=not flags["transpose_b"], transpose_b=not flags["transpose_a"]
    )  # fmt: skip


@law("matmul")
def matmul_of_transpose(node: Node, rewriter: Rewriter) -> Value | None:
    """matmul(transpose(a), b) reads a along its columns instead; so for b."""
    operands, flags = [], []
    for value, flag in zip(node.inputs, (node.attrs["transpose_a"], node.attrs["transpose_b"]), strict=True):
        inner = _made_by("transpose", value, rewriter)
        swapped = inner is not None and _swaps_last_two(inner.attrs["perm"])
        operands.append(inner.inputs[0] if inner is not None and swapped else value)
        flags.append(flag != swapped)
    if operands == list(node.inputs):
        return None
    return _emit(rewriter, "matmul", *operands, transpose_a=flags[0], transpose_b=flags[1])


def _swaps_last_two(perm: tuple[int, ...]) -> bool:
    rank = len(perm)
    return rank >= 2 and perm == (*range(rank - 2), rank - 1, rank - 2)


@law("sum", "max", "min", "prod")
def reduction_over_ones(node: Node, rewriter: Rewriter) -> Value | None:
    """A sum, product or extremum of one number is that number: axes of size 1 are not reduced but reshaped away."""
    (x,) = node.inputs
    axes = tuple(axis for axis in node.attrs["axes"] if x.type.shape[axis] != 1)
    if axes and axes == node.attrs["axes"]:
        return None
    if axes:
        x = _emit(rewriter, node.op.name, x, axes=axes, keepdims=node.attrs["keepdims"])
    value = _emit(rewriter, "reshape", x, shape=node.output.type.shape)
    return _sum_of_one(value, rewriter) if node.op.name == "sum" and not axes else value


@law("sum_to")
def sum_to_over_ones(node: Node, rewriter: Rewriter) -> Value | None:
    """sum_to over axes of size 1 only is a reshape."""
    (x,) = node.inputs
    if x.type.size != node.output.type.size:
        return None
    return _sum_of_one(_emit(rewriter, "reshape", x, shape=node.output.type.shape), rewriter)


def _sum_of_one(x: Value, rewriter: Rewriter) -> Value:
    """Sums begin with 0.0: the sum of a single -0.0 is 0.0. Where `x` cannot be that, this is `x`."""
    return _emit(rewriter, "add", x, rewriter.splat(0.0 if x.dtype.is_float else 0, x.type))


@law("concat")
def concat_of_parts_with_elements(node: Node, rewriter: Rewriter) -> Value | None:
    """Operands of size 0 along the axis of a concat add nothing."""
    axis = node.attrs["axis"]
    parts = [value for value in node.inputs if value.type.shape[axis] != 0]
    if len(parts) == len(node.inputs) or not parts:
        return None
    return _emit(rewriter, "concat", *parts, axis=axis)


SHAPE_LAWS: tuple[Law, ...] = (
    *view_of_everything,
    *reshape_of_reshape,
    *view_of_number,
    *broadcast_of_broadcast,
    *broadcast_without_copies,
    *broadcast_of_new_axes,
    *transpose_of_nothing,
    *transpose_of_transpose,
    *transpose_of_matmul,
    *matmul_of_transpose,
    *reduction_over_ones,
    *sum_to_over_ones,
    *concat_of_parts_with_elements,
)
