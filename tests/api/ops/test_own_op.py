"""Ops that users define outside the package."""

from __future__ import annotations

import numpy as np
import pytest

import kgraph
from kgraph.eager import operation
from kgraph.engine import CompiledProgram
from kgraph.errors import GraphError
from kgraph.ir.dtypes import f32
from kgraph.ir.opdef import Scalar, Trait, emitting, primitive
from kgraph.ir.parser import parse
from kgraph.ir.printer import to_text
from kgraph.ir.scalar import call
from kgraph.ir.types import TensorType
from kgraph.primitives import REGISTRY
from kgraph.primitives.signatures import FLOATS, alike
from kgraph.trace import Trace

X = np.array([[1.0, -2.0, 0.5]], "float32")


def make_cube(lower, name="cube"):
    """An op x^3 with that lowering, and the function that uses it."""

    @primitive(
        name=name, infer=alike(name, 1, FLOATS), grad=lambda dy, y, x: (dy * (3.0 * x * x),), lower=lower,
        traits=Trait.ELEMENTWISE,
    )  # fmt: skip
    def op(x):
        """x to the power 3."""
        return x * x * x

    @operation("x")
    def cube(x):
        """``x^3``."""
        return op(x)

    return op, cube


LOWERED = Scalar(lambda x: call("mul", call("mul", x, x), x))


@pytest.mark.parametrize("execution", ["native", "interpreter"])
def test_it_computes_and_differentiates_in_a_model(execution):
    _, cube = make_cube(LOWERED)
    x = kgraph.Input((3,))
    model = kgraph.Model(x, cube(x) + 1.0)
    with kgraph.execution(execution):
        (y,), (gradient,), _ = kgraph.vjp(model, X, np.ones_like(X))
    np.testing.assert_allclose(y, X**3 + 1, rtol=1e-6)
    np.testing.assert_allclose(gradient, 3 * X**2, rtol=1e-6)


def test_it_trains_natively():
    _, cube = make_cube(LOWERED)
    x = kgraph.Input((3,))
    model = kgraph.Model(x, cube(kgraph.layers.Dense(2)(x)))
    model.compile(kgraph.optimizers.SGD(1e-4), "mse")
    before = model.evaluate(X, np.ones((1, 2)), verbose=0)
    model.fit(X, np.ones((1, 2)), epochs=3, verbose=0)
    assert model.evaluate(X, np.ones((1, 2)), verbose=0) < before


def test_without_a_lowering_the_interpreter_runs_it_and_native_code_says_why_not():
    _, cube = make_cube(None)
    np.testing.assert_allclose(cube(X), X**3, rtol=1e-6)
    x = kgraph.Input((3,))
    model = kgraph.Model(x, cube(x))
    with pytest.raises(GraphError, match=r"^op 'cube'.*: expected a lowering, to become native code, received none"):
        model.predict(X, verbose=0)
    with kgraph.execution("interpreter"):
        np.testing.assert_allclose(model.predict(X, verbose=0), X**3, rtol=1e-6)


def program_of(function):
    """The function on a f32[3] as a program."""
    trace = Trace("own")
    with emitting(trace):
        y = function(trace.argument(TensorType(f32, (3,)), "x"))
        return trace.program([("y", y)])


def test_its_text_reads_back_with_a_table_that_has_it():
    op, cube = make_cube(LOWERED)
    text = to_text(program_of(cube).graph)
    assert to_text(parse(text, {**REGISTRY, op.name: op})) == text


def test_another_op_of_the_same_name_is_not_taken_for_it(tmp_path):
    with kgraph.config.override(cache=str(tmp_path), verify=False):
        for lower, wanted in ((LOWERED, X[0] ** 3), (Scalar(lambda x: call("neg", x)), -X[0])):
            _, cube = make_cube(lower)
            (y,) = CompiledProgram(program_of(cube)).run([X[0]], execution="native")
            np.testing.assert_allclose(y, wanted, rtol=1e-6)


def test_the_name_of_an_op_of_the_package_is_refused():
    _, tanh = make_cube(LOWERED, name="tanh")
    with pytest.raises(GraphError, match=r"op 'tanh': expected a name of its own"):
        tanh(X)
