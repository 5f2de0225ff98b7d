"""Einsum against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dims import symbol
from kgraph.ir.dtypes import dtype_of
from kgraph.ir.graph import GraphBuilder
from kgraph.ir.opdef import emitting
from kgraph.ir.types import TensorType
from kgraph.primitives import REGISTRY
from kgraph.primitives.einsum import einsum
from kgraph.runtime.interpreter import interpret

EQUATIONS = (
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,jk", (2, 3), (3, 4)),
    ("ij,kj->ki", (2, 3), (4, 3)),
    ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
    ("btnh,bsnh->bnts", (2, 3, 4, 5), (2, 6, 4, 5)),
    ("bnts,bsnh->btnh", (2, 4, 3, 6), (2, 6, 4, 5)),
    ("abc,cde->abde", (2, 3, 4), (4, 5, 6)),
    ("abde,dec->abc", (2, 3, 4, 5), (4, 5, 6)),
    ("...x,xy->...y", (2, 3, 4), (4, 5)),
    ("ab...,bc->ac...", (2, 3, 4, 5), (3, 6)),
    ("...ij,...jk->...ik", (1, 2, 3), (4, 3, 5)),
    ("i,j->ij", (3,), (4,)),
    ("i,i->", (3,), (3,)),
    ("ij,ij->ij", (2, 3), (2, 3)),
    ("ij,ij->i", (2, 3), (2, 3)),
    ("ijk,k->ji", (2, 3, 4), (4,)),
    ("ij,k->j", (2, 3), (4,)),
    ("ij->ji", (2, 3)),
    ("ij->", (2, 3)),
    ("ba", (2, 3)),
    ("...i->...", (2, 3, 4)),
    ("ij,jk,kl->il", (2, 3), (3, 4), (4, 5)),
    ("ab,ac,ad->bcd", (2, 3), (2, 4), (2, 5)),
)


@pytest.mark.parametrize("equation, shapes", [(e, s) for e, *s in EQUATIONS], ids=[e for e, *_ in EQUATIONS])
def test_values_are_numpys(equation: str, shapes: list[tuple[int, ...]], rng):
    arrays = [rng.normal(size=shape) for shape in shapes]
    builder = GraphBuilder("g", REGISTRY)
    with emitting(builder):
        out = einsum(equation, *(builder.input(TensorType(dtype_of(a.dtype), a.shape)) for a in arrays))
    (got,) = interpret(builder.build([out]), arrays)
    np.testing.assert_allclose(got, np.einsum(equation, *arrays), rtol=1e-12, atol=1e-12)


def test_sizes_may_be_symbolic_and_types_meet():
    builder = GraphBuilder("g", REGISTRY)
    batch, time = symbol("batch"), symbol("time")
    with emitting(builder):
        a = builder.input(TensorType(dtype_of("float64"), (batch, time, 3)))
        b = builder.input(TensorType(dtype_of("float32"), (batch, time, 4)))
        out = einsum("bti,btj->bij", a, b)
    assert out.type == TensorType(dtype_of("float64"), (batch, 3, 4))


@pytest.mark.parametrize(
    "equation, shapes, words",
    [
        ("ij;jk", [(2, 3), (3, 4)], "letters such as"),
        ("..i", [(2, 3)], "letters such as"),
        ("ij,jk->ik", [(2, 3)], "2 operands"),
        ("ij,jk->ik", [(2, 3), (4, 5)], "one size of 'j'"),
        ("ij,jk->ix", [(2, 3), (3, 5)], "each letter of the result once"),
        ("ij->ii", [(2, 3)], "each letter of the result once"),
        ("ii->i", [(2, 2)], "each letter once in an operand"),
        ("ijk->i", [(2, 2)], "rank 3 for 'ijk'"),
    ],
)
def test_errors(equation: str, shapes: list[tuple[int, ...]], words: str):
    builder = GraphBuilder("g", REGISTRY)
    operands = [builder.input(TensorType(dtype_of("float32"), s)) for s in shapes]
    with emitting(builder), pytest.raises((ArgumentError, ShapeError), match=words):
        einsum(equation, *operands)
