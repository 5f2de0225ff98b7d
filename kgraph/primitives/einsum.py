"""Einstein's sum convention: sums of products as transpositions, reshapes and one matrix product for each pair."""

from __future__ import annotations

import re
from typing import Any

from kgraph.errors import ArgumentError, ShapeError
from kgraph.ir.dims import Dim, product
from kgraph.ir.dtypes import promote
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import broadcast_to
from kgraph.primitives import composites

_EQUATION = re.compile(r"[A-Za-z.,]+(->[A-Za-z.]*)?")


def einsum(equation: str, *operands: Any) -> Any:
    """The sum over all letters that the result does not have of the products of the operands.

    Args:
        equation: letters of each operand's axes and of the result's, such as "bij,bjk->bik"; "..." stands for axes that
            broadcast. Without "->" the result has the letters that occur once, in alphabetical order.
        operands: tensors of at least one. A letter may occur only once in an operand.

    Pairs are combined from left to right.
    """
    inputs, result = axis_names(equation, [current_emitter().type_of(x).rank for x in operands])
    sizes = _sizes(equation, operands, inputs)
    terms = [(_fitted(x, names, sizes), names) for x, names in zip(operands, inputs)]
    while len(terms) > 1:
        (a, left), (b, right), *terms = terms
        wanted = {name for _, names in terms for name in names} | set(result)
        kept = [name for name in dict.fromkeys([*left, *right]) if name in wanted]
        terms.insert(0, _pair(a, left, b, right, kept))
    ((value, names),) = terms
    value, names = _summed(value, names, result)
    return composites.transpose(value, [names.index(name) for name in result])


def axis_names(equation: str, ranks: list[int]) -> tuple[list[list[str]], list[str]]:
    """Names of the axes of each operand and of the result; the axes of "..." are called 0, 1, ... from the last one.

    >>> axis_names("...x,xy->...y", [3, 2])
    ([['1', '0', 'x'], ['x', 'y']], ['1', '0', 'y'])
    """
    plain = equation.replace(" ", "")
    texts, arrow, out = plain.partition("->")
    operands = texts.split(",")
    if not _EQUATION.fullmatch(plain) or any(t.replace("...", "", 1).count(".") for t in (*operands, out)):
        raise ArgumentError("einsum: equation", expected="letters such as 'ij,jk->ik'", received=repr(equation))
    if len(operands) != len(ranks):
        raise ArgumentError(f"einsum {equation!r}", expected=f"{len(operands)} operands", received=str(len(ranks)))
    inputs = [_letters(equation, text, rank) for text, rank in zip(operands, ranks)]
    dots = max((names for names in ([n for n in given if n.isdigit()] for given in inputs)), key=len)
    if arrow:
        head, dotted, tail = out.partition("...")
        result = [*head, *(dots if dotted else []), *tail]
    else:
        every = [name for names in inputs for name in names]
        result = [*dots, *sorted(n for n in set(every) if every.count(n) == 1 and not n.isdigit())]
    known = {name for names in inputs for name in names}
    if len(set(result)) != len(result) or not set(result) <= known:
        raise ArgumentError(f"einsum {equation!r}", expected="each letter of the result once, and in an operand")
    return inputs, result


def _letters(equation: str, text: str, rank: int) -> list[str]:
    head, dotted, tail = text.partition("...")
    left = rank - len(head) - len(tail)
    if left < 0 or (left and not dotted):
        expected = f"rank {len(head) + len(tail)} for {text!r}"
        raise ShapeError(f"einsum {equation!r}", expected=expected, received=str(rank))
    names = [*head, *(str(n) for n in reversed(range(left))), *tail]
    if len(set(names)) != len(names):
        raise ArgumentError(f"einsum {equation!r}", expected="each letter once in an operand", received=repr(text))
    return names


def _sizes(equation: str, operands: tuple[Any, ...], inputs: list[list[str]]) -> dict[str, Dim]:
    """The size of each name; only the axes of "..." may have size 1 beside another one."""
    sizes: dict[str, Dim] = {}
    for x, names in zip(operands, inputs):
        for name, size in zip(names, current_emitter().type_of(x).shape):
            old = sizes.setdefault(name, size)
            if name.isdigit() and old == 1:
                sizes[name] = size
            elif old != size and not (name.isdigit() and size == 1):
                expected = f"one size of {name!r}"
                raise ShapeError(f"einsum {equation!r}", expected=expected, received=f"{old} and {size}")
    return sizes


def _fitted(x: Any, names: list[str], sizes: dict[str, Dim]) -> Any:
    return broadcast_to(x, tuple(sizes[name] for name in names))


def _summed(x: Any, names: list[str], kept: list[str]) -> tuple[Any, list[str]]:
    """`x` summed over the axes that are not `kept`, and the names of its axes then."""
    gone = [axis for axis, name in enumerate(names) if name not in kept]
    return (composites.sum(x, gone) if gone else x), [name for name in names if name in kept]


def _pair(a: Any, left: list[str], b: Any, right: list[str], kept: list[str]) -> tuple[Any, list[str]]:
    """The product of two tensors, summed over the names that are not kept, and the names of its axes."""
    a, left = _summed(a, left, [*right, *kept])
    b, right = _summed(b, right, [*left, *kept])
    meet = promote(current_emitter().type_of(a).dtype, current_emitter().type_of(b).dtype)
    a, b = composites.cast(a, meet), composites.cast(b, meet)
    shared = [name for name in left if name in right]
    batch, inner = [n for n in shared if n in kept], [n for n in shared if n not in kept]
    rows, columns = [n for n in left if n not in shared], [n for n in right if n not in shared]
    sizes = dict(zip((*left, *right), (*current_emitter().type_of(a).shape, *current_emitter().type_of(b).shape)))

    def matrices(x: Any, names: list[str], first: list[str], second: list[str]) -> Any:
        x = composites.transpose(x, [names.index(n) for n in (*batch, *first, *second)])
        groups = ([batch] if batch else []) + [first, second]
        return composites.reshape(x, [product(tuple(sizes[n] for n in group)) for group in groups])

    if inner:
        y = matrices(a, left, rows, inner) @ matrices(b, right, inner, columns)
    else:
        y = matrices(a, left, rows, []) * matrices(b, right, [], columns)
    names = [*batch, *rows, *columns]
    return composites.reshape(y, [sizes[n] for n in names]), names
