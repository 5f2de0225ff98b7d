"""Nested lists, tuples and dicts of tensors: flatten them, map over them, pack them again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any


def flatten(structure: Any) -> list[Any]:
    """The leaves, depth first; the values of a dict in the order of its sorted keys.

    >>> flatten({"b": [1, 2], "a": (3,)})
    [3, 1, 2]
    """
    if isinstance(structure, dict):
        return [leaf for key in sorted(structure) for leaf in flatten(structure[key])]
    if isinstance(structure, (list, tuple)):
        return [leaf for part in structure for leaf in flatten(part)]
    return [structure]


def map_structure(function: Callable[[Any], Any], structure: Any) -> Any:
    """The same nesting with `function` applied to every leaf, in the order of `flatten`.

    >>> map_structure(str, [1, {"a": 2}])
    ['1', {'a': '2'}]
    """
    if isinstance(structure, dict):
        done = {key: map_structure(function, structure[key]) for key in sorted(structure)}
        return {key: done[key] for key in structure}
    if isinstance(structure, (list, tuple)):
        parts = [map_structure(function, part) for part in structure]
        return parts if isinstance(structure, list) else tuple(parts)
    return function(structure)


def pack(structure: Any, leaves: Sequence[Any]) -> Any:
    """The nesting of `structure` with other leaves.

    >>> pack({"b": 0, "a": [0, 0]}, [1, 2, 3])
    {'b': 3, 'a': [1, 2]}
    """
    if not isinstance(structure, (dict, list, tuple)):
        return leaves[0]
    remaining: Iterator[Any] = iter(leaves)
    return map_structure(lambda _: next(remaining), structure)


def parts_like(structure: Any, data: Any) -> list[Any] | None:
    """What `data` has where `structure` has its leaves, in the order of `flatten`; None if the nestings differ.

    >>> parts_like({"a": 0, "b": [0]}, {"b": [[1, 2]], "a": "x"})
    ['x', [1, 2]]
    """
    if isinstance(structure, dict):
        if not isinstance(data, dict) or set(structure) != set(data):
            return None
        pairs = [(structure[key], data[key]) for key in sorted(structure)]
    elif isinstance(structure, (list, tuple)):
        if not isinstance(data, (list, tuple)) or len(structure) != len(data):
            return None
        pairs = list(zip(structure, data))
    else:
        return [data]
    found = [parts_like(inner, part) for inner, part in pairs]
    known = [part for part in found if part is not None]
    return [leaf for part in known for leaf in part] if len(known) == len(found) else None


def is_nested(structure: Any) -> bool:
    """Whether there are lists, tuples or dicts inside the outermost one.

    >>> is_nested([0, 0]), is_nested([0, [0]])
    (False, True)
    """
    inside = structure.values() if isinstance(structure, dict) else structure
    return isinstance(structure, (dict, list, tuple)) and any(isinstance(part, (dict, list, tuple)) for part in inside)
