"""`record`: frozen dataclasses that take a quarter of the time to define.

`dataclass(frozen=True)` writes six methods for each class and compiles them, for half a millisecond in all: a fifth of
what a process spends that trains a small model from the cache on disk. Here `dataclass` finds the fields, so that
`replace`, `fields` and `asdict` work; of the methods only `__init__`, which must be fast, is written for each class,
when the first object is made or somebody asks for its signature.
"""

from __future__ import annotations

import dataclasses
import functools
import reprlib
from collections.abc import Callable
from operator import attrgetter
from typing import Any, NoReturn, TypeVar, dataclass_transform, overload

T = TypeVar("T")

_MISSING = dataclasses.MISSING


@overload
def record(cls: type[T], /) -> type[T]: ...


@overload
def record(*, eq: bool = True, kw_only: bool = False) -> Callable[[type[T]], type[T]]: ...


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def record(cls: type[Any] | None = None, /, *, eq: bool = True, kw_only: bool = False) -> Any:
    """Decorator: what `dataclass(frozen=True, ...)` makes of a class with these options.

    Fields may have defaults and default factories; no other option of `dataclasses.field` is known.

    >>> @record
    ... class Point:
    ...     x: int
    ...     y: int = 0
    >>> Point(1) == Point(1, 0), len({Point(1), Point(1)}), dataclasses.replace(Point(1), y=2)
    (True, 1, Point(x=1, y=2))
    >>> Point(1).x = 3
    Traceback (most recent call last):
    dataclasses.FrozenInstanceError: cannot assign to field 'x'
    """
    return functools.partial(_made, eq=eq, kw_only=kw_only) if cls is None else _made(cls, eq, kw_only)


def _made(cls: type[Any], eq: bool, kw_only: bool) -> Any:
    own = cls.__dict__
    made: Any = dataclasses.dataclass(init=False, repr=False, eq=False, kw_only=kw_only)(cls)
    fields = dataclasses.fields(made)
    made.__init__ = _first_init(made, fields)
    made.__signature__ = _Signature(made, fields)
    made.__setattr__, made.__delattr__ = _no_setattr, _no_delattr
    if "__repr__" not in own:
        made.__repr__ = _repr
    if eq:
        made.__eq__, made.__hash__ = _comparison([field.name for field in fields])
    return made


def _first_init(cls: type[Any], fields: tuple[dataclasses.Field[Any], ...]) -> Callable[..., None]:
    """Writes the `__init__` of the class when the first object is made: of many classes a process makes none."""

    def first(self: Any, *args: Any, **kwargs: Any) -> None:
        init: Callable[..., None] = _init(cls, fields)
        cls.__init__ = init
        init(self, *args, **kwargs)

    return first


class _Signature:
    """Where `inspect.signature` looks first: the class gets the `__init__` that it is to look at instead."""

    def __init__(self, cls: type[Any], fields: tuple[dataclasses.Field[Any], ...]) -> None:
        self.cls, self.fields = cls, fields

    def __get__(self, instance: object, owner: type[Any]) -> NoReturn:
        cls: Any = self.cls
        cls.__init__ = _init(cls, self.fields)
        raise AttributeError("__signature__")


def _init(cls: type[Any], fields: tuple[dataclasses.Field[Any], ...]) -> Callable[..., None]:
    known: dict[str, Any] = {"_put": object.__setattr__, "_MISSING": _MISSING}
    parameters, lines, by_name = ["self"], [], False
    for field in sorted(fields, key=lambda field: bool(field.kw_only)):
        name, default, factory = field.name, field.default, field.default_factory
        value = name
        if field.kw_only and not by_name:
            parameters.append("*")
            by_name = True
        if factory is not _MISSING:
            known[f"_new_{name}"] = factory
            value = f"_new_{name}() if {name} is _MISSING else {name}"
        if default is not _MISSING or factory is not _MISSING:
            known[f"_{name}"] = default
            parameters.append(f"{name}=_{name}")
        else:
            parameters.append(name)
        lines.append(f" _put(self, {name!r}, {value})")
    if hasattr(cls, "__post_init__"):
        lines.append(" self.__post_init__()")
    exec(f"def __init__({', '.join(parameters)}):\n" + "\n".join(lines or [" pass"]), known)
    init: Callable[..., None] = known["__init__"]
    init.__qualname__, init.__module__ = f"{cls.__qualname__}.__init__", cls.__module__
    init.__annotations__ = {field.name: field.type for field in fields} | {"return": None}
    return init


def _comparison(names: list[str]) -> tuple[Callable[[Any, object], bool], Callable[[Any], int]]:
    """`__eq__` and `__hash__` of records of one class, by their fields."""
    fields: Callable[[Any], object] = attrgetter(*names) if names else lambda _: ()

    def equal(self: Any, other: object) -> bool:
        return fields(self) == fields(other) if other.__class__ is self.__class__ else NotImplemented

    def hashed(self: Any) -> int:
        return hash(fields(self))

    return equal, hashed


@reprlib.recursive_repr()
def _repr(self: Any) -> str:
    shown = ", ".join(f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self))
    return f"{type(self).__qualname__}({shown})"


def _no_setattr(self: object, name: str, value: object) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _no_delattr(self: object, name: str) -> NoReturn:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
