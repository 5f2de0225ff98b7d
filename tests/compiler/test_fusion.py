"""What fusion must not join."""

from __future__ import annotations

import numpy as np
from pass_checks import graph_of

from kgraph.compiler.native import compile_native
from kgraph.compiler.passes.fuse import fuse
from kgraph.runtime.executable import Executable
from kgraph.runtime.interpreter import interpret


def test_elements_at_other_places_are_read_from_memory():
    """A reversed result of an anchor does not exist yet where the anchor writes: not even behind another consumer."""
    graph = graph_of("%x: f32[batch, 6]", """
        %s = softmax(%x) : f32[batch, 6]
        %r = reverse(%s) {axes=[1]} : f32[batch, 6]
        %t = tanh(%s) : f32[batch, 6]
        %y = add(%r, %t) : f32[batch, 6]
        return %y
    """)  # fmt: skip
    assert len(fuse(graph).nodes) == 2
    x = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)
    (got,) = Executable(compile_native(graph, 0, check=True).artifact, []).run([x])
    np.testing.assert_allclose(got, interpret(graph, [x])[0], rtol=1e-6)
