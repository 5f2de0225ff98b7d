"""Dead-code elimination."""

from pass_checks import becomes, stays

from kgraph.compiler.passes.dce import dce

X = "%x: f32[3], %y: f32[3]"


def test_unused_nodes_go_with_what_only_they_need():
    becomes(
        dce,
        X,
        """
        %a = tanh(%x) : f32[3]
        %b = exp(%y) : f32[3]
        %c = neg(%b) : f32[3]
        return %a
        """,
        """
        %a = tanh(%x) : f32[3]
        return %a
        """,
    )


def test_a_node_with_one_needed_result_stays():
    stays(
        dce,
        "%z: f32[2, 3], %t: f32[2, 3]",
        """
        %loss, %p = softmax_crossentropy(%z, %t) : f32[2], f32[2, 3]
        return %p
        """,
    )


def test_outputs_that_are_inputs_need_no_node():
    becomes(dce, X, "%a = tanh(%x) : f32[3]\nreturn %y", "return %y")
