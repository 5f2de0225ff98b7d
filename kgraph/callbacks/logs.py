"""The values that hooks are given: a dict which also knows the names of older Keras."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kgraph.lookup import did_you_mean

OLD_NAMES = {"acc": "accuracy", "lr": "learning_rate"}
_TWINS = {**OLD_NAMES, **{new: old for old, new in OLD_NAMES.items()}}


def hint_for(name: str, known: Iterable[str]) -> str:
    """How to mend a name that the logs do not have.

    >>> hint_for("val_loss", ["loss"]), hint_for("los", ["loss"])
    ('Give fit validation_data or validation_split', "Did you mean 'loss'?")
    """
    without = name.removeprefix("val_")
    if without != name and known_name(without, known) is not None:
        return "Give fit validation_data or validation_split"
    return did_you_mean(name, list(known))


def known_name(name: str, known: Iterable[str]) -> str | None:
    """`name` if it is known, else its other spelling if that is; "val_" and names of outputs may stand before it.

    >>> known_name("val_acc", ["loss", "val_accuracy"])
    'val_accuracy'
    """
    names = set(known)
    if name in names:
        return name
    for old, new in _TWINS.items():
        stem = name.removesuffix(old)
        if stem != name and (not stem or stem.endswith("_")) and stem + new in names:
            return stem + new
    return None


class LogValues(dict[str, Any]):
    """Values by name. "acc" finds "accuracy", "lr" finds "learning_rate", and the other way round.

    Iteration gives the true names only, so that nothing is shown or written twice.

    >>> logs = LogValues(loss=0.5, val_accuracy=0.75)
    >>> logs["val_acc"], "val_acc" in logs, list(logs)
    (0.75, True, ['loss', 'val_accuracy'])
    """

    def __missing__(self, name: str) -> Any:
        found = known_name(name, self)
        if found is None:
            raise KeyError(name)
        return self[found]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and known_name(name, self) is not None

    def get(self, name: str, default: Any = None) -> Any:
        """The value of `name`, or `default` if there is none under either spelling."""
        found = known_name(name, self)
        return default if found is None else self[found]
