"""`input_spec`: what a user's layer demands of its inputs, at every way of calling it."""

from __future__ import annotations

import re

import numpy as np
import pytest

import kgraph
from kgraph import InputSpec, config
from kgraph import layers as L
from kgraph.errors import KgraphError


class Guarded(L.Layer):
    """Gives the sum of its inputs; runs only on what fits its specification."""

    def __init__(self, spec):
        super().__init__(name="guarded")
        self.input_spec = spec

    def call(self, inputs):
        leaves = list(inputs.values()) if isinstance(inputs, dict) else inputs
        return sum(leaf for leaf in leaves if leaf is not None) if isinstance(leaves, (list, tuple)) else leaves * 2


def of(*shape, dtype="float32"):
    return np.ones(shape, dtype)


PAIR = [InputSpec(ndim=2), InputSpec(shape=(None, 3), name="right")]
NAMED = [InputSpec(ndim=2, name="a"), InputSpec(ndim=1, name="b", optional=True)]
IMAGES = InputSpec(shape=(None, 4, 1), allow_last_axis_squeeze=True)

FITTING = [
    (InputSpec(ndim=2), of(2, 3)),
    (InputSpec(min_ndim=2, max_ndim=3), of(2, 3, 4)),
    (InputSpec(min_ndim=2, axes={-1: 3, 1: None}), of(2, 3)),
    (InputSpec(dtype="float32"), of(2, dtype="float64")),  # cast before, as floats are
    (InputSpec(dtype="int32"), of(2, dtype="int32")),
    (IMAGES, of(2, 4)),
    (IMAGES, of(2, 4, 1)),
    (InputSpec(shape=(None, 4), allow_last_axis_squeeze=True), of(2, 4, 1)),
    (PAIR, [of(2, 3), of(2, 3)]),
    ([None, InputSpec(ndim=1)], [of(2, 3), of(3)]),
    (NAMED, {"b": None, "a": of(2, 3)}),
    ([NAMED[1], NAMED[0]], {"b": [1.0, 2.0], "a": [[3.0, 4.0]]}),
]

WRONG = [
    (InputSpec(ndim=2), of(3), ": expected rank 2, received (3,)"),
    (InputSpec(max_ndim=2), of(2, 3, 4), ": expected rank 2 or less, received (2, 3, 4)"),
    (InputSpec(min_ndim=3), of(2, 3), ": expected rank 3 or more, received (2, 3)"),
    (InputSpec(axes={-1: 3}), of(2, 4), ": expected size 3 of axis -1, received (2, 4)"),
    (InputSpec(axes={2: 3}), of(2, 4), ": expected an axis 2, received (2, 4)"),
    (InputSpec(shape=(None, 3)), of(2, 4), ": expected shape (None, 3), received (2, 4)"),
    (InputSpec(shape=(8, 3)), of(2, 3), ": expected shape (8, 3), received (2, 3)"),
    (InputSpec(shape=(None, 3)), of(3), ": expected shape (None, 3), received (3,)"),
    (IMAGES, of(2, 4, 2), ": expected shape (None, 4, 1), received (2, 4, 2)"),
    (IMAGES, of(2), ": expected shape (None, 4, 1), received (2,)"),
    (InputSpec(dtype="int32"), of(2), ": expected int32, received float32. Cast the input first"),
    (PAIR, [of(2, 3), of(2, 4)], ": input 'right': expected shape (None, 3), received (2, 4)"),
    (PAIR, [of(3), of(2, 3)], ": input 0: expected rank 2, received (3,)"),
    (PAIR, [of(2, 3)] * 3, ": expected 2 input(s), received 3"),
    (NAMED, [of(2, 3)], ": expected 2 input(s) named 'a', 'b', received 1"),
    (NAMED, {"a": of(2, 3), "c": of(2)}, ": expected inputs 'a', 'b', received 'a', 'c'"),
    (NAMED, {"a": None, "b": of(2)}, ": input 'a': expected a tensor, received None"),
    (3, of(2, 3), ": input_spec: expected InputSpec or None, received int"),
]


@pytest.mark.parametrize("spec, inputs", FITTING)
def test_inputs_that_fit_are_taken(spec, inputs):
    with kgraph.execution("interpreter"):
        assert np.asarray(Guarded(spec)(inputs)).size


@pytest.mark.parametrize("spec, inputs, words", WRONG, ids=[words[2:40] for *_, words in WRONG])
def test_others_are_refused_in_one_line_before_anything_runs(spec, inputs, words):
    before = config.compilation_count()
    with pytest.raises(KgraphError, match=re.escape(words)) as found:
        Guarded(spec)(inputs)
    assert str(found.value) == f"layer 'guarded' (Guarded){words}"
    assert config.compilation_count() == before


def test_symbolic_calls_and_calls_inside_a_layer_are_checked():
    layer = Guarded(InputSpec(shape=(8, 3)))
    assert layer(kgraph.Input((3,))).shape == (None, 3)  # a size that is not known yet fits
    for call in (lambda: layer(kgraph.Input((4,))), lambda: layer(inputs=kgraph.Input((4,)))):
        with pytest.raises(ValueError, match=r"\(8, 3\), received \(batch, 4\)"):
            call()

    class Outer(L.Layer):
        def call(self, inputs):
            return layer(inputs)

    with pytest.raises(ValueError, match=r"'guarded' \(Guarded\): expected shape \(8, 3\), received \(\w+, 5\)"):
        Outer()(of(8, 5))


def test_a_specification_made_in_build_holds_from_then_on():
    class Doubling(L.Layer):
        def build(self, input_shape):
            self.input_spec = L.InputSpec(min_ndim=2, axes={-1: input_shape[-1]})

        def call(self, inputs):
            return inputs * 2

    layer = Doubling(name="doubling")
    with kgraph.execution("interpreter"):
        layer(of(2, 3))
        with pytest.raises(ValueError, match=r"'doubling'.*expected size 3 of axis -1"):
            layer(of(2, 4))
        assert layer(of(5, 3)).shape == (5, 3)


def test_a_specification_says_what_is_wrong_with_itself_and_has_a_configuration():
    with pytest.raises(TypeError, match="InputSpec: axes: expected a dict with whole numbers as keys"):
        InputSpec(axes={"last": 3})
    with pytest.raises(ValueError, match="InputSpec: axes: expected axes below 2, received 2"):
        InputSpec(ndim=2, axes={2: 3})
    with pytest.raises(ValueError, match="InputSpec: shape: expected sizes"):
        InputSpec(shape=3)
    spec = InputSpec("float32", (None, 3), axes={-1: 3}, name="x", optional=True)
    again = InputSpec.from_config(spec.get_config())
    assert vars(again) == vars(spec)
    assert repr(again) == "InputSpec(dtype=float32, shape=(None, 3), ndim=2, axes={-1: 3}, name=x, optional=True)"
