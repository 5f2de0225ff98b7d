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


X = "f32[5, 80, 70]"
SQUARE = f"%q = mul(%x, %x) : {X} "


def reduction(result: str, value: str, op: str = "sum", axis: int = 2) -> str:
    kept = "f32[5, 70]" if axis == 1 else "f32[5, 80]"
    return f"%{result} = {op}(%{value}) {{axes=[{axis}], keepdims=false}} : {kept} "


SIBLINGS = {
    "sums of an array and of its squares": (SQUARE + reduction("a", "x") + reduction("b", "q") + "return %a, %b", 1),
    "other reductions": (reduction("a", "x", "max") + reduction("b", "x", "min") + reduction("c", "x", "prod")
        + "return %a, %b, %c", 1),
    "sums of what is computed once": (f"%e = exp(%x) : {X} " + reduction("a", "e") + f"%m = mul(%e, %x) : {X} "
        + reduction("b", "m") + "return %a, %b", 1),
    "what needs the results of both": (SQUARE + reduction("a", "x") + reduction("b", "q")
        + "%m = mul(%a, %a) : f32[5, 80] %v = sub(%b, %m) : f32[5, 80] return %v", 1),
    "elements that are results": (f"%e = exp(%x) : {X} " + reduction("a", "e") + "return %e, %a", 1),
    "elements made of the same": (SQUARE + f"%e = exp(%x) : {X} " + reduction("a", "q") + "return %e, %a", 1),
    "elements beside columns": (f"%e = exp(%x) : {X} " + reduction("a", "e", axis=1) + "return %e, %a", 2),
    "other axes": (reduction("a", "x") + reduction("b", "x", axis=1) + "return %a, %b", 2),
    "nothing in common": (reduction("a", "x") + reduction("b", "w") + "return %a, %b", 2),
    "one needs the other": (reduction("a", "x") + f"%s = broadcast(%a) {{axes=[0, 1], shape=[5, 80, 70]}} : {X} "
        + f"%d = sub(%x, %s) : {X} " + reduction("b", "d") + "return %a, %b", 2),
    "one needs the other by way of a third": (reduction("a", "x") + "%p = softmax(%a) : f32[5, 80] "
        + f"%s = broadcast(%p) {{axes=[0, 1], shape=[5, 80, 70]}} : {X} %d = mul(%x, %s) : {X} "
        + reduction("b", "d") + "return %a, %b", 3),
    "elements that are read twice": (f"%e = exp(%x) : {X} %a = argmax(%e) {{axis=2}} : i32[5, 80] return %e, %a", 2),
}  # fmt: skip


@pytest.mark.parametrize("case", SIBLINGS)
def test_reductions_of_the_same_rows_are_one_kernel(rng, case):
    body, kernels = SIBLINGS[case]
    graph = parse(f"graph @f(%x: {X}, %w: {X}) {{ {body} }}", REGISTRY)
    assert len(fuse(graph).nodes) == kernels
    arrays = [rng.standard_normal((5, 80, 70)).astype(np.float32) for _ in range(2)]
    got = Executable(compile_native(graph, 0, check=True).artifact, []).run(arrays)
    for mine, wanted in zip(got, interpret(graph, arrays), strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-4, atol=1e-4)
