"""The networkx view holds every operand, and its dominators are those of a definition by removal."""

import networkx as nx
import pytest
from random_graphs import random_graph

from kgraph.compiler.analysis.networkx_view import immediate_dominators, to_networkx


@pytest.mark.parametrize("seed", range(10))
def test_every_operand_is_an_edge_and_the_order_runs(seed):
    graph, _ = random_graph(seed)
    view = to_networkx(graph)
    assert view.number_of_nodes() == len(graph.inputs) + len(graph.nodes)
    assert view.number_of_edges() == sum(len(node.inputs) for node in graph.nodes)
    assert nx.is_directed_acyclic_graph(view)
    for node in graph.nodes:
        operands = sorted((data["operand"], data["type"]) for _, _, data in view.in_edges(node, data=True))
        assert operands == [(n, str(value.type)) for n, value in enumerate(node.inputs)]


@pytest.mark.parametrize("seed", range(10))
def test_without_its_dominator_a_node_is_out_of_reach(seed):
    graph, _ = random_graph(seed, size=15)
    view = to_networkx(graph)
    sources = [vertex for vertex in view if view.in_degree(vertex) == 0]
    for node, above in immediate_dominators(graph).items():
        for other in graph.nodes:
            if other is node:
                continue
            cut = view.copy()
            cut.remove_node(other)
            reached = set().union(*(nx.descendants(cut, s) | {s} for s in sources if s in cut)) if sources else set()
            if other is above:
                assert node not in reached
            elif above is None:
                assert node in reached or node in sources
