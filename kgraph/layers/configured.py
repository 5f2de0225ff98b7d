"""What a layer was made with, as plain data: the base of `get_config`, `from_config` and their likes for `build`."""

from __future__ import annotations

import inspect
from typing import Any, Self

from kgraph.errors import ArgumentError
from kgraph.keras_tensor import Operation
from kgraph.serialization import from_data, serialize_keras_object, without_neutral


class _Call:
    """Arguments of one call. An object of its own: lists and dicts in attributes are searched for layers."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.args, self.kwargs = args, kwargs


class Configured(Operation):
    """Records the arguments of constructor and `build`, so that a class of the user's own needs no `get_config`."""

    _made_by: _Call
    _built_by: _Call | None = None

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        made = super().__new__(cls)
        made.__dict__["_made_by"] = _Call(args, kwargs)
        return made

    def built_with(self, *args: Any, **kwargs: Any) -> None:
        """Record what `build` was told."""
        self.__dict__["_built_by"] = _Call(args, kwargs)

    def basic_config(self) -> dict[str, Any]:
        """The arguments that every layer takes."""
        raise NotImplementedError

    def has_own_config(self) -> bool:
        """Whether the class, or one between it and the base, defines `get_config`."""
        return type(self).get_config is not Configured.get_config

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as plain data but for functions.

        A class whose constructor has other arguments than plain data, or changes them, defines its own and adds to
        ``super().get_config()``; without one the arguments that were given are the configuration.
        """
        basic = self.basic_config()
        if self.has_own_config():
            return basic
        signature = inspect.signature(type(self).__init__)
        takes_all = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
        given = dict(signature.bind(self, *self._made_by.args, **self._made_by.kwargs).arguments)
        given.pop(next(iter(signature.parameters)))
        for parameter in signature.parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                given |= given.pop(parameter.name, {})
        config = {key: value for key, value in basic.items() if takes_all or key in signature.parameters}
        return config | {key: _plain(value) for key, value in given.items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """A new layer with these constructor arguments.

        Raises:
            ArgumentError: an argument that the constructor does not take.
        """
        arguments = {key: from_data(value) for key, value in without_neutral(config).items()}
        try:
            inspect.signature(cls).bind(**arguments)
        except TypeError as error:
            name = f" '{config['name']}'" if "name" in config else ""
            raise ArgumentError(f"configuration of {cls.__name__}{name}: {error}") from None
        return cls(**arguments)

    def build(self, *args: Any, **kwargs: Any) -> None:
        """Make the weights; layers define it."""

    def get_build_config(self) -> dict[str, Any] | None:
        """The shapes that `build` was told; None before."""
        if self._built_by is None:
            return None
        (*shapes,), named = self._built_by.args, self._built_by.kwargs
        return {"input_shape": shapes[0]} if shapes else {"shapes_dict": dict(named)} if named else None

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Make the weights for shapes that `get_build_config` gave."""
        if config.get("input_shape") is not None:
            self.build(_as_tuples(config["input_shape"]))
        elif config.get("shapes_dict"):
            self.build(**{name: _as_tuples(shape) for name, shape in config["shapes_dict"].items()})


def _plain(value: Any) -> Any:
    """Objects with a configuration as data; the rest as it is."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(part) for part in value)
    return serialize_keras_object(value) if hasattr(value, "get_config") and not isinstance(value, type) else value


def _as_tuples(shape: Any) -> Any:
    """A shape that was a list in a file as a tuple; in lists of shapes, each of them."""
    if isinstance(shape, dict):
        return {key: _as_tuples(part) for key, part in shape.items()}
    if isinstance(shape, (list, tuple)):
        sizes = all(size is None or isinstance(size, int) for size in shape)
        return tuple(shape) if sizes else [_as_tuples(part) for part in shape]
    return shape
