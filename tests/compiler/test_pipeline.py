"""The runner of passes."""

import pytest
from pass_checks import graph_of

from kgraph.compiler.passes.dce import dce
from kgraph.compiler.passes.fold import fold
from kgraph.compiler.pipeline import parse_passes, pass_name, run
from kgraph.config import override
from kgraph.errors import ArgumentError, GraphError, InternalError, VerifyError
from kgraph.ir.graph import Graph

BODY = """
    %a = constant() {value=f32[](2.0)} : f32[]
    %b = exp(%a) : f32[]
    %c = neg(%x) : f32[]
    return %b
    """


def example() -> Graph:
    return graph_of("%x: f32[]", BODY)


def drop_constants(graph: Graph) -> Graph:
    """A faulty pass."""
    kept = tuple(node for node in graph.nodes if node.op.name != "constant")
    return Graph(graph.name, graph.inputs, kept, graph.outputs)


def test_passes_run_in_order_and_are_observed():
    seen = []
    result = run(example(), (fold, dce), name="tidy", observer=lambda *what: seen.append(what))
    assert [what[:2] for what in seen] == [("tidy", "fold"), ("tidy", "dce")]
    assert seen[-1][2] is result
    assert [node.op.name for node in result.nodes] == ["constant"]


@pytest.mark.parametrize("limit, nodes", [(0, 3), (1, 3), (2, 1), (None, 1)])
def test_a_limit_stops_early(limit: int | None, nodes: int):
    seen = []
    graph = run(example(), (fold, dce), name="tidy", observer=lambda *what: seen.append(what), limit=limit)
    assert len(seen) == (2 if limit is None else limit)
    assert len(graph.nodes) == nodes


def test_a_broken_graph_is_found_and_the_pass_named():
    with override(verify=True), pytest.raises(VerifyError) as caught:
        run(example(), (fold, drop_constants), name="tidy")
    (note,) = [note for note in caught.value.__notes__ if "in pass" in note]
    assert "in pass drop_constants of tidy" in note
    assert "exp" not in note
    assert "neg(%x)" in note


def test_without_the_setting_nothing_is_verified():
    with override(verify=False):
        assert len(run(example(), (drop_constants,), name="tidy").nodes) == 2


def failing(error: Exception):
    def guilty(graph: Graph) -> Graph:
        raise error

    return guilty


@pytest.mark.parametrize("error", [InternalError("fault"), ZeroDivisionError("fault")])
def test_a_fault_in_a_pass_shows_the_graph_before(error: Exception):
    with pytest.raises(type(error), match="fault") as caught:
        run(example(), (dce, failing(error)), name="tidy")
    (note,) = caught.value.__notes__
    assert "in pass guilty of tidy" in note
    assert "exp(%a)" in note
    assert "neg" not in note


def test_an_error_about_what_the_user_did_stays_one_line():
    with pytest.raises(GraphError) as caught:
        run(example(), (failing(GraphError("layer dense_1")),), name="tidy")
    assert not hasattr(caught.value, "__notes__")


def test_passes_have_names():
    assert [pass_name(p) for p in parse_passes(" fold,dce ,")] == ["fold", "dce"]
    with pytest.raises(ArgumentError, match=r"expected one of .*simplify.*received 'fuze'"):
        parse_passes("fold,fuze")
