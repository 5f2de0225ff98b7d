"""Gated recurrent units over whole sequences, with the reset gate after the product, and their adjoint."""

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

_RESULTS = 4


# --- the sequence -----------------------------------------------------------------------------------------------------
def _infer(types: Types, attrs: Attrs) -> tuple[TensorType, ...]:
    op = "gru_sequence"
    masked = expect_sequence(op, types, attrs, 4, ("reverse",))
    batch, time, units = expect_steps(op, types[0], 3)
    expect_operands(op, types[:4], ((units, 3 * units), (3 * units,), (batch, units)), 1)
    if masked:
        expect_mask(op, types[4], (batch, time))
    sequence = types[0].with_shape((batch, time, units))
    return sequence, types[0].with_shape((batch, units)), sequence, types[0].with_shape((batch, time, 4 * units))


def _grad(dy: tuple[Any, ...], y: tuple[Any, ...], *inputs: Any, reverse: bool) -> tuple[Any, ...]:
    _, kernel, _, _, *mask = inputs
    _, _, previous, gates = y
    emit, given = current_emitter().emit, tuple(d is not None for d in dy)
    slopes, inner, dhidden = emit(
        "gru_sequence_adjoint", gates, previous, kernel, *(d for d in dy if d is not None), *mask,
        reverse=reverse, given=given,
    )  # fmt: skip
    dbias = emit("sum", inner, axes=(0, 1), keepdims=False)
    return slopes, weight_slope(previous, inner), dbias, dhidden, *(None for _ in mask)


def _loops(context: LoopContext, reverse: bool) -> tuple[Stmt, ...]:
    masked = len(context.in_types) > 4
    r = Recurrence(context, context.in_types[1].shape[0], backwards=reverse)
    hidden, sums = r.memory(), r.memory(3)

    def update(at: Index, t: Dim) -> Sequence[Stmt]:
        names, step = Names(context), (at[0], t, at[1])
        old = names.let("old", Load(hidden, at))
        outer = [context.read(0, r.gate(step, n)) for n in range(3)]
        inner = [call("add", Load(sums, r.gate(at, n)), context.read(2, r.gate(at[1:], n))) for n in range(3)]
        z, reset = (names.let("gate", call("sigmoid", call("add", outer[n], inner[n]))) for n in range(2))
        recurrent = names.let("inner", inner[2])
        new = names.let("new", call("tanh", call("add", outer[2], call("mul", reset, recurrent))))
        mixed = call("add", call("mul", z, old), call("mul", call("sub", r.one, z), new))
        chosen = call("select", context.read(4, step[:2]), mixed, old) if masked else mixed
        hidden_now = names.let("hidden", chosen)
        return (
            *names.statements,
            *context.write(0, step, hidden_now),
            *context.write(2, step, old),
            *(s for n, gate in enumerate((z, reset, new, recurrent)) for s in context.write(3, r.gate(step, n), gate)),
            Store(hidden, at, hidden_now),
        )

    return (
        *r.cells(lambda at: (Store(hidden, at, context.read(3, at)),)),
        r.steps(lambda t: (r.product(hidden, 1, False, sums), *r.cells(lambda at: update(at, t)))),
        *r.cells(lambda at: context.write(1, at, Load(hidden, at))),
    )


def _samples(rng: np.random.Generator) -> Iterator[Sample]:
    for n, (batch, time, units) in enumerate(SIZES):
        dtype = (f32, f64)[n % 2]
        shapes = ((batch, time, 3 * units), (units, 3 * units), (3 * units,), (batch, units))
        args = tuple(numbers(rng, shape, dtype, -1, 1) for shape in shapes)
        yield Sample((*args, *masks(rng, batch, time, n)), {"reverse": n % 3 == 1})


_PLAIN = (of((2, 3, 6)), of((2, 6)), of((6,)), of((2, 2)))


@primitive(
    infer=_infer,
    grad=_grad,
    lower=Loops(_loops, reads_once=False, in_memory=(1,)),
    samples=_samples,
    errors=(
        bad("4 operands", *_PLAIN[:3], reverse=False),
        bad("attributes", *_PLAIN),
        bad("True or False", *_PLAIN, reverse=1),
        bad("3 * units", of((2, 3, 8)), *_PLAIN[1:], reverse=False),
        bad("f32[2, 6]", _PLAIN[0], of((2, 8)), *_PLAIN[2:], reverse=False),
        bad("operand 2", *_PLAIN[:2], of((6,), f64), _PLAIN[3], reverse=False),
        bad("operand 3", *_PLAIN[:3], of((3, 2)), reverse=False),
        bad("a float", of((2, 3, 6), i32), *_PLAIN[1:], reverse=False),
        bad("mask: expected bool[2, 3]", *_PLAIN, of((2, 2), bool_), reverse=False),
    ),
    source="Cho et al. (2014), the variant of cuDNN and Keras' reset_after=True; gates in Keras' order z, r, h",
)
def gru_sequence(projected: Array, kernel: Array, bias: Array, hidden: Array, *mask: Array, reverse: bool) -> Any:
    """Gated recurrent units over a batch of sequences.

    ``z, r = sigmoid(x_t + a)``, ``n = tanh(x_t + r a)``, ``h = z h + (1 - z) n`` with ``a = h U + b``, where x is
    `projected` [batch, time, 3 units] with the parts for z, r, n beside each other, U is `kernel` [units, 3 units], b
    is `bias` [3 units], and h starts as `hidden` [batch, units]. `reverse` computes the last step first. Where `mask`
    [batch, time] is False, h stays.

    Results: h after each step [batch, time, units]; h after all; what the slope needs: h before each step, and z, r, n
    and the third part of a [batch, time, 4 units]. All stand at the index of their step, also if `reverse`.
    """
    (batch, time, _), units = projected.shape, hidden.shape[-1]
    after, before = (np.empty((batch, time, units), projected.dtype) for _ in range(2))
    gates = np.empty((batch, time, 4 * units), projected.dtype)
    for t in times(time, reverse):
        before[:, t] = hidden
        outer, inner = np.split(projected[:, t], 3, axis=-1), np.split(hidden @ kernel + bias, 3, axis=-1)
        z, reset = sigmoid(outer[0] + inner[0]), sigmoid(outer[1] + inner[1])
        new = np.tanh(outer[2] + reset * inner[2])
        gates[:, t] = np.concatenate((z, reset, new, inner[2]), axis=-1)
        hidden = np.where(alive(mask, t), z * hidden + (1 - z) * new, hidden)
        after[:, t] = hidden
    return after, hidden, before, gates


# --- its adjoint ------------------------------------------------------------------------------------------------------
def _adjoint_infer(types: Types, attrs: Attrs) -> tuple[TensorType, ...]:
    op = "gru_sequence_adjoint"
    given = expect_given(op, attrs, _RESULTS)
    masked = expect_sequence(op, types, attrs, 3 + sum(given), ("reverse", "given"))
    batch, time, units = expect_steps(op, types[0], 4)
    row, sequence = (batch, units), (batch, time, units)
    cotangents = itertools.compress((sequence, row, sequence, types[0].shape), given)
    expect_operands(op, types[: 3 + sum(given)], (sequence, (units, 3 * units), *cotangents), 1)
    if masked:
        expect_mask(op, types[-1], (batch, time))
    slopes = types[0].with_shape((batch, time, 3 * units))
    return slopes, slopes, types[0].with_shape(row)


def _adjoint_parts(
    gates: Any, previous: Any, kernel: Any, *rest: Any, reverse: bool, given: tuple[bool, ...]
) -> tuple[Any, ...]:
    cotangents, mask = cotangents_of(rest, given)
    type = current_emitter().type_of(gates)
    batch, _, units = expect_steps("gru_sequence_adjoint", type, 4)
    sequences = {"gates": gates, "previous": previous} | ({"mask": mask[0]} if mask else {})
    sequences |= {f"d{n}": d for n, d in cotangents.items() if n != 1}

    def step(carries: Sequence[Any], at: Mapping[str, Any], weights: Any) -> tuple[Sequence[Any], Sequence[Any]]:
        z, reset, new, recurrent = parts_of(at["gates"], units)
        of_gates = parts_of(at["d3"], units) if "d3" in at else [0.0] * 4
        dh, idle = live_and_idle(at.get("mask"), carries[0] + at.get("d0", 0.0))
        bent = (dh * (1.0 - z) + of_gates[2]) * (1.0 - new * new)
        dz = (dh * (at["previous"] - new) + of_gates[0]) * (z * (1.0 - z))
        dreset = (bent * recurrent + of_gates[1]) * (reset * (1.0 - reset))
        inner = concatenate((dz, dreset, bent * reset + of_gates[3]))
        through = current_emitter().emit("matmul", inner, weights, transpose_a=False, transpose_b=True)
        return (through + dh * z + idle + at.get("d2", 0.0),), (concatenate((dz, dreset, bent)), inner)

    carries = [cotangents.get(1, full((batch, units), 0, type.dtype))]
    dhidden, slopes, inner = scanned("gru_adjoint_step", step, carries, sequences, kernel, not reverse)
    return slopes, inner, dhidden


def _adjoint_loops(context: LoopContext, reverse: bool, given: tuple[bool, ...]) -> tuple[Stmt, ...]:
    operand = dict(zip(itertools.compress(range(_RESULTS), given), itertools.count(3)))
    masked = len(context.in_types) > 3 + len(operand)
    r = Recurrence(context, context.in_types[2].shape[0], backwards=not reverse)
    dhidden, passed, slopes = r.memory(), r.memory(), r.memory(3)

    def plus(value: Expr, result: int, at: Index) -> Expr:
        """With the cotangent of a result, if there is one."""
        return call("add", value, context.read(operand[result], at)) if result in operand else value

    def slope(at: Index, t: Dim) -> Sequence[Stmt]:
        names, step = Names(context), (at[0], t, at[1])
        z, reset, new, recurrent = (names.let("gate", context.read(0, r.gate(step, n))) for n in range(4))
        old, dh = names.let("old", context.read(1, step)), names.let("dh", plus(Load(dhidden, at), 0, step))
        idle = r.zero
        if masked:
            lives = context.read(len(context.in_types) - 1, step[:2])
            idle = names.let("idle", call("select", lives, r.zero, dh))
            dh = names.let("live", call("select", lives, dh, r.zero))
        dnew = plus(call("mul", dh, call("sub", r.one, z)), 3, r.gate(step, 2))
        bent = names.let("slope", call("mul", dnew, r.slope_of_tanh(new)))
        dreset = plus(call("mul", bent, recurrent), 3, r.gate(step, 1))
        dz = plus(call("mul", dh, call("sub", old, new)), 3, r.gate(step, 0))
        ends = [
            names.let("slope", call("mul", d, r.slope_of_sigmoid(gate))) for d, gate in ((dz, z), (dreset, reset))
        ]
        inner = [*ends, names.let("slope", plus(call("mul", bent, reset), 3, r.gate(step, 3)))]
        kept = call("mul", dh, z)
        rest = names.let("rest", plus(call("add", kept, idle) if masked else kept, 2, step))
        return (
            *names.statements,
            *(s for n, value in enumerate((*ends, bent)) for s in context.write(0, r.gate(step, n), value)),
            *(s for n, value in enumerate(inner) for s in context.write(1, r.gate(step, n), value)),
            *(Store(slopes, r.gate(at, n), value) for n, value in enumerate(inner)),
            Store(passed, at, rest),
        )

    return (
        *r.cells(lambda at: (Store(dhidden, at, plus(r.zero, 1, at)),)),
        r.steps(lambda t: (*r.cells(lambda at: slope(at, t)), r.product(slopes, 2, True, dhidden, passed))),
        *r.cells(lambda at: context.write(2, at, Load(dhidden, at))),
    )


def _adjoint_samples(rng: np.random.Generator) -> Iterator[Sample]:
    for n, (batch, time, units) in enumerate(SIZES):
        dtype, given = (f32, f64)[n % 2], given_flags(n, _RESULTS)
        row, sequence, gates = (batch, units), (batch, time, units), (batch, time, 4 * units)
        shapes = (sequence, (units, 3 * units), *itertools.compress((sequence, row, sequence, gates), given))
        args = (numbers(rng, gates, dtype, 0, 1), *(numbers(rng, shape, dtype, -1, 1) for shape in shapes))
        yield Sample((*args, *masks(rng, batch, time, n)), {"reverse": n % 3 == 1, "given": given})


_NONE = {"reverse": False, "given": (False,) * _RESULTS}
_GATES = (of((2, 3, 8)), of((2, 3, 2)), of((2, 6)))


@primitive(
    infer=_adjoint_infer,
    grad=Composed(_adjoint_parts),
    lower=Loops(_adjoint_loops, in_memory=(2,)),
    samples=_adjoint_samples,
    errors=(
        bad("3 operands", *_GATES[:2], **_NONE),
        bad("attributes", *_GATES),
        bad("4 flags", *_GATES, reverse=False, given=(True,)),
        bad("4 * units", of((2, 3, 9)), *_GATES[1:], **_NONE),
        bad("operand 1", _GATES[0], of((2, 3, 3)), _GATES[2], **_NONE),
        bad("mask", *_GATES, of((2, 3)), **_NONE),
    ),
    source="the chain rule, from the last step that was computed to the first one",
)
def gru_sequence_adjoint(
    gates: Array, previous: Array, kernel: Array, *rest: Array, reverse: bool, given: tuple[bool, ...]
) -> Any:
    """Slopes of `gru_sequence` for its operand projected, for ``h U + b``, and for its operand hidden.

    `rest` are the cotangents of those of its four results that have one, as `given` says, and the mask if it had one.
    The slope for the kernel is the product of h before each step with the second result, that for the bias its sum.
    """
    cotangents, mask = cotangents_of(rest, given)
    (batch, steps, _), units = gates.shape, kernel.shape[0]
    slopes, inner = (np.empty((batch, steps, 3 * units), gates.dtype) for _ in range(2))
    dhidden = cotangents.get(1, np.zeros((batch, units), gates.dtype))

    def plus(value: Array, result: int, t: int, gate: int = 0) -> Array:
        part = slice(gate * units, (gate + 1) * units)
        return value + cotangents[result][:, t, part] if result in cotangents else value

    for t in times(steps, not reverse):
        z, reset, new, recurrent = np.split(gates[:, t], 4, axis=-1)
        dhidden = plus(dhidden, 0, t)
        lives = alive(mask, t)
        dh, idle = np.where(lives, dhidden, 0), np.where(lives, 0, dhidden)
        bent = plus(dh * (1 - z), 3, t, 2) * (1 - new * new)
        dz = plus(dh * (previous[:, t] - new), 3, t, 0) * (z * (1 - z))
        dreset = plus(bent * recurrent, 3, t, 1) * (reset * (1 - reset))
        slopes[:, t] = np.concatenate((dz, dreset, bent), axis=-1)
        inner[:, t] = np.concatenate((dz, dreset, plus(bent * reset, 3, t, 3)), axis=-1)
        dhidden = inner[:, t] @ kernel.T + plus(dh * z + idle, 2, t)
    return slopes, inner, dhidden


OPS = (gru_sequence, gru_sequence_adjoint)
