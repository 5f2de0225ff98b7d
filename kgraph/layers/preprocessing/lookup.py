"""Words and numbers as ids of a vocabulary: StringLookup and IntegerLookup."""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Any

import numpy as np

from kgraph.config import floatx
from kgraph.errors import ArgumentError, DataError, StateError
from kgraph.layers.arguments import unsupported, whole_number
from kgraph.layers.preprocessing.adapting import Array, batches_of
from kgraph.layers.preprocessing.hashing import hashed, key_of
from kgraph.layers.preprocessing.host import HostLayer, as_items, encode_ids
from kgraph.layers.spatial import one_of

MODES = ("int", "one_hot", "multi_hot", "count", "tf_idf")


class Lookup(HostLayer):
    """The id of each word or number in a vocabulary.

    Args:
        max_tokens: size of the vocabulary at most, with the special ids; None for no limit.
        num_oov_indices: ids for what the vocabulary does not have; 0 makes that an error, several are given by a hash.
        mask_token: has id 0, or is left out where the output is encoded; None for none.
        oov_token: stands for unknown ones in `get_vocabulary` and in inverse lookups.
        vocabulary: the words or numbers, or the path of a file with one in each line; None to call `adapt`.
        idf_weights: for "tf_idf": a weight for each of the vocabulary.
        invert: take ids and give words or numbers.
        output_mode: "int" for ids; "one_hot", "multi_hot", "count" as in `CategoryEncoding`; "tf_idf" for counts times
            weights.
        pad_to_max_tokens: encode as vectors of `max_tokens` numbers.
        sparse: only False.
        salt: an int or two: the key of the hash for several unknown ids.

    Ids: the mask (if the output is "int"), the unknown ones, then the vocabulary; `adapt` puts frequent ones first.
    """

    kind = "words"

    def __init__(
        self, max_tokens: int | None = None, num_oov_indices: int = 1, mask_token: Any = None, oov_token: Any = None,
        vocabulary: Any = None, idf_weights: Any = None, invert: bool = False, output_mode: str = "int",
        pad_to_max_tokens: bool = False, sparse: bool = False, salt: Any = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        unsupported(self.label, sparse=sparse or None)
        self.max_tokens = None if max_tokens is None else whole_number(self.label, "max_tokens", max_tokens, 2)
        self.num_oov_indices = whole_number(self.label, "num_oov_indices", num_oov_indices, 0)
        self.mask_token, self.oov_token, self.invert = mask_token, oov_token, bool(invert)
        mode = {"binary": "multi_hot", "tf-idf": "tf_idf"}.get(output_mode, output_mode)
        self.output_mode = one_of(self.label, "output_mode", mode, MODES)
        if self.invert and self.output_mode != "int":
            raise ArgumentError(f"{self.label}: output_mode", expected="'int' with invert=True", received=repr(mode))
        self.pad_to_max_tokens = bool(pad_to_max_tokens)
        if self.pad_to_max_tokens and max_tokens is None:
            raise ArgumentError(f"{self.label}: pad_to_max_tokens", expected="max_tokens beside it", received="None")
        self.salt = key_of(self.label, salt)
        self.tokens: list[Any] = []
        self.idf_weights: Array | None = None
        self._ids: dict[Any, int] = {}
        self.fixed = vocabulary is not None
        if vocabulary is not None:
            self.set_vocabulary(vocabulary, idf_weights)

    # --- the vocabulary ----------------------------------------------------------------------------------------------
    @property
    def special(self) -> list[Any]:
        """The tokens before the vocabulary: the mask where it has an id, then the unknown ones."""
        mask = [self.mask_token] if self.mask_token is not None and self.output_mode == "int" else []
        return [*mask, *[self.oov_token] * self.num_oov_indices]

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Take a vocabulary: words or numbers, with or without the special tokens in front, or a file of them."""
        tokens = self._read(vocabulary) if isinstance(vocabulary, (str, Path)) else np.asarray(vocabulary).tolist()
        if not tokens:
            raise ArgumentError(f"{self.label}: vocabulary", expected="at least one entry", received="none")
        special = self.special
        whole = tokens[: len(special)] == special and bool(special)
        tokens = tokens[len(special) :] if whole else tokens
        twice = [token for token, count in collections.Counter(tokens).items() if count > 1]
        if twice or (self.mask_token is not None and self.mask_token in tokens):
            received = f"{(twice or [self.mask_token])[0]!r} again"
            raise ArgumentError(f"{self.label}: vocabulary", expected="each entry once", received=received)
        if self.max_tokens is not None and len(special) + len(tokens) > self.max_tokens:
            expected, received = f"at most {self.max_tokens} with the special ones", str(len(special) + len(tokens))
            raise ArgumentError(f"{self.label}: vocabulary", expected=expected, received=received)
        if (self.output_mode == "tf_idf") != (idf_weights is not None):
            expected = "given if, and only if, output_mode is 'tf_idf'"
            raise ArgumentError(f"{self.label}: idf_weights", expected=expected, received=f"{self.output_mode!r}")
        self._take(tokens)
        if idf_weights is not None:
            self._take_weights(np.asarray(idf_weights, floatx()), whole)

    def _read(self, path: str | Path) -> list[Any]:
        return Path(path).read_text("utf-8").splitlines()

    def _take(self, tokens: list[Any]) -> None:
        self.tokens = tokens
        self._ids = {token: n for n, token in enumerate(tokens, start=len(self.special))}

    def _take_weights(self, weights: Array, whole: bool) -> None:
        """Weights of the tokens; unknown ones get the mean unless the weights have them too (`whole`)."""
        wanted = len(self.tokens) + whole * len(self.special)
        if weights.shape != (wanted,):
            received = f"shape {weights.shape}"
            raise ArgumentError(f"{self.label}: idf_weights", expected=f"{wanted} numbers", received=received)
        front = 0 if whole else len(self.special)
        weights = np.concatenate([np.full(front, weights.mean(), floatx()), weights])
        self.idf_weights = np.pad(weights, (0, self.depth - len(weights)))

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """The vocabulary; with the special tokens an entry's place is its id."""
        return [*(self.special if include_special_tokens else []), *self.tokens]

    def vocabulary_size(self) -> int:
        """Number of ids."""
        return len(self.special) + len(self.tokens)

    @property
    def depth(self) -> int:
        """Length of the vectors that encode ids."""
        return self.max_tokens if self.pad_to_max_tokens and self.max_tokens else self.vocabulary_size()

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Make the vocabulary from data: an array or list, or an iterable of batches. Each row is a document."""
        whole = isinstance(data, (list, tuple)) and not any(isinstance(item, np.ndarray) for item in data)
        self.learn(as_items(batch, self.label) for batch in ([data] if whole else batches_of(data, self.label, steps)))

    def learn(self, batches: Any) -> None:
        """Make the vocabulary from arrays, or lists of rows, of words or numbers."""
        if self.fixed:
            raise ArgumentError(f"{self.label}.adapt", expected="no given vocabulary", received="vocabulary=...")
        counts: collections.Counter[Any] = collections.Counter()
        documents: collections.Counter[Any] = collections.Counter()
        number = 0
        for batch in batches:
            for row in batch:
                tokens = row.reshape(-1).tolist() if isinstance(row, np.ndarray) else np.atleast_1d(row).tolist()
                counts.update(tokens)
                documents.update(set(tokens))
                number += 1
        for token in {self.mask_token, self.oov_token} & set(counts):
            del counts[token]
        ordered = sorted(counts, key=lambda token: (counts[token], _sortable(token)), reverse=True)
        limit = None if self.max_tokens is None else self.max_tokens - len(self.special)
        self._take(ordered[:limit])
        if self.output_mode == "tf_idf":
            rare = np.array([documents[token] for token in self.tokens], floatx())
            self._take_weights(np.log(1 + number / (1 + rare)), whole=False)

    # --- the lookup --------------------------------------------------------------------------------------------------
    def compute(self, inputs: Array) -> Array:
        """The ids, their encoding, or the words or numbers of ids."""
        if not self.tokens:
            raise StateError(self.label, expected="a vocabulary", fix="Call adapt(data) or give vocabulary=")
        if self.invert:
            return self._inverse(inputs)
        ids = self._look_up(inputs)
        if self.output_mode == "int":
            return ids
        vectors = encode_ids(ids, "count" if self.output_mode == "tf_idf" else self.output_mode, self.depth)
        return vectors if self.idf_weights is None else vectors * self.idf_weights

    def _look_up(self, items: Array) -> Array:
        """The ids; where the output is encoded, -1 for the mask."""
        flat = items.reshape(-1)
        ids = np.array([self._ids.get(item, -1) for item in flat.tolist()], "int64").reshape(items.shape)
        masked = np.zeros(items.shape, bool) if self.mask_token is None else items == self.mask_token
        unknown = (ids < 0) & ~masked
        if unknown.any() and not self.num_oov_indices:
            first = items[unknown][0].item()
            raise DataError(f"{self.label}: {first!r} is not in the vocabulary. Use num_oov_indices=1")
        if self.num_oov_indices:
            start = len(self.special) - self.num_oov_indices
            ids[unknown] = start + (self.bins(items[unknown]) if self.num_oov_indices > 1 else 0)
        return np.where(masked, 0 if self.output_mode == "int" else -1, ids)

    def bins(self, unknown: Array) -> Array:
        """Which of the unknown ids each item has."""
        return hashed(unknown, self.num_oov_indices, self.salt)

    def _inverse(self, ids: Array) -> Array:
        known = dict(enumerate(self.get_vocabulary()))
        found = [known.get(n, self.oov_token) for n in ids.reshape(-1).tolist()]
        return np.array(found).reshape(ids.shape)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, with the vocabulary as it is."""
        names = ("max_tokens", "num_oov_indices", "mask_token", "oov_token", "invert", "output_mode",
                 "pad_to_max_tokens", "salt")  # fmt: skip
        weights = None if self.idf_weights is None else self.idf_weights[: self.vocabulary_size()].tolist()
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in names},
            "vocabulary": self.get_vocabulary() if self.tokens else None,
            "idf_weights": weights,
        }


class StringLookup(Lookup):
    """The id of each word in a vocabulary; see `Lookup`.

    >>> StringLookup(vocabulary=["a", "b", "c"])([["a", "c", "d"], ["b", "z", "b"]]).tolist()
    [[1, 3, 0], [2, 0, 2]]
    """

    def __init__(
        self, max_tokens: int | None = None, num_oov_indices: int = 1, mask_token: str | None = None,
        oov_token: str = "[UNK]", vocabulary: Any = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(max_tokens, num_oov_indices, mask_token, oov_token, vocabulary, **kwargs)


class IntegerLookup(Lookup):
    """The id of each whole number in a vocabulary; see `Lookup`.

    Args:
        oov_method: how several unknown ids are given: "floormod", the rest of the division by their number, or
            "farmhash".

    >>> IntegerLookup(vocabulary=[12, 36, 1138])([[12, 1138, 7]]).tolist()
    [[1, 3, 0]]
    """

    def __init__(
        self, max_tokens: int | None = None, num_oov_indices: int = 1, mask_token: int | None = None,
        oov_token: int = -1, vocabulary: Any = None, oov_method: str = "floormod", **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(max_tokens, num_oov_indices, mask_token, oov_token, vocabulary, **kwargs)
        self.oov_method = one_of(self.label, "oov_method", oov_method, ("floormod", "farmhash"))

    def _read(self, path: str | Path) -> list[Any]:
        return [int(line) for line in super()._read(path)]

    def bins(self, unknown: Array) -> Array:
        """Which of the unknown ids each number has."""
        return super().bins(unknown) if self.oov_method == "farmhash" else unknown % self.num_oov_indices

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, with the vocabulary as it is."""
        return {**super().get_config(), "oov_method": self.oov_method}


def _sortable(token: Any) -> Any:
    """Words in the order of their bytes."""
    return token.encode() if isinstance(token, str) else token
