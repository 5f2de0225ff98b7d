"""Families of objects that users give by name, class, configuration or instance: initializers, regularizers ..."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kgraph.errors import ArgumentError, DTypeError
from kgraph.lazy_names import NamedThings
from kgraph.lookup import find
from kgraph.naming import snake_case
from kgraph.registration import custom_object_scope, get_registered_name, get_registered_object


class Family:
    """The classes of one kind, with the spellings under which each is found.

    Args:
        kind: one of its objects in words, such as "regularizer".
        classes: found by class name and by that name in snake case; classes, or their names in `package`.
        aliases: further spellings.
        module: in Keras' configurations; "keras." and the plural of `kind` if empty.
        package: where classes that are given by name come from, each when it is asked for.
    """

    def __init__(
        self,
        kind: str,
        classes: Iterable[type[Any] | str],
        aliases: Mapping[str, type[Any] | str] | None = None,
        module: str = "",
        package: str = "",
    ) -> None:
        self.kind = kind
        self.module = module or f"keras.{kind}s"
        members = {cls if isinstance(cls, str) else cls.__name__: cls for cls in classes}
        names = {**{snake_case(name): cls for name, cls in members.items()}, **(aliases or {}), **members}
        self.by_name = NamedThings(package, names)

    def get(self, identifier: Any, argument: str = "") -> Any:
        """The object that a name, class, configuration, instance or function means; None stays None.

        Args:
            identifier: what the user gave.
            argument: how messages call it; the kind if empty.
        """
        argument = argument or self.kind
        if isinstance(identifier, str):
            own = get_registered_object(identifier)
            if own is not None:
                return own() if isinstance(own, type) else own
            return find(argument, identifier, self.by_name)()
        if isinstance(identifier, dict):
            return self.deserialize(identifier)
        if isinstance(identifier, type):
            return identifier()
        if identifier is None or callable(identifier):
            return identifier
        raise DTypeError(argument, expected=f"a name, {self.kind} or function", received=repr(identifier))

    def serialize(self, member: Any) -> Any:
        """`member` as Keras writes it into a layer's configuration; functions as their name, None as None."""
        if member is None:
            return None
        if not hasattr(member, "get_config"):
            return get_registered_name(member)
        cls = type(member)
        own = self.by_name.get(cls.__name__) is cls
        return {
            "module": self.module if own else cls.__module__,
            "class_name": cls.__name__,
            "config": member.get_config(),
            "registered_name": None if own else get_registered_name(cls),
        }

    def deserialize(self, config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
        """The object that `serialize` described; a plain name works too.

        Args:
            config: of `serialize`.
            custom_objects: the user's own classes and functions by name, besides those that are registered.
        """
        with custom_object_scope(custom_objects):
            return self._made_of(config)

    def _made_of(self, config: Any) -> Any:
        if isinstance(config, str):
            return find(self.kind, config, self.by_name)()
        if not isinstance(config, Mapping) or not isinstance(config.get("class_name"), str):
            raise ArgumentError(f"{self.kind} configuration", expected="a class_name", received=repr(config))
        own = get_registered_object(config.get("registered_name")) or get_registered_object(config["class_name"])
        made: Any = own or find(self.kind, config["class_name"], self.by_name)
        return getattr(made, "from_config", lambda given: made(**given))(config.get("config") or {})
