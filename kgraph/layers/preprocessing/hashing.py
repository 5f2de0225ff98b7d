"""Hashing: words and numbers in a fixed number of bins."""

from __future__ import annotations

from typing import Any

import numpy as np

from kgraph.errors import ArgumentError
from kgraph.layers.arguments import unsupported, whole_number
from kgraph.layers.preprocessing.adapting import Array
from kgraph.layers.preprocessing.hash_functions import farmhash64, siphash64
from kgraph.layers.preprocessing.host import HostLayer, encode_ids
from kgraph.layers.spatial import one_of


class Hashing(HostLayer):
    """The bin of each word or whole number, by a hash function: no vocabulary is needed, and different ones may share.

    Args:
        num_bins: number of bins.
        mask_value: this one gets bin 0, and the others the bins behind it.
        salt: an int or two, the key of SipHash; None for FarmHash. The bins are those of Keras.
        output_mode: "int", or "one_hot", "multi_hot", "count" as in `CategoryEncoding`.
        sparse: only False.

    >>> Hashing(num_bins=3)([["A"], ["B"], ["C"], ["D"], ["E"]]).ravel().tolist()
    [1, 0, 1, 1, 2]
    """

    def __init__(
        self, num_bins: int, mask_value: Any = None, salt: Any = None, output_mode: str = "int", sparse: bool = False,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        unsupported(self.label, sparse=sparse or None)
        self.num_bins = whole_number(self.label, "num_bins", num_bins)
        self.mask_value = mask_value
        self.salt = key_of(self.label, salt)
        self.output_mode = one_of(self.label, "output_mode", output_mode, ("int", "one_hot", "multi_hot", "count"))

    def compute(self, inputs: Array) -> Array:
        """The bins, or their encoding."""
        masked = self.mask_value is not None and self.num_bins > 1
        bins = hashed(inputs, self.num_bins - masked, self.salt) + masked
        if self.mask_value is not None:
            bins = np.where(inputs == self.mask_value, 0, bins)
        return bins if self.output_mode == "int" else encode_ids(bins, self.output_mode, self.num_bins)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("num_bins", "mask_value", "salt", "output_mode")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def key_of(label: str, salt: Any) -> tuple[int, int] | None:
    """The argument `salt` as two ints; None for none."""
    if salt is None:
        return None
    pair = salt if isinstance(salt, (list, tuple)) else (salt, salt)
    if len(pair) != 2:
        raise ArgumentError(f"{label}: salt", expected="an int or two", received=repr(salt))
    first, second = (whole_number(label, "salt", part, -(2**63)) for part in pair)
    return first, second


def hashed(items: Array, bins: int, key: tuple[int, int] | None) -> Array:
    """The bin in 0..bins-1 of each string or whole number."""
    texts = [str(item).encode() for item in items.reshape(-1).tolist()]
    codes = [farmhash64(text) if key is None else siphash64(text, key) for text in texts]
    return np.array([code % bins for code in codes], "int64").reshape(items.shape)
