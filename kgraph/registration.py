"""Names under which the user's own classes and functions are found when a configuration is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from kgraph.errors import ArgumentError

T = TypeVar("T")

_registered: dict[str, Any] = {}
_scope: ContextVar[Mapping[str, Any] | None] = ContextVar("kgraph_custom_objects", default=None)


def register_keras_serializable(package: str = "Custom", name: str | None = None) -> Callable[[T], T]:
    """Decorator: make a class or function known under ``package>name``.

    Args:
        package: keeps names of different projects apart.
        name: the object's own name if None.

    >>> @register_keras_serializable("demo")
    ... def cube(x):
    ...     return x**3
    >>> get_registered_name(cube), get_registered_object("demo>cube") is cube
    ('demo>cube', True)
    """

    def register(target: T) -> T:
        if isinstance(target, type) and not hasattr(target, "get_config"):
            fix = "Define get_config, which gives the constructor's arguments"
            raise ArgumentError(f"register_keras_serializable: class {target.__name__} has no get_config", fix=fix)
        _registered[f"{package}>{name or getattr(target, '__name__', '')}"] = target
        return target

    return register


def get_custom_objects() -> dict[str, Any]:
    """The registered objects by name; entries added here are found, too."""
    return _registered


@contextmanager
def custom_object_scope(custom_objects: Mapping[str, Any] | None) -> Iterator[None]:
    """Inside a `with` block these objects are found by name, before registered ones.

    >>> with custom_object_scope({"cube": lambda x: x**3}):
    ...     get_registered_object("cube")(2)
    8
    """
    token = _scope.set({**(_scope.get() or {}), **(custom_objects or {})})
    try:
        yield
    finally:
        _scope.reset(token)


def get_registered_name(target: Any) -> str:
    """The name under which `target` was registered; its own name if it was not."""
    for name, known in _registered.items():
        if known is target:
            return name
    return str(getattr(target, "__name__", type(target).__name__))


def get_registered_object(
    name: Any, custom_objects: Mapping[str, Any] | None = None, module_objects: Mapping[str, Any] | None = None
) -> Any:
    """What is known as `name`: in the scope, among `custom_objects`, registered, or in `module_objects`; else None."""
    for known in (_scope.get(), custom_objects, _registered, module_objects):
        if known is not None and name in known:
            return known[name]
    return None
