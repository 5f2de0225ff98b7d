"""Algebraic simplification: what each law does, and where it must not apply."""

import dataclasses

import numpy as np
import pytest
from pass_checks import Array, becomes, graph_of, stays, values_of

from kgraph.compiler.passes import simplify as simplify_module
from kgraph.compiler.passes.dce import dce
from kgraph.compiler.passes.simplify import LAWS, simplify
from kgraph.compiler.rewrite import Law
from kgraph.errors import InternalError
from kgraph.ir.graph import Graph

X = "%x: f32[3], %y: f32[3]"


def simplified(graph: Graph) -> Graph:
    return dce(simplify(graph))


def number(value: str, dtype: str = "f32") -> str:
    """Lines that define %c as a tensor with `value` everywhere."""
    constant = f"%k = constant() {{value={dtype}[]({value})}} : {dtype}[]"
    return f"{constant}\n%c = broadcast(%k) {{axes=[], shape=[3]}} : {dtype}[3]\n"


TO_X = [
    ("-0.0", "add(%x, %c)"),
    ("-0.0", "add(%c, %x)"),
    ("0.0", "sub(%x, %c)"),
    ("1.0", "mul(%x, %c)"),
    ("1.0", "mul(%c, %x)"),
    ("1.0", "div(%x, %c)"),
    ("1.0", "pow(%x, %c)"),
    ("0.0", "minimum(%x, %x)"),
    ("0.0", "maximum(%x, %x)"),
    ("0.0", "cast(%x) {dtype=f32}"),
]


@pytest.mark.parametrize("value, call", TO_X)
def test_neutral_elements_go(value: str, call: str):
    becomes(simplified, X, f"{number(value)}%a = {call} : f32[3]\nreturn %a", "return %x")


@pytest.mark.parametrize(
    "value, call",
    [
        ("0.0", "add(%x, %c)"),  # -0.0 + 0.0 is 0.0
        ("-0.0", "sub(%x, %c)"),  # -0.0 - -0.0 is 0.0
        ("0.0", "sub(%c, %x)"),  # 0.0 - 0.0 is not -0.0
        ("0.0", "mul(%x, %c)"),  # nan, inf, -0.0
        ("1.0", "div(%c, %x)"),
        ("3.0", "div(%x, %c)"),  # rounds
        ("0.0", "div(%x, %c)"),
        ("inf", "div(%x, %c)"),
        ("nan", "div(%x, %c)"),
        ("1e-45", "div(%x, %c)"),  # 1/c overflows
        ("1.7014118e+38", "div(%x, %c)"),  # 1/c is not normal
        ("0.5", "pow(%x, %c)"),  # -0.0, -inf
        ("0.0", "sub(%x, %x)"),  # nan, inf
    ],
)
def test_what_is_wrong_for_some_numbers_stays(value: str, call: str):
    stays(simplify, X, f"{number(value)}%a = {call} : f32[3]\nreturn %a, %c")


def test_adding_zero_to_what_is_never_negative_goes():
    becomes(
        simplified,
        X,
        number("0.0") + "%a = mul(%x, %x) : f32[3]\n%b = add(%a, %c) : f32[3]\nreturn %b",
        "%a = mul(%x, %x) : f32[3]\nreturn %a",
    )
    becomes(simplified, "%x: i32[3]", number("0", "i32") + "%a = add(%x, %c) : i32[3]\nreturn %a", "return %x")


def test_the_root_of_what_is_never_negative_is_a_root():
    becomes(
        simplified,
        X,
        number("0.5") + "%a = abs(%x) : f32[3]\n%b = pow(%a, %c) : f32[3]\nreturn %b",
        "%a = abs(%x) : f32[3]\n%b = sqrt(%a) : f32[3]\nreturn %b",
    )


@pytest.mark.parametrize(
    "before, after",
    [
        (number("2.0") + "%a = pow(%x, %c) : f32[3]", "%a = mul(%x, %x) : f32[3]"),
        (number("-1.0") + "%a = mul(%c, %x) : f32[3]", "%a = neg(%x) : f32[3]"),
        ("%n = neg(%y) : f32[3]\n%a = add(%n, %x) : f32[3]", "%a = sub(%x, %y) : f32[3]"),
        ("%n = neg(%y) : f32[3]\n%a = sub(%x, %n) : f32[3]", "%a = add(%x, %y) : f32[3]"),
        ("%n = neg(%y) : f32[3]\n%m = neg(%x) : f32[3]\n%a = mul(%m, %n) : f32[3]", "%a = mul(%x, %y) : f32[3]"),
        ("%n = neg(%x) : f32[3]\n%m = neg(%n) : f32[3]\n%a = exp(%m) : f32[3]", "%a = exp(%x) : f32[3]"),
        ("%n = neg(%x) : f32[3]\n%a = abs(%n) : f32[3]", "%a = abs(%x) : f32[3]"),
        ("%n = abs(%x) : f32[3]\n%a = abs(%n) : f32[3]", "%a = abs(%x) : f32[3]"),
        ("%n = relu(%x) : f32[3]\n%a = relu(%n) : f32[3]", "%a = relu(%x) : f32[3]"),
    ],
)
def test_cheaper_forms_replace(before: str, after: str):
    becomes(simplified, X, f"{before}\nreturn %a", f"{after}\nreturn %a")


def test_division_by_a_power_of_two_is_a_product():
    becomes(
        simplified,
        X,
        number("-8.0") + "%a = div(%x, %c) : f32[3]\nreturn %a",
        number("-0.125") + "%a = mul(%x, %c) : f32[3]\nreturn %a",
    )


def test_a_known_condition_chooses():
    body = number("{}", "bool") + "%a = select(%c, %x, %y) : f32[3]\nreturn %a"
    becomes(simplified, X, body.replace("{}", "true"), "return %x")
    becomes(simplified, X, body.replace("{}", "false"), "return %y")
    becomes(simplified, "%x: f32[3], %b: bool[3]", "%a = select(%b, %x, %x) : f32[3]\nreturn %a", "return %x")


@pytest.mark.parametrize(
    "chain, short",
    [
        (("f32", "f64", "f32"), ()),
        (("bool", "i32", "f32"), ("f32",)),
        (("u8", "f32", "i32"), ("i32",)),
        (("i32", "i64", "u8"), ("u8",)),
    ],
)
def test_casts_that_lose_nothing_are_skipped(chain: tuple[str, ...], short: tuple[str, ...]):
    first, *rest = chain

    def body(dtypes: tuple[str, ...]) -> str:
        values = ["%x", *(f"%v{n}" for n in range(len(dtypes)))]
        lines = [f"{b} = cast({a}) {{dtype={d}}} : {d}[3]" for a, b, d in zip(values, values[1:], dtypes, strict=False)]
        return "\n".join([*lines, f"return {values[-1]}"])

    becomes(simplified, f"%x: {first}[3]", body(tuple(rest)), body(short))


@pytest.mark.parametrize(
    "chain",
    [("f64", "f32", "f64"), ("i64", "f64", "i64"), ("i32", "f32", "i32"), ("i32", "u8", "i32"), ("i32", "f64", "u8")],
)
def test_casts_that_lose_something_stay(chain: tuple[str, ...]):
    first, middle, last = chain
    stays(
        simplify,
        f"%x: {first}[3]",
        f"%a = cast(%x) {{dtype={middle}}} : {middle}[3]\n%b = cast(%a) {{dtype={last}}} : {last}[3]\nreturn %b",
    )


VIEWS = {
    "reshape to the same shape": ("%x: f32[2, 3]", "%a = reshape(%x) {shape=[2, 3]} : f32[2, 3]", ""),
    "reshape of reshape": (
        "%x: f32[2, 3]",
        "%b = reshape(%x) {shape=[6]} : f32[6]\n%a = reshape(%b) {shape=[3, 2]} : f32[3, 2]",
        "%a = reshape(%x) {shape=[3, 2]} : f32[3, 2]",
    ),
    "reshape there and back": (
        "%x: f32[2, 3]",
        "%b = reshape(%x) {shape=[6]} : f32[6]\n%a = reshape(%b) {shape=[2, 3]} : f32[2, 3]",
        "",
    ),
    "transpose of nothing": ("%x: f32[2, 3]", "%a = transpose(%x) {perm=[0, 1]} : f32[2, 3]", ""),
    "transpose of an axis of size 1": (
        "%x: f32[1, 2, 3]",
        "%a = transpose(%x) {perm=[1, 0, 2]} : f32[2, 1, 3]",
        "%a = reshape(%x) {shape=[2, 1, 3]} : f32[2, 1, 3]",
    ),
    "transpose of transpose": (
        "%x: f32[2, 3, 4]",
        "%b = transpose(%x) {perm=[2, 0, 1]} : f32[4, 2, 3]\n%a = transpose(%b) {perm=[0, 2, 1]} : f32[4, 3, 2]",
        "%a = transpose(%x) {perm=[2, 1, 0]} : f32[4, 3, 2]",
    ),
    "broadcast to the same shape": ("%x: f32[2, 3]", "%a = broadcast(%x) {axes=[0, 1], shape=[2, 3]} : f32[2, 3]", ""),
    "broadcast that puts in axes": (
        "%x: f32[n]",
        "%a = broadcast(%x) {axes=[1], shape=[1, n]} : f32[1, n]",
        "%a = reshape(%x) {shape=[1, n]} : f32[1, n]",
    ),
    "broadcast of broadcast": (
        "%x: f32[3]",
        "%b = broadcast(%x) {axes=[1], shape=[2, 3]} : f32[2, 3]\n"
        "%a = broadcast(%b) {axes=[0, 2], shape=[2, 4, 3]} : f32[2, 4, 3]",
        "%a = broadcast(%x) {axes=[2], shape=[2, 4, 3]} : f32[2, 4, 3]",
    ),
    "broadcast of new axes": (
        "%x: f32[3], %y: f32[n]",
        "%b = reshape(%x) {shape=[1, 3]} : f32[1, 3]\n%a = broadcast(%b) {axes=[0, 1], shape=[n, 3]} : f32[n, 3]",
        "%a = broadcast(%x) {axes=[1], shape=[n, 3]} : f32[n, 3]",
    ),
    "sum_to the same shape": ("%x: i32[2, 3]", "%a = sum_to(%x) {axes=[0, 1], shape=[2, 3]} : i32[2, 3]", ""),
    "sum_to over ones": (
        "%x: i32[1, 3]",
        "%a = sum_to(%x) {axes=[1], shape=[3]} : i32[3]",
        "%a = reshape(%x) {shape=[3]} : i32[3]",
    ),
    "sum over nothing": ("%x: i32[2, 3]", "%a = sum(%x) {axes=[], keepdims=true} : i32[2, 3]", ""),
    "sum over ones": (
        "%x: i32[1, 3, 1]",
        "%a = sum(%x) {axes=[0, 2], keepdims=false} : i32[3]",
        "%a = reshape(%x) {shape=[3]} : i32[3]",
    ),
    "sum over ones of what may be -0.0": (
        "%x: f32[1, 3]",
        "%a = sum(%x) {axes=[0], keepdims=false} : f32[3]",
        "%b = reshape(%x) {shape=[3]} : f32[3]\n" + number("0.0") + "%a = add(%b, %c) : f32[3]",
    ),
    "sum of a sum over ones": (
        "%x: f32[2, 3]",
        "%b = sum(%x) {axes=[0], keepdims=true} : f32[1, 3]\n%a = sum_to(%b) {axes=[1], shape=[3]} : f32[3]",
        "%b = sum(%x) {axes=[0], keepdims=true} : f32[1, 3]\n%a = reshape(%b) {shape=[3]} : f32[3]",
    ),
    "maximum over a one and more": (
        "%x: f32[1, 3]",
        "%a = max(%x) {axes=[0, 1], keepdims=false} : f32[]",
        "%b = max(%x) {axes=[1], keepdims=false} : f32[1]\n%a = reshape(%b) {shape=[]} : f32[]",
    ),
    "concat of one": ("%x: f32[2, 3]", "%a = concat(%x) {axis=1} : f32[2, 3]", ""),
    "concat with an empty part": (
        "%x: f32[2], %y: f32[0], %z: f32[3]",
        "%a = concat(%x, %y, %z) {axis=0} : f32[5]",
        "%a = concat(%x, %z) {axis=0} : f32[5]",
    ),
    "slice of everything": (
        "%x: f32[n, 3]",
        "%a = slice(%x) {limits=[n, 3], starts=[0, 0], strides=[1, 1]} : f32[n, 3]",
        "",
    ),
    "pad with nothing": ("%x: f32[3]", "%a = pad(%x) {high=[0], low=[0], value=1.0} : f32[3]", ""),
    "transpose of a matrix product": (
        "%x: f32[2, 3], %y: f32[4, 3]",
        "%b = matmul(%x, %y) {transpose_a=false, transpose_b=true} : f32[2, 4]\n"
        "%a = transpose(%b) {perm=[1, 0]} : f32[4, 2]",
        "%a = matmul(%y, %x) {transpose_a=false, transpose_b=true} : f32[4, 2]",
    ),
    "matrix product of transposes": (
        "%x: f32[5, 3, 2], %y: f32[5, 3, 4]",
        "%b = transpose(%x) {perm=[0, 2, 1]} : f32[5, 2, 3]\n%c = transpose(%y) {perm=[0, 2, 1]} : f32[5, 4, 3]\n"
        "%a = matmul(%b, %c) {transpose_a=false, transpose_b=true} : f32[5, 2, 4]",
        "%a = matmul(%x, %y) {transpose_a=true, transpose_b=false} : f32[5, 2, 4]",
    ),
}


@pytest.mark.parametrize("inputs, before, after", VIEWS.values(), ids=VIEWS)
def test_views(inputs: str, before: str, after: str):
    becomes(simplified, inputs, f"{before}\nreturn %a", f"{after}\nreturn %a" if after else "return %x")


def test_a_sum_of_nothing_stays_a_sum():
    stays(simplify, "%x: f32[0, 3]", "%a = sum_to(%x) {axes=[0, 1], shape=[1, 3]} : f32[1, 3]\nreturn %a")


def test_numbers_are_computed_before_they_are_spread():
    becomes(
        simplified,
        "%x: f32[], %y: f32[3], %z: f32[n]",
        """
        %a = broadcast(%x) {axes=[], shape=[n, 3]} : f32[n, 3]
        %b = broadcast(%y) {axes=[1], shape=[n, 3]} : f32[n, 3]
        %c = mul(%a, %b) : f32[n, 3]
        %d = exp(%c) : f32[n, 3]
        return %d
        """,
        """
        %a = broadcast(%x) {axes=[], shape=[3]} : f32[3]
        %c = mul(%a, %y) : f32[3]
        %d = exp(%c) : f32[3]
        %e = broadcast(%d) {axes=[1], shape=[n, 3]} : f32[n, 3]
        return %e
        """,
    )


def test_tensors_spread_along_different_axes_meet_where_they_were():
    stays(
        simplify,
        "%x: f32[3], %y: f32[3]",
        """
        %a = broadcast(%x) {axes=[0], shape=[3, 3]} : f32[3, 3]
        %b = broadcast(%y) {axes=[1], shape=[3, 3]} : f32[3, 3]
        %c = mul(%a, %b) : f32[3, 3]
        return %c
        """,
    )


def test_arrays_of_equal_numbers_become_one_number():
    becomes(
        simplified,
        X,
        "%c = constant() {value=f32[3](1.0, 1.0, 1.0)} : f32[3]\n%a = mul(%x, %c) : f32[3]\nreturn %a, %c",
        number("1.0") + "return %x, %c",
    )
    stays(simplify, X, "%c = constant() {value=f32[3](0.0, -0.0, 0.0)} : f32[3]\nreturn %c")


SPECIALS = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 1e-45, 3e38], "float32")


@pytest.mark.parametrize("value", ["0.0", "-0.0", "1.0", "-1.0", "2.0", "0.5", "-4.0", "3.0", "inf", "nan"])
@pytest.mark.parametrize("op", ["add", "sub", "mul", "div", "pow", "minimum", "maximum"])
def test_laws_of_numbers_hold_bit_by_bit(op: str, value: str):
    size = len(SPECIALS)
    for call in (f"{op}(%x, %c)", f"{op}(%c, %x)", f"{op}(%b, %c)"):
        body = number(value) + f"%b = abs(%x) : f32[3]\n%a = {call} : f32[3]\nreturn %a"
        graph = graph_of(f"%x: f32[{size}]", body.replace("3]", f"{size}]"))
        with np.errstate(all="ignore"):
            (want,), (got,) = values_of(graph, [SPECIALS]), values_of(simplify(graph), [SPECIALS])
        assert bits(got) == bits(want)


def bits(array: Array) -> list[str]:
    """Every bit of the numbers, with all nans alike."""
    return [float(v).hex() for v in array]


def test_laws_that_never_end_are_stopped(monkeypatch: pytest.MonkeyPatch):
    endless = Law("endless", "exp", lambda node, rewriter: rewriter.emit("exp", node.inputs[0]))
    monkeypatch.setattr(simplify_module, "LAWS", {"exp": (endless,)})
    with pytest.raises(InternalError, match="the laws endless"):
        simplify(graph_of("%x: f32[3]", "%a = exp(%x) : f32[3]\nreturn %a"))


def test_a_law_that_changes_the_type_is_blamed(monkeypatch: pytest.MonkeyPatch):
    (law,) = (law for law in LAWS["neg"] if law.name == "neg(neg(x))")
    wrong = dataclasses.replace(law, apply=lambda node, rewriter: rewriter.constant(1.0))
    monkeypatch.setattr(simplify_module, "LAWS", {"neg": (wrong,)})
    with pytest.raises(InternalError, match=r"law neg\(neg\(x\)\)"):
        simplify(graph_of("%x: f32[3]", "%a = neg(%x) : f32[3]\nreturn %a"))
