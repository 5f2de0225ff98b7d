"""Embedding: rows by id, checked ids, masks, and a training step that never makes a dense gradient."""

from __future__ import annotations

import re

import numpy as np
import pytest

import kgraph
from kgraph.errors import ArgumentError, DataError, DTypeError
from kgraph.layers import Dense, Embedding, Flatten, GlobalAveragePooling1D, Reshape

IDS = np.array([[1, 2, 2], [0, 9, 2]])
TARGETS = np.array([[1.0], [-2.0]], "float32")


def model_of(optimizer="adam", run_eagerly=False):
    model = kgraph.Sequential([Embedding(10, 4, input_length=3, name="words"), Flatten(), Dense(1)])
    model.compile(optimizer, "mse", run_eagerly=run_eagerly)
    return model


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "float32", "float64", "bool"])
def test_every_id_gives_its_row(dtype):
    layer, ids = Embedding(10, 4), np.array([[0, 1, 1], [0, 0, 1]], dtype)
    with kgraph.execution("interpreter"):
        out = layer(ids)
        one = layer(ids[0])
    (matrix,) = layer.get_weights()
    assert np.abs(matrix).max() <= 0.05  # "uniform"
    np.testing.assert_array_equal(out, matrix[ids.astype(int)])
    np.testing.assert_array_equal(one, out[0])


def test_a_given_matrix_and_configuration():
    matrix = np.arange(6.0).reshape(3, 2)
    for weights in (matrix, [matrix], matrix.tolist()):
        np.testing.assert_array_equal(Embedding(3, 2, weights=weights, trainable=False).get_weights()[0], matrix)
    with pytest.raises(ValueError, match=r"expected \(3, 2\), received \(2, 3\)"):
        Embedding(3, 2, weights=[matrix.T])
    layer = Embedding(3, 2, "zeros", embeddings_regularizer="l2", embeddings_constraint="non_neg", mask_zero=True)
    copy = Embedding.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert list(layer.get_config())[3:] == ["input_dim", "output_dim", "embeddings_initializer",
                                            "embeddings_regularizer", "embeddings_constraint", "mask_zero"]  # fmt: skip


@pytest.mark.parametrize("kwargs, shape", [
    ({"input_length": 7}, (None, 7)), ({"input_length": (2, 3)}, (None, 2, 3)), ({"input_shape": (5,)}, (None, 5)),
    ({"batch_input_shape": (8, None)}, (8, None)), ({"input_length": 7, "batch_size": 4}, (4, 7)),
])  # fmt: skip
def test_the_first_layer_gives_the_shape_of_the_input(kwargs, shape):
    model = kgraph.Sequential([Embedding(input_dim=10, output_dim=4, **kwargs)])
    assert model.inputs[0].shape == shape
    assert model.output_shape == (*shape, 4)
    assert model.inputs[0].dtype == "int32"


@pytest.mark.parametrize("sizes, words", [
    ((0, 4), "input_dim: expected an int >= 1, received 0"), ((10, -1), "output_dim"), ((1.5, 2), "received 1.5"),
])  # fmt: skip
def test_sizes_are_checked(sizes, words):
    with pytest.raises(ArgumentError, match=words):
        Embedding(*sizes)


def test_id_0_may_be_padding():
    ids = np.array([[3, 0, 2], [0, 0, 1]])
    with kgraph.execution("interpreter"):
        np.testing.assert_array_equal(Embedding(4, 2, mask_zero=True).compute_mask(ids), ids != 0)
        model = kgraph.Sequential([Embedding(4, 2, mask_zero=True, input_length=3), GlobalAveragePooling1D()])
        (matrix,) = model.get_weights()
        wanted = [(matrix[3] + matrix[2]) / 2, matrix[1]]
        np.testing.assert_allclose(model.predict(ids, verbose=0), wanted, rtol=1e-6)
    assert Embedding(4, 2).compute_mask(ids) is None
    assert not Embedding(4, 2).supports_masking


@pytest.mark.parametrize("eagerly", [False, True])
def test_wrong_ids_are_named_before_anything_is_computed(eagerly):
    model = model_of(run_eagerly=eagerly)
    model.fit(IDS, TARGETS, verbose=0)
    before = [*model.get_weights(), *model.optimizer.get_weights()]
    for place, id in (((0, 2), 10), ((1, 0), -1), ((1, 1), 2**31 - 1)):
        wrong = IDS.copy()
        wrong[place] = id
        for call in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
            with pytest.raises(DataError) as caught:
                call(wrong, TARGETS)
            assert str(caught.value) == f"layer 'words': id {id} at [{place[0]},{place[1]}] not in [0, 10)"
        for call in (model.predict, model.predict_on_batch):
            with pytest.raises(DataError, match="not in"):
                call(wrong)
    after = [*model.get_weights(), *model.optimizer.get_weights()]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)
    model.fit(IDS, TARGETS, verbose=0)


def test_floats_must_be_whole_numbers():
    with pytest.raises(DTypeError, match="whole numbers"):
        model_of().predict(IDS + 0.5, verbose=0)
    with kgraph.execution("interpreter"):
        for wrong, words in (
            (1.9, "id 1.9 at [0,1] is not a whole number"), (np.nan, "id nan at [0,1] is not"),
            (np.inf, "id inf at [0,1] not in [0, 10)"), (-1.0, "id -1.0 at [0,1] not in"),
        ):  # fmt: skip
            with pytest.raises(DataError, match=re.escape(words)):
                Embedding(10, 4)(np.array([[1.0, wrong]], "float32"))


def test_ids_are_checked_behind_casts_and_views():
    x = kgraph.Input((4,))
    model = kgraph.Model(x, Embedding(10, 4)(Reshape((2, 2))(x)))
    with kgraph.execution("interpreter"):
        assert model.predict(np.ones((3, 4)), verbose=0).shape == (3, 2, 2, 4)
        with pytest.raises(DataError, match=re.escape("id 11.0 at [1,1,0] not in [0, 10)")):
            model.predict([[1, 2, 3, 4], [5, 6, 11, 7]], verbose=0)


def test_ids_that_the_model_computes_lead_nowhere_else():
    x = kgraph.Input((4,))
    model = kgraph.Model(x, Embedding(3, 2, "ones")(x * 2.0))
    np.testing.assert_array_equal(model.predict(np.array([[0, 1, 2, -3e9]]), verbose=0)[0, :, 0], [1, 1, 0, 0])


def step_by_hand(state, kernel, bias, lr, step):
    """One step of Adam for a table in front of Flatten and Dense, with its gradient as a dense array."""
    table, m, v = state
    rows = table[IDS]
    error = rows.reshape(2, 12) @ kernel + bias - TARGETS
    slopes = (2 / error.size * error * kernel.T).reshape(2, 3, 4)
    gradient = np.zeros_like(table)
    np.add.at(gradient, IDS, slopes)
    m = m + (1 - 0.9) * (gradient - m)
    v = v + (1 - 0.999) * (gradient**2 - v)
    alpha = lr * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
    return table - alpha * m / (np.sqrt(v) + 1e-7), m, v


@pytest.mark.parametrize("eagerly", [False, True])
def test_adam_moves_all_rows_as_with_a_dense_gradient(eagerly):
    model = model_of(run_eagerly=eagerly)
    model.layers[2].trainable = False
    table, kernel, bias = (w.astype("float64") for w in model.get_weights())
    state = table, np.zeros_like(table), np.zeros_like(table)
    for step in range(1, 4):
        model.train_on_batch(IDS, TARGETS)
        state = step_by_hand(state, kernel, bias, 0.001, step)
    moved = model.get_weights()[0] - table
    np.testing.assert_allclose(moved, state[0] - table, rtol=1e-4, atol=1e-9)
    assert (moved[[3, 4, 5, 6, 7, 8]] == 0).all()  # never named: nothing to decay
    # Once named, a row moves on without being named: m decays.
    model.train_on_batch(np.full_like(IDS, 3), TARGETS)
    assert (model.get_weights()[0][9] != (table + moved)[9]).all()


def test_the_gradient_of_the_table_is_never_an_array():
    model = model_of()
    model.train_on_batch(IDS, TARGETS)
    tables = re.findall(r"%\w+: f32\[(?:10, 4|40)\] (?:in|out|scratch)", model.dump("loops"))
    # The lookup reads the table; one kernel reads and writes table, m and v.
    assert len(tables) == 1 + 3 + 3
