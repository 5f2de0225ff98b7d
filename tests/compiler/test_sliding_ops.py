"""Convolutions and pooling: kernels by the loop interpreter, and native code on every target that runs here."""

import numpy as np
import pytest
from native_kernels import runnable_targets
from op_samples import graph_of_sample, samples_of
from plan_runner import run_planned

from kgraph.compiler.native import compile_native
from kgraph.compiler.passes.autodiff import autodiff
from kgraph.config import override
from kgraph.ir.dims import symbol
from kgraph.ir.dtypes import f32
from kgraph.ir.graph import GraphBuilder
from kgraph.ir.loop_parser import parse_kernel
from kgraph.ir.loop_printer import kernel_to_text
from kgraph.ir.opdef import emitting
from kgraph.ir.types import TensorType
from kgraph.primitives import REGISTRY, convolution, pool_places, pooling
from kgraph.runtime.executable import Executable
from kgraph.runtime.interpreter import interpret

NAMES = tuple(op.name for op in (*convolution.OPS, *pooling.OPS, *pool_places.OPS))
SAMPLES = [
    pytest.param(REGISTRY[name], sample, id=f"{name}-{number}")
    for name in NAMES
    for number, sample in enumerate(samples_of(REGISTRY[name]))
]


def close(got, want):
    """Equal up to the rounding of sums; integers exactly."""
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(got, want)
        return
    scale = max(float(np.abs(want[np.isfinite(want)]).max(initial=0)), 1.0)
    np.testing.assert_allclose(got, want, rtol=0, atol=(2e-5 if want.dtype == np.float32 else 1e-12) * scale)


def close_to_reference(found, op, sample):
    """All results are those of the reference."""
    wanted = op.reference(*sample.args, **sample.attrs)
    for got, want in zip(found, wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
        close(got, want)


@pytest.mark.parametrize("op, sample", SAMPLES)
def test_kernels_compute_what_the_reference_says(op, sample):
    close_to_reference(run_planned(graph_of_sample(op, sample), sample.args), op, sample)


@pytest.mark.parametrize("target", runnable_targets())
@pytest.mark.parametrize("op, sample", SAMPLES)
def test_native_code_computes_what_the_reference_says(op, sample, target):
    with override(target_cpu=target):
        code = compile_native(graph_of_sample(op, sample), 0, check=True)
    for kernel in code.kernels:
        text = kernel_to_text(kernel)
        assert kernel_to_text(parse_kernel(text)) == text
    close_to_reference(Executable(code.artifact, []).run(sample.args), op, sample)


def native_and_reference(name, symbolic, arrays, attrs, symbolic_attrs=None):
    """Results of one op by native code, compiled with symbolic sizes, and by the reference."""
    builder = GraphBuilder(name, REGISTRY)
    values = [builder.input(TensorType(f32, shape)) for shape in symbolic]
    graph = builder.build([builder.emit(name, *values, **(symbolic_attrs or attrs))])
    code = compile_native(graph, 0, check=True)
    return Executable(code.artifact, []).run(arrays)[0], REGISTRY[name].reference(*arrays, **attrs), code


def random_call(seed):
    """Shapes and attributes of a convolution that reach all paths: blocks, passes, borders, groups, tails."""
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 4))
    window = rng.integers(1, 5, rank)
    dilation = rng.integers(1, 3, rank)
    strides = rng.integers(1, 4, rank)
    low, high = rng.integers(0, 4, rank), rng.integers(0, 4, rank)
    sizes = np.maximum(rng.integers(1, (40, 12, 6)[rank - 1], rank), dilation * (window - 1) + 1 - low - high)
    groups = int(rng.choice([1, 1, 1, 2, 3]))
    cin, cout = groups * int(rng.choice([1, 2, 3, 8, 17, 40])), groups * int(rng.choice([1, 3, 16, 21, 70]))
    attrs = {"strides": strides, "low": low, "high": high, "dilation": dilation}
    attrs = {key: tuple(int(v) for v in value) for key, value in attrs.items()} | {"groups": groups}
    return (tuple(map(int, sizes)), cin), (*map(int, window), cin // groups, cout), attrs, int(rng.integers(1, 5)), rng


@pytest.mark.parametrize("seed", range(40))
def test_random_convolutions_with_a_symbolic_batch(seed):
    (sizes, cin), w_shape, attrs, batch, rng = random_call(seed)
    n = symbol("n")
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((batch, *sizes, cin), w_shape))
    got, y, _ = native_and_reference("conv", [(n, *sizes, cin), w_shape], [x, w], attrs)
    close(got, y)
    dy = rng.standard_normal(y.shape).astype(np.float32)
    shapes = [(n, *y.shape[1:]), w_shape]
    to_x, to_x_symbolic = ({**attrs, "shape": (b, *sizes, cin)} for b in (batch, n))
    close(*native_and_reference("conv_input_grad", shapes, [dy, w], to_x, to_x_symbolic)[:2])
    to_w = {**attrs, "kernel": w_shape[:-2]}
    close(*native_and_reference("conv_weight_grad", [(n, *sizes, cin), shapes[0]], [x, dy], to_w)[:2])


def test_long_sums_are_made_in_several_passes():
    rng = np.random.default_rng(1)
    attrs = {"strides": (1, 1), "low": (1, 1), "high": (1, 1), "dilation": (1, 1), "groups": 1}
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((2, 6, 5, 230), (3, 3, 230, 19)))
    close(*native_and_reference("conv", [x.shape, w.shape], [x, w], attrs)[:2])
    dy = rng.standard_normal((2, 6, 5, 19)).astype(np.float32)
    close(*native_and_reference("conv_input_grad", [dy.shape, w.shape], [dy, w], {**attrs, "shape": x.shape})[:2])
    x, dy = (rng.standard_normal(s).astype(np.float32) for s in ((5, 16, 15, 130), (5, 16, 15, 19)))
    close(*native_and_reference("conv_weight_grad", [x.shape, dy.shape], [x, dy], {**attrs, "kernel": (3, 3)})[:2])


@pytest.mark.parametrize("name, shapes, sizes", [
    ("conv", lambda h, w: ((2, h, w, 3), (3, 2, 3, 5)), (9, 7)),
    ("conv_weight_grad", lambda h, w: ((2, h, w, 3), (2, h - 1, w, 5)), (9, 7)),
    ("conv_input_grad", lambda h, w: ((2, h, w, 5), (3, 2, 3, 5)), (8, 7)),
])  # fmt: skip
def test_symbolic_spatial_sizes(name, shapes, sizes):
    attrs = {"strides": (1, 1), "low": (1, 0), "high": (0, 1), "dilation": (1, 1), "groups": 1}
    h, w = symbol("h"), symbol("w")
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(s).astype(np.float32) for s in shapes(*sizes)]
    extra, symbolic_extra = {
        "conv": ({}, {}),
        "conv_weight_grad": ({"kernel": (3, 2)}, {"kernel": (3, 2)}),
        "conv_input_grad": ({"shape": (2, 9, 7, 3)}, {"shape": (2, h + 1, w, 3)}),
    }[name]
    close(*native_and_reference(name, shapes(h, w), arrays, {**attrs, **extra}, {**attrs, **symbolic_extra})[:2])


def test_a_window_of_one_tap_is_a_plain_product():
    attrs = {"strides": (1, 1), "low": (0, 0), "high": (0, 0), "dilation": (1, 1), "groups": 1}
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((2, 5, 4, 30), (1, 1, 30, 20)))
    got, wanted, code = native_and_reference("conv", [x.shape, w.shape], [x, w], attrs)
    close(got, wanted)
    assert "windows.gather" not in code.llvm
    strided = {**attrs, "strides": (2, 2)}
    got, wanted, code = native_and_reference("conv", [x.shape, w.shape], [x, w], strided)
    close(got, wanted)
    assert "windows.gather" in code.llvm


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6, 7, 11, 12, 13])
@pytest.mark.parametrize("window, stride", [(1, 1), (2, 2), (2, 3), (3, 3), (1, 4)])
def test_pooling_of_unknown_sizes_where_windows_do_not_overlap(size, window, stride):
    if size < window:
        return
    attrs = {"window": (window,), "strides": (stride,), "low": (0,), "high": (0,)}
    x = np.random.default_rng(size).standard_normal((2, size, 9)).astype(np.float32)
    builder = GraphBuilder("pool", REGISTRY)
    value = builder.input(TensorType(f32, (2, symbol("n"), 9)))
    with emitting(builder):
        results = [builder.emit("max_pool", value, **attrs), builder.emit("sum_pool", value, **attrs)]
        losses = [builder.emit("sum", y * y, axes=(0, 1, 2), keepdims=False) for y in results]
        results += [builder.emit("gradient", loss, value) for loss in losses]
    graph = autodiff(builder.build(results))
    with np.errstate(all="ignore"):
        wanted = interpret(graph, [x])
    native = Executable(compile_native(graph, 0, check=True).artifact, []).run([x])
    for got, expected in zip(native, wanted, strict=True):
        close(got, expected)
