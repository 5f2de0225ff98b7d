"""Streams of batches train as the same rows in an array do, in every form in which Keras takes them."""

from __future__ import annotations

import itertools
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from kgraph.callbacks import Callback
from kgraph.config import compilation_count
from kgraph.data import is_stream
from kgraph.errors import ArgumentError, DataError, KgraphWarning
from kgraph.layers import LSTM, BatchNormalization, Conv2D, Dense, Dropout, Flatten, MaxPooling2D
from kgraph.models import Input, Model, Sequential
from kgraph.optimizers import SGD
from kgraph.random_seed import set_random_seed
from kgraph.utils import PyDataset, Sequence

RNG = np.random.default_rng(0)
X = RNG.normal(size=(10, 4)).astype("float32")
Y = np.arange(10) % 3
W = np.linspace(0, 2, 10)
SIZE = 4
STARTS = range(0, 10, SIZE)


def network(eagerly: bool = True) -> Sequential:
    set_random_seed(1)
    model = Sequential([Dense(3, activation="softmax", input_shape=(4,))])
    model.compile(SGD(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=eagerly)
    return model


def batches(*arrays: Any) -> Iterator[Any]:
    for start in STARTS:
        yield tuple(array[start : start + SIZE] for array in arrays)


def forever(*arrays: Any) -> Iterator[Any]:
    while True:
        yield from batches(*arrays)


class Rows(PyDataset):
    """The rows above, and a record of what was asked for."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.asked: list[Any] = []
        self.threads: set[str] = set()

    def __len__(self) -> int:
        return len(STARTS)

    def __getitem__(self, index: int) -> Any:
        self.asked.append(index)
        self.threads.add(threading.current_thread().name)
        rows = slice(index * SIZE, (index + 1) * SIZE)
        return X[rows], Y[rows]

    def on_epoch_begin(self) -> None:
        self.asked.append("begin")

    def on_epoch_end(self) -> None:
        self.asked.append("end")


class Reiterable:
    """What loaders and datasets of other packages look like: they can be gone through again and again."""

    def __init__(self, convert: Callable[[np.ndarray], Any] = np.asarray) -> None:
        self.convert = convert

    def __iter__(self) -> Iterator[Any]:
        for x, y in batches(X, Y):
            yield [self.convert(x), self.convert(y)]


class Tensor:
    """An array of another package."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self.array, dtype)


STREAMS: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "endless generator": (lambda: forever(X, Y), {"steps_per_epoch": 3}),
    "generator of two epochs": (lambda: iter([*batches(X, Y), *batches(X, Y)]), {"steps_per_epoch": 3}),
    "other types": (lambda: forever(X.astype("float64"), Y[:, None].astype("float32")), {"steps_per_epoch": 3}),
    "dataset": (Rows, {"shuffle": False}),
    "dataset with workers": (lambda: Rows(workers=3, max_queue_size=1), {"shuffle": False}),
    "dataset and steps": (Rows, {"shuffle": False, "steps_per_epoch": 3}),
    "loader": (Reiterable, {}),
    "loader of tensors": (lambda: Reiterable(Tensor), {}),
    "arrays": (lambda: Tensor(X), {"y": Tensor(Y), "batch_size": SIZE, "shuffle": False}),
    "arrays and steps": (lambda: X, {"y": Y, "batch_size": SIZE, "shuffle": False, "steps_per_epoch": 3}),
}


@pytest.mark.parametrize("eagerly", [True, False], ids=["interpreter", "native"])
@pytest.mark.parametrize("name", STREAMS)
def test_every_stream_trains_as_the_array_does(name: str, eagerly: bool):
    make, options = STREAMS[name]
    expected, model = network(eagerly), network(eagerly)
    record = expected.fit(X, Y, batch_size=SIZE, epochs=2, shuffle=False, verbose=0).history
    assert model.fit(make(), epochs=2, verbose=0, **options).history == record
    for a, b in zip(expected.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_native_code_takes_ready_and_other_batches_with_one_compilation():
    expected, model = network(eagerly=False), network(eagerly=False)
    data = [*batches(X, Y), *batches(X.astype("float64"), Y), *batches(X, Y)]
    expected.fit(X, Y, batch_size=SIZE, epochs=3, shuffle=False, verbose=0)
    count = compilation_count()
    model.fit(iter(data), epochs=3, steps_per_epoch=3, verbose=0)
    assert compilation_count() == count + 1
    for a, b in zip(expected.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("rows", "size"), [(100, 32), (96, 32), (70, 7), (40, 1)])
@pytest.mark.parametrize("kind", ["dense", "convolution", "recurrent"])
def test_native_steps_over_streams_give_the_bits_of_those_over_arrays(kind: str, rows: int, size: int):
    made: dict[str, Any] = {
        "dense": ((20,), lambda: [Dense(33, "relu"), Dropout(0.3), BatchNormalization()]),
        "convolution": ((12, 12, 3), lambda: [Conv2D(8, 3), MaxPooling2D(), Flatten(), Dropout(0.2)]),
        "recurrent": ((7, 5), lambda: [LSTM(11, dropout=0.1)]),
    }
    shape, hidden = made[kind]
    x, y = RNG.normal(size=(rows, *shape)).astype("float32"), RNG.integers(0, 3, rows)
    parts = [(x[start : start + size], y[start : start + size]) for start in range(0, rows, size)]

    def trained(*data: Any, **options: Any) -> tuple[Any, list[np.ndarray]]:
        set_random_seed(1)
        model = Sequential([Input(shape), *hidden(), Dense(3, "softmax")])
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        history = model.fit(*data, epochs=3, shuffle=False, verbose=0, **options).history
        return history, model.get_weights()

    record, weights = trained(x, y, batch_size=size)
    got, others = trained(itertools.cycle(parts), steps_per_epoch=len(parts))
    assert got == record
    for a, b in zip(weights, others, strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_in_batches_and_batches_by_name():
    inputs = [Input((4,), name="left"), Input((4,), name="right")]
    outputs = [Dense(1, name="a")(inputs[0]), Dense(3, name="b")(inputs[1])]
    model = Model(inputs, outputs)
    model.compile(SGD(0.0), "mse", run_eagerly=True)
    one_hot = np.eye(3, dtype="float32")[Y]
    wanted = model.evaluate([X, 2 * X], [Y, one_hot], sample_weight=[W, 1 - W], verbose=0, batch_size=SIZE)
    a, b = model.predict([X, 2 * X], verbose=0)
    np.testing.assert_allclose(wanted[1], (((a[:, 0] - Y) ** 2) * W).mean(), rtol=1e-5)
    np.testing.assert_allclose(wanted[2], (((b - one_hot) ** 2).mean(-1) * (1 - W)).mean(), rtol=1e-5)

    def named() -> Iterator[Any]:
        for x, y, o, w in batches(X, Y, one_hot, W):
            yield {"left": x, "right": 2 * x}, {"a": y, "b": o}, {"a": w, "b": 1 - w}

    assert model.evaluate(named(), verbose=0) == wanted
    listed = [((x, 2 * x), [y[:, None].astype("float32"), o], [w, 1 - w]) for x, y, o, w in batches(X, Y, one_hot, W)]
    assert model.evaluate(listed.__iter__(), verbose=0) == wanted
    for got, whole in zip(model.predict(named(), verbose=0), (a, b), strict=True):
        np.testing.assert_allclose(got, whole, rtol=1e-6)


def test_a_dataset_is_shuffled_by_batches_and_told_of_epochs():
    data = Rows()
    network().fit(data, epochs=3, verbose=0)
    epochs = [data.asked[n : n + 5] for n in range(0, 15, 5)]
    assert all(epoch[0] == "begin" and epoch[-1] == "end" and sorted(epoch[1:-1]) == [0, 1, 2] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    again = Rows()
    network().fit(again, epochs=3, verbose=0)
    assert again.asked == data.asked
    assert Sequence is PyDataset


def test_workers_make_batches_in_threads_of_their_own():
    data = Rows(workers=2)
    network().evaluate(data, verbose=0)
    assert threading.main_thread().name not in data.threads
    with pytest.raises(ArgumentError, match=r"Rows\(workers\): expected an int >= 0, received -1"):
        Rows(workers=-1)


def test_no_batch_is_taken_that_is_not_used():
    taken: list[int] = []

    def counted() -> Iterator[Any]:
        for n, batch in enumerate(forever(X, Y)):
            taken.append(n)
            yield batch

    stream = counted()
    network().fit(stream, epochs=2, steps_per_epoch=4, verbose=0)
    assert taken == list(range(8))
    network().predict(stream, steps=2, verbose=0)
    network().predict_generator(stream, 1)
    assert len(taken) == 11


def test_validation_on_a_stream_goes_on_and_follows_its_frequency():
    model = network()
    whole = model.evaluate(X, Y, verbose=0)[0]
    model.optimizer.learning_rate = 0.0
    options: dict[str, Any] = {"epochs": 4, "steps_per_epoch": 1, "verbose": 0}
    history = model.fit(forever(X, Y), validation_data=forever(X, Y), validation_steps=3, validation_freq=2, **options)
    np.testing.assert_allclose(history.history["val_loss"], [whole] * 2, rtol=1e-6)
    history = model.fit(X, Y, validation_data=Rows(), validation_freq=[1, 4], **options)
    np.testing.assert_allclose(history.history["val_loss"], [whole] * 2, rtol=1e-6)
    history = model.fit(X, Y, validation_data=(X, Y), validation_steps=2, validation_batch_size=3, **options)
    np.testing.assert_allclose(history.history["val_loss"], [model.evaluate(X[:6], Y[:6], verbose=0)[0]] * 4, rtol=1e-6)
    assert model.evaluate(X, Y, batch_size=3, steps=2, verbose=0) == model.evaluate(X[:6], Y[:6], 3, verbose=0)
    assert model.evaluate_generator(forever(X, Y), steps=3)[0] == pytest.approx(whole)
    assert model.predict(X, batch_size=3, steps=2, verbose=0).shape == (6, 3)


def test_callbacks_see_every_batch_and_the_number_of_steps():
    seen: list[Any] = []

    class Watch(Callback):
        """Notes the calls."""

        def on_train_begin(self, logs: Any = None) -> None:
            seen.append(self.params["steps"])

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append(batch)

    network().fit(forever(X, Y), steps_per_epoch=2, epochs=2, initial_epoch=1, verbose=0, callbacks=[Watch()])
    network().fit(batches(X, Y), verbose=0, callbacks=[Watch()])
    assert seen == [2, 0, 1, None, 0, 1, 2]


@pytest.mark.parametrize(
    ("make", "options", "words", "steps"),
    [
        (lambda: batches(X, Y), {"steps_per_epoch": 10}, "fit: the data ended too early: got 3 of 10 batches", 3),
        (lambda: Rows(), {"steps_per_epoch": 4}, "fit: the data ended too early: got 3 of 4 batches", 6),
        (lambda: batches(X, Y), {}, "fit: the data ended after 1 of 2 epochs. Give steps_per_epoch", 3),
        (lambda: X, {"y": Y, "steps_per_epoch": 4, "batch_size": 4}, "the data ended too early: got 3 of 4", 6),
    ],
    ids=["generator", "dataset", "no steps", "arrays"],
)
def test_data_that_end_too_early_give_one_warning_with_counts(
    make: Callable[[], Any], options: dict[str, Any], words: str, steps: int
):
    model = network()
    with pytest.warns(KgraphWarning) as caught:
        model.fit(make(), epochs=2, verbose=0, **options)
    assert len(caught) == 1
    assert words in str(caught[0].message)
    assert caught[0].filename == __file__
    assert model.optimizer.iterations.array == steps


def test_a_generator_that_raises_keeps_its_error_and_names_the_batch():
    def broken() -> Iterator[Any]:
        yield X[:4], Y[:4]
        raise OSError("disk gone")

    model = network()
    with pytest.raises(OSError, match="disk gone") as caught:
        model.fit(broken(), verbose=0)
    assert caught.value.__notes__ == ["raised while making batch 1"]
    with pytest.raises(DataError, match=r"fit: batch 1: x has 4 samples, y has 3"):
        model.fit(iter([(X[:4], Y[:4]), (X[:4], Y[:3])]), verbose=0)
    with pytest.raises(DataError, match=r"label 7 at row 0 not in \[0, 3\)"):
        model.fit(iter([(X[:4], Y[:4].astype("int32")), (X[:4], Y[:4].astype("int32") + 7)]), verbose=0)
    model.fit(Rows(), verbose=0)


def test_values_that_are_not_finite_are_named_once_with_their_batch():
    bad = X.copy()
    bad[5, 2] = np.nan
    labels = Y.astype("int32")
    with pytest.warns(KgraphWarning) as caught:
        network().evaluate(iter([*batches(X, labels), *batches(bad, labels), *batches(bad, labels)]), verbose=0)
    assert [str(w.message) for w in caught] == ["evaluate: batch 4: x has 1 NaN (first at row 1, col 2)"]


def test_a_model_is_built_from_its_first_batch():
    model = Sequential([Dense(2)])
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(iter([(X, X[:, :2])]), verbose=0)
    assert model.output_shape == (None, 2)


def test_class_weights_weigh_the_samples_of_their_class():
    weights = {0: 1.0, 1: 0.5, 2: 3.0}
    each = np.array([weights[label] for label in Y])
    labels: dict[str, Any] = {"sparse_categorical_crossentropy": Y, "categorical_crossentropy": np.eye(3)[Y]}
    for loss, y in labels.items():
        by_class, by_sample, streamed = network(), network(), network()
        for model in (by_class, by_sample, streamed):
            model.compile(SGD(0.1), loss, run_eagerly=True)
        by_class.fit(X, y, class_weight=weights, batch_size=SIZE, shuffle=False, verbose=0)
        by_sample.fit(X, y, sample_weight=each, batch_size=SIZE, shuffle=False, verbose=0)
        streamed.fit(batches(X, y), class_weight=weights, verbose=0)
        for a, b, c in zip(*(m.get_weights() for m in (by_class, by_sample, streamed)), strict=True):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(a, c)
    model = network()
    values = model.train_on_batch(X, Y, class_weight=weights, return_dict=True)
    assert values["loss"] == network().test_on_batch(X, Y, each, return_dict=True)["loss"]


@pytest.mark.parametrize("eagerly", [False, True])
def test_steps_have_weights_of_their_own(eagerly: bool):
    x, y = RNG.normal(size=(6, 5, 3)), RNG.normal(size=(6, 5, 2))
    weights = RNG.random((6, 5))
    model = Sequential([Dense(2, input_shape=(None, 3))])
    model.compile("sgd", "mse", weighted_metrics=["mae"], run_eagerly=eagerly)
    errors = model.predict(x, verbose=0) - y
    expected = ((errors**2).mean(-1) * weights).mean(), (np.abs(errors).mean(-1) * weights).sum() / weights.sum()
    for given in (weights, weights[..., None]):
        np.testing.assert_allclose(model.evaluate(x, y, sample_weight=given, verbose=0), expected, rtol=1e-5)


def test_only_what_gives_batches_is_a_stream():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [is_stream(data) for data in (forever(X), Rows(), Reiterable(), map(len, []))] == [True] * 4
        arrays: list[Any] = [X, [X], (X, X), {"x": X}, Tensor(X), range(3), "text", 3, None, object()]
        assert not any(is_stream(data) for data in arrays)
