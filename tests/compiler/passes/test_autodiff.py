"""Automatic differentiation: structure of the new nodes, and gradients against central differences."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from pass_checks import Array, becomes, doubles, graph_of, stays, traced, values_of

from kgraph.compiler.passes.autodiff import autodiff
from kgraph.compiler.passes.dce import dce
from kgraph.errors import GraphError, InternalError
from kgraph.ir.dtypes import f32, i32
from kgraph.ir.graph import Graph, Value
from kgraph.ir.location import layer_scope
from kgraph.ir.opdef import current_emitter
from kgraph.ir.types import TensorType
from kgraph.primitives import REGISTRY


def emit(op: str, *args: Value, **attrs: object) -> Value:
    return current_emitter().emit(op, *args, **attrs)


def total(x: Value) -> Value:
    return emit("sum", x, axes=tuple(range(x.ndim)), keepdims=False)


def gradient(y: Value, *xs: Value) -> tuple[Value, ...]:
    found = emit("gradient", y, *xs)
    return found if isinstance(found, tuple) else (found,)


def slopes(function: Callable[..., Value], arrays: list[Array], step: float = 1e-5) -> list[Array]:
    """Central differences of a function with a rank-0 result, in float64."""
    graph = dce(autodiff(traced(function, *doubles(*(a.shape for a in arrays)))))
    found = []
    for n, array in enumerate(arrays):
        out = np.zeros_like(array)
        for at in np.ndindex(array.shape):
            ends = []
            for sign in (1, -1):
                moved = [a.copy() for a in arrays]
                moved[n][at] += sign * step
                ends.append(float(values_of(graph, moved)[0]))
            out[at] = (ends[0] - ends[1]) / (2 * step)
        found.append(out)
    return found


def check_gradients(function: Callable[..., Value], arrays: list[Array]) -> None:
    def with_gradients(*xs: Value) -> tuple[Value, ...]:
        return gradient(function(*xs), *xs)

    graph = autodiff(traced(with_gradients, *doubles(*(a.shape for a in arrays))))
    for got, want in zip(values_of(graph, arrays), slopes(function, arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-8)


FUNCTIONS = {
    "one use": lambda x, y: total(emit("tanh", x) * y),
    "several uses of a value": lambda x, y: total(x * x * y + emit("exp", x) * emit("tanh", x * y) + x),
    "the same operand twice": lambda x, y: total(x * x + y / y),
    "broadcast and sum": lambda x, y: total(emit("sum", x, axes=(1,), keepdims=True) * (x - y)),
    "matrix products": lambda x, y: total(
        emit("tanh", emit("matmul", x, y, transpose_a=False, transpose_b=True))
        @ emit("matmul", y, x, transpose_a=False, transpose_b=True)
    ),
    "both results of an op": lambda x, y: (
        lambda loss, p: total(loss * loss) + total(p * emit("sin", x) * y)
    )(*emit("softmax_crossentropy", x, y * y)),
    "only the second result": lambda x, y: total(emit("softmax_crossentropy", x, y * y)[1] * y),
    "only the first result": lambda x, y: total(emit("softmax_crossentropy", x, y * y)[0]),
    "concat and slice": lambda x, y: total(
        emit("slice", emit("exp", emit("concat", x, y, axis=1)), starts=(0, 1), limits=(2, 5), strides=(1, 2))
    ),
    "a gradient inside": lambda x, y: total(
        gradient(total(emit("tanh", x * y) * x), x)[0] * emit("sin", y)
    ),
    "a gradient of a gradient inside": lambda x, y: total(
        gradient(total(gradient(total(x * x * x * y), x)[0] * x), x)[0] * y
    ),
}  # fmt: skip


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_gradients_are_the_slopes(function: Callable[..., Value], rng: np.random.Generator):
    check_gradients(function, [rng.uniform(0.5, 2, (2, 3)), rng.uniform(-2, -0.5, (2, 3))])


def test_only_what_the_gradient_needs_is_added():
    becomes(
        autodiff,
        "%x: f32[2, 4], %w: f32[4, 3]",
        """
        %y = matmul(%x, %w) {transpose_a=false, transpose_b=false} : f32[2, 3]
        %s = sum(%y) {axes=[0, 1], keepdims=false} : f32[]
        %g = gradient(%s, %w) : f32[4, 3]
        return %g
        """,
        """
        %y = matmul(%x, %w) {transpose_a=false, transpose_b=false} : f32[2, 3]
        %s = sum(%y) {axes=[0, 1], keepdims=false} : f32[]
        %one = constant() {value=f32[](1.0)} : f32[]
        %d = broadcast(%one) {axes=[], shape=[2, 3]} : f32[2, 3]
        %g = matmul(%x, %d) {transpose_a=true, transpose_b=false} : f32[4, 3]
        return %g
        """,
    )


def test_the_gradient_of_something_independent_is_zero():
    becomes(
        autodiff,
        "%x: f32[], %w: f32[n, 3]",
        """
        %a, %b = gradient(%x, %x, %w) : f32[], f32[n, 3]
        return %a, %b
        """,
        """
        %a = constant() {value=f32[](1.0)} : f32[]
        %z = constant() {value=f32[](0.0)} : f32[]
        %b = broadcast(%z) {axes=[], shape=[n, 3]} : f32[n, 3]
        return %a, %b
        """,
    )


def test_a_stopped_gradient_is_zero():
    becomes(
        autodiff,
        "%x: f32[]",
        """
        %a = stop_gradient(%x) : f32[]
        %b = exp(%a) : f32[]
        %g = gradient(%b, %x) : f32[]
        return %g
        """,
        """
        %a = stop_gradient(%x) : f32[]
        %b = exp(%a) : f32[]
        %z = constant() {value=f32[](0.0)} : f32[]
        return %z
        """,
    )


def test_integers_on_the_way_end_it():
    def function(x: Value) -> tuple[Value, ...]:
        rounded = emit("cast", emit("cast", x, dtype=i32), dtype=f32)
        return gradient(total(rounded * x), x)

    graph = autodiff(traced(function, TensorType(f32, (3,))))
    (value,) = values_of(graph, [np.array([1.5, -2.5, 3.25], "float32")])
    np.testing.assert_array_equal(value, np.array([1, -2, 3], "float32"))


def test_a_graph_without_gradients_stays():
    stays(autodiff, "%x: f32[3]", "%c = tanh(%x) : f32[3]\nreturn %c")


def test_new_nodes_know_their_layer():
    def function(x: Value) -> tuple[Value, ...]:
        with layer_scope("model"), layer_scope("dense_1"):
            y = emit("tanh", x)
        return gradient(total(y), x)

    graph = autodiff(traced(function, TensorType(f32, (3,))))
    places = {node.loc.layer for node in graph.nodes if node.op.name == "mul"}
    assert places == {"model/dense_1/grad"}


def replaced_rule(graph: Graph, op: str, rule: object) -> Graph:
    """`graph` where `op` has another gradient rule."""
    faulty = dataclasses.replace(REGISTRY[op], grad=rule)
    nodes = [dataclasses.replace(node, op=faulty) if node.op.name == op else node for node in graph.nodes]
    return Graph(graph.name, graph.inputs, tuple(nodes), graph.outputs)


TANH = """
    %a = tanh(%x) : f32[3]
    %s = sum(%a) {axes=[0], keepdims=false} : f32[]
    %g = gradient(%s, %x) : f32[3]
    return %g
    """


@pytest.mark.parametrize(
    "rule, words",
    [
        (lambda dy, y, x: (emit("sum", dy, axes=(0,), keepdims=False),), "expected f32[3], received f32[]"),
        (lambda dy, y, x: (dy, dy), "expected 1 entries, received 2"),
    ],
)
def test_a_wrong_rule_is_blamed(rule: object, words: str):
    with pytest.raises(InternalError) as caught:
        autodiff(replaced_rule(graph_of("%x: f32[3]", TANH), "tanh", rule))
    assert "gradient rule of tanh" in str(caught.value)
    assert words in str(caught.value)


def test_an_op_without_gradient_on_the_way_is_named():
    no_grad = REGISTRY["eq"].grad
    graph = replaced_rule(graph_of("%x: f32[3]", TANH), "tanh", no_grad)
    with pytest.raises(GraphError, match=r"gradient of tanh: .*slope"):
        autodiff(graph)
