"""Families of objects that users give by name, class, configuration or instance: initializers, regularizers ..."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kgraph.errors import ArgumentError, DTypeError
from kgraph.lookup import find
from kgraph.naming import snake_case


class Family:
    """The classes of one kind, with the spellings under which each is found.

    Args:
        kind: one of its objects in words, such as "regularizer".
        classes: found by class name and by that name in snake case.
        aliases: further spellings.
        module: in Keras' configurations; "keras." and the plural of `kind` if empty.
    """

    def __init__(
        self,
        kind: str,
        classes: Iterable[type[Any]],
        aliases: Mapping[str, type[Any]] | None = None,
        module: str = "",
    ) -> None:
        self.kind = kind
        self.module = module or f"keras.{kind}s"
        members = list(classes)
        self.by_name: dict[str, Any] = {
            **{snake_case(cls.__name__): cls for cls in members},
            **(aliases or {}),
            **{cls.__name__: cls for cls in members},
        }

    def get(self, identifier: Any, argument: str = "") -> Any:
        """The object that a name, class, configuration, instance or function means; None stays None.

        Args:
            identifier: what the user gave.
            argument: how messages call it; the kind if empty.
        """
        argument = argument or self.kind
        if isinstance(identifier, str):
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
            return getattr(member, "__name__", type(member).__name__)
        return {
            "module": self.module,
            "class_name": type(member).__name__,
            "config": member.get_config(),
            "registered_name": None,
        }

    def deserialize(self, config: Any) -> Any:
        """The object that `serialize` described; a plain name works too."""
        if isinstance(config, str):
            return find(self.kind, config, self.by_name)()
        if not isinstance(config.get("class_name"), str):
            raise ArgumentError(f"{self.kind} configuration", expected="a class_name", received=repr(config))
        return find(self.kind, config["class_name"], self.by_name).from_config(config.get("config") or {})
