"""Loops and branches.

The functions that are given run once, on tensors of a program; the steps of a loop run in native code. They may use
tensors and variables of the program round them.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import kgraph.loop_trace as loop_trace
from kgraph.eager import as_array, as_arrays
from kgraph.engine import CompiledProgram
from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dims import Dim, DimExpr
from kgraph.ir.dtypes import dtype_of, i32
from kgraph.ir.graph import Node
from kgraph.ir.opdef import emitting
from kgraph.ir.operators import Operators, lift
from kgraph.ir.types import TensorType
from kgraph.keras_tensor import FunctionOperation, KerasTensor, active_trace, symbolic_tensors
from kgraph.nesting import flatten, map_structure, pack
from kgraph.ops.core import cast
from kgraph.ops.gradients import stop_gradient
from kgraph.ops.logic import equal, where
from kgraph.ops.promotion import emit, type_of
from kgraph.primitives import composites
from kgraph.trace import Trace

# More steps than any loop can run.
_ENDLESS = 1 << 62


def on_nestings(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function whose parameters `names` are nestings of tensors of a program take whatever a user has.

    Symbolic tensors make a node of the functional model; outside of programs arrays give arrays. In parameters with a
    star before them a list of numbers is one array.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs)
            given = {name.lstrip("*"): bound.arguments.get(name.lstrip("*")) for name in names}
            if symbolic_tensors(list(given.values())):
                return FunctionOperation(wrapped, function.__name__)(*args, **kwargs)
            given |= {name[1:]: as_arrays(given[name[1:]], name[1:]) for name in names if name.startswith("*")}

            def run(tensor: Callable[[Any], Any]) -> Any:
                bound.arguments.update({name: map_structure(tensor, value) for name, value in given.items()})
                return function(*bound.args, **bound.kwargs)

            return run(_lifted) if active_trace() is not None else _on_arrays(function.__name__, run)

        return wrapped

    return decorate


def _lifted(leaf: Any) -> Any:
    """A leaf as a tensor of the program being traced; None stays None."""
    return leaf if leaf is None else lift(as_array(leaf, "tensor") if isinstance(leaf, (int, float)) else leaf)


def _on_arrays(name: str, run: Callable[[Callable[[Any], Any]], Any]) -> Any:
    """The result of `run`, which makes its tensors by the function that it is given, as arrays."""
    trace, arrays = Trace(name), []
    with emitting(trace):

        def argument(leaf: Any) -> Any:
            if leaf is None:
                return None
            arrays.append(as_array(leaf, name))
            type_ = TensorType(dtype_of(arrays[-1].dtype), arrays[-1].shape)
            return trace.argument(type_, f"argument{len(arrays)}")

        out = run(argument)
        results = [trace.lift(leaf) for leaf in flatten(out) if isinstance(leaf, Operators)]
        program = trace.program([(f"result{n}", value) for n, value in enumerate(results)])
    computed = iter(CompiledProgram(program).run(arrays, execution="interpreter"))
    return map_structure(lambda leaf: next(computed) if isinstance(leaf, Operators) else leaf, out)


# --- loops ------------------------------------------------------------------------------------------------------------
@on_nestings("init", "*xs")
def scan(
    f: Callable[[Any, Any], tuple[Any, Any]], init: Any, xs: Any = None, length: int | None = None,
    reverse: bool = False, unroll: int = 1,
) -> Any:  # fmt: skip
    """Run ``carry, y = f(carry, x)`` for each x along axis 0 of `xs`; gives the last carry and the stacked y.

    Args:
        f: must give a carry of the shapes and element types of `init`; y may be a nesting, or None.
        init: the first carry, a nesting of tensors.
        xs: nesting of tensors with equal sizes of axis 0, or None.
        length: number of steps; needed without `xs`.
        reverse: begin at the end; each y stands at the place of its x.
        unroll: accepted, without effect.

    Raises: GraphError if the carry changes its type; ShapeError if sizes differ.

    >>> scan(lambda total, x: (total + x, total * x), 0, [1, 2, 3])
    (array(6, dtype=int32), array([0, 2, 9], dtype=int32))
    """
    sequences = _leaves(xs)
    steps = _steps("scan", [type_of(value).shape for value in sequences], length)
    results: list[Any] = []

    def step(carries: list[Any], pieces: list[Any]) -> tuple[list[Any], list[Any]]:
        new, y = f(_refilled(init, carries), _refilled(xs, pieces))
        results.append(y)
        return [_lifted(leaf) for leaf in _leaves(new)], [_lifted(leaf) for leaf in _leaves(y)]

    carries, stacked = loop_trace.scan(step, _leaves(init), sequences, steps, reverse, "scan_body")
    return _refilled(init, carries), _refilled(results[0], stacked)


def _leaves(structure: Any) -> list[Any]:
    """The tensors of a nesting that may contain None."""
    return [leaf for leaf in flatten(structure) if leaf is not None]


def _refilled(structure: Any, values: Sequence[Any]) -> Any:
    """The nesting with other tensors; None stays."""
    remaining = iter(values)
    return map_structure(lambda leaf: leaf if leaf is None else next(remaining), structure)


def _steps(name: str, shapes: Sequence[Sequence[Dim]], length: int | None, axis: int = 0) -> Dim:
    """The size of an axis that all sequences share."""
    for shape in shapes:
        if not shape:
            raise ShapeError(f"{name}: sequences", expected="at least one axis", received="()")
    sizes = [shape[axis] for shape in shapes] + ([] if length is None else [length])
    if not sizes:
        raise ArgumentError(f"{name}: length", expected="a number of steps where there are no xs", received="None")
    if any(size != sizes[0] for size in sizes):
        raise ShapeError(name, expected="one number of steps", received=", ".join(str(size) for size in sizes))
    return sizes[0]


def map(f: Callable[[Any], Any], xs: Any) -> Any:
    """`f` of each x along axis 0 of `xs`, one after another; the results are stacked.

    >>> map(lambda x: x * x, [1.0, 2.0])
    array([1., 4.], dtype=float32)
    """
    return scan(lambda _, x: (None, f(x)), None, xs)[1]


def vectorized_map(function: Callable[[Any], Any], elements: Any) -> Any:
    """The same as `map`: the elements come one after another.

    >>> vectorized_map(lambda x: x + 1, [1, 2])
    array([2, 3], dtype=int32)
    """
    return map(function, elements)


def fori_loop(lower: int, upper: int, body_fun: Callable[[Any, Any], Any], init_val: Any) -> Any:
    """``value = body_fun(i, value)`` for i from `lower` to `upper` - 1; gives the last value. It has a gradient.

    Args:
        lower, upper: whole numbers, or sizes of tensors.
        body_fun: must give a value of the shapes and element types of `init_val`; i is an int32.
        init_val: a nesting of tensors.

    >>> fori_loop(0, 4, lambda i, value: value + i, 10)
    array(16, dtype=int32)
    """
    for name, bound in (("lower", lower), ("upper", upper)):
        if isinstance(bound, bool) or not isinstance(bound, (int, DimExpr)):
            raise ArgumentError(f"fori_loop: {name}", expected="a number that is known before the program runs",
                                received=f"{bound!r:.60}", fix="Use while_loop")  # fmt: skip
    steps = upper - lower
    return _counted(init_val, body_fun, lower, max(steps, 0) if isinstance(steps, int) else steps)


@on_nestings("init")
def _counted(init: Any, body: Callable[[Any, Any], Any], lower: Dim, length: Dim) -> Any:
    """The loop of `fori_loop`."""
    counts = emit("iota", shape=(length,), axis=0, dtype=i32) + composites.size(lower)
    return scan(lambda value, i: (body(i, value), None), init, counts)[0]


@on_nestings("loop_vars")
def while_loop(
    cond: Callable[..., Any], body: Callable[..., Any], loop_vars: Any, maximum_iterations: int | None = None
) -> Any:
    """``loop_vars = body(*loop_vars)`` as long as ``cond(*loop_vars)`` holds; gives the last ones.

    There is no gradient: use `fori_loop` or `scan` where one is needed.

    Args:
        cond: gives a bool of rank 0.
        body: gives as many values as it takes, of the same shapes and element types.
        loop_vars: a list or tuple of tensors or nestings, or one tensor.
        maximum_iterations: no more steps than that.

    >>> while_loop(lambda x: x < 100, lambda x: x * 2, 3)
    array(192, dtype=int32)
    """
    several = isinstance(loop_vars, (list, tuple))
    limit = _ENDLESS if maximum_iterations is None else int(maximum_iterations)

    def call(function: Callable[..., Any], values: list[Any]) -> Any:
        found = pack(loop_vars, values)
        return function(*found) if several else function(found)

    def step(values: list[Any]) -> list[Any]:
        new = call(body, values)
        new = [new] if several and not isinstance(new, (list, tuple)) else new
        return [_lifted(leaf) for leaf in flatten(new)]

    return pack(loop_vars, loop_trace.repeat_while(functools.partial(call, cond), step, flatten(loop_vars), limit))


@on_nestings("*elems")
def associative_scan(f: Callable[[Any, Any], Any], elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """All partial results of an associative function along an axis: e0, f(e0, e1), f(f(e0, e1), e2), ...

    Args:
        f: takes and gives nestings like `elems`, where the axis has size 1.
        elems: nesting of tensors with equal sizes of the axis, at least 1.
        reverse: begin at the end.
        axis: negative ones count from the end.

    >>> associative_scan(lambda a, b: a + b, [1, 2, 3])
    array([1, 3, 6], dtype=int32)
    """
    leaves = flatten(elems)
    places = [composites.axis_of(axis, type_of(leaf).rank) for leaf in leaves]
    sizes = [[type_of(leaf).shape[place]] for leaf, place in zip(leaves, places)]
    total = _steps("associative_scan", sizes, None)
    start, rest = (total - 1, (0, total - 1)) if reverse else (0, (1, total))
    first = [_cut(leaf, place, start, start + 1) for leaf, place in zip(leaves, places)]

    def step(carry: list[Any], pieces: list[Any]) -> tuple[list[Any], list[Any]]:
        wide = [composites.expand_dims(piece, place) for piece, place in zip(pieces, places)]
        new = flatten(f(pack(elems, carry), pack(elems, wide)))
        return new, [composites.squeeze(leaf, place) for leaf, place in zip(new, places)]

    others = [_moved(_cut(leaf, place, *rest), place, 0) for leaf, place in zip(leaves, places)]
    _, found = scan(step, first, others, reverse=reverse)
    parts = [(one, _moved(many, 0, place)) for one, many, place in zip(first, found, places)]
    ordered = [pair[::-1] if reverse else pair for pair in parts]
    return pack(elems, [composites.concatenate(pair, place) for pair, place in zip(ordered, places)])


def _moved(x: Any, old: int, new: int) -> Any:
    axes = [a for a in range(type_of(x).rank) if a != old]
    axes.insert(new, old)
    return composites.transpose(x, axes)


def _cut(x: Any, axis: int, start: Dim, stop: Dim) -> Any:
    shape = type_of(x).shape
    starts = tuple(start if a == axis else 0 for a in range(len(shape)))
    limits = tuple(stop if a == axis else d for a, d in enumerate(shape))
    return emit("slice", x, starts=starts, limits=limits, strides=(1,) * len(shape))


# --- branches ---------------------------------------------------------------------------------------------------------
def cond(pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
    """The result of `true_fn` if `pred` holds, else that of `false_fn`.

    Where `pred` is only known when the program runs, both are computed and one is chosen; they must give equal nestings
    of tensors. The other one has no gradient, whatever it computes. Elsewhere only one is called.

    >>> cond(2 > 1, lambda: 3, lambda: 4)
    3
    """
    if not isinstance(pred, Operators):
        return true_fn() if np.asarray(pred).all() else false_fn()
    return switch(cast(pred, "int32"), [false_fn, true_fn])


def _without_gradient_unless(taken: Any, branch: Callable[..., Any], operands: Sequence[Any]) -> Any:
    """What a branch gives; where it is not taken, what it reads gets gradients of 0 from it, whatever it computes.

    A gradient of 0 that runs back through a branch would meet infinite slopes there, and 0 times infinity is NaN.
    """
    trace = active_trace()
    if trace is None:  # symbolic tensors of a functional model, whose nodes are calls
        return branch(*operands)
    start = len(trace.nodes)
    result = branch(*operands)
    nodes = trace.nodes[start:]
    made = {value for node in nodes for value in node.outputs}
    read = dict.fromkeys(v for node in nodes for v in node.inputs if v not in made and v.type.dtype.is_float)
    del trace.nodes[start:]
    guarded = {value: where(taken, value, stop_gradient(value)) for value in read}
    for node in nodes:
        inputs = tuple(guarded.get(value, value) for value in node.inputs)
        trace.append(Node(node.op, inputs, node.outputs, node.attrs, node.loc))
    return result


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """The result of ``branches[index](*operands)``; an index outside is moved to the nearest end.

    Where `index` is only known when the program runs, all branches are computed and one is chosen.

    >>> switch(1, [lambda x: x + 1, lambda x: x * 2], 5)
    10
    """
    if not branches:
        raise ArgumentError("switch: branches", expected="at least one function", received="none")
    if not isinstance(index, Operators):
        number = int(np.clip(np.asarray(index), 0, len(branches) - 1))
        return branches[number](*operands)
    rank = index.ndim if isinstance(index, KerasTensor) else type_of(index).rank
    if rank:
        raise ShapeError("switch: index", expected="a tensor of rank 0", received=f"rank {rank}")
    last = len(branches) - 1
    if not last:
        return branches[0](*operands)
    taken = [index <= 0, *(equal(index, number) for number in range(1, last)), index >= last]
    results = [_without_gradient_unless(now, branch, operands) for now, branch in zip(taken, branches, strict=True)]
    chosen = results[-1]
    for number in reversed(range(len(branches) - 1)):
        below = functools.partial(where, index <= number)
        if len(flatten(results[number])) != len(flatten(chosen)):
            received = f"{len(flatten(results[number]))} and {len(flatten(chosen))} tensors"
            raise ArgumentError("switch: results of the branches", expected="equal nestings", received=received)
        pairs = zip(flatten(results[number]), flatten(chosen), strict=True)
        chosen = pack(chosen, [below(a, b) for a, b in pairs])
    return chosen
