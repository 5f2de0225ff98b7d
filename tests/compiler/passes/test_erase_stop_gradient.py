"""Erasure of stop_gradient."""

from pass_checks import becomes, stays

from kgraph.compiler.passes.erase_stop_gradient import erase_stop_gradient


def test_stops_in_a_row_go():
    becomes(
        erase_stop_gradient,
        "%x: f32[3]",
        """
        %a = stop_gradient(%x) : f32[3]
        %b = stop_gradient(%a) : f32[3]
        %c = tanh(%b) : f32[3]
        return %c, %b
        """,
        """
        %c = tanh(%x) : f32[3]
        return %c, %x
        """,
    )


def test_a_graph_without_stops_stays():
    stays(erase_stop_gradient, "%x: f32[3]", "%c = tanh(%x) : f32[3]\nreturn %c")
