"""The table of primitive ops."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from kgraph.errors import InternalError
from kgraph.ir.opdef import OpDef
from kgraph.primitives import (
    along_axis,
    contractions,
    control_flow,
    convolution,
    convolution_parts,
    cumulative,
    custom_gradient,
    elementwise,
    generators,
    gru,
    indexing,
    integers,
    joining,
    logic,
    losses,
    lstm,
    normalization,
    pool_places,
    pooled_convolution,
    pooling,
    randoms,
    reductions,
    row_normalization,
    rowwise,
    shaping,
    sorting,
    structural,
    trigonometry,
)


def table(ops: Iterable[OpDef]) -> Mapping[str, OpDef]:
    """A read-only table of ops by name; a name that comes twice is refused."""
    out: dict[str, OpDef] = {}
    for op in ops:
        if op.name in out:
            raise InternalError(f"two ops are called {op.name!r}")
        out[op.name] = op
    return MappingProxyType(out)


REGISTRY: Mapping[str, OpDef] = table(
    (
        *elementwise.OPS,
        *trigonometry.OPS,
        *integers.OPS,
        *logic.OPS,
        *losses.OPS,
        *shaping.OPS,
        *joining.OPS,
        *generators.OPS,
        *reductions.OPS,
        *contractions.OPS,
        *convolution.OPS,
        *convolution_parts.OPS,
        *pooled_convolution.OPS,
        *pooling.OPS,
        *pool_places.OPS,
        *indexing.OPS,
        *along_axis.OPS,
        *cumulative.OPS,
        *sorting.OPS,
        *randoms.OPS,
        *rowwise.OPS,
        *normalization.OPS,
        *row_normalization.OPS,
        *lstm.OPS,
        *gru.OPS,
        *control_flow.OPS,
        *custom_gradient.OPS,
        *structural.OPS,
    )
)
