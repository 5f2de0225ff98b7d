"""`vectorize`: a function of numbers, or of small arrays, made to work on larger ones."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from typing import Any

from kgraph.eager import as_arrays
from kgraph.errors import ArgumentError, DTypeError, ShapeError
from kgraph.ir.dims import Dim, Shape, product
from kgraph.ir.operators import broadcast_to
from kgraph.ir.types import broadcast_shapes, keras_shape
from kgraph.nesting import flatten, map_structure
from kgraph.ops.control_flow import on_nestings, vectorized_map
from kgraph.ops.core import convert_to_tensor
from kgraph.ops.promotion import type_of
from kgraph.primitives.composites import reshape

# Names of axes, one tuple an argument or result.
Axes = list[tuple[str, ...]]

_ARGUMENT = r"\((?:\w+(?:,\w+)*)?\)"
_SIGNATURE = re.compile(rf"{_ARGUMENT}(?:,{_ARGUMENT})*->{_ARGUMENT}(?:,{_ARGUMENT})*")


def vectorize(
    pyfunc: Callable[..., Any], *, excluded: Iterable[int | str] | None = None, signature: str | None = None
) -> Callable[..., Any]:
    """A function that calls `pyfunc` for every element of its arguments, which broadcast as in NumPy.

    `pyfunc` runs once, on tensors of a program, as in `vectorized_map`; an argument that is None stays None.

    Args:
        pyfunc: takes and gives tensors of rank 0; the result may be a tuple.
        excluded: positions and names of arguments that are handed over as they are.
        signature: the last axes that each argument and result of `pyfunc` has, as in NumPy, such as
            ``"(m,n),(n)->(m)"`` for a matrix times a vector. Arguments given by name must then be excluded.

    Raises: ShapeError if an argument or a result has other axes, or sizes of one name differ.

    >>> vectorize(lambda a, b: a + b)([1, 2, 3, 4], 2)
    array([3, 4, 5, 6], dtype=int32)
    >>> vectorize(lambda m, v: m @ v, signature="(m,n),(n)->(m)")([[[1.0, 2.0]], [[3.0, 4.0]]], [1.0, 1.0])
    array([[3.],
           [7.]], dtype=float32)
    """
    if not callable(pyfunc):
        raise DTypeError("vectorize: pyfunc", expected="a function", received=repr(pyfunc))
    left_out = frozenset(excluded or ())
    axes = None if signature is None else _parsed(signature)

    @functools.wraps(pyfunc)
    def vectorized(*args: Any, **kwargs: Any) -> Any:
        chosen: list[int | str] = [place for place in range(len(args)) if place not in left_out]
        names = [name for name in kwargs if name not in left_out]
        if axes is not None and (names or len(chosen) != len(axes[0])):
            received = f"{len(chosen)} by position and {len(names)} by name"
            expected = f"{len(axes[0])} arguments by position for {signature!r}"
            raise ArgumentError("vectorize", expected=expected, received=received)
        given: dict[int | str, Any] = dict(enumerate(args)) | dict(kwargs.items())

        def call(values: list[Any]) -> Any:
            now = {**given, **dict(zip([*chosen, *names], values))}
            return pyfunc(*(now[place] for place in range(len(args))), **{name: now[name] for name in kwargs})

        inputs, outputs = axes or ([()] * (len(chosen) + len(names)), None)
        return _for_each(call, [as_arrays(given[key], "vectorize") for key in [*chosen, *names]], inputs, outputs)

    return vectorized


def _parsed(signature: str) -> tuple[Axes, Axes]:
    """The axes of arguments and results that a signature names."""
    text = "".join(signature.split())
    if not _SIGNATURE.fullmatch(text):
        raise ArgumentError("vectorize: signature", expected="a form like '(m,n),(n)->(m)'", received=repr(signature))
    sides = [re.findall(_ARGUMENT, side) for side in text.split("->")]
    arguments, results = ([tuple(re.findall(r"\w+", one)) for one in side] for side in sides)
    return arguments, results


@on_nestings("values")
def _for_each(call: Callable[[list[Any]], Any], values: list[Any], inputs: Axes, outputs: Axes | None) -> Any:
    """`call` of the parts of `values` that have the axes `inputs`, for each place along the axes before them."""
    sizes: dict[str, Dim] = {}
    shapes = [None if value is None else type_of(value).shape for value in values]
    cut = [_cut(shape, names, sizes) for shape, names in zip(shapes, inputs) if shape is not None]
    if not cut:
        raise ArgumentError("vectorize", expected="at least one tensor", received="none")
    outer = broadcast_shapes(*(before for before, _ in cut))
    inner = iter([behind for _, behind in cut])

    def spread(value: Any) -> Any:
        own = next(inner)
        return reshape(broadcast_to(value, (*outer, *own)), (product(outer), *own))

    def checked(parts: list[Any]) -> Any:
        result = map_structure(convert_to_tensor, call(parts))
        found = flatten(result)
        expected = [()] * len(found) if outputs is None else outputs
        if len(found) != len(expected):
            raise ArgumentError("vectorize: results", expected=str(len(expected)), received=str(len(found)))
        known = dict(sizes)
        for leaf, names in zip(found, expected):
            shape = type_of(leaf).shape
            before, _ = _cut(shape, names, known)
            if before:
                raise ShapeError("vectorize: result", expected=f"shape ({', '.join(names)})", received=_shown(shape))
        return result

    results = vectorized_map(checked, [None if value is None else spread(value) for value in values])
    return map_structure(lambda leaf: reshape(leaf, (*outer, *type_of(leaf).shape[1:])), results)


def _cut(shape: Shape, names: tuple[str, ...], sizes: dict[str, Dim]) -> tuple[Shape, Shape]:
    """The sizes before the axes `names`, and those of the axes, which must be as in `sizes` or are noted there."""
    place = len(shape) - len(names)
    if place < 0:
        expected = f"axes ({', '.join(names)})"
        raise ShapeError("vectorize", expected=expected, received=f"shape {_shown(shape)}")
    for name, size in zip(names, shape[place:]):
        if sizes.setdefault(name, size) != size:
            raise ShapeError(f"vectorize: axis {name!r}", expected=f"size {sizes[name]}", received=str(size))
    return shape[:place], shape[place:]


def _shown(shape: Shape) -> str:
    return str(keras_shape(shape))
