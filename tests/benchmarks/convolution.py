"""GFLOP/s of the generated convolutions on one thread, as a share of the multiply-add peak, beside PyTorch if present.

Timed as in matmul.py: python tests/benchmarks/convolution.py [--runs N] [--batch N] [--only TEXT].
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1", KGRAPH_NUM_THREADS="1")

import argparse
import functools
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from matmul import peak, seconds, torch_or_none

from kgraph.compiler.codegen.target import current
from kgraph.compiler.codegen.tiles import tiling
from kgraph.compiler.native import compile_native
from kgraph.ir.dtypes import f32
from kgraph.ir.graph import GraphBuilder
from kgraph.ir.types import TensorType
from kgraph.primitives import REGISTRY
from kgraph.runtime.executable import Executable
from kgraph.runtime.memory import aligned_empty
from kgraph.runtime.states import State

# (image side, input channels, window, output channels, stride): ResNet-50's 3x3 and 1x1, then the layers of a CNN on
# 28 x 28 images, and of ResNet-20.
SHAPES = [
    (56, 64, 3, 64, 1), (28, 128, 3, 128, 1), (14, 256, 3, 256, 1), (7, 512, 3, 512, 1), (56, 128, 3, 128, 2),
    (28, 256, 3, 256, 2), (14, 512, 3, 512, 2), (56, 64, 1, 256, 1), (56, 256, 1, 64, 1), (28, 512, 1, 128, 1),
    (14, 1024, 1, 256, 1), (7, 2048, 1, 512, 1), (56, 256, 1, 512, 2), (28, 512, 1, 1024, 2), (224, 3, 7, 64, 2),
    (28, 1, 3, 32, 1), (14, 32, 3, 64, 1), (7, 64, 3, 128, 1), (32, 3, 3, 16, 1), (32, 16, 3, 16, 1),
    (32, 16, 3, 32, 2), (16, 32, 3, 32, 1), (16, 32, 3, 64, 2), (8, 64, 3, 64, 1),
]  # fmt: skip


def native(name: str, arrays: list[np.ndarray], attrs: dict[str, object]) -> Callable[[], object]:
    """A compiled program of one op, bound to its operands; its result is a state, which stays in one place."""
    builder = GraphBuilder(name, REGISTRY)
    types = [TensorType(f32, a.shape) for a in arrays]
    values = [builder.input(type) for type in types]
    out = builder.emit(name, *values, **attrs)
    builder.input(out.type)
    code = compile_native(builder.build([out]), 1, check=False)
    state = State(aligned_empty(out.type.concrete({}), out.type.dtype.to_numpy()))
    return functools.partial(Executable(code.artifact, [state]).run, arrays)


def calls(side: int, cin: int, window: int, cout: int, stride: int, batch: int) -> Iterator[tuple[str, Callable]]:
    """The three passes of one layer with padding "same"."""
    total = max((math.ceil(side / stride) - 1) * stride + window - side, 0)
    attrs = {"strides": (stride,) * 2, "low": (total // 2,) * 2, "high": (total - total // 2,) * 2,
             "dilation": (1, 1), "groups": 1}  # fmt: skip
    rng = np.random.default_rng(0)
    out = math.ceil(side / stride)
    shapes = (batch, side, side, cin), (window, window, cin, cout), (batch, out, out, cout)
    x, w, dy = (aligned_empty(shape, np.float32) for shape in shapes)
    for array in (x, w, dy):
        array[...] = rng.standard_normal(array.shape)
    yield "forward", native("conv", [x, w], attrs)
    yield "input", native("conv_input_grad", [dy, w], {**attrs, "shape": x.shape})
    yield "weights", native("conv_weight_grad", [x, dy], {**attrs, "kernel": (window, window)})


def torch_calls(
    torch: ModuleType, side: int, cin: int, window: int, cout: int, stride: int, batch: int
) -> list[Callable[[], object]]:
    """The same by PyTorch, channels last."""
    pad = (window - 1) // 2
    x = torch.randn(batch, cin, side, side).contiguous(memory_format=torch.channels_last)
    w = torch.randn(cout, cin, window, window).contiguous(memory_format=torch.channels_last)
    y = torch.nn.functional.conv2d(x, w, stride=stride, padding=pad)

    def backward(mask: list[bool]) -> object:
        return torch.ops.aten.convolution_backward(
            y, x, w, None, [stride] * 2, [pad] * 2, [1, 1], False, [0, 0], 1, mask
        )

    forward = functools.partial(torch.nn.functional.conv2d, x, w, stride=stride, padding=pad)
    return [forward, lambda: backward([True, False, False]), lambda: backward([False, True, False])]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="timed runs per figure; the median counts")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--only", default="", help="only layers whose name contains this text")
    options = parser.parse_args()
    target, torch = current(), torch_or_none()
    t = tiling(target, "float")
    at_peak, peak_flops = peak(target, t)
    best = 1e-9 * peak_flops / seconds([at_peak], options.runs)[0]
    print(f"{target.isa}: measured multiply-add peak {best:.1f} GFLOP/s; batch {options.batch}")
    print(f"{'layer':>24} {'pass':>8} {'GFLOP/s':>8} {'of peak':>8}" + (f" {'/ torch':>8}" if torch else ""))
    for side, cin, window, cout, stride in SHAPES:
        name = f"{side}x{side}x{cin} {window}x{window}/{stride} {cout}"
        if options.only not in name:
            continue
        flops = 2e-9 * options.batch * math.ceil(side / stride) ** 2 * window**2 * cin * cout
        others = torch_calls(torch, side, cin, window, cout, stride, options.batch) if torch else [None] * 3
        for (kind, call), other in zip(calls(side, cin, window, cout, stride, options.batch), others, strict=True):
            limit, taken, *beside = seconds([at_peak, call, *([other] if other else [])], options.runs)
            share, ratio = flops / taken / (1e-9 * peak_flops / limit), "".join(f" {t / taken:8.2f}" for t in beside)
            print(f"{name:>24} {kind:>8} {flops / taken:8.1f} {share:8.0%}{ratio}", flush=True)


if __name__ == "__main__":
    main()
