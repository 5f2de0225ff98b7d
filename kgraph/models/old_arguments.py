"""Arguments that Keras 2 had and Keras 3 has not: those that would change nothing here are accepted."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

from kgraph.data import warn_user
from kgraph.errors import ArgumentError, DTypeError
from kgraph.lookup import did_you_mean

_OF_STREAMS = ("workers", "use_multiprocessing", "max_queue_size")
# What each method accepts, and the value that an argument must have if another would change something.
_ACCEPTED: dict[str, dict[str, tuple[Any, ...]]] = {
    **{call: dict.fromkeys(_OF_STREAMS, ()) for call in ("fit", "evaluate", "predict")},
    **{call: {"reset_metrics": (True,)} for call in ("train_on_batch", "test_on_batch")},
    "compile": {"sample_weight_mode": (), "target_tensors": (None,), "experimental_run_tf_function": ()},
}
_WHY = {
    **dict.fromkeys(_OF_STREAMS, "a PyDataset has its own workers"),
    "sample_weight_mode": "the shape of sample_weight says whether steps are weighed",
}


def check_old(method: Any, given: Mapping[str, Any]) -> None:
    """Warn of old arguments that are not used.

    Args:
        method: what was called.
        given: its arguments that Keras 3 does not know.

    Raises:
        DTypeError: an argument that no Keras knows.
        ArgumentError: a value of an old one that cannot be followed.
    """
    call = method.__name__
    for name, value in given.items():
        accepted = _ACCEPTED[call]
        if name not in accepted:
            known = [known for known in signature(method).parameters if known not in ("self", "old")]
            raise DTypeError(f"{call}: unknown argument {name!r}", fix=did_you_mean(name, known))
        if accepted[name] and value not in accepted[name]:
            raise ArgumentError(f"{call}({name})", expected=repr(accepted[name][0]), received=repr(value))
    ignored = [name for name in given if name in _WHY]
    if ignored:
        warn_user(f"{call}({', '.join(ignored)}): not used; {_WHY[ignored[0]]}")
