"""Layers that run in Python on words and ids, against Keras (which needs TensorFlow for them)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import kgraph

pytest.importorskip("tensorflow")

WORDS = np.array([["a", "c", "dd", "dd"], ["dd", "zz", "b", "a"], ["x1", "y2", "", "c"]])
NUMBERS = np.array([[1, 5, 9, 9], [9, -4, 3, 1], [1000, 0, 5, 3]])
TEXTS = np.array(["The cat, the Dog!", "a dog's life: it's  hard", "", "cat cat CAT mouse"])
WORDS_KNOWN = "vocabulary=['a', 'b', 'c', 'dd']"
NUMBERS_KNOWN = "vocabulary=[1, 3, 5, 9]"
MODES = ("int", "one_hot", "multi_hot", "count")

CASES = [
    *((f"Hashing(num_bins={bins}{more})", data)
      for data in (WORDS, NUMBERS) for bins in (3, 1000) for more in ("", ", salt=133", ", salt=[3, -7]")),
    ("Hashing(num_bins=4, mask_value='')", WORDS),
    *((f"Hashing(num_bins=4, output_mode='{mode}')", WORDS) for mode in MODES),
    *((f"StringLookup({WORDS_KNOWN}, output_mode='{mode}'{more})", WORDS)
      for mode in MODES for more in ("", ", num_oov_indices=3", ", mask_token=''", ", max_tokens=9")),
    (f"StringLookup({WORDS_KNOWN}, num_oov_indices=3, mask_token='', salt=7)", WORDS),
    (f"StringLookup({WORDS_KNOWN}, max_tokens=9, pad_to_max_tokens=True, output_mode='count')", WORDS),
    (f"StringLookup({WORDS_KNOWN}, idf_weights=[0.1, 0.4, 0.2, 0.7], output_mode='tf_idf')", WORDS),
    *((f"IntegerLookup({NUMBERS_KNOWN}, output_mode='{mode}'{more})", NUMBERS)
      for mode in MODES for more in ("", ", num_oov_indices=3", ", mask_token=0")),
    (f"IntegerLookup({NUMBERS_KNOWN}, num_oov_indices=3, oov_method='farmhash')", NUMBERS),
    *((f"{name}(**{options})", data) for name, data in (("StringLookup", WORDS), ("IntegerLookup", NUMBERS))
      for options in ("{}", "{'max_tokens': 4}", "{'output_mode': 'multi_hot'}", "{'output_mode': 'tf_idf'}",
                      "{'output_mode': 'tf_idf', 'max_tokens': 30, 'pad_to_max_tokens': True}")),
    *((f"TextVectorization({options})", TEXTS)
      for options in ("", "output_sequence_length=3", "standardize='lower'", "standardize='strip_punctuation'",
                      "standardize=None", "split='character'", "ngrams=2", "ngrams=(2, 3)", "max_tokens=5",
                      "output_mode='multi_hot'", "output_mode='count', ngrams=2", "output_mode='tf_idf'",
                      "output_mode='count', max_tokens=40, pad_to_max_tokens=True")),
]  # fmt: skip


def made(framework: Any, text: str, data: np.ndarray) -> Any:
    """The layer, adapted to the data unless it has a vocabulary."""
    layer = eval(text, {name: getattr(framework.layers, name) for name in dir(framework.layers)})
    if hasattr(layer, "adapt") and "vocabulary" not in text:
        layer.adapt(data)
    return layer


@pytest.mark.parametrize("text, data", CASES, ids=[text for text, _ in CASES])
def test_layer(text: str, data: np.ndarray):
    theirs, ours = made(keras, text, data), made(kgraph, text, data)
    if hasattr(theirs, "get_vocabulary"):
        assert ours.get_vocabulary() == list(theirs.get_vocabulary())
        assert ours.vocabulary_size() == theirs.vocabulary_size()
    wanted = np.asarray(theirs(data))
    got = ours(data)
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, rtol=1e-6)


def test_inverse_lookup():
    """Of numbers: of words Keras cannot give on JAX."""
    ids = np.array([[0, 1, 2], [3, 2, 9]])
    theirs, ours = (k.layers.IntegerLookup(vocabulary=[7, 9], invert=True) for k in (keras, kgraph))
    assert ours(ids).tolist() == np.asarray(theirs(ids)).tolist()
