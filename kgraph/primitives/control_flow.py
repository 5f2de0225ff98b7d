"""Loops over graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from kgraph.errors import ArgumentError, GraphError, ShapeError
from kgraph.ir.dtypes import DType, bool_, f32, f64, i32
from kgraph.ir.graph import Graph, GraphBuilder
from kgraph.ir.opdef import Array, Attrs, Expanded, Nested, Sample, Types, primitive
from kgraph.ir.types import TensorType
from kgraph.primitives import contractions, elementwise, generators, logic, reductions, shaping
from kgraph.primitives.sampling import bad, numbers, of
from kgraph.primitives.signatures import expect, expect_dims, expect_flag


class Roles(NamedTuple):
    """Operands of a `scan`, or inputs of its body, by what they are."""

    carries: tuple[Any, ...]
    sequences: tuple[Any, ...]
    constants: tuple[Any, ...]


def roles(values: Sequence[Any], attrs: Attrs) -> Roles:
    """Sort operands, or the inputs of the body, of a `scan` with these attributes."""
    first, second = attrs["carries"], attrs["carries"] + attrs["sequences"]
    return Roles(tuple(values[:first]), tuple(values[first:second]), tuple(values[second:]))


def _infer_scan(types: Types, attrs: Attrs) -> tuple[TensorType, ...]:
    expect("scan", types, attrs, len(types), ("body", "carries", "conditional", "length", "reverse", "sequences"))
    body = attrs["body"]
    if not isinstance(body, Graph):
        raise GraphError("scan, attribute body", expected="a graph", received=repr(body)[:60])
    expect_flag("scan", "reverse", attrs["reverse"])
    expect_flag("scan", "conditional", attrs["conditional"])
    expect_dims("scan", "length", (attrs["length"],))
    expect_dims("scan", "carries and sequences", (attrs["carries"], attrs["sequences"]))
    if attrs["carries"] + attrs["sequences"] > len(types) or attrs["carries"] > len(body.outputs):
        raise ArgumentError("scan", expected=f"{attrs['carries']} carries and {attrs['sequences']} sequences",
                            received=f"{len(types)} operands, {len(body.outputs)} results of the body")  # fmt: skip
    carries, sequences, constants = roles(types, attrs)
    for type in sequences:
        if not type.rank or type.shape[0] != attrs["length"]:
            raise ShapeError("scan", expected=f"sequences of {attrs['length']} steps", received=str(type))
    wanted = [*carries, *(type.with_shape(type.shape[1:]) for type in sequences), *constants]
    given, results = ([value.type for value in values] for values in (body.inputs, body.outputs))
    if wanted != given:
        raise GraphError("scan, inputs of the body", expected=str(wanted), received=str(given))
    if results[: len(carries)] != list(carries):
        received = str(results[: len(carries)])
        raise GraphError("scan, new carries of the body", expected=str(list(carries)), received=received)
    if attrs["conditional"] and (carries[:1] != (TensorType(bool_),) or sequences or len(results) > len(carries)):
        received = f"carries {list(carries)}, {len(sequences)} sequences, {len(results) - len(carries)} stacked results"
        raise GraphError("scan, conditional", expected="a first carry of type bool[], and nothing for each step",
                         received=received)  # fmt: skip
    stacked = (type.with_shape((attrs["length"], *type.shape)) for type in results[len(carries) :])
    return (*carries, *stacked)


def _running_sum(dtype: DType) -> Graph:
    """total' = total + weight * x; gives weight * total'."""
    builder = GraphBuilder("running_sum", {})
    total, x, weight = (builder.input(of((2, 3), dtype)) for _ in range(3))
    total = builder.emit(elementwise.add, total, builder.emit(elementwise.mul, weight, x))
    return builder.build([total, builder.emit(elementwise.mul, weight, total)])


def _cell(dtype: DType) -> Graph:
    """A recurrent cell with two carries: h' = tanh(h @ w + x), count' = count + 1; gives h and the sum of h'."""
    builder = GraphBuilder("cell", {"constant": generators.constant})
    h, count = builder.input(of((4, 3), dtype)), builder.input(of((), i32))
    x, w = builder.input(of((4, 3), dtype)), builder.input(of((3, 3), dtype))
    product = builder.emit(contractions.matmul, h, w, transpose_a=False, transpose_b=False)
    new = builder.emit(elementwise.tanh, builder.emit(elementwise.add, product, x))
    more = builder.emit(elementwise.add, count, builder.constant(1, i32))
    return builder.build([new, more, h, builder.emit(reductions.sum_, new, axes=(0, 1), keepdims=False)])


def _powers(dtype: DType) -> Graph:
    """No sequence, and a scalar constant: x' = x * broadcast(a), and nothing for each step."""
    builder = GraphBuilder("powers", {})
    x, a = builder.input(of((1,), dtype)), builder.input(of((), dtype))
    return builder.build([builder.emit(elementwise.mul, x, builder.emit(shaping.broadcast, a, shape=(1,), axes=()))])


def _swap(dtype: DType) -> Graph:
    """Two carries that change places, and the first one for each step: neither may overwrite the other."""
    builder = GraphBuilder("swap", {})
    a, b = builder.input(of((5,), dtype)), builder.input(of((5,), dtype))
    return builder.build([b, a, a])


def _rows(dtype: DType) -> Graph:
    """No carry: the exponential of each row."""
    builder = GraphBuilder("rows", {})
    return builder.build([builder.emit(elementwise.exp, builder.input(of((3,), dtype)))])


def _doubling(dtype: DType) -> Graph:
    """Conditional: x' = 2 x, and another step as long as the largest element is below a limit."""
    builder = GraphBuilder("doubling", {})
    _, x, limit = builder.input(of((), bool_)), builder.input(of((2, 3), dtype)), builder.input(of((), dtype))
    new = builder.emit(elementwise.add, x, x)
    largest = builder.emit(reductions.max_, new, axes=(0, 1), keepdims=False)
    return builder.build([builder.emit(logic.lt, largest, limit), new])


def _sum_of_row(dtype: DType) -> Graph:
    """Not a body of a carry: the result has another shape."""
    builder = GraphBuilder("sum_of_row", {})
    row = builder.input(of((3,), dtype))
    return builder.build([builder.emit(reductions.sum_, row, axes=(0,), keepdims=False)])


def _nested(dtype: DType) -> Graph:
    """A scan over the rows of each step's matrix, that starts with the carry."""
    builder = GraphBuilder("nested", {})
    total, x, weight = (builder.input(of(shape, dtype)) for shape in ((2, 3), (2, 2, 3), (2, 3)))
    new, each = builder.emit(scan, total, x, weight, **_attrs(_running_sum(dtype), 1, 1, 2, reverse=True))
    return builder.build([new, each])


def _attrs(
    body: Graph, carries: int, sequences: int, length: int, reverse: bool = False, conditional: bool = False
) -> Attrs:
    return {
        "body": body, "carries": carries, "sequences": sequences, "length": length, "reverse": reverse,
        "conditional": conditional,
    }  # fmt: skip


def _scan_samples(rng: np.random.Generator) -> Iterator[Sample]:
    for dtype in (f32, f64):
        for length, reverse in ((4, False), (3, True), (1, False), (0, False)):
            args = tuple(numbers(rng, shape, dtype) for shape in ((2, 3), (length, 2, 3), (2, 3)))
            yield Sample(args, _attrs(_running_sum(dtype), 1, 1, length, reverse))
        for length, reverse in ((5, False), (2, True)):
            h, x, w = (numbers(rng, shape, dtype, -1, 1) for shape in ((4, 3), (length, 4, 3), (3, 3)))
            yield Sample((h, np.array(7, np.int32), x, w), _attrs(_cell(dtype), 2, 1, length, reverse))
        x, a = numbers(rng, (1,), dtype), numbers(rng, (), dtype)
        yield Sample((x, a), _attrs(_powers(dtype), 1, 0, 3))
        yield Sample((numbers(rng, (5,), dtype), numbers(rng, (5,), dtype)), _attrs(_swap(dtype), 2, 0, 3))
        yield Sample((numbers(rng, (4, 3), dtype),), _attrs(_rows(dtype), 0, 1, 4))
        args = tuple(numbers(rng, shape, dtype) for shape in ((2, 3), (3, 2, 2, 3), (2, 3)))
        yield Sample(args, _attrs(_nested(dtype), 1, 1, 3))
        for go, length, limit in ((True, 1000, 40.0), (True, 2, 1e9), (False, 1000, 40.0), (True, 0, 40.0)):
            args = (np.array(go), numbers(rng, (2, 3), dtype, 0.5, 1), np.array(limit, dtype.to_numpy()))
            yield Sample(args, _attrs(_doubling(dtype), 2, 0, length, conditional=True))


@primitive(
    infer=_infer_scan,
    grad=Expanded("autodiff"),
    lower=Nested(),
    samples=_scan_samples,
    errors=(
        bad("a graph", of((2,)), body=None, carries=0, sequences=1, length=2, reverse=False, conditional=False),
        bad("attributes", of((2,)), body=_rows(f32)),
        bad("reverse: expected True or False", of((4, 3)), **{**_attrs(_rows(f32), 0, 1, 4), "reverse": 0}),
        bad("a first carry of type bool[]", of((4, 3)), **_attrs(_rows(f32), 0, 1, 4, conditional=True)),
        bad("sequences of 5 steps", of((4, 3)), **_attrs(_rows(f32), 0, 1, 5)),
        bad("sequences of 4 steps", of(()), **_attrs(_rows(f32), 0, 1, 4)),
        bad("inputs of the body", of((4, 2)), **_attrs(_rows(f32), 0, 1, 4)),
        bad("2 sequences", of((4, 3)), **_attrs(_rows(f32), 0, 2, 4)),
        bad("sizes >= 0", of((4, 3)), **_attrs(_rows(f32), -1, 1, 4)),
        bad("new carries", of((3,)), **_attrs(_sum_of_row(f32), 1, 0, 4)),
    ),
    source="JAX, jax.lax.scan",
)
def scan(*operands: Array, body: Callable[..., list[Array]], carries: int, sequences: int, length: int,
         reverse: bool, conditional: bool) -> Any:  # fmt: skip
    """Run a graph once for each step of `length`, with values that are carried from step to step.

    Operands are the first values of the `carries`, the `sequences` (axis 0 is the step), and constants. The body takes
    the carries, this step's piece of each sequence, and the constants; it gives the new carries, and results of the
    step. Results are the last carries, and the steps' results stacked along a new axis 0. With `reverse` the last step
    comes first. If the loop is `conditional`, its first carry is a bool: once it is False no step follows; there are no
    sequences and stacked results, and no gradient.
    """
    attrs = {"carries": carries, "sequences": sequences}
    current, whole, constants = roles(operands, attrs)
    stacked: list[Array] | None = None
    for step in reversed(range(length)) if reverse else range(length):
        if conditional and not current[0]:
            break
        results = body(*current, *(x[step] for x in whole), *constants)
        current, each = tuple(results[:carries]), results[carries:]
        if stacked is None:
            stacked = [np.empty((length, *y.shape), y.dtype) for y in each]
        for stack, y in zip(stacked, each, strict=True):
            stack[step] = y
    if stacked is None and not conditional:  # no step: one on zeros shows the shapes of its results
        each = body(*current, *(np.zeros(x.shape[1:], x.dtype) for x in whole), *constants)[carries:]
        stacked = [np.empty((0, *y.shape), y.dtype) for y in each]
    return (*current, *(stacked or ()))


OPS = (scan,)
