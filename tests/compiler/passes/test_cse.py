"""Common-subexpression elimination."""

import pytest
from pass_checks import becomes, stays

from kgraph.compiler.passes.cse import cse

X = "%x: f32[3], %y: f32[3]"


def test_equal_nodes_become_one():
    becomes(
        cse,
        X,
        """
        %a = tanh(%x) : f32[3]
        %b = tanh(%x) : f32[3]
        %c = neg(%a) : f32[3]
        %d = neg(%b) : f32[3]
        %e = sub(%c, %d) : f32[3]
        return %e, %d
        """,
        """
        %a = tanh(%x) : f32[3]
        %c = neg(%a) : f32[3]
        %e = sub(%c, %c) : f32[3]
        return %e, %c
        """,
    )


def test_operands_of_a_sum_count_in_any_order():
    becomes(
        cse,
        X,
        """
        %a = add(%x, %y) : f32[3]
        %b = add(%y, %x) : f32[3]
        return %a, %b
        """,
        """
        %a = add(%x, %y) : f32[3]
        return %a, %a
        """,
    )


@pytest.mark.parametrize("op", ["sub", "minimum", "maximum"])  # the smaller of 0.0 and -0.0 depends on their order
def test_operands_of_other_ops_do_not(op: str):
    stays(
        cse,
        X,
        f"""
        %a = {op}(%x, %y) : f32[3]
        %b = {op}(%y, %x) : f32[3]
        return %a, %b
        """,
    )


def test_constants_are_equal_only_bit_by_bit():
    becomes(
        cse,
        "",
        """
        %a = constant() {value=f32[](0.0)} : f32[]
        %b = constant() {value=f32[](-0.0)} : f32[]
        %c = constant() {value=f64[](0.0)} : f64[]
        %d = constant() {value=f32[1](0.0)} : f32[1]
        %e = constant() {value=f32[](0.0)} : f32[]
        return %a, %b, %c, %d, %e
        """,
        """
        %a = constant() {value=f32[](0.0)} : f32[]
        %b = constant() {value=f32[](-0.0)} : f32[]
        %c = constant() {value=f64[](0.0)} : f64[]
        %d = constant() {value=f32[1](0.0)} : f32[1]
        return %a, %b, %c, %d, %a
        """,
    )


def test_numbers_in_attributes_keep_their_sign():
    stays(
        cse,
        X,
        """
        %a = pad(%x) {high=[0], low=[1], value=0.0} : f32[4]
        %b = pad(%x) {high=[0], low=[1], value=-0.0} : f32[4]
        return %a, %b
        """,
    )


def test_all_results_of_a_node_are_replaced():
    becomes(
        cse,
        "%z: f32[2, 3], %t: f32[2, 3]",
        """
        %a, %p = softmax_crossentropy(%z, %t) : f32[2], f32[2, 3]
        %b, %q = softmax_crossentropy(%z, %t) : f32[2], f32[2, 3]
        return %a, %b, %q
        """,
        """
        %a, %p = softmax_crossentropy(%z, %t) : f32[2], f32[2, 3]
        return %a, %a, %p
        """,
    )
