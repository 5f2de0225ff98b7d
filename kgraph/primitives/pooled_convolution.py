"""A convolution whose result is only pooled: the map of one image at a time stays in the cache, and is never stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kgraph.errors import ShapeError
from kgraph.ir.dims import Dim, symbol
from kgraph.ir.dtypes import f32
from kgraph.ir.loops import For, Stmt, Store
from kgraph.ir.opdef import Array, Attr, Attrs, LoopContext, Loops, NoGrad, Sample, Types, primitive
from kgraph.ir.scalar import Buffer, Expr, Load
from kgraph.ir.types import TensorType
from kgraph.primitives.convolution import NAMES, PLAIN, conv, geometry, image_product
from kgraph.primitives.pool_places import max_pool_places, places_of_image
from kgraph.primitives.sampling import bad, of
from kgraph.primitives.signatures import expect

NAME = "conv_max_pool_places"
POOL_NAMES = ("window", "pool_strides", "pool_low", "pool_high")


def of_convolution(attrs: Attrs) -> dict[str, Attr]:
    """The attributes of the convolution."""
    return {name: attrs[name] for name in NAMES}


def of_pooling(attrs: Attrs) -> dict[str, Attr]:
    """The attributes of the pooling, under its own names."""
    return {name.removeprefix("pool_"): attrs[name] for name in POOL_NAMES}


def _infer(types: Types, attrs: Attrs) -> tuple[TensorType, ...]:
    expect(NAME, types, attrs, 2, (*NAMES, *POOL_NAMES))
    if attrs["groups"] != 1:
        raise ShapeError(f"{NAME}, attribute groups", expected="1", received=repr(attrs["groups"]))
    (whole,) = conv.result_types(types, of_convolution(attrs))
    if not all(isinstance(size, int) for size in whole.shape[1:]):
        raise ShapeError(NAME, expected="a map of known sizes", received=str(whole))
    return max_pool_places.result_types((whole,), of_pooling(attrs))


class _MapReader:
    """The context of the pooling: its operand is the map of the image at hand."""

    def __init__(self, context: LoopContext, map_: Buffer, type_: TensorType) -> None:
        self._map = map_
        self.in_types: tuple[TensorType, ...] = (type_,)
        self.out_types = context.out_types
        self.write, self.fresh, self.matrix = context.write, context.fresh, context.matrix
        self.scratch, self.private = context.scratch, context.private

    def read(self, operand: int, index: Sequence[Dim]) -> Expr:
        """An element of the map; the image it belongs to is the one at hand."""
        return Load(self._map, tuple(index[1:]))


def _loops(context: LoopContext, **attrs: Any) -> tuple[Stmt, ...]:
    x, w = context.in_types
    g = geometry(NAME, x, w, of_convolution(attrs))
    image, map_ = context.fresh("image"), context.private(x.dtype, g.y[1:])

    product = image_product(context, g, symbol(image), lambda index, total: (Store(map_, index, total),))
    reader = _MapReader(context, map_, x.with_shape(g.y))
    pooling = places_of_image(reader, symbol(image), **of_pooling(attrs))
    return (For(image, x.shape[0], "parallel", (*product, *pooling)),)


def _samples(rng: np.random.Generator) -> Iterator[Sample]:
    pools: tuple[tuple[int, int, int, int], ...] = ((2, 2, 0, 0), (3, 2, 1, 1), (2, 1, 0, 1))
    for number, sample in enumerate(conv.samples(rng)):
        x, w = sample.args
        if sample.attrs["groups"] != 1:
            continue
        y = conv.reference(x, w, **sample.attrs)
        window, stride, low, high = pools[number % len(pools)]
        if min(y.shape[1:-1]) + low + high < window:
            continue
        rank = x.ndim - 2
        pool = {"window": window, "pool_strides": stride, "pool_low": low, "pool_high": high}
        attrs = {**sample.attrs, **{name: (value,) * rank for name, value in pool.items()}}
        yield Sample((x, w), attrs)


_BAD: dict[str, Attr] = {**PLAIN, "window": (2,), "pool_strides": (2,), "pool_low": (0,), "pool_high": (0,)}


@primitive(
    infer=_infer,
    grad=NoGrad("a pass makes it after differentiation"),
    lower=Loops(_loops, reads_once=False, in_memory=(0, 1)),
    samples=_samples,
    errors=(
        bad("2 operands", of((2, 5, 3)), **_BAD),
        bad("received 3", of((2, 5, 3)), of((2, 1, 3)), **{**_BAD, "groups": 3}),
        bad("known sizes", TensorType(f32, (2, symbol("n"), 3)), of((2, 3, 4)), **_BAD),
    ),
)
def conv_max_pool_places(x: Array, w: Array, **attrs: Any) -> Any:
    """Maxima of conv(x, w) over windows, and their places.

    Attributes: those of conv, with one group, and those of max_pool: `window`, and the others with "pool_" before.
    """
    return max_pool_places.reference(conv.reference(x, w, **of_convolution(attrs)), **of_pooling(attrs))


OPS = (conv_max_pool_places,)
