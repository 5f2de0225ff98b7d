"""The user's data: whole arrays, checked and converted once; and streams, which give batch after batch."""

from kgraph.data.arrays import (
    as_array,
    canonical,
    check_batch_size,
    check_labels,
    check_rows,
    check_shares,
    is_prepared,
    named_arrays,
    prepare,
    quickly_prepared,
    split_at,
    surely_finite,
    target_type,
    warn_not_finite,
    warn_user,
)
from kgraph.data.py_dataset import PyDataset
from kgraph.data.streams import BatchSource, is_stream, unpack

__all__ = [
    "BatchSource",
    "PyDataset",
    "as_array",
    "canonical",
    "check_batch_size",
    "check_labels",
    "check_rows",
    "check_shares",
    "is_prepared",
    "is_stream",
    "named_arrays",
    "prepare",
    "quickly_prepared",
    "split_at",
    "surely_finite",
    "target_type",
    "unpack",
    "warn_not_finite",
    "warn_user",
]
