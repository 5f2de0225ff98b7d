"""Names of packages for texts that are evaluated."""

from __future__ import annotations

from types import ModuleType
from typing import Any


def names_of(module: ModuleType) -> dict[str, Any]:
    """All that a module or package has, also what it loads when it is used first."""
    return {name: getattr(module, name) for name in dir(module) if not name.startswith("_")}
