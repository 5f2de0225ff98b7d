"""Convolutions whose weights are states that nothing writes read packed copies: the same bits, only where it pays."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kgraph.compiler import packed_states
from kgraph.compiler.native import NativeCode, compile_native
from kgraph.config import override
from kgraph.ir.dims import symbol
from kgraph.ir.dtypes import f32, f64
from kgraph.ir.graph import Graph, GraphBuilder
from kgraph.ir.types import TensorType
from kgraph.primitives import REGISTRY
from kgraph.runtime.executable import Executable
from kgraph.runtime.interpreter import interpret
from kgraph.runtime.states import PackedCopy, State, count_change

# Side of the image, channels, side of the window, outputs, stride.
SHAPES = [
    (7, 64, 3, 64, 1),     # collected rows
    (5, 200, 3, 104, 1),   # several passes, columns behind the last whole panel
    (4, 512, 3, 40, 1),    # three passes
    (9, 24, 3, 48, 1),     # padded lines
    (9, 24, 3, 33, 2),
    (7, 96, 1, 80, 1),     # plain matrices
    (1, 96, 1, 80, 1),     # of as many rows as images
    (3, 1100, 1, 64, 1),   # in two passes
    (8, 48, 1, 640, 2),
]  # fmt: skip


def convolution(
    shape: tuple[int, int, int, int, int], layers: int = 1, groups: int = 1, written: bool = False, dtype=f32
) -> Graph:
    """Layers beside each other on one image; their weights are the states. `written`: each gets a new value."""
    side, channels, window, outputs, stride = shape
    around = max((math.ceil(side / stride) - 1) * stride + window - side, 0)
    attrs = {"strides": (stride,) * 2, "low": (around // 2,) * 2, "high": (around - around // 2,) * 2,
             "dilation": (1, 1), "groups": groups}  # fmt: skip
    builder = GraphBuilder("predict", REGISTRY)
    x = builder.input(TensorType(dtype, (symbol("batch"), side, side, channels)))
    weights = [
        builder.input(TensorType(dtype, (window, window, channels // groups, outputs))) for _ in range(layers)
    ]
    results = [builder.emit("conv", x, w, **attrs) for w in weights]
    states = [builder.emit("add", w, w) for w in weights] if written else weights
    return builder.build([*results, *states])


def compiled(graph: Graph, states: int = 1) -> NativeCode:
    return compile_native(graph, states, check=True)


def copies_of(code: NativeCode) -> list[tuple[int, tuple[object, ...]]]:
    """State and shape of each copy."""
    return [(p.index, p.type.shape) for p in code.artifact.plan.places if p.kind == "packed"]


def numbers(*shape: int, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [f32, f64])
def test_bits_are_those_of_weights_packed_by_each_run(shape, dtype, monkeypatch: pytest.MonkeyPatch):
    side, channels, window, outputs, _ = shape
    graph = convolution(shape, dtype=dtype)
    code = compiled(graph)
    ((state, panels),) = copies_of(code)
    assert state == 0
    assert panels[1] == window * window * channels
    monkeypatch.setattr(packed_states, "MOST_ROWS", -1)
    plain = compiled(graph)
    assert not copies_of(plain)
    weights = State(numbers(window, window, channels, outputs, dtype=dtype.numpy))
    executables = [Executable(c.artifact, [weights]) for c in (code, plain)]
    for images in (1, 2, 5, 0):
        x = numbers(images, side, side, channels, seed=images, dtype=weights.array.dtype.name)
        expected = interpret(graph, [x, weights.array])[0]
        for threads in (1, 3):
            with override(num_threads=threads):
                (got,), (without,) = (e.run([x]) for e in executables)
            np.testing.assert_array_equal(got, without)
            scale = max(float(np.abs(expected).max(initial=0)), 1)
            np.testing.assert_allclose(got, expected, rtol=0, atol=32 * np.finfo(got.dtype).eps * scale)


def test_a_copy_is_packed_again_after_a_change_only(monkeypatch: pytest.MonkeyPatch):
    packed = []
    pack = PackedCopy._pack
    monkeypatch.setattr(PackedCopy, "_pack", lambda self: (packed.append(self), pack(self)))
    weights = State(numbers(3, 3, 64, 64))
    executables = [Executable(compiled(convolution(SHAPES[0])).artifact, [weights]) for _ in range(2)]
    x = numbers(1, 7, 7, 64)
    before = [e.run([x])[0] for e in executables]
    assert len(packed) == 1, "programs share copies"
    weights.array *= 2
    count_change([weights])
    for _ in range(3):
        np.testing.assert_array_equal([e.run([x])[0] for e in executables], 2 * np.array(before))
    assert len(packed) == 2


def test_copies_go_with_the_programs_that_keep_them():
    weights = State(numbers(3, 3, 64, 64))
    executable = Executable(compiled(convolution(SHAPES[0])).artifact, [weights])
    assert not weights._copies
    executable.run([numbers(1, 7, 7, 64)])
    assert len(weights._copies) == 1
    del executable
    assert not weights._copies


@pytest.mark.parametrize("options", [
    {"written": True},                    # would have to be packed in each run
    {"groups": 2},                        # the operand is not the whole array
    {"shape": (17, 64, 3, 64, 1)},        # packing is little beside so many rows
    {"shape": (7, 64, 3, 4, 1)},          # tiles of one vector
])  # fmt: skip
def test_other_products_have_no_copies(options):
    assert not copies_of(compiled(convolution(**{"shape": SHAPES[0], **options})))


def test_weights_that_are_arguments_have_no_copies():
    assert not copies_of(compiled(convolution(SHAPES[0]), states=0))


def test_layers_of_one_shape_share_a_kernel_and_have_copies_of_their_own():
    code = compiled(convolution(SHAPES[0], layers=3), states=3)
    assert [state for state, _ in copies_of(code)] == [0, 1, 2]
    assert len({id(kernel.body) for kernel in code.kernels}) == 1
    weights = [State(numbers(3, 3, 64, 64, seed=n)) for n in range(3)]
    x = numbers(1, 7, 7, 64)
    results = Executable(code.artifact, weights).run([x])
    for got, state in zip(results, weights, strict=True):
        np.testing.assert_array_equal(got, Executable(compiled(convolution(SHAPES[0])).artifact, [state]).run([x])[0])


def test_products_that_collect_the_same_lines_keep_their_own_plans():
    builder = GraphBuilder("predict", REGISTRY)
    x = builder.input(TensorType(f32, (symbol("batch"), 9, 9, 24)))
    weights = [builder.input(TensorType(f32, (height, 3, 24, 48))) for height in (3, 5)]
    attrs = {"strides": (1, 1), "low": (0, 0), "high": (0, 0), "dilation": (1, 1), "groups": 1}
    graph = builder.build([*(builder.emit("conv", x, w, **attrs) for w in weights), *weights])
    code = compiled(graph, states=2)
    assert len(copies_of(code)) == 2
    arrays = [numbers(2, 9, 9, 24), numbers(3, 3, 24, 48, seed=1), numbers(5, 3, 24, 48, seed=2)]
    got = Executable(code.artifact, [State(a) for a in arrays[1:]]).run(arrays[:1])
    for result, expected in zip(got, interpret(graph, arrays), strict=False):
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-4)
