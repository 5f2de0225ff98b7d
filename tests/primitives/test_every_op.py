"""What must hold for every op of the table."""

from __future__ import annotations

import re

import numpy as np
import pytest
from op_samples import PRIMITIVES, every_sample, graph_of_sample, is_special, sample_types, samples_of

from kgraph.compiler.passes.autodiff import autodiff
from kgraph.errors import InternalError, KgraphError
from kgraph.ir.dtypes import f32, f64
from kgraph.ir.graph import Graph, GraphBuilder
from kgraph.ir.opdef import Composed, Expanded, NoGrad, Sample, emitting, primitive
from kgraph.ir.types import TensorType
from kgraph.primitives import REGISTRY, table
from kgraph.runtime.interpreter import concrete, interpret

# What passes make after differentiation.
WITHOUT_SLOPE = {"conv_weight_grad_parts", "max_pool_places", "conv_max_pool_places"}
OPS = pytest.mark.parametrize("op", PRIMITIVES, ids=lambda op: op.name)
BAD_CALLS = [
    pytest.param(op, call, id=f"{op.name}-{number}")
    for op in REGISTRY.values()
    for number, call in enumerate(op.errors)
]


@OPS
def test_op_says_what_it_computes(op):
    assert op.doc
    assert op.doc.splitlines()[0].endswith((".", "..."))
    assert not isinstance(op.lower, Expanded)


@OPS
def test_samples_cover_sizes_zero_and_one_and_both_floats(op):
    samples = samples_of(op)
    assert len(samples) >= 8
    sizes = {t.size for s in samples for t in (*sample_types(s), *op.result_types(sample_types(s), s.attrs))}
    assert op.name in ("fold_in", "size") or {0, 1} <= sizes  # their results have one size only
    floats = {t.dtype for s in samples for t in sample_types(s) if t.dtype.is_float}
    assert floats in (set(), {f32, f64})


@OPS
def test_at_least_three_wrong_calls_are_known(op):
    assert len(op.errors) >= 3


@pytest.mark.parametrize("op, call", BAD_CALLS)
def test_wrong_call_is_refused_with_the_right_words(op, call):
    with pytest.raises(KgraphError, match=re.escape(call.words)):
        op.result_types(call.types, call.attrs)


@OPS
def test_unknown_attribute_is_refused(op):
    sample = samples_of(op)[0]
    with pytest.raises(KgraphError, match="attributes"):
        op.result_types(sample_types(sample), {**sample.attrs, "nosuch": 1})


@pytest.mark.parametrize("op, sample", every_sample())
def test_shape_rule_says_what_the_reference_gives(op, sample):
    with np.errstate(all="ignore"):
        out = op.reference(*sample.args, **concrete(sample.attrs, {}))
    results = [np.asarray(r) for r in (out if isinstance(out, tuple) else (out,))]
    wanted = op.result_types(sample_types(sample), sample.attrs)
    assert [(r.shape, r.dtype) for r in results] == [(t.shape, t.dtype.to_numpy()) for t in wanted]


@pytest.mark.parametrize("op, sample", every_sample())
def test_reference_leaves_its_operands_alone(op, sample):
    before = [a.copy() for a in sample.args]
    interpret(graph_of_sample(op, sample), sample.args)
    for array, copy in zip(sample.args, before, strict=True):
        np.testing.assert_array_equal(array, copy)


@OPS
def test_missing_gradient_has_a_reason_and_nothing_to_lose(op):
    if isinstance(op.grad, NoGrad):
        assert len(op.grad.why) > 10
        smooth = False
        for sample in samples_of(op):
            types = sample_types(sample)
            results = op.result_types(types, sample.attrs)
            smooth |= any(t.dtype.is_float for t in types) and any(t.dtype.is_float for t in results)
        assert smooth is (op.name in WITHOUT_SLOPE)


def differentiable_samples():
    """Samples of ops with float operands and results, in float64, away from borders."""
    rows = []
    for row in every_sample():
        op, sample = row.values
        if isinstance(op.grad, NoGrad) or op.name == "stop_gradient" or is_special(sample):
            continue
        if sample.attrs.get("conditional"):
            continue  # a loop whose number of steps is data has no gradient
        has_graph = any(isinstance(attr, Graph) for attr in sample.attrs.values())
        if has_graph and any(a.dtype == np.float32 for a in sample.args):
            continue  # a graph takes no other element type
        args = tuple(a.astype(np.float64) if a.dtype.kind == "f" else a for a in sample.args)
        attrs = {name: f64 if value is f32 else value for name, value in sample.attrs.items()}
        results = op.result_types(sample_types(Sample(args)), attrs)
        if any(a.dtype.kind == "f" for a in args) and any(t.dtype.is_float for t in results):
            rows.append(pytest.param(op, Sample(args, attrs), id=row.id))
    return rows


def slope_graph(op, sample, weights):
    """loss = sum(weight * result) over all float results; outputs: the loss and its gradients for float operands."""
    builder = GraphBuilder("slope", REGISTRY)
    with emitting(builder):
        xs = [builder.input(t) for t in sample_types(sample)]
        out = builder.emit(op, *xs, **sample.attrs)
        loss = builder.constant(0.0, f64)
        for y, weight in zip(out if isinstance(out, tuple) else (out,), weights, strict=True):
            product = y * builder.constant(weight)
            loss = loss + builder.emit("sum", product, axes=tuple(range(weight.ndim)), keepdims=False)
        found = builder.emit("gradient", loss, *(x for x in xs if x.dtype.is_float))
    return autodiff(builder.build([loss, *(found if isinstance(found, tuple) else (found,))]))


@pytest.mark.parametrize("op, sample", differentiable_samples())
def test_gradient_is_the_slope_along_random_directions(op, sample):
    rng = np.random.default_rng(len(op.name))
    types = op.result_types(sample_types(sample), sample.attrs)
    graph = slope_graph(op, sample, [rng.normal(size=t.shape) for t in types])
    floats = [n for n, a in enumerate(sample.args) if a.dtype.kind == "f"]

    def loss(steps):
        moved = list(sample.args)
        for n, step in zip(floats, steps, strict=True):
            moved[n] = moved[n] + step
        return interpret(graph, moved)[0]

    gradients = interpret(graph, sample.args)[1:]
    for _ in range(2):
        direction = [rng.normal(size=sample.args[n].shape) for n in floats]
        h = 1e-5
        near, far = (loss([k * h * d for d in direction]) - loss([-k * h * d for d in direction]) for k in (1, 2))
        slope = (8 * near - far) / (12 * h)
        dot = sum(float(np.sum(g * d)) for g, d in zip(gradients, direction, strict=True))
        scale = sum(float(np.sum(np.abs(g * d))) for g, d in zip(gradients, direction, strict=True))
        assert dot == pytest.approx(slope, abs=1e-7 * (scale + 1))


def composed_samples():
    """Samples of ops whose gradient is that of other ops."""
    return [row for row in every_sample() if isinstance(row.values[0].grad, Composed)]


@pytest.mark.parametrize("op, sample", composed_samples())
def test_parts_of_an_op_compute_what_it_does(op, sample):
    builder = GraphBuilder("parts", REGISTRY)
    with emitting(builder):
        results = op.grad.parts(*map(builder.input, sample_types(sample)), **sample.attrs)
    found = interpret(builder.build(results), sample.args)
    for got, wanted in zip(found, op.reference(*sample.args, **sample.attrs), strict=True):
        assert got.dtype == wanted.dtype
        np.testing.assert_allclose(got, wanted, rtol=0, atol=32 * np.finfo(got.dtype).eps)


def test_two_ops_of_one_name_are_refused():
    with pytest.raises(InternalError, match="'add'"):
        table((REGISTRY["add"], REGISTRY["add"]))


def test_table_cannot_be_changed():
    with pytest.raises(TypeError):
        REGISTRY["add"] = REGISTRY["sub"]


def test_wrong_gradient_would_be_seen():
    @primitive(infer=lambda types, attrs: types[0], grad=lambda dy, y, x: (dy * 0.5,), lower=REGISTRY["neg"].lower,
               samples=lambda rng: ())  # fmt: skip
    def twice(x):
        return 2 * x

    with pytest.raises(AssertionError):
        test_gradient_is_the_slope_along_random_directions(twice, Sample((np.ones(3),)))


def test_a_gradient_cannot_run_by_itself():
    with pytest.raises(InternalError, match="gradient"):
        REGISTRY["gradient"].reference(y=None)


def test_gradient_has_the_types_of_the_tensors():
    types = (TensorType(f64), TensorType(f64, (2, 3)), TensorType(f32, ()))
    assert REGISTRY["gradient"].result_types(types, {}) == types[1:]
