"""Products, diagonals and norms of `kgraph.ops` against NumPy."""

from __future__ import annotations

import pytest
from ops_cases import assert_like_numpy, assert_native_like_interpreter, assert_slopes, cases

CASES = cases(
    ("matmul(x, m)", "x @ m"), "matmul(t, m)", "matmul(v, m)", "matmul(x, v)", "matmul(i, transpose(j))", "dot(x, m)",
    "dot(v, v)", "dot(x, 2.0)", "dot(t, swapaxes(t, 1, 2))", "inner(x, t)", "inner(v, 3.0)", "vdot(x, y)",
    "outer(v, w)", "outer(i, v)", "tensordot(t, x, 2)", "tensordot(x, y, ((0, 1), (0, 1)))", "tensordot(t, x, [2, 1])",
    "tensordot(v, w, 0)", "einsum('ij,kj->ik', x, y)", "einsum('bij,j->bi', t, v)", "einsum('ij->j', i)", "kron(x, m)",
    "kron(v, w)", "cross(reshape(x, (4, 3)), reshape(y, (4, 3)))", "cross(reshape(x, (3, 4)), y, axis=0)",
    ("cross(reshape(x, (6, 2)), reshape(y, (6, 2)))",
     "(lambda a, b: a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])(x.reshape(6, 2), y.reshape(6, 2))"),
    "trace(x)", "trace(t, offset=1, axis1=1, axis2=2)", "trace(i)", "diagonal(x)", "diagonal(x, 1)", "diagonal(x, -2)",
    "diagonal(t, 0, 1, 2)", "diagonal(x, 7)", "diag(v)", "diag(v, 2)", "diag(v, -1)", "diag(m, 1)", "diagflat(x)",
    "corrcoef(x)", ("norm(x)", "np.linalg.norm(x)"), ("norm(t)", "np.linalg.norm(t)"),
    ("norm(x, axis=1)", "np.linalg.norm(x, axis=1)"), ("norm(x, ord=1, axis=0)", "np.linalg.norm(x, 1, 0)"),
    ("norm(x, ord=3, axis=1, keepdims=True)", "np.linalg.norm(x, 3, 1, True)"),
    ("norm(x, ord=np.inf, axis=1)", "np.linalg.norm(x, np.inf, 1)"),
    ("norm(v, ord=-np.inf)", "np.linalg.norm(v, -np.inf)"), ("norm(k, ord=0, axis=1)", "np.linalg.norm(k, 0, 1)"),
    ("norm(x, ord='fro')", "np.linalg.norm(x, 'fro')"), ("norm(x, ord=1)", "np.linalg.norm(x, 1)"),
    ("norm(t, ord=np.inf, axis=(1, 2))", "np.linalg.norm(t, np.inf, (1, 2))"),
    ("norm(t, ord=-1, axis=(0, 2))", "np.linalg.norm(t, -1, (0, 2))"),
    "matmul(b, transpose(c))", "dot(b, transpose(c))", "outer(b, c)", "einsum('ij,kj->ik', b, c)",
    ("trace(g)", "np.trace(g.astype('uint32'), dtype='uint32')"),
    ("cdist(x, y)", "np.linalg.norm(x[:, None] - y[None], axis=-1)"),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.call)
def test_on_arrays_it_is_what_numpy_computes(case):
    assert_like_numpy(case)


def test_native_code_agrees_with_the_interpreter():
    assert_native_like_interpreter(CASES)


def test_gradients_are_slopes():
    assert_slopes(CASES)
