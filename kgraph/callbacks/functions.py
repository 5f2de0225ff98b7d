"""LambdaCallback: hooks given as functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kgraph.callbacks.callback import Callback
from kgraph.errors import ArgumentError
from kgraph.lookup import did_you_mean

HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))


class LambdaCallback(Callback):
    """A callback made of functions.

    Args:
        hooks: functions by the names of the hooks of `Callback`, with the same arguments, such as
            ``on_epoch_end(epoch, logs)``, ``on_train_batch_end(batch, logs)`` or ``on_train_end(logs)``; None for none.

    >>> first = LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs["loss"]))
    >>> first.on_epoch_end(0, {"loss": 0.5})
    0 0.5
    """

    def __init__(self, **hooks: Callable[..., Any] | None) -> None:
        super().__init__()
        for name, function in hooks.items():
            if name not in HOOKS:
                raise ArgumentError(f"LambdaCallback: no hook {name!r}", fix=did_you_mean(name, HOOKS))
            if function is not None:
                setattr(self, name, function)
