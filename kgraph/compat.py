"""Scripts written for Keras: inside this process `keras` and `tensorflow.keras` can mean kgraph."""

from __future__ import annotations

import importlib
import runpy
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from kgraph.errors import ArgumentError, StateError
from kgraph.gradient_tape import GradientTape
from kgraph.lookup import did_you_mean

# Names that scripts compare with: the version of Keras whose interface this is.
VERSION = "3.15.1"

# Packages that are lent, the longest names first; and those that only lead to them.
_ROOTS = ("tensorflow.python.keras", "tensorflow.keras", "tf_keras", "keras")
_PLAIN = ("tensorflow", "tensorflow.python")

# What training steps written for TensorFlow use of it.
_OF_TENSORFLOW = {"GradientTape": GradientTape}

# Modules of older Keras and the one of today that has their names.
_LAYERS = (
    "advanced_activations", "convolutional", "convolutional_recurrent", "core", "embeddings", "local", "merge", "noise",
    "normalization", "pooling", "recurrent", "wrappers", "experimental", "experimental.preprocessing", "preprocessing",
)  # fmt: skip
MOVED = {f"layers.{old}": "layers" for old in _LAYERS} | {
    "engine": "layers", "engine.base_layer": "layers", "engine.input_layer": "layers", "engine.topology": "layers",
    "engine.training": "models", "engine.sequential": "models", "engine.functional": "models",
    "utils.np_utils": "utils", "utils.generic_utils": "utils", "callbacks.callbacks": "callbacks",
    "optimizers.legacy": "optimizers",
}  # fmt: skip


def install() -> None:
    """Let `import keras`, `from keras.layers import ...` and `import tensorflow as tf; tf.keras...` mean kgraph.

    For this process, until `uninstall`; nothing is changed on disk.
    Of TensorFlow only `tensorflow.keras` and `GradientTape` are there.

    Raises:
        StateError: another package of these names was imported before.

    >>> install()
    >>> from keras.layers import Dense
    >>> from keras.layers.core import Dropout
    >>> Dense.__module__
    'kgraph.layers.core'
    >>> uninstall()
    """
    for name in ("keras", "tensorflow", "tf_keras"):
        known = sys.modules.get(name)
        if known is not None and not isinstance(known, _Lent):
            what = f"kgraph.compat.install: {name} was imported already, from {getattr(known, '__file__', 'elsewhere')}"
            raise StateError(what, fix="Call it first")
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def uninstall() -> None:
    """Take back what `install` did; modules that scripts hold go on working."""
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)
    for name in [name for name, module in sys.modules.items() if isinstance(module, _Lent)]:
        del sys.modules[name]


def find_script(path: str) -> Path:
    """The script at `path`; ArgumentError if there is none."""
    script = Path(path)
    if script.is_file():
        return script
    hint = did_you_mean(script.name, [p.name for p in script.parent.glob("*.py")] or [""])
    raise ArgumentError(f"kgraph run: no file {path!r}", fix=hint if hint.startswith("Did") else "")


def run_script(script: Path, arguments: Sequence[str] = ()) -> None:
    """Run a Python script as `python script arguments...` would, with kgraph in the place of Keras."""
    install()
    before = sys.argv, sys.path[:]
    sys.argv, sys.path[:1] = [str(script), *arguments], [str(script.resolve().parent)]
    try:
        runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv, sys.path[:] = before
        uninstall()


class _Lent(ModuleType):
    """A module under another name: its names are those of a module of kgraph."""

    def __init__(self, name: str, target: ModuleType | None) -> None:
        super().__init__(name, target.__doc__ if target else f"What kgraph has of {name}.")
        self.__dict__["_target"] = target
        if target is not None:
            self.__dict__["__version__"] = VERSION
            self.__dict__["__all__"] = list(getattr(target, "__all__", ()))

    def __getattr__(self, name: str) -> Any:
        target: ModuleType | None = self.__dict__["_target"]
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        if target is not None and (name in self.__all__ or hasattr(target, name)):
            value = getattr(target, name)
            return importlib.import_module(f"{self.__name__}.{name}") if isinstance(value, ModuleType) else value
        if self.__name__ == "tensorflow" and name in _OF_TENSORFLOW:
            return _OF_TENSORFLOW[name]
        if _target_path(f"{self.__name__}.{name}") is not None or f"{self.__name__}.{name}" in _PLAIN:
            return importlib.import_module(f"{self.__name__}.{name}")
        raise AttributeError(f"kgraph has no {self.__name__}.{name}{_suggestion(name, target)}")

    def __dir__(self) -> list[str]:
        target: ModuleType | None = self.__dict__["_target"]
        return sorted({*self.__dict__, *(dir(target) if target is not None else ())})


def _suggestion(name: str, target: ModuleType | None) -> str:
    hint = did_you_mean(name, getattr(target, "__all__", ())) if target is not None else "Known:"
    if hint.startswith("Did"):
        return f". {hint}"
    return "" if target is not None else ": of TensorFlow only keras and GradientTape are there. Use kgraph.ops"


def _target_path(name: str) -> str | None:
    """The module of kgraph that a module of Keras stands for; None for a module that kgraph has not got."""
    root = next((root for root in _ROOTS if name == root or name.startswith(f"{root}.")), None)
    if root is None:
        return None
    path = name[len(root) + 1 :]
    found = f"kgraph.{MOVED.get(path, path)}".rstrip(".")
    try:
        importlib.import_module(found)
    except ModuleNotFoundError as error:
        if error.name is None or not found.startswith(error.name):
            raise
        return None
    return found


class _Finder(MetaPathFinder, Loader):
    """Finds the lent modules."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """A specification for modules of the lent packages."""
        if fullname.partition(".")[0] not in {root.partition(".")[0] for root in _ROOTS}:
            return None
        if fullname not in _PLAIN and _target_path(fullname) is None:
            raise ModuleNotFoundError(f"kgraph has no module {fullname}", name=fullname)
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module, without running anything."""
        path = _target_path(spec.name)
        return _Lent(spec.name, None if path is None else importlib.import_module(path))

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to do."""


_finder = _Finder()
