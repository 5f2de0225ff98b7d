"""TextVectorization: texts as ids of their words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from kgraph.errors import ArgumentError, ShapeError
from kgraph.layers.arguments import unsupported, whole_number
from kgraph.layers.preprocessing.adapting import Array, batches_of
from kgraph.layers.preprocessing.host import HostLayer, as_items
from kgraph.layers.preprocessing.lookup import StringLookup

_PUNCTUATION = re.compile(r"[!\"#$%&()*+,\-./:;<=>?@\[\\\]^_`{|}~']")
STANDARDIZE = ("lower_and_strip_punctuation", "lower", "strip_punctuation")
SPLIT = ("whitespace", "character")


class TextVectorization(HostLayer):
    """Texts as ids of their words, or as vectors that say which words they have.

    Args:
        max_tokens: size of the vocabulary at most, with the special ids; None for no limit.
        standardize: "lower_and_strip_punctuation", "lower", "strip_punctuation", a function of an array of strings, or
            None.
        split: "whitespace", "character", a function of a string that gives a list, or None.
        ngrams: join up to so many neighbouring words too, or, as a tuple, exactly these numbers.
        output_mode: "int" for ids, or "multi_hot", "count", "tf_idf" as in `StringLookup`.
        output_sequence_length: for "int": cut or fill rows to this length; None for the longest row of the call.
        pad_to_max_tokens: encode as vectors of `max_tokens` numbers.
        vocabulary: words, or the path of a file with one in each line; None to call `adapt`.
        idf_weights: for "tf_idf": a weight for each word.
        sparse, ragged: only False.

    Id 0 fills rows up, 1 stands for unknown words. Input shape: ``(batch,)`` or ``(batch, 1)`` of strings.

    >>> layer = TextVectorization(output_sequence_length=4)
    >>> layer.adapt(["foo bar", "bar baz", "baz bada boom"])
    >>> layer(["foo qux bar", "qux baz"]).tolist()
    [[4, 1, 3, 0], [1, 2, 0, 0]]
    """

    def __init__(
        self,
        max_tokens: int | None = None,
        standardize: str | Callable[[Array], Any] | None = "lower_and_strip_punctuation",
        split: str | Callable[[str], Any] | None = "whitespace",
        ngrams: int | tuple[int, ...] | None = None,
        output_mode: str = "int",
        output_sequence_length: int | None = None,
        pad_to_max_tokens: bool = False,
        vocabulary: Any = None,
        idf_weights: Any = None,
        sparse: bool = False,
        ragged: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        unsupported(self.label, sparse=sparse or None, ragged=ragged or None)
        for name, value, known in (("standardize", standardize, STANDARDIZE), ("split", split, SPLIT)):
            if value is not None and not callable(value) and value not in known:
                expected = " or ".join(map(repr, known)) + ", a function or None"
                raise ArgumentError(f"{self.label}: {name}", expected=expected, received=repr(value))
        self.standardize, self.split, self.ngrams = standardize, split, ngrams
        self._lengths = self._ngram_lengths(ngrams)
        self.output_sequence_length = output_sequence_length
        if output_sequence_length is not None:
            whole_number(self.label, "output_sequence_length", output_sequence_length)
            if output_mode != "int":
                received = repr(output_mode)
                name = f"{self.label}: output_sequence_length"
                raise ArgumentError(name, expected="output_mode='int' beside it", received=received)
        self.lookup = StringLookup(
            max_tokens, mask_token="", vocabulary=vocabulary, idf_weights=idf_weights, output_mode=output_mode,
            pad_to_max_tokens=pad_to_max_tokens, name=f"{self.name}_lookup",
        )  # fmt: skip

    def _ngram_lengths(self, ngrams: Any) -> tuple[int, ...]:
        if isinstance(ngrams, (list, tuple)):
            return tuple(whole_number(self.label, "ngrams", n) for n in ngrams)
        return tuple(range(1, (1 if ngrams is None else whole_number(self.label, "ngrams", ngrams)) + 1))

    def adapt(self, data: Any, batch_size: int | None = None, steps: int | None = None) -> None:
        """Make the vocabulary from texts: an array or list, or an iterable of batches of them.

        `batch_size` has no effect.
        """
        whole = isinstance(data, (list, tuple)) and not any(isinstance(item, np.ndarray) for item in data)
        batches = [data] if whole else batches_of(data, self.label, steps)
        self.lookup.learn(list(self._words(as_items(batch, self.label))) for batch in batches)

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Take a vocabulary; see `Lookup.set_vocabulary`."""
        self.lookup.set_vocabulary(vocabulary, idf_weights)

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[str]:
        """The vocabulary; with the special tokens a word's place is its id."""
        return self.lookup.get_vocabulary(include_special_tokens)

    def vocabulary_size(self) -> int:
        """Number of ids."""
        return self.lookup.vocabulary_size()

    def compute(self, inputs: Array) -> Array:
        """The ids, or the vectors."""
        rows = list(self._words(inputs))
        longest = max(map(len, rows), default=0)
        length = longest if self.output_sequence_length is None else self.output_sequence_length
        filled = np.array([[*row[:length], *[""] * (length - len(row))] for row in rows], dtype=str)
        return self.lookup(filled.reshape(len(rows), length))

    def _words(self, texts: Array) -> Iterator[list[str]]:
        """The words of each text, and the runs of them that `ngrams` asks for."""
        if self.split is not None and texts.ndim > 1:
            if texts.shape[-1] != 1:
                expected, received = "(batch,) or (batch, 1)", str(texts.shape)
                raise ShapeError(self.label, expected=expected, received=received, fix="One text in each row")
            texts = texts[..., 0]
        for text in self._standardized(texts):
            words = self._split(text)
            yield [
                " ".join(words[n : n + length]) for length in self._lengths for n in range(len(words) - length + 1)
            ]

    def _standardized(self, texts: Array) -> Array:
        if callable(self.standardize):
            return as_items(self.standardize(texts), self.label)
        if self.standardize in ("lower_and_strip_punctuation", "lower"):
            texts = np.char.lower(texts)
        if self.standardize in ("lower_and_strip_punctuation", "strip_punctuation"):
            texts = np.array([_PUNCTUATION.sub("", t) for t in texts.reshape(-1)], dtype=str).reshape(texts.shape)
        return texts

    def _split(self, text: Any) -> list[str]:
        if callable(self.split):
            return [str(word) for word in self.split(text)]
        if self.split == "whitespace":
            return str(text).split()
        return list(str(text)) if self.split == "character" else [str(word) for word in np.atleast_1d(text)]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, with the vocabulary as it is."""
        inner = self.lookup.get_config()
        shared = ("max_tokens", "output_mode", "pad_to_max_tokens", "vocabulary", "idf_weights")
        own = ("standardize", "split", "ngrams", "output_sequence_length")
        config = {**super().get_config(), **{name: inner[name] for name in shared}}
        return {**config, **{name: getattr(self, name) for name in own}}
