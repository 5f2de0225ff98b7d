"""Conversions in native code."""

from __future__ import annotations

import numpy as np
import pytest

from kgraph.compiler.native import compile_native
from kgraph.ir.dtypes import dtype_of
from kgraph.ir.parser import parse
from kgraph.primitives import REGISTRY
from kgraph.runtime.executable import Executable

INTEGERS = ("int32", "int64", "uint8", "uint32")


@pytest.mark.parametrize("to", INTEGERS)
@pytest.mark.parametrize("source", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 67])
def test_floats_outside_of_integers_go_to_the_nearest_end(source: str, to: str, count: int):
    """In vectors and alone: the ends themselves, their neighbours, fractions, infinities; NaN becomes 0."""
    ends = np.iinfo(to)
    at = np.array([ends.min, ends.max, 0.0, -0.9, 0.9, 2.0**31, 1e30, -1e30, np.inf, -np.inf, np.nan], source)
    values = np.concatenate([at, np.nextafter(at, np.inf), np.nextafter(at, -np.inf)]).astype(source)
    name, result = dtype_of(source).name, dtype_of(to).name
    graph = parse(f"graph @f(%x: {name}[{count}]) {{ %y = cast(%x) {{dtype={result}}} : {result}[{count}] return %y }}",
                  REGISTRY)  # fmt: skip
    run = Executable(compile_native(graph, 0, check=True).artifact, []).run
    for start in range(0, len(values), count):
        given = np.resize(values[start:], count)
        wanted = [
            0 if np.isnan(v) else ends.max if v >= ends.max else ends.min if v <= ends.min else int(v) for v in given
        ]
        assert run([given])[0].tolist() == wanted
