"""Long short-term memory over whole sequences, and its adjoint."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kgraph.ir.dims import Dim
from kgraph.ir.dtypes import bool_, f32, f64, i32
from kgraph.ir.loops import Stmt, Store
from kgraph.ir.opdef import Array, Attrs, Composed, LoopContext, Loops, Sample, Types, current_emitter, primitive
from kgraph.ir.scalar import Expr, Load, call, sigmoid
from kgraph.ir.types import TensorType
from kgraph.primitives.composites import concatenate, full
from kgraph.primitives.nests import Index
from kgraph.primitives.recurrence import (
    SIZES,
    Names,
    Recurrence,
    alive,
    cotangents_of,
    expect_given,
    expect_mask,
    expect_operands,
    expect_sequence,
    expect_steps,
    given_flags,
    live_and_idle,
    masks,
    parts_of,
    scanned,
    times,
    weight_slope,
)
from kgraph.primitives.sampling import bad, numbers, of

_RESULTS = 6


# --- the sequence -----------------------------------------------------------------------------------------------------
def _infer(types: Types, attrs: Attrs) -> tuple[TensorType, ...]:
    op = "lstm_sequence"
    masked = expect_sequence(op, types, attrs, 4, ("reverse",))
    batch, time, units = expect_steps(op, types[0], 4)
    expect_operands(op, types[:4], ((units, 4 * units), (batch, units), (batch, units)), 1)
    if masked:
        expect_mask(op, types[4], (batch, time))
    row, sequence = types[0].with_shape((batch, units)), types[0].with_shape((batch, time, units))
    return sequence, row, row, sequence, sequence, types[0]


def _grad(dy: tuple[Any, ...], y: tuple[Any, ...], *inputs: Any, reverse: bool) -> tuple[Any, ...]:
    _, kernel, _, _, *mask = inputs
    _, _, _, previous_hidden, previous_cell, gates = y
    given = tuple(d is not None for d in dy)
    slopes, dhidden, dcell = current_emitter().emit(
        "lstm_sequence_adjoint", gates, previous_cell, kernel, *(d for d in dy if d is not None), *mask,
        reverse=reverse, given=given,
    )  # fmt: skip
    return slopes, weight_slope(previous_hidden, slopes), dhidden, dcell, *(None for _ in mask)


def _loops(context: LoopContext, reverse: bool) -> tuple[Stmt, ...]:
    masked = len(context.in_types) > 4
    r = Recurrence(context, context.in_types[1].shape[0], backwards=reverse)
    hidden, cell, sums = r.memory(), r.memory(), r.memory(4)

    def first(at: Index) -> tuple[Stmt, ...]:
        return Store(hidden, at, context.read(2, at)), Store(cell, at, context.read(3, at))

    def update(at: Index, t: Dim) -> Sequence[Stmt]:
        names, step = Names(context), (at[0], t, at[1])
        old_hidden, old_cell = names.let("old", Load(hidden, at)), names.let("old", Load(cell, at))
        raw = [call("add", context.read(0, r.gate(step, n)), Load(sums, r.gate(at, n))) for n in range(4)]
        functions = ("sigmoid", "sigmoid", "tanh", "sigmoid")
        gates = [names.let("gate", call(f, value)) for f, value in zip(functions, raw, strict=True)]
        i, f, g, o = gates
        new_cell = names.let("cell", call("add", call("mul", f, old_cell), call("mul", i, g)))
        new_hidden = names.let("hidden", call("mul", o, call("tanh", new_cell)))
        if masked:
            lives = context.read(4, step[:2])
            new_cell = names.let("cell", call("select", lives, new_cell, old_cell))
            new_hidden = names.let("hidden", call("select", lives, new_hidden, old_hidden))
        return (
            *names.statements,
            *context.write(0, step, new_hidden),
            *context.write(3, step, old_hidden),
            *context.write(4, step, old_cell),
            *(s for n, gate in enumerate(gates) for s in context.write(5, r.gate(step, n), gate)),
            Store(hidden, at, new_hidden),
            Store(cell, at, new_cell),
        )

    return (
        *r.cells(first),
        r.steps(lambda t: (r.product(hidden, 1, False, sums), *r.cells(lambda at: update(at, t)))),
        *r.cells(lambda at: (*context.write(1, at, Load(hidden, at)), *context.write(2, at, Load(cell, at)))),
    )


def _samples(rng: np.random.Generator) -> Iterator[Sample]:
    for n, (batch, time, units) in enumerate(SIZES):
        dtype = (f32, f64)[n % 2]
        shapes = ((batch, time, 4 * units), (units, 4 * units), (batch, units), (batch, units))
        args = tuple(numbers(rng, shape, dtype, -1, 1) for shape in shapes)
        yield Sample((*args, *masks(rng, batch, time, n)), {"reverse": n % 3 == 1})


_PLAIN = (of((2, 3, 8)), of((2, 8)), of((2, 2)), of((2, 2)))


@primitive(
    infer=_infer,
    grad=_grad,
    lower=Loops(_loops, in_memory=(1,)),
    samples=_samples,
    errors=(
        bad("4 operands", *_PLAIN[:3], reverse=False),
        bad("attributes", *_PLAIN),
        bad("True or False", *_PLAIN, reverse=1),
        bad("4 * units", of((2, 3, 9)), *_PLAIN[1:], reverse=False),
        bad("4 * units", of((2, 8)), *_PLAIN[1:], reverse=False),
        bad("f32[2, 8]", _PLAIN[0], of((8, 2)), *_PLAIN[2:], reverse=False),
        bad("operand 3", *_PLAIN[:3], of((3, 2)), reverse=False),
        bad("operand 2", *_PLAIN[:2], of((2, 2), f64), _PLAIN[3], reverse=False),
        bad("a float", of((2, 3, 8), i32), *_PLAIN[1:], reverse=False),
        bad("mask: expected bool[2, 3]", *_PLAIN, of((2, 2), bool_), reverse=False),
    ),
    source="Hochreiter and Schmidhuber (1997) with forget gates (Gers et al., 2000); gates in Keras' order i, f, c, o",
)
def lstm_sequence(projected: Array, kernel: Array, hidden: Array, cell: Array, *mask: Array, reverse: bool) -> Any:
    """Long short-term memory over a batch of sequences.

    ``i, f, o = sigmoid(x_t + h U)``, ``g = tanh(x_t + h U)``, ``c = f c + i g``, ``h = o tanh(c)``, where x is
    `projected` [batch, time, 4 units] with the gates i, f, g, o beside each other, U is `kernel` [units, 4 units], and
    h and c start as `hidden` and `cell` [batch, units]. `reverse` computes the last step first. Where `mask`
    [batch, time] is False, h and c stay.

    Results: h after each step [batch, time, units]; h and c after all; what the slope needs: h and c before each step,
    and the gates [batch, time, 4 units]. All stand at the index of their step, also if `reverse`.
    """
    (batch, time, width), units = projected.shape, hidden.shape[-1]
    before = np.empty((2, batch, time, units), projected.dtype)
    after, gates = np.empty((batch, time, units), projected.dtype), np.empty((batch, time, width), projected.dtype)
    for t in times(time, reverse):
        before[:, :, t] = hidden, cell
        i, f, g, o = np.split(projected[:, t] + hidden @ kernel, 4, axis=-1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        gates[:, t] = np.concatenate((i, f, g, o), axis=-1)
        lives = alive(mask, t)
        new = f * cell + i * g
        hidden, cell = np.where(lives, o * np.tanh(new), hidden), np.where(lives, new, cell)
        after[:, t] = hidden
    return after, hidden, cell, before[0], before[1], gates


# --- its adjoint ------------------------------------------------------------------------------------------------------
def _adjoint_infer(types: Types, attrs: Attrs) -> tuple[TensorType, ...]:
    op = "lstm_sequence_adjoint"
    given = expect_given(op, attrs, _RESULTS)
    masked = expect_sequence(op, types, attrs, 3 + sum(given), ("reverse", "given"))
    batch, time, units = expect_steps(op, types[0], 4)
    row, sequence = (batch, units), (batch, time, units)
    cotangents = itertools.compress((sequence, row, row, sequence, sequence, (batch, time, 4 * units)), given)
    expect_operands(op, types[: 3 + sum(given)], (sequence, (units, 4 * units), *cotangents), 1)
    if masked:
        expect_mask(op, types[-1], (batch, time))
    return types[0], types[0].with_shape(row), types[0].with_shape(row)


def _adjoint_parts(
    gates: Any, previous_cell: Any, kernel: Any, *rest: Any, reverse: bool, given: tuple[bool, ...]
) -> tuple[Any, ...]:
    cotangents, mask = cotangents_of(rest, given)
    type = current_emitter().type_of(gates)
    batch, _, units = expect_steps("lstm_sequence_adjoint", type, 4)
    sequences = {"gates": gates, "previous": previous_cell} | ({"mask": mask[0]} if mask else {})
    sequences |= {f"d{n}": d for n, d in cotangents.items() if n not in (1, 2)}

    def step(carries: Sequence[Any], at: Mapping[str, Any], weights: Any) -> tuple[Sequence[Any], Sequence[Any]]:
        i, f, g, o = parts_of(at["gates"], units)
        bent = current_emitter().emit("tanh", f * at["previous"] + i * g)
        dh, idle_h = live_and_idle(at.get("mask"), carries[0] + at.get("d0", 0.0))
        dc, idle_c = live_and_idle(at.get("mask"), carries[1])
        dc = dc + dh * o * (1.0 - bent * bent)
        inner = concatenate((dc * g, dc * at["previous"], dc * i, dh * bent)) + at.get("d5", 0.0)
        slopes = inner * concatenate((i * (1.0 - i), f * (1.0 - f), 1.0 - g * g, o * (1.0 - o)))
        through = current_emitter().emit("matmul", slopes, weights, transpose_a=False, transpose_b=True)
        return (through + idle_h + at.get("d3", 0.0), dc * f + idle_c + at.get("d4", 0.0)), (slopes,)

    idle = full((batch, units), 0, type.dtype)
    carries = [cotangents.get(n, idle) for n in (1, 2)]
    dhidden, dcell, slopes = scanned("lstm_adjoint_step", step, carries, sequences, kernel, not reverse)
    return slopes, dhidden, dcell


def _adjoint_loops(context: LoopContext, reverse: bool, given: tuple[bool, ...]) -> tuple[Stmt, ...]:
    operand = dict(zip(itertools.compress(range(_RESULTS), given), itertools.count(3)))
    masked = len(context.in_types) > 3 + len(operand)
    r = Recurrence(context, context.in_types[2].shape[0], backwards=not reverse)
    dhidden, dcell, slopes = r.memory(), r.memory(), r.memory(4)
    passed = r.memory() if masked or 3 in operand else None  # what reaches the step before without the weights

    def plus(value: Expr, result: int, at: Index) -> Expr:
        """With the cotangent of a result, if there is one."""
        return call("add", value, context.read(operand[result], at)) if result in operand else value

    def first(at: Index) -> tuple[Stmt, ...]:
        return tuple(Store(to, at, plus(r.zero, n, at)) for n, to in ((1, dhidden), (2, dcell)))

    def slope(at: Index, t: Dim) -> Sequence[Stmt]:
        names, step = Names(context), (at[0], t, at[1])
        i, f, g, o = (names.let("gate", context.read(0, r.gate(step, n))) for n in range(4))
        old = names.let("old", context.read(1, step))
        bent = names.let("bent", call("tanh", call("add", call("mul", f, old), call("mul", i, g))))
        dh = names.let("dh", plus(Load(dhidden, at), 0, step))
        dc = names.let("dc", Load(dcell, at))
        idle_h = idle_c = r.zero
        if masked:
            lives = context.read(len(context.in_types) - 1, step[:2])
            idle_h, idle_c = (names.let("idle", call("select", lives, r.zero, d)) for d in (dh, dc))
            dh, dc = (names.let("live", call("select", lives, d, r.zero)) for d in (dh, dc))
        through = call("mul", call("mul", dh, o), r.slope_of_tanh(bent))
        dc = names.let("dc", call("add", dc, through))
        inner = (call("mul", dc, g), call("mul", dc, old), call("mul", dc, i), call("mul", dh, bent))
        outer = (r.slope_of_sigmoid(i), r.slope_of_sigmoid(f), r.slope_of_tanh(g), r.slope_of_sigmoid(o))
        found = [
            names.let("slope", call("mul", plus(d, 5, r.gate(step, n)), more))
            for n, (d, more) in enumerate(zip(inner, outer, strict=True))
        ]
        kept = call("mul", dc, f)
        before = names.let("before", plus(call("add", kept, idle_c) if masked else kept, 4, step))
        rest = () if passed is None else (Store(passed, at, names.let("rest", plus(idle_h, 3, step))),)
        return (
            *names.statements,
            *(s for n, value in enumerate(found) for s in context.write(0, r.gate(step, n), value)),
            *(Store(slopes, r.gate(at, n), value) for n, value in enumerate(found)),
            Store(dcell, at, before),
            *rest,
        )

    return (
        *r.cells(first),
        r.steps(lambda t: (*r.cells(lambda at: slope(at, t)), r.product(slopes, 2, True, dhidden, passed))),
        *r.cells(lambda at: (*context.write(1, at, Load(dhidden, at)), *context.write(2, at, Load(dcell, at)))),
    )


def _adjoint_samples(rng: np.random.Generator) -> Iterator[Sample]:
    for n, (batch, time, units) in enumerate(SIZES):
        dtype, given = (f32, f64)[n % 2], given_flags(n, _RESULTS)
        row, sequence, gates = (batch, units), (batch, time, units), (batch, time, 4 * units)
        cotangents = itertools.compress((sequence, row, row, sequence, sequence, gates), given)
        shapes = (sequence, (units, 4 * units), *cotangents)
        args = (numbers(rng, gates, dtype, 0, 1), *(numbers(rng, shape, dtype, -1, 1) for shape in shapes))
        yield Sample((*args, *masks(rng, batch, time, n)), {"reverse": n % 3 == 1, "given": given})


_NONE = {"reverse": False, "given": (False,) * _RESULTS}
_GATES = (of((2, 3, 8)), of((2, 3, 2)), of((2, 8)))


@primitive(
    infer=_adjoint_infer,
    grad=Composed(_adjoint_parts),
    lower=Loops(_adjoint_loops, in_memory=(2,)),
    samples=_adjoint_samples,
    errors=(
        bad("3 operands", *_GATES[:2], **_NONE),
        bad("attributes", *_GATES),
        bad("6 flags", *_GATES, reverse=False, given=(True,)),
        bad("4 * units", of((2, 3, 9)), *_GATES[1:], **_NONE),
        bad("operand 1", _GATES[0], of((2, 3, 3)), _GATES[2], **_NONE),
        bad("mask", *_GATES, of((2, 3)), **_NONE),
    ),
    source="the chain rule, from the last step that was computed to the first one",
)
def lstm_sequence_adjoint(
    gates: Array, previous_cell: Array, kernel: Array, *rest: Array, reverse: bool, given: tuple[bool, ...]
) -> Any:
    """Slopes of `lstm_sequence` for its operands projected, hidden and cell.

    `rest` are the cotangents of those of its six results that have one, as `given` says, and the mask if it had one.
    The slope for the kernel is the product of h before each step with the slopes for `projected`.
    """
    cotangents, mask = cotangents_of(rest, given)
    steps, units = gates.shape[1], kernel.shape[0]
    zeros = np.zeros((gates.shape[0], units), gates.dtype)
    slopes, dhidden, dcell = np.empty_like(gates), cotangents.get(1, zeros), cotangents.get(2, zeros)

    def plus(value: Array, result: int, t: int) -> Array:
        return value + cotangents[result][:, t] if result in cotangents else value

    for t in times(steps, not reverse):
        i, f, g, o = np.split(gates[:, t], 4, axis=-1)
        bent, dhidden = np.tanh(f * previous_cell[:, t] + i * g), plus(dhidden, 0, t)
        lives = alive(mask, t)
        dh, dc = np.where(lives, dhidden, 0), np.where(lives, dcell, 0)
        idle_h, idle_c = np.where(lives, 0, dhidden), np.where(lives, 0, dcell)
        dc = dc + dh * o * (1 - bent * bent)
        inner = np.concatenate((dc * g, dc * previous_cell[:, t], dc * i, dh * bent), axis=-1)
        bends = np.concatenate((i * (1 - i), f * (1 - f), 1 - g * g, o * (1 - o)), axis=-1)
        slopes[:, t] = plus(inner, 5, t) * bends
        dhidden, dcell = slopes[:, t] @ kernel.T + plus(idle_h, 3, t), plus(dc * f + idle_c, 4, t)
    return slopes, dhidden, dcell


OPS = (lstm_sequence, lstm_sequence_adjoint)
