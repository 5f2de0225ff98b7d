"""What may be computed where an anchor writes its result."""

import numpy as np
import pytest

from kgraph.compiler.native import compile_native
from kgraph.compiler.passes.fuse import fuse
from kgraph.ir.parser import parse
from kgraph.primitives import REGISTRY
from kgraph.runtime.executable import Executable
from kgraph.runtime.interpreter import interpret

# Each reads the result of the softmax at the own index and at another one, in the order in which groups are joined.
CASES = {
    "the moved one first": "%r = reverse(%v) {axes=[1]} : f32[5, 7] %w = sub(%r, %v) : f32[5, 7]",
    "the moved one last": "%r = reverse(%v) {axes=[1]} : f32[5, 7] %w = sub(%v, %r) : f32[5, 7]",
    "behind other nodes": """%t = tanh(%v) : f32[5, 7] %r = reverse(%t) {axes=[1]} : f32[5, 7]
        %s = tanh(%r) : f32[5, 7] %u = add(%t, %x) : f32[5, 7] %w = add(%u, %s) : f32[5, 7]""",
}


@pytest.mark.parametrize("case", CASES)
def test_what_reads_a_result_at_another_index_is_a_kernel_of_its_own(rng, case):
    softmax = "%v = softmax(%x) : f32[5, 7]"
    graph = parse(f"graph @f(%x: f32[5, 7]) {{ {softmax} {CASES[case]} return %v, %w }}", REGISTRY)
    for node in fuse(graph).nodes:
        ops = {inner.op.name for inner in node.attrs["body"].nodes} if node.op.name == "fusion" else {node.op.name}
        assert not {"softmax", "reverse"} <= ops
    x = rng.standard_normal((5, 7)).astype(np.float32)
    got = Executable(compile_native(graph, 0, check=True).artifact, []).run([x])
    for mine, wanted in zip(got, interpret(graph, [x]), strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-5, atol=1e-6)


def test_what_reads_a_result_at_its_own_index_stays_with_it():
    graph = parse("graph @f(%x: f32[5, 7]) { %v = softmax(%x) : f32[5, 7] %r = reverse(%x) {axes=[1]} : f32[5, 7]"
                  " %w = add(%v, %r) : f32[5, 7] return %w }", REGISTRY)  # fmt: skip
    (node,) = fuse(graph).nodes
    assert node.op.name == "fusion"


@pytest.mark.parametrize(("columns", "kernels"), [(1, 2), (2, 1)])
def test_what_follows_a_product_of_one_column_runs_over_all_of_them(rng, columns, kernels):
    graph = parse(f"""graph @f(%x: f32[6, 4], %w: f32[4, {columns}]) {{
        %m = matmul(%x, %w) {{transpose_a=false, transpose_b=false}} : f32[6, {columns}]
        %y = tanh(%m) : f32[6, {columns}] return %y }}""", REGISTRY)  # fmt: skip
    assert len(fuse(graph).nodes) == kernels
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((6, 4), (4, columns)))
    (got,) = Executable(compile_native(graph, 0, check=True).artifact, []).run([x, w])
    np.testing.assert_allclose(got, np.tanh(x @ w), rtol=1e-5)


@pytest.mark.parametrize(("results", "stored"), [("%y", 1), ("%y, %t", 2)])
def test_what_only_copied_comparisons_read_is_not_stored(results, stored):
    graph = parse(f"""graph @f(%x: f32[5]) {{
        %t = tanh(%x) : f32[5] %z = constant() {{value=f32[](0.0)}} : f32[]
        %b = broadcast(%z) {{axes=[], shape=[5]}} : f32[5] %g = gt(%t, %b) : bool[5]
        %u = add(%t, %x) : f32[5] %y = select(%g, %u, %b) : f32[5] return {results} }}""", REGISTRY)  # fmt: skip
    assert sum(len(node.outputs) for node in fuse(graph).nodes if node.op.name != "constant") == stored


def test_groups_that_would_need_each_other_stay_apart(rng):
    # %w would join %b, but needs %a, which needs %e, in one group with %d since that was found to follow; %d needs %b.
    graph = parse("""graph @f(%x: f32[4, 5], %y: f32[4, 5]) {
        %e = exp(%x) : f32[4, 5] %a = sum(%e) {axes=[1], keepdims=false} : f32[4]
        %b = sum(%y) {axes=[1], keepdims=false} : f32[4] %c = broadcast(%b) {axes=[0], shape=[4, 5]} : f32[4, 5]
        %d = add(%e, %c) : f32[4, 5] %w = mul(%b, %a) : f32[4] return %d, %w }""", REGISTRY)  # fmt: skip
    arrays = [rng.standard_normal((4, 5)).astype(np.float32) for _ in range(2)]
    got = Executable(compile_native(graph, 0, check=True).artifact, []).run(arrays)
    for mine, wanted in zip(got, interpret(graph, arrays), strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-5)
