"""A `predict_step` of the model's own: what it may return, and how the results of batches are joined."""

import numpy as np
import pytest

import kgraph
from kgraph import layers, ops
from kgraph.errors import ArgumentError, DTypeError, ShapeError
from kgraph.nesting import flatten

X = np.random.default_rng(0).random((96, 8), dtype="float32")
SUMS = X.sum(1, keepdims=True)


def test_own_prediction():
    class Shifted(kgraph.Sequential):
        def predict_step(self, data):
            return super().predict_step(data) + 100.0

    model = Shifted([kgraph.Input((8,)), layers.Dense(1, kernel_initializer="ones")])
    model.compile("sgd", "mse")
    np.testing.assert_allclose(model.predict(X, verbose=0), SUMS + 100, rtol=1e-6)
    np.testing.assert_allclose(model.evaluate(X, SUMS, verbose=0), 0, atol=1e-9)


def test_own_prediction_of_any_form():
    class Several(kgraph.Sequential):
        def predict_step(self, data):
            y = self(data, training=False)
            pair = data[:, :2], [ops.argmax(data, -1)]
            return {"y": y, "pair": pair, "mean": ops.mean(data, axis=0), "largest": ops.max(data),
                    "twice": ops.concatenate([y, -y]), "weight": self.layers[0].bias}  # fmt: skip

    model = Several([kgraph.Input((8,)), layers.Dense(1, kernel_initializer="ones")])
    model.compile("sgd", "mse")
    batches = [X[:32], X[32:48]]
    x, sums = X[:48], SUMS[:48]
    expected = {
        "y": sums, "pair": (x[:, :2], [x.argmax(-1)]), "mean": np.concatenate([batch.mean(0) for batch in batches]),
        "largest": np.array([batch.max() for batch in batches]), "weight": np.zeros(2),
        "twice": np.concatenate([part for rows in (sums[:32], sums[32:]) for part in (rows, -rows)]),
    }  # fmt: skip
    for data in (x, ((batch,) for batch in batches)):
        got = model.predict(data, verbose=0)
        assert list(got) == ["y", "pair", "mean", "largest", "twice", "weight"]
        assert isinstance(got["pair"], tuple)
        assert isinstance(got["pair"][1], list)
        for a, b in zip(flatten(got), flatten(expected), strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    assert model.predict_on_batch(X[:5])["largest"].shape == ()
    seen = []
    spy = kgraph.callbacks.LambdaCallback(on_predict_batch_end=lambda batch, logs: seen.append(logs["outputs"]))
    model.predict(x, callbacks=[spy], verbose=0)
    np.testing.assert_allclose(seen[1]["mean"], batches[1].mean(0), rtol=1e-5)


def test_results_that_have_no_rows_are_joined():
    class Means(kgraph.Sequential):
        def predict_step(self, data):
            return ops.mean(data, axis=0), ops.max(data)

    for eager in (False, True):
        model = Means([kgraph.Input((8,)), layers.Dense(1)])
        model.compile("sgd", "mse", run_eagerly=eager)
        means, largest = model.predict(X[:48], verbose=0)
        np.testing.assert_allclose(means, np.concatenate([X[:32].mean(0), X[32:48].mean(0)]), rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(largest, [X[:32].max(), X[32:48].max()])


@pytest.mark.parametrize("stream", [False, True])
def test_a_prediction_may_hold_numbers(stream):
    class Numbers(kgraph.Sequential):
        def predict_step(self, data):
            return {"y": data, "rows": ops.shape(data)[0], "version": 3, "half": 0.5,
                    "table": np.arange(4).reshape(2, 2), "flag": np.bool_(True)}  # fmt: skip

    model = Numbers([kgraph.Input((8,)), layers.Dense(1)])
    made = model.predict(((X[n : n + 32],) for n in (0, 32)) if stream else X[:64], verbose=0)
    np.testing.assert_array_equal(made["y"], X[:64])
    np.testing.assert_array_equal(made["rows"], [32, 32])
    np.testing.assert_array_equal(made["version"], [3, 3])
    np.testing.assert_array_equal(made["half"], [0.5, 0.5])
    np.testing.assert_array_equal(made["table"], [[0, 1], [2, 3], [0, 1], [2, 3]])
    np.testing.assert_array_equal(made["flag"], [True, True])


def test_results_that_cannot_be_joined_are_named():
    class Pairs(kgraph.Sequential):
        def predict_step(self, data):
            return data @ ops.transpose(data)

    model = Pairs([kgraph.Input((8,)), layers.Dense(1)])
    with pytest.raises(ShapeError, match=r"results of batches: expected .*, received \(None, 32\) and \(None, 8\)"):
        model.predict(X[:40], verbose=0)
    assert model.predict(X[:64], verbose=0).shape == (64, 32)


@pytest.mark.parametrize("result", [None, "text", {}, {"a": None}])
def test_what_a_prediction_cannot_return(result):
    class Nothing(kgraph.Sequential):
        def predict_step(self, data):
            return result

    model = Nothing([kgraph.Input((8,)), layers.Dense(1)])
    with pytest.raises((DTypeError, ArgumentError), match=r"predict_step.*expected tensors, alone or"):
        model.predict(X, verbose=0)


def test_a_prediction_runs_the_model_once():
    class Counted(layers.Layer):
        def build(self, input_shape):
            self.calls = self.add_weight((), "zeros", name="calls", trainable=False)

        def call(self, inputs):
            self.calls.assign_add(1.0)
            return inputs

    class Own(kgraph.Sequential):
        def predict_step(self, data):
            return self(data, training=False) * 2.0

    model = Own([kgraph.Input((8,)), Counted()])
    model.predict_on_batch(X)
    assert float(model.layers[0].calls) == 1
