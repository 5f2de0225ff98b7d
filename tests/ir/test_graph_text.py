"""Text of graphs: canonical text prints back unchanged, and nothing is lost between graph and text."""

from __future__ import annotations

import re
import time
from typing import Any

import numpy as np
import pytest

from kgraph.errors import GraphError
from kgraph.ir.dims import symbol
from kgraph.ir.dtypes import ALL, f32, i64
from kgraph.ir.graph import Graph, GraphBuilder, Node, Value
from kgraph.ir.location import UNKNOWN, Location
from kgraph.ir.opdef import NoGrad, OpDef, Pointwise
from kgraph.ir.parser import parse
from kgraph.ir.printer import array_to_text, to_text
from kgraph.ir.types import TensorType
from kgraph.ir.verify import verify
from kgraph.primitives import REGISTRY

# An op that takes any attributes, to carry every kind of value through the text.
CARRIER = OpDef(
    "carry", "", lambda x, **attrs: x, lambda types, attrs: types[0], NoGrad("a test"), Pointwise(lambda: None),
    lambda rng: (),
)  # fmt: skip
OPS = {**REGISTRY, "carry": CARRIER}

SCALE = """\
graph @scale(%x: f32[batch, 3], %w: f32[3]) {
  %0 = broadcast(%w) {axes=[1], shape=[batch, 3]} : f32[batch, 3]
  %1 = mul(%x, %0) : f32[batch, 3]
  %2 = tanh(%1) : f32[batch, 3]
  return %2
}
"""
CANONICAL = {
    "scale": SCALE,
    "no outputs": "graph @g() {\n  return\n}\n",
    "inputs are outputs": "graph @g(%0: f32[], %a: bool[2, 0]) {\n  return %a, %0, %a\n}\n",
    "quoted name": 'graph @"my model/train"(%x: f32[]) {\n  return %x\n}\n',
    "names with paths": "graph @g(%dense_1/kernel: f32[], %a.b-c: f32[]) {\n  return %a.b-c\n}\n",
    "several results": """\
graph @loss(%z: f32[batch, 10], %t: f32[batch, 10]) {
  %loss, %0 = softmax_crossentropy(%z, %t) : f32[batch], f32[batch, 10]
  return %loss, %0
}
""",
    "no operands": """\
graph @g(%x: f32[1+2*n]) {
  %0 = constant() {value=f32[2](1.0, -0.0)} : f32[2]
  %1 = iota() {axis=0, dtype=i32, shape=[3*n]} : i32[3*n]
  %2 = size() {dim=(1+n)//2, dtype=f32} : f32[]
  return %0, %1, %2
}
""",
    "a long head": f"""\
graph @g(
    %{'x' * 60}: f32[batch, 3],
    %w: f32[3, 4],
    %bias_of_the_first_layer: f32[4],
) {{
  return %w
}}
""",
    "nested graphs": """\
graph @outer(%x: f32[batch], %w: f32[]) {
  %0 = tanh(%x) : f32[batch]
  %1, %2 = fusion(%0, %w) {body=graph @inner(%a: f32[batch], %0: f32[]) {
    %1 = broadcast(%0) {axes=[], shape=[batch]} : f32[batch]
    %2 = fusion(%a) {body=graph @innermost(%0: f32[batch]) {
      %1 = neg(%0) : f32[batch]
      return %1
    }} : f32[batch]
    %3 = mul(%2, %1) : f32[batch]
    return %3, %a
  }} : f32[batch], f32[batch]
  return %1, %2
}
""",
}


@pytest.mark.parametrize("text", CANONICAL.values(), ids=CANONICAL)
def test_canonical_text_prints_back(text):
    graph = parse(text, OPS)
    verify(graph)
    assert to_text(graph) == text


def test_spacing_and_comments_are_free():
    free = """
        // leading comment
        graph@scale(%x:f32[batch,3],%w:f32[3]) { %0=broadcast(%w){shape=[batch,3],axes=[1],}
            :f32[ batch , 3 ] // a comment; then tabs and an empty line\t

        \t%1 = mul(%x, %0) : f32[batch, 3] //tight
        %t = tanh(%1) : f32[batch, 3]//
        return %t }
        """
    assert to_text(parse(free, OPS)).replace("%t", "%2") == SCALE


def test_floor_division_is_not_a_comment():
    text = "graph @g(%x: f32[(1+n)//2, 3*((1+n)//2)]) {\n  return %x\n}\n"
    assert to_text(parse(text, OPS)) == text
    assert parse(text.replace("]) {", "]) { // 2"), OPS).inputs[0].type.shape[0] == (symbol("n") + 1) // 2


def test_hints_that_are_not_unique_or_not_legal_become_numbers():
    t = TensorType(f32)
    names = ["x", "x", "", "3", "dense 1", "größe", "ok", "x//y", "y/"]
    values = [Value(t, name) for name in names]
    text = to_text(Graph("g", tuple(values), (), ()))
    shown = ["%0", "%1", "%2", "%3", "%4", "%größe", "%ok", "%5", "%6"]
    assert re.findall(r"(%\S+): f32", text) == shown
    back = parse(text, OPS)
    assert [v.name for v in back.inputs] == ["", "", "", "", "", "größe", "ok", "", ""]


def test_hints_too_long_to_be_read_become_numbers():
    text = to_text(Graph("g", tuple(Value(TensorType(f32), "x" * length) for length in (255, 256, 1000)), (), ()))
    assert [len(name) for name in re.findall(r"(%\S+): f32", text)] == [256, 2, 2]
    assert to_text(parse(text, OPS)) == text


def test_the_text_does_not_depend_on_how_attributes_were_ordered():
    x = Value(TensorType(f32, (2,)))
    shuffled = [
        Graph("g", (x,), (Node(CARRIER, (x,), (Value(x.type),), attrs),), ())
        for attrs in ({"a": 1, "b": 2}, {"b": 2, "a": 1})
    ]
    assert to_text(shuffled[0]) == to_text(shuffled[1])


def carried(value: Any, constants: dict[str, Any] | None = None) -> tuple[str, Any]:
    """How an attribute prints, and what is read back."""
    x = Value(TensorType(f32, (symbol("n"),)), "x")
    graph = Graph("g", (x,), (Node(CARRIER, (x,), (Value(x.type),), {"a": value}),), ())
    text = to_text(graph, constants=constants)
    back = parse(text, OPS, constants)
    assert to_text(back, constants=None if constants is None else {}) == text
    return text.split("{a=", 1)[1].split("} : f32[n]\n", 1)[0], back.nodes[0].attrs["a"]


@pytest.mark.parametrize(
    "value, text",
    [
        (3, "3"), (-3, "-3"), (1 << 62, str(1 << 62)), (True, "true"), (False, "false"),
        (0.1, "0.1"), (-0.0, "-0.0"), (1e-5, "1e-05"), (1e300, "1e+300"), (5e-324, "5e-324"), (2.0, "2.0"),
        (float("inf"), "inf"), (float("-inf"), "-inf"), (float("nan"), "nan"),
        ("", '""'), ('a "b"\\\n\tgröße // no comment', '"a \\"b\\"\\\\\\n\\tgröße // no comment"'),
        (f32, "f32"), (i64, "i64"),
        (symbol("n"), "n"),
        (3 * symbol("n") + 2, "2+3*n"), ((symbol("n") + 1) // 2, "(1+n)//2"), (-1 * symbol("n"), "-n"),
        ((), "[]"), ((1, (2.5, ()), "x", f32, symbol("n"), True), '[1, [2.5, []], "x", f32, n, true]'),
    ],
)  # fmt: skip
def test_attributes_keep_value_and_type(value, text):
    shown, back = carried(value)
    assert shown == text
    assert type(back) is type(value)
    assert repr(back) == repr(value)


@pytest.mark.parametrize("dtype", ALL)
def test_small_arrays_stand_in_the_text_bit_by_bit(dtype, rng):
    info: Any = np.finfo(dtype.numpy) if dtype.is_float else np.iinfo(dtype.numpy) if dtype.is_integer else None
    ends = [0, 1] if info is None else [info.min, info.max, 0, 1]
    if dtype.is_float:
        ends += [0.1, 1 / 3, -0.0, info.tiny, info.smallest_subnormal, np.inf, -np.inf, np.nan]
    array = np.array(ends, dtype.numpy)
    text, back = carried(array)
    assert text.startswith(f"{dtype}[{len(ends)}](")
    assert back.dtype == array.dtype
    assert back.tobytes() == array.tobytes()
    assert not back.flags.writeable


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (2, 2), (16,)])
def test_small_arrays_keep_their_shape(shape, rng):
    _, back = carried(rng.normal(size=shape).astype(np.float32))
    assert back.shape == shape


def test_floats_of_any_bits_survive(rng):
    for kind, bits in (("<f4", "<u4"), ("<f8", "<u8")):
        for _ in range(50):
            array = rng.integers(0, np.iinfo(bits).max, 16, dtype=bits, endpoint=True).view(kind)
            assert carried(array)[1].tobytes() == array.tobytes()


def test_a_nan_with_bits_of_its_own_is_written_as_bytes():
    array = np.array([0x7FC01234], "<u4").view("<f4")
    assert array_to_text(array) == 'f32[1]"3412c07f"'
    assert carried(array)[1].tobytes() == array.tobytes()


def test_arrays_of_other_layouts_are_read_back_as_their_values():
    array = np.arange(6, dtype=">i4").reshape(2, 3).T
    _, back = carried(array)
    assert np.array_equal(back, array)


def test_large_arrays_stand_beside_the_text():
    array, constants = np.arange(17.0), {}
    text, back = carried(array, constants)
    assert text == "#c0"
    assert constants["c0"] is array
    assert back is array


def test_one_array_used_twice_has_one_name():
    array, other, constants = np.zeros(17), np.zeros(17), {}
    text, _ = carried((array, array, other), constants)
    assert text == "[#c0, #c0, #c1]"


def test_locations_print_on_request_and_read_back():
    x = Value(TensorType(f32), "x")
    places = [Location("model/dense", "/my dir/train.py", 12), Location("only layer"), UNKNOWN]
    nodes = tuple(Node(REGISTRY["tanh"], (x,), (Value(x.type),), {}, loc) for loc in places)
    graph = Graph("g", (x,), nodes, (nodes[0].output,))
    assert "train.py" not in to_text(graph)
    text = to_text(graph, locations=True)
    assert text.splitlines()[1] == '  %0 = tanh(%x) : f32[] @ "model/dense" "/my dir/train.py":12'
    back = parse(text, OPS)
    assert [n.loc for n in back.nodes] == places
    assert to_text(back, locations=True) == text


@pytest.mark.parametrize("value", [None, {}, {1}, np.int64(3), b"x", np.zeros(2, "complex64"), object()])
def test_values_without_text_are_refused(value):
    with pytest.raises(GraphError, match="a kind of value that IR text knows"):
        carried(value)


def test_what_the_builder_makes_reads_back():
    builder = GraphBuilder("net", OPS)
    x = builder.input(TensorType(f32, (symbol("batch"), 4)), "x")
    w = builder.constant(np.arange(20).reshape(4, 5), f32)
    y = builder.emit("matmul", x, w, transpose_a=False, transpose_b=False)
    graph = builder.build([y, x])
    constants: dict[str, Any] = {}
    text = to_text(graph, constants=constants)
    back = parse(text, OPS, constants)
    verify(back)
    assert to_text(back, constants={}) == text
    assert back.outputs[1] is back.inputs[0]


def test_time_grows_with_the_length_only():
    def seconds(length: int) -> float:
        lines = "".join(f"  %{n + 1} = tanh(%{n}) : f32[batch, 3]\n" for n in range(length))
        text = f"graph @g(%0: f32[batch, 3]) {{\n{lines}  return %{length}\n}}\n"
        start = time.process_time()
        graph = parse(text, OPS)
        verify(graph)
        assert to_text(graph) == text
        return time.process_time() - start

    seconds(200)
    assert seconds(4000) < 60 * max(seconds(200), 0.004)
