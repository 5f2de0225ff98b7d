"""Models whose inputs fix the batch size, over arrays of several batches: states between batches, training, words."""

from __future__ import annotations

import numpy as np
import pytest

import kgraph
import kgraph.layers as L
from kgraph.errors import ShapeError

EXECUTIONS = pytest.mark.parametrize("execution", ["interpreter", "native"])


def _data(rng, rows):
    return rng.normal(size=(rows, 3, 5)).astype("float32"), rng.normal(size=(rows, 1)).astype("float32")


def _model(batch):
    model = kgraph.Sequential([kgraph.Input(batch_shape=(batch, 3, 5)), L.LSTM(4), L.Dense(1)])
    model.compile(kgraph.optimizers.SGD(0.1), "mse", metrics=["mae"], weighted_metrics=["mae"])
    return model


@EXECUTIONS
def test_it_trains_as_a_model_of_any_batch_size_does(rng, execution):
    (x, y), weights = _data(rng, 6), rng.uniform(0.5, 2, 6)
    fixed, free = _model(2), _model(None)
    free.set_weights(fixed.get_weights())
    with kgraph.execution(execution):
        found = [
            (
                model.fit(x, y, 2, 3, 0, shuffle=False, sample_weight=weights, validation_data=(x, y)).history,
                model.evaluate(x, y, 2, 0), model.predict(x, 2, 0), model.get_weights(),
            )
            for model in (fixed, free)
        ]  # fmt: skip
    (logs, scores, outputs, after), wanted = found
    assert logs.keys() == wanted[0].keys()
    for name, values in logs.items():
        np.testing.assert_allclose(values, wanted[0][name], rtol=1e-5, err_msg=name)
    np.testing.assert_allclose(scores, wanted[1], rtol=1e-5)
    np.testing.assert_allclose(outputs, wanted[2], rtol=1e-5, atol=1e-6)
    for a, b in zip(after, wanted[3], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@EXECUTIONS
def test_states_go_from_batch_to_batch(rng, execution):
    steps, whole = L.LSTM(4, stateful=True, return_sequences=True), L.LSTM(4, return_sequences=True)
    model = kgraph.Sequential([kgraph.Input(batch_shape=(2, 3, 5)), steps])
    model.compile("sgd", "mse")
    x = rng.normal(size=(2, 9, 5)).astype("float32")
    whole.build(x.shape)
    whole.set_weights(model.get_weights())
    wanted = whole(x)
    parts, labels = (np.concatenate(np.split(a, 3, axis=1)) for a in (x, wanted))
    with kgraph.execution(execution):
        np.testing.assert_allclose(model.predict(parts, batch_size=2, verbose=0), labels, rtol=1e-5, atol=1e-6)
        steps.reset_states()
        # The labels are what a model with states gives, so that the loss is rounding and training changes nothing.
        before = model.get_weights()
        assert model.fit(parts, labels, 2, 1, 0, shuffle=False).history["loss"][0] < 1e-12
        for a, b in zip(model.get_weights(), before, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)


def test_other_batch_sizes_are_named(rng):
    x, y = _data(rng, 6)
    model = _model(2)
    assert np.isfinite(model.train_on_batch(x[:2], y[:2])[0])
    calls = (lambda: model.fit(x, y, verbose=0), lambda: model.predict(x, 3, 0), lambda: model.evaluate(x, y, 4, 0))
    for call in calls:
        with pytest.raises(ShapeError, match="batch_size: expected 2, which the model's inputs fix"):
            call()
    with pytest.raises(ShapeError, match=r"expected a multiple of 2 rows, .* received 5 rows"):
        model.fit(x[:5], y[:5], batch_size=2, verbose=0)
    for call in (lambda: model.train_on_batch(x[:4], y[:4]), lambda: model.predict_on_batch(x[:4])):
        with pytest.raises(ShapeError, match=r"expected \(2, 3, 5\), received \(4, 3, 5\)$"):
            call()
