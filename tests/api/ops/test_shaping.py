"""Shapes, axes, joining and cutting of `kgraph.ops` against NumPy."""

from __future__ import annotations

import pytest
from ops_cases import assert_like_numpy, assert_native_like_interpreter, assert_slopes, cases

CASES = cases(
    "reshape(x, (2, 6))", "reshape(x, (-1, 3))", "reshape(x, -1)", "ravel(t)", "expand_dims(x, 1)",
    "expand_dims(x, (0, -1))", "squeeze(expand_dims(x, 1))", "squeeze(expand_dims(x, 1), axis=1)", "transpose(t)",
    "transpose(t, (1, 2, 0))", "swapaxes(t, 0, -1)", "moveaxis(t, 0, -1)", "moveaxis(t, (0, 1), (2, 0))",
    "broadcast_to(v, (3, 4))", "concatenate([x, y])", "concatenate([x, i], axis=1)", "concatenate([b, c], axis=-1)",
    "append(x, y)", "append(x, y, axis=1)", "stack([x, y])", "stack([x, i], axis=-1)", "stack([1, 2])",
    "hstack([x, y])", "hstack([v, w])", "vstack([x, v])", "dstack([x, y])", "dstack([v, v])", "split(x, 2, axis=1)",
    "split(x, [1, 3], axis=1)", "split(x, [-1])", "array_split(w, 3)", "hsplit(x, 2)", "vsplit(x, 3)", "dsplit(t, 2)",
    ("unstack(x)", "list(x)"), ("unstack(x, axis=1)", "list(x.T)"), "tile(x, 2)", "tile(x, (2, 1, 2))", "repeat(x, 2)",
    "repeat(x, 3, axis=0)", "repeat(x, [1, 0, 2], axis=0)", "flip(x)", "flip(t, (0, -1))", "flip(b, 1)", "flipud(x)",
    "fliplr(x)", "roll(x, 1)", "roll(x, -6, axis=1)", "roll(x, (1, 2), axis=(0, 1))", "rot90(x)", "rot90(x, 2)",
    "rot90(t, -1, axes=(1, 2))", "rot90(x, 4)", "pad(x, 1)", "pad(x, ((0, 1), (2, 0)), constant_values=7)",
    "pad(x, (1, 2), mode='reflect')", "pad(x, ((1, 3), (0, 2)), 'symmetric')", "pad(b, 1)",
    ("extract_sequences(w, 3, 1)", "np.lib.stride_tricks.sliding_window_view(w, 3)"),
    ("extract_sequences(x, 2, 2)", "x.reshape(3, 2, 2)"),
    ("depth_to_space(reshape(tile(x, 2), (1, 2, 3, 4)), 2)",
     "np.tile(x, 2).reshape(1, 2, 3, 2, 2, 1).transpose(0, 1, 3, 2, 4, 5).reshape(1, 4, 6, 1)"),
    ("space_to_depth(depth_to_space(reshape(x, (1, 1, 3, 4)), 2), 2)", "x.reshape(1, 1, 3, 4)"),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.call)
def test_on_arrays_it_is_what_numpy_computes(case):
    assert_like_numpy(case)


def test_native_code_agrees_with_the_interpreter():
    assert_native_like_interpreter(CASES)


def test_gradients_are_slopes():
    assert_slopes(CASES)
