"""Seeded random graphs with inputs, for tests that must hold for every graph.

Values stay moderate: whatever could overflow, or jump for a small change of its operand, takes its operands through a
squashing function first, so that two ways of running may be compared with a tolerance.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from kgraph.ir.dims import Dim, evaluate, product, symbol
from kgraph.ir.dtypes import DType, bool_, f32, f64, i32, i64, u8, u32
from kgraph.ir.graph import Graph, GraphBuilder, Value
from kgraph.ir.opdef import Nested, Trait, emitting
from kgraph.ir.types import TensorType
from kgraph.primitives import REGISTRY, convolution, convolution_parts, gru, integers, lstm, pool_places, pooling
from kgraph.primitives.sampling import numbers

Array = npt.NDArray[Any]

# Ops over sliding windows and sequences need operands of fitting sizes: tests/compiler/test_sliding_ops.py,
# tests/compiler/test_partition.py and tests/api/test_whole_sequences.py have them.
_FITTING = frozenset(
    op.name for op in (*convolution.OPS, *convolution_parts.OPS, *pooling.OPS, *pool_places.OPS, *lstm.OPS, *gru.OPS)
)
# Made by passes.
_MADE = frozenset({"conv_max_pool_places", "max_pool_places", "pooled_moments"})
# Ops with graphs inside need graphs that fit: tests/compiler/test_scan.py has them.
ALL_OPS = tuple(
    name for name, op in REGISTRY.items()
    if not op.traits & Trait.STRUCTURAL and name not in _FITTING | _MADE and not isinstance(op.lower, Nested)
)  # fmt: skip
# Beside a kink or jump a tiny difference between two ways of running becomes a large one.
JUMPS = frozenset({"sign", "floor", "ceil", "round", "argmax", "eq", "ne", "lt", "le", "gt", "ge", "isfinite"})
# Ops that get integers alone (a quotient may lie beside a jump), and functions that are defined or smooth near 0 only.
WHOLE = frozenset(op.name for op in integers.OPS)
NEAR_ZERO = frozenset({"mul", "exp", "expm1", "sin", "cos", "sinh", "cosh"})
INSIDE_ONE = frozenset({"asin", "acos", "erfinv"})


def random_graph(
    seed: int, *, ops: Collection[str] = ALL_OPS, size: int | None = None, differentiable: bool = False
) -> tuple[Graph, list[Array]]:
    """A graph of about `size` nodes (default: 5 to 40) from `ops` and helpers, and arrays for its inputs.

    With `differentiable` all floats are float64 or float32 throughout, and the graph gives a scalar loss and its
    gradients for the float inputs, as a `gradient` node that autodiff must expand.
    """
    maker = _Maker(seed, tuple(sorted(set(ops))), differentiable)
    with emitting(maker.builder):
        return maker.make(size)


class _Maker:
    """Makes one graph. `pool` holds all values made so far; `smooth` those that vary smoothly with the inputs."""

    def __init__(self, seed: int, ops: tuple[str, ...], differentiable: bool) -> None:
        self.rng = np.random.default_rng(seed)
        self.ops, self.differentiable = ops, differentiable
        self.builder = GraphBuilder(f"random_{seed}", REGISTRY)
        self.emit = self.builder.emit
        self.floats = (f32, f64) if not differentiable else ((f32,), (f64,))[seed % 2]
        self.sizes = {"batch": int(self.rng.choice([0, 1, 2, 3, 5, 8, 17]))}
        self.symbolic = bool(self.rng.random() < 0.6)
        # One size beyond a vector register or two is enough; sums of very many float32 need wide tolerances.
        self.extents = [int(n) for n in (*self.rng.choice([1, 2, 3, 4, 5], 2), self.rng.choice([7, 8, 16, 33]))]
        if self.rng.random() < 0.15:
            self.extents[0] = 0
        self.pool: list[Value] = []
        self.inputs: list[Array] = []

    def make(self, size: int | None) -> tuple[Graph, list[Array]]:
        if self.symbolic:  # a size must stand in the type of an input
            self.input(TensorType(self.pick(self.floats), (symbol("batch"), self.pick(self.extents))))
        for _ in range(int(self.rng.integers(1, 4))):
            self.input(TensorType(self.pick(self.floats), self.shape()))
        if self.rng.random() < 0.7:
            self.input(TensorType(self.pick((i32, i64, u8, u32, bool_)), self.shape()))
        wanted = size or int(self.rng.integers(5, 41))
        for _ in range(20 * wanted):
            if len(self.builder.nodes) >= wanted:
                break
            self.add(str(self.pick(self.ops)))
        return self.finish(), self.inputs

    def finish(self) -> Graph:
        if not self.differentiable:
            made = [v for v in self.pool if v not in self.builder.inputs] or self.pool
            picks = self.rng.choice(len(made), min(len(made), int(self.rng.integers(1, 4))), replace=False)
            return self.builder.build([made[-1], *(made[n] for n in picks)])
        dtype = self.floats[0]
        loss = self.builder.constant(0.0, dtype)
        for value in [v for v in self.pool if v.dtype is dtype][-6:]:
            loss = loss + self.total(self.emit("tanh", value)) * float(self.rng.uniform(0.5, 1.5))
        xs = [v for v in self.builder.inputs if v.dtype.is_float]
        found = self.emit("gradient", loss, *xs)
        return self.builder.build([loss, *(found if isinstance(found, tuple) else (found,))])

    # --- pieces -------------------------------------------------------------------------------------------------------
    def pick(self, options: Any) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def shape(self) -> tuple[Dim, ...]:
        rank = int(self.rng.choice([0, 1, 2, 2, 2, 3]))
        dims: list[Dim] = [self.pick(self.extents) for _ in range(rank)]
        if rank and self.symbolic and self.rng.random() < 0.8:
            dims[0] = symbol("batch")
        return tuple(dims)

    def input(self, type: TensorType) -> Value:
        value = self.builder.input(type, f"x{len(self.inputs)}")
        self.inputs.append(numbers(self.rng, type.concrete(self.sizes), type.dtype, -2, 2))
        self.pool.append(value)
        return value

    def value(self, dtypes: Collection[DType], fits: Callable[[Value], bool] = lambda v: True) -> Value | None:
        """A value made so far with one of these element types; the later ones are likelier."""
        good = [v for v in self.pool if v.dtype in dtypes and fits(v)]
        return good[int(len(good) * self.rng.random() ** 0.6)] if good else None

    def like(self, type: TensorType) -> Value:
        """A value of exactly this type: one made so far, or one made from another by a cast and a broadcast."""
        same = [v for v in self.pool if v.type == type]
        if same and self.rng.random() < 0.9:
            return self.pick(same)
        if type.dtype is bool_:
            return self.number(True, type)
        return self.number(self.rng.uniform(-1, 1) if type.dtype.is_float else int(self.rng.integers(0, 4)), type)

    def number(self, value: float, type: TensorType) -> Value:
        constant = self.builder.constant(value, type.dtype)
        return constant if not type.shape else self.emit("broadcast", constant, shape=type.shape, axes=())

    def total(self, x: Value) -> Value:
        """The sum of everything, made small."""
        return self.emit("sum", x, axes=tuple(range(x.type.rank)), keepdims=False) * 0.01

    def bounded(self, x: Value) -> Value:
        """A float in (-1, 1) that varies smoothly with x."""
        return self.emit("tanh", x)

    def positive(self, x: Value) -> Value:
        """A float in [1, 2)."""
        t = self.bounded(x)
        return t * t + 1.0

    def probability(self, x: Value) -> Value:
        """A float in (0.1, 0.9)."""
        return self.bounded(x) * 0.4 + 0.5

    def steep(self, x: Value) -> Value:
        """`x` as it may stand before a jump: an input, or a multiple of 1/4 plus 1/8, away from all jumps."""
        if not x.dtype.is_float or x in self.builder.inputs:
            return x
        rounded = self.emit("round", self.bounded(x) * 2.0)
        return rounded * 0.75 + 0.13

    # --- one node ---------------------------------------------------------------------------------------------------
    def add(self, name: str) -> None:
        """Add a call of `name`, if operands for it exist."""
        maker = getattr(self, f"add_{name}", None)
        out = maker() if maker else self.add_elementwise(name)
        if out is not None:
            self.pool += list(out) if isinstance(out, tuple) else [out]

    def add_elementwise(self, name: str) -> Value | None:
        op = REGISTRY[name]
        arity = next(len(sample.args) for sample in op.samples(np.random.default_rng(0)))
        logical = name.startswith("logical")
        integer_too = name in ("add", "sub", "mul", "minimum", "maximum", "neg", "abs", "sign", "relu")
        compared = name in ("eq", "ne", "lt", "le", "gt", "ge")
        dtypes: Collection[DType] = (bool_,) if logical else self.floats
        if name in WHOLE or ((integer_too or compared) and self.rng.random() < 0.3):
            dtypes = (i32, i64, u8, u32)
        first = self.value(dtypes)
        if first is None:
            return None
        args = [first] + [self.like(first.type) for _ in range(arity - 1)]
        return self.emit(name, *(self.tamed(name, n, x) for n, x in enumerate(args)))

    def tamed(self, name: str, position: int, x: Value) -> Value:
        """The operand in the range where the op is well conditioned."""
        if not x.dtype.is_float:
            return x
        if name in ("log", "sqrt", "rsqrt", "log1p") or (name in ("div", "atan2") and position == 1):
            return self.positive(x)
        if name == "pow":
            return self.positive(x) if position == 0 else self.bounded(x)
        if name in JUMPS:
            return self.steep(x)
        if name == "sigmoid_crossentropy":
            return self.bounded(x) * 4.0 if position == 0 else self.probability(x)
        if name in INSIDE_ONE:
            return self.bounded(x) * 0.9
        if name in NEAR_ZERO:
            return self.bounded(x)
        return x

    def add_select(self) -> Value | None:
        a = self.value((*self.floats, i32, i64))
        if a is None:
            return None
        return self.emit("select", self.like(a.type.with_dtype(bool_)), a, self.like(a.type))

    def add_cast(self) -> Value | None:
        x = self.value((f32, f64, i32, i64, u8, u32, bool_))
        if x is None:
            return None
        if self.differentiable:
            return self.emit("cast", x, dtype=self.floats[0])
        targets = [f32, f64] if x.dtype.is_float else [f32, f64, i32, i64, bool_, u8, u32]
        return self.emit("cast", x, dtype=self.pick(targets))

    def add_stop_gradient(self) -> Value | None:
        # A constant for autodiff alone: finite differences would see through it.
        x = self.value((i32, bool_) if self.differentiable else (f32, f64, i32, bool_))
        return None if x is None else self.emit("stop_gradient", x)

    def add_binary_crossentropy(self) -> Value | None:
        p = self.value(self.floats)
        if p is None:
            return None
        target = self.probability(self.like(p.type))
        return self.emit("binary_crossentropy", self.probability(p), target, epsilon=1e-7)

    def add_broadcast(self) -> Value | None:
        x = self.value((*self.floats, i32, u8, bool_), lambda v: v.type.rank <= 2)
        if x is None:
            return None
        shape, axes = list(x.type.shape), []
        for axis, dim in enumerate(shape):
            shape[axis] = self.pick(self.extents) if dim == 1 and self.rng.random() < 0.5 else dim
        new = int(self.rng.integers(0, 4 - len(shape)))
        for _ in range(new):
            shape.insert(int(self.rng.integers(0, len(shape) + 1)), -1)
        axes = [a for a, d in enumerate(shape) if d != -1]
        full = tuple(self.pick(self.extents) if d == -1 else d for d in shape)
        return self.emit("broadcast", x, shape=full, axes=tuple(axes))

    def add_sum_to(self) -> Value | None:
        x = self.value((*self.floats, i32, i64), lambda v: v.type.rank >= 1)
        if x is None:
            return None
        axes = tuple(a for a in range(x.type.rank) if self.rng.random() < 0.6)
        shape = tuple(1 if self.rng.random() < 0.3 else x.type.shape[a] for a in axes)
        return self.emit("sum_to", self.small(x), shape=shape, axes=axes)

    def small(self, x: Value) -> Value:
        return self.bounded(x) * 0.3 if x.dtype.is_float else x

    def add_reshape(self) -> Value | None:
        x = self.value((*self.floats, i32, bool_))
        if x is None:
            return None
        shape = x.type.shape
        choices: list[tuple[Dim, ...]] = [(product(shape),), (1, *shape), (*shape, 1)]
        if len(shape) >= 2:
            choices += [(*shape[:-2], product(shape[-2:])), (product(shape[:2]), *shape[2:])]
        return self.emit("reshape", x, shape=self.pick(choices))

    def add_transpose(self) -> Value | None:
        x = self.value((*self.floats, i32, bool_), lambda v: v.type.rank >= 2)
        return None if x is None else self.emit("transpose", x, perm=tuple(map(int, self.rng.permutation(x.type.rank))))

    def add_reverse(self) -> Value | None:
        x = self.value((*self.floats, i32, bool_))
        if x is None:
            return None
        return self.emit("reverse", x, axes=tuple(a for a in range(x.type.rank) if self.rng.random() < 0.6))

    def add_concat(self) -> Value | None:
        x = self.value((*self.floats, i32), lambda v: v.type.rank >= 1)
        if x is None:
            return None
        axis = int(self.rng.integers(x.type.rank))
        others = [self.like(x.type) for _ in range(int(self.rng.integers(0, 3)))]
        return self.emit("concat", x, *others, axis=axis)

    def add_slice(self) -> Value | None:
        x = self.value((*self.floats, i32, bool_), lambda v: v.type.rank >= 1)
        if x is None:
            return None
        starts: list[Dim] = []
        limits: list[Dim] = []
        strides: list[int] = []
        for dim in x.type.shape:
            whole = not isinstance(dim, int) or self.rng.random() < 0.3
            start = 0 if whole else int(self.rng.integers(0, evaluate(dim, self.sizes) + 1))
            starts.append(start)
            limits.append(dim if whole else int(self.rng.integers(start, evaluate(dim, self.sizes) + 1)))
            strides.append(int(self.rng.integers(1, 4)) if isinstance(dim, int) else 1)
        return self.emit("slice", x, starts=tuple(starts), limits=tuple(limits), strides=tuple(strides))

    def add_pad(self) -> Value | None:
        x = self.value((*self.floats, i32, u8), lambda v: v.type.rank >= 1)
        if x is None:
            return None
        low, high = (tuple(int(n) for n in self.rng.integers(0, 3, x.type.rank)) for _ in range(2))
        return self.emit("pad", x, low=low, high=high, value=float(self.rng.integers(0, 3)))

    def add_iota(self) -> Value:
        shape = self.shape() or (3,)
        axis = int(self.rng.integers(len(shape)))
        return self.emit("iota", shape=shape, axis=axis, dtype=self.pick((i32, i64, u32, *self.floats)))

    def add_size(self) -> Value:
        known = [d for v in self.builder.inputs for d in v.type.shape] or [2]
        return self.emit("size", dim=self.pick(known), dtype=self.pick((i32, *self.floats)))

    def add_constant(self) -> Value:
        shape = tuple(self.extents[: int(self.rng.integers(0, 3))])
        dtype = self.pick((*self.floats, i32, bool_))
        return self.builder.constant(numbers(self.rng, shape, dtype, -2, 2))

    def reduced(self, name: str) -> Value | None:
        x = self.value((*self.floats, i32, i64, u8))
        if x is None:
            return None
        axes = tuple(a for a in range(x.type.rank) if self.rng.random() < 0.6)
        if name in ("max", "min"):
            # No element gives an infinity, and infinities give nan further on.
            axes = tuple(a for a in axes if isinstance(x.type.shape[a], int) and x.type.shape[a] != 0)
        if x.dtype.is_float:
            x = self.positive(x) * 0.6 if name == "prod" else x if name in ("max", "min") else self.small(x)
        if name == "prod" and x.dtype.is_float:
            axes = axes[:1]
        out = self.emit(name, x, axes=axes, keepdims=bool(self.rng.random() < 0.3))
        return self.bounded(out) if name == "prod" and x.dtype.is_float else out

    def add_sum(self) -> Value | None:
        return self.reduced("sum")

    def add_prod(self) -> Value | None:
        return self.reduced("prod")

    def add_max(self) -> Value | None:
        return self.reduced("max")

    def add_min(self) -> Value | None:
        return self.reduced("min")

    def add_argmax(self) -> Value | None:
        return self.place_of_extreme("argmax")

    def add_argmin(self) -> Value | None:
        return self.place_of_extreme("argmin")

    def place_of_extreme(self, name: str) -> Value | None:
        x = self.value((*self.floats, i32), lambda v: any(isinstance(d, int) and d > 0 for d in v.type.shape))
        if x is None:
            return None
        axis = self.pick([a for a, d in enumerate(x.type.shape) if isinstance(d, int) and d > 0])
        return self.emit(name, self.steep(x), axis=axis)

    def add_matmul(self) -> Value | None:
        a = self.value(self.floats, lambda v: v.type.rank >= 2)
        if a is None:
            return None
        turn_a, turn_b = bool(self.rng.random() < 0.4), bool(self.rng.random() < 0.4)
        k = a.type.shape[-2 if turn_a else -1]
        n: Dim = self.pick(self.extents)
        last = (n, k) if turn_b else (k, n)
        b = self.like(TensorType(a.dtype, (*a.type.shape[:-2], *last)))
        if isinstance(k, int) and isinstance(n, int) and a.type.rank == 2 and self.rng.random() < 0.7:
            b = self.builder.constant(numbers(self.rng, (n, k) if turn_b else (k, n), a.dtype, -1, 1))
        return self.emit("matmul", self.small(a), b, transpose_a=turn_a, transpose_b=turn_b)

    def add_one_hot(self) -> Value | None:
        x = self.value((i32, i64, u8, u32), lambda v: v.type.rank <= 2)
        if x is None:
            return None
        return self.emit("one_hot", x, depth=self.pick(self.extents), dtype=self.pick((*self.floats, i32)))

    def axis(self, x: Value) -> int:
        return int(self.rng.integers(x.type.rank))

    def add_gather(self) -> Value | None:
        x = self.value((*self.floats, i32), lambda v: 1 <= v.type.rank <= 2)
        ids = self.value((i32, i64, u8, u32), lambda v: v.type.rank <= 2)
        return None if x is None or ids is None else self.emit("gather", x, ids, axis=self.axis(x))

    def add_group_ids(self) -> tuple[Value, Value] | None:
        ids = self.value((i32, i64, u8, u32), lambda v: v.type.rank == 1)
        return None if ids is None else self.emit("group_ids", ids, size=self.pick(self.extents))

    def add_scatter_add(self) -> Value | None:
        x = self.value((*self.floats, i32), lambda v: v.type.rank >= 1)
        if x is None:
            return None
        axis = self.axis(x)
        ids = self.like(TensorType(i32, (x.type.shape[axis],)))
        starts, order = self.emit("group_ids", ids, size=self.pick(self.extents))
        return self.emit("scatter_add", self.small(x), ids, starts, order, axis=axis)

    def add_take_along_axis(self) -> Value | None:
        x = self.value((*self.floats, i32), lambda v: v.type.rank >= 1)
        if x is None:
            return None
        axis = self.axis(x)
        return self.emit("take_along_axis", x, self.like(x.type.with_dtype(i32)), axis=axis)

    def add_add_along_axis(self) -> Value | None:
        x = self.value((*self.floats, i32), lambda v: v.type.rank >= 1)
        if x is None:
            return None
        ids, axis = self.like(x.type.with_dtype(i32)), self.axis(x)
        return self.emit("add_along_axis", self.small(x), ids, axis=axis, size=self.pick(self.extents))

    def lines(self) -> Value | None:
        return self.value(self.floats, lambda v: v.type.rank >= 1)

    def add_cumsum(self) -> Value | None:
        x = self.lines()
        return None if x is None else self.cumulative("cumsum", self.small(x))

    def add_cumprod(self) -> Value | None:
        x = self.lines()
        return None if x is None else self.cumulative("cumprod", self.bounded(x))

    def cumulative(self, name: str, x: Value) -> Value:
        exclusive, reverse = (bool(self.rng.random() < 0.5) for _ in (0, 1))
        return self.emit(name, x, axis=self.axis(x), exclusive=exclusive, reverse=reverse)

    def add_linear_recurrence(self) -> Value | None:
        x = self.lines()
        if x is None:
            return None
        decay, reverse = self.bounded(self.like(x.type)), bool(self.rng.random() < 0.5)
        return self.emit("linear_recurrence", decay, self.small(x), axis=self.axis(x), reverse=reverse)

    def add_argsort(self) -> Value | None:
        x = self.value((*self.floats, i32, u8), lambda v: v.type.rank >= 1)
        if x is None:
            return None
        return self.emit("argsort", self.steep(x), axis=self.axis(x), descending=bool(self.rng.random() < 0.5))

    def add_searchsorted(self) -> Value | None:
        values = self.value(self.floats)
        if values is None:
            return None
        rising = self.builder.constant(np.sort(numbers(self.rng, (self.pick(self.extents),), values.dtype, -1, 1)))
        return self.emit("searchsorted", rising, self.steep(values), right=bool(self.rng.random() < 0.5))

    def key(self) -> Value:
        keys = [v for v in self.pool if v.type == TensorType(u32, (2,))]
        return self.pick(keys) if keys else self.input(TensorType(u32, (2,)))

    def add_fold_in(self) -> Value:
        return self.emit("fold_in", self.key(), data=int(self.rng.integers(0, 1000)))

    def add_random_bits(self) -> Value:
        return self.emit("random_bits", self.key(), shape=self.shape())

    def rows(self) -> Value | None:
        def fits(v: Value) -> bool:
            return v.type.rank >= 1 and isinstance(v.type.shape[-1], int) and v.type.shape[-1] > 0

        return self.value(self.floats, fits)

    def add_softmax(self) -> Value | None:
        x = self.rows()
        return None if x is None else self.emit("softmax", x)

    def add_softmax_crossentropy(self) -> tuple[Value, Value] | None:
        z = self.rows()
        if z is None:
            return None
        loss, probs = self.emit("softmax_crossentropy", z, self.probability(self.like(z.type)))
        return loss, probs

    def add_categorical_crossentropy(self) -> Value | None:
        p = self.rows()
        if p is None:
            return None
        target = self.probability(self.like(p.type))
        return self.emit("categorical_crossentropy", self.probability(p), target, epsilon=1e-7)

    def some_axes(self, x: Value) -> tuple[int, ...]:
        return tuple(a for a in range(x.type.rank) if self.rng.random() < 0.6)

    def add_moments(self) -> tuple[Value, ...] | None:
        x = self.value(self.floats)
        if x is None:
            return None
        mean, rest, variance = self.emit("moments", self.bounded(x), axes=self.some_axes(x))
        return mean + rest, variance  # the rest alone is rounding

    def add_paired_sums(self) -> tuple[Value, ...] | None:
        x = self.value(self.floats)
        if x is None:
            return None
        out: tuple[Value, ...] = self.emit("paired_sums", self.small(x), self.like(x.type), axes=self.some_axes(x))
        return out

    def add_scale_shift(self) -> Value | None:
        x = self.value(self.floats)
        if x is None:
            return None
        axes = self.some_axes(x)
        small = x.type.with_shape(tuple(d for a, d in enumerate(x.type.shape) if a not in axes))
        scale = self.bounded(self.like(small))
        return self.emit("scale_shift", self.bounded(x), self.like(small), scale, self.like(small), axes=axes)

    def add_layer_norm(self) -> tuple[Value, ...] | None:
        x = self.rows()
        if x is None:
            return None
        row = x.type.with_shape(x.type.shape[-1:])
        y, mean, rest, inverse = self.emit(
            "layer_norm", self.bounded(x), self.bounded(self.like(row)), self.like(row), epsilon=0.1
        )
        return y, mean + rest, inverse

    def add_layer_norm_slope(self) -> Value | None:
        x = self.rows()
        if x is None:
            return None
        of_row, of_rows = (x.type.with_shape(s) for s in (x.type.shape[-1:], x.type.shape[:-1]))
        others = [self.bounded(self.like(t)) for t in (x.type, of_row, of_rows, of_rows, of_rows)]
        return self.emit("layer_norm_slope", self.bounded(x), *others)
