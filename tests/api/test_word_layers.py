"""Layers that run in Python on words and ids. tests/against_keras/test_words.py compares them with Keras."""

from __future__ import annotations

import numpy as np
import pytest

import kgraph
from kgraph import layers as L

WORDS = np.array([["a", "c", "d", "d"], ["d", "z", "b", "z"]])


def test_lookups_of_words():
    known = ["a", "b", "c", "d"]
    assert L.StringLookup(vocabulary=known)(WORDS).tolist() == [[1, 3, 4, 4], [4, 0, 2, 0]]
    hot = L.StringLookup(vocabulary=known, output_mode="multi_hot")(WORDS)
    assert hot.tolist() == [[0, 1, 0, 1, 1], [1, 0, 1, 0, 1]]
    assert hot.dtype == np.float32
    count = L.StringLookup(vocabulary=known, output_mode="count")
    assert count(WORDS.astype("S").tolist()).tolist() == [[0, 1, 0, 1, 2], [2, 0, 1, 0, 1]]
    masked = L.StringLookup(vocabulary=known, mask_token="z")
    assert masked.get_vocabulary() == ["z", "[UNK]", "a", "b", "c", "d"]
    assert masked.get_vocabulary(include_special_tokens=False) == known
    assert masked(WORDS).tolist() == [[2, 4, 5, 5], [5, 0, 3, 0]]
    back = L.StringLookup(vocabulary=known, invert=True)
    assert back([[1, 3, 4], [4, 0, 2]]).tolist() == [["a", "c", "d"], ["d", "[UNK]", "b"]]


def test_weights_by_rarity():
    layer = L.StringLookup(output_mode="tf_idf")
    layer.set_vocabulary(["a", "b", "c", "d"], idf_weights=[0.25, 0.75, 0.6, 0.4])
    np.testing.assert_allclose(layer(WORDS), [[0, 0.25, 0, 0.6, 0.8], [1.0, 0, 0.75, 0, 0.4]], rtol=1e-6)
    layer.set_vocabulary(["[UNK]", "a", "b", "c", "d"], idf_weights=[0.9, 0.25, 0.75, 0.6, 0.4])
    np.testing.assert_allclose(layer(WORDS), [[0, 0.25, 0, 0.6, 0.8], [1.8, 0, 0.75, 0, 0.4]], rtol=1e-6)
    learned = L.StringLookup(output_mode="tf_idf")
    learned.adapt(WORDS)
    assert learned.get_vocabulary() == ["[UNK]", "d", "z", "c", "b", "a"]
    np.testing.assert_allclose(learned.idf_weights[1:], np.log(1 + 2 / (1 + np.array([2, 1, 1, 1, 1]))), rtol=1e-6)


def test_vocabularies_from_files_and_batches(tmp_path):
    (tmp_path / "words.txt").write_text("a\nb\n", "utf-8")
    (tmp_path / "numbers.txt").write_text("7\n9\n", "utf-8")
    assert L.StringLookup(vocabulary=str(tmp_path / "words.txt"))(["b", "x"]).tolist() == [2, 0]
    assert L.IntegerLookup(vocabulary=str(tmp_path / "numbers.txt"))([9, 8]).tolist() == [2, 0]
    layer = L.IntegerLookup(max_tokens=3)
    layer.adapt(np.array([n, 5]) for n in (1, 9, 9))
    assert layer.get_vocabulary() == [-1, 5, 9]
    assert L.IntegerLookup(vocabulary=[7, 9], invert=True)([[0, 2]]).tolist() == [[-1, 9]]


def test_texts():
    layer = L.TextVectorization(vocabulary=["earth", "wind", "and", "fire"], output_sequence_length=4)
    assert layer.get_vocabulary() == ["", "[UNK]", "earth", "wind", "and", "fire"]
    assert layer([["Wind, and FIRE!"], ["water"]]).tolist() == [[3, 4, 5, 0], [1, 0, 0, 0]]
    marked = L.TextVectorization(
        standardize=lambda texts: np.char.replace(texts, "-", " "), split=lambda text: text.split(" "), ngrams=(2,)
    )
    marked.adapt(["a-b-c", "a-b"])
    assert marked.get_vocabulary() == ["", "[UNK]", "a b", "b c"]
    with kgraph.execution("interpreter"):
        model = kgraph.Sequential([L.Embedding(layer.vocabulary_size(), 3), L.GlobalAveragePooling1D()])
        assert model(layer(["earth and fire", "wind"])).shape == (2, 3)


@pytest.mark.parametrize(
    "layer, data",
    [
        (L.Hashing(5, mask_value="z", salt=(1, 2), output_mode="count"), WORDS),
        (L.StringLookup(num_oov_indices=2, mask_token="", vocabulary=["a", "c"], max_tokens=8), WORDS),
        (L.StringLookup(vocabulary=["a", "c"], idf_weights=[0.5, 2.0], output_mode="tf_idf"), WORDS),
        (L.IntegerLookup(vocabulary=[1, 4], num_oov_indices=3, oov_method="farmhash"), [[1, 2, 3, 4]]),
        (L.TextVectorization(vocabulary=["a", "b"], ngrams=2, output_mode="multi_hot"), ["a b", "c"]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_configuration_makes_the_same_layer(layer, data):
    copy = type(layer).from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    np.testing.assert_array_equal(copy(data), layer(data))


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: L.StringLookup()(["a"]), r"expected a vocabulary. Call adapt\(data\)"),
        (lambda: L.StringLookup(vocabulary=["a"])(kgraph.Input((2,))), "expected data, before the model"),
        (lambda: L.StringLookup(vocabulary=["a", "b", "a"]), "vocabulary: expected each entry once, received 'a'"),
        (lambda: L.StringLookup(vocabulary=[]), "vocabulary: expected at least one entry"),
        (lambda: L.StringLookup(2, vocabulary=["a", "b"]), "expected at most 2 with the special ones, received 3"),
        (lambda: L.StringLookup(1), "max_tokens: expected an int >= 2, received 1"),
        (lambda: L.StringLookup(pad_to_max_tokens=True), "pad_to_max_tokens: expected max_tokens beside it"),
        (lambda: L.StringLookup(vocabulary=["a"], output_mode="tf_idf"), "idf_weights: expected given if, and only if"),
        (lambda: L.StringLookup(vocabulary=["a"], output_mode="tf_idf", idf_weights=[1.0, 2.0]), "expected 1 numbers"),
        (lambda: L.StringLookup(invert=True, output_mode="count"), "output_mode: expected 'int' with invert=True"),
        (lambda: L.StringLookup(vocabulary=["a"]).adapt(["b"]), "adapt: expected no given vocabulary"),
        (lambda: L.StringLookup(vocabulary=["a"], num_oov_indices=0)(["b"]), "'b' is not in the vocabulary"),
        (lambda: L.StringLookup(vocabulary=["a"])([["b"], ["c", "d"]]), "rows of different lengths"),
        (lambda: L.IntegerLookup(vocabulary=[1])([1.5]), "expected strings or whole numbers, received float64 values"),
        (lambda: L.Hashing(0), "num_bins: expected an int >= 1, received 0"),
        (lambda: L.Hashing(3, salt=(1, 2, 3)), "salt: expected an int or two"),
        (lambda: L.Hashing(3)(np.array([None], object)), "received an object of type NoneType"),
        (lambda: L.TextVectorization(split="lines"), "split: expected 'whitespace' or 'character'"),
        (lambda: L.TextVectorization(vocabulary=["a"])([["a", "b"]]), r"expected \(batch,\) or \(batch, 1\)"),
        (lambda: L.TextVectorization(output_mode="count", output_sequence_length=3), "expected output_mode='int'"),
    ],
)
def test_words_of_errors(call, words: str):
    with pytest.raises((ValueError, TypeError, RuntimeError), match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
