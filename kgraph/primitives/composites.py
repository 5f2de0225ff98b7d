"""Functions of symbolic tensors made of primitives: no rule of their own, gradients follow from the parts.

Operands are symbolic tensors; where two meet, numbers and arrays are lifted, element types promoted, shapes broadcast.
Axes count from the end if negative; `axis=None` means all axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dims import Dim, Shape, exact_quotient, product
from kgraph.ir.dtypes import DType, bool_, dtype_of, f32, i32, promote
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import binary, broadcast_to, lift, match
from kgraph.ir.operators import cast as convert
from kgraph.ir.operators import matmul as matmul  # stands there for the operator @
from kgraph.ir.types import TensorType, broadcast_shapes
from kgraph.primitives import indexing, rowwise

Axes = int | Sequence[int] | None


def _emit(op: str, *args: Any, **attrs: Any) -> Any:
    return current_emitter().emit(op, *args, **attrs)


def _type(x: Any) -> TensorType:
    return current_emitter().type_of(x)


def axis_of(axis: int, rank: int, what: str = "axis") -> int:
    """An axis counted from the front; ShapeError outside -rank..rank-1."""
    if not -rank <= axis < rank:
        raise ShapeError(what, expected=f"an axis in {-rank}..{rank - 1}", received=str(axis))
    return axis % rank


def axes_of(axis: Axes, rank: int) -> tuple[int, ...]:
    """Rising axes counted from the front; all of them for None.

    >>> axes_of((-1, 0), 3)
    (0, 2)
    """
    if axis is None:
        return tuple(range(rank))
    wanted = [axis] if isinstance(axis, int) else list(axis)
    found = sorted({axis_of(a, rank) for a in wanted})
    if len(found) != len(wanted):
        raise ShapeError("axis", expected="different axes", received=repr(axis))
    return tuple(found)


# --- elementwise ------------------------------------------------------------------------------------------------------
def square(x: Any) -> Any:
    """x * x."""
    return x * x


def sqrt(x: Any) -> Any:
    """Square root of a float tensor."""
    return _emit("sqrt", x)


def maximum(a: Any, b: Any) -> Any:
    """Larger of two tensors or numbers; the gradient of equal ones goes to the first."""
    return binary("maximum", a, b)


def minimum(a: Any, b: Any) -> Any:
    """Smaller of two tensors or numbers; the gradient of equal ones goes to the first."""
    return binary("minimum", a, b)


def clip(x: Any, low: Any, high: Any) -> Any:
    """`x` limited to [low, high]; the gradient passes inside and at the limits."""
    return minimum(maximum(x, low), high)


def where(condition: Any, a: Any, b: Any) -> Any:
    """`a` where the bool tensor `condition` holds, else `b`."""
    a, b = match(a, b)
    shape = broadcast_shapes(_type(condition).shape, _type(a).shape)
    return _emit("select", *(broadcast_to(v, shape) for v in (convert(condition, bool_), a, b)))


def equal(a: Any, b: Any) -> Any:
    """Whether elements are equal."""
    return binary("eq", a, b)


def not_equal(a: Any, b: Any) -> Any:
    """Whether elements differ."""
    return binary("ne", a, b)


def cast(x: Any, dtype: DType | str) -> Any:
    """`x` with another element type; `x` itself if it has it."""
    return convert(x, dtype_of(dtype))


def relu6(x: Any) -> Any:
    """min(max(x, 0), 6)."""
    return minimum(_emit("relu", x), 6.0)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """x where x > 0, else alpha * (exp(x) - 1) (Clevert et al., 2015)."""
    # exp is taken of min(x, 0) only: its overflow at large x would turn the zero gradient of that branch into nan.
    return where(x > 0.0, x, alpha * _emit("expm1", minimum(x, 0.0)))


def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
    """x where x > 0, else negative_slope * x."""
    return where(x > 0.0, x, negative_slope * x)


def gelu(x: Any, approximate: bool = False) -> Any:
    """x times the normal distribution function of x, or its tanh approximation (Hendrycks and Gimpel, 2016)."""
    if approximate:
        return 0.5 * x * (1.0 + _emit("tanh", math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))))
    return 0.5 * x * (1.0 + _emit("erf", x * math.sqrt(0.5)))


# --- reductions -------------------------------------------------------------------------------------------------------
def _reduce(op: str, x: Any, axis: Axes, keepdims: bool) -> Any:
    return _emit(op, x, axes=axes_of(axis, _type(x).rank), keepdims=keepdims)


def sum(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """Sum over axes; bools are counted as int32."""
    return _reduce("sum", convert(x, i32) if _type(x).dtype is bool_ else x, axis, keepdims)


def prod(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """Product over axes."""
    return _reduce("prod", x, axis, keepdims)


def max(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """Largest element over axes; equal largest elements share the gradient."""
    return _reduce("max", x, axis, keepdims)


def min(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """Smallest element over axes; equal smallest elements share the gradient."""
    return _reduce("min", x, axis, keepdims)


def mean(x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
    """Mean over axes; integers and bools give float32, no elements give NaN."""
    x = x if _type(x).dtype.is_float else convert(x, f32)
    kind = _type(x)
    count = product(tuple(kind.shape[a] for a in axes_of(axis, kind.rank)))
    return _reduce("sum", x, axis, keepdims) / size(count, kind.dtype)


def size(dim: Dim, dtype: DType = i32) -> Any:
    """A size as a tensor of rank 0: a constant, or for symbolic sizes a value known at run time."""
    return current_emitter().constant(dim, dtype) if isinstance(dim, int) else _emit("size", dim=dim, dtype=dtype)


def argmax(x: Any, axis: int = -1) -> Any:
    """Index (int32) of the first largest element along an axis."""
    return _emit("argmax", x, axis=axis_of(axis, _type(x).rank))


def argmin(x: Any, axis: int = -1) -> Any:
    """Index of the first smallest element along an axis."""
    return _emit("argmin", x, axis=axis_of(axis, _type(x).rank))


def log_softmax(x: Any, axis: int | Sequence[int] = -1) -> Any:
    """Logarithm of the softmax along an axis, or over several together, without overflow."""
    return _on_last_axis(rowwise.log_softmax, x, axis)


def softmax(x: Any, axis: int | Sequence[int] = -1) -> Any:
    """Softmax along an axis, or over several together, without overflow."""
    return _on_last_axis(lambda v: _emit("softmax", v), x, axis)


def _on_last_axis(function: Any, x: Any, axis: int | Sequence[int]) -> Any:
    """`function`, which works along the last axis, along these axes as if they were one."""
    shape = _type(x).shape
    axes = axes_of(axis, len(shape))
    order = [a for a in range(len(shape)) if a not in axes] + list(axes)
    moved = transpose(x, order)
    rows = [shape[a] for a in order[: len(order) - len(axes)]]
    flat = reshape(moved, [*rows, product(tuple(shape[a] for a in axes))])
    return transpose(reshape(function(flat), _type(moved).shape), [order.index(a) for a in range(len(shape))])


# --- shapes -----------------------------------------------------------------------------------------------------------
def reshape(x: Any, shape: Sequence[Dim]) -> Any:
    """The same elements under another shape; one size may be -1: what is left."""
    old = _type(x)
    free = [a for a, d in enumerate(shape) if d == -1]
    sizes = list(shape)
    if free:
        rest = product(tuple(d for d in shape if d != -1))
        left = exact_quotient(old.size, rest)
        if left is None or len(free) > 1:
            raise ShapeError("reshape", expected=f"a shape of {old.size} elements", received=repr(tuple(shape)))
        sizes[free[0]] = left
    return x if tuple(sizes) == old.shape else _emit("reshape", x, shape=tuple(sizes))


def expand_dims(x: Any, axis: int) -> Any:
    """A new axis of size 1; `axis` counts in the result."""
    shape = list(_type(x).shape)
    shape.insert(axis_of(axis, len(shape) + 1), 1)
    return reshape(x, shape)


def squeeze(x: Any, axis: Axes = None) -> Any:
    """`x` without these axes of size 1; without all of them for None."""
    shape = _type(x).shape
    places = tuple(a for a, d in enumerate(shape) if d == 1) if axis is None else axes_of(axis, len(shape))
    if any(shape[a] != 1 for a in places):
        raise ShapeError("squeeze", expected="axes of size 1", received=f"axes {places} of shape {shape}")
    return reshape(x, [d for a, d in enumerate(shape) if a not in places])


def transpose(x: Any, axes: Sequence[int] | None = None) -> Any:
    """Axes in another order; reversed for None."""
    rank = _type(x).rank
    perm = tuple(reversed(range(rank))) if axes is None else tuple(axis_of(a, rank) for a in axes)
    return x if perm == tuple(range(rank)) else _emit("transpose", x, perm=perm)


def swapaxes(x: Any, first: int, second: int) -> Any:
    """Two axes exchanged."""
    order = list(range(_type(x).rank))
    one, two = axis_of(first, len(order)), axis_of(second, len(order))
    order[one], order[two] = order[two], order[one]
    return transpose(x, order)


def part(x: Any, axis: int, start: Dim, stop: Dim) -> Any:
    """The elements start, ..., stop - 1 along an axis."""
    shape = _type(x).shape
    place = axis_of(axis, len(shape))
    starts = tuple(start if a == place else 0 for a in range(len(shape)))
    limits = tuple(stop if a == place else d for a, d in enumerate(shape))
    return _emit("slice", x, starts=starts, limits=limits, strides=(1,) * len(shape))


def concatenate(xs: Sequence[Any], axis: int = -1) -> Any:
    """Tensors joined along an axis, in the element type where all meet."""
    values = [lift(x) for x in xs]
    if not values:
        raise ArgumentError("concatenate", expected="at least one tensor", received="none")
    dtype = _type(values[0]).dtype
    for value in values[1:]:
        dtype = promote(dtype, _type(value).dtype)
    return _emit("concat", *(convert(v, dtype) for v in values), axis=axis_of(axis, _type(values[0]).rank))


def full(shape: Shape, value: float, dtype: DType = f32) -> Any:
    """A tensor of equal numbers; the shape may be symbolic."""
    return broadcast_to(current_emitter().constant(value, dtype), tuple(shape))


def zeros_like(x: Any) -> Any:
    """Zeros of the type of `x`."""
    return full(_type(x).shape, 0, _type(x).dtype)


def ones_like(x: Any) -> Any:
    """Ones of the type of `x`."""
    return full(_type(x).shape, 1, _type(x).dtype)


def one_hot(labels: Any, depth: Dim, dtype: DType | str = f32) -> Any:
    """A new last axis with 1 at the label and 0 elsewhere; labels outside 0..depth-1 give zeros."""
    return _emit("one_hot", labels, depth=depth, dtype=dtype_of(dtype))


def gather(x: Any, ids: Any, axis: int = 0) -> Any:
    """The slices of `x` along `axis` that `ids` name, zeros for ids outside; NumPy's take but for that."""
    return _emit("gather", x, ids, axis=axis_of(axis, _type(x).rank))


def scatter_add(updates: Any, ids: Any, size: Dim, axis: int = 0) -> Any:
    """Sums of the slices of `updates` with equal ids, in `size` slices: the adjoint of `gather`.

    The axes of `updates` from `axis` on are those of `ids`; `axis` counts from the front. Ids outside 0 .. size-1 are
    left out. A float sum has the same bits for any number of threads.
    """
    return indexing.summed_by_id(updates, ids, size, axis)


def bincount(ids: Any, size: Dim, weights: Any = None, axis: int = -1) -> Any:
    """How often (int32) each id of 0 .. size-1 occurs in each line along an axis, or the sums of its weights.

    Other ids are left out.
    """
    kind = _type(ids)
    added = full(kind.shape, 1, i32) if weights is None else weights
    return _emit("add_along_axis", added, ids, axis=axis_of(axis, kind.rank), size=size)


def take_along_axis(x: Any, ids: Any, axis: int = -1) -> Any:
    """For every id the element of its own line of `x` that it names, 0 for ids outside."""
    return _emit("take_along_axis", x, ids, axis=axis_of(axis, _type(x).rank))


# --- order and running sums -------------------------------------------------------------------------------------------
def argsort(x: Any, axis: int = -1, descending: bool = False) -> Any:
    """Places of the elements along an axis in rising or falling order; equal ones keep their order, NaN is greatest."""
    return _emit("argsort", x, axis=axis_of(axis, _type(x).rank), descending=descending)


def sort(x: Any, axis: int = -1, descending: bool = False) -> Any:
    """The elements along an axis in rising or falling order."""
    return take_along_axis(x, argsort(x, axis, descending), axis)


def top_k(x: Any, k: int, axis: int = -1) -> tuple[Any, Any]:
    """The `k` largest elements along an axis, in falling order, and their places; of equal ones the first."""
    places = part(argsort(x, axis, descending=True), axis_of(axis, _type(x).rank), 0, k)
    return take_along_axis(x, places, axis), places


def cumsum(x: Any, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> Any:
    """Running sums along an axis."""
    return _emit("cumsum", x, axis=axis_of(axis, _type(x).rank), exclusive=exclusive, reverse=reverse)


def cumprod(x: Any, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> Any:
    """Running products along an axis."""
    return _emit("cumprod", x, axis=axis_of(axis, _type(x).rank), exclusive=exclusive, reverse=reverse)


def searchsorted(x: Any, values: Any, right: bool = False) -> Any:
    """How many elements of the sorted `x` are smaller than each value; with `right` also equal."""
    return _emit("searchsorted", x, values, right=right)


# --- random numbers ---------------------------------------------------------------------------------------------------
def uniform(key: Any, shape: Shape, dtype: DType = f32) -> Any:
    """Random numbers from [0, 1): 32 random bits times 2^-32, rounded; in float32 never up to 1."""
    bits = _emit("random_bits", key, shape=tuple(shape))
    return minimum(convert(bits, dtype) * 2.0**-32, 1 - 2.0**-24 if dtype is f32 else 1 - 2.0**-53)


def normal(key: Any, shape: Shape, dtype: DType = f32) -> Any:
    """Random numbers of the standard normal distribution (Box and Muller, 1958); in float32 below 6.8 in size."""
    angle = uniform(_emit("fold_in", key, data=1), shape, dtype) * (2 * math.pi)
    # 32 bits plus a half: never the logarithm of 0.
    bits = convert(_emit("random_bits", _emit("fold_in", key, data=0), shape=tuple(shape)), dtype)
    return sqrt(_emit("log", (bits + 0.5) * 2.0**-32) * -2.0) * _emit("cos", angle)


def dropout_mask(key: Any, shape: Shape, keep: float) -> Any:
    """Random bools that hold with probability `keep`, in (0, 1], to a precision of 2^-32."""
    if not 0 < keep <= 1:
        raise ArgumentError("keep", expected="a probability in (0, 1]", received=repr(keep))
    bits = _emit("random_bits", key, shape=tuple(shape))
    highest = round(keep * 2**32) - 1  # keep=1 must fit u32: hence <= and not <
    return bits <= (highest if highest > 0 else 0)
