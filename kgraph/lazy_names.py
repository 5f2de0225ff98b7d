"""Names of a package that are loaded when they are used first, so that a program pays for what it uses.

A package lists them twice: as imports under `TYPE_CHECKING`, for readers and type checkers, and as a table for
`lazily`; a test compares both.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_PACKAGES: dict[str, dict[str, tuple[str, str]]] = {}


def lazily(
    package: str, homes: Mapping[str, str], modules: tuple[str, ...] = ()
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package (PEP 562).

    No module of the package may bear one of these names: importing it would put the module in the place of the name.

    Args:
        package: its `__name__`.
        homes: names by the module that they come from, separated by spaces; `new=old` for what is called `old` there.
        modules: those of the package that are public themselves.
    """
    places = {
        name: (module, old or name)
        for module, names in homes.items()
        for name, _, old in (entry.partition("=") for entry in names.split())
    }
    _PACKAGES[package] = places

    def load(name: str) -> object:
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, old = places[name]
        value: object = getattr(importlib.import_module(module), old)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *places, *modules})

    return load, names


def load_all(package: str) -> None:
    """Load everything that a package has, if the package itself is loaded."""
    for module in dict.fromkeys(module for module, _ in _PACKAGES.get(package, {}).values()):
        importlib.import_module(module)


class NamedThings(Mapping[str, Any]):
    """Things of a package by further names; each is loaded when it is asked for.

    Args:
        package: `__name__` of the package.
        names: what each is called there, by the name that it has here. What is no text is the thing itself.
    """

    def __init__(self, package: str, names: Mapping[str, Any]) -> None:
        self._package = package
        self._names = dict(names)

    def __getitem__(self, name: str) -> Any:
        found = self._names[name]
        return getattr(importlib.import_module(self._package), found) if isinstance(found, str) else found

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
