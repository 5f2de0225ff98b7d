"""Objects as plain data in the form that Keras 3 writes, and back. Data are never executed."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

import kgraph.activations as activations
from kgraph.constraints import FAMILY as CONSTRAINTS
from kgraph.errors import ArgumentError, DTypeError, GraphError
from kgraph.initializers import FAMILY as INITIALIZERS
from kgraph.keras_tensor import Operation
from kgraph.lazy_names import load_all
from kgraph.lookup import did_you_mean
from kgraph.registration import custom_object_scope, get_registered_name, get_registered_object
from kgraph.regularizers import FAMILY as REGULARIZERS

_PACKAGE = __name__.partition(".")[0]
_FAMILIES = {family.module: family for family in (CONSTRAINTS, INITIALIZERS, REGULARIZERS)}

# Entries of Keras' configurations that mean nothing here as long as they have this value.
NEUTRAL = {
    "quantization_config": None, "sparse": False, "ragged": False, "optional": False, "input_axes": None,
    "output_axes": None, "batch_input_shape": None,
}  # fmt: skip


def serialize_keras_object(value: Any) -> Any:
    """A layer, model, initializer, function, array, number, or a nesting of those, as JSON can hold it.

    Raises:
        DTypeError: a value that has no such form.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {key: serialize_keras_object(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [serialize_keras_object(part) for part in value]
    if isinstance(value, np.ndarray):
        return _entry("__numpy__", {"value": value.tolist(), "dtype": value.dtype.name})
    if isinstance(value, slice):
        return _entry("__slice__", {"start": value.start, "stop": value.stop, "step": value.step})
    if value is Ellipsis:
        return _entry("__ellipsis__", {})
    if isinstance(value, types.FunctionType) and value.__name__ == "<lambda>":
        return _entry("__lambda__", {"value": None})
    if hasattr(value, "get_config") and not isinstance(value, type):
        return _serialized_object(value)
    if callable(value):
        return activations.serialize(value)
    raise DTypeError("serialize", expected="an object with get_config", received=f"{value!r:.60}")


def _entry(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"class_name": kind, "config": config}


def _serialized_object(value: Any) -> dict[str, Any]:
    cls = type(value)
    package, _, inside = cls.__module__.partition(".")
    if package == _PACKAGE:
        module, name, registered = f"keras.{inside.partition('.')[0]}", cls.__name__, None
    else:
        module, name, registered = cls.__module__, cls.__name__, get_registered_name(cls)
    if isinstance(value, Operation):
        module, name, registered = value.keras_name() or (module, name, registered)
    entry = {
        "module": module,
        "class_name": name,
        "config": serialize_keras_object(value.get_config()),
        "registered_name": registered,
    }
    build = value.get_build_config() if isinstance(value, Operation) else None
    return entry if build is None else {**entry, "build_config": serialize_keras_object(build)}


def deserialize_keras_object(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """What `serialize_keras_object`, or Keras, described.

    Args:
        config: plain data. Anything that is no description is given back as it is.
        custom_objects: the user's own classes and functions by name.

    Raises:
        ArgumentError: a class that is not known, or arguments that its constructor does not take.
        GraphError: code in the data; it is not run.
    """
    with custom_object_scope(custom_objects):
        made = from_data(config)
        build = config.get("build_config") if isinstance(config, dict) else None
        if build and hasattr(made, "build_from_config") and not made.built:
            made.build_from_config(build)
        return made


def from_data(config: Any) -> Any:
    """The same without building layers: for what stands inside other layers and models, which build them."""
    if isinstance(config, list):
        return [from_data(part) for part in config]
    if not isinstance(config, dict):
        return config
    if not isinstance(config.get("class_name"), str) or "config" not in config:
        return {key: from_data(part) for key, part in config.items()}
    name, inner = config["class_name"], config["config"]
    if name == "__lambda__":
        fix = "Give the function: custom_objects={'<name of the layer>': function}"
        raise GraphError("Python code in a configuration is never run", fix=fix)
    if name.startswith("__"):
        return _plain(name, inner)
    if name == "function":
        return activations.get(config)
    if name == "DTypePolicy":
        return inner["name"]
    return _made(config, name, inner)


def _plain(name: str, inner: dict[str, Any]) -> Any:
    match name:
        case "__slice__":
            return slice(inner["start"], inner["stop"], inner["step"])
        case "__ellipsis__":
            return Ellipsis
        case "__numpy__" | "__tensor__":
            return np.asarray(inner["value"], inner["dtype"])
        case "__tuple__":
            return tuple(from_data(part) for part in inner)
    raise ArgumentError(f"configuration: class_name {name!r} is not known")


def _made(config: dict[str, Any], name: str, inner: Any) -> Any:
    registered = config.get("registered_name")
    cls = get_registered_object(registered) or get_registered_object(name)
    if cls is None and config.get("module") in _FAMILIES:
        return _FAMILIES[config["module"]].deserialize({**config, "config": without_neutral(inner)})
    known = _known_operations()
    if cls is None and name not in known:
        load_all(f"{_PACKAGE}.layers")
        known = _known_operations()
    if cls is None and name in known and (config.get("module") or "keras").partition(".")[0] in ("keras", _PACKAGE):
        cls = known[name]
    if cls is None:
        place = f"'{inner['name']}' ({registered or name})" if "name" in (inner or {}) else f"{registered or name}"
        near = did_you_mean(name, known) if registered is None else ""
        fix = near if near.startswith("Did") else f"Pass custom_objects={{'{name}': {name}}}"
        raise ArgumentError(f"layer {place} is not registered", fix=fix)
    if not hasattr(cls, "from_config"):
        return cls(**(inner or {}))
    return cls.from_config(inner)


def _known_operations() -> dict[str, type[Operation]]:
    """The layers and models that are loaded, by name."""
    return {
        found: below
        for below in _subclasses(Operation)
        for found in (below.__name__, *below.__dict__.get("other_names", ()))
    }


def _subclasses(cls: type[Operation]) -> Iterator[type[Operation]]:
    """The public classes of the package below `cls`; users' own ones are registered or given."""
    for below in cls.__subclasses__():
        if below.__module__.partition(".")[0] == _PACKAGE:
            yield below
        yield from _subclasses(below)


def without_neutral(config: dict[str, Any] | None) -> dict[str, Any]:
    """The entries of a configuration but those that mean nothing here."""
    return {k: v for k, v in (config or {}).items() if k not in NEUTRAL or v != NEUTRAL[k]}
