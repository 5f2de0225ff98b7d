"""The graph verifier: every seeded defect is found, and shown in the printed graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from kgraph.errors import KgraphError, VerifyError
from kgraph.ir.dims import symbol
from kgraph.ir.dtypes import f32, f64
from kgraph.ir.graph import Graph, Node, Value
from kgraph.ir.parser import parse
from kgraph.ir.types import TensorType
from kgraph.ir.verify import verify
from kgraph.primitives import REGISTRY

TEXT = """
graph @net(%x: f32[batch, 4], %w: f32[4, 3], %b: f32[3]) {
  %h = matmul(%x, %w) {transpose_a=false, transpose_b=false} : f32[batch, 3]
  %r = broadcast(%b) {axes=[1], shape=[batch, 3]} : f32[batch, 3]
  %z = add(%h, %r) : f32[batch, 3]
  %loss, %p = softmax_crossentropy(%z, %h) : f32[batch], f32[batch, 3]
  %y = fusion(%p, %r) {body=graph @body(%m: f32[batch, 3], %n: f32[batch, 3]) {
    %a = mul(%m, %n) : f32[batch, 3]
    %c = tanh(%a) : f32[batch, 3]
    return %c
  }} : f32[batch, 3]
  return %y, %loss, %x
}
"""


def good() -> Graph:
    return parse(TEXT, REGISTRY)


def with_node(graph: Graph, position: int, **changes: Any) -> Graph:
    """`graph` with one node changed, without any check."""
    nodes = list(graph.nodes)
    nodes[position] = replace(nodes[position], **changes)
    return replace(graph, nodes=tuple(nodes))


def with_body(graph: Graph, change: Callable[[Graph], Graph]) -> Graph:
    """`graph` with the body of its fusion changed."""
    return with_node(graph, 4, attrs={"body": change(graph.nodes[4].attrs["body"])})


ALIEN = Value(TensorType(f32, (symbol("batch"), 3)), "alien")
WIDE = TensorType(f64, (symbol("batch"), 3))

Defect = tuple[Callable[[Graph], Graph], str, str]
DEFECTS: dict[str, Defect] = {
    # name: (change, place in the message, words of the message)
    "operand of another graph": (lambda g: with_node(g, 2, inputs=(g.nodes[0].output, ALIEN)),
        "line 4: add, operand 1", "received %alien: f32[batch, 3] of another graph"),
    "use before definition": (lambda g: replace(g, nodes=(g.nodes[2], *g.nodes[:2], *g.nodes[3:])),
        "line 2: add, operand 0", "received one that is defined later"),
    "use of its own result": (lambda g: with_node(g, 2, inputs=(g.nodes[0].output, g.nodes[2].output)),
        "line 4: add, operand 1", "defined later"),
    "node missing": (lambda g: replace(g, nodes=g.nodes[1:]),
        "line 3: add, operand 0", "of another graph"),
    "node twice": (lambda g: replace(g, nodes=(g.nodes[0], *g.nodes)),
        "line 3: matmul, result is defined twice", "one definition"),
    "result is that of another node": (lambda g: with_node(g, 2, outputs=(g.nodes[0].output,)),
        "line 4: add, result is defined twice", "received %h"),
    "input twice": (lambda g: replace(g, inputs=(*g.inputs, g.inputs[0])),
        "line 1: input is defined twice", "%x: f32[batch, 4]"),
    "result twice in one node": (lambda g: with_node(g, 3, outputs=g.nodes[3].outputs[:1] * 2),
        "line 5: softmax_crossentropy, result types", "received f32[batch], f32[batch]"),
    "wrong result type": (lambda g: with_node(g, 2, outputs=(Value(WIDE, "z"),)),
        "line 4: add, result types", "expected f32[batch, 3], received f64[batch, 3]"),
    "wrong result size": (lambda g: with_node(g, 1, outputs=(Value(TensorType(f32, (symbol("batch"), 4))),)),
        "line 3: broadcast, result types", "expected f32[batch, 3], received f32[batch, 4]"),
    "missing result": (lambda g: with_node(g, 3, outputs=g.nodes[3].outputs[:1]),
        "line 5: softmax_crossentropy, result types", "expected f32[batch], f32[batch, 3], received f32[batch]"),
    "no results": (lambda g: with_node(g, 2, outputs=()),
        "line 4: add, result types", "received none"),
    "too many operands": (lambda g: with_node(g, 2, inputs=g.nodes[2].inputs * 2),
        "line 4: add", "expected 2 operands, received 4"),
    "too few operands": (lambda g: with_node(g, 2, inputs=g.nodes[2].inputs[:1]),
        "line 4: add", "expected 2 operands, received 1"),
    "operands of two shapes": (lambda g: with_node(g, 2, inputs=(g.nodes[0].output, g.inputs[2])),
        "line 4: add", "operands of one shape"),
    "attribute missing": (lambda g: with_node(g, 0, attrs={"transpose_a": False}),
        "line 2: matmul, attributes", "transpose_b"),
    "attribute too many": (lambda g: with_node(g, 2, attrs={"axis": 1}),
        "line 4: add, attributes", "received axis"),
    "attribute out of range": (lambda g: with_node(g, 1, attrs={"axes": (2,), "shape": (symbol("batch"), 3)}),
        "line 3: broadcast, attribute axes", "received (2,)"),
    "list for tuple": (lambda g: with_node(g, 1, attrs={"axes": [1], "shape": (symbol("batch"), 3)}),
        "line 3: broadcast, attribute axes", "received list [1]"),
    "NumPy scalar": (lambda g: with_node(g, 1, attrs={"axes": (np.int64(1),), "shape": (symbol("batch"), 3)}),
        "line 3: broadcast, attribute axes", "received int64"),
    "None": (lambda g: with_node(g, 1, attrs={"axes": None, "shape": (symbol("batch"), 3)}),
        "line 3: broadcast, attribute axes", "received NoneType None"),
    "array of unknown type": (lambda g: with_node(g, 1, attrs={"axes": np.zeros(1, np.int16), "shape": (3,)}),
        "line 3: broadcast, attribute axes", "received int16"),
    "unknown size": (lambda g: with_node(g, 1, attrs={"axes": (1,), "shape": (symbol("rows") * 2, 3)}),
        "line 3: broadcast, attribute shape", "expected sizes of the inputs (batch), received rows"),
    "output of another graph": (lambda g: replace(g, outputs=(*g.outputs, ALIEN)),
        "line 11: output 3", "%alien"),
    "negative size": (lambda g: replace(g, inputs=(*g.inputs, Value(TensorType(f32, (-1,))))),
        "line 1: input, shape", "expected sizes >= 0"),
    "size name is a word": (lambda g: replace(g, inputs=(*g.inputs, Value(TensorType(f32, (symbol("inf"),))))),
        "line 1: size name 'inf'", "no word of IR text"),
    "body of other inputs": (lambda g: with_body(g, lambda b: replace(b, inputs=(b.inputs[0],))),
        "line 6: fusion", "expected operands"),
    "body of other outputs": (lambda g: with_body(g, lambda b: replace(b, outputs=b.outputs * 2)),
        "line 6: fusion, result types", "received f32[batch, 3]"),
    "fault inside a body": (lambda g: with_body(g, lambda b: with_node(b, 1, inputs=(ALIEN,))),
        "graph @body, line 3: tanh, operand 0", "of another graph"),
    "body uses an outer value": (lambda g: with_body(g, lambda b: replace(b, outputs=(g.nodes[2].output,))),
        "graph @body, line 4: output 0", "of another graph"),
    "unknown size in a body": (
        lambda g: with_body(g, lambda b: with_node(
            b, 1, op=REGISTRY["reshape"], attrs={"shape": (symbol("rows"), 3)})),
        "graph @body, line 3: reshape, attribute shape", "received rows"),
}  # fmt: skip


def test_the_good_graph_passes():
    assert verify(good()) is None


@pytest.mark.parametrize("change, place, words", DEFECTS.values(), ids=DEFECTS)
def test_every_seeded_defect_is_found_and_shown(change, place, words):
    with pytest.raises(VerifyError) as caught:
        verify(change(good()))
    message = str(caught.value)
    assert place in message
    assert words in message
    assert "\n" not in message
    note = caught.value.__notes__[0].split("\n")
    (pointer,) = [n for n, line in enumerate(note) if line.lstrip().startswith("^ ")]
    assert note[pointer].lstrip()[2:] in message
    assert pointer > 0


def test_the_note_points_under_the_line():
    with pytest.raises(VerifyError) as caught:
        verify(DEFECTS["wrong result type"][0](good()))
    note = caught.value.__notes__[0].split("\n")
    assert note[3] == "  %z = add(%h, %r) : f64[batch, 3]"
    assert note[4] == "  ^ add, result types: expected f32[batch, 3], received f64[batch, 3]"


def test_a_fault_in_a_body_says_whose_body():
    with pytest.raises(VerifyError) as caught:
        verify(DEFECTS["fault inside a body"][0](good()))
    assert caught.value.__notes__[1] == "inside node 4 (fusion) of graph @net"


def test_the_note_of_a_long_graph_shows_what_is_near():
    lines = "".join(f"  %{n + 1} = tanh(%{n}) : f32[n]\n" for n in range(200))
    graph = parse(f"graph @g(%0: f32[n]) {{\n{lines}  return %200\n}}", REGISTRY)
    with pytest.raises(VerifyError) as caught:
        verify(with_node(graph, 100, inputs=(ALIEN,)))
    note = caught.value.__notes__[0].split("\n")
    assert len(note) < 30
    assert "  %101 = tanh(%?) : f32[n]" in note


def test_the_cause_is_kept():
    with pytest.raises(VerifyError) as caught:
        verify(DEFECTS["too many operands"][0](good()))
    assert isinstance(caught.value.__cause__, KgraphError)


def test_a_shape_rule_that_stumbles_is_a_fault_of_the_graph():
    def stumble(types: Any, attrs: Any) -> Any:
        raise ZeroDivisionError("oops")

    graph = with_node(good(), 2, op=replace(REGISTRY["add"], infer=stumble))
    with pytest.raises(VerifyError, match="add: operands or attributes do not fit"):
        verify(graph)


def test_a_body_must_match_its_node_whatever_the_shape_rule_says():
    careless = replace(REGISTRY["fusion"], infer=lambda types, attrs: types[0])
    graph = with_body(good(), lambda b: replace(b, inputs=b.inputs[:1], nodes=b.nodes[:0], outputs=b.inputs[:1]))
    with pytest.raises(VerifyError, match=r"line 6: fusion, inputs of the body: expected f32\[batch, 3\], f32"):
        verify(with_node(graph, 4, op=careless))


def test_sizes_of_the_outer_graph_are_known_inside_bodies():
    text = """graph @g(%x: f32[batch], %w: f32[]) {
      %y = fusion(%w) {body=graph @b(%w: f32[]) {
        %r = broadcast(%w) {axes=[], shape=[batch]} : f32[batch]
        return %r
      }} : f32[batch]
      return %y
    }"""
    verify(parse(text, REGISTRY))


def test_an_empty_graph_passes():
    verify(Graph("empty", (), (), ()))


def test_a_node_may_have_no_results_if_its_op_has_none():
    silent = replace(REGISTRY["neg"], infer=lambda types, attrs: ())
    x = Value(TensorType(f32), "x")
    verify(Graph("g", (x,), (Node(silent, (x,), ()),), (x,)))
