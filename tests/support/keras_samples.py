"""Code samples of Keras articles, as printed there, and a way to run them with kgraph in the place of Keras."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def kgraph_as_keras() -> Iterator[None]:
    """Inside the block `import keras` and its submodules give kgraph."""
    importlib.import_module("kgraph")
    modules = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "kgraph"}
    aliases = {"keras" + name.removeprefix("kgraph"): module for name, module in modules.items()}
    before = {name: sys.modules.get(name) for name in aliases}
    sys.modules.update(aliases)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def run(code: str, **names: Any) -> dict[str, Any]:
    """The names that `code` defines, where `names` are known and Keras is kgraph."""
    scope: dict[str, Any] = {"__name__": "sample", **names}
    with kgraph_as_keras():
        exec(compile(code, "sample.py", "exec"), scope)
    return scope
