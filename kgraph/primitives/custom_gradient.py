"""Values with a gradient that the user states."""

from __future__ import annotations

from typing import Any

from kgraph.errors import GraphError, InternalError
from kgraph.ir.graph import Graph, Value
from kgraph.ir.opdef import Attrs, Expanded, Trait, Types, current_emitter, primitive
from kgraph.ir.types import TensorType
from kgraph.primitives.sampling import attrs_only, bad, of
from kgraph.primitives.signatures import FLOATS, expect, expect_kind


def _infer(types: Types, attrs: Attrs) -> tuple[TensorType, ...]:
    expect("custom_gradient", types, attrs, len(types), ("rule", "results"))
    rule, results = attrs["rule"], attrs["results"]
    if not isinstance(rule, Graph):
        raise GraphError("custom_gradient, attribute rule", expected="a graph", received=repr(rule)[:60])
    if not isinstance(results, int) or not 0 < results <= len(rule.inputs):
        received = repr(results)
        raise GraphError("custom_gradient, attribute results", expected=f"1..{len(rule.inputs)}", received=received)
    for position, type in enumerate(types[:results]):
        expect_kind("custom_gradient", type, FLOATS, position)
    wanted = [v.type for v in (*rule.inputs[:results], *rule.outputs, *rule.inputs[results:])]
    if list(types) != wanted:
        raise GraphError("custom_gradient", expected=f"operands {wanted}", received=str(list(types)))
    return tuple(types[:results])


def _zeros(type: TensorType) -> Any:
    emitter = current_emitter()
    return emitter.emit("broadcast", emitter.constant(0, type.dtype), shape=type.shape, axes=())


def _grad(dy: Any, y: Any, *operands: Any, rule: Graph, results: int) -> list[Any]:
    emitter = current_emitter()
    slopes = dy if isinstance(dy, tuple) else (dy,)
    given = [_zeros(v.type) if slope is None else slope for slope, v in zip(slopes, rule.inputs)]
    captured = operands[results + len(rule.outputs) :]
    known: dict[Value, Any] = dict(zip(rule.inputs, [*given, *captured], strict=True))
    for node in rule.nodes:
        out = emitter.emit(node.op, *(known[v] for v in node.inputs), **node.attrs)
        known |= dict(zip(node.outputs, out if isinstance(out, tuple) else (out,), strict=True))
    return [*[None] * results, *(known[v] for v in rule.outputs), *[None] * len(captured)]


@primitive(
    infer=_infer,
    grad=_grad,
    lower=Expanded("erase_stop_gradient"),
    samples=attrs_only(),
    errors=(
        bad("a graph", of((2,)), rule=None, results=1),
        bad("attributes", of((2,))),
        bad("1..0", of((2,)), rule=Graph("empty", (), (), ()), results=1),
    ),
    traits=Trait.STRUCTURAL,
)
def custom_gradient(*operands: Any, rule: Graph, results: int) -> Any:
    """The first `results` operands; their cotangents go through `rule` to the operands behind them.

    Operands are the results y, the arguments x, and what `rule` uses besides. `rule` takes the cotangents of y and the
    latter, and gives the cotangents of x. How y was computed from x has no influence on gradients.
    """
    raise InternalError("custom_gradient", expected="a graph after autodiff", fix="Expand gradients before running")


OPS = (custom_gradient,)
