"""What must hold for every pass: the graph stays legal, results stay the same, a second run finds nothing to do."""

import numpy as np
import pytest
from op_samples import PRIMITIVES, sample_types, samples_of
from pass_checks import Array, Pass

from kgraph.compiler.pipeline import pass_name
from kgraph.compiler.pipelines import EXPAND, OPTIMIZE
from kgraph.ir.graph import Graph, GraphBuilder
from kgraph.ir.opdef import OpDef, Sample
from kgraph.ir.verify import verify
from kgraph.ops import REGISTRY
from kgraph.runtime.interpreter import interpret

PASSES = tuple(dict.fromkeys((*EXPAND, *OPTIMIZE)))
EVERY_PASS = pytest.mark.parametrize("apply", PASSES, ids=pass_name)


def check(apply: Pass, graph: Graph, arrays: list[Array]) -> Graph:
    """Run a pass, and check what must hold for every pass; gives the new graph."""
    after = apply(graph)
    verify(after)
    assert after.inputs == graph.inputs
    for want, got in zip(interpret(graph, arrays), interpret(after, arrays), strict=True):
        np.testing.assert_array_equal(got, want, strict=True)
    assert apply(after) is after
    return after


def sample_graph(op: OpDef, sample: Sample, constants: bool) -> Graph:
    """The call of a sample, twice; its operands are inputs or constants."""
    builder = GraphBuilder("sample", REGISTRY)
    inputs = [builder.input(type) for type in sample_types(sample)]
    operands = [builder.constant(array) for array in sample.args] if constants else inputs
    calls = [builder.emit(op, *operands, **sample.attrs) for _ in range(2)]
    return builder.build([value for out in calls for value in (out if isinstance(out, tuple) else (out,))])


@EVERY_PASS
@pytest.mark.parametrize("op", PRIMITIVES, ids=lambda op: op.name)
def test_every_op_keeps_its_results(apply: Pass, op: OpDef):
    for sample in samples_of(op):
        for constants in (False, True):
            check(apply, sample_graph(op, sample, constants), list(sample.args))
