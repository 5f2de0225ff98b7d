"""Ops that passes make or expand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kgraph.errors import GraphError, InternalError
from kgraph.ir.graph import Graph
from kgraph.ir.opdef import Attrs, Expanded, NoGrad, Trait, Types, primitive
from kgraph.ir.types import TensorType
from kgraph.primitives.sampling import attrs_only, bad, of
from kgraph.primitives.signatures import FLOATS, expect, expect_kind


def _infer_gradient(types: Types, attrs: Attrs) -> tuple[TensorType, ...]:
    expect("gradient", types, attrs, max(len(types), 2))
    for position, type in enumerate(types):
        expect_kind("gradient", type, FLOATS, position)
    if types[0].shape:
        raise GraphError("gradient, operand 0", expected="a scalar", received=str(types[0]))
    return tuple(types[1:])


@primitive(
    infer=_infer_gradient,
    grad=NoGrad("it is expanded before it is differentiated"),
    lower=Expanded("autodiff"),
    samples=attrs_only(),
    errors=(
        bad("2 operands", of(())),
        bad("a scalar", of((2,)), of((2,))),
        bad("attributes", of(()), of((2,)), axis=0),
    ),
    traits=Trait.STRUCTURAL,
)
def gradient(y: Any, *xs: Any) -> Any:
    """Derivatives of a scalar for tensors, one result of the same type for each."""
    raise InternalError("gradient", expected="a graph after autodiff", fix="Expand gradients before running")


def _infer_fusion(types: Types, attrs: Attrs) -> tuple[TensorType, ...]:
    expect("fusion", types, attrs, len(types), ("body",))
    body = attrs["body"]
    if not isinstance(body, Graph):
        raise GraphError("fusion, attribute body", expected="a graph", received=repr(body)[:60])
    wanted = [v.type for v in body.inputs]
    if list(types) != wanted:
        raise GraphError("fusion", expected=f"operands {wanted}", received=str(list(types)))
    return tuple(v.type for v in body.outputs)


@primitive(
    infer=_infer_fusion,
    grad=NoGrad("it is made after gradients are expanded"),
    lower=Expanded("loops"),
    samples=attrs_only(),
    errors=(
        bad("a graph", of((2,)), body=None),
        bad("attributes", of((2,))),
        bad("operands", of((2,)), body=Graph("empty", (), (), ())),
    ),
    traits=Trait.STRUCTURAL,
)
def fusion(*inputs: Any, body: Callable[..., list[Any]]) -> Any:
    """The graph `body` on these operands; becomes one kernel."""
    return tuple(body(*inputs))


OPS = (gradient, fusion)
