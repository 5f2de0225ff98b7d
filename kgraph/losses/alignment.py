"""The loss of labels that are not aligned with the steps of a sequence."""

from __future__ import annotations

from typing import Any

from kgraph.eager import anywhere
from kgraph.ir.dtypes import i32
from kgraph.ir.opdef import current_emitter
from kgraph.ir.operators import cast
from kgraph.losses.base import LossFunctionWrapper
from kgraph.ops.ctc import ctc_loss
from kgraph.primitives import composites


@anywhere
def ctc(y_true: Any, y_pred: Any) -> Any:
    """`kgraph.ops.ctc_loss` of labels ``(batch, labels)``, where 0 means none, and logits ``(batch, steps, classes)``.

    All steps of `y_pred` count.
    """
    emitter = current_emitter()
    labels, (batch, steps, _) = cast(y_true, i32), emitter.type_of(y_pred).shape
    none = composites.full(emitter.type_of(labels).shape, 0, i32)
    given = composites.sum(cast(emitter.emit("ne", labels, none), i32), -1)
    whole = emitter.emit("broadcast", composites.size(steps, i32), shape=(batch,), axes=())
    return ctc_loss(labels, y_pred, given, whole)


class CTC(LossFunctionWrapper):
    """Connectionist temporal classification; see `ctc`."""

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = "ctc", dtype: Any = None
    ) -> None:
        super().__init__(ctc, reduction, name, dtype)
