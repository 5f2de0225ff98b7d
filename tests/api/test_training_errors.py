"""Wrong arguments and data get one clear line before native code runs, and the model trains on afterwards."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kgraph.callbacks import EarlyStopping, ModelCheckpoint
from kgraph.errors import ArgumentError, DataError, DTypeError, KgraphWarning, ShapeError, StateError
from kgraph.layers import Dense, Dropout, Embedding, Flatten
from kgraph.losses import SparseCategoricalCrossentropy
from kgraph.models import Input, Model, Sequential
from kgraph.optimizers import SGD

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
Y = np.arange(8) % 3
ONE_HOT = np.eye(3, dtype="float32")[Y]


def network(loss: Any = "sparse_categorical_crossentropy", units: int = 3) -> Sequential:
    model = Sequential([Dense(units, activation="softmax" if units > 1 else None, input_shape=(4,))])
    # Checks come before anything runs, so the way of running does not matter; the interpreter starts faster.
    model.compile("sgd", loss, metrics=["accuracy"], run_eagerly=True)
    return model


def still_trains(model: Any, y: np.ndarray) -> None:
    """The model gives what one that never met the error gives."""
    fresh = Sequential([Dense(model.output_shape[-1], activation=model.layers[-1].activation, input_shape=(4,))])
    fresh.set_weights(model.get_weights())
    fresh.compile("sgd", model.loss, run_eagerly=True)
    model.fit(X, y, verbose=0, shuffle=False)
    fresh.fit(X, y, verbose=0, shuffle=False)
    for a, b in zip(model.get_weights(), fresh.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert model.predict(X, verbose=0).shape == (8, model.output_shape[-1])


CALLS: list[tuple[str, Callable[[Any], Any], Any, str]] = [
    ("batch size 0", lambda m: m.fit(X, Y, batch_size=0), ArgumentError, "batch_size must be >= 1: received 0"),
    ("batch size text", lambda m: m.predict(X, batch_size="4"), DTypeError, "batch_size: expected an int"),
    ("epochs -1", lambda m: m.fit(X, Y, epochs=-1), ArgumentError, "epochs must be an int >= 0: received -1"),
    ("verbose", lambda m: m.fit(X, Y, verbose=7), ArgumentError, "verbose: expected 'auto', 0, 1 or 2"),
    ("rate", lambda m: setattr(m.optimizer, "learning_rate", -1), ArgumentError, "learning_rate must be >= 0"),
    ("lengths", lambda m: m.fit(X, Y[:5]), DataError, "fit: x has 8 samples, y has 5"),
    ("lengths", lambda m: m.evaluate(X[:2], Y), DataError, "evaluate: x has 2 samples, y has 8"),
    ("weights", lambda m: m.fit(X, Y, sample_weight=np.ones(3)), DataError, "x has 8 samples, sample_weight has 3"),
    ("empty", lambda m: m.fit(X[:0], Y[:0]), DataError, "fit: x has 0 samples"),
    ("no y", lambda m: m.fit(X), DataError, "fit: y is missing"),
    ("no x", lambda m: m.fit(y=Y), DataError, "fit: x is missing"),
    ("ragged", lambda m: m.fit([[1, 2], [1]], Y[:2]), DataError,
     r"x: rows have different lengths \(row 0: 2, row 1: 1\)"),
    ("ragged objects", lambda m: m.predict(np.array([[1, 2], [1]], object)), DataError, "rows have different lengths"),
    ("strings", lambda m: m.fit(np.array([["a"] * 4] * 8), Y), DataError, "x: string data. Use layers.StringLookup"),
    ("strings for labels", lambda m: m.fit(X, ["a"] * 8), DataError, "y: string data. Use layers.StringLookup"),
    ("None", lambda m: m.fit(np.array([[1, None, 2, 3]] * 8, object), Y), DataError, "x: expected numbers, received N"),
    ("objects", lambda m: m.predict([[object()] * 4]), DataError, "x: expected numbers, received object objects"),
    ("object", lambda m: m.predict(object()), DataError, "x: expected numbers, received an object of type object"),
    ("text objects", lambda m: m.predict(np.array([["a"] * 4], object)), DataError, "x: string data"),
    ("weights by output", lambda m: m.fit(X, Y, sample_weight=[np.ones(8), None]), DataError,
     "fit: sample_weight: expected 1 arrays, for .*, received 2 entries"),
    ("weights by name", lambda m: m.fit(X, Y, sample_weight={"other": np.ones(8)}), DataError,
     r"fit: sample_weight: expected keys among \['.*'\], received \['other'\]"),
    ("weights by step", lambda m: m.fit(X, Y, sample_weight=np.ones((8, 2))), ShapeError,
     r"fit: sample_weight: expected a weight per sample, or per step of \(batch, 3\), received \(8, 2\)"),
    ("class missing", lambda m: m.fit(X, Y, class_weight={0: 1.0, 1: 2.0}), DataError,
     r"fit: class_weight: no weight for class 2 \(2 samples\)"),
    ("class weights", lambda m: m.fit(X, Y, class_weight=[1.0, 2.0, 3.0]), DTypeError,
     "fit: class_weight: expected a dict from class to weight, received list"),
    ("both weights", lambda m: m.fit(X, Y, class_weight={0: 1}, sample_weight=np.ones(8)), ArgumentError,
     "class_weight and sample_weight cannot be given both"),
    ("steps 0", lambda m: m.fit(X, Y, steps_per_epoch=0), ArgumentError, "steps_per_epoch must be an int >= 1"),
    ("steps text", lambda m: m.evaluate(X, Y, steps="2"), ArgumentError, "steps must be an int >= 1: received '2'"),
    ("validation_freq", lambda m: m.fit(X, Y, validation_freq=0), ArgumentError, "an int >= 1 or a list of epochs"),
    ("stream and y", lambda m: m.fit(iter([(X, Y)]), Y), ArgumentError,
     r"fit\(y\): not beside a stream of batches. Let the batches have y"),
    ("stream and split", lambda m: m.fit(iter([(X, Y)]), validation_split=0.5), ArgumentError, "Use validation_data"),
    ("empty stream", lambda m: m.fit(iter([])), DataError, "fit: the data have no batches"),
    ("stream of numbers", lambda m: m.fit(iter([(1, 2)])), DataError, "batch 0: x: expected an array with a batch"),
    ("stream of four", lambda m: m.evaluate(iter([(X, Y, Y, Y)])), DataError,
     r"evaluate: batch 0: expected x, \(x, y\) or \(x, y, sample_weight\), received a tuple of 4"),
    ("stream without y", lambda m: m.fit(iter([X])), DataError, "fit: batch 0: y is missing"),
    ("complex", lambda m: m.predict(X * 1j), DTypeError, "x: expected numbers, received complex64"),
    ("not flat", lambda m: m.fit(X.reshape(8, 2, 2), Y), ShapeError,
     r"fit: x: expected \(batch, 4\), received \(8, 2, 2\). Reshape it: x.reshape\(-1, 4\)"),
    ("features", lambda m: m.predict(X[:, :3]), ShapeError,
     r"predict: x: expected \(batch, 4\), received \(8, 3\). Last axis must be 4"),
    ("one sample", lambda m: m.predict(X[0]), ShapeError, r"Add a batch axis: x\[None\]"),
    ("one-hot", lambda m: m.fit(X, ONE_HOT), ShapeError, "Use categorical_crossentropy for one-hot labels, or argmax"),
    ("label 3", lambda m: m.fit(X, Y + (np.arange(8) == 5)), DataError,
     r"sparse_categorical_crossentropy: label 3 at row 5 not in \[0, 3\)"),
    ("label -1", lambda m: m.fit(X, Y - (np.arange(8) == 3)), DataError, r"label -1 at row 3 not in \[0, 3\)"),
    ("label 0.5", lambda m: m.fit(X, Y + 0.5), DTypeError, "fit: y: expected whole numbers"),
    ("label 2**32", lambda m: m.fit(X, Y.astype("int64") + (np.arange(8) == 5) * 2**32), DataError,
     "fit: y: expected numbers that int32 can hold, received 4294967298"),
    ("label 2**63", lambda m: m.fit(X, Y.astype("uint64") + np.uint64(2**63)), DataError, "received 92233720368547758"),
    ("label 1e30", lambda m: m.evaluate(X, Y + 1e30), DataError, r"int32 can hold, received 1e\+30"),
    ("label NaN", lambda m: m.fit(X, Y / np.float32("nan")), DTypeError, "y: expected whole numbers, .*NaN or Inf"),
    ("validation label", lambda m: m.fit(X, Y, validation_data=(X, Y + 1)), DataError,
     r"validation_data: sparse_categorical_crossentropy: label 3 at row 2 not in \[0, 3\)"),
    ("label of a stream", lambda m: m.fit(iter([(X, Y + 1)])), DataError,
     r"fit: batch 0: sparse_categorical_crossentropy: label 3 at row 2 not in \[0, 3\)"),
    ("label of a batch", lambda m: m.train_on_batch(X, Y + 1), DataError, r"label 3 at row 2 not in \[0, 3\)"),
    ("strings of a stream", lambda m: m.fit(iter([(["a"] * 8, Y)])), DataError, "fit: batch 0: x: string data"),
    ("validation form", lambda m: m.fit(X, Y, validation_data=X), ArgumentError, r"expected \(x, y\)"),
    ("split", lambda m: m.fit(X, Y, validation_split=1.5), ArgumentError, "a number between 0 and 1"),
    ("split text", lambda m: m.fit(X, Y, validation_split="0.5"), ArgumentError, "a number between 0 and 1"),
    ("split of few", lambda m: m.fit(X[:2], Y[:2], validation_split=0.9), ArgumentError, "at least 1 sample in each"),
    ("callbacks", lambda m: m.fit(X, Y, callbacks=["stop"]), DTypeError, "callbacks: expected instances of Callback"),
    ("inputs", lambda m: m.fit({"other": X}, Y), DataError, r"x: expected keys \['.*'\], received \['other'\]"),
    ("program", lambda m: m.dump("traced", "test"), ArgumentError, "predict, evaluate, train"),
    ("activation", lambda m: Dense(3, activation="rellu"), ArgumentError, "Did you mean 'relu'"),
    ("units 3.5", lambda m: Dense(3.5), (ArgumentError, DTypeError), "units"),
    ("units -3", lambda m: Dense(-3), ArgumentError, "units"),
    ("dropout rate 50", lambda m: Dropout(50), ArgumentError, "rate"),
    ("negative rate", lambda m: SGD(-0.1), ArgumentError, "learning_rate must be >= 0"),
    ("monitor", lambda m: m.fit(X, Y, callbacks=[EarlyStopping("val_los", mode="min")], validation_data=(X, Y)),
     ArgumentError, "val_los"),
    ("file name", lambda m: m.fit(X, Y, callbacks=[ModelCheckpoint("{val_loss}.weights.h5", save_weights_only=True)]),
     ArgumentError, "the logs have no 'val_loss'. Give fit validation_data or validation_split"),
    ("loss", lambda m: m.compile(loss="crossentropy"), ArgumentError,
     r"compile\(loss='crossentropy'\): unknown. Did you mean 'categorical_crossentropy'\?"),
    ("optimizer", lambda m: m.compile("adamm", "mse"), ArgumentError, "Did you mean 'adam'"),
    ("metric", lambda m: m.compile("adam", "mse", metrics=["accurracy"]), ArgumentError, "Did you mean 'accuracy'"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "words"), [row[1:] for row in CALLS], ids=[row[0] for row in CALLS])
def test_a_mistake_gets_one_line_and_leaves_the_model_usable(call: Callable[[Any], Any], error: Any, words: str):
    model = network()
    before = model.get_weights()
    with pytest.raises(error, match=words) as caught:
        call(model)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 240
    assert model.optimizer.iterations.numpy() == 0
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    still_trains(model, Y)


@pytest.mark.parametrize("eagerly", [True, False], ids=["interpreter", "native"])
@pytest.mark.parametrize("guard", [None, "nan"])
def test_the_batch_of_a_stream_that_cannot_be_used_is_named(eagerly: bool, guard: str | None):
    labels = network()
    labels.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=eagerly, check=guard)
    with pytest.raises(DataError, match=r"^fit: batch 2: sparse_categorical_crossentropy: label 3 at row 1 not in"):
        labels.fit(iter([(X, Y), (X, Y), (X, Y + 2 * (np.arange(8) == 1))]), verbose=0)
    ids = Sequential([Input((3,), dtype="int32"), Embedding(10, 2), Flatten(), Dense(1)])
    ids.compile("sgd", "mse", run_eagerly=eagerly, check=guard)
    good, bad = np.zeros((8, 3), int), np.full((8, 3), 10)
    for call in (ids.fit, ids.evaluate):
        with pytest.raises(DataError, match=rf"^{call.__name__}: batch 1: layer '.*': id 10 at \[0,0\] not in"):
            call(iter([(good, Y), (bad, Y)]), verbose=0)
    with pytest.raises(DataError, match=r"^predict: batch 1: layer 'embedding.*': id 10 at \[0,0\] not in"):
        ids.predict(iter([(good,), (bad,)]), verbose=0)
    assert ids.fit(good, Y, verbose=0).history["loss"]


def test_integer_labels_with_categorical_loss():
    model = network("categorical_crossentropy")
    with pytest.raises(ShapeError, match="Use sparse_categorical_crossentropy for integer labels"):
        model.fit(X, Y)
    still_trains(model, ONE_HOT)


def test_labels_of_two_classes_must_be_shares():
    model = Sequential([Dense(1, activation="sigmoid", input_shape=(4,))])
    model.compile("sgd", "binary_crossentropy", run_eagerly=True)
    with pytest.raises(DataError, match=r"binary_crossentropy: labels must be 0..1, found 200.0 at row 2"):
        model.fit(X, np.where(np.arange(8) == 2, 200, Y == 0)[:, None])
    with pytest.raises(DataError, match=r"labels must be 0..1, found -1.0 at row 0"):
        model.evaluate(X, np.full(8, -1))
    still_trains(model, (Y == 0).astype(float)[:, None])


def test_a_softmax_of_one_unit_is_no_choice():
    model = Sequential([Dense(1, activation="softmax", input_shape=(4,))])
    model.compile("sgd", "binary_crossentropy", run_eagerly=True)
    with pytest.raises(ArgumentError, match=r"softmax of 1 unit is always 1: expected sigmoid.*activation='sigmoid'"):
        model.fit(X, Y == 0)


def test_a_class_that_stands_for_no_label_may_be_outside():
    model = network(SparseCategoricalCrossentropy(ignore_class=-1))
    model.fit(X, Y - 3 * (Y == 2), verbose=0)
    with pytest.raises(DataError, match=r"label 3 at row 7 not in \[0, 3\)"):
        model.fit(X, np.array([0, 1, -1, -1, 0, 0, 0, 3]))


def test_targets_are_never_broadcast():
    model = network("mse", 1)
    model.fit(X, Y, verbose=0)
    for wrong in (np.zeros((8, 2)), np.zeros((8, 1, 2))):
        with pytest.raises(ShapeError, match="mean_squared_error: y_true: expected the shape of y_pred"):
            model.fit(X, wrong)
    still_trains(model, Y[:, None])


def test_fit_before_compile():
    model = Sequential([Dense(3, input_shape=(4,))])
    for call in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises(StateError, match=r"the model is not compiled. Call model.compile"):
            call(X, Y)
    model.compile("sgd", "mse")
    model.fit(X, ONE_HOT, verbose=0)
    model.compile("sgd")
    with pytest.raises(StateError, match=r"compile: expected a loss"):
        model.fit(X, ONE_HOT)


def test_the_second_value_of_an_evaluation_without_metrics_says_what_is_missing():
    model = network()
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    score = model.evaluate(X, Y, verbose=0)
    assert score[0] == score
    with pytest.raises(StateError, match=r"metrics=\['accuracy'\]"):
        score[1]


@pytest.mark.parametrize(("bad", "word"), [(np.nan, "NaN"), (np.inf, "Inf"), (-np.inf, "Inf")])
def test_values_that_are_not_finite_are_named_once(bad: float, word: str):
    model = network()
    x = X.copy()
    x[3, 1] = bad
    with pytest.warns(KgraphWarning) as caught:
        model.evaluate(x, Y, verbose=0)
    assert [str(w.message) for w in caught] == [f"evaluate: x has 1 {word} (first at row 3, col 1)"]
    assert caught[0].filename == __file__
    still_trains(model, Y)


def test_large_finite_values_are_no_reason_to_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network().evaluate(np.full((8, 4), 3e38, "float32"), Y, verbose=0)


def test_a_loss_that_becomes_nan_is_reported_once_with_its_place():
    model = Sequential([Dense(1, input_shape=(4,))])
    model.compile(SGD(1e30), "mse")
    with pytest.warns(KgraphWarning) as caught:
        model.fit(X, Y, batch_size=4, epochs=3, verbose=0)
    assert len(caught) == 1
    text = str(caught[0].message).replace("Inf", "NaN")
    assert text == "fit: loss became NaN at epoch 1 batch 1. compile(check='nan') stops there and names the op"
    assert caught[0].filename == __file__


def two_outputs() -> Model:
    inputs = [Input((4,), name="left"), Input((4,), name="right")]
    model = Model(inputs, [Dense(1, name="a")(inputs[0]), Dense(3, name="b")(inputs[1])])
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m: m.fit([X], [Y, ONE_HOT]), "x: expected 2 arrays, for left, right, received 1 entries"),
        (lambda m: m.fit([X, X], Y), "y: expected 2 arrays, for a, b, received ndarray"),
        (lambda m: m.fit({"left": X}, [Y, ONE_HOT]), r"x: expected keys \['left', 'right'\], received \['left'\]"),
        (lambda m: m.fit([X, X[:3]], [Y, ONE_HOT]), r"x\[0\] has 8 samples, x\[1\] has 3"),
        (lambda m: m.fit([X, X], [Y, ONE_HOT[:3]]), r"x\['left'\] has 8 samples, y\[1\] has 3"),
    ],
)
def test_inputs_and_outputs_are_called_by_name(call: Callable[[Any], Any], words: str):
    model = two_outputs()
    with pytest.raises(DataError, match=words):
        call(model)
    model.fit([X, X], [Y, ONE_HOT], verbose=0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"loss": {"c": "mse"}}, r"compile\(loss=\{'c': ...\}\): no such output"),
        ({"loss": ["mse"]}, r"compile\(loss\): expected 2 entries, for a, b, received 1"),
        ({"loss": "mse", "metrics": {"c": "mae"}}, r"compile\(metrics=\{'c': ...\}\): no such output"),
        ({"loss": "mse", "loss_weights": [1]}, r"compile\(loss_weights\): expected 2 entries"),
        ({"loss": "mse", "metrics": "mae"}, r"compile\(metrics\): expected a list for each of the outputs a, b"),
        ({"loss": "mse", "weighted_metrics": {"aa": "mae"}}, "no such output. Did you mean 'a'|Known: a, b"),
        ({"loss": "mse", "loss_weights": {"a": "1"}}, r"compile\(loss_weights\): expected numbers, received '1'"),
    ],
)
def test_structures_must_fit_the_outputs(arguments: dict[str, Any], words: str):
    model = two_outputs()
    with pytest.raises((ArgumentError, DTypeError), match=words):
        model.compile("sgd", **arguments)
    model.fit([X, X], [Y, ONE_HOT], verbose=0)  # as compiled before

    class Late(Model):
        """Its outputs are known after the first data."""

        def __init__(self) -> None:
            super().__init__()
            self.made = two_outputs()

        def call(self, inputs: Any) -> Any:
            first, second = self.made(inputs)
            return {"a": first, "b": second}

    late = Late()
    late.compile("sgd", **arguments)
    with pytest.raises((ArgumentError, DTypeError), match=words):
        late.fit([X, X], {"a": Y, "b": ONE_HOT}, verbose=0)


@pytest.mark.parametrize("loss", [None, {}])
def test_something_must_be_minimised(loss: Any):
    model = two_outputs()
    model.compile("sgd", loss)
    with pytest.raises(StateError, match="compile: expected a loss"):
        model.fit([X, X], [Y, ONE_HOT], verbose=0)
    model.compile("sgd", metrics=[["mae"], []])
    with pytest.raises(DataError, match="fit: y is missing"):
        model.fit([X, X])
