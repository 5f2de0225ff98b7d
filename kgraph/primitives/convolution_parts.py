"""The gradient of a convolution's weights as several sums, each over its part of the batch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from kgraph.errors import ShapeError
from kgraph.ir.dims import Dim, symbol
from kgraph.ir.loops import For, Stmt
from kgraph.ir.opdef import Array, Attr, Attrs, LoopContext, Loops, NoGrad, Sample, Types, primitive
from kgraph.ir.types import TensorType
from kgraph.primitives.convolution import PLAIN, conv_weight_grad, weight_geometry, weight_product
from kgraph.primitives.sampling import bad, of

NAME = "conv_weight_grad_parts"


def _infer(types: Types, attrs: Attrs) -> TensorType:
    parts = attrs.get("parts")
    if not isinstance(parts, int) or isinstance(parts, bool) or parts < 1:
        raise ShapeError(f"{NAME}, attribute parts", expected="an integer >= 1", received=repr(parts))
    if attrs.get("groups") != 1:
        raise ShapeError(f"{NAME}, attribute groups", expected="1", received=repr(attrs.get("groups")))
    (whole,) = conv_weight_grad.result_types(types, _of_whole(attrs))
    return whole.with_shape((parts, *whole.shape))


def _of_whole(attrs: Attrs) -> dict[str, Attr]:
    """The attributes of the gradient in one piece."""
    return {name: value for name, value in attrs.items() if name != "parts"}


def _first(part: Dim, parts: int, images: Dim) -> Dim:
    """First image of a part: parts differ by one image at most."""
    return part * images // parts


def _loops(context: LoopContext, parts: int, **attrs: Any) -> tuple[Stmt, ...]:
    g = weight_geometry(context.in_types, attrs)
    name = context.fresh("part")
    part, images = symbol(name), g.x[0]
    first = _first(part, parts, images)
    count = _first(part + 1, parts, images) - first
    return (For(name, parts, "parallel", weight_product(context, g, 0, (first, count), (part,))),)


def _samples(rng: np.random.Generator) -> Iterator[Sample]:
    for number, sample in enumerate(conv_weight_grad.samples(rng)):
        if sample.attrs["groups"] == 1:
            yield Sample(sample.args, {**sample.attrs, "parts": 1 + number % 3})


_BAD: Mapping[str, Attr] = {**PLAIN, "kernel": (2,)}


@primitive(
    infer=_infer,
    grad=NoGrad("a pass makes it of conv_weight_grad, after the gradients are made"),
    lower=Loops(_loops, reads_once=False, in_memory=(0, 1)),
    samples=_samples,
    errors=(
        bad("an integer >= 1", of((2, 5, 3)), of((2, 4, 4)), **_BAD, parts=0),
        bad("received 3", of((2, 5, 3)), of((2, 4, 4)), **{**_BAD, "groups": 3}, parts=2),
        bad("a second operand of shape", of((2, 5, 3)), of((2, 5, 4)), **_BAD, parts=2),
    ),
    source="the sum over the first axis is conv_weight_grad",
)
def conv_weight_grad_parts(x: Array, d: Array, parts: int, **attrs: Any) -> Any:
    """Gradients of a convolution's weights from `parts` pieces of the batch, stacked along a new first axis.

    Piece p holds the images p * batch // parts .. (p + 1) * batch // parts - 1; the other attributes are those of
    `conv_weight_grad`, with one group.
    """
    cuts = [part * len(x) // parts for part in range(parts + 1)]
    pieces = [conv_weight_grad.reference(x[a:b], d[a:b], **attrs) for a, b in itertools.pairwise(cuts)]
    return np.stack(pieces)


OPS = (conv_weight_grad_parts,)
