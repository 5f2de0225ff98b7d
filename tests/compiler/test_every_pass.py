"""What must hold for every pass: the graph stays legal, results stay the same, a second run finds nothing to do."""

import numpy as np
import pytest
from op_samples import PRIMITIVES, sample_types, samples_of
from pass_checks import Array, Pass
from random_graphs import random_graph

from kgraph.compiler.pipeline import pass_name, run
from kgraph.compiler.pipelines import EXPAND, OPTIMIZE
from kgraph.ir.dtypes import f32
from kgraph.ir.graph import Graph, GraphBuilder, Value
from kgraph.ir.opdef import OpDef, Sample, current_emitter, emitting
from kgraph.ir.operators import match
from kgraph.ir.types import TensorType
from kgraph.ir.verify import verify
from kgraph.primitives import REGISTRY
from kgraph.runtime.interpreter import interpret

PASSES = tuple(dict.fromkeys((*EXPAND, *OPTIMIZE)))
EVERY_PASS = pytest.mark.parametrize("apply", PASSES, ids=pass_name)


def check(apply: Pass, graph: Graph, arrays: list[Array]) -> None:
    """Run a pass, and check what must hold for every pass."""
    after = apply(graph)
    verify(after)
    same_results(after, graph, arrays)
    assert apply(after) is after


def same_results(after: Graph, before: Graph, arrays: list[Array]) -> None:
    """Check that two graphs give the same bits, but for the sign and payload of a nan."""
    assert after.inputs == before.inputs
    for got, want in zip(interpret(after, arrays), interpret(before, arrays), strict=True):
        np.testing.assert_array_equal(got, want, strict=True)
        if want.dtype.kind == "f":  # to the comparison above, 0.0 and -0.0 are equal
            numbers = ~np.isnan(want)
            np.testing.assert_array_equal(np.signbit(got)[numbers], np.signbit(want)[numbers])


def check_all(graph: Graph, arrays: list[Array]) -> None:
    """Check every pass alone, and the whole pipeline."""
    for apply in PASSES:
        check(apply, graph, arrays)
    same_results(run(graph, OPTIMIZE, name="optimize"), graph, arrays)


def sample_graph(op: OpDef, sample: Sample, constants: bool) -> Graph:
    """The call of a sample, twice; its operands are inputs or constants."""
    builder = GraphBuilder("sample", REGISTRY)
    inputs = [builder.input(type) for type in sample_types(sample)]
    operands = [builder.constant(array) for array in sample.args] if constants else inputs
    calls = [builder.emit(op, *operands, **sample.attrs) for _ in range(2)]
    return builder.build([value for out in calls for value in (out if isinstance(out, tuple) else (out,))])


@EVERY_PASS
@pytest.mark.parametrize("op", PRIMITIVES, ids=lambda op: op.name)
def test_every_op_keeps_its_results(apply: Pass, op: OpDef):
    for sample in samples_of(op):
        for constants in (False, True):
            check(apply, sample_graph(op, sample, constants), list(sample.args))


@pytest.mark.parametrize("seed", range(60))
def test_random_graphs_keep_their_results(seed: int):
    graph, arrays = random_graph(seed)
    check_all(graph, arrays)


@pytest.mark.parametrize("seed", range(60))
def test_random_graphs_keep_their_gradients(seed: int):
    graph, arrays = random_graph(seed, differentiable=True)
    check_all(run(graph, EXPAND, name="expand"), arrays)


NUMBERS = (0.0, -0.0, 1.0, -1.0, 2.0, 0.5, -4.0, 3.0)
SPECIALS = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 0.5, 2.0)
SHAPES = ((), (1,), (3,), (1, 3), (3, 1), (3, 3), (2, 3, 3))


def full_of_laws(rng: np.random.Generator, size: int = 30) -> tuple[Graph, list[Array]]:
    """A graph in which hardly a node is not simplified: neutral numbers, views of views; and special inputs."""
    builder = GraphBuilder("laws", REGISTRY)
    pool = [builder.input(TensorType(f32, shape)) for shape in SHAPES]
    arrays = [rng.choice(SPECIALS, shape).astype("float32") for shape in SHAPES]
    with emitting(builder):
        while len(builder.nodes) < size:
            pool.append(one_more(rng, pool))
    return builder.build(pool[-8:]), arrays


def one_more(rng: np.random.Generator, pool: list[Value]) -> Value:
    """A new value made from one or two of `pool`."""
    emit = current_emitter().emit
    x = pool[int(len(pool) * rng.random() ** 0.5)]
    shape, rank = x.type.shape, x.type.rank
    match rng.integers(8):
        case 0:
            others = [v for v in pool if v.type == x.type]
            y = others[rng.integers(len(others))]
            return emit(rng.choice(["add", "sub", "mul", "div", "minimum", "maximum"]), x, y)
        case 1 | 2:
            return emit(rng.choice(["add", "sub", "mul", "div", "pow"]), *match_number(rng, x))
        case 3:
            return emit(rng.choice(["neg", "abs", "relu", "sqrt"]), x)
        case 4:
            return emit("transpose", x, perm=tuple(map(int, rng.permutation(rank))))
        case 5:
            turned = tuple(map(int, rng.permutation(shape)))
            return emit("reshape", x, shape=turned if rng.random() < 0.5 else (1, *shape))
        case 6:
            axes = tuple(axis for axis in range(rank) if rng.random() < 0.5)
            return emit("sum_to", x, shape=tuple(shape[axis] for axis in axes), axes=axes)
        case _:
            place = int(rng.integers(rank + 1)) if rank < 3 else None
            wider = [*shape] if place is None else [*shape[:place], int(rng.choice([1, 3])), *shape[place:]]
            axes = tuple(axis for axis in range(len(wider)) if axis != place)
            spread = tuple(3 if n == 1 and rng.random() < 0.5 else n for n in wider)
            return emit("broadcast", x, shape=spread, axes=axes)


def match_number(rng: np.random.Generator, x: Value) -> list[Value]:
    """`x` and one of `NUMBERS` in the same shape, in either order."""
    pair = match(x, float(rng.choice(NUMBERS)))
    return pair if rng.random() < 0.7 else pair[::-1]


@pytest.mark.parametrize("seed", range(60))
def test_graphs_full_of_laws_keep_their_results(seed: int):
    graph, arrays = full_of_laws(np.random.default_rng(seed))
    check_all(graph, arrays)
