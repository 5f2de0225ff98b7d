"""Functions of `kgraph.ops` against those of Keras, on arrays: values, shapes and element types.

The calls are those of `tests/api/ops`, where they are compared with NumPy.
"""

from __future__ import annotations

import importlib.util
import pathlib
import re
from typing import Any

import keras
import numpy as np
import pytest
from ops_cases import ARRAYS, Case, cases, evaluate, leaves

import kgraph.ops as ops

FOLDER = pathlib.Path(__file__).parent.parent / "api" / "ops"

# With the JAX backend these take arrays, and no lists.
ONLY_ARRAYS = {
    "saturate_cast", "slice_update", "scatter", "segment_sum", "segment_max", "segment_min", "batch_normalization",
    "repeat", "in_top_k", "bincount",
}  # fmt: skip
WITH_ARRAYS = cases(
    "saturate_cast(x * 200, 'uint8')", "slice_update(i, np.array([0, 1]), j[:1, :2])", "segment_sum(x, k[:, 0], 4)",
    "segment_max(x, k[:, 1] * 0, 1)", "segment_min(i, k[:, 1] * 0, 1)", "repeat(x, k[:, 0], axis=0)",
    "in_top_k(k[:, 0], x, 2)", "bincount(k[0], minlength=5)", "scatter(k[:, :1], x, (4, 4))",
)  # fmt: skip

# Calls that give something else than Keras', and why.
DEVIATIONS = {
    "size(t)": "int32, as all sizes here; NumPy's own int64 there",
    "istft(stft(tile(w, 4), 4, 2, 4, window=None, center=False), 4, 2, 4, window=None, center=False)":
        "Keras gives twice the signal; here istft undoes stft",
    "take_along_axis(x, k, axis=None)": "JAX wants indices of rank 1; here they are flattened as the values are",
    "split(x, [-1])": "JAX refuses negative places",
    "histogram(x, 5)": "Keras refuses more than one axis; NumPy does not",
    "histogram(i, 4, (-8, 8))": "Keras refuses more than one axis; NumPy does not",
}  # fmt: skip


def _of_folder() -> list[Case]:
    """The cases of all test modules of the folder that Keras takes as well."""
    found: list[Case] = []
    for path in sorted(FOLDER.glob("test_*.py")):
        spec = importlib.util.spec_from_file_location(f"cases_of_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found += [case for case in getattr(module, "CASES", ()) if isinstance(case, Case)]
    listed = re.compile(rf"\b({'|'.join(ONLY_ARRAYS)})\(.*\[")
    return [case for case in found if not listed.search(case.call)]


def _check(call: str, arrays: dict[str, Any], tolerance: float = 2e-5) -> None:
    found = leaves(evaluate(call, ops, arrays))
    wanted = [np.asarray(leaf) for leaf in keras.tree.flatten(evaluate(call, keras.ops, arrays))]
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        scale = tolerance * np.max(np.abs(b[np.isfinite(b)]), initial=1.0) if b.dtype.kind in "fc" else 0.0
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=scale)


@pytest.mark.parametrize("case", [*_of_folder(), *WITH_ARRAYS], ids=lambda case: case.call)
def test_values_and_types_are_those_of_keras(case):
    if case.call in DEVIATIONS:
        pytest.skip(DEVIATIONS[case.call])
    _check(case.call, ARRAYS)


TYPES = ("bool", "uint8", "int32", "float32")
PAIRS = [
    "add(x, y)", "subtract(x, y)", "multiply(x, y)", "divide(x, y)", "maximum(x, y)", "minimum(x, y)", "equal(x, y)",
    "less(x, y)", "logical_and(x, y)", "arctan2(x, y)", "where(x > 0, x, y)", "concatenate([x, y])", "stack([x, y])",
    "matmul(x, y)", "dot(x, y)", "floor_divide(x, y)", "mod(x, y)", "power(x, y)", "outer(x, y)", "append(x, y)",
    "inner(x, y)", "vdot(x, y)", "tensordot(x, y, 1)", "einsum('i,i->', x, y)", "einsum('i,j->ij', x, y)",
    "add(x, 2)", "multiply(x, 2.5)", "divide(x, 2)", "maximum(x, True)", "where(x > 0, x, 1.5)",
]  # fmt: skip
SINGLE = [
    "sum(x)", "mean(x)", "prod(x)", "max(x)", "std(x)", "var(x)", "any(x)", "cumsum(x)", "cumprod(x)", "argmax(x)",
    "sqrt(x)", "exp(x)", "sin(x)", "log1p(x)", "square(x)", "abs(x)", "floor(x)", "ceil(x)", "round(x)", "sign(x)",
    "negative(x)", "sort(x)", "median(x)", "average(x)", "clip(x, 0, 1)", "zeros_like(x)", "count_nonzero(x)",
    "reciprocal(x)", "isnan(x)", "logical_not(x)", "diff(x)", "trace(reshape(x, (2, 2)))", "norm(x)",
]  # fmt: skip

# JAX refuses these bools, which count as int32 here.
OTHER_TYPES = {(call, "bool") for call in ("subtract(x, y)", "round(x)", "sign(x)", "negative(x)")}


def _four(dtype: str) -> np.ndarray:
    return np.array([1, 2, 3, 1]).astype(dtype)


@pytest.mark.parametrize("first", TYPES)
@pytest.mark.parametrize("call", PAIRS)
def test_two_element_types_meet_as_in_keras(call, first):
    for second in TYPES:
        if first == second and (call, first) in OTHER_TYPES:
            continue
        _check(call, {"x": _four(first), "y": _four(second)[::-1].copy()}, 2e-5)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("call", SINGLE)
def test_one_element_type_gives_that_of_keras(call, dtype):
    if (call, dtype) in OTHER_TYPES:
        pytest.skip("a deviation")
    _check(call, {"x": _four(dtype)}, 2e-5)
